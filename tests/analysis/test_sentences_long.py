"""What docs/trust.md says of the trust study on the long lab, recomputed from its stored outcomes."""

from __future__ import annotations

import pytest

from tests.analysis.stored import Run, baseline, runs, saving, the
from tests.analysis.test_sentences import said
from warmexp.analysis.paired import difference_interval

PAGE = "docs/trust.md"
LONG = {"study": "long", "length": "eos_stop"}
AUTHORS = {"strong": "lab_long_strong", "weak": "lab_long_weak", "foreign": "lab_long_foreign"}
TAUS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


def trusted(author: str, tau: float) -> Run:
    return the("verified", AUTHORS[author], tau=tau, **LONG)


def cold_row(tau: float) -> str:
    found = [the("mask", tau=tau, block=block, **LONG) for block in (16, 32, 64)]
    return f"| {tau} | " + " | ".join(f"{run.cost:.1f} | {run.percent:.1f}" for run in found) + " |"


def trusted_row(author: str, tau: float) -> str:
    run = trusted(author, tau)
    one = saving(run, baseline("long"))
    sign = {"at_least": "≥ ", "at_most": "≤ ", None: ""}[one.bound]
    low, high = one.ci95
    end = "∞)" if high is None else f"{high:.1f}]"
    return (
        f"| {author} | {tau} | {run.cost:.1f} | {run.percent:.1f} | {sign}{one.saved:.1f} [{low:.1f}, {end} |"
        f" {sign}{100 * one.saved_share:.0f} % |"
    )


@pytest.mark.parametrize("tau", TAUS)
def test_the_cold_starts(tau):
    said(PAGE, cold_row(tau))


@pytest.mark.parametrize("author", AUTHORS)
@pytest.mark.parametrize("tau", (0.7, 0.8, 0.9))
def test_every_author_saves_forwards_of_the_best_cold_start(author, tau):
    """Every interval lies above nothing saved."""
    said(PAGE, trusted_row(author, tau))
    assert saving(trusted(author, tau), baseline("long")).ci95[0] > 0


def test_which_settings_the_cold_start_chose():
    chosen = [(run.tau, run.block) for run in baseline("long")]
    said(PAGE, f"{len(runs_of_cold())} settings, of which the calibration questions choose {len(chosen)}")
    said(PAGE, "(τ = 0.5 in blocks of 64, 0.7 in 32, 0.8 to 0.95 in 16)")
    assert sorted(chosen) == [(0.5, 64), (0.7, 32), (0.8, 16), (0.9, 16), (0.95, 16)]


def runs_of_cold() -> list[Run]:
    return [run for run in runs("long") if run.method == "mask" and run.split == "test"]


def test_the_strong_author_against_the_most_accurate_cold_start():
    """At τ = 0.9: a third of its forwards, and not less accurate."""
    run = trusted("strong", 0.9)
    best = max(runs_of_cold(), key=lambda one: one.percent)
    said(PAGE, f"{run.cost:.1f} forwards instead of {best.cost:.1f} ({100 * run.cost / best.cost:.0f} %)")
    assert run.percent > best.percent
    said("README.md", f"{run.cost:.1f} forwards and is right on {run.percent:.0f} % of the questions")
    said("README.md", f"the most accurate cold start takes {best.cost:.1f} for {best.percent:.0f} %")
    shares = [saving(trusted("weak", tau), baseline("long")).saved_share for tau in (0.7, 0.8, 0.9)]
    said("README.md", "the weak author's saves a fifth to three tenths")
    assert min(shares) >= 0.2 and max(shares) <= 0.3


def test_the_weak_author_costs_accuracy_at_its_own_threshold():
    """What is saved is the front's, not the threshold's: beside a cold start with the same τ and blocks it loses some."""
    run, own = trusted("weak", 0.9), the("mask", tau=0.9, **LONG)
    wins, losses = int((run.right & ~own.right).sum()), int((~run.right & own.right).sum())
    low, high = (100 * limit for limit in difference_interval(wins, losses, len(run.right), 0.95))
    said(PAGE, f"({wins} questions won, {losses} lost; [{low:.1f}, {high:.1f}] points)".replace("-", "−"))
    assert high < 0


if __name__ == "__main__":
    print(*(cold_row(tau) for tau in TAUS), sep="\n")
    print(*(trusted_row(author, tau) for author in AUTHORS for tau in (0.7, 0.8, 0.9)), sep="\n")
    print(len(runs_of_cold()), [(r.tau, r.block, round(r.cost, 1)) for r in baseline("long")])
    run, own = trusted("weak", 0.9), the("mask", tau=0.9, **LONG)
    w, lost = int((run.right & ~own.right).sum()), int((~run.right & own.right).sum())
    print(w, lost, difference_interval(w, lost, len(run.right), 0.95))
