"""Token editing: what is replaced, when a window is left, and what it is at its limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.decode.cases import facts
from tests.decode.test_seams import COLD, backbone, decoded, questions  # noqa: F401 (a fixture)
from warmexp.methods.init.token_inject import TokenInject
from warmexp.methods.remask.joint_threshold import JointThreshold
from warmexp.methods.unmask.threshold import Threshold


def test_without_edits_it_is_threshold_decoding_and_a_look_per_block(backbone):  # noqa: F811
    plain, edited = (
        decoded(backbone, replace(COLD, remask=remask)) for remask in (COLD.remask, JointThreshold(edit=1.0))
    )
    for one, other in zip(plain, edited, strict=True):
        assert other.ids == one.ids and not other.revocations
        assert other.cost.nfe == one.cost.nfe + 2, "two blocks, each read once more"


@pytest.mark.parametrize("edit", [0.0, 0.3])
def test_a_window_is_left_when_nothing_changes_in_it(edit, backbone):  # noqa: F811
    s = replace(COLD, init=TokenInject(1.0), unmask=Threshold(0.4), remask=JointThreshold(edit=edit))
    done = decoded(backbone, s)
    for one, question in zip(done, questions(), strict=True):
        for first in (0, 4):
            changes = sorted({n for n, position, *_ in one.revocations if first <= position < first + 4})
            assert changes == list(range(changes[0], changes[0] + len(changes))) if changes else True, (
                "no pause between changes"
            )
        assert 2 <= one.cost.nfe <= 2 * 17
        if not one.revocations:
            assert one.ids == question.proposal and one.cost.nfe == 2
    assert any(one.revocations for one in done)
    assert [facts(one) for one in done] == [facts(decoded(backbone, s, [q])[0]) for q in questions()]


def test_at_most_so_many_forwards_after_the_last_mask(backbone):  # noqa: F811
    limits = [
        sum(d.cost.nfe for d in decoded(backbone, replace(COLD, remask=JointThreshold(edit=0.0, after=n))))
        for n in (0, 1, 2)
    ]
    none = sum(d.cost.nfe for d in decoded(backbone, COLD))
    assert limits[0] <= none + 2 * 4 and limits[0] < limits[1] <= limits[2]
