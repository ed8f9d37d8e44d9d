"""Cached decoding: every decision equals the slow decoder's, which keeps keys and values in its own way; and what must
equal no cache does.

In a model of one layer a position's keys and values depend on its own input alone, so there a cache is exact if and
only if nothing that it keeps is outdated: a revoked token, a prior that has faded, a token that was still a mask.
"""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import (
    EXPONENTIAL,
    FREEZING,
    FROZEN,
    LINEAR,
    SOFT,
    WINDOWS,
    Case,
    cases,
    check,
    facts,
    profile,
    some,
)
from warmexp.errors import UserError
from warmexp.methods.cache.dual import DualCache
from warmexp.methods.cache.prefix import PrefixCache
from warmexp.models.keys_values import KeysValues

REVOKING = st.one_of(LINEAR, EXPONENTIAL)
NONE = {"name": "none"}
EXACT = st.one_of(
    WINDOWS.map(lambda cache: cache | {"first_token": "window"}), st.just({"name": "freecache", "settle": True})
)
PRIOR = st.fixed_dictionaries(
    {
        "name": st.just("embed_interp"),
        "lam": st.sampled_from([0.5, 1.0]),
        "p": st.just(0.0),
        "duration": st.sampled_from(["first", "fade"]),
        "fade_forwards": st.integers(2, 6),
    }
)


def tokens(case: Case) -> list[dict]:
    """What was decided, whatever it cost."""
    return [{key: value for key, value in facts(done).items() if key != "token_forwards"} for done in case.decode()]


@some(60)
@given(case=cases(remasks=st.just(FROZEN)), cache=st.one_of(WINDOWS, FREEZING))
def test_without_revocation(case, cache):
    check(case.but(cache=cache))


@some(60)
@given(case=cases(remasks=REVOKING), cache=st.one_of(WINDOWS, FREEZING))
@pytest.mark.slow
def test_with_revocation(case, cache):
    check(case.but(cache=cache))


@pytest.mark.slow
@some(20)
@given(case=cases(), name=st.sampled_from(["prefix", "dual"]), first=st.sampled_from(["refresh", "window"]))
def test_a_refresh_at_every_forward_is_no_cache(case, name, first):
    """To the last bit of what is counted: every forward is a full one."""
    refreshed = case.but(cache={"name": name, "refresh": 1, "first_token": first})
    assert [facts(done) for done in refreshed.decode()] == [facts(done) for done in case.decode()]


@some(60)
@given(case=st.one_of(cases(), cases(inits=st.one_of(PRIOR, SOFT), remasks=st.just(FROZEN))), cache=EXACT)
def test_nothing_that_is_kept_is_outdated(case, cache):
    """One layer: the tokens of no cache, revocations, fading priors and all."""
    one_layer = case.but(model=case.model | {"n_layers": 1})
    assert tokens(one_layer.but(cache=cache)) == tokens(one_layer.but(cache=NONE))


@some(20)
@given(case=cases(remasks=st.just(FROZEN), most=4), cache=st.one_of(WINDOWS, FREEZING))
def test_batches_do_not_matter(case, cache):
    case = case.but(cache=cache)
    together = {done.id: facts(done) for done in case.decode()}
    assert {q.id: facts(done) for q in case.questions for done in case.decode((q,))} == together


@pytest.mark.slow
def test_examples_reach_what_matters():
    """Cached forwards that decide differently from full ones, and refreshes within a block for each reason."""
    seen: Counter[str] = Counter()

    @profile(30)
    @given(case=st.one_of(cases(remasks=REVOKING), cases(inits=PRIOR)), cache=WINDOWS)
    def collect(case, cache):
        def cost(**changes) -> tuple[int, ...]:
            return tuple(done.cost.token_forwards for done in case.but(cache=cache | changes).decode())

        cached = case.but(cache=cache).decode()
        seen["other tokens"] += any(a.ids != b.ids for a, b in zip(case.decode(), cached, strict=True))
        seen["revocation"] += cost(refresh="revocation") != cost(refresh="block")
        with patch.object(DualCache, "outdated", PrefixCache.outdated):
            careless = cost(name="dual")
        seen["faded"] += cost(name="dual") != careless
        seen["first token"] += cost(first_token="window") != cost(first_token="refresh")

    collect()
    assert all(seen[what] >= 3 for what in ("other tokens", "revocation", "faded", "first token")), seen


@pytest.mark.parametrize("refresh", [0, -1, True, "never", None, 1.5])
def test_a_refresh_that_is_none_is_refused(refresh):
    with pytest.raises(UserError, match=r"cache\.refresh=.* is not block, revocation or a number"):
        PrefixCache(refresh=refresh)


def test_an_unknown_way_to_the_first_token_is_refused():
    with pytest.raises(UserError, match=r"cache\.first_token=left"):
        DualCache(first_token="left")


@pytest.mark.parametrize("rows", [[0, 1], [1, 2], [0, 2], [2, 0]])
def test_keys_are_written_where_their_rows_are(rows):
    """Rows that are next to each other and rows that are not, all of one length."""
    config = SimpleNamespace(n_layers=1, n_kv_heads=1, head_dim=1)
    store = KeysValues(config, torch.float64, torch.device("cpu"))
    store.reserve(3, 4)
    start, count, length = torch.tensor([[1, 1], [2, 2], [4, 4]])
    new = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    keys, values = store.window(rows, start, count, length).layers()[0](new[:, None, :, None], -new[:, None, :, None])
    expected = torch.zeros(3, 4, dtype=torch.float64)
    expected[rows, 1:3] = new
    assert store.keys[0, :, :4, 0, 0].equal(expected) and store.values[0, :, :4, 0, 0].equal(-expected)
    assert keys[:, 0, :, 0].equal(expected[rows]) and values[:, 0, :, 0].equal(-expected[rows])
