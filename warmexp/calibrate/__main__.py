"""`python -m warmexp.calibrate RUN_FOLDER… --out calibration.json`: how far an author's probabilities may be believed.

Fits P(a proposed token is right) on finished runs, prints the calibration error before and after, and writes the map
for `proposer.calibration=calibration.json`. Runs of a split that nothing is measured on: task.split=calibration on the
lab.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from warmexp.console import Parser, ending, show
from warmexp.errors import UserError, check_range
from warmexp.io import check_writable
from warmexp.proposers.calibration import KINDS

ISOTONIC = ("trust", "weakest", "position")


def _parser() -> Parser:
    parser = Parser(prog="python -m warmexp.calibrate", description=__doc__.partition("\n\n")[2])
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="RUN_FOLDER", help="finished runs with proposals, several are pooled"
    )
    parser.add_argument(
        "--kind", choices=KINDS, default="logistic", help="isotonic: of one feature; logistic: of all (default)"
    )
    parser.add_argument("--feature", choices=ISOTONIC, default="weakest", help="what isotonic maps (default: weakest)")
    parser.add_argument(
        "--back", type=int, default=4, help="weakest is the least trust of a token and so many before it (default: 4)"
    )
    parser.add_argument("--label", choices=("auto", "truth", "survival", "answer"), default="auto", help="what right means (default: auto, "
                        "which is truth on the lab, survival where --cold is given, otherwise answer)")  # fmt: skip
    parser.add_argument(
        "--cold", type=Path, metavar="RUN_FOLDER", help="a cold start of the same questions, for --label survival"
    )
    parser.add_argument(
        "--given",
        choices=("all", "right"),
        default="all",
        help="of all tokens (default), or of those behind right ones",
    )
    parser.add_argument("--out", type=Path, default=Path("calibration.json"), help="default: calibration.json")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what was fitted and write it. Raises UserError for a user's mistake."""
    from warmexp.calibrate.examples import examples, read_run
    from warmexp.calibrate.fit import cross_validated, fit

    chosen = _parser().parse_args(arguments)
    check_range("--back", chosen.back, 0, 2**20, "the number of preceding tokens that count")
    check_writable("--out: its folder", chosen.out.parent)
    runs = [read_run(folder) for folder in chosen.folders]
    label = _label(chosen, runs)
    cold = read_run(chosen.cold) if label == "survival" else None
    found = examples(runs, label, cold, chosen.back, chosen.given == "right")
    make = partial(fit, kind=chosen.kind, feature=chosen.feature, back=chosen.back)
    made, (raw, fitted) = make(found), cross_validated(found, make)
    splits = sorted({str(run.split) for run in runs})
    questions = len(set(found.question.tolist()))
    notes = {
        "label": label, "given": chosen.given, "tokens": len(found.right), "questions": questions, "right": float(found.right.mean()),
        "splits": splits, "runs": [run.folder.name for run in runs], "raw": vars(raw), "cross_validated": vars(fitted),
    }  # fmt: skip
    if "test" in splits:
        show("warning: fitted on the test split: what is measured there with it is flattered.")
    show(f"{len(found.right)} tokens of {questions} questions, {100 * found.right.mean():.1f} % right by {label}")
    for name, one in (("raw trust", raw), (f"{chosen.kind}, on other questions", fitted)):
        show(f"  {name:32s} ECE {one.ece:.4f}   Brier {one.brier:.4f}")
    try:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(made.to_json() | {"notes": notes}, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {chosen.out} cannot be written ({error.strerror}): choose another file.") from None
    show(f"proposer.calibration={chosen.out}")


def _label(chosen: argparse.Namespace, runs: Sequence) -> str:
    """The label, and what cannot be asked."""
    on_the_lab = all(run.lab for run in runs)
    label = chosen.label
    if label == "auto":
        label = "survival" if chosen.cold else "truth" if on_the_lab else "answer"
    if label == "truth" and not on_the_lab:
        raise UserError(
            "--label truth is known of the lab's questions only: use --label survival --cold RUN_FOLDER, or --label"
            " answer."
        )
    if (label == "survival") != (chosen.cold is not None):
        raise UserError(
            "--label survival and --cold RUN_FOLDER, a cold start of the same questions, belong together: give both"
            " or none."
        )
    if label == "answer" and chosen.given == "right":
        raise UserError(
            "--given right needs a label that tells tokens apart: use --label survival --cold RUN_FOLDER, or leave it"
            " out."
        )
    return label


if __name__ == "__main__":
    with ending():
        main()
