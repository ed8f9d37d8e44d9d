"""Named studies, and a name for every other multirun.

Every file of `sweeps/` is an option of the group `sweep`, so `python -m warmexp -m +sweep=NAME` runs it. A study is a
Hydra multirun written down: `hydra.sweeper.grids` says what varies, the rest is ordinary configuration, and the command
line overrides both.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from warmexp.config.keys import sweeps_dir
from warmexp.secrets import clean_text

# Words that say where and how a study is run, not what it is.
_NEUTRAL = re.compile(
    r"\W*(outputs|device|batch_size|tracker|study|sweep|hydra/launcher|hydra\.(?!sweeper\.(grids|params)))\b"
)
_UNSAFE = re.compile(r"[^\w.,=+-]")  # in a folder's name
_READABLE = 60  # characters of a name that is spelled out; beyond, a hash stands for the overrides


def register(words: Sequence[str] | None = None) -> tuple[str, ...]:
    """Make the shipped studies known to Hydra; their names.

    words: of a command line, whose study alone is read; the others have their names. None: all are read.
    """
    files = _files()
    named = [word.partition("=")[2] for word in words or () if word.lstrip("+").startswith("sweep=")]
    for file in files:
        if words is None or file.stem in named:
            _store(file)
    return tuple(file.stem for file in files)


@cache
def _files() -> tuple[Path, ...]:
    files = tuple(sorted(sweeps_dir().glob("*.yaml")))
    for file in files:
        _node(file.stem, {})
    return files


@cache
def _store(file: Path) -> None:
    _node(file.stem, OmegaConf.load(file))


def _node(name: str, node: Any) -> None:
    ConfigStore.instance().store(group="sweep", name=name, node=node, package="_global_", provider="sweeps")


def is_neutral(word: str) -> bool:
    """Whether a word says where or how a study is run, not what it is."""
    return _NEUTRAL.match(word) is not None


def essence(words: Sequence[str]) -> tuple[str, ...]:
    """The overrides that say what is run, sorted, without secrets: two command lines with the same ones are the same
    study or job."""
    return essences([words])[0]


def essences(lines: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Of many command lines, which have most of their words in common."""
    clean = {word: clean_text(word) for word in dict.fromkeys(itertools.chain(*lines)) if not is_neutral(word)}
    return [tuple(sorted(clean[word] for word in words if word in clean)) for words in lines]


def study_name(arguments: Sequence[str]) -> str | None:
    """A name for the study that a command line asks for, the same for the same study; None where it names one itself or
    asks for none.

    `+sweep=smoke` is "smoke", `+sweep=smoke task.limit=4` is "smoke-task.limit=4": another study, in a folder of its
    own.
    """
    words = [word for word in arguments if "=" in word and not word.startswith("-")]
    if any(word.startswith("study.name=") for word in words):
        return None
    sweeps = [word.partition("=")[2] for word in words if word.lstrip("+").startswith("sweep=")]
    if not sweeps and not {"-m", "--multirun", "hydra.mode=MULTIRUN"} & set(arguments):
        return None
    base, varied = sweeps[-1] if sweeps else "multirun", essence(words)
    readable = "-".join([base, *varied])
    if len(readable) <= _READABLE and not _UNSAFE.search(readable):
        return readable
    return f"{_UNSAFE.sub('_', base)}-{hashlib.sha256(' '.join(varied).encode()).hexdigest()[:8]}"


def sweeper_of(arguments: Sequence[str]) -> str | None:
    """The sweeper that a named study's file asks for by `override /hydra/sweeper: NAME`; None where it asks for none.

    Only the command line wins over the program's own choice of a sweeper, so the word has to go there.
    """
    names = [word.partition("=")[2] for word in arguments if word.lstrip("+").startswith("sweep=")]
    file = sweeps_dir() / f"{names[-1]}.yaml" if names else None
    if file is None or not file.is_file() or any(word.startswith("hydra/sweeper=") for word in arguments):
        return None
    asked = [entry.get("override /hydra/sweeper") for entry in OmegaConf.load(file).get("defaults") or ()]
    return asked[-1] if asked else None
