"""What docs/trust.md says of the trust study on the long lab, recomputed from its stored outcomes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from safetensors import safe_open

from tests.analysis.stored import Run, baseline, runs, saving, the
from tests.analysis.test_sentences import ROOT, said
from warmexp.analysis.paired import difference_interval
from warmexp.lab.long import problems
from warmexp.models.lab_files import MODELS_DIR

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


def other(method: str, author: str = "none", tau: float = 0.95) -> Run:
    return the(method, author, tau=tau, **(LONG | {"study": "long_others"}))


RIVALS = {
    "`unmask=learned`, τ = 0.9": lambda: other("mask, learned", tau=0.9),
    "`unmask=learned`, τ = 0.95": lambda: other("mask, learned"),
    "`guide=self evidence=[flashdlm]`, and as many forwards of the guide": lambda: guided(),
    "the same, every forward of the guide counted as one": lambda: with_guide(),
}


def with_guide() -> Run:
    """FlashDLM asks its guide once for every forward (tests/methods/guide)."""
    return replace(guided(), nfe=2 * guided().nfe)


def learned() -> list[Run]:
    """Cold starts, and those with the policy of this backbone."""
    return [*baseline("long"), *(RIVALS[name]() for name in list(RIVALS)[:2])]


def saved(run: Run, others: list[Run]) -> str:
    one = saving(run, others)
    sign = {"at_least": "≥ ", "at_most": "≤ ", None: ""}[one.bound]
    low, high = one.ci95
    end = "∞)" if high is None else f"{high:.1f}]"
    return f"{sign}{one.saved:.1f} [{low:.1f}, {end}".replace("-", "−")


def rival_row(name: str) -> str:
    run = RIVALS[name]()
    return f"| {name} | {run.cost:.1f} | {run.percent:.1f} | {saved(run, baseline('long'))} |"


def against_row(author: str, tau: float | None) -> str:
    """tau: None for the policy behind the prior."""
    run = other("verified, learned", AUTHORS[author]) if tau is None else trusted(author, tau)
    cells = [saved(run, others) for others in (baseline("long"), learned(), [*learned(), guided()])]
    rule = "the policy, 0.95" if tau is None else f"threshold, {tau}"
    return f"| {author} | {rule} | {run.cost:.1f} | {run.percent:.1f} | {' | '.join(cells)} |"


def guided() -> Run:
    return other("mask, accepted", tau=1.1)


BOTH = [(author, tau) for author in AUTHORS for tau in (0.7, 0.8, 0.9, None) if tau or author != "foreign"]


@pytest.mark.parametrize("name", RIVALS)
def test_what_needs_no_author(name):
    said(PAGE, rival_row(name))


def test_what_is_said_of_them_elsewhere():
    for name in list(RIVALS)[:3]:
        run = RIVALS[name]()
        said("docs/zoo.md", f"| {run.cost:.1f} | {run.percent:.1f} | {saved(run, baseline('long'))} |")
    run, own = guided(), the("mask", tau=0.9, **LONG)
    wins, losses = int((run.right & ~own.right).sum()), int((~run.right & own.right).sum())
    said("docs/zoo.md", f"({wins} questions won, {losses} lost against τ = 0.9)")
    assert difference_interval(wins, losses, len(run.right), 0.95)[0] > 0
    said("README.md", f"takes {run.cost:.1f} forwards, and as many short ones of the guide, for {run.percent:.0f} %")
    shares = [saving(RIVALS[name](), baseline("long")).saved_share for name in list(RIVALS)[:2]]
    said("README.md", "saves a quarter to a third")
    assert 0.24 < shares[0] < 0.26 and 0.31 < shares[1] < 0.34


@pytest.mark.parametrize(("author", "tau"), BOTH)
def test_authors_against_what_needs_none(author, tau):
    said(PAGE, against_row(author, tau))


def test_what_the_policy_knows():
    with safe_open(MODELS_DIR / "long_policy.safetensors", "np") as found:
        notes = found.metadata()
    loss, plain = float(notes["loss"]), float(notes["loss_of_confidence"])
    said("docs/zoo.md", f"({loss:.3f} nats, confidence {plain:.3f})")
    said(PAGE, f"on {notes['problems']} questions that nothing is measured on")


def test_a_policy_behind_a_prior():
    strong, weak = (other("verified, learned", AUTHORS[author]) for author in ("strong", "weak"))
    share = saving(weak, learned()).saved_share
    said(PAGE, f"a fifth ({100 * share:.0f} %) of what the policy takes without it")
    assert saving(weak, learned()).ci95[0] > 0 and saving(strong, [*learned(), guided()]).ci95[0] > 0
    alone = RIVALS["`unmask=learned`, τ = 0.95"]()
    wins, losses = int((weak.right & ~alone.right).sum()), int((~weak.right & alone.right).sum())
    said(PAGE, f"({wins} questions won, {losses} lost)")
    said("README.md", f"takes {strong.cost:.1f} forwards for {strong.percent:.0f} % with that policy behind it")
    said(
        "README.md",
        f"the weak one {weak.cost:.1f} for {weak.percent:.0f} %, where the policy alone takes {alone.cost:.1f}",
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
    said(
        PAGE,
        f"it takes {run.cost:.1f} forwards instead of {own.cost:.1f} and loses {own.percent - run.percent:.1f} points",
    )
    said(PAGE, f"({wins} questions won, {losses} lost; [{low:.1f}, {high:.1f}] points)".replace("-", "−"))
    assert high < 0


def test_right_and_helpful_come_apart():
    """The foreign author's forwards beside the strong one's, at the default's τ."""
    strong, foreign = trusted("strong", 0.9), trusted("foreign", 0.9)
    said(PAGE, f"takes {100 * foreign.cost / strong.cost - 100:.0f} % more forwards")


def test_what_the_long_lab_is_said_to_be():
    small, own = (the("mask", tau=0.9, block=block, **LONG) for block in (16, 32))
    low = the("mask", tau=0.5, block=32, **LONG)
    n = f"{len(own.right):,}"
    said(PAGE, f"is τ and the block length, {n} test questions")
    said(
        "docs/lab.md",
        f"On {n} test questions it is right on {small.percent:.0f} % at {small.cost:.1f} forwards in blocks of 16 and on"
        f" {own.percent:.0f} % at {own.cost:.1f} in the blocks of 32",
    )
    said(PAGE, "some 22 forwards at τ = 0.9, and half of the accuracy lost at τ = 0.5")
    assert 21 <= own.cost <= small.cost <= 23 and 0.5 <= low.percent / own.percent <= 0.6
    said("README.md", f"(`backbone=lab_long task=lab_long`, {n} test questions)")


@cache
def of_plots() -> dict[str, np.ndarray]:
    """Which of the test questions have which plot, [n] bool, in the order of the stored outcomes."""
    ids = sorted(p.id for p in problems.load("test"))
    kinds = np.array([problems.kind("test", int(i.rpartition("-")[2])) for i in ids])
    return {plot: kinds == plot for plot in problems.FULL.plots}


def plot_row(plot: str) -> str:
    its = of_plots()[plot]
    found = (the("mask", tau=0.9, **LONG), trusted("strong", 0.9), trusted("weak", 0.9))
    cells = [f"{run.nfe[its].mean():.1f} | {100 * run.right[its].mean():.0f}" for run in found]
    return f"| {plot} | {its.sum()} | {' | '.join(cells)} |"


@pytest.mark.parametrize("plot", sorted(of_plots()))
def test_every_plot(plot):
    said("docs/lab.md", plot_row(plot))


def test_where_the_mistakes_are():
    run, several = the("mask", tau=0.9, **LONG), of_plots()["compare"] | of_plots()["rivals"]
    share = (~run.right & several).sum() / (~run.right).sum()
    said("docs/lab.md", f"{100 * share:.0f} % of the mistakes are made in the third of the questions")
    assert 0.32 < several.mean() < 0.35


def mistakes() -> list[list[float]]:
    """The rows of the page's table on the first mistake: for the strong and the weak author n, kept, forwards and
    accuracy cold and trusted, [2, 6] each."""
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    lines = page[page.index("| first mistake |") :].split("\n\n")[0].splitlines()[2:]
    return [[float(cell) if cell.strip() else 0.0 for cell in line.strip("|").split("|")[1:]] for line in lines]


@pytest.mark.parametrize("author", ["strong", "weak"])
def test_the_first_mistakes_sum_up_to_the_runs(author):
    """The table is of records, by the strict filter; its means over all bins are those of the stored runs."""
    n, _, *table = zip(*([row[:6] if author == "strong" else row[6:] for row in mistakes()]), strict=True)
    cold, run = the("mask", tau=0.9, **LONG), trusted(author, 0.9)
    assert sum(n) == len(run.right)
    nfe_cold, nfe, percent_cold, percent = (
        sum(a * b for a, b in zip(n, column, strict=True)) / sum(n) for column in table
    )
    assert (nfe_cold, nfe) == pytest.approx((cold.cost, run.cost), abs=0.05)
    assert (percent_cold, percent) == pytest.approx((cold.percent, run.percent), abs=1.0)  # by the other filter


def test_the_sentences_under_the_first_mistakes():
    strong, weak = ([row[6 * k : 6 * k + 6] for row in mistakes()] for k in (0, 1))
    shares = [1 - row[3] / row[2] for row in (strong[4], weak[4])]  # 64 to 95 tokens
    said(PAGE, "A proposal that is right for 60 tokens and wrong after them saves 40 % of the forwards.")
    assert all(0.35 <= share <= 0.45 for share in shares)
    said(PAGE, "What it costs are 2 to 8 points")
    assert all(2 <= round(row[4] - row[5]) <= 8 for row in strong[1:6] + weak[1:4])
    said(PAGE, f"({strong[1][1]:.0f} tokens where 27 are right)")
    said(PAGE, f"{strong[-1][5] - strong[-1][4]:.0f} points more of them are answered")


if __name__ == "__main__":
    print(*(cold_row(tau) for tau in TAUS), sep="\n")
    print(*(trusted_row(author, tau) for author in AUTHORS for tau in (0.7, 0.8, 0.9)), sep="\n")
    print(*map(rival_row, RIVALS), sep="\n")
    print(*(against_row(*each) for each in BOTH), sep="\n")
    print(*map(plot_row, of_plots()), sep="\n")
    print(len(runs_of_cold()), [(r.tau, r.block, round(r.cost, 1)) for r in baseline("long")])
    run, own = trusted("weak", 0.9), the("mask", tau=0.9, **LONG)
    w, lost = int((run.right & ~own.right).sum()), int((~run.right & own.right).sum())
    print(w, lost, difference_interval(w, lost, len(run.right), 0.95))
