"""What fewer bits per weight do to a backbone:

    python -m warmexp.bench.quantization outputs
    python -m warmexp.bench.quantization --random 100m

Of an outputs folder: the runs that differ in `backbone.quantization` and in nothing else, a line each, with the
confidence of the committed tokens, its expected calibration error against token-wise truth where the task knows it
(analysis/calibration.py; otherwise against the answers), forwards and accuracy. With --random: one forward of random
weights of a size of warmexp.bench.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from warmexp.analysis.calibration import calibrate
from warmexp.bench.subject import SHAPES, random_backbone
from warmexp.console import Parser, complain, ending, show
from warmexp.errors import UserError, check_choice
from warmexp.models.backbone import Backbone
from warmexp.models.linear import FEWEST
from warmexp.models.quantization import KEY, KINDS, check_kind, quantize
from warmexp.runs.catalogue import FINISHED, Run, catalogue
from warmexp.runs.stored import read_records

ROWS, POSITIONS = 4, 64  # of the forward of random weights
HEAD = (
    "| start | τ | weights | confidence | ECE | NFE | accuracy, % | same tokens, % |\n"
    "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |"
)


def table(runs: Sequence[Run]) -> Iterator[str]:
    """Of finished runs, those that have an unquantized one beside them."""
    alike: dict[str, dict[str, Run]] = defaultdict(dict)
    for run in runs:
        if run.status == FINISHED and run.settings.get(KEY) is not None:
            others = {key: value for key, value in run.settings.items() if key not in (KEY, "outputs", "batch_size")}
            alike[repr(sorted(others.items()))][str(run.settings[KEY])] = run
    groups = [group for group in alike.values() if "none" in group and len(group) > 1]
    if not groups:
        raise UserError(f"there are no finished runs that differ in {KEY} alone: run -m +sweep=quantization first.")
    yield HEAD
    for group in sorted(groups, key=lambda one: _place(one["none"])):
        before = {record["id"]: record["ids"] for record in read_records(_folder(group["none"]))}
        for kind in (kind for kind in KINDS if kind in group):
            records = read_records(_folder(group[kind]))
            found = calibrate(records, "flexible")["confidence"]
            n = len(records)
            nfe = sum(record["nfe"] for record in records) / n
            right = 100 * sum(record["correct"]["flexible"] for record in records) / n
            same = 100 * sum(record["ids"] == before.get(record["id"]) for record in records) / n
            said = "– | –" if found is None else f"{found.tokens.mean:.4f} | {found.tokens.ece:.4f}"
            start, tau = _place(group[kind])
            yield f"| {start} | {tau} | {kind} | {said} | {nfe:.2f} | {right:.1f} | {same:.0f} |"


def _folder(run: Run) -> Path:
    assert run.folder is not None  # it is finished
    return run.folder


def _place(run: Run) -> tuple[str, str]:
    start = str(run.settings.get("init"))
    if run.settings.get("proposer", "none") != "none":
        start += f" {run.settings['proposer']}"
    return start, str(run.settings.get("unmask.tau", ""))


@torch.inference_mode()
def random_weights(backbone: Backbone, kinds: Sequence[str], seed: int = 0) -> list[dict[str, Any]]:
    """What a forward of masked rows says with the weights of each kind, beside what it says unquantized. The backbone's
    weights are not changed.

    Returns, by kind: the mean absolute change of the confidence (the largest probability), the mean of the confidences,
    and the share of positions whose most probable token is another.
    """
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(backbone.mask_id, (ROWS, POSITIONS), generator=generator)
    ids[:, POSITIONS // 2 :] = backbone.mask_id
    row = torch.arange(ROWS).repeat_interleave(POSITIONS // 2)
    position = torch.arange(POSITIONS // 2, POSITIONS).repeat(ROWS)
    given = ids.to(backbone.device), torch.full((ROWS,), POSITIONS), row, position

    def read(one: Backbone) -> tuple[torch.Tensor, torch.Tensor]:
        confidence, token = one.rule_out(one(*given).double()).softmax(-1).max(-1)
        return confidence, token

    confidence, token = read(backbone)
    rows = []
    for kind in kinds:
        one = copy.copy(backbone)
        one.transformer = quantize(copy.deepcopy(backbone.transformer), kind)
        now, other = read(one)
        rows.append(
            {
                "kind": kind,
                "confidence": float(now.mean()),
                "change": float((now - confidence).abs().mean()),
                "other": float((other != token).double().mean()),
            }
        )
    return rows


def _unpacked(name: str) -> Backbone:
    """Random weights as torch has them: what is packed for a processor cannot be quantized any more."""
    backbone = random_backbone(name, torch.float32, torch.device("cpu"), pack=False)
    backbone.transformer.rows = FEWEST
    return backbone


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0, or 2 for a user's mistake."""
    parser = Parser(
        prog="python -m warmexp.bench.quantization",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("outputs", nargs="?", type=Path, help="the folder of the runs")
    parser.add_argument("--random", metavar="SIZE", help=f"instead of runs: random weights, of {', '.join(SHAPES)}")
    chosen = parser.parse_args(words)
    try:
        if (chosen.outputs is None) == (chosen.random is None):
            raise UserError("give a folder of runs, or --random SIZE.")
        if chosen.outputs is not None:
            for line in table(catalogue(chosen.outputs)):
                show(line)
            return 0
        check_choice("--random", chosen.random, SHAPES)
        for kind in KINDS[1:]:
            check_kind(kind, "float32")
        show("| weights | confidence | its mean change | other argmax, % |\n| --- | ---: | ---: | ---: |")
        for one in random_weights(_unpacked(chosen.random), KINDS):
            kind, said = one["kind"], f"{one['confidence']:.4f} | {one['change']:.4f}"
            show(f"| {kind} | {said} | {100 * one['other']:.1f} |")
    except UserError as error:
        complain(f"warmexp: {error}")
        return 2
    return 0


if __name__ == "__main__":
    with ending():
        sys.exit(main())
