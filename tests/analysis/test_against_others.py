"""Every method against the joint front of all the others."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from tests.analysis.populations import covariance, drawn
from warmexp.analysis.analysis import analyse
from warmexp.analysis.methods import against_others, family
from warmexp.analysis.points import collect
from warmexp.analysis.saving import hull, lower_z
from warmexp.report.export import write_front
from warmexp.report.table import markdown


def exact(x, accuracy, methods):
    k = len(x)
    return against_others(
        methods, np.array(x), np.array(accuracy), np.zeros((2, 2, k, k)), np.full(k, 1e12)
    )  # fmt: skip


def test_a_method_is_held_against_all_the_others_and_not_against_itself():
    #    a: 4 → 60 %, 8 → 80 %     b: 5 → 70 %, 6 → 80 %      c: 9 → 90 %
    x, accuracy = [4.0, 8.0, 5.0, 6.0, 9.0], [0.6, 0.8, 0.7, 0.8, 0.9]
    found = exact(x, accuracy, {("a",): [0, 1], ("b",): [2, 3], ("c",): [4]})
    saved = {i: (one.saved, one.bound) for i, one in found.items()}
    assert saved[1] == (pytest.approx(-2.0), None)  # b takes 80 % in 6
    assert saved[0] == (pytest.approx(1.0), "at_most")  # nobody else is as poor: the cheapest other one takes 5
    assert saved[2] == (pytest.approx(4 + 5 / 3 - 5), None)  # between (4, 60 %) and (9, 90 %) of a and c
    assert saved[3] == (pytest.approx(4 + 10 / 3 - 6), None)
    assert saved[4] == (pytest.approx(-3.0), "at_least")  # b's 6 forwards are the most accurate other run
    assert "every other run" in found[4].note and "every other run" in found[0].note
    assert exact(x, accuracy, {("a",): [0, 1, 2, 3, 4]}) == {}


def test_the_lower_limit_is_paid_for():
    assert lower_z(0.025) == pytest.approx(2.3531, abs=1e-4) and lower_z(0.025 / 5) > 2.8


def test_all_limits_of_a_method_hold_together():
    """Six settings that are each worth nothing: the best of them shows a saving, or one is missed, in few studies."""
    accuracies, costs = [0.86, 0.89, 0.9, 0.905] + [0.9] * 6, [3.0, 4.0, 5.0, 6.0] + [5.0] * 6
    corners = hull(np.array(costs[:4]), np.array(accuracies[:4]))
    truth = float(np.interp(0.9, corners[1], corners[0])) - 5.0
    methods, wrong = {("a",): [0, 1, 2, 3], ("b",): list(range(4, 10))}, 0
    for seed in range(100):
        cost, right = drawn(np.random.default_rng([seed, 9]), 400, accuracies, costs)
        found = against_others(methods, cost.mean(0), right.mean(0), covariance(cost, right), np.full(10, 400))
        limits = [found[i].ci95 for i in methods["b",]]
        wrong += any((low is not None and low > truth) or (high is not None and high < truth) for low, high in limits)
    assert wrong <= 9  # 5 expected at most; 1 - P(≤ 9) is 3 % there


def test_families():
    def of(**choices):
        return family({f"choices.{group}": name for group, name in choices.items()})

    assert of(init="mask", remask="none", evidence="[]") == of() == "unmasking"
    assert (
        of(init="mask", evidence="['credit']") == "evidence" and of(remask="wino", evidence="['credit']") == "revision"
    )
    assert of(watch="prophet", remask="t2m") == "watchers" and of(ensemble="hex") == "ensembles"
    assert of(draft="lopa", feed="lrd") == "drafts" and of(feed="lrd") == "feeds" and of(length="daedal") == "lengths"
    assert of(init="token_inject", ensemble="hex", remask="t2m") == "warm starts"


@pytest.fixture
def zoo(run, tmp_path):
    """Three cold methods and a warm one; factor is as good as the threshold in half of its forwards."""

    def of(unmask, **keys):
        return {"settings": {"choices": {"unmask": unmask, "evidence": [], **keys}}}

    for tau, nfe, correct in ((0.7, 6.0, 70), (0.9, 10.0, 80)):
        run(f"cold-{tau}", tau=tau, nfe=nfe, correct=correct, proposer="none", **of("threshold"))
        run(f"factor-{tau}", tau=tau, nfe=nfe / 2, correct=correct, proposer="none", **of("factor"))
    run("wino", remask="wino", nfe=12.0, correct=79, proposer="none", **of("wino"))
    run("oracle", init="token_inject", proposer="oracle", nfe=2.0, correct=99, oracle=True, **of("threshold"))
    run("warm", init="token_inject", nfe=4.0, correct=75, **of("threshold"))
    return analyse(collect(tmp_path)[0])


def test_a_front_says_what_every_method_saves_against_all_others(zoo, tmp_path):
    (group,) = zoo.groups
    told = [(one.label, one.family, len(one.runs), one.on_front) for one in group.methods]
    assert told == [
        ("unmask=factor", "unmasking", 2, 2),
        ("unmask=threshold", "unmasking", 2, 0),
        ("unmask=wino remask=wino", "revision", 1, 0),
        ("init=token_inject proposer=lab_weak unmask=threshold", "warm starts", 1, 1),
    ]
    runs = {run.point.run_id: run for run in zoo.runs}
    for one in group.methods:
        best = runs[one.best].against_others
        assert best == one.saved and all(runs[name].against_others is not None for name in one.runs)
        fair = [saved for name in one.runs if (saved := runs[name].against_others).bound != "at_most"]
        assert not fair or (best in fair and best.ci95[0] == max(saved.ci95[0] for saved in fair))
    factor = runs[group.methods[0].best]
    assert factor.against_others.saved == pytest.approx(5.0)  # the cold run of its accuracy takes ten
    assert all(run.against_others is None for run in zoo.runs if run.point.oracle)
    paths = write_front(zoo, tmp_path / "front")
    content = json.loads(paths["json"].read_text(encoding="utf-8"))
    assert [one["label"] for one in content["groups"][0]["methods"]] == [label for label, *_ in told]
    rows = {row["run_id"]: row for row in csv.DictReader(paths["csv"].read_text(encoding="utf-8-sig").splitlines())}
    row = rows[factor.point.run_id]
    assert float(row["others_saved"]) == pytest.approx(5.0) and row["family"] == "unmasking"
    assert float(row["others_saved_low"]) == pytest.approx(factor.against_others.ci95[0])


def test_the_table_has_them_where_several_methods_need_no_proposal(zoo, run, tmp_path):
    text = markdown(zoo)
    assert "saved against all others" in text and "| unmask=wino remask=wino | revision | 1 | 0 |" in text
    two = analyse([one.point for one in zoo.runs if one.point.unmask == "threshold"])
    assert "saved against all others" not in markdown(two) and len(two.groups[0].methods) == 2
