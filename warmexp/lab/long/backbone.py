"""The long lab's backbone: autoregressive first, on small numbers and few steps, then decoding-like masked states with
autoregressive batches among them, as the quick lab's. docs/lab.md says why, and what it took.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from warmexp.errors import UserError, out_of_memory
from warmexp.lab import states
from warmexp.lab.long import drills, judge, tokenizers
from warmexp.lab.long.data import Pool
from warmexp.lab.long.feed import Batch, Schedule, Stage
from warmexp.lab.long.problems import SHARES
from warmexp.lab.long.training import Training
from warmexp.lab.muon import Muon
from warmexp.lab.scored import Scored, canvases, next_tokens, weighted_loss
from warmexp.lab.train_backbone import PREFIX, BackboneRecipe, causal, new_backbone, optimizers, save_backbone
from warmexp.lab.training import first_line
from warmexp.models.transformer import Transformer


@dataclass(frozen=True, kw_only=True)
class Backbone(Schedule):
    """new_tokenizer: trains one; its digits should be single tokens. drill: one sum of a level, what is shown and what
    follows."""

    shape: BackboneRecipe
    new_tokenizer: Callable[[], PreTrainedTokenizerFast] = tokenizers.train_backbone_tokenizer
    drill: drills.Drill = drills.drill
    muon_lr: float = 5e-3
    adam_lr: float = 3e-3
    weight_decay: float = 0.01
    drill_rows: int = 12


BACKBONE = Backbone(
    stages=(
        Stage(until=400, level="easy"),
        Stage(until=800, level="middle", drills=0.2),
        Stage(until=2_000, level="full", drills=0.3),
        Stage(until=5_000, level="full", ar_share=0.25, rate=0.7, canvases=(192,), drills=0.1),
        Stage(until=10_000, level="full", ar_share=0.15, rate=0.7, canvases=(192,), drills=0.03),
    ),
    shares=SHARES,
    batch=256,
    pool=4_000,
    pool_steps=50,
    warmup=100,
    ema=0.998,
    drill_rows=64,
    shape=BackboneRecipe(
        d_model=256,
        n_layers=6,
        n_heads=4,
        mlp_hidden_size=640,
        canvas=192,
        block_length=32,
        mix=replace(states.StateMix(), block_lengths=(32, 32, 32, 16, 48)),
    ),
)


def draw(tokenizer: PreTrainedTokenizerFast, r: Backbone, pool: Pool, stage: Stage, rng: np.random.Generator) -> Batch:
    """A step's batch: autoregressive or masked, solutions or bare sums."""
    ar = rng.random() < stage.ar_share
    if stage.drills and rng.random() < stage.drills:
        return Batch("drills" if ar else "masked_drills", _drills(tokenizer, r, ar, stage, rng))
    if ar:
        return Batch("ar", next_tokens(*pool.whole(r.batch, rng)))
    return Batch("states", _states(tokenizer, r, pool, int(rng.choice(stage.canvases)), rng))


def _drills(
    tokenizer: PreTrainedTokenizerFast, r: Backbone, ar: bool, stage: Stage, rng: np.random.Generator
) -> Scored:
    """The results of bare sums: autoregressive, or with most of the results and a few other tokens masked, all in
    sight."""
    ids, result = drills.rows(tokenizer, r.generator.LEVELS[stage.level], r.drill_rows, rng, r.drill)
    if ar:
        return next_tokens(ids, result)
    rate = rng.uniform(0.3, 1.0, (len(ids), 1))
    scored = rng.random(ids.shape) < np.where(result, rate, rng.choice((0.0, 0.15), (len(ids), 1)))
    scored[:, 0] = False  # nothing stands before it
    return next_tokens(ids, scored, np.where(scored, tokenizer.mask_token_id, ids))


def _states(
    tokenizer: PreTrainedTokenizerFast, r: Backbone, pool: Pool, canvas: int, rng: np.random.Generator
) -> Scored:
    """Decoding-like states, weighted."""
    prompt, padding, clean, slipped, length = pool.canvases(r.batch, canvas, rng)
    mask = int(tokenizer.mask_token_id)
    s = states.draw(clean, np.minimum(length, canvas), slipped, mask, digits(tokenizer), rng, r.shape.mix)
    return canvases(prompt, clean, s, padding)


@lru_cache(maxsize=2)
def digits(tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
    """[2, 10] ids with and without a space in front: the first and the later digits of a number."""
    return np.array([[ids[0] for ids in tokenizer([f"{s}{n}" for n in range(10)])["input_ids"]] for s in (" ", "")])


def further(r: Backbone) -> Backbone:
    """The recipe's last stage alone, its learning rate from the beginning: for weights that have been trained."""
    before = r.stages[-2].until if len(r.stages) > 1 else 0
    return replace(r, stages=(replace(r.stages[-1], until=r.stages[-1].until - before),))


class BackboneTraining(Training):
    """rows: held-out problems that are judged each time; decoded: how many of them are decoded. start: a model folder,
    whose tokenizer and weights training begins with.

    Raises:
        UserError: as `Training` does, or `start` is no model of this recipe.
    """

    draw = staticmethod(draw)

    def __init__(
        self,
        out: Path,
        r: Backbone,
        seed: int = 0,
        device: str = "cpu",
        rows: int = 64,
        decoded: int = 24,
        start: Path | None = None,
    ):
        self.r, self.rows, self.decoded, self.start = r, rows, decoded, start
        super().__init__(out, r, seed, device)

    def build(self) -> None:
        r = self.r
        self.tokenizer = self.first_tokenizer(partial(_words, self.start) if self.start else r.new_tokenizer)
        self.net = new_backbone(self.tokenizer, r.shape).to(self.device)
        if self.start and not self.file.exists():
            begin_with(self.start, self.net)
        self.opts = optimizers(self.net, partial(Muon, lr=r.muon_lr, weight_decay=r.weight_decay), r.adam_lr)
        self.shown = Transformer(self.net.config).to(self.device)

    def loss(self, batch: Batch) -> Tensor:
        ar = batch.kind in ("ar", "drills")
        return weighted_loss(self.net, batch.data, causal(batch.data.ids.shape[1], self.device) if ar else None)

    def judge(self, stage: Stage) -> dict[str, float]:
        self.shown.load_state_dict(self.average.weights)
        found = judge.numbers_right(self.shown, self.tokenizer, self.r, stage, self.rows)
        if stage.ar_share < 1 and self.decoded:
            found |= judge.decoded(self.shown, self.tokenizer, self.r, stage, self.decoded, self.r.shape)
        return found

    def export(self) -> None:
        save_backbone(self.out / "model", self.net.config, self.average.weights, self.tokenizer)


def _words(start: Path) -> PreTrainedTokenizerFast:
    if not (start / "tokenizer.json").is_file():
        raise UserError(f"--start {start} is no model folder: there is no tokenizer.json in it.")
    return PreTrainedTokenizerFast.from_pretrained(start)


def begin_with(start: Path, net: Transformer) -> None:
    """Lay the weights of a folder that `save_backbone` wrote into the net."""
    try:
        stored = load_file(start / "model.safetensors")
        net.load_state_dict({name.removeprefix(PREFIX): tensor.float() for name, tensor in stored.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        if out_of_memory(error):
            raise
        raise UserError(
            f"--start {start}: its weights are not those of a model of this recipe ({first_line(error)}): give a folder"
            " that such a training wrote."
        ) from None
