"""A search against a grid by hypervolume, over many seeds: what each sampler reaches in 30 trials, and what 30 points of
a grid reach that somebody laid out.

    python -m tests.studies.against_grid --outputs outputs --questions 96

Every setting of a small space is decoded once (120 runs on the lab); the searches are
the real sweeper's, whose jobs are answered from that table, so that many seeds cost seconds. The grid's points are
settings of the same space.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from statistics import mean

import numpy as np
import optuna
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from warmexp.analysis.indicators import hypervolume
from warmexp.api import composed, run_overrides
from warmexp.runs import run as running
from warmexp.studies.fold import Point
from warmexp.studies.search import sweeper
from warmexp.studies.search.samplers import NAMES

REFERENCE = 9.0  # forwards, at which a point is worth nothing
SPACE = [
    "init=mask,token_inject,embed_interp",
    "remask=none,linear",
    "remask.scope=choice(decoded)",
    "tau=range(0.5,0.95,step=0.1)",
    "rho=range(0.1,0.55,step=0.1)",
    "lambda=range(0.2,0.7,step=0.2)",
    "p=0.0,0.5",
]
TAUS, RHOS, LAMBDAS, PS = ["0.5", "0.6", "0.7", "0.8", "0.9"], ["0.1", "0.2", "0.3", "0.4", "0.5"], ["0.2", "0.4", "0.6"], ["0.0", "0.5"]  # fmt: skip
Values = tuple[float, float]  # forwards per question, share of right answers


def settings(**values: Sequence[str]) -> list[frozenset[str]]:
    """The command lines of a grid, as sets of words; remasking is of what the model decoded, for every init."""
    points = [
        {f"{key}={one}" for key, one in zip(values, point, strict=True)}
        for point in itertools.product(*values.values())
    ]
    return [frozenset(words | ({"remask.scope=decoded"} if "remask=linear" in words else set())) for words in points]


def everything(remasks: list[str]) -> list[frozenset[str]]:
    both = {"remask": remasks, "tau": TAUS}
    return [
        *settings(init=["mask"], **both),
        *settings(init=["token_inject"], rho=RHOS, **both),
        *settings(init=["embed_interp"], p=PS, **both, **{"lambda": LAMBDAS}),
    ]


def grid(remasks: list[str]) -> list[frozenset[str]]:
    """Thirty points that somebody would lay out who knows the methods and not the answer."""
    wide, cold = ["0.5", "0.7", "0.9"], {"init": ["mask"], "remask": ["none"], "tau": TAUS}
    hint = {"init": ["embed_interp"], "remask": ["none"], "tau": wide, "lambda": ["0.2", "0.6"], "p": PS}
    if remasks == ["none"]:
        inject = {"init": ["token_inject"], "remask": ["none"]}
        dense, more = settings(**inject, tau=TAUS, rho=["0.1", "0.4"]), settings(**inject, tau=wide, rho=["0.2"])
        return [*settings(**cold), *settings(**hint), *dense, *more]
    return [
        *settings(**cold),
        *settings(**hint),
        *settings(init=["mask"], remask=["linear"], tau=["0.7"]),
        *settings(init=["token_inject"], remask=remasks, tau=wide, rho=["0.1", "0.4"]),
    ]


def decoded(points: list[frozenset[str]], outputs: str, questions: int) -> dict[frozenset[str], Values]:
    """The table. Runs that are there are reused."""
    found = {}
    for point in points:
        words = [*sorted(point), f"task.limit={questions}", f"outputs={outputs}"]
        summary, _ = run_overrides(words)
        found[point] = summary["nfe_mean"], summary["accuracy_flexible"]
    return found


class FromTable(sweeper.Trials):
    """The sweeper; its jobs are looked up and its trials forgotten."""

    def __init__(self, table: dict[frozenset[str], Values], sampler: str, seed: int, trials: int, folder: str):
        super().__init__(trials, 1, sampler, seed, None, (), None, 3, None, dry_run=False)
        self.table, self.launcher, self.tried = table, self, []
        self.config = OmegaConf.create(
            {"study": {"name": "s", "baseline": None}, "hydra": {"sweep": {"dir": folder}, "runtime": {"choices": {}}}}
        )

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        self.tried += map(frozenset, job_overrides)
        return [JobReturn(status=JobStatus.COMPLETED, _return_value=self.table[key]) for key in self.tried[-1:]]

    def _composed(self, words: Sequence[str]) -> DictConfig:
        return _groups(tuple(word for word in words if word.startswith(("init=", "remask="))))


@cache
def _groups(words: tuple[str, ...]) -> DictConfig:
    cfg, choices = composed(list(words))
    OmegaConf.update(cfg, "hydra", {"runtime": {"choices": choices}}, force_add=True)
    return cfg


def looked_up(table: dict[frozenset[str], Values]) -> Callable[..., Point]:
    def point_of(_, words: tuple[str, ...]) -> Point:
        key = frozenset(words)  # of a trial, or of one end of what varies
        name = " ".join(sorted(key)) if any(key <= one for one in table) else None
        return Point(words, name, None, 0, {}, None if name else "not in the table")

    return point_of


def reached(points: Sequence[Values]) -> float:
    nfe, accuracy = np.array(points, dtype=float).T
    return hypervolume(nfe, accuracy, REFERENCE)


def searched(
    table: dict[frozenset[str], Values], space: list[str], sampler: str, seed: int, trials: int
) -> list[Values]:
    with tempfile.TemporaryDirectory() as folder:
        search = FromTable(table, sampler, seed, trials, folder)
        search.sweep(space)
    return [table[point] for point in search.tried]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outputs", default="outputs")
    parser.add_argument("--questions", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--without-remasking", action="store_true", help="60 settings instead of 120: cheaper")
    parser.add_argument("--samplers", default=",".join(NAMES))
    asked = parser.parse_args()
    running._figures = lambda folder, records: []
    remasks = ["none"] if asked.without_remasking else ["none", "linear"]
    laid_out = grid(remasks)
    table = decoded(everything(remasks), asked.outputs, asked.questions)
    assert set(laid_out) <= set(table) and len(set(laid_out)) == len(laid_out) == 30
    space = [word for word in SPACE if len(remasks) > 1 or not word.startswith("remask")]
    space += [] if len(remasks) > 1 else ["remask=none"]
    sweeper.point_of, sweeper.show = looked_up(table), lambda *_: None
    sweeper.opened = lambda *_, **__: optuna.storages.InMemoryStorage()
    theirs = reached([table[point] for point in laid_out])
    print(
        f"grid of {len(laid_out)}: {theirs:.4f}; all {len(table)} settings: {reached(list(table.values())):.4f}",
        flush=True,
    )
    for sampler in asked.samplers.split(","):
        volumes = [reached(searched(table, space, sampler, seed, len(laid_out))) for seed in range(asked.seeds)]
        better, equal = sum(v > theirs + 1e-9 for v in volumes), sum(abs(v - theirs) <= 1e-9 for v in volumes)
        each = " ".join(f"{v:.4f}" for v in volumes)
        print(f"{sampler:7} better in {better}, equal in {equal} of {len(volumes)}: mean {mean(volumes):.4f} ({each})", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
