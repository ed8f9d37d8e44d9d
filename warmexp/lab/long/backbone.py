"""The long lab's backbone: autoregressive first, on small numbers and few steps, then decoding-like masked states with
autoregressive batches among them, as the quick lab's. docs/lab.md says why, and what it took.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from warmexp.lab import states
from warmexp.lab.long import drills, judge, tokenizers
from warmexp.lab.long.data import Pool
from warmexp.lab.long.plots import Level
from warmexp.lab.long.problems import LEVELS, SHARES
from warmexp.lab.long.training import Schedule, Stage, Training
from warmexp.lab.muon import Muon
from warmexp.lab.train_backbone import BackboneRecipe, causal, new_backbone, optimizers, save_backbone, states_loss
from warmexp.models.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class Backbone(Schedule):
    shape: BackboneRecipe
    muon_lr: float = 5e-3
    adam_lr: float = 3e-3
    weight_decay: float = 0.01
    drill_rows: int = 12


BACKBONE = Backbone(
    stages=(
        Stage(until=240, level="easy"),
        Stage(until=320, level="middle"),
        Stage(until=560, level="full", drills=0.8),
        Stage(until=1_000, level="full", drills=0.4),
        Stage(until=3_000, level="full", ar_share=0.4, rate=0.5, canvases=(96, 128, 160, 192), drills=0.15),
        Stage(until=6_000, level="full", ar_share=0.25, rate=0.5, canvases=(192,), drills=0.05),
    ),
    shares=SHARES,
    batch=24,
    shape=BackboneRecipe(
        d_model=192,
        n_layers=6,
        n_heads=3,
        mlp_hidden_size=512,
        canvas=192,
        block_length=32,
        mix=replace(states.StateMix(), block_lengths=(32, 32, 32, 16, 48)),
    ),
)


class BackboneTraining(Training):
    """rows: held-out problems that are judged each time; decoded: how many of them are decoded."""

    def __init__(self, out: Path, r: Backbone, seed: int = 0, device: str = "cpu", rows: int = 64, decoded: int = 24):
        self.r, self.rows, self.decoded = r, rows, decoded
        super().__init__(out, r, seed, device)

    def build(self) -> None:
        r = self.r
        self.tokenizer = self.first_tokenizer(tokenizers.train_backbone_tokenizer)
        self.net = new_backbone(self.tokenizer, r.shape).to(self.device)
        self.opts = optimizers(self.net, partial(Muon, lr=r.muon_lr, weight_decay=r.weight_decay), r.adam_lr)
        # With and without a space in front: the first and the later digits of a number.
        self.digits = np.array(
            [[ids[0] for ids in self.tokenizer([f"{space}{n}" for n in range(10)])["input_ids"]] for space in (" ", "")]
        )
        self.shown = Transformer(self.net.config).to(self.device)

    def loss(self, pool: Pool, stage: Stage, rng: np.random.Generator) -> tuple[str, Tensor, int]:
        ar = rng.random() < stage.ar_share
        if stage.drills and rng.random() < stage.drills:
            return ("drills" if ar else "masked_drills"), *self._drills(ar, LEVELS[stage.level], rng)
        if ar:
            return "ar", *self._ar(pool, rng)
        return "states", *self._states(pool, int(rng.choice(stage.canvases)), rng)

    def _ar(self, pool: Pool, rng: np.random.Generator) -> tuple[Tensor, int]:
        """Next-token loss on responses."""
        ids, response = (torch.from_numpy(a).to(self.device) for a in pool.whole(self.r.batch, rng))
        scored = response[:, 1:]
        hidden = self.net(self.net.embed(ids[:, :-1]), causal(ids.shape[1] - 1, self.device))
        return F.cross_entropy(self.net.head(hidden[scored]).float(), ids[:, 1:][scored]), ids.numel()

    def _drills(self, ar: bool, level: Level, rng: np.random.Generator) -> tuple[Tensor, int]:
        """Loss on the results of bare sums: autoregressive, or with most of the results and a few other tokens masked,
        all in sight."""
        ids, result = drills.rows(self.tokenizer, level, self.r.drill_rows, rng)
        shown, scored = ids, result
        if not ar:
            rate = rng.uniform(0.3, 1.0, (len(ids), 1))
            scored = rng.random(ids.shape) < np.where(result, rate, rng.choice((0.0, 0.15), (len(ids), 1)))
            scored[:, 0] = False  # nothing stands before it
            shown = np.where(scored, self.net.config.mask_token_id, ids)
        x = self.net.embed(torch.from_numpy(shown).to(self.device))
        hidden = self.net(x, causal(ids.shape[1], self.device) if ar else None)[:, :-1]
        where = torch.from_numpy(scored[:, 1:]).to(self.device)
        return F.cross_entropy(
            self.net.head(hidden[where]).float(), torch.from_numpy(ids).to(self.device)[:, 1:][where]
        ), ids.size

    def _states(self, pool: Pool, canvas: int, rng: np.random.Generator) -> tuple[Tensor, int]:
        """Weighted loss on decoding-like states; the hidden state at i-1 predicts token i."""
        prompt, clean, slipped, length = pool.canvases(self.r.batch, canvas, rng)
        s = states.draw(
            clean,
            np.minimum(length, canvas),
            slipped,
            self.net.config.mask_token_id,
            self.digits,
            rng,
            self.r.shape.mix,
        )
        return states_loss(self.net, prompt, clean, s), prompt.size + clean.size

    def judge(self, stage: Stage) -> dict[str, float]:
        self.shown.load_state_dict(self.average.weights)
        found = judge.numbers_right(self.shown, self.tokenizer, stage.level, self.rows)
        if stage.ar_share < 1 and self.decoded:
            found |= judge.decoded(self.shown, self.tokenizer, stage.level, self.decoded, self.r.shape)
        return found

    def export(self) -> None:
        save_backbone(self.out / "model", self.net.config, self.average.weights, self.tokenizer)
