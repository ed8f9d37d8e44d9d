"""Dream's sampler beside a slow one that is written from the description of its schedule and scores."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.decode.cases import facts
from tests.decode.test_seams import COLD, backbone, decoded  # noqa: F401 (a fixture)
from tests.methods.unmask.slow import agree, noise, softmax
from warmexp.api import planned
from warmexp.errors import UserError
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.unmask.dream import Dream
from warmexp.methods.unmask.threshold import Threshold
from warmexp.methods.unmask.topk_margin import TopKMargin
from warmexp.rng import uniform

L = 8


def kept(z: np.ndarray, dream: Dream) -> list[int]:
    """The tokens that may be drawn: the fewest most probable ones that hold more than top_p of softmax(z/T), or all;
    of these the top_k most probable."""
    p = softmax(z / (dream.temperature or 1))
    order, found, held = sorted(range(len(z)), key=lambda v: (-p[v], v)), [], 0.0
    for v in order:
        if held > dream.top_p and dream.top_p < 1:
            break
        found.append(v)
        held += p[v]
    return found[: dream.top_k] if dream.top_k else found


def score(z: np.ndarray, token: int, dream: Dream) -> float:
    only = kept(z, dream)
    e = {v: np.exp((z[v] - z.max()) / (dream.temperature or 1)) for v in only}
    q = {v: e[v] / sum(e.values()) for v in only}
    if dream.algorithm == "maskgit_plus":
        return q[token]
    if dream.algorithm == "topk_margin":
        best = sorted([*q.values(), 0.0], reverse=True)
        return best[0] - best[1]
    return sum(x * np.log(x + 1e-10) for x in q.values() if x > 0)


def sampler(dream: Dream):
    """Of a question's id: the rule. Timesteps go from 1 to 0.001 in `steps` equal parts."""
    times = np.linspace(1, 1e-3, dream.steps + 1)

    def of(question: str):
        def rule(ids, z, k):
            masked = [i for i in range(L) if ids[i] is None]
            token = {}
            for i in masked:
                if dream.temperature:
                    perturbed = z[i] / dream.temperature + noise(question, k, i)
                    token[i] = max(kept(z[i], dream), key=lambda v: perturbed[v])
                else:
                    token[i] = int(z[i].argmax())
            if dream.algorithm == "origin":
                p = 1 - times[k + 1] / times[k] if k < dream.steps - 1 else 1.0
                u = uniform(0, question, "unmask", L, step=k)
                return {i: token[i] for i in masked if u[i] < p}
            s = {i: score(z[i], token[i], dream) for i in masked}
            if dream.alg_temp:
                u = uniform(0, question, "unmask", L, step=k)
                s = {i: s[i] / dream.alg_temp - np.log(-np.log(u[i])) for i in masked}
            share = 1 - times[k + 1] / times[k]
            quota = int(len(masked) * share) if k < dream.steps - 1 else len(masked)
            return {i: token[i] for i in sorted(masked, key=lambda i: (-s[i], i))[:quota]}

        return rule

    return of


@pytest.mark.parametrize(
    "dream",
    [
        *[Dream(algorithm, 5) for algorithm in ("entropy", "maskgit_plus", "topk_margin", "origin")],
        Dream("entropy", 8, temperature=0.0, top_p=1.0),
        Dream("entropy", 8, temperature=0.7, top_p=0.5),
        Dream("maskgit_plus", 3, temperature=1.5, top_p=1.0, top_k=3),
        Dream("topk_margin", 3, temperature=1.0, top_p=0.95, top_k=2),
        Dream("entropy", 4, temperature=0.0, top_p=0.6),
        Dream("maskgit_plus", 4, temperature=0.4, top_p=1.0, alg_temp=0.2),
        Dream("origin", 12, temperature=1.0, top_p=0.8),
        Dream("entropy", 1),
    ],
    ids=lambda dream: f"{dream.shown()} top_k={dream.top_k} alg_temp={dream.alg_temp}",
)
def test_as_it_is_described(dream):
    forwards = agree(dream, sampler(dream), canvas=L, block=L)
    assert forwards == 8 * dream.steps or dream.algorithm == "origin"


def test_the_published_schedule_begins_with_a_forward_that_commits_nothing(backbone):  # noqa: F811
    """As many steps as positions: ⌊8·0.999/8⌋ = 0, then one by one, and the last forward takes two."""
    whole = replace(COLD, length=FixedLength(L, L), unmask=Dream("maskgit_plus", L))
    for done in decoded(backbone, whole):
        assert done.cost.nfe == L
        assert sorted(Counter(done.commit_iteration).items()) == [*((k, 1) for k in range(1, L - 1)), (L - 1, 2)]


def test_one_step_is_a_threshold_that_all_pass(backbone):  # noqa: F811
    for temperature in (0.0, 1.0):
        one, other = (
            [facts(d) for d in decoded(backbone, replace(COLD, unmask=rule))]
            for rule in (Dream("entropy", 1, temperature, top_p=1.0), Threshold(1e-12, temperature))
        )
        assert one == other


def test_without_filters_its_margin_orders_as_the_untempered_one():
    view_and_quota = [Dream("topk_margin", 4, 0.0, top_p=1.0), TopKMargin()]
    logits = torch.randn(6, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    dream, plain = view_and_quota
    word = type("Word", (), {"logits": logits, "token": logits.argmax(-1)})
    assert torch.allclose(dream.measure(None, word)["dream_score"], plain.measure(None, word)["margin"], atol=1e-15)


def test_what_is_drawn_from():
    z = torch.tensor([[0.5, 0.3, 0.15, 0.05]], dtype=torch.float64).log()

    def left(**changes):
        made = Dream(temperature=1.0, **changes).drawn_from(z)
        assert torch.equal(made[made > -torch.inf], z[made > -torch.inf])
        return (made > -torch.inf).sum().item()

    assert [left(top_p=p) for p in (0.4, 0.5, 0.6, 0.9, 1.0)] == [1, 2, 2, 3, 4]
    assert [left(top_p=1.0, top_k=k) for k in (1, 2, 4, 9, 0)] == [1, 2, 4, 4, 4]
    assert left(top_p=0.9, top_k=2) == 2
    # A low temperature sharpens what top_p looks at, and nothing else.
    assert (Dream(temperature=0.25, top_p=0.8).drawn_from(z) > -torch.inf).sum() == 1


def test_a_drawn_choice_of_positions_prefers_large_scores(backbone):  # noqa: F811
    """With alg_temp near 0 it is no draw at all; with a large one, any order."""
    whole = replace(COLD, length=FixedLength(L, L))
    usual, cold, hot = (
        [
            d.commit_iteration
            for d in decoded(backbone, replace(whole, unmask=Dream("maskgit_plus", L, 0.0, 1.0, alg_temp=t)))
        ]
        for t in (0.0, 1e-9, 50.0)
    )
    assert usual == cold != hot


def test_the_option_decodes_the_canvas_at_once():
    plan = planned(["unmask=dream", "task.limit=1"])
    assert plan.choices["schedule"] == "canvas" and plan.strategies.unmask.steps == 48
    assert plan.strategies.unmask.shown() == "entropy s=48 T=0.1 top-p=0.9"
    assert planned(["unmask=dream", "schedule=blocks", "task.limit=1"]).choices["schedule"] == "blocks"


def test_what_cannot_be_is_refused_in_a_sentence():
    for values, said in (
        ({"algorithm": "best"}, "algorithm"),
        ({"top_p": 0.0}, "top_p"),
        ({"steps": 0}, "steps"),
        ({"alg_temp": -1.0}, "alg_temp"),
        ({"top_k": -1}, "top_k"),
    ):
        with pytest.raises(UserError, match=f"unmask.{said}"):
            Dream(**values)
    with pytest.raises(UserError, match=r"steps=65 is more than the 64 forwards .* choose fewer steps"):
        planned(["unmask=dream", "schedule=blocks", "unmask.steps=65", "task.limit=1"])
    planned(["unmask=dream", "schedule=blocks", "unmask.steps=64", "task.limit=1"])
    with pytest.raises(UserError, match=r"evidence=\[credit\].*temperature=0"):
        planned(["unmask=dream", "evidence=[credit]", "task.limit=1"])
