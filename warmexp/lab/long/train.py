"""Train the long lab's models: `python -m warmexp.lab.long.train --out FOLDER`, again and again until it is done.

Whoever stops it loses a few minutes at most; the next call goes on from the last state as if nothing had happened. The
running log goes to standard error; FOLDER/NAME/curve.jsonl has the curve, FOLDER/NAME/model the running average as a
model folder.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

from warmexp.console import Parser, ending
from warmexp.errors import UserError
from warmexp.lab.long.backbone import BACKBONE, Backbone, BackboneTraining, further
from warmexp.lab.long.proposers import PROPOSERS, Proposer, ProposerTraining
from warmexp.lab.long.training import run
from warmexp.lab.training import usable

GOES_ON = "interrupted; the state is saved, and the same command goes on from there."


def main(
    argv: list[str] | None = None, backbone: Backbone = BACKBONE, proposers: Mapping[str, Proposer] = PROPOSERS
) -> None:
    """Train by these recipes.

    Raises:
        UserError: of the command line, of the folder, or of a state in it.
    """
    parser = Parser(prog="python -m warmexp.lab.long.train", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for states, curves and weights; existing states are gone on from",
    )
    parser.add_argument("--model", choices=["backbone", *proposers, "all"], default="all")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes (default: when the recipe ends)")
    parser.add_argument("--until", metavar="HH:MM", help="stop when it is this local time next")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches ahead; a GPU needs eight")
    parser.add_argument(
        "--judge", type=int, default=100, metavar="STEPS", help="judge it on held-out problems so often"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--start", type=Path, metavar="FOLDER", help="begin the recipe's last stage with this model folder's weights"
    )
    args = parser.parse_args(argv)
    _check("--minutes", args.minutes, "how long to train")
    _check("--workers", args.workers, "a number of processes")
    _check("--judge", args.judge, "a number of steps, 0 for never")
    _check("--seed", args.seed, "a number to begin with")
    if args.start and args.model != "backbone":
        raise UserError(f"--start {args.start} is about one model: add --model backbone.")
    usable(args.device)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    until = time.time() + 60 * args.minutes if args.minutes is not None else float("inf")
    if args.until:
        try:
            until = min(until, next_time(args.until, datetime.now()).timestamp())
        except ValueError:
            raise UserError(f"--until {args.until}: a time of day such as 18:05 is needed.") from None
    for name in ("backbone", *proposers) if args.model == "all" else (args.model,):
        if time.time() >= until and args.model == "all" and not (args.out / name).exists():
            break  # nothing would be in its folder but weights that have learnt nothing
        where = args.out / name
        training = (
            BackboneTraining(
                where, further(backbone) if args.start else backbone, args.seed, args.device, start=args.start
            )
            if name == "backbone"
            else ProposerTraining(where, proposers[name], args.seed, args.device)
        )
        if run(training, until, workers=args.workers, judge_every=args.judge).stopped:
            break


def command(backbone: Backbone = BACKBONE, proposers: Mapping[str, Proposer] = PROPOSERS) -> None:
    """The command line, for recipes of one's own too."""
    with ending(interrupted=GOES_ON):
        main(None, backbone, proposers)


def _check(key: str, value: float | None, meaning: str) -> None:
    if value is not None and not 0 <= value < math.inf:  # NaN is never inside
        raise UserError(f"{key} {value} is not 0 or more: it is {meaning}.")


def next_time(clock: str, now: datetime) -> datetime:
    """When it is HH:MM next, by the clock that `now` shows.

    Raises:
        ValueError: `clock` is no time of day.
    """
    wanted = datetime.strptime(clock, "%H:%M")
    then = now.replace(hour=wanted.hour, minute=wanted.minute, second=0, microsecond=0)
    return then if then >= now else then + timedelta(days=1)


if __name__ == "__main__":
    command()
