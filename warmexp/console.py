"""Everything that is printed passes here: control characters made visible, secrets left out, never an error because of a character."""

from __future__ import annotations

import re
import sys
from typing import IO

from warmexp.secrets import clean_text

# What a terminal acts on (all control characters but tab and line feed, also the 8-bit ones), what changes the direction of the text
# around it, line ends that only some programs know, and halves of characters.
_ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]")


def visible(text: str) -> str:
    r"""The text with `\x1b` and the like, as Python writes them, where a terminal would act."""
    return _ACTIVE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def show(*texts: object, file: IO[str] | None = None, end: str = "\n") -> None:
    """Print each text as a line of its own, at once. file: standard output where None."""
    stream = tolerant(file or sys.stdout)
    stream.write("".join(visible(clean_text(str(text))) + end for text in texts))
    stream.flush()


def complain(*texts: object) -> None:
    """Print each text as a line of its own on standard error."""
    show(*texts, file=sys.stderr)


def tolerant(stream: IO[str]) -> IO[str]:
    """The stream, which from now on writes a character that it cannot encode as its number."""
    if hasattr(stream, "reconfigure") and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")
    return stream
