"""Does a prior help as far as it is right? A warm start beside a cold start on the same questions, by where the
proposal's first mistake stands:

    python examples/first_mistake.py COLD_RUN_FOLDER WARM_RUN_FOLDER …

For tasks with a truth of every token (the labs). kept: how many of the proposal's first tokens stood there in the end,
never revoked.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from statistics import fmean
from typing import Any

from warmexp.errors import UserError
from warmexp.runs.stored import read_records

BINS = (0, 1, 16, 32, 48, 64, 96)  # first tokens of the bins of right tokens before the first mistake
HEAD = "  first mistake at     n  right   kept  NFE cold   warm  % cold   warm"
LINE = "{:>18} {:>5} {:>6.1f} {:>6.1f} {:>9.1f} {:>6.1f} {:>7.1f} {:>6.1f}"


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Those of a run by the ids of their questions.

    Raises:
        UserError: the folder is not a run's.
    """
    found = {r["id"]: r for r in read_records(folder)}
    if not found:
        raise UserError(f"{folder} has no records: give the folder of a run.")
    return found


def where(record: dict[str, Any]) -> str:
    """The bin of a record by its proposal's first mistake."""
    proposal = record["proposal"]
    right = proposal["right_tokens"]
    # The end of a text is a token of its own, right behind a whole solution.
    if right > proposal["written"]:
        return "none"
    low = max(b for b in BINS if b <= right)
    high = next((b for b in BINS if b > low), None)
    return str(low) if high == low + 1 else f"{low} to {high - 1}" if high else f"{low} and more"


def kept(record: dict[str, Any]) -> int:
    pairs = zip(record["source"], record["commit_iteration"], strict=True)
    return sum(1 for _ in takewhile(lambda p: p[0] == "injected" and p[1] < 0, pairs))


def rows(cold: dict[str, dict[str, Any]], warm: dict[str, dict[str, Any]], filter_: str) -> Iterator[list[Any]]:
    """Bin, questions, mean right tokens of the proposal, tokens kept, forwards and accuracy in percent, cold and
    warm."""
    bins: dict[str, list[str]] = {}
    for i in sorted(cold.keys() & warm.keys(), key=lambda i: warm[i]["proposal"]["right_tokens"]):
        bins.setdefault(where(warm[i]), []).append(i)
    for name in sorted(bins, key=lambda name: int(name.split()[0]) if name != "none" else 10**6):
        ids = bins[name]
        both = [[runs[i] for i in ids] for runs in (cold, warm)]
        yield [
            name,
            len(ids),
            fmean(warm[i]["proposal"]["right_tokens"] for i in ids),
            fmean(kept(r) for r in both[1]),
            *(fmean(r["nfe"] for r in run) for run in both),
            *(100 * fmean(r["correct"][filter_] for r in run) for run in both),
        ]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cold", type=Path, help="the run folder of a cold start")
    parser.add_argument("warm", type=Path, nargs="+", help="run folders of warm starts on the same questions")
    parser.add_argument("--filter", choices=["strict", "flexible"], default="strict", help="which answers are right")
    options = parser.parse_args(argv)
    try:
        base, *others = map(records, [options.cold, *options.warm])
    except UserError as error:
        parser.error(str(error))
    for folder, found in zip(options.warm, others, strict=True):
        if not all((r.get("proposal") or {}).get("right_tokens") is not None for r in found.values()):
            parser.error(f"{folder}: its proposals have no truth of every token; give a warm start on one of the labs.")
        if not base.keys() & found.keys():
            parser.error(f"{folder} and {options.cold} have no question in common; give runs on the same questions.")
        print(f"\n{folder}")
        print(HEAD)
        for name, *numbers in rows(base, found, options.filter):
            print(LINE.format(name, *numbers))


if __name__ == "__main__":
    main()
