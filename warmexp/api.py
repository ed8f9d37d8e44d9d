"""warmexp from Python: `run_overrides(["init=token_inject", "rho=0.5"])` is what the command line does with these
words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf, open_dict

from warmexp.config import allowed
from warmexp.config.devices import joined
from warmexp.config.keys import conf_dir
from warmexp.config.plan import Plan, plan
from warmexp.config.plugins import take_words
from warmexp.config.quoting import unescaped
from warmexp.errors import UserError
from warmexp.studies.named import register


def composed(overrides: list[str]) -> tuple[DictConfig, dict[str, str]]:
    """The configuration that a command line composes, and the option chosen in each group."""
    register()
    allowed.install()
    overrides = take_words([unescaped(word) for word in overrides])
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        cfg = compose("config", [joined(word) for word in overrides], return_hydra_config=True)
    choices = OmegaConf.to_container(cfg.hydra.runtime.choices)
    with open_dict(cfg):
        del cfg["hydra"]
    return cfg, choices


def composed_of(words: list[str], *keys: str) -> tuple[DictConfig, dict[str, str]]:
    """The same for a command that these keys alone concern.

    Raises:
        UserError: a word sets another key, which would change nothing.
    """
    for word in words:
        if re.split(r"[.@=]", word.lstrip("+~"))[0] not in (*keys, "plugins"):
            raise UserError(f"{word} would change nothing here: this command asks for {', '.join(keys)} alone.")
    return composed(words)


def planned(overrides: list[str], multirun: bool = False) -> Plan:
    """Compose and check."""
    return plan(*composed(overrides), multirun=multirun)


def run_overrides(overrides: list[str], say: Callable[[str], None] = lambda _: None) -> tuple[dict[str, Any], Path]:
    """Compose, check, run: the run's summary and folder."""
    from warmexp.runs.run import run

    made = planned(overrides)
    return run(made, say), made.folder
