"""Decoding by the margin between the two best tokens, beside slow rules written from its description."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.decode.cases import facts
from tests.decode.test_seams import COLD, backbone, decoded  # noqa: F401 (a fixture)
from tests.methods.unmask.slow import agree, softmax
from warmexp.errors import UserError
from warmexp.methods.unmask.margin_threshold import MarginThreshold
from warmexp.methods.unmask.topk import TopK
from warmexp.methods.unmask.topk_margin import TopKMargin


def leads(ids, z) -> dict[int, float]:
    """Masked position -> p₁ - p₂."""
    best = {i: np.sort(softmax(z[i]))[::-1] for i, token in enumerate(ids) if token is None}
    return {i: float(p[0] - p[1]) for i, p in best.items()}


def said(z, chosen) -> dict[int, int]:
    return {i: int(z[i].argmax()) for i in chosen}


@pytest.mark.parametrize("steps", [1, 3, 5, 100])
def test_a_quota_of_the_largest_margins(steps):
    """LLaDA's table: ⌊m/s⌋ in each forward, one more in the first m mod s."""

    def rule(ids, z, k):
        quota = 8 // steps + (k < 8 % steps)
        lead = leads(ids, z)
        return said(z, sorted(lead, key=lambda i: (-lead[i], i))[:quota])

    assert agree(TopKMargin(steps_per_block=steps), lambda _: rule) == 8 * min(steps, 8)


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5, 1.0])
def test_every_margin_that_is_large_enough(margin):
    def rule(ids, z, k):
        lead = leads(ids, z)
        return said(z, {i for i in lead if lead[i] >= margin} | {max(lead, key=lambda i: (lead[i], -i))})

    forwards = agree(MarginThreshold(margin), lambda _: rule)
    assert (forwards == 8) == (margin == 0.0) and (forwards == 64) == (margin == 1.0)


def test_its_own_best_is_not_the_most_confident():
    """p = (.5, .45, …) is more confident than (.4, .1, …), and its margin is smaller."""
    view = SimpleNamespace(masked=np.array([[True, True, False]]), visits=np.array([0]))
    reading = SimpleNamespace(
        confidence=np.array([[0.5, 0.4, -1.0]]), measured={"margin": np.array([[0.05, 0.3, 0.9]])}
    )
    for rule in (MarginThreshold(0.9), TopKMargin(steps_per_block=100)):
        assert rule.select(view, reading).tolist() == [[False, True, False]]


def test_a_margin_that_is_just_reached_is_enough():
    view = SimpleNamespace(masked=np.array([[True, True, True]]))
    reading = SimpleNamespace(measured={"margin": np.array([[0.5, 0.75, 0.25]])})
    assert MarginThreshold(0.5).select(view, reading).tolist() == [[True, True, False]]


def test_a_quota_of_everything_does_not_ask_for_the_order(backbone):  # noqa: F811
    one, other = (
        [facts(d) for d in decoded(backbone, replace(COLD, unmask=rule(steps_per_block=1)))]
        for rule in (TopKMargin, TopK)
    )
    assert one == other


def test_a_margin_outside_of_its_range_is_refused():
    with pytest.raises(UserError, match=r"unmask.margin=1.5 "):
        MarginThreshold(1.5)
