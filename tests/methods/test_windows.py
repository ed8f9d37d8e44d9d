"""Caches of sets of positions beside a slow description, and where they must change nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import cases, facts, some
from tests.decode.test_seams import COLD, backbone, decoded, questions  # noqa: F401 (a fixture)
from tests.reference import windows as slow
from tests.reference.models import random_models
from warmexp.api import planned
from warmexp.decode.loop import decode, stream
from warmexp.decode.strategy import Cache
from warmexp.decode.view import Span
from warmexp.errors import UserError
from warmexp.methods.cache.dkv import DelayedCache
from warmexp.methods.cache.window import WindowCache
from warmexp.methods.init.embed_interp import EmbedInterp
from warmexp.methods.init.token_inject import TokenInject
from warmexp.methods.remask.budget import BudgetRemask
from warmexp.methods.schedule.canvas import WholeCanvas
from warmexp.models.plain import PlainBackbone

TAUS = st.fixed_dictionaries(
    {"name": st.just("threshold"), "tau": st.sampled_from([0.4, 0.7, 1.1]), "temperature": st.just(0.0)}
)
WARM = st.one_of(
    st.just({"name": "mask"}),
    st.fixed_dictionaries({"name": st.just("token_inject"), "rho": st.sampled_from([0.3, 0.7])}),
)
PROBLEMS = cases(inits=WARM, unmasks=TAUS, remasks=st.just({"name": "none"}), most=3)
CACHES = st.one_of(
    st.builds(lambda r: (DelayedCache(r), slow.delayed(r)), st.sampled_from([1, 2, 3, 4, 9])),
    st.builds(lambda a, b, r: (WindowCache(a, a + b, r), slow.windowed(a, a + b, r)), st.integers(1, 5), st.integers(0, 6), st.sampled_from([1, 2, 3, 32])),
)  # fmt: skip


def kept(case, cache, model=None, canvas=False, **changes):
    schedule = {"schedule": WholeCanvas()} if canvas else {}
    s = replace(case.strategies(), cache=cache, **schedule, **changes)
    return decode(model or case.backbone(), list(case.questions), s, case.seed)


@some(20)
@given(case=PROBLEMS, pair=CACHES, canvas=st.booleans())
def test_as_they_are_described(case, pair, canvas):
    cache, rule = pair
    model = random_models(**case.model)[1]
    for one, question in zip(kept(case, cache, canvas=canvas), case.questions, strict=True):
        start = case.strategies().init.start(question, case.canvas, case.seed)
        ids = [int(v) if there else None for v, there in zip(start.tokens, start.injected, strict=True)]
        where = (case.canvas if canvas else case.block, case.mask_id, case.shifted, case.unmask["tau"])
        expected = slow.decode_one(model, question.prompt, ids, *where, rule)
        assert (list(one.ids), list(one.commit_iteration)) == (expected.ids, expected.commit_iteration)
        assert list(one.confidence) == [None if c is None else pytest.approx(c, abs=1e-9) for c in expected.confidence]
        assert (one.cost.nfe, one.cost.token_forwards) == (len(expected.costs), sum(expected.costs))


@some(24)
@given(case=cases(most=3))
def test_where_they_are_no_cache(case):
    plain = [facts(one) for one in case.decode()]
    for cache in (DelayedCache(1), WindowCache(16, 16, 1)):
        assert [facts(one) for one in kept(case, cache)] == plain


@some(24)
@given(case=PROBLEMS, pair=CACHES, canvas=st.booleans())
def test_batch_and_engine_do_not_matter(case, pair, canvas):
    together = kept(case, pair[0], canvas=canvas)
    s = replace(case.strategies(), cache=pair[0], **({"schedule": WholeCanvas()} if canvas else {}))
    in_turn = {one.id: one for one in stream(case.backbone(), case.questions, s, case.seed, batch_size=2)}
    assert [facts(in_turn[one.id]) for one in together] == [facts(one) for one in together]
    for one, question in zip(together, case.questions, strict=True):
        for model in (case.backbone(), PlainBackbone(**vars(case.backbone()))):
            alone = kept(case.but(questions=(question,)), pair[0], model, canvas=canvas)[0]
            assert facts(alone) == facts(one)


def test_a_prior_in_the_embeddings_is_fed_where_it_stands(backbone):  # noqa: F811
    """Masked positions are computed in every forward of a delayed cache, so a prior that fades fades there, too."""
    prior = EmbedInterp(0.8, 0.0, "masked")
    plain, every, often = (
        decoded(backbone, replace(COLD, init=prior, cache=c)) for c in (COLD.cache, DelayedCache(1), DelayedCache(50))
    )
    assert [one.confidence for one in plain] == [pytest.approx(one.confidence, abs=1e-12) for one in every]
    fed = decoded(backbone, replace(COLD, cache=DelayedCache(50)))
    assert [one.confidence for one in often] != [one.confidence for one in fed]


def test_revocations_are_seen(backbone):  # noqa: F811
    """What a revision may revoke is computed, and a mask that comes back is, too."""
    warm = replace(COLD, init=TokenInject(0.7), remask=BudgetRemask(0.6, 1, scope="all"))
    for cache in (DelayedCache(4), WindowCache(3, 6, 4)):
        done = decoded(backbone, replace(warm, cache=cache))
        assert any(one.revocations for one in done) and all(0 <= token < 19 for one in done for token in one.ids)


def test_they_compute_less(backbone):  # noqa: F811
    cold = replace(COLD, unmask=replace(COLD.unmask, tau=1.1))
    cost = [
        sum(one.cost.token_forwards for one in decoded(backbone, replace(cold, cache=c)))
        for c in (COLD.cache, DelayedCache(8), WindowCache(2, 6, 8))
    ]
    assert cost[0] > cost[1] > cost[2]


@dataclass
class Bad(Cache):
    how: str = ""
    keeps = True

    def plan(self, view):
        shape = (len(view.rows), int(view.row_length.max()))
        inside = np.arange(shape[1]) < view.row_length[:, None]
        if self.how == "shape":
            return Span.of_set(view, inside[:, 1:])
        if self.how == "behind":
            return Span.of_set(view, np.ones((shape[0], shape[1]), dtype=bool))
        if self.how == "unseen":
            return Span.of_set(view, inside, np.zeros_like(inside))
        if self.how == "nothing":
            return Span.of_set(view, np.zeros_like(inside))
        return Span.of_set(view, inside & (np.arange(shape[1]) >= 2))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("shape", "Bad.plan, chosen: has to return a NumPy array of bool"),
        ("behind", "Bad.plan, chosen: has to choose positions that the row has"),
        ("unseen", "has to let what it computes be seen"),
        ("nothing", "has to compute something in every row"),
        ("early", "everything that is seen in a question's first forward"),
    ],
)
def test_a_cache_that_is_wrong_is_told(backbone, how, sentence):  # noqa: F811
    with pytest.raises(UserError, match=sentence):
        decoded(backbone, replace(COLD, cache=Bad(how)))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("cache=dkv cache.refresh=0", r"cache\.refresh=0"),
        ("cache=window cache.active=0", r"cache\.active=0"),
        ("cache=window cache.refresh=0", r"cache\.refresh=0"),
        ("cache=window cache.active=32 cache.buffer=16", "cache.buffer=16 is below cache.active=32"),
        ("cache=dkv draft=lopa", "for which cache=dkv keeps one place: choose cache=none"),
        ("cache=window watch=prophet", "cache=window computes a part: choose cache=none"),
        ("cache=dkv length=rho_eos", "choose cache=none"),
        ("cache=window backbone.attention_block=16", "cache=window is not made"),
    ],
)
def test_what_cannot_be_is_refused(words, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        planned([*words.split(), "task.limit=1", f"outputs={tmp_path}"])
