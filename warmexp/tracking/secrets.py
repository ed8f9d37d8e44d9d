"""What never reaches a tracker: keys that look like secrets, values that are one, and files that hold one."""

from __future__ import annotations

import netrc
import os
import re
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

_PUBLIC = "https://api.wandb.ai"
REMOVED = "(removed: a secret)"
_SECRET_NAME = re.compile(r"token$|api_?key|password|passwd|secret|credential|authorization", re.I)
# Keys of ours that look like secrets by name and are none.
_HARMLESS = {"end_tokens", "tokens", "max_new_tokens"}
# What services hand out is told by its prefix; user:password@ stands in addresses.
_SECRET_VALUE = re.compile(r"\b(?:hf_|wandb_v\d_|sk-|ghp_|github_pat_|xox[bp]-|glpat-|AKIA)[\w-]{16,}|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")


def without_secrets(config: Any) -> Any:
    """A copy without keys that look like secrets and without values that are one, of the environment or by their form."""
    secrets = _known()

    def clean(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: clean(v) for k, v in node.items() if str(k) in _HARMLESS or not _SECRET_NAME.search(str(k))}
        if isinstance(node, (list, tuple)):
            return [clean(v) for v in node]
        if isinstance(node, str):
            return _clean_text(node, secrets)
        return node

    return clean(config)


def holds_secret(file: Path) -> bool:
    """Whether a file holds a secret of the environment, or something of a secret's form (a false alarm only keeps a file at home)."""
    content = file.read_bytes()
    return any(secret.encode() in content for secret in _known()) or bool(_SECRET_VALUE.search(content.decode("utf-8", "ignore")))


def key_in_netrc(server: str) -> str | None:
    """The password that netrc keeps for a server's host, looked up without asking anybody."""
    host = urlparse(server).hostname or ""
    for name in filter(None, (os.environ.get("NETRC"), "~/.netrc", "~/_netrc")):
        try:
            found = netrc.netrc(os.path.expanduser(name)).authenticators(host)
        except (OSError, netrc.NetrcParseError):
            continue
        if found:
            return found[2]
    return None


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


def _known() -> set[str]:
    found = {value for name, value in os.environ.items() if _SECRET_NAME.search(name)} | {key_in_netrc(server()) or ""}
    return {secret for secret in found if len(secret) >= 8}


def _clean_text(text: str, secrets: set[str]) -> str:
    if any(secret in text for secret in secrets):
        return REMOVED
    return _SECRET_VALUE.sub(REMOVED, text)
