"""Named studies: every file of `sweeps/` is an option of the group `sweep`, so `python -m warmexp -m +sweep=NAME` runs it.

A study is a Hydra multirun written down: `hydra.sweeper.params` says what varies, the rest is ordinary overrides, and the command line
overrides both.
"""

from __future__ import annotations

from functools import cache

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from warmexp.config import sweeps_dir


@cache
def register() -> tuple[str, ...]:
    """Make the shipped studies known to Hydra; their names."""
    names = []
    for file in sorted(sweeps_dir().glob("*.yaml")):
        study = OmegaConf.load(file)
        if "hydra" in study:
            ConfigStore.instance().store(group="sweep", name=file.stem, node=study, package="_global_", provider="sweeps")
            names.append(file.stem)
    return tuple(names)
