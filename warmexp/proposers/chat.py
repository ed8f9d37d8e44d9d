"""Chat templates: conversations to text, in a process of their own with limits.

A chat template is a program in a checkpoint's files. `transformers` runs it in a sandbox (Jinja's), which keeps it from
the machine but not from running for ever or from asking for all of the memory. So it is rendered in a child process:
seconds of processor time, memory and the length of what it writes are limited, and it sees no environment variable but
the few below.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from warmexp.errors import UserError

# Some templates write the day's date into the prompt; a proposal must not depend on it. This is the date that Llama
# 3.1's shows by default.
DATE = datetime(2024, 7, 26)
SECONDS = 5  # of processor time, and 10 ms more for each conversation
MEMORY = 512 << 20  # bytes beyond what the interpreter itself takes
LONGEST = 1 << 16  # characters that a template may add to a conversation
# Names that the call itself gives to a template.
RESERVED = frozenset(
    {"messages", "conversations", "chat_template", "tools", "documents", "tokenize", "add_generation_prompt", "continue_final_message",
     "return_assistant_tokens_mask", "strftime_now", "raise_exception"}
)  # fmt: skip
_ENVIRONMENT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


def rendered(
    name: str, template: str, conversations: Sequence[Sequence[dict[str, str]]], variables: dict[str, Any]
) -> list[str]:
    """What a template makes of each conversation, up to where the assistant speaks.

    Args:
        name: whose template it is, for messages ("proposer.path=…").
        conversations: messages {"role": …, "content": …}.
        variables: what the template may read beside the messages (special tokens, `enable_thinking`, …); plain values
        only.
    Raises:
        UserError: the template fails, does not end in time, or takes or writes too much.
    """
    request = {"template": template, "conversations": conversations, "variables": variables}
    environment = {key: os.environ[key] for key in _ENVIRONMENT if key in os.environ}
    environment |= {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__],
            input=json.dumps(request).encode(),
            capture_output=True,
            env=environment,
            timeout=300 + _seconds(request),
            check=False,
        )
        killed = done.returncode in (-int(getattr(signal, "SIGXCPU", 0)), -9)
        why = f"does not end within {_seconds(request):.0f} seconds" if killed else None
    except subprocess.TimeoutExpired:
        why = "does not end"
    if why is None:
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            answer = {"error": f"cannot be rendered (exit status {done.returncode})"}
        if isinstance(answer, list):
            return answer
        why = answer["error"]
    raise UserError(f"{name}: its chat template {why}: set proposer.chat_template=false, or choose another proposer.")


class _Today(datetime):
    @classmethod
    def now(cls, tz=None) -> datetime:
        return DATE


def _seconds(request: dict[str, Any]) -> float:
    return SECONDS + len(request["conversations"]) / 100


def _main() -> None:
    """The child: a request on standard input, texts or {"error": …} on standard output."""
    request = json.load(sys.stdin)
    from transformers.utils import chat_template_utils as library  # takes a second, before the limits begin

    library.datetime = _Today  # `strftime_now` of a template reads it
    _limit(int(_seconds(request)))
    try:
        answer = _texts(library.render_jinja_template, **request)
    except MemoryError:
        answer = {"error": f"takes more than {MEMORY >> 20} MiB of memory"}
    except Exception as error:  # whatever a template can raise
        first = (str(error).strip().splitlines() or [""])[0][:200]
        answer = {"error": f"cannot be rendered ({type(error).__name__}: {first})"}
    sys.stdout.write(json.dumps(answer))


def _texts(
    render, template: str, conversations: list[list[dict[str, str]]], variables: dict[str, Any]
) -> list[str] | dict[str, str]:
    texts = []
    for conversation in conversations:
        (text,), _ = render(
            conversations=[conversation],
            chat_template=template,
            add_generation_prompt=True,
            **variables,
        )
        if len(text) > LONGEST + 4 * sum(len(message["content"]) for message in conversation):
            return {"error": f"adds more than {LONGEST} characters to a prompt"}
        texts.append(text)
    return texts


def _limit(seconds: int) -> None:
    try:
        import resource
    except ImportError:  # not a Unix system: what remains is the limit of time from outside
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds += int(used.ru_utime + used.ru_stime) + 1
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    try:
        with open("/proc/self/statm") as handle:
            own = int(handle.read().split()[0]) * resource.getpagesize()
    except OSError:
        return  # this system does not count what RLIMIT_AS limits
    resource.setrlimit(resource.RLIMIT_AS, (own + MEMORY, own + MEMORY))


if __name__ == "__main__":
    _main()
