"""Attention in tiles beside a slow description, and where it must be attention to everything."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import cases, facts, some
from tests.reference import tiles as slow
from tests.reference.models import random_models
from warmexp.api import planned
from warmexp.decode.loop import decode, stream
from warmexp.errors import UserError
from warmexp.methods.attention.sparsed import SparseD
from warmexp.models.plain import PlainBackbone
from warmexp.models.tiles import Tiles, keeps, pattern, sparse

TAUS = st.fixed_dictionaries(
    {"name": st.just("threshold"), "tau": st.sampled_from([0.4, 0.7, 1.1]), "temperature": st.just(0.0)}
)
WARM = st.one_of(
    st.just({"name": "mask"}),
    st.fixed_dictionaries({"name": st.just("token_inject"), "rho": st.sampled_from([0.3, 0.7])}),
)
PROBLEMS = cases(inits=WARM, unmasks=TAUS, remasks=st.just({"name": "none"}), most=3)
HOW = st.tuples(st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.integers(1, 5), st.sampled_from([0.01, 0.3, 0.6, 1.0]))


def tiled(case, how, backbone=None, **changes):
    s = replace(case.strategies(), attention=SparseD(*how), **changes)
    return decode(backbone or case.backbone(), list(case.questions), s, case.seed)


@some(70)
@given(case=PROBLEMS, how=HOW)
def test_as_it_is_described(case, how):
    model = random_models(**case.model)[1]
    for one, question in zip(tiled(case, how), case.questions, strict=True):
        start = case.strategies().init.start(question, case.canvas, case.seed)
        ids = [int(v) if there else None for v, there in zip(start.tokens, start.injected, strict=True)]
        where = (case.block, case.mask_id, case.shifted, case.unmask["tau"])
        ids, committed, confidence, _ = slow.decode_one(model, question.prompt, ids, *where, *how)
        assert (list(one.ids), list(one.commit_iteration)) == (ids, committed)
        assert list(one.confidence) == [None if c is None else pytest.approx(c, abs=1e-9) for c in confidence]
        assert one.cost.token_forwards == one.cost.nfe * (len(question.prompt) + case.canvas)


@some(24)
@given(case=cases(most=3), tile=st.integers(1, 5))
def test_where_it_is_attention_to_everything(case, tile):
    """All tiles are kept, or the pattern is never looked for while anything is masked."""
    plain = [facts(one) for one in case.decode()]
    assert [facts(one) for one in tiled(case, (0.0, tile, 1.0))] == plain
    if case.remask["name"] == "none":
        assert [facts(one) for one in tiled(case, (1.0, tile, 0.01))] == plain


@some(24)
@given(case=cases(most=4), how=HOW)
def test_batch_and_engine_do_not_matter(case, how):
    together = tiled(case, how)
    s = replace(case.strategies(), attention=SparseD(*how))
    in_turn = {one.id: one for one in stream(case.backbone(), case.questions, s, case.seed, batch_size=2)}
    assert [facts(in_turn[one.id]) for one in together] == [facts(one) for one in together]
    for one, question in zip(together, case.questions, strict=True):
        for model in (case.backbone(), PlainBackbone(**vars(case.backbone()))):
            assert facts(tiled(case.but(questions=(question,)), how, model)[0]) == facts(one)


def test_tiles_by_hand():
    """Seven positions in tiles of two, the prompt three long: two tiles begin in the prompt, two behind it."""
    q = torch.zeros(1, 7, 4, dtype=torch.float64)
    k = torch.zeros(1, 7, 4, dtype=torch.float64)
    q[..., 0], k[0, [2, 6], 0] = 1.0, 9.0
    assert pattern(q, k, Tiles(2, 0.2), 3).tolist() == [[[1, 3]] * 4]
    assert pattern(q, k, Tiles(2, 0.5), 3).tolist() == [[[0, 1, 2, 3]] * 4]
    assert [keeps(10, share) for share in (0.01, 0.3, 0.99, 1.0)] == [1, 4, 10, 10]
    v = torch.arange(7, dtype=torch.float64)[None, :, None].expand(1, 7, 4)
    seen = sparse(q * 0, k, v, torch.tensor([[[1, 3]] * 4]), 2)
    assert torch.allclose(seen, torch.full_like(seen, (2 + 3 + 6) / 3))  # the seventh has no neighbour in its tile


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("attention.skip=2", r"attention\.skip=2"),
        ("attention.tile=0", r"attention\.tile=0"),
        ("attention.share=0", r"attention\.share=0"),
        ("cache=dual", "attention=sparsed computes whole rows.*cache=dual.*choose cache=none"),
        ("draft=lopa", "choose draft=none"),
        ("remask=wino unmask=wino", "choose another remask"),
        ("length=rho_eos", "attention=full"),
        ("backbone.attention_block=16", "sees blocks, for which attention=sparsed is not made"),
    ],
)
def test_what_cannot_be_is_refused(words, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        planned(["attention=sparsed", *words.split(), "task.limit=1", f"outputs={tmp_path}"])
