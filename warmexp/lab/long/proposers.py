"""The long lab's proposers: causal language models with a tokenizer of their own, each stopped at a chosen accuracy.

A proposer is meant to be wrong at a known rate. `foreign` is as able as `strong` but writes in the wording that the
backbone seldom chooses, so that what is right and what helps come apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from warmexp.lab import evaluate, tokenizers
from warmexp.lab.long import judge
from warmexp.lab.long.data import Pool
from warmexp.lab.long.feed import Batch, Schedule, Stage
from warmexp.lab.long.tokenizers import train_proposer_tokenizer
from warmexp.lab.long.training import Training
from warmexp.lab.scored import next_tokens, put
from warmexp.lab.train_proposers import ProposerRecipe, new_proposer, propose
from warmexp.lab.training import replace_folder


@dataclass(frozen=True, kw_only=True)
class Proposer(Schedule):
    shape: ProposerRecipe
    new_tokenizer: Callable[[], PreTrainedTokenizerFast] = train_proposer_tokenizer
    lr: float = 3e-3
    new_tokens: int = 272


def _proposer(hidden_size: int, layers: int, target: float, shares: tuple[float, ...]) -> Proposer:
    return Proposer(
        stages=(Stage(until=400, level="easy"), Stage(until=1_000, level="middle"), Stage(until=12_000, level="full")),
        shares=shares,
        batch=64,
        pool=4_000,
        pool_steps=100,
        ema=0.995,
        shape=ProposerRecipe(hidden_size=hidden_size, layers=layers, heads=2, target=target),
    )


PROPOSERS = {
    "weak": _proposer(64, 2, 0.22, (0.45, 0.45, 0.10)),
    "strong": _proposer(160, 4, 0.66, (0.45, 0.45, 0.10)),
    "foreign": _proposer(160, 4, 0.66, (0.05, 0.05, 0.90)),
}


def draw(tokenizer: PreTrainedTokenizerFast, r: Proposer, pool: Pool, stage: Stage, rng: np.random.Generator) -> Batch:
    return Batch("ar", next_tokens(*pool.whole(r.batch, rng)))


class ProposerTraining(Training):
    """rows: held-out problems that are answered each time."""

    draw = staticmethod(draw)

    def __init__(self, out: Path, r: Proposer, seed: int = 0, device: str = "cpu", rows: int = 128):
        self.r, self.rows = r, rows
        super().__init__(out, r, seed, device)

    def build(self) -> None:
        self.tokenizer = self.first_tokenizer(self.r.new_tokenizer)
        self.net = new_proposer(self.tokenizer, self.r.shape).to(self.device)
        self.opts = [torch.optim.AdamW(self.net.parameters(), lr=self.r.lr, betas=(0.9, 0.98), weight_decay=0.01)]

    def loss(self, batch: Batch) -> Tensor:
        b = batch.data
        hidden = self.net.model(input_ids=put(b.ids, self.device).long(), use_cache=False).last_hidden_state
        logits = self.net.lm_head(hidden.flatten(0, 1)[put(b.where, self.device).long()])
        return F.cross_entropy(logits.float(), put(b.target, self.device).long())

    def _average(self) -> LlamaForCausalLM:
        shown = new_proposer(self.tokenizer, self.r.shape).to(self.device).eval()
        shown.load_state_dict(self.average.weights)
        return shown

    def judge(self, stage: Stage) -> dict[str, float]:
        """Strict accuracy, in the last stage; it is finished where it reaches the target."""
        if stage is not self.schedule.stages[-1]:
            return {}
        chosen = judge.questions(self.r, stage, self.rows)
        responses = propose(self._average(), self.tokenizer, [p.question for p in chosen], self.r.new_tokens, self.rows)
        right = [evaluate.strict_answer(text) == p.answer for text, p in zip(responses, chosen, strict=True)]
        strict = float(np.mean(right))
        self.finished = strict >= self.r.shape.target
        return {"strict": round(strict, 3)}

    def export(self) -> None:
        def write(where: Path) -> None:
            self._average().to(torch.bfloat16).save_pretrained(where)
            tokenizers.save(self.tokenizer, where)

        replace_folder(self.out / "model", write)
