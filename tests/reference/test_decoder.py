"""The reference's own arithmetic against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tests.reference.decoder import choose, in_scope, remask_bias, revoke, soft_weight
from warmexp.rng import uniform


@pytest.mark.parametrize(("k", "b"), [(0, 0.5), (1, 0.4625), (40, -1.0)])
def test_the_linear_rate_of_the_paper(k, b):
    assert remask_bias({"name": "linear", "bias": 0.5, "slope": 0.0375}, k) == pytest.approx(b)


@pytest.mark.parametrize(("k", "b"), [(0, 0.5), (20, 2.5 * 0.4**0.5 - 2), (40, -1.0)])
def test_the_exponential_rate_has_the_same_ends(k, b):
    assert remask_bias(
        {"name": "exponential", "bias": 0.5, "floor": -2.0, "base": 0.4, "span": 40}, k
    ) == pytest.approx(b)


@pytest.mark.parametrize(
    ("duration", "weights"), [("first", [0.4, 0, 0, 0, 0]), ("masked", [0.4] * 5), ("fade", [0.4, 0.3, 0.2, 0.1, 0.0])]
)
def test_soft_weights(duration, weights):
    init = {"name": "embed_interp", "lam": 0.4, "duration": duration, "fade_forwards": 4}
    assert [soft_weight(init, n) for n in range(5)] == pytest.approx(weights)


def test_scopes():
    for scope, expected in (("injected", (True, False)), ("decoded", (False, True)), ("all", (True, True))):
        remask = {"name": "linear", "scope": scope}
        assert (in_scope(remask, "injected"), in_scope(remask, "decoded")) == expected
    assert not in_scope({"name": "none"}, "injected")


def logits(rows: list[list[float]]) -> dict[int, np.ndarray]:
    """Probabilities [L, V] -> logits by position."""
    with np.errstate(divide="ignore"):
        return dict(enumerate(np.log(np.array(rows))))


PROBABILITIES = [[0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.05, 0.95, 0.0], [0.7, 0.3, 0.0]]


@pytest.mark.parametrize(
    ("tau", "chosen"),
    [(0.85, [(1, 1, 0.9), (2, 1, 0.95)]), (0.99, [(2, 1, 0.95)]), (0.65, [(1, 1, 0.9), (2, 1, 0.95), (3, 0, 0.7)])],
)
def test_threshold_by_hand(tau, chosen):
    policy = {"name": "threshold", "tau": tau, "temperature": 0.0}
    committed = choose(logits(PROBABILITIES), [0, 1, 2, 3], range(4), policy, "q", 0, 0, 0)[0]
    assert committed == [pytest.approx(one) for one in chosen]


@pytest.mark.parametrize(
    ("steps", "k", "chosen"), [(4, 0, [2]), (2, 0, [1, 2]), (3, 0, [1, 2]), (3, 2, [0, 1, 2, 3]), (3, 9, [0, 1, 2, 3])]
)
def test_topk_by_hand(steps, k, chosen):
    policy = {"name": "topk", "steps_per_block": steps, "temperature": 0.0}
    assert [i for i, *_ in choose(logits(PROBABILITIES), [0, 1, 2, 3], range(4), policy, "q", 0, 0, k)[0]] == chosen


def test_revocation_by_hand():
    """c = 0.6, 0.9, 0.05, 0.3 and b = 0: each is revoked iff its draw is below 0.4, 0.1, 0.95, 0.7."""
    remask = {"name": "linear", "bias": 0.0, "slope": 0.0, "scope": "all"}
    for n in range(20):
        u = uniform(0, "q", "remask", 4, step=n)
        expected = [i for i, rate in enumerate([0.4, 0.1, 0.95, 0.7]) if u[i] < rate]
        assert revoke(logits(PROBABILITIES), [0, 1, 0, 1], [0, 1, 2, 3], remask, "q", 0, n, 0, 4)[0] == expected
    assert revoke(logits(PROBABILITIES), [0, 1, 0, 1], [0, 1, 2, 3], remask | {"bias": 1.0}, "q", 0, 0, 15, 4)[0] == [
        0,
        1,
        2,
        3,
    ]
    assert revoke(logits(PROBABILITIES), [0, 1, 0, 1], [0, 1, 2, 3], remask | {"bias": 1.0}, "q", 0, 0, 16, 4)[0] == []
