"""The recipe that makes the lab's models from nothing: `python -m warmexp.lab.train --out FOLDER`.

The backbone is trained in two stages on the same weights. Stage 1 is autoregressive (causal attention): fluency and arithmetic
come quickly. Stage 2 is masked diffusion on decoding-like states (`states.py`) with some autoregressive batches among them; logits
are shifted by one (the hidden state at i-1 predicts token i, as in Dream), so both losses share one head. The proposers are
ordinary causal language models with a tokenizer of their own. Every step's randomness is keyed by (seed, step), so that a
resumed run goes on as the undisturbed one would.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from warmexp.backbone.transformer import ModelConfig, Transformer
from warmexp.lab import evaluate, problems, states, tokenizers

log = logging.getLogger("warmexp.lab.train")


@dataclass(frozen=True)
class BackboneRecipe:
    d_model: int = 192
    n_layers: int = 4
    n_heads: int = 3  # few wide heads: on two CPU cores attention costs by the head
    mlp_hidden_size: int = 640
    rope_theta: float = 10_000.0  # sequences are short; LLaDA's 500,000 would leave most frequencies unused
    canvas: int = 48  # training and decoding use the same canvas, or the model reads the answer's length off it
    block_length: int = 16
    batch: int = 64
    ar_steps: int = 500  # stage 1
    small_steps: int = 1_000  # the first steps see small numbers only (curriculum)
    steps: int = 5_000  # all
    ar_share: float = 0.2  # share of autoregressive batches in stage 2, which keep the arithmetic sharp
    warmup: int = 100
    decay_from: float = 0.6  # the learning rate falls linearly from this share of all steps to zero; the fall is worth several points
    muon_lr: float = 5e-3  # matrices of the blocks (scaled to AdamW's update size)
    adam_lr: float = 3e-3  # embeddings, head, norms
    weight_decay: float = 0.01
    ema: float = 0.998  # what is evaluated and shipped is the running average
    mix: states.StateMix = field(default_factory=states.StateMix)


@dataclass(frozen=True)
class ProposerRecipe:
    hidden_size: int
    layers: int
    heads: int
    target: float  # training stops at this accuracy on calibration questions: a proposer is meant to be wrong at a known rate
    max_steps: int = 6_000
    check_every: int = 100
    canvas: int = 88  # its tokenizer splits digits, so its texts are longer than the backbone's
    batch: int = 64
    lr: float = 3e-3
    warmup: int = 50
    wordy_share: float = 0.5  # it writes the wordy form more often than the backbone: right or wrong, its text is often misaligned


BACKBONE = BackboneRecipe()
PROPOSERS = {
    "proposer_weak": ProposerRecipe(hidden_size=64, layers=2, heads=2, target=0.22),
    "proposer_strong": ProposerRecipe(hidden_size=128, layers=3, heads=2, target=0.68),
}
KERNELS = {"cpu": [SDPBackend.MATH], "cuda": [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]}
POOL = 80_000  # problems tokenised up front


# ---------------------------------------------------------------- data


@dataclass
class Pool:
    """Training texts grouped by prompt length, so that a batch needs no padding."""

    prompt: dict[int, np.ndarray]  # prompt length -> [N, P]
    clean: dict[int, np.ndarray]  # -> [N, L], filled up with end-of-text
    slipped: dict[int, np.ndarray]
    length: dict[int, np.ndarray]  # -> [N], up to and including the first end-of-text

    def batch(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        keys = sorted(self.prompt)
        counts = np.array([len(self.prompt[k]) for k in keys], dtype=float)
        key = keys[rng.choice(len(keys), p=counts / counts.sum())]
        rows = rng.integers(0, len(self.prompt[key]), size)
        return self.prompt[key][rows], self.clean[key][rows], self.slipped[key][rows], self.length[key][rows]


def build_pool(
    tokenizer: PreTrainedTokenizerFast,
    canvas: int,
    size: int,
    wordy_share: float = problems.WORDY_SHARE,
    sizes: problems.Sizes = problems.FULL,
) -> Pool:
    found = []
    for _, (index, problem) in zip(range(size), problems.stream(0, wordy_share, sizes), strict=False):
        found.append((problem, problems.slipped("train", index, wordy_share, sizes)))
    prompts = tokenizer([tokenizers.PROMPT.format(question=p.question) for p, _ in found])["input_ids"]
    responses = tokenizer([" " + p.solution for p, _ in found])["input_ids"]
    slips = tokenizer([" " + s for _, s in found])["input_ids"]
    groups: dict[int, list[int]] = {}
    for k, prompt in enumerate(prompts):
        if len(responses[k]) < canvas:
            groups.setdefault(len(prompt), []).append(k)
    end = tokenizer.eos_token_id

    def filled(rows: list[list[int]], members: list[int]) -> np.ndarray:
        return np.array([(rows[k] + [end] * canvas)[:canvas] for k in members], dtype=np.int16)

    return Pool(
        prompt={n: np.array([prompts[k] for k in g], dtype=np.int16) for n, g in groups.items()},
        clean={n: filled(responses, g) for n, g in groups.items()},
        slipped={n: filled(slips, g) for n, g in groups.items()},
        length={n: np.array([len(responses[k]) + 1 for k in g]) for n, g in groups.items()},
    )


# ---------------------------------------------------------------- optimisation


def optimizers(net: nn.Module, matrices: list[nn.Parameter], r: BackboneRecipe) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for embeddings, head and norms."""
    chosen = {id(p) for p in matrices}
    rest = [p for p in net.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=r.muon_lr, weight_decay=r.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=r.adam_lr, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate(step: int, steps: int, warmup: int, decay_from: float) -> float:
    """Warm up, stay, fall linearly to zero."""
    return min(1.0, (step + 1) / warmup, max(0.0, (steps - step) / max(1.0, steps * (1 - decay_from))))


def world() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def share_gradients(net: nn.Module) -> None:
    """Average the gradients over the processes of the run, if there are several."""
    if world() > 1:
        gradients = [p.grad for p in net.parameters()]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        for g, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            g.copy_(part.view_as(g) / world())


class Average:
    """Exponential moving average of the weights, shorter at the start."""

    def __init__(self, net: nn.Module, decay: float):
        self.decay, self.count = decay, 0
        self.weights = {k: v.detach().clone() for k, v in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        self.count += 1
        decay = min(self.decay, self.count / (self.count + 10))
        new = net.state_dict()
        torch._foreach_lerp_(list(self.weights.values()), [new[k] for k in self.weights], 1 - decay)


# ---------------------------------------------------------------- the backbone


def new_backbone(tokenizer: PreTrainedTokenizerFast, r: BackboneRecipe) -> Transformer:
    config = ModelConfig(
        d_model=r.d_model,
        n_layers=r.n_layers,
        n_heads=r.n_heads,
        n_kv_heads=r.n_heads,
        mlp_hidden_size=r.mlp_hidden_size,
        vocab_size=len(tokenizer),
        embedding_size=len(tokenizer),
        max_sequence_length=1024,
        mask_token_id=tokenizer.mask_token_id,
        eos_token_id=tokenizer.eos_token_id,
        rope_theta=r.rope_theta,
    )
    net = Transformer(config)
    for name, p in net.named_parameters():
        if p.dim() == 2:
            nn.init.normal_(p, std=0.02 / (2 * r.n_layers) ** 0.5 if name.endswith(("attn_out.weight", "blocks.ff_out.weight")) else 0.02)
    return net


def causal(size: int, device: torch.device) -> Tensor:
    return torch.ones(size, size, dtype=torch.bool, device=device).tril()


def backbone_loss(net: Transformer, pool: Pool, number_ids: np.ndarray, ar: bool, r: BackboneRecipe, rng: np.random.Generator) -> Tensor:
    """Weighted cross-entropy of one batch; the hidden state at i-1 predicts token i."""
    device = net.wte.weight.device
    prompt, clean, slipped, length = (a.astype(np.int64) for a in pool.batch(r.batch // world(), rng))
    if ar:
        keep = int(min(length.max(), r.canvas))
        clean = clean[:, :keep]
        ids, weight, soft = clean, (np.arange(keep) < length[:, None]).astype(np.float32), None
    else:
        s = states.draw(clean, length, slipped, net.config.mask_token_id, number_ids, rng, r.mix)
        ids, weight, soft = s.ids, s.weight, s
    first = prompt.shape[1]
    x = net.embed(torch.from_numpy(np.concatenate((prompt, ids), 1)).to(device))
    if soft is not None and soft.soft_weight.any():
        w = torch.from_numpy(soft.soft_weight).to(device)[..., None]
        canvas = x[:, first:] * (1 - w) + net.embed(torch.from_numpy(soft.soft_ids).to(device)) * w
        x = torch.cat((x[:, :first], canvas), 1)
    hidden = net(x, causal(x.shape[1], device) if ar else None)[:, first - 1 : -1]
    scored = torch.from_numpy(weight > 0).to(device)
    loss = F.cross_entropy(net.head(hidden[scored]).float(), torch.from_numpy(clean).to(device)[scored], reduction="none")
    w = torch.from_numpy(weight).to(device)[scored]
    return (loss * w).sum() / w.sum()


def calibrate(net: Transformer, tokenizer: PreTrainedTokenizerFast, r: BackboneRecipe, tau: float, limit: int) -> tuple[float, float]:
    """(strict accuracy, mean forwards) of a cold start on calibration questions."""
    chosen = problems.load("calibration", limit)
    prompts = tokenizer([tokenizers.PROMPT.format(question=p.question) for p in chosen])["input_ids"]
    rows, forwards = evaluate.decode_all(net, prompts, r.canvas, tau, r.block_length)
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    right = [evaluate.strict_answer(t) == p.answer for t, p in zip(texts, chosen, strict=True)]
    return sum(right) / len(right), sum(forwards) / len(forwards)


def replace_folder(folder: Path, write) -> None:
    """Write a folder's files beside it, then move them in one by one, so that a reader never sees a half-written file."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    write(fresh)
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(fresh.iterdir()):
        file.replace(folder / file.name)
    fresh.rmdir()


def save_backbone(folder: Path, config: ModelConfig, weights: dict[str, Tensor], tokenizer: PreTrainedTokenizerFast) -> None:
    """LLaDA's published layout: config.json, model.safetensors under `model.transformer.*`, tokenizer files."""
    fields = asdict(config) | {
        "architectures": ["LLaDAModelLM"],
        "model_type": "llada",
        "activation_type": "silu",
        "block_type": "llama",
        "layer_norm_type": "rms",
        "rope": True,
        "alibi": False,
        "pad_token_id": tokenizer.pad_token_id,
        "torch_dtype": "bfloat16",
        "use_cache": False,
    }

    def write(where: Path) -> None:
        tensors = {f"model.transformer.{k}": v.detach().cpu().to(torch.bfloat16).contiguous() for k, v in weights.items()}
        save_file(tensors, where / "model.safetensors", metadata={"format": "pt"})
        (where / "config.json").write_text(json.dumps(fields, indent=2, sort_keys=True) + "\n")
        tokenizers.save(tokenizer, where)

    replace_folder(folder, write)


def train_backbone(
    out: Path,
    r: BackboneRecipe,
    device: torch.device,
    seed: int,
    resume: bool,
    pool: int = POOL,
    every: int = 500,
    check: int = 256,
    stop_after: int | None = None,
) -> float:
    """Train, export to out/backbone every `every` steps, and return the last loss. The state for `resume` is out/backbone.ckpt.

    Args:
        check: how many calibration questions are decoded now and then, 0 for none.
        stop_after: leave after this step, as an interrupted run would.
    """
    torch.manual_seed(seed)
    rank = dist.get_rank() if dist.is_initialized() else 0
    tokenizer = tokenizers.train_backbone_tokenizer()
    net = new_backbone(tokenizer, r).to(device)
    number_ids = np.array(tokenizer([f" {n}" for n in range(100)])["input_ids"])[:, 0]
    matrices = [p for p in net.blocks.parameters() if p.dim() == 2]
    opts = optimizers(net, matrices, r)
    base = [o.param_groups[0]["lr"] for o in opts]
    average = Average(net, r.ema)
    step, checkpoint = 0, out / "backbone.ckpt"
    if resume and checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        net.load_state_dict(saved["net"])
        for o, s in zip(opts, saved["opts"], strict=True):
            o.load_state_dict(s)
        average.weights, average.count, step = saved["average"], saved["count"], saved["step"]
    log.info("backbone: %.2fM parameters, %d steps from %d", sum(p.numel() for p in net.parameters()) / 1e6, r.steps, step)
    out.mkdir(parents=True, exist_ok=True)
    shown = Transformer(net.config).to(device)
    data = None
    began, losses = time.time(), {True: [], False: []}
    while step < min(r.steps, stop_after or r.steps):
        if data is None or step == r.small_steps:
            data = build_pool(tokenizer, r.canvas, pool, sizes=problems.SMALL if step < r.small_steps else problems.FULL)
        ar = step < r.ar_steps or np.random.default_rng((seed, step)).random() < r.ar_share
        rng = np.random.default_rng((seed, step, rank))
        for o, lr in zip(opts, base, strict=True):
            o.param_groups[0]["lr"] = lr * rate(step, r.steps, r.warmup, r.decay_from)
        # On the CPU the plain attention kernel is twice as fast as the fused one at these sizes.
        with torch.autocast(device.type, torch.bfloat16), sdpa_kernel(KERNELS[device.type]):
            loss = backbone_loss(net, data, number_ids, ar, r, rng)
        for o in opts:
            o.zero_grad(set_to_none=True)
        loss.backward()
        share_gradients(net)
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for o in opts:
            o.step()
        average.update(net)
        losses[ar].append(loss.item())
        step += 1
        if step % 100 == 0:
            ar_loss, md_loss = (float(np.mean(losses[k][-100:])) if losses[k] else float("nan") for k in (True, False))
            log.info("step %d loss ar %.4f diffusion %.4f, %.0f s", step, ar_loss, md_loss, time.time() - began)
        if rank == 0 and (step % every == 0 or step == r.steps):
            state = {"net": net.state_dict(), "opts": [o.state_dict() for o in opts], "average": average.weights, "count": average.count}
            torch.save(state | {"step": step}, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
            save_backbone(out / "backbone", net.config, average.weights, tokenizer)
            if check and (step % (2 * every) == 0 or step == r.steps):
                shown.load_state_dict(average.weights)
                accuracy, nfe = calibrate(shown, tokenizer, r, tau=0.9, limit=check)
                log.info("step %d calibration strict %.3f at %.1f forwards", step, accuracy, nfe)
    return float(np.mean((losses[False] or losses[True])[-20:]))


# ---------------------------------------------------------------- the proposers


def new_proposer(tokenizer: PreTrainedTokenizerFast, r: ProposerRecipe) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=r.hidden_size,
        intermediate_size=3 * r.hidden_size,
        num_hidden_layers=r.layers,
        num_attention_heads=r.heads,
        num_key_value_heads=r.heads,
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


@torch.no_grad()
def propose(net: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: list[str], new_tokens: int, batch: int = 64) -> list[str]:
    """Greedy responses."""
    texts = []
    for k in range(0, len(questions), batch):
        prompts = [tokenizers.PROMPT.format(question=q) for q in questions[k : k + batch]]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left", return_token_type_ids=False).to(net.device)
        out = net.generate(**inputs, do_sample=False, max_new_tokens=new_tokens, pad_token_id=tokenizer.pad_token_id)
        texts += tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


def proposer_accuracy(net: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, r: ProposerRecipe, split: str, limit: int | None) -> float:
    chosen = problems.load(split, limit)
    texts = propose(net, tokenizer, [p.question for p in chosen], r.canvas)
    return sum(evaluate.strict_answer(t) == p.answer for t, p in zip(texts, chosen, strict=True)) / len(chosen)


def train_proposer(out: Path, name: str, r: ProposerRecipe, device: torch.device, seed: int, pool: int = POOL // 2) -> float:
    """Train until the target accuracy is reached, export to out/name, and return the accuracy on calibration questions."""
    torch.manual_seed(seed)
    tokenizer = tokenizers.train_proposer_tokenizer()
    net = new_proposer(tokenizer, r).to(device)
    data = build_pool(tokenizer, r.canvas, pool, r.wordy_share)
    opt = torch.optim.AdamW(net.parameters(), lr=r.lr, betas=(0.9, 0.98), weight_decay=0.01)
    average = Average(net, 0.99)
    shown = new_proposer(tokenizer, r).to(device).eval()
    accuracy = 0.0
    for step in range(r.max_steps):
        opt.param_groups[0]["lr"] = r.lr * min(1.0, (step + 1) / r.warmup)
        prompt, clean, _, length = (a.astype(np.int64) for a in data.batch(r.batch, np.random.default_rng((seed, step))))
        keep = int(length.max())
        ids = torch.from_numpy(np.concatenate((prompt, clean[:, :keep]), 1)).to(device)
        first = prompt.shape[1]
        scored = torch.from_numpy(np.arange(keep) < length[:, None]).to(device)
        with torch.autocast(device.type, torch.bfloat16), sdpa_kernel(KERNELS[device.type]):
            hidden = net.model(input_ids=ids, use_cache=False).last_hidden_state[:, first - 1 : -1]
            loss = F.cross_entropy(net.lm_head(hidden[scored]).float(), ids[:, first:][scored])
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        average.update(net)
        if (step + 1) % r.check_every == 0:
            shown.load_state_dict(average.weights)
            accuracy = proposer_accuracy(shown, tokenizer, r, "calibration", 256)
            log.info("%s step %d loss %.4f calibration strict %.3f", name, step + 1, loss.item(), accuracy)
            if accuracy >= r.target:
                break
    shown.load_state_dict(average.weights)

    def write(where: Path) -> None:
        shown.to(torch.bfloat16).save_pretrained(where)
        tokenizers.save(tokenizer, where)

    replace_folder(out / name, write)
    return accuracy


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for models and resume states")
    parser.add_argument("--model", choices=["backbone", "weak", "strong", "all"], default="all")
    parser.add_argument("--steps", type=int, help="instead of the recipe's number of steps")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the backbone's last state in --out")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    device = torch.device(args.device)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # under torchrun the processes share each batch of the backbone
        dist.init_process_group("gloo")
    if args.model in ("backbone", "all"):
        r = BACKBONE if args.steps is None else replace(BACKBONE, steps=args.steps)
        train_backbone(args.out, r, device, args.seed, args.resume)
    for name in PROPOSERS:
        if args.model in (name.removeprefix("proposer_"), "all"):
            r = PROPOSERS[name] if args.steps is None else replace(PROPOSERS[name], max_steps=args.steps)
            train_proposer(args.out, name, r, device, args.seed)


if __name__ == "__main__":
    main()
