"""`python -m warmexp.check_method unmask=margin`: try a method on small random problems, alone and beside the words
that follow.

The first word names the method; others compose what it is tried with, as on any command line (init=token_inject,
plugins=[mine], …). Cold and warm compositions are tried where nothing refuses them.
"""

from __future__ import annotations

import sys
import traceback
from typing import Any

from warmexp.api import composed
from warmexp.check_method.problems import Stand, model_config
from warmexp.check_method.suite import conform
from warmexp.config.instantiate import parts
from warmexp.config.keys import options
from warmexp.config.messages import MISTAKES, explain
from warmexp.console import complain, ending, show
from warmexp.decode.strategy import BASES, LISTS, Setup
from warmexp.errors import UserError

WARM = ["init=token_inject", "rho=0.5", "proposer=oracle", "proposer.tail=eos"]


def compositions(words: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """What the words compose, cold and warm, with a name: those that no method refuses.

    Raises:
        UserError: all are refused.
    """
    method = next(word for word in words if not word.startswith("plugins="))
    given = [*words, *([] if any(word.startswith("proposer=") for word in words) else WARM[2:])]
    tried = [("as given", given)]
    if not any(word.startswith("init=") for word in words):
        tried.append(("warm", [*words, *WARM]))
    found, refused = [], None
    for name, line in tried:
        try:
            cfg, choices = composed(line)
            made = parts(cfg, (*BASES, "proposer"))
            width = made["schedule"].width(made["length"])
            made["backbone"] = Stand(model_config(width * made["cache"].blocks))
            setup = Setup(made, {group: str(choices.get(group)) for group in made}, options)
            for group in BASES:
                for one in made[group] if group in LISTS else (made[group],):
                    one.check(setup)
            found.append((f"{method}, {name}", {group: cfg[group] for group in BASES}))
        except UserError as error:
            refused = error
    if not found and refused is not None:
        raise refused
    return found


def main(words: list[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else words
    named = [word for word in words if not word.startswith(("-", "plugins="))]
    if not named or named[0].partition("=")[0] not in BASES or "=" not in named[0]:
        complain(f"usage: python -m warmexp.check_method GROUP=OPTION [KEY=VALUE …], GROUP one of {', '.join(BASES)}")
        return 2
    failed = 0
    try:
        with ending(explain, MISTAKES):
            for name, nodes in compositions(words):
                show(name)
                for sentence, found in conform(nodes, named[0].partition("=")[0]):
                    show(f"  {'ok     ' if found is None else 'FAILED '} {sentence}")
                    if found is not None:
                        failed += 1
                        show(f"          {found}")
    except Exception:  # the method's own mistake: its author wants to see where
        complain(traceback.format_exc().rstrip())
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
