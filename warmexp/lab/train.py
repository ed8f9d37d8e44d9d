"""The recipe that makes the lab's models from nothing: `python -m warmexp.lab.train --out FOLDER`."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

import torch.distributed as dist

from warmexp.console import Parser, ending
from warmexp.lab.train_backbone import BACKBONE, BLOCK, train_backbone
from warmexp.lab.train_proposers import PROPOSERS, train_proposer
from warmexp.lab.training import usable


def main(argv: list[str] | None = None) -> None:
    parser = Parser(prog="python -m warmexp.lab.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for models and resume states")
    parser.add_argument("--model", choices=["backbone", "block", "weak", "strong", "all"], default="all")
    parser.add_argument("--steps", type=int, help="instead of the recipe's number of steps")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the backbone's last state in --out")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    device = usable(args.device)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # under torchrun the processes share each batch of the backbone
        dist.init_process_group("gloo")
    if args.model in ("backbone", "all"):
        r = BACKBONE if args.steps is None else replace(BACKBONE, steps=args.steps)
        train_backbone(args.out, r, device, args.seed, args.resume)
    if args.model == "block":
        r = BLOCK if args.steps is None else replace(BLOCK, steps=args.steps)
        train_backbone(args.out, r, device, args.seed, args.resume, name="backbone_block")
    for name in PROPOSERS:
        if args.model in (name.removeprefix("proposer_"), "all"):
            r = PROPOSERS[name] if args.steps is None else replace(PROPOSERS[name], max_steps=args.steps)
            train_proposer(args.out, name, r, device, args.seed)


if __name__ == "__main__":
    with ending():
        main()
