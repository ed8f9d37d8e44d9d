"""The published rules, number by number against slow ones that are written from their descriptions; and what each
becomes at its limits."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random
from types import SimpleNamespace

import numpy as np
import pytest

from tests.decode.cases import facts
from tests.decode.test_seams import COLD, backbone, decoded  # noqa: F401 (a fixture)
from warmexp.methods.evidence.credit import Credit
from warmexp.methods.unmask.certainty import Certainty
from warmexp.methods.unmask.entropy import Entropy
from warmexp.methods.unmask.entropy_bound import EntropyBound
from warmexp.methods.unmask.factor import Factor
from warmexp.methods.unmask.hierarchy import Hierarchy
from warmexp.methods.unmask.klass import Klass
from warmexp.methods.unmask.localleap import LocalLeap
from warmexp.methods.unmask.random import Random as FirstHitting
from warmexp.methods.unmask.threshold import Threshold
from warmexp.methods.unmask.topk import TopK

ONE = TopK(steps_per_block=10**6)  # the most confident position in every forward


def best_first(scores: dict[int, float]) -> list[int]:
    return sorted(scores, key=lambda i: (-scores[i], i))


def factor(rule, c, nats, masks):
    taken = []
    for rank, i in enumerate(best_first(c), 1):
        if rank > 1 and c[i] < 1 - rule.factor / (rank + 1):
            if rule.released and rank == len(c):
                taken.append(i)
            break
        taken.append(i)
    return taken


def entropy(rule, c, nats, masks):
    return [i for i in nats if nats[i] <= rule.theta] + [min(nats, key=lambda i: (nats[i], i))]


def entropy_bound(rule, c, nats, masks):
    order = sorted(nats, key=lambda i: (nats[i], i))
    sizes = [
        k
        for k in range(1, len(order) + 1)
        if sum(nats[i] for i in order[:k]) - max(nats[i] for i in order[:k]) <= rule.gamma + 1e-15
    ]
    return order[: max(sizes, default=1)]


def localleap(rule, c, nats, masks):
    anchors = [i for i in c if c[i] >= rule.tau]
    return anchors + [j for j in c if c[j] >= rule.relaxed and any(abs(i - j) <= rule.radius for i in anchors)]


def hierarchy(rule, c, nats, masks):
    taken, run = [i for i in c if c[i] >= rule.tau], []
    for i in range(len(masks) + 1):
        if i < len(masks) and masks[i]:
            run.append(i)
        elif run:
            top = max(c[j] for j in run)
            taken += [j for j in run if c[j] == top > rule.low]
            run = []
    return taken


def certainty(rule, c, nats, masks):
    def density(i):
        weight = total = 0.0
        for j in range(i - math.ceil(4 * rule.sigma), i + math.ceil(4 * rule.sigma) + 1):
            w = math.exp(-((i - j) ** 2) / (2 * rule.sigma**2))
            total += w
            weight += w * (j < 0 or not masks[min(j, len(masks) - 1)])
        return weight / total

    score = {i: density(i) * c[i] for i in c}
    return [i for i in c if score[i] >= rule.tau] + best_first(score)[:1]


RULES = [
    *[(Factor(f, released), factor) for f in (0.2, 1.0, 1.7, 3.0) for released in (False, True)],
    *[(Entropy(theta), entropy) for theta in (0.0, 0.5, 1.5)],
    *[(EntropyBound(gamma), entropy_bound) for gamma in (0.0, 0.3, 1.0, 5.0)],
    *[(LocalLeap(0.8, relaxed=relaxed, radius=radius), localleap) for relaxed in (0.2, 0.6) for radius in (0, 1, 3)],
    *[(Hierarchy(0.8, low=low), hierarchy) for low in (0.1, 0.4, 1.0)],
    *[(Certainty(tau, sigma=sigma), certainty) for tau in (0.3, 0.6) for sigma in (0.5, 2.0, 10.0)],
]


@pytest.mark.parametrize(
    ("rule", "reference"), RULES, ids=[f"{type(rule).__name__} {rule.shown()} {i}" for i, (rule, _) in enumerate(RULES)]
)
def test_the_rule_as_it_is_described(rule, reference):
    """Windows of one to nine positions with any masks, many rows at once; equal confidences, too."""
    draw = Random(0)
    for _ in range(60):
        width, rows = draw.randint(1, 9), draw.randint(1, 4)
        masks = np.array([[draw.random() < 0.7 for _ in range(width)] for _ in range(rows)])
        c = np.array([[draw.choice([draw.random(), 0.5, 0.9]) for _ in range(width)] for _ in range(rows)])
        nats = np.array(
            [[draw.choice([draw.random(), 0.25, 2 * draw.random()]) for _ in range(width)] for _ in range(rows)]
        )
        positions = np.tile(np.arange(width), (rows, 1))
        view = SimpleNamespace(masked=masks, positions=positions, whole={"masked": masks}.__getitem__)
        reading = SimpleNamespace(confidence=np.where(masks, c, -1.0), measured={"nats": nats})
        chosen = rule.select(view, reading)
        for i in range(rows):
            there = [j for j in range(width) if masks[i, j]]
            expected = (
                reference(rule, {j: c[i, j] for j in there}, {j: nats[i, j] for j in there}, masks[i]) if there else []
            )
            assert set(chosen[i].nonzero()[0].tolist()) == set(expected)


def test_the_published_example_of_the_released_factor():
    """c = (.99, .95, .8, .6), f = 1: three by the rule, four by the released code."""
    view = SimpleNamespace(masked=np.ones((1, 4), dtype=bool))
    reading = SimpleNamespace(confidence=np.array([[0.99, 0.95, 0.8, 0.6]]))
    assert Factor(1.0).select(view, reading).sum() == 3 and Factor(1.0, released=True).select(view, reading).sum() == 4


def test_the_published_example_of_the_entropy_bound():
    view = SimpleNamespace(masked=np.ones((1, 3), dtype=bool))
    reading = SimpleNamespace(measured={"nats": np.array([[0.02, 0.03, 0.10]])})
    assert EntropyBound(0.05).select(view, reading).sum() == 3


IDENTITIES = {
    "factor to 0": (Factor(1e-9), ONE),
    "leap to nowhere": (LocalLeap(0.4, relaxed=0.1, radius=0), Threshold(0.4)),
    "no hierarchy": (Hierarchy(0.4, low=1.0), Threshold(0.4)),
    "klass that asks nothing": (Klass(0.4, epsilon=1e9, history=1), Threshold(0.4)),
    "no temperature, any order": (Entropy(theta=100.0), Threshold(1e-12)),
    "no bound": (EntropyBound(gamma=1000.0), Threshold(1e-12)),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_at_its_limit_it_is_a_simpler_rule(name, backbone):  # noqa: F811
    one, other = ([facts(d) for d in decoded(backbone, replace(COLD, unmask=rule))] for rule in IDENTITIES[name])
    assert one == other


def test_credit_without_weight_changes_nothing(backbone):  # noqa: F811
    usual = [facts(d) for d in decoded(backbone, replace(COLD, unmask=Threshold(0.6)))]
    assert [
        facts(d) for d in decoded(backbone, replace(COLD, unmask=Threshold(0.6), evidence=(Credit(alpha=0.0),)))
    ] == usual
    credited = decoded(backbone, replace(COLD, unmask=Threshold(0.6), evidence=(Credit(),)))
    assert sum(d.cost.nfe for d in credited) < sum(one["nfe"] for one in usual)


def test_credit_lies_between_two_thresholds():
    """With the published constants a first forward passes τ = 0.9 from p ≥ 0.85, and p = 0.8 in its third (alone on its
    position)."""
    import torch

    from warmexp.decode.reading import Word

    def confidences(p: float, forwards: int) -> list[float]:
        rule, kept, found = Credit(), torch.zeros(1, 3, dtype=torch.float64), []
        flags = np.array([[True]])
        for _ in range(forwards):
            view = SimpleNamespace(
                masked=flags,
                recall={"credit": kept}.__getitem__,
                on_device=lambda array, device: torch.from_numpy(array)[0],
            )
            logits = torch.tensor([[p, 1 - p, 0.0]], dtype=torch.float64).log()
            word = Word(logits, torch.tensor([0]), torch.tensor([p], dtype=torch.float64))
            found.append(float(rule.weigh(view, word).confidence[0]))
            kept = rule.measure(view, word)["credit"]
        return found

    assert confidences(0.8, 3) == pytest.approx([0.865, 0.890, 0.903], abs=6e-4)
    assert confidences(0.85, 1)[0] >= 0.9 > confidences(0.84, 1)[0]


def test_the_first_hitting_sampler_takes_one_uniform_position(backbone):  # noqa: F811
    done = decoded(backbone, replace(COLD, unmask=FirstHitting()))
    assert all(d.cost.nfe == 8 and sorted(d.commit_iteration) == list(range(8)) for d in done)
    assert len({d.commit_iteration for d in done}) > 1


def test_klass_asks_for_quiet(backbone):  # noqa: F811
    """The first forward is never quiet, so nothing is committed by rule before the forward h + 1; each forward still
    commits one."""
    done = decoded(backbone, replace(COLD, unmask=Klass(1e-9, epsilon=1e9, history=3)))
    for d in done:
        assert d.cost.nfe == 6  # of each block of four: one, one, and the rest


def test_klass_begins_its_count_at_nothing_where_a_distribution_has_moved():
    view = SimpleNamespace(recall=lambda name: np.array([[5, 5]]))
    reading = SimpleNamespace(measured={"klass_moved": np.array([[1.0, 0.0]])})
    assert Klass().still(view, reading).tolist() == [[0, 6]]
