"""Command lines drawn from fixed seeds: each ends in a run that is planned, in help, or in a sentence; none in a
traceback or a hang."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from warmexp import __main__ as cli
from warmexp.api import composed
from warmexp.config.keys import GROUPS, options, sweeps_dir
from warmexp.errors import UserError

VALUES = (
    "", "null", "true", "false", "0", "1", "-1", "7", "0.5", "1e308", "1e400", "nan", "inf", "-inf", "10" * 20, "0x10", "1_000",
    "x", "'x y'", '"x"', "'", '"', "a,b", "0.1,0.2", "[", "]", "{", "}", "[1,2]", "[[]]", "{a:1}", "{a:{b:c}}", "[a,[b,{c:d}]]", "()",
    "${oc.env:HOME}", "${oc.env:NOT_THERE}", "${", "${x}", "${..}", "${init}", "${top:rho}", "$", "\\", "\\,", "a\\,b", "a b", "a=b", "=",
    "range(0,3)", "range(3)", "range(0,1,0)", "range(0,1000000000)", "interval(0,1)", "choice(a,b)", "choice()", "glob(*)", "shuffle(a,b)",
    "tag(x,choice(a,b))", "sort(b,a)", "str(1)", "int(x)", "cast(1)", "?" * 3, "*", "~", "@", "#", "%s", "é", "λ", "\u202e", "\x1b[31m",
    "\udcff", "\ud800", "x" * 5000, "../../up", "/dev/zero", "/dev/null", "/proc/self/mem", "/nowhere", ".", "lab:backbone", "lab:x",
    "mask", "none", "token_inject", "file", "hf", "jsonl", "cuda", "cpu", "cuda:99", "cpu:0", "meta", "wandb", "warmexp.init.mask.MaskInit",
)  # fmt: skip
FLAGS = (
    "-m", "--multirun", "--dry-run", "--help", "--hydra-help", "--info", "--info=plugins", "--cfg", "--cfg=job", "--cfg=hydra", "--resolve",
    "--package=init", "-c", "-p", "-cn", "--config-name=x", "--config-dir=nowhere", "--config-path=x", "--version", "--run", "-x", "--",
    "-", "--experimental-rerun=x", "--what", "",
)  # fmt: skip
PREFIXES = ("",) * 10 + ("+", "++", "~", "~~", "+-", "$", " ")
HYDRA = (
    "hydra.mode", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "hydra.job.name", "hydra.job.chdir", "hydra.output_subdir",
    "hydra.sweeper.grids", "hydra.sweeper.params", "hydra.sweeper.max_batch_size", "hydra.sweeper.dry_run", "hydra.verbose",
    "hydra.launcher", "hydra.sweeper", "hydra", "hydra/launcher", "hydra/sweeper", "hydra/job_logging", "hydra/help", "hydra.help.template",
    "hydra.searchpath", "hydra.job.env_set.X", "hydra.overrides.task", "hydra.runtime.choices.init", "hydra.callbacks",
    "hydra.sweeper.n_trials", "hydra.sweeper.sampler", "hydra.callbacks.study._target_", "hydra.launcher._target_",
)  # fmt: skip
PATIENCE = 60


class Hang(BaseException):
    pass


@cache
def keys() -> tuple[str, ...]:
    """Every dotted key of some compositions."""
    found = set()
    for words in (
        [],
        ["init=token_inject", "proposer=hf", "remask=budget", "tracker=wandb"],
        ["task=jsonl", "cache=dual", "unmask=topk"],
    ):
        found |= set(_leaves("", OmegaConf.to_container(composed(words)[0])))
    return tuple(sorted(found))


def _leaves(prefix: str, node: object) -> list[str]:
    if not isinstance(node, dict):
        return [prefix]
    inner = [leaf for key, value in node.items() for leaf in _leaves(f"{prefix}.{key}" if prefix else str(key), value)]
    return [*([prefix] if prefix else []), *inner]


def word(rng: random.Random) -> str:
    kind = rng.random()
    if kind < 0.3:
        group = rng.choice(GROUPS)
        return f"{group}={rng.choice(options(group))}"
    if kind < 0.75:
        return f"{rng.choice(PREFIXES)}{rng.choice(keys())}={rng.choice(VALUES)}"
    if kind < 0.8:
        return f"{rng.choice(PREFIXES)}{rng.choice((*keys(), *GROUPS, *VALUES))}"
    if kind < 0.85:
        return f"{rng.choice(HYDRA)}={rng.choice(VALUES)}"
    if kind < 0.9:
        return rng.choice(FLAGS)
    if kind < 0.95:
        names = [file.stem for file in sorted(sweeps_dir().glob("*.yaml"))]
        return f"+{rng.choice(('sweep', 'experiment', 'x', 'init.x'))}={rng.choice((*VALUES, *names))}"
    return f"{rng.choice(VALUES)}={rng.choice(VALUES)}"


def line(seed: int) -> list[str]:
    rng = random.Random(f"words {seed}")
    words = [word(rng) for _ in range(rng.choice((1, 1, 2, 2, 3, 4)))]
    return [*words, "task.limit=1"] if rng.random() < 0.7 else words


def tried(seeds: Iterable[int], capsys, monkeypatch) -> None:
    """Every line that ends otherwise than it should, with what it said."""

    def planned(plan, *_, **__):
        raise UserError("all was well")

    def ring(*_):
        raise Hang

    monkeypatch.setattr("warmexp.runs.run.run", planned)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setattr(signal, "default_int_handler", signal.default_int_handler)
    before = signal.signal(signal.SIGALRM, ring)
    wrong = []
    try:
        for seed in seeds:
            words = line(seed)
            monkeypatch.setattr(sys, "argv", ["warmexp", *words])
            home = Path.cwd()
            signal.alarm(PATIENCE)
            status: object = 0
            try:
                cli.main()
            except SystemExit as stop:
                status = stop.code
            except BaseException as error:
                status = f"{type(error).__name__}: {error}"[:300]
            finally:
                signal.alarm(0)
            moved, said = Path.cwd() != home, capsys.readouterr()
            monkeypatch.chdir(home)
            usage = said.err.startswith("usage: ")
            sentences = (
                status != 2
                or usage
                or (said.err.startswith("warmexp: ") and said.err.count("\n") == 1 and len(said.err) < 6500)
            )
            if status not in (0, 1, 2) or "Traceback" in said.err + said.out or not sentences or moved:
                wrong.append(f"seed {seed}: {words!r}"[:400] + f" -> {status}: {said.err[-700:]!r}")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not wrong, "\n".join(wrong)


def test_command_lines(quiet_home, capsys, monkeypatch):
    tried(range(40), capsys, monkeypatch)


@pytest.mark.slow
def test_many_command_lines(quiet_home, capsys, monkeypatch):
    tried(range(100, 400), capsys, monkeypatch)
