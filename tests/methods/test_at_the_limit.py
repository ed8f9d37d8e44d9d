"""Rules exactly at their limits, by hand: what equals a threshold, whole numbers of tokens, ties, and a progress of a
third. On random models nothing is ever equal."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from warmexp.methods.ensemble.self_consistency import SelfConsistency
from warmexp.methods.remask.joint_threshold import JointThreshold
from warmexp.methods.remask.rcr import RCR
from warmexp.methods.remask.t2m import T2M
from warmexp.methods.remask.wino import Wino
from warmexp.methods.unmask.saber import Saber as SaberCommits
from warmexp.methods.unmask.wino import Wino as WinoCommits
from warmexp.methods.watch.prophet import Prophet


def view(masked, **more):
    """One question's window; everything that is visible may be revoked. more: columns, and other fields."""
    masked = np.array([masked], dtype=bool)
    fields = {"ids", "backing", "visits"} & set(more)
    columns = {name: np.array([value]) for name, value in more.items() if name not in fields}
    return SimpleNamespace(
        masked=masked,
        revocable=~masked,
        visits=np.array([more.get("visits", 1)]),
        ids=np.array([more.get("ids", [0] * masked.shape[1])]),
        backing=np.array([more.get("backing", [1.0] * masked.shape[1])]),
        recall=columns.__getitem__,
        whole=columns.__getitem__,
    )


def reading(**arrays):
    return SimpleNamespace(
        **{name: np.array([value]) for name, value in arrays.items() if "_" not in name or name.startswith("visible")},
        measured={name: np.array([value]) for name, value in arrays.items() if not name.startswith("visible")},
    )


def places(chosen) -> list[int]:
    return np.flatnonzero(chosen[0]).tolist()


def test_wino_doubts_below_its_threshold_alone():
    seen = view([False, False, False, True, True], wino_committed=9)
    q = reading(visible_probability=[0.5, np.nextafter(0.5, 0), 0.2, 1.0, 1.0])
    commit = np.array([[False, False, False, True, True]])
    assert places(Wino(0.5).select(seen, q, commit)) == [1, 2]


def test_wino_commits_above_its_threshold_alone():
    c = reading(confidence=[0.5, np.nextafter(0.5, 1), 0.4, 0.9])
    assert places(WinoCommits(0.5, share=1.0).select(view([True] * 4), c)) == [1, 3]


@pytest.mark.parametrize(("masks", "at_most"), [(8, 5), (9, 6), (11, 7), (20, 14)])
def test_wino_takes_a_whole_number_of_tokens(masks, at_most):
    """⌊0.7 m⌋: of 8 masks 5.6, of 9 6.3, of 11 7.7, of 20 14."""
    c = reading(confidence=np.linspace(0.99, 0.9, masks))
    assert places(WinoCommits(0.6).select(view([True] * masks), c)) == list(range(at_most))


@pytest.mark.parametrize(
    ("score", "arrays"),
    [
        ("low_prob", {"visible_probability": [0.25, np.nextafter(0.25, 0), 0.9]}),
        ("t2t", {"t2m_token": [1, 1, 0], "t2m_probability": [0.25, np.nextafter(0.25, 1), 0.9]}),
        ("logit_diff", {"visible_probability": [0.5, np.nextafter(0.5, 0), 0.9]}),
    ],
)
def test_t2m_suspects_beyond_its_threshold_alone(score, arrays):
    seen = view([False] * 3, t2m_times=[0, 0, 0], t2m_before=[0.75, 0.75, 0.75])
    rule = T2M(score, 0.25, share=1.0)
    assert places(rule.select(seen, reading(**arrays), np.zeros((1, 3), dtype=bool))) == [1]


def test_joint_threshold_edits_above_its_threshold_alone_and_writes_that_probability():
    seen = view([False] * 3, ids=[4, 4, 4])
    edit = JointThreshold(0.5).replace(
        seen, reading(joint_token=[5, 5, 4], joint_probability=[0.5, 0.75, 0.9]), np.zeros((1, 3), dtype=bool)
    )
    assert places(edit.where) == [1] and edit.token[0, 1] == 5 and edit.confidence[0, 1] == 0.75


def test_saber_commits_above_the_mean_alone():
    seen = view([True] * 3 + [False], saber_committed=[np.nan, np.nan, np.nan, 0.5])
    c = reading(confidence=[0.5, np.nextafter(0.5, 1), 0.25, -1.0])
    assert places(SaberCommits(1).select(seen, c)) == [1]


def test_saber_counts_a_revoked_token_until_it_is_committed_again():
    """The mean is 0.4 with the one that was revoked and 0.6 without."""
    columns = SaberCommits.columns["saber_committed"]
    seen = view([True, True, True, False], saber_committed=[0.2, np.nan, np.nan, 0.6])
    c = reading(confidence=[0.5, 0.45, 0.1, -1.0])
    assert places(SaberCommits(1).select(seen, c)) == [0, 1] and not columns.reset
    commit = np.array([[True, False, False, False]])
    kept = SaberCommits(1).remember(seen, c, SimpleNamespace(commit=commit))["saber_committed"][0]
    assert kept[[0, 3]].tolist() == [0.5, 0.6] and np.isnan(kept[1:3]).all()


def test_rcr_keeps_what_is_committed_where_confidences_are_equal():
    """Two masks, one of them committed; the other and a visible token are as sure: the first of these two gives way."""
    commit = np.array([[True, False, False]])
    seen = view([True, True, False], backing=[1.0, 1.0, 0.5])
    rule, c = RCR(), reading(confidence=[0.5, 0.5, -1.0])
    assert places(rule.lowest(seen, c, commit)) == [1]
    assert not places(rule.select(seen, c, commit)) and not places(rule.further(seen, c, commit))


def prophet(visible: int, of: int, gap: float, rule: Prophet, answer=(1, 3)) -> bool:
    rule.bind(SimpleNamespace(answer=lambda token, kind: ("7", *answer)), of)
    masked = [i >= visible for i in range(of)]
    gaps = np.full(of, 99.0)
    gaps[answer[0] : answer[1]] = gap
    seen = SimpleNamespace(whole=lambda name: np.array([masked]))
    return bool(rule.finish(seen, SimpleNamespace(token=np.zeros((1, of), int), gap=gaps[None]))[0])


@pytest.mark.parametrize(
    ("visible", "needed"), [(0, 7.5), (32, 7.5), (33, 5.0), (34, 5.0), (66, 5.0), (67, 2.5), (68, 2.5), (99, 2.5)]
)
def test_prophet_needs_less_from_a_third_and_from_two_thirds_on(visible, needed):
    """A gap that is what is needed suffices; the last mask is filled like others, and no full canvas is finished."""
    assert prophet(visible, 100, needed, Prophet())
    assert not prophet(visible, 100, np.nextafter(needed, 0), Prophet())
    assert not prophet(100, 100, 99.0, Prophet())


def test_prophet_looks_at_the_answer_and_nothing_beside_it():
    """Between gaps of 99, the mean of both of its positions."""
    rule = Prophet()
    rule.bind(SimpleNamespace(answer=lambda token, kind: ("7", 1, 3)), 4)
    assert rule.gap(np.zeros(4, int), np.array([99.0, 2.0, 4.0, 99.0])) == 3.0
    rule.bind(SimpleNamespace(answer=lambda token, kind: None), 4)
    assert rule.gap(np.zeros(4, int), np.full(4, 99.0)) == -np.inf


def test_seeds_of_members_are_those_of_no_other_run():
    """The first has the run's own; two runs of neighbouring seeds share none."""
    drawn = [[seed for _, seed in SelfConsistency(n).members(None, run)] for n in (3, 5) for run in range(4)]
    assert [seeds[0] for seeds in drawn] == [0, 1, 2, 3] * 2 and {len(seeds) for seeds in drawn} == {3, 5}
    for some in (drawn[:4], drawn[4:]):
        others = [seed for seeds in some for seed in seeds]
        assert len(set(others)) == len(others)
        assert not {seed for seeds in some for seed in seeds[1:]} & set(range(1000))
