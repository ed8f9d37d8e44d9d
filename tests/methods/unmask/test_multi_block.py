"""Several blocks in flight, beside a slow pipeline that is written from its description: blocks are begun one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.conformance.test_conformance import conforms
from tests.decode.cases import facts
from tests.decode.test_seams import COLD, backbone, decoded  # noqa: F401 (a fixture)
from tests.methods.unmask.slow import agree, nats, softmax
from warmexp.api import planned
from warmexp.check_method.__main__ import compositions
from warmexp.errors import UserError
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.schedule.canvas import WholeCanvas
from warmexp.methods.unmask.entropy import Entropy
from warmexp.methods.unmask.multi_block import MultiBlock

L = 8


class Pipeline:
    """A block is added when `share` of the last one is decoded, one in each forward; all that were added are decoded
    together."""

    def __init__(self, rule: MultiBlock):
        self.rule, self.blocks = rule, 1

    def __call__(self, ids, z, k):
        size = self.rule.block

        def members(b: int) -> range:
            return range(b * size, min((b + 1) * size, L))

        last = members(self.blocks - 1)
        if self.blocks < -(-L // size) and sum(ids[i] is not None for i in last) / len(last) >= self.rule.share:
            self.blocks += 1
        h = {i: nats(softmax(z[i])) for b in range(self.blocks) for i in members(b) if ids[i] is None}
        best = min(h, key=lambda i: (h[i], i))
        chosen = {i for i in h if h[i] <= self.rule.theta} | {best}
        unfinished = next(b for b in range(self.blocks) if any(ids[i] is None for i in members(b)))
        own = {i: h[i] for i in members(unfinished) if i in h}
        if not chosen & set(own):
            chosen.add(min(own, key=lambda i: (own[i], i)))
        return {i: int(z[i].argmax()) for i in chosen}


@pytest.mark.parametrize("share", [0.3, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("block", [2, 3, 4])
def test_as_it_is_described(block, share):
    for theta in (0.0, 0.8, 1.4):
        rule = MultiBlock(theta, block=block, share=share)
        agree(rule, lambda _, rule=rule: Pipeline(rule), canvas=L, block=L)


def test_blocks_are_begun_up_to_the_first_that_waits():
    rule, o, x = MultiBlock(block=3, share=0.5), False, True  # x: masked
    masked = np.array(
        [
            [x, x, x, x, x, x, x, x],
            [o, x, x, x, x, x, x, x],  # a third is not enough
            [o, x, o, x, x, x, x, x],
            [o, o, o, x, x, o, o, x],  # the second waits, whatever is decoded behind it
            [o, o, x, o, o, x, x, x],
        ]
    )
    begun = [[True] * 3 + [False] * 5] * 2 + [[True] * 6 + [False] * 2] * 2 + [[True] * 8]
    assert rule.begun(masked).tolist() == begun
    # A block that waits holds up all behind it, also where a warm start has half of one of them.
    warm = MultiBlock(block=2, share=0.5).begun(np.array([[o, o, x, x, o, x, x, x]]))
    assert warm.tolist() == [[True] * 4 + [False] * 4]
    assert MultiBlock(block=4, share=0.5).begun(np.array([[o, o, x, x, x, x, x, x]])).all()  # half is enough


def test_a_share_of_one_is_block_after_block(backbone):  # noqa: F811
    whole = replace(COLD, schedule=WholeCanvas(), length=FixedLength(L, 4))
    for theta in (0.0, 0.8, 1.4):
        one = decoded(backbone, replace(whole, unmask=MultiBlock(theta, block=4, share=1.0)))
        other = decoded(backbone, replace(COLD, unmask=Entropy(theta)))
        assert [facts(d) for d in one] == [facts(d) for d in other]
    usual = sum(d.cost.nfe for d in other)
    assert sum(d.cost.nfe for d in decoded(backbone, replace(whole, unmask=MultiBlock(1.4, block=4)))) < usual


def test_a_share_of_nothing_is_the_canvas_at_once(backbone):  # noqa: F811
    """And its first block always moves on, which unmask=entropy does not see to."""
    whole = replace(COLD, schedule=WholeCanvas(), length=FixedLength(L, 4))
    one, other = (
        [facts(d) for d in decoded(backbone, replace(whole, unmask=rule))]
        for rule in (MultiBlock(2.9, block=4, share=0.0), Entropy(2.9))
    )
    assert one == other
    slow = decoded(backbone, replace(whole, unmask=MultiBlock(0.0, block=4, share=0.0)))
    assert any(d.cost.nfe < L for d in slow)  # two tokens where the best is not of the first block
    assert all(min(d.commit_iteration[:4]) == 0 and max(d.commit_iteration[:4]) <= 3 for d in slow)


def test_a_revoked_token_brings_its_block_back():
    nodes = compositions(["unmask=multi_block", "unmask.block=4", "remask=budget", "remask.scope=decoded"])
    for name, one in nodes[:1]:
        conforms(name, one, "unmask", range(1))


def test_the_option_brings_the_whole_canvas():
    plan = planned(["unmask=multi_block", "task.limit=1"])
    assert plan.choices["schedule"] == "canvas" and plan.strategies.unmask.block == 16
    with pytest.raises(UserError, match=r"unmask.block=16 leaves no second block in a window of 16 .*schedule=canvas"):
        planned(["unmask=multi_block", "schedule=blocks", "task.limit=1"])
    planned(["unmask=multi_block", "schedule=blocks", "unmask.block=8", "task.limit=1"])


@pytest.mark.parametrize(("key", "value"), [("block", 0), ("share", 1.5), ("theta", -1.0)])
def test_what_cannot_be_is_refused(key, value):
    with pytest.raises(UserError, match=f"unmask.{key}="):
        MultiBlock(**{key: value})
