"""`python -m warmexp.frequencies [KEY=VALUE …] --out frequencies.json`: count the backbone's tokens in the reference
solutions of the task's training split.

Writes the file for `unmask=pc_sampler unmask.frequencies=frequencies.json`. The words name backbone and task as on any
command line (backbone=llada_8b task=gsm8k); no weights are read, and no question that a run is measured on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from warmexp.config.messages import MISTAKES, explain
from warmexp.console import ending, show
from warmexp.errors import UserError, check_range
from warmexp.io import write_json


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m warmexp.frequencies", description=__doc__.partition("\n\n")[2])
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="backbone and task, as on any command line")
    parser.add_argument("--questions", type=int, default=7473, help="the first so many of the split (default: 7473)")
    parser.add_argument("--out", type=Path, default=Path("frequencies.json"), help="default: frequencies.json")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Count, print and write. Raises UserError for a user's mistake."""
    from warmexp.api import composed_of
    from warmexp.config.instantiate import parts
    from warmexp.methods.unmask.token_frequencies import Frequencies

    chosen = _parser().parse_args(arguments)
    check_range("--questions", chosen.questions, 1, 10**7, "the number of training questions to count")
    cfg, choices = composed_of(chosen.words, "backbone", "task")
    made = parts(cfg, ("backbone", "task"))
    task, backbone = made["task"], made["backbone"]
    if not hasattr(task, "training"):
        raise UserError(
            f"task={choices['task']} has no training split to count: choose task=lab or task=gsm8k, or set"
            " unmask.frequencies=null."
        )
    found = task.training(chosen.questions)
    counted = Frequencies.counted((question.solution for question in found), backbone.tokenizer)
    total = sum(counted.counts.values())
    if not total:
        raise UserError(f"the training split of task={choices['task']} has no text to count: check the task.")
    notes = {"task": choices["task"], "split": "train", "questions": len(found), "tokens": total}
    try:
        write_json(chosen.out, counted.to_json() | {"notes": notes})
    except UserError:
        raise UserError(f"--out {chosen.out} cannot be written: choose another file.") from None
    show(f"{total} tokens of {len(found)} training solutions, {len(counted.counts)} of them different")
    show(f"unmask.frequencies={chosen.out}")


if __name__ == "__main__":
    with ending(explain, MISTAKES):
        main()
