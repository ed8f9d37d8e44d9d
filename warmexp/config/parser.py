"""Hydra's command-line parser on Python 3.14, whose argparse reads every help text when it is declared.

Hydra (1.3 and 1.4) declares one that is rendered only when it is printed, and argparse refuses it: `badly formed help
string`, before a word of the command line is read. The check finds mistakes in a program's own texts and decides
nothing, so it is left out while Hydra builds its parser, and there alone.
"""

from __future__ import annotations

import argparse
import functools
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any

from hydra._internal import utils as hydra_utils

CHECK = "_check_help"
_alone = threading.Lock()  # the class is everybody's


def without_help_check(build: Callable[..., Any]) -> Callable[..., Any]:
    """A function that builds a parser, run without argparse's check of help texts, where argparse has one."""

    @functools.wraps(build)
    def built(*words: Any, **keys: Any) -> Any:
        container = argparse._ActionsContainer
        with _alone:
            check = container.__dict__.get(CHECK)
            if check is None:
                return build(*words, **keys)
            setattr(container, CHECK, lambda self, action: None)
            try:
                return build(*words, **keys)
            finally:
                setattr(container, CHECK, check)

    return built


get_args_parser = without_help_check(hydra_utils.get_args_parser)


def install() -> None:
    """From now on Hydra builds its parser that way; calling it again changes nothing."""
    # hydra.main, as an attribute, is the function of that name.
    hydra_utils.get_args_parser = import_module("hydra.main").get_args_parser = get_args_parser  # type: ignore[attr-defined]
