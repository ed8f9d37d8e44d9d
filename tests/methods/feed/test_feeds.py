"""What masks are fed, beside a slow description, and where it must be nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import cases, facts, some
from tests.decode.test_seams import COLD, backbone, decoded  # noqa: F401 (a fixture)
from tests.reference import feeds as slow
from tests.reference.models import random_models
from warmexp.api import planned
from warmexp.decode.loop import decode
from warmexp.decode.mixture import Mixture
from warmexp.decode.strategy import Feed
from warmexp.errors import UserError
from warmexp.methods.cache.dual import DualCache
from warmexp.methods.feed.likely import Lrd, SoftIteration, SoftMask
from warmexp.methods.init.embed_interp import EmbedInterp

TAUS = st.fixed_dictionaries({"name": st.just("threshold"), "tau": st.sampled_from([0.4, 0.7, 1.1])})
PROBLEMS = cases(
    inits=st.just({"name": "mask"}), unmasks=TAUS.map(lambda d: d | {"temperature": 0.0}),
    remasks=st.just({"name": "none"}), most=3,
)  # fmt: skip
FEEDS = st.one_of(
    st.builds(lambda k, a, b, c: (SoftMask(k, a, b, c), slow.soft_mask(k, a, b, c)), st.integers(1, 4), st.sampled_from([0.3, 1.0]), st.sampled_from([0.5, 5.0]), st.sampled_from([-2.0, -1.0])),
    st.builds(lambda k, a, b: (Lrd(k, a, b), slow.lrd(k, a, b)), st.integers(1, 6), st.sampled_from([0.15, 1.0]), st.sampled_from([0.3, 0.9, 1.0])),
    st.builds(lambda k, a: (SoftIteration(k, *a), slow.soft_iteration(k, *a)), st.sampled_from([1, 3, 40]), st.sampled_from([(0.15, 0.02, 0.3), (0.5, 0.5, 1.0)])),
)  # fmt: skip
NOTHING = [SoftMask(scale=0.0), Lrd(rate=0.0), SoftIteration(most=0.0)]


def fed(case, feed, **changes):
    return decode(case.backbone(), list(case.questions), replace(case.strategies(), feed=feed, **changes), case.seed)


@some(60)
@given(case=PROBLEMS, feeds=FEEDS)
def test_as_they_are_described(case, feeds):
    feed, rule = feeds
    model = random_models(**case.model)[1]
    for one, question in zip(fed(case, feed), case.questions, strict=True):
        where = (case.canvas, case.block, case.mask_id, case.shifted, case.unmask["tau"])
        expected = slow.decode_one(model, question.prompt, *where, rule)
        assert (list(one.ids), list(one.commit_iteration), one.cost.nfe) == (
            expected.ids, expected.commit_iteration, expected.nfe,
        )  # fmt: skip
        assert list(one.confidence) == [pytest.approx(c, abs=1e-9) for c in expected.confidence]


@some(16)
@given(case=PROBLEMS)
def test_a_share_of_nothing_changes_nothing(case):
    plain = [facts(one) for one in case.decode()]
    for feed in NOTHING:
        assert [facts(one) for one in fed(case, feed)] == plain


def test_a_cache_keeps_what_was_fed(backbone):  # noqa: F811
    """Only the window is fed, and every forward computes it: a cache that is refreshed always is none."""
    for feed in (SoftMask(scale=1.0), Lrd(rate=1.0), SoftIteration()):
        plain, kept = (decoded(backbone, replace(COLD, feed=feed, cache=c)) for c in (COLD.cache, DualCache(refresh=1)))
        assert [one.ids for one in plain] == [one.ids for one in kept]
        assert [one.confidence for one in plain] != [one.confidence for one in decoded(backbone, COLD)]


def test_it_stands_in_the_place_of_a_prior(backbone):  # noqa: F811
    """A prior in the embeddings is fed until a position has been read."""
    prior = EmbedInterp(0.8, 0.0, "masked")
    both = decoded(backbone, replace(COLD, init=prior, feed=SoftMask(scale=1.0)))
    for other in (replace(COLD, init=prior), replace(COLD, feed=SoftMask(scale=1.0))):
        assert [one.confidence for one in both] != [one.confidence for one in decoded(backbone, other)]
    again = decoded(backbone, replace(COLD, init=prior, feed=SoftMask(scale=0.0)))
    assert [facts(one) for one in again] == [facts(one) for one in decoded(backbone, replace(COLD, init=prior))]


class Bad(Feed):
    feeds = True

    def __init__(self, change):
        self.change = change

    def mixture(self, view):
        where = (len(view.rows), view.canvas.length)
        made = {"token": np.full((*where, 2), 3), "weight": np.zeros((*where, 2)), "mask": np.ones(where)}
        return self.change(made, view)


def put(name, index, value):
    def change(made, view):
        made[name][index] = value
        return Mixture(**made)

    return change


def everywhere(made, view):
    made["weight"][:] = 0.5 * (view.forwards > 0)[:, None, None]
    return Mixture(**made)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda made, view: 3, "Bad.mixture has to return a Mixture or None; it returned int"),
        (lambda made, view: Mixture(**made | {"mask": np.ones(3)}), "Bad.mixture, mask:"),
        (put("weight", (0, 0, 0), -1.0), "finite shares of at least 0"),
        (put("weight", (0, 0, 0), np.nan), "finite shares of at least 0"),
        (everywhere, "has to feed masked positions alone"),
        (lambda made, view: Mixture(made["token"] + 99, made["weight"] + view.whole("masked")[..., None], made["mask"]), "tokens of the vocabulary"),
    ],
)  # fmt: skip
def test_a_feed_that_is_wrong_is_told(backbone, change, sentence):  # noqa: F811
    with pytest.raises(UserError, match=sentence):
        decoded(backbone, replace(COLD, feed=Bad(change)))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("feed=lrd feed.rate=2", r"feed\.rate=2"),
        ("feed=lrd feed.mass=0", r"feed\.mass=0"),
        ("feed=soft_mask feed.k=0", r"feed\.k=0"),
        ("feed=soft_iteration feed.most=-1", r"feed\.most=-1"),
        ("feed=lrd draft=freedave", "feed=lrd .* remembers: choose feed=none"),
    ],
)
def test_what_cannot_be_is_refused(words, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        planned([*words.split(), "task.limit=1", f"outputs={tmp_path}"])
