"""`python -m warmexp.train_policy --out policy.safetensors`: train the network of `unmask=learned` on the quick lab.

Minutes on two cores, most of them for decoding the training problems that it learns from; neither calibration nor test
questions are read. The same seed makes the same policy on the same machine.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError

from warmexp.config.devices import available_device
from warmexp.config.messages import MISTAKES, explain
from warmexp.console import Parser, ending, show
from warmexp.errors import UserError, check_range
from warmexp.io import check_writable
from warmexp.train_policy.recipe import RECIPE, collect, train


def main(argv: Sequence[str] | None = None) -> None:
    parser = Parser(prog="python -m warmexp.train_policy", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("policy.safetensors"), help="default: policy.safetensors")
    parser.add_argument("--problems", type=int, default=RECIPE.problems, help=f"default: {RECIPE.problems}")
    parser.add_argument(
        "--passes", type=int, default=RECIPE.passes, help=f"over the examples (default: {RECIPE.passes})"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    check_range("--problems", args.problems, 100, 10**5, "the number of training problems to decode")
    check_range("--passes", args.passes, 1, 1000, "how often every example is seen")
    check_writable("--out", args.out.parent)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    r = replace(RECIPE, problems=args.problems, passes=args.passes)
    found, aside = collect("lab:backbone", r, torch.device(available_device(args.device)), args.seed)
    policy, loss, plain = train(found, aside, r, args.seed)
    notes = {
        "problems": str(r.problems),
        "seed": str(args.seed),
        "loss": f"{loss:.4f}",
        "loss_of_confidence": f"{plain:.4f}",
    }
    try:
        policy.save(args.out, notes)
    except (OSError, SafetensorError) as error:
        raise UserError(f"--out {args.out} cannot be written ({error}): choose another file.") from None
    show(f"{loss:.4f} nats on problems set aside, {plain:.4f} by confidence alone")
    show(f"unmask.weights={args.out}")


if __name__ == "__main__":
    with ending(explain, MISTAKES):
        main()
