"""`python -m warmexp.train_policy [KEY=VALUE …] --out policy.safetensors`: train the network of `unmask=learned`.

The words name backbone and task as on any command line (backbone=llada_8b task=gsm8k device=cuda); without any it is
the quick lab's, the policy that is shipped. It learns from prompts of the task's training split, which the backbone
decodes, and reads neither their answers nor a question that a run is measured on. On the quick lab it takes minutes of
two cores, most of them for decoding. The same seed makes the same policy on the same machine.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError

from warmexp.config.messages import MISTAKES, explain
from warmexp.console import Parser, ending, show
from warmexp.errors import UserError, check_range
from warmexp.io import check_writable
from warmexp.train_policy.recipe import RECIPE, collect, train

PROBLEMS = 3_000


def main(argv: Sequence[str] | None = None) -> None:
    """Collect, train and write. Raises UserError for a user's mistake."""
    from warmexp.api import composed_of
    from warmexp.config.devices import available_device
    from warmexp.config.instantiate import parts
    from warmexp.config.plan import check_prompts
    from warmexp.methods.length.growing import Growing

    parser = Parser(prog="python -m warmexp.train_policy", description=__doc__.partition("\n\n")[2])
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="backbone, task, length and device")
    parser.add_argument("--out", type=Path, default=Path("policy.safetensors"), help="default: policy.safetensors")
    parser.add_argument("--problems", type=int, default=PROBLEMS, help=f"training questions (default: {PROBLEMS})")
    parser.add_argument(
        "--passes", type=int, default=RECIPE.passes, help=f"over the examples (default: {RECIPE.passes})"
    )
    parser.add_argument("--rows", type=int, default=RECIPE.rows, help=f"decoded together (default: {RECIPE.rows})")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    check_range("--problems", args.problems, 100, 10**6, "the number of training questions to decode")
    check_range("--passes", args.passes, 1, 1000, "how often every example is seen")
    check_range("--rows", args.rows, 1, 10**4, "how many questions are decoded together")
    check_range("--seed", args.seed, 0, 2**63 - 1, "a number to begin with")
    check_writable("--out", args.out.parent)
    cfg, choices = composed_of(args.words, "backbone", "task", "length", "device")
    made = parts(cfg, ("backbone", "task", "length"))
    task, checkpoint, length = made["task"], made["backbone"], made["length"]
    if not hasattr(task, "training"):
        raise UserError(f"task={choices['task']} has no training split to learn from: choose task=lab or task=gsm8k.")
    chosen = getattr(task, "unseen", task.training)(args.problems)
    if len(chosen) < 100:
        raise UserError(
            f"the training split of task={choices['task']} has {len(chosen)} questions: at least 100 are needed."
        )
    if isinstance(length, Growing):
        raise UserError(f"length={choices['length']} changes the canvas: a policy is trained with length=fixed.")
    if checkpoint.config.attention_block:
        raise UserError(
            f"backbone={choices['backbone']} is read in blocks of a grid (attention_block="
            f"{checkpoint.config.attention_block}), and training reads blocks of other lengths, too: use the policy of"
            " another backbone, such as unmask.weights=lab:policy."
        )
    prompts = {question.id: checkpoint.tokenizer.encode(question.prompt) for question in chosen}
    check_prompts(checkpoint, length.canvas_length, prompts)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    r = replace(
        RECIPE,
        canvas=length.canvas_length,
        widths=widths(length.block_length, length.canvas_length),
        rows=args.rows,
        passes=args.passes,
    )
    backbone = checkpoint.load(torch.device(available_device(cfg.device)))
    policy, loss, plain = train(*collect(backbone, list(prompts.values()), r, args.seed), r, args.seed)
    notes = {
        "backbone": choices["backbone"],
        "task": choices["task"],
        "problems": str(len(prompts)),
        "seed": str(args.seed),
        "loss": f"{loss:.4f}",
        "loss_of_confidence": f"{plain:.4f}",
    }
    try:
        policy.save(args.out, notes)
    except (OSError, SafetensorError) as error:
        raise UserError(f"--out {args.out} cannot be written ({error}): choose another file.") from None
    show(f"{loss:.4f} nats on questions set aside, {plain:.4f} by confidence alone")
    show(f"unmask.weights={args.out}")


def widths(block: int, canvas: int) -> tuple[int, ...]:
    """Blocks of the length that the backbone is decoded with, every second turn, and longer ones, within the canvas."""
    return tuple(min(width, canvas) for width in (block, 3 * block // 2, block, 3 * block))


if __name__ == "__main__":
    with ending(explain, MISTAKES):
        main()
