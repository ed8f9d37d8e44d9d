"""Train the lab's proposers: ordinary causal language models with a tokenizer of their own, each stopped at a chosen
accuracy."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import sdpa_kernel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from warmexp.lab import evaluate, problems, tokenizers
from warmexp.lab.training import KERNELS, POOL, Average, build_pool, mixed, replace_folder

log = logging.getLogger("warmexp.lab.train")


@dataclass(frozen=True)
class ProposerRecipe:
    hidden_size: int
    layers: int
    heads: int
    # Training stops at this accuracy on calibration questions: a proposer is meant to be wrong at a known rate.
    target: float
    max_steps: int = 6_000
    check_every: int = 100
    canvas: int = 88  # its tokenizer splits digits, so its texts are longer than the backbone's
    batch: int = 64
    lr: float = 3e-3
    warmup: int = 50
    wordy_share: float = (
        0.5  # it writes the wordy form more often than the backbone: right or wrong, its text is often misaligned
    )


PROPOSERS = {
    "proposer_weak": ProposerRecipe(hidden_size=64, layers=2, heads=2, target=0.22),
    "proposer_strong": ProposerRecipe(hidden_size=128, layers=3, heads=2, target=0.68),
}


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
def propose(
    net: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: list[str], new_tokens: int, batch: int = 64
) -> list[str]:
    """Greedy responses."""
    texts = []
    for k in range(0, len(questions), batch):
        prompts = [tokenizers.PROMPT.format(question=q) for q in questions[k : k + batch]]
        inputs = tokenizer(
            prompts, return_tensors="pt", padding=True, padding_side="left", return_token_type_ids=False
        ).to(net.device)
        out = net.generate(**inputs, do_sample=False, max_new_tokens=new_tokens, pad_token_id=tokenizer.pad_token_id)
        texts += tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    return texts


def proposer_accuracy(
    net: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, r: ProposerRecipe, split: str, limit: int | None
) -> float:
    chosen = problems.load(split, limit)
    texts = propose(net, tokenizer, [p.question for p in chosen], r.canvas)
    return sum(evaluate.strict_answer(t) == p.answer for t, p in zip(texts, chosen, strict=True)) / len(chosen)


def train_proposer(
    out: Path, name: str, r: ProposerRecipe, device: torch.device, seed: int, pool: int = POOL // 2
) -> float:
    """Train until the target accuracy is reached, export to out/name, and return the accuracy on calibration
    questions."""
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
        prompt, clean, _, length = (
            a.astype(np.int64) for a in data.batch(r.batch, np.random.default_rng((seed, step)))
        )
        keep = int(length.max())
        ids = torch.from_numpy(np.concatenate((prompt, clean[:, :keep]), 1)).to(device)
        first = prompt.shape[1]
        scored = torch.from_numpy(np.arange(keep) < length[:, None]).to(device)
        with mixed(device), sdpa_kernel(KERNELS[device.type]):
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
