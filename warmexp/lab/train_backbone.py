"""Train the lab's masked diffusion backbone.

It is trained in two stages on the same weights. Stage 1 is autoregressive (causal attention): fluency and arithmetic
come quickly. Stage 2 is masked diffusion on decoding-like states (`states.py`) with some autoregressive batches among
them; logits are shifted by one (the hidden state at i-1 predicts token i, as in Dream), so both losses share one head.
Every step's randomness is keyed by (seed, step), so that a resumed run goes on as the undisturbed one would.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.attention import sdpa_kernel
from transformers import PreTrainedTokenizerFast

from warmexp.lab import evaluate, problems, states, tokenizers
from warmexp.lab.muon import Muon
from warmexp.lab.scored import canvases, next_tokens, weighted_loss
from warmexp.lab.training import KERNELS, POOL, Average, Pool, build_pool, mixed, read_state, replace_folder
from warmexp.models.transformer import ModelConfig, Transformer

log = logging.getLogger("warmexp.lab.train")
PREFIX = "model.transformer."  # of LLaDA's tensor names


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
    decay_from: float = (
        0.6  # the learning rate falls linearly from this share of all steps to zero; the fall is worth several points
    )
    muon_lr: float = 5e-3  # matrices of the blocks (scaled to AdamW's update size)
    adam_lr: float = 3e-3  # embeddings, head, norms
    weight_decay: float = 0.01
    ema: float = 0.998  # what is evaluated and shipped is the running average
    attention_block: int = 0  # a position sees those of its block of so many and of the blocks before; 0: all
    mix: states.StateMix = field(default_factory=states.StateMix)


BACKBONE = BackboneRecipe()
# The block-causal sibling: what stands behind a block is not seen, so it has nothing to learn there.
BLOCK = BackboneRecipe(
    attention_block=16,
    mix=states.StateMix(block=0.8, scatter=0.1, uniform=0.1, block_lengths=(16,), tail_weight=0.0),
)


def optimizers(
    net: Transformer, muon: Callable[[list[nn.Parameter]], torch.optim.Optimizer], adam_lr: float
) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for embeddings, head and norms."""
    matrices = [p for p in net.blocks.parameters() if p.dim() == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in net.parameters() if id(p) not in chosen]
    return [muon(matrices), torch.optim.AdamW(rest, lr=adam_lr, betas=(0.9, 0.98), weight_decay=0.0)]


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
        attention_block=r.attention_block,
    )
    net = Transformer(config)
    for name, p in net.named_parameters():
        if p.dim() == 2:
            nn.init.normal_(
                p,
                std=0.02 / (2 * r.n_layers) ** 0.5
                if name.endswith(("attn_out.weight", "blocks.ff_out.weight"))
                else 0.02,
            )
    return net


def causal(size: int, device: torch.device) -> Tensor:
    return torch.ones(size, size, dtype=torch.bool, device=device).tril()


def backbone_loss(
    net: Transformer, pool: Pool, number_ids: np.ndarray, ar: bool, r: BackboneRecipe, rng: np.random.Generator
) -> Tensor:
    """Weighted cross-entropy of one batch; the hidden state at i-1 predicts token i."""
    device = net.wte.weight.device
    prompt, clean, slipped, length = (a.astype(np.int64) for a in pool.batch(r.batch // world(), rng))
    first, size = prompt.shape[1], r.attention_block
    if ar:
        ids = np.concatenate((prompt, clean[:, : min(length.max(), r.canvas)]), 1)
        column = np.arange(ids.shape[1]) - first
        scored = (column >= 0) & (column < length[:, None])
        return weighted_loss(net, next_tokens(ids, scored), causal(ids.shape[1], device))
    grid = {"grid": size, "offset": first % size} if size else {}
    s = states.draw(clean, length, slipped, net.config.mask_token_id, number_ids, rng, r.mix, **grid)
    return weighted_loss(net, canvases(prompt, clean, s), evaluate.in_blocks(first + clean.shape[1], size, device))


def calibrate(
    net: Transformer, tokenizer: PreTrainedTokenizerFast, r: BackboneRecipe, tau: float, limit: int
) -> tuple[float, float]:
    """(strict accuracy, mean forwards) of a cold start on calibration questions."""
    chosen = problems.load("calibration", limit)
    prompts = tokenizer([tokenizers.PROMPT.format(question=p.question) for p in chosen])["input_ids"]
    rows, forwards = evaluate.decode_all(net, prompts, r.canvas, tau, r.block_length)
    texts = tokenizer.batch_decode(rows, skip_special_tokens=True)
    right = [evaluate.strict_answer(t) == p.answer for t, p in zip(texts, chosen, strict=True)]
    return sum(right) / len(right), sum(forwards) / len(forwards)


def save_backbone(
    folder: Path, config: ModelConfig, weights: dict[str, Tensor], tokenizer: PreTrainedTokenizerFast
) -> None:
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
        tensors = {f"{PREFIX}{k}": v.detach().cpu().to(torch.bfloat16).contiguous() for k, v in weights.items()}
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
    name: str = "backbone",
) -> float:
    """Train, export to out/NAME every `every` steps, and return the last loss. The state for `resume` is out/NAME.ckpt.

    Args:
        check: how many calibration questions are decoded now and then, 0 for none.
        stop_after: leave after this step, as an interrupted run would.
    """
    torch.manual_seed(seed)
    rank = dist.get_rank() if dist.is_initialized() else 0
    tokenizer = tokenizers.train_backbone_tokenizer()
    net = new_backbone(tokenizer, r).to(device)
    number_ids = np.array(tokenizer([f" {n}" for n in range(100)])["input_ids"])[:, 0]
    opts = optimizers(net, partial(Muon, lr=r.muon_lr, weight_decay=r.weight_decay), r.adam_lr)
    base = [o.param_groups[0]["lr"] for o in opts]
    average = Average(net, r.ema)
    step, checkpoint = 0, out / f"{name}.ckpt"
    if resume and checkpoint.exists():
        saved = read_state(checkpoint, device)
        net.load_state_dict(saved["net"])
        for o, s in zip(opts, saved["opts"], strict=True):
            o.load_state_dict(s)
        average.weights, average.count, step = saved["average"], saved["count"], saved["step"]
    log.info(
        "%s: %.2fM parameters, %d steps from %d",
        name,
        sum(p.numel() for p in net.parameters()) / 1e6,
        r.steps,
        step,
    )
    out.mkdir(parents=True, exist_ok=True)
    shown = Transformer(net.config).to(device)
    data = None
    began, losses = time.time(), {True: [], False: []}
    while step < min(r.steps, stop_after or r.steps):
        if data is None or step == r.small_steps:
            data = build_pool(
                tokenizer, r.canvas, pool, sizes=problems.SMALL if step < r.small_steps else problems.FULL
            )
        ar = step < r.ar_steps or np.random.default_rng((seed, step)).random() < r.ar_share
        rng = np.random.default_rng((seed, step, rank))
        for o, lr in zip(opts, base, strict=True):
            o.param_groups[0]["lr"] = lr * rate(step, r.steps, r.warmup, r.decay_from)
        # On the CPU the plain attention kernel is twice as fast as the fused one at these sizes.
        with mixed(device), sdpa_kernel(KERNELS[device.type]):
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
            state = {
                "net": net.state_dict(),
                "opts": [o.state_dict() for o in opts],
                "average": average.weights,
                "count": average.count,
            }
            torch.save(state | {"step": step}, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)
            save_backbone(out / name, net.config, average.weights, tokenizer)
            if check and (step % (2 * every) == 0 or step == r.steps):
                shown.load_state_dict(average.weights)
                accuracy, nfe = calibrate(shown, tokenizer, r, tau=0.9, limit=check)
                log.info("step %d calibration strict %.3f at %.1f forwards", step, accuracy, nfe)
    return float(np.mean((losses[False] or losses[True])[-20:]))
