"""The batches of a training, each a pure function of (seed, step), made in this process or by others ahead of it."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from types import ModuleType

import numpy as np
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerFast

from warmexp.errors import UserError
from warmexp.lab.long.data import Pool, texts
from warmexp.lab.scored import Scored

AHEAD = 3  # segments that each process has ready or under way


@dataclass(frozen=True)
class Stage:
    """Steps up to `until`: which problems; which share of the batches is autoregressive; the learning rate relative to
    the recipe's; canvas lengths of the other batches, drawn for each whatever the answers' lengths, so that nothing can
    be read off them; which share of either kind of batch is drills."""

    until: int
    level: str = "full"
    ar_share: float = 1.0
    rate: float = 1.0
    canvases: tuple[int, ...] = ()
    drills: float = 0.0


@dataclass(frozen=True)
class Schedule:
    """What the recipes share. problems: the module of the generator; docs/lab.md says what is in one."""

    stages: tuple[Stage, ...]
    shares: tuple[float, ...]  # of the wordings
    batch: int
    pool: int = 8_000  # problems of a pool
    pool_steps: int = 400  # a fresh pool after so many steps
    warmup: int = 30
    decay_from: float = 0.5  # the learning rate falls linearly from this share of all steps on
    ema: float = 0.99
    problems: str = "warmexp.lab.long.problems"

    @property
    def generator(self) -> ModuleType:
        return importlib.import_module(self.problems)

    def check(self) -> None:
        """Raises UserError: the generator has not what the stages want."""
        levels, train = self.generator.LEVELS, self.generator.SPLITS["train"]
        for stage in self.stages:
            if stage.level not in levels:
                raise UserError(f"A stage's level={stage.level} is not one of {', '.join(levels)} of {self.problems}.")
        if train <= 2 * self.pool:
            raise UserError(
                f"pool={self.pool} of the recipe needs a training split of more than {2 * self.pool} problems, and"
                f" {self.problems} has {train}: enlarge SPLITS['train'], which costs nothing, or give a smaller pool."
            )

    @property
    def steps(self) -> int:
        return self.stages[-1].until

    def stage(self, step: int) -> Stage:
        return next(s for s in self.stages if step < s.until)

    def rate(self, step: int) -> float:
        """Warm up, stay, fall linearly to zero; times the stage's."""
        fall = (self.steps - step) / max(1.0, self.steps * (1 - self.decay_from))
        return min(1.0, (step + 1) / self.warmup, fall) * self.stage(step).rate


@dataclass(frozen=True)
class Batch:
    kind: str
    data: Scored

    def small(self) -> Batch:
        """In small integers, for the way from one process to another."""
        found = {f.name: getattr(self.data, f.name) for f in fields(self.data)}
        small = {k: v.astype(np.int32) for k, v in found.items() if v is not None and v.dtype.kind in "iu"}
        return replace(self, data=replace(self.data, **small))


Draw = Callable[[PreTrainedTokenizerFast, Schedule, Pool, Stage, np.random.Generator], Batch]


@dataclass(frozen=True)
class Segments(Dataset):
    """The batches of steps first … last - 1; element k holds those of one pool. draw: a function of a module, since
    other processes have to find it."""

    tokenizer: PreTrainedTokenizerFast
    schedule: Schedule
    draw: Draw
    seed: int
    first: int
    last: int

    def __len__(self) -> int:
        return -(-self.last // self.schedule.pool_steps) - self.first // self.schedule.pool_steps

    def __getitem__(self, k: int) -> list[Batch]:
        if not 0 <= k < len(self):
            raise IndexError(k)
        size = self.schedule.pool_steps
        number = self.first // size + k
        steps = range(max(self.first, number * size), min(self.last, (number + 1) * size))
        return [self._made(step).small() for step in steps]

    def _made(self, step: int) -> Batch:
        stage = self.schedule.stage(step)
        rng = np.random.default_rng((self.seed, step))
        return self.draw(self.tokenizer, self.schedule, self._pool(step, stage), stage, rng)

    def _pool(self, step: int, stage: Stage) -> Pool:
        """Which pool it is depends on the step alone; a segment that a stage ends in has two."""
        s = self.schedule
        key = (stage.level, stage.ar_share < 1, step // s.pool_steps)
        kept = self.__dict__.setdefault("_kept", {})
        if key not in kept:
            kept.clear()
            start = key[2] * s.pool % (s.generator.SPLITS["train"] - 2 * s.pool)
            found = texts(self.tokenizer, s.generator, stage.level, start, s.pool, s.shares, slips=key[1])
            kept[key] = Pool(found, self.tokenizer.eos_token_id)
        return kept[key]


def batches(segments: Segments, workers: int) -> Iterator[Batch]:
    """In the order of the steps. workers: processes that work ahead; 0 makes them here, when they are wanted."""
    ahead = {"multiprocessing_context": "spawn", "prefetch_factor": AHEAD, "worker_init_fn": _obey} if workers else {}
    for segment in DataLoader(segments, batch_size=None, num_workers=workers, **ahead):
        yield from segment


def _obey(worker: int) -> None:
    """A signal to the group is for the process that trains: it saves, and the others end with it."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
