"""Which environment variables a configuration may read by `${oc.env:NAME}`: those that somebody here has named.

A configuration from somebody else could put any variable into a prompt, and with it into records and reports that are
shared. So a variable is read only where its name is in the project's own configuration (those of `OURS`), in one of a
trusted package, or on the command line. Who asks is the resolver itself, so that no way of writing an interpolation
goes past it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from omegaconf import OmegaConf
from omegaconf.resolvers import oc

from warmexp.config.plugins import conf_folders
from warmexp.errors import UserError

OURS = frozenset({"WANDB_PROJECT", "WANDB_ENTITY", "OPENAI_BASE_URL"})
_ASKED = re.compile(r"oc\.env:\s*[\"']?(\w+)")
_typed: set[str] = set()


def let(words: Iterable[str]) -> None:
    """From now on the variables that these words of a command line name may be read, and no longer those of an earlier
    one."""
    _typed.clear()
    _typed.update(name for word in words for name in _ASKED.findall(word))


def _trusted() -> set[str]:
    files = (file for folder in conf_folders() for file in folder.rglob("*.yaml"))
    return {name for file in files for name in _ASKED.findall(file.read_text(encoding="utf-8", errors="replace"))}


def _read(name: Any, *default: Any) -> str | None:
    if name not in OURS and name not in _typed and name not in _trusted():
        raise UserError(
            f"${{oc.env:{name}}} is refused in a configuration file: an environment variable that it may read is"
            f" named on the command line, such as 'KEY=${{oc.env:{name}}}'; or write the value itself."
        )
    return oc.env(name, *default)


OmegaConf.register_new_resolver("oc.env", _read, replace=True)
