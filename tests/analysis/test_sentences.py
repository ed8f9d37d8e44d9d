"""What README and docs say of the lab's trust study, recomputed from its stored outcomes: a sentence that does not hold
fails here.

Numbers are formatted from the data and looked for in the text, so that a page cannot say another one; words ("cannot be
told apart", "saves nothing") are asserted as what they mean.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tests.analysis.recomputed import rows
from tests.analysis.stored import baseline, cold, corners, runs, saving, the
from warmexp.analysis.paired import difference_interval, mcnemar, non_inferior
from warmexp.api import run_overrides

ROOT = Path(__file__).resolve().parents[2]


def text(page: str) -> str:
    """The page with every run of white space as one space, and without emphasis."""
    return re.sub(r"\s+", " ", (ROOT / page).read_text(encoding="utf-8").replace("**", ""))


def said(page: str, sentence: str) -> None:
    assert re.sub(r"\s+", " ", sentence) in text(page), f"{page} does not say: {sentence}"


def flips(run, other) -> tuple[int, int, int]:
    return int((run.right & ~other.right).sum()), int((~run.right & other.right).sum()), len(run.right)


STRONG, WEAK = "lab_strong", "lab_weak"


def test_the_strong_proposer():
    """Its saving survives the tuned baseline; its accuracy is not told apart from the cold start's."""
    mine, own = the("verified", STRONG), the("mask")
    said("README.md", f"it takes {mine.cost:.2f} forwards where the cold start takes {own.cost:.2f} at τ = 0.7")
    said(
        "docs/trust.md",
        f"{100 * mine.cost / own.cost:.0f} % of the {own.cost:.2f} that the cold start takes at τ = 0.7",
    )
    wins, losses, n = flips(mine, own)
    said("docs/trust.md", f"({wins} questions won, {losses} lost; difference")
    assert mcnemar(wins, losses) > 0.05 and non_inferior(wins, losses, n, 0.01)
    stops = the("verified", STRONG, length="eos_stop"), the("mask", length="eos_stop")
    shares = [f"{100 * mine.cost / own.cost:.0f} %", f"{100 * stops[0].cost / stops[1].cost:.0f} %"]
    said(
        "README.md",
        f"{shares[0]} of them ({shares[1]} where both stop at the end of their text), at an accuracy that is not told"
        " apart",
    )
    said("docs/trust.md", f"{100 * stops[0].cost / stops[1].cost:.0f} % of {stops[1].cost:.2f}")


@pytest.mark.parametrize("block", [16, 24])
def test_against_everything_that_a_cold_start_can_choose(block):
    """The strong proposer saves, with a lower limit above 0 in the best setting; the weak one does not save."""
    strong, weak = (the("verified", proposer, block=block, length="eos_stop") for proposer in (STRONG, WEAK))
    gain, loss = saving(strong, baseline()), saving(weak, baseline())
    for run, one in ((strong, gain), (weak, loss)):
        sign = {"at_least": "≥ ", "at_most": "≤ ", None: ""}[one.bound]
        limits = ", ".join("∞" if limit is None else f"{limit:+.2f}".replace("-", "−") for limit in one.ci95)
        value = f"{one.saved:+.2f}".replace("-", "−")
        ends = ")" if one.ci95[1] is None else "]"
        said("docs/trust.md", f"{run.cost:.2f} | {run.percent:.1f} | {sign}{value} [{limits}{ends}")
    assert gain.ci95[0] > 0 and not loss.ci95[0] > 0


def number(value: float, digits: int = 2) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def test_the_rest_of_that_row():
    """What leaving one setting out changes, what is gained at equal cost, and what the luckiest baseline leaves."""
    for proposer in (STRONG, WEAK):
        for block in (16, 24):
            run = the("verified", proposer, block=block, length="eos_stop")
            one = saving(run, baseline())
            low, high = one.without
            gained, (down, up) = one.gained_at_equal_cost, one.gained_at_equal_cost.ci95
            said_gain = (
                f"≤ {number(100 * gained.gained, 1)} (to {number(100 * up, 1)})"
                if gained.bound == "at_most"
                else f"{number(100 * gained.gained, 1)} ({number(100 * down, 1)} to {number(100 * up, 1)})"
            )
            luck = number(saving(run, cold()).saved)
            said("docs/trust.md", f"| {number(low)} to {number(high)} | {said_gain} | {luck} |")
            assert run.percent > max(each.percent for each in baseline())
    shares = [
        saving(the("verified", STRONG, block=block, length="eos_stop"), baseline()).saved_share for block in (16, 24)
    ]
    assert 0.2 <= shares[0] <= shares[1] <= 0.26  # "a fifth to a quarter"


def test_the_baselines_hull():
    """Its corners as the page names them: all stop at the end of their text."""
    best = corners(cold("calibration"))
    assert [(run.method, run.tau, run.block) for run in best] == [
        ("mask, topk", 2, 48),
        ("mask", 0.5, 48),
        ("mask", 0.5, 24),
        ("mask", 0.6, 24),
        ("mask", 0.6, 16),
    ]
    assert all(run.length == "eos_stop" for run in best)
    said("docs/trust.md", f"{len(cold())} settings")


def test_the_floor_of_three_forwards():
    """Blocks of 16 on a canvas of 48 under length=fixed."""
    assert min(int(run.nfe.min()) for run in cold(block=16, length="fixed")) == 3
    assert min(int(run.nfe.min()) for run in cold(block=24, length="fixed")) == 2
    said("docs/trust.md", "three forwards at least")
    said("README.md", "blocks of 16 alone cost a cold start three forwards")


def test_medians_and_tails():
    mine, own = the("verified", STRONG), the("mask")
    tail = [int(np.sort(run.nfe)[int(np.ceil(0.95 * len(run.nfe))) - 1]) for run in (mine, own)]
    said(
        "docs/trust.md",
        f"median {np.median(mine.nfe):.0f} and 95th percentile {tail[0]}, the cold start {np.median(own.nfe):.0f} and"
        f" {tail[1]}",
    )


def test_the_table():
    """Every row of the table of cold and trusted runs that is stored."""
    have = {(run.method, run.proposer, run.tau, run.block, run.length) for run in runs() if run.split == "test"}
    checked = 0
    for name, method, proposer, tau in [("cold", "mask", "none", t) for t in (0.5, 0.6, 0.7, 0.8, 0.9)] + [
        ("trusted, strong proposer (70.9 % right)", "verified", STRONG, 0.7),
        ("trusted, weak proposer (20.9 % right)", "verified", WEAK, 0.7),
    ]:
        cells = []
        if not all(
            (method, proposer, tau, block, length) in have for block in (16, 24) for length in ("fixed", "eos_stop")
        ):
            continue
        checked += 1
        for block in (16, 24):
            fixed, stops = (
                the(method, proposer, tau=tau, block=block, length=length) for length in ("fixed", "eos_stop")
            )
            assert np.array_equal(fixed.right, stops.right) and (stops.nfe <= fixed.nfe).all()
            cells += [f"{fixed.cost:.2f}", f"{stops.cost:.2f}", f"{fixed.percent:.1f}"]
        said("docs/trust.md", f"| {name} | {tau:g} | {' | '.join(cells)} |")
    assert checked == 7


def test_what_the_accuracy_is_known_to():
    """Where a page says that two accuracies are not told apart, the interval holds 0."""
    for proposer in (STRONG, WEAK):
        low, high = difference_interval(*flips(the("verified", proposer), the("mask")))
        assert low < 0 < high
        said("docs/trust.md", f"[{100 * low:+.1f}, {100 * high:+.1f}]".replace("-", "−"))


@pytest.mark.parametrize(
    ("method", "proposer", "block", "length"), [("mask", "none", 24, "eos_stop"), ("verified", STRONG, 16, "fixed")]
)
def test_stored_outcomes_are_those_of_the_program(quiet_home, method, proposer, block, length):
    """The first sixteen questions decoded again."""
    run = the(method, proposer, block=block, length=length)
    words = ["init=mask", "tau=0.7"] if method == "mask" else ["experiment=trusted", f"proposer={proposer}"]
    _, folder = run_overrides(
        [*words, f"length={length}", f"length.block_length={block}", "task.limit=16", "outputs=out"]
    )
    again = rows(folder)
    places = [int(row["id"].rpartition("-")[2]) for row in again]  # lab-test-00000 is the first
    assert [row["nfe"] for row in again] == run.nfe[places].tolist()
    assert [row["correct"]["flexible"] for row in again] == run.right[places].tolist()
