"""Train the long lab's models: `python -m warmexp.lab.long.train --out FOLDER`, again and again until it is done.

Whoever stops it loses a few minutes at most; the next call goes on from the last state as if nothing had happened. The
running log goes to standard error; FOLDER/NAME/curve.jsonl has the curve, FOLDER/NAME/model the running average as a
model folder.
"""

from __future__ import annotations

import argparse
import logging
import time
from datetime import datetime, timedelta
from pathlib import Path

from warmexp.console import ending
from warmexp.lab.long.backbone import BACKBONE, BackboneTraining
from warmexp.lab.long.proposers import PROPOSERS, ProposerTraining
from warmexp.lab.long.training import run


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m warmexp.lab.long.train", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for states, curves and weights; existing states are gone on from",
    )
    parser.add_argument("--model", choices=["backbone", *PROPOSERS, "all"], default="all")
    parser.add_argument("--minutes", type=float, help="stop after so many minutes (default: when the recipe ends)")
    parser.add_argument("--until", metavar="HH:MM", help="stop when it is this local time next")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that make batches ahead; a GPU needs eight")
    parser.add_argument(
        "--judge", type=int, default=100, metavar="STEPS", help="judge it on held-out problems so often"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    until = time.time() + 60 * args.minutes if args.minutes is not None else float("inf")
    if args.until:
        try:
            until = min(until, next_time(args.until, datetime.now()).timestamp())
        except ValueError:
            parser.error(f"--until {args.until}: a time of day such as 18:05 is needed")
    for name in ("backbone", *PROPOSERS) if args.model == "all" else (args.model,):
        where = args.out / name
        if name == "backbone":
            run(
                BackboneTraining(where, BACKBONE, args.seed, args.device),
                until,
                workers=args.workers,
                judge_every=args.judge,
            )
        else:
            run(
                ProposerTraining(where, PROPOSERS[name], args.seed, args.device),
                until,
                workers=args.workers,
                judge_every=args.judge,
            )


def next_time(clock: str, now: datetime) -> datetime:
    """When it is HH:MM next, by the clock that `now` shows.

    Raises:
        ValueError: `clock` is no time of day.
    """
    wanted = datetime.strptime(clock, "%H:%M")
    then = now.replace(hour=wanted.hour, minute=wanted.minute, second=0, microsecond=0)
    return then if then >= now else then + timedelta(days=1)


if __name__ == "__main__":
    with ending():
        main()
