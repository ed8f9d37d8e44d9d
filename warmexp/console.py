"""Everything that is printed passes here: control characters made visible, secrets left out, never an error because of
a character."""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, NoReturn

from warmexp.errors import UserError
from warmexp.secrets import clean_text

GOES_ON = "interrupted; what was decoded is kept, and the same command goes on from there."

# What a terminal acts on (all control characters but tab and line feed, also the 8-bit ones), what changes the
# direction of the text around it, line ends that only some programs know, and halves of characters.
_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]"
)


def quiet_torchao() -> None:
    """torchao, which transformers imports wherever it is installed, else tells of its libraries for other machines."""
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)


def visible(text: str) -> str:
    r"""The text with `\x1b` and the like, as Python writes them, where a terminal would act."""
    return _ACTIVE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def show(*texts: object, file: IO[str] | None = None, end: str = "\n") -> None:
    """Print each text as a line of its own, at once. file: standard output where None."""
    _show(texts, file or sys.stdout, end)


def _show(texts: tuple[object, ...], file: IO[str] | None, end: str = "\n") -> None:
    with written(file) as stream:
        stream.write(visible(clean_text("".join(f"{text}{end}" for text in texts))))


def complain(*texts: object) -> None:
    """Print each text as a line of its own on standard error."""
    _show(texts, sys.stderr)


class Parser(argparse.ArgumentParser):
    """argparse's, whose complaint is one sentence instead of a page of usage; for commands that end in `ending`."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message.removeprefix('argument ')}: `{self.prog} --help` lists what there is.")


@contextmanager
def ending(
    explain: Callable[[Exception], str] = str,
    mistakes: tuple[type[Exception], ...] = (),
    interrupted: str = "interrupted.",
) -> Iterator[None]:
    """The end of a command: one sentence and exit status 2 for a user's mistake, 130 for an interruption.

    Args:
        explain: the sentence for a mistake. mistakes: what else is one, besides UserError and a name that no file can
            have.
    """
    for stream in (sys.stdout, sys.stderr):  # others print too: Hydra its help
        if stream is not None:
            tolerant(stream)
    try:
        try:
            yield
        finally:
            with written(sys.stdout):  # what waits in it; `| head` may be gone
                pass
    except BrokenPipeError:  # written by others, such as a page of help
        silence(sys.stdout)
        sys.exit(0)
    except (UserError, *mistakes) as error:
        complain(f"warmexp: {explain(error)}")
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        complain(f"warmexp: {str(error.filename)[:60]}… is longer than a file's name can be: give another one.")
        sys.exit(2)
    except KeyboardInterrupt:
        complain(f"warmexp: {interrupted}")
        sys.exit(130)


@contextmanager
def written(stream: IO[str] | None) -> Iterator[IO[str]]:
    """The stream to write to, which is flushed afterwards. None is Python's word for one that was closed from the
    start.

    What nobody can read any more (a pipe that was closed, a full disk, a terminal that is gone) is no reason to lose
    what is still to be computed or kept: from then on the stream's texts go nowhere.
    """
    if stream is None:
        yield io.StringIO()
        return
    try:
        yield tolerant(stream)
        stream.flush()
    except OSError as error:
        silence(stream)
        if error.errno != errno.EPIPE and stream is not sys.stderr:  # `| head` wants no more of it
            complain(
                f"standard output cannot be written ({error.strerror}): nothing more is printed there; files are"
                " written as ever."
            )
    except ValueError:
        if not stream.closed:
            raise


def silence(stream: IO[str]) -> None:
    """Whatever is written to the stream goes nowhere, what waits in it included."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


def tolerant(stream: IO[str]) -> IO[str]:
    """The stream, which from now on writes a character that it cannot encode as its number."""
    if hasattr(stream, "reconfigure") and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")
    return stream
