"""What is secret, and text without it: values that this machine keeps, and what services hand out, known by its form.

Every text that leaves the process (run folder, log, report, picture, tracker) passes `without_secrets` or `clean_text`.
Covered is:
  values   of environment variables whose name says secret (`…_TOKEN`, `…_KEY`, `…_PAT`, `…_PASS`, `…_PASSWORD`,
  `…SECRET…`, …),
           and the passwords of all hosts in netrc; also where they are written as JSON or in an address
  forms    the rows of `_PREFIXES` and `_FORMS`
  keys     of a configuration whose name says secret, whatever their text
Not covered: a password without a form that nothing here knows, one shorter than 8 characters, one that was encoded
otherwise.
"""

from __future__ import annotations

import base64
import binascii
import json
import netrc
import os
import re
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

REMOVED = "(removed: a secret)"
_REMOVED_START = "(removed:"
_SHORTEST = 8  # characters of a value of the environment or netrc

# What services hand out begins with letters of its own: (they, what follows). It may stand behind anything but a letter
# or digit (KEY_hf_…); directly behind those (keyhf_…) only where what follows is as long and as mixed as no word is.
_GLUED = {  # what follows then, where it is other than below
    "AKIA": r"(?<![A-Z0-9]AKIA)[A-Z0-9]{16}", "ASIA": r"(?<![A-Z0-9]ASIA)[A-Z0-9]{16}",
    "SK": r"(?<![A-Z]SK)[0-9a-f]{32}", "dapi": r"[0-9a-f]{32}",
    "eyJ": r"[\w-]{16,}\.[\w-]{16,}\.",
    "sk-": r"(?:[a-z]{2,5}(?:\d\d|v1)?-){0,3}(?=[A-Za-z_]{0,60}\d)\w{24,}",
    "gl": r"\w{2,5}-\w{20,}", "SG.": r"[\w-]{22}\.[\w-]{40,}", "xox": r"[abeoprs]-\d{8,}-",
    "sk_": r"(?:live|test)_\w{20,}", "rk_": r"(?:live|test)_\w{20,}", "ATATT3": r"[\w=-]{60,}",
}  # fmt: skip
_LONG_WORD = r"[\w-]{0,12}[A-Za-z0-9]{24,}"


def _token(prefix: str, rest: str) -> re.Pattern[str]:
    word = re.escape(prefix)
    return re.compile(rf"{word}(?:(?<![A-Za-z0-9]{word})|(?={_GLUED.get(prefix, _LONG_WORD)})){rest}")


_PREFIXES = [(prefix, _token(prefix, rest)) for prefix, rest in (
    ("hf_", r"[A-Za-z0-9]{16,}"), ("api_org_", r"[A-Za-z0-9]{16,}"),                  # Hugging Face
    ("wandb_v", r"\d_\w{16,}"),                                                       # Weights & Biases
    ("sk-", r"(?=[\w-]{0,200}\d|[A-Z]{16})[\w-]{16,}"),                               # OpenAI, Anthropic, OpenRouter, DeepSeek
    ("gsk_", r"\w{32,}"), ("xai-", r"\w{32,}"), ("pplx-", r"[A-Za-z0-9]{32,}"),        # Groq, xAI, Perplexity
    ("r8_", r"[A-Za-z0-9]{32,}"), ("nvapi-", r"[\w-]{32,}"),                          # Replicate, NVIDIA
    ("ghp_", r"[A-Za-z0-9]{20,}"), ("gho_", r"[A-Za-z0-9]{20,}"), ("ghu_", r"[A-Za-z0-9]{20,}"),  # GitHub: personal, OAuth, user
    ("ghs_", r"[A-Za-z0-9]{20,}"), ("ghr_", r"[A-Za-z0-9]{20,}"), ("github_pat_", r"\w{20,}"),     # server, refresh, fine-grained
    ("gl", r"(?:pat|dt|rt|cbt|ptt|ft|soat|agent|imt)-[\w.-]{16,}"),                   # GitLab
    ("xox", r"[abeoprs]-[\w-]{10,}"), ("xapp-", r"\d-[\w-]{16,}"),                    # Slack
    ("AKIA", r"[A-Z0-9]{16}(?![A-Za-z0-9])"), ("ASIA", r"[A-Z0-9]{16}(?![A-Za-z0-9])"),                         # AWS: ids of keys
    ("AIza", r"[\w-]{30,}"), ("ya29.", r"[\w-]{20,}"), ("GOCSPX-", r"[\w-]{20,}"),     # Google
    ("npm_", r"[A-Za-z0-9]{30,}"), ("pypi-AgE", r"[\w-]{40,}"),
    ("SG.", r"[\w-]{16,}\.[\w-]{16,}"), ("SK", r"[0-9a-f]{32}(?![A-Za-z0-9])"),                    # SendGrid, Twilio
    ("sk_", r"(?:live|test)_\w{16,}"), ("rk_", r"(?:live|test)_\w{16,}"), ("whsec_", r"\w{16,}"),  # Stripe
    ("dapi", r"[0-9a-f]{32}"), ("dop_v1_", r"[0-9a-f]{40,}"), ("doo_v1_", r"[0-9a-f]{40,}"),        # Databricks, DigitalOcean
    ("ATATT3", r"[\w=-]{40,}"), ("hvs.", r"[\w-]{20,}"), ("lin_api_", r"\w{30,}"),     # Atlassian, Vault, Linear
    ("AGE-SECRET-KEY-1", r"[A-Z0-9]{40,}"),
    ("lsv2_", r"[a-z]{2}_\w{24,}"), ("tgp_v1_", r"[\w-]{24,}"), ("tvly-", r"[\w-]{24,}"),  # LangSmith, Together, Tavily
    ("pcsk_", r"\w{24,}"), ("jina_", r"\w{24,}"), ("dckr_pat_", r"[\w-]{20,}"),           # Pinecone, Jina, Docker
    ("glsa_", r"\w{24,}"), ("sntrys_", r"[\w=+/-]{24,}"), ("shpat_", r"[0-9a-f]{32}"),    # Grafana, Sentry, Shopify
    ("tskey-", r"[a-z]{3,10}-[\w-]{16,}"), ("ntn_", r"[A-Za-z0-9]{40,}"),                   # Tailscale, Notion
    ("eyJ", r"[\w-]{8,}\.[\w-]*\.[\w-]{8,}(?:\.[\w-]*)*"),                           # JSON web tokens, signed or encrypted
)]  # fmt: skip
_NAMES = r"(?:[a-z]{1,16}[_-])?(?:token|key|secret|password|passwd|pwd|auth|signature|credential)"
# (what stands in every one, in small letters; the pattern). Where the pattern has a group, only what the group matches
# is the secret.
_FORMS = [(marker, re.compile(pattern)) for marker, pattern in (
    ("private key", r"-----BEGIN [A-Z0-9 ]{0,20}PRIVATE KEY[A-Z ]{0,10}-----(?:(?!-----)[\s\S]){0,16384}(?:-----END[A-Z0-9 ]{0,40}-----)?"),
    ("://", r"://([^/\s:@\"'<>]{0,200}:[^/\s@\"'<>]{1,400})@"),                        # user:password@host
    ("://", r"://((?=[^/\s:@\"'<>]{0,400}\d)[^/\s:@\"'<>]{20,400})@"),                # token@host
    ("://", rf"(?i)[?&;](?:{_NAMES}|sig|pat|x-(?:amz|goog)-(?:signature|credential|security-token))=([^&\s\"'<>\\;]{{6,2000}})"),
    ("hooks.slack.com/", r"hooks\.slack\.com/(?:services|workflows)/([\w/]{16,})"),
    ("/api/webhooks/", r"/api/webhooks/(\d+/[\w-]{16,})"),                             # Discord
    (":aa", r"(?<!\d)\d{8,10}:AA[\w-]{30,}"),                                          # Telegram
    ("aws", r"(?i)aws_?(?:secret|session)_?\w{0,16}[\"'\\]*\s{0,4}[=:]\s{0,4}[\"'\\]*([A-Za-z0-9/+=]{20,})"),
    ("accountkey=", r"(?i)AccountKey=([A-Za-z0-9+/=]{40,})"),                         # Azure
    ("sharedaccesskey=", r"(?i)SharedAccessKey=([A-Za-z0-9+/=]{30,})"),
    ("_auth", r"(?i)_auth(?:token)?\s{0,4}=\s{0,4}[\"']?([\w+/=.-]{8,})"),             # .npmrc
    ("authorization", r"(?i)authorization[\"'\\]*\s{0,4}[:=]\s{0,4}[\"'\\]*(?:(?:bearer|basic|token)\s{1,4})?([\w.~+/=-]{8,})"),
    ("bearer ", r"(?i)bearer ((?=[A-Za-z._~+/-]{0,60}\d)[\w.~+/=-]{20,})"),
)]  # fmt: skip

_WORDS = (
    r"tokens?|pat|pass|passwd|password|passphrase|pwd|secrets?|key|api_?key|access_?key(?:_?id)?|private_?key|credentials?|auth"
    r"|authorization|cookie|dsn|webhook"
)
# Of the environment: AWS_SECRET_ACCESS_KEY, GITHUB_PAT, DB_PASS, HF_TOKEN_2, TOKEN_OF_HF, MYSECRET.
_SECRET_VARIABLE = re.compile(
    rf"(?:^|_)(?:{_WORDS})(?:_?\d+)?$|(?:^|_)(?:tokens?|creds?|credentials?|cookies?)(?:_|$)|secret|passw|token$|api_?key",
    re.I,
)
_NO_SECRET_VARIABLE = {"PWD", "OLDPWD"}
# Of a configuration: narrower, since `key` and `token` have other meanings there.
_SECRET_KEY = re.compile(
    r"token$|api_?key|access_?key|private_?key|password|passwd|passphrase|secret|credential|authorization", re.I
)
# Ours and transformers' that say so and are none: texts of special tokens and numbers of tokens.
_HARMLESS_KEY = re.compile(
    r"(?:^|_)(?:mask|pad|bos|eos|unk|sep|cls|end|start|stop|per|first|last|next|special)_token$|^tokens$", re.I
)


def clean_text(text: str) -> str:
    """The text with `REMOVED` in the place of every secret. What is clean stays as it is."""
    return _clean(text, _known())


def secret_spans(text: str) -> list[tuple[int, int]]:
    """Where secrets stand: [start, end) of each, in order, apart from each other."""
    return _spans(text, _known())


def without_secrets(value: Any) -> Any:
    """A copy of nested dicts and lists without keys that look like secrets, and without secrets in any text (keys
    included)."""
    known = _known()

    def clean(node: Any) -> Any:
        if isinstance(node, str):
            return _clean(node, known)
        if isinstance(node, dict):
            return {
                _clean(k, known) if isinstance(k, str) else k: clean(v)
                for k, v in node.items()
                if not _secret_key(k, v)
            }
        if isinstance(node, (list, tuple)):
            return [clean(v) for v in node]
        return node

    return clean(value)


_ESCAPES = re.compile(r"\\(?:[nrtbf]|u[0-9a-fA-F]{4})")


def json_without_secrets(value: Any, **style: Any) -> str:
    """`json.dumps`, without secrets. Fast where there are none: the text is searched once, and only then looked at
    piece by piece.

    style: of json.dumps.
    """
    text = json.dumps(value, **style)
    # An escape ends in a letter, which would hide a secret that stands behind it.
    plain = _ESCAPES.sub(" ", text)
    return json.dumps(without_secrets(json.loads(text)), **style) if is_secret(text) or is_secret(plain) else text


def is_secret(text: str) -> bool:
    """Whether a secret stands in the text."""
    known = _known()
    return any(secret in text for secret in known) or bool(_spans(text, frozenset()))


def holds_secret(file: Path) -> bool:
    """Whether a file holds a secret, the packed blocks of a report included (a false alarm only keeps a file at
    home)."""
    text = file.read_bytes().decode("utf-8", "ignore")
    rest, blocks = _PACKED.sub("", text), _PACKED.findall(text)
    return is_secret(rest) or any(is_secret(_unpacked(block)) for block in blocks)


_PACKED = re.compile(r'(?<=<script type="text/plain" id=")[\w-]{1,40}">([A-Za-z0-9+/=]*)(?=</script>)')
_LARGEST = 2**28  # bytes of one unpacked block


def _unpacked(block: str) -> str:
    try:
        return zlib.decompressobj(wbits=31).decompress(base64.b64decode(block), _LARGEST).decode("utf-8", "ignore")
    except (binascii.Error, zlib.error):
        return block


def _secret_key(key: Any, value: Any) -> bool:
    return isinstance(value, (str, dict, list, tuple)) and _says_secret(str(key))


@lru_cache(maxsize=4096)
def _says_secret(key: str) -> bool:
    return bool(_SECRET_KEY.search(key)) and not _HARMLESS_KEY.search(key)


def _clean(text: str, known: frozenset[str]) -> str:
    return _clean_short(text, known) if len(text) <= 200 else _cleaned(text, known)


@lru_cache(maxsize=4096)
def _clean_short(text: str, known: frozenset[str]) -> str:
    """The configurations of many runs say the same again and again."""
    return _cleaned(text, known)


def _cleaned(text: str, known: frozenset[str]) -> str:
    for start, end in reversed(_spans(text, known)):
        text = text[:start] + REMOVED + text[end:]
    return text


def _spans(text: str, known: frozenset[str]) -> list[tuple[int, int]]:
    found = []
    for secret in known:
        at = text.find(secret)
        while at >= 0:
            found.append((at, at + len(secret)))
            at = text.find(secret, at + len(secret))
    for pattern in _worth_trying(text):
        found += [one.span(pattern.groups) for one in pattern.finditer(text)]
    apart: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if text.startswith(_REMOVED_START, start):  # an address whose password was taken out before
            continue
        if apart and start < apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return apart


def _worth_trying(text: str) -> list[re.Pattern[str]]:
    """The patterns whose beginning or marker stands in the text: searching for a fixed word is many times faster."""
    small = text.lower()
    return [p for prefix, p in _PREFIXES if prefix in text] + [p for marker, p in _FORMS if marker in small]


def _known() -> frozenset[str]:
    """What the environment and netrc hold."""
    return _values(_in_environment(), tuple(_netrc_stamps()))


_looked: tuple[dict, tuple[str, ...]] = ({}, ())  # the environment when it was last looked at, and what it holds


def _in_environment() -> tuple[str, ...]:
    """Every text that is written asks, and the environment hardly ever changes: where it is as it was, comparing it as
    Python keeps it (bytes on POSIX) takes a hundredth of looking at each name."""
    global _looked
    now = getattr(os.environ, "_data", None)
    kept, values = _looked
    if now is None or now != kept:
        named = ((name, value) for name, value in os.environ.items() if len(value) >= _SHORTEST)
        values = tuple(v for name, v in named if _SECRET_VARIABLE.search(name) and name not in _NO_SECRET_VARIABLE)
        _looked = (dict(now or {}), values)
    return values


@lru_cache(maxsize=8)
def _values(found: tuple[str, ...], netrc_files: tuple[tuple[str, int], ...]) -> frozenset[str]:
    """Each value as it is, as JSON writes it and as an address does. A variable may name a file that keeps the secret:
    that is none."""
    secrets = {value for value in found if not os.path.exists(value)}
    for name, _ in netrc_files:
        secrets |= {entry[2] for entry in _netrc_entries(name).values() if entry[2]}
    spelled = {how for secret in secrets for how in (secret, json.dumps(secret)[1:-1], quote(secret, safe=""))}
    return frozenset(secret for secret in spelled if len(secret) >= _SHORTEST)


def _netrc_stamps() -> list[tuple[str, int]]:
    stamps = []
    for name in netrc_names():
        try:
            stamps.append((name, os.stat(name).st_mtime_ns))
        except OSError:
            continue
    return stamps


def netrc_names() -> list[str]:
    """Where netrc may lie, first come first."""
    return [os.path.expanduser(name) for name in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc") if name]


def _netrc_entries(name: str) -> dict[str, tuple[str, str | None, str | None]]:
    try:
        return netrc.netrc(name).hosts
    except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
        return {}


def password_in_netrc(host: str) -> str | None:
    """The password that netrc keeps for a host, looked up without asking anybody."""
    for name in netrc_names():
        entries = _netrc_entries(name)
        if found := entries.get(host) or entries.get("default"):
            return found[2]
    return None
