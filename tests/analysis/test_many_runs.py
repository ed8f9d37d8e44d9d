"""Many runs of one study: what luck makes of them, and what the tables say about it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analysis.populations import drawn
from warmexp.analysis.analysis import analyse
from warmexp.analysis.family import critical, holm
from warmexp.analysis.indicators import non_dominated, undominated_shares
from warmexp.analysis.paired import mcnemar
from warmexp.analysis.points import collect
from warmexp.analysis.resample import replicate_means
from warmexp.analysis.result import STEADY
from warmexp.report.table import markdown


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []
    p = np.random.default_rng(0).random(20)
    adjusted = np.array(holm(p.tolist()))
    assert (adjusted >= p).all() and (np.diff(adjusted[np.argsort(p)]) >= 0).all()


def study(seed: int, n: int, nulls: int) -> tuple[np.ndarray, np.ndarray]:
    """Six cold runs on the front that they have, and warm starts that are what the fourth of them is."""
    accuracies = [0.881, 0.900, 0.905, 0.907, 0.909, 0.909] + [0.907] * nulls
    costs = [3.68, 4.24, 4.74, 5.22, 6.64, 7.9] + [5.22] * nulls
    return drawn(np.random.default_rng(seed), n, accuracies, costs)


def luck(seed: int, n: int, nulls: int) -> tuple[int, int, bool, bool, float]:
    """Nulls on the front, nulls that would be bold, whether some raw and some adjusted p is below 5 %, and the best
    one's gain."""
    cost, right = study(seed, n, nulls)
    k = cost.shape[1]
    front = non_dominated(cost.mean(axis=0), right.mean(axis=0))
    stars = replicate_means(np.hstack([cost, right]).astype(float), f"luck {seed}", 299)
    shares = undominated_shares(stars[:, :k], stars[:, k:], np.ones(k, dtype=bool))
    p = [mcnemar(int((right[:, i] & ~right[:, 3]).sum()), int((~right[:, i] & right[:, 3]).sum())) for i in range(6, k)]
    bold = front & (shares >= STEADY)
    return (
        int(front[6:].sum()),
        int(bold[6:].sum()),
        min(p) < 0.05,
        min(holm(p)) < 0.05,
        float(right[:, 6:].mean(axis=0).max() - 0.907),
    )


def test_luck_is_not_printed_bold_and_not_called_significant():
    """Thirty warm starts that do nothing: some are on the front in every study, and hardly one is there in 95 % of its
    resamples."""
    found = np.array([luck(seed, 128, 30) for seed in range(40)], dtype=float)
    on_front, _, _, adjusted, gain = found.mean(axis=0)
    assert (found[:, 0] > 0).mean() >= 0.85 and on_front > 1
    # 600 such studies have a mean gain of 0.018; the mean of 40 has a standard error of 0.0035.
    assert (found[:, 1] > 0).mean() <= 0.05 and adjusted <= 0.05 and gain > 0.01


@pytest.mark.slow
@pytest.mark.parametrize("n", [128, 512, 1024])
def test_luck_in_larger_studies(n):
    found = np.array([luck(seed, n, 30) for seed in range(300)], dtype=float)
    assert (found[:, 1] > 0).mean() <= 0.06 and found[:, 3].mean() <= 0.05 and (found[:, 0] > 0).mean() > 0.8


def test_simultaneous_intervals_hold_together():
    """All twenty differences of one study lie in their intervals in 95 % of studies; one by one, in far fewer."""
    together = alone = 0
    for seed in range(80):
        values = np.random.default_rng(seed).normal(size=(100, 20))
        stars = replicate_means(values, f"together {seed}", 499)
        errors = stars.std(axis=0)
        z = critical(stars - values.mean(axis=0), errors)
        together += (np.abs(values.mean(axis=0)) <= z * errors).all()
        alone += (np.abs(values.mean(axis=0)) <= 1.96 * errors).all()
    assert together / 80 >= 0.88 and alone / 80 < 0.6
    assert critical(np.zeros((10, 2)), np.zeros(2)) == pytest.approx(1.96, abs=1e-3)


def test_a_front_says_how_many_were_compared(run, tmp_path):
    for tau, nfe, correct in ((0.5, 4, 60), (0.7, 6, 75), (0.9, 10, 80)):
        run(f"cold{tau}", tau=tau, nfe=nfe, correct=correct)
    for rho, correct in ((0.1, 88), (0.3, 79), (0.5, 70)):
        run(f"warm{rho}", init="token_inject", init_keys={"rho": rho}, nfe=8, correct=correct)
    run("cheat", init="token_inject", init_keys={"rho": 0.5}, proposer="oracle", oracle=True, nfe=3, correct=99)
    front = analyse(collect(tmp_path, "strict")[0])
    pairs = {r.point.folder.name: r.paired for r in front.runs if r.paired}
    assert {pairs[name].compared for name in ("warm0.1", "warm0.3", "warm0.5")} == {3}
    assert pairs["cheat"].compared is None and pairs["cheat"].mcnemar_p_holm is None
    assert pairs["warm0.1"].mcnemar_p_holm == pytest.approx(2 * pairs["warm0.1"].mcnemar_p)
    assert pairs["warm0.5"].mcnemar_p_holm == pytest.approx(3 * pairs["warm0.5"].mcnemar_p)
    low, high = pairs["warm0.1"].accuracy_difference_simultaneous
    own = pairs["warm0.1"].accuracy_difference_ci95
    assert low < own[0] and own[1] < high
    assert "3 runs were compared" in markdown(front)
    assert any(one.item == "How many were compared" and one.said.startswith("3 runs") for one in front.checklist)


def test_the_proposer_alone_is_on_no_front(run, tmp_path):
    """Without one forward of the backbone a row is another model: cheaper than everything by definition, and no point
    of the front."""
    for tau, nfe, correct in ((0.5, 4, 75), (0.7, 6, 78), (0.9, 10, 80)):
        run(f"cold{tau}", tau=tau, nfe=nfe, correct=correct)
    without = analyse(collect(tmp_path, "strict")[0])
    alone = run("alone", init="token_inject", init_keys={"rho": 1.0}, nfe=1, correct=21)
    rows = (alone / "records.jsonl").read_text()
    (alone / "records.jsonl").write_text(rows.replace('"nfe": 0', '"nfe": 0').replace('"nfe": 2', '"nfe": 0'))
    summary = (alone / "summary.json").read_text().replace('"nfe_mean": 1', '"nfe_mean": 0')
    (alone / "summary.json").write_text(summary)
    points, _ = collect(tmp_path, "strict")
    front = analyse(points)
    row = next(r for r in front.runs if r.point.folder.name == "alone")
    assert (
        row.point.autoregressive and not row.on_front and row.undominated_share is None and row.paired.compared is None
    )
    assert (
        front.groups[0].hypervolume == without.groups[0].hypervolume
        and front.groups[0].front == without.groups[0].front
    )
    assert len(front.groups[0].curves) == 1 and "their proposer alone" in markdown(front)
    low, high = front.groups[0].hypervolume_ci95
    assert low < front.groups[0].hypervolume < high
    (curve,) = front.groups[0].curves
    assert curve.aup is not None and curve.aup_ci95[0] < curve.aup < curve.aup_ci95[1]
