"""length=eos_stop: the text of length=fixed, and no forward after its last token is final."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import FREEZING, FROZEN, WINDOWS, Case, cases, profile, some
from warmexp.decode.batch import Decoded
from warmexp.decode.loop import decode
from warmexp.methods.length.eos_stop import EosStop

END = 0
CACHES = st.one_of(st.just({"name": "none"}), WINDOWS, FREEZING)


def stopped(case: Case) -> list[Decoded]:
    strategies = replace(case.strategies(), length=EosStop(case.canvas, case.block))
    return decode(case.backbone(), case.questions, strategies, case.seed)


def text(ids: tuple[int, ...]) -> tuple[int, ...]:
    return ids[: ids.index(END) + 1] if END in ids else ids


@some(50)
@given(case=cases(remasks=st.just(FROZEN), grids=st.sampled_from([(8, 4), (16, 4), (12, 4)])), cache=CACHES)
def test_it_stops_as_soon_as_the_text_is_there(case, cache):
    """After the first forward that leaves no mask before some end token."""
    case = case.but(cache=cache)
    for full, short in zip(case.decode(), stopped(case), strict=True):
        assert text(short.ids) == text(full.ids)
        ready = [max(full.commit_iteration[: i + 1]) + 1 for i, token in enumerate(full.ids) if token == END]
        assert short.cost.nfe == min([full.cost.nfe, *ready])
        assert case.mask_id not in short.ids
        undone = [i for i, source in enumerate(short.source) if source == "mask"]
        assert all(
            short.ids[i] == END and short.commit_iteration[i] == -1 and short.confidence[i] is None for i in undone
        )


@pytest.mark.slow
def test_revocation_cannot_reach_the_text_that_is_given_out():
    """Whatever may still be revoked in the block is waited for; some questions do stop early."""
    seen: Counter[str] = Counter()

    @profile(30)
    @given(case=cases(grids=st.sampled_from([(8, 2), (16, 4), (12, 3)])), cache=CACHES)
    def check(case, cache):
        case = case.but(cache=cache)
        for full, short in zip(case.decode(), stopped(case), strict=True):
            assert text(short.ids) == text(full.ids)
            assert short.cost.nfe <= full.cost.nfe
            seen["early"] += short.cost.nfe < full.cost.nfe
            seen["early with revocations"] += bool(short.revocations) and short.cost.nfe < full.cost.nfe

    check()
    assert seen["early"] >= 5 and seen["early with revocations"] >= 3, seen
