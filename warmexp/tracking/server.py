"""Which W&B server there is, and the key that this machine keeps for it."""

from __future__ import annotations

import os
from configparser import ConfigParser
from configparser import Error as ConfigError
from urllib.parse import urlparse

from warmexp.secrets import password_in_netrc

_PUBLIC = "https://api.wandb.ai"


def server() -> str:
    """The address of the W&B server: WANDB_BASE_URL, or what `wandb login --host` has kept."""
    if given := os.environ.get("WANDB_BASE_URL"):
        return given
    folder = os.environ.get("WANDB_CONFIG_DIR") or os.path.expanduser("~/.config/wandb")
    kept = ConfigParser(interpolation=None)
    try:
        kept.read(os.path.join(folder, "settings"))
        return kept.get("default", "base_url", fallback=_PUBLIC)
    except (ConfigError, OSError, UnicodeDecodeError):
        return _PUBLIC


def key_in_netrc(address: str) -> str | None:
    """The password that netrc keeps for a server's host."""
    return password_in_netrc(urlparse(address).hostname or "")
