"""The reconstruction of Explore-Then-Exploit beside a slow one that is written from what its docstring says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.conformance.test_conformance import conforms
from tests.decode.cases import facts
from tests.decode.test_seams import COLD, backbone, decoded  # noqa: F401 (a fixture)
from tests.methods.unmask.slow import agree, softmax
from warmexp.api import planned
from warmexp.check_method.__main__ import compositions
from warmexp.errors import UserError
from warmexp.methods.schedule.canvas import WholeCanvas
from warmexp.methods.unmask.ete_recon import EteRecon
from warmexp.methods.unmask.threshold import Threshold

L = 8


def described(rule: EteRecon):
    def one(ids, z, k):
        masked = [i for i in range(L) if ids[i] is None]
        c = {i: float(softmax(z[i]).max()) for i in masked}
        current = masked[0] // rule.block
        sure = [i for i in masked if i // rule.block <= current + rule.ahead and c[i] >= rule.tau]
        unsure = sorted((i for i in masked if i // rule.block == current and i not in sure), key=lambda i: (c[i], i))
        if len(sure) < rule.least:
            explored = unsure[: rule.explore]
        else:
            explored = [] if sure else [max(unsure, key=lambda i: (c[i], -i))]
        return {i: int(z[i].argmax()) for i in sure + explored}

    return lambda _: one


@pytest.mark.parametrize(
    "rule",
    [
        EteRecon(tau, block=block, ahead=ahead, least=least, explore=explore)
        for tau in (0.35, 0.6)
        for block, ahead in ((2, 1), (2, 0), (3, 2))
        for least, explore in ((0, 1), (1, 1), (2, 1), (3, 2))
    ],
    ids=lambda rule: f"{rule.shown()} block={rule.block}",
)
def test_as_it_is_described(rule):
    agree(rule, described(rule), canvas=L, block=L)


def test_without_exploring_and_looking_ahead_it_is_a_threshold(backbone):  # noqa: F811
    one = decoded(backbone, replace(COLD, schedule=WholeCanvas(), unmask=EteRecon(0.4, block=4, ahead=0, least=0)))
    assert [facts(d) for d in one] == [facts(d) for d in decoded(backbone, replace(COLD, unmask=Threshold(0.4)))]


def test_exploring_carries_more_bits_in_fewer_forwards(backbone):  # noqa: F811
    """Which is the principle: with a τ that is never reached, `explore` tokens go per forward, the least likely first."""
    whole = replace(COLD, schedule=WholeCanvas())
    for explore in (1, 2, 4):
        done = decoded(backbone, replace(whole, unmask=EteRecon(1.1, block=4, explore=explore)))
        assert all(d.cost.nfe == L // explore for d in done)
    usual = decoded(backbone, replace(whole, unmask=EteRecon(1.1, block=4, least=0)))
    explored = decoded(backbone, replace(whole, unmask=EteRecon(1.1, block=4)))
    first = [[d.confidence[d.commit_iteration.index(0)] for d in done] for done in (usual, explored)]
    assert all(a > b for a, b in zip(*first, strict=True))


def test_it_goes_along_with_revocations():
    for name, nodes in compositions(["unmask=ete_recon", "unmask.block=4", "remask=budget", "remask.scope=all"])[:1]:
        conforms(name, nodes, "unmask", range(1))


def test_the_option_brings_the_whole_canvas_and_refuses_a_window_without_a_block_ahead():
    plan = planned(["unmask=ete_recon", "task.limit=1"])
    assert plan.choices["schedule"] == "canvas" and plan.strategies.unmask.block == 16
    with pytest.raises(UserError, match=r"unmask.ahead=1 has no block ahead: a window has 16 .*unmask.ahead=0"):
        planned(["unmask=ete_recon", "schedule=blocks", "task.limit=1"])
    planned(["unmask=ete_recon", "schedule=blocks", "unmask.ahead=0", "task.limit=1"])


@pytest.mark.parametrize(("key", "value"), [("block", 0), ("ahead", -1), ("least", -1), ("explore", 0)])
def test_what_cannot_be_is_refused(key, value):
    with pytest.raises(UserError, match=f"unmask.{key}="):
        EteRecon(**{key: value})
