"""Backbones that see blocks and nothing behind them: every decision equals the slow decoder's, with exact keys and values
and without, and what is exact changes no token."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.decode.cases import EXPONENTIAL, FROZEN, LINEAR, SOFT, VERIFIED, WARM, Case, cases, check, facts, some
from tests.reference.models import random_models
from warmexp.api import composed, run_overrides
from warmexp.config.plan import plan
from warmexp.decode.canvas import Question
from warmexp.decode.loop import decode
from warmexp.decode.meter import Meter
from warmexp.decode.strategy import Strategies
from warmexp.errors import UserError
from warmexp.methods.anchor.none import NoAnchor
from warmexp.methods.cache.exact import ExactCache
from warmexp.methods.cache.none import NoCache
from warmexp.methods.init.mask import MaskInit
from warmexp.methods.length.eos_stop import EosStop
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.remask.none import NoRemask
from warmexp.methods.schedule.blocks import Blocks
from warmexp.methods.unmask.threshold import Threshold
from warmexp.models.backbone import Backbone
from warmexp.models.plain import PlainBackbone

NONE = {"name": "none"}
# The canvas, the window, and how many windows a block of attention holds.
GRIDS = st.sampled_from([(8, 4, 1), (8, 4, 2), (12, 4, 1), (4, 4, 1), (9, 3, 1), (12, 2, 3), (6, 6, 1), (8, 2, 4)])
CACHES = st.sampled_from([("separate", "commit"), ("separate", "window"), ("fused", "commit")])
REVISING = st.one_of(st.just(FROZEN), LINEAR, EXPONENTIAL)
INITS = st.one_of(st.just({"name": "mask"}), WARM, SOFT, VERIFIED)


def exact(commit: str, first_token: str) -> dict:
    return {"name": "exact", "commit": commit, "first_token": first_token}


@st.composite
def blocky(draw, **kinds) -> Case:
    canvas, window, windows = draw(GRIDS)
    case = draw(cases(grids=st.just((canvas, window)), **kinds))
    return case.but(model=case.model | {"attention_block": window * windows})


@some(40)
@given(case=blocky(inits=INITS, remasks=REVISING), cache=st.one_of(st.just(NONE), CACHES.map(lambda c: exact(*c))))
def test_as_the_slow_decoder(case, cache):
    check(case.but(cache=cache))


@some(40)
@given(case=blocky(inits=INITS, remasks=REVISING), commit=CACHES)
def test_exact_is_exact(case, commit):
    """Tokens, order and revisions are those of no cache; where a shifted model's commit forward writes a token, as
    published, that is one iteration more, so they are not."""
    cached = case.but(cache=exact(*commit), shifted=case.shifted and commit != ("separate", "commit"))
    plain = cached.but(cache=NONE)
    free = ("nfe", "token_forwards")
    made, expected = cached.decode(), plain.decode()
    ours, theirs = (
        [{k: v for k, v in facts(one).items() if k not in free} for one in done] for done in (made, expected)
    )
    assert ours == theirs
    for one, other in zip(made, expected, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-9, nan_ok=True)
        assert one.cost.nfe - one.cost.commits == other.cost.nfe or commit[0] == "fused"
        assert commit[0] != "fused" or (one.cost.nfe, one.cost.commits) == (other.cost.nfe, 0)


def strategies(cache, canvas=12, window=4, tau=0.5, stop=False) -> Strategies:
    length = (EosStop if stop else FixedLength)(canvas, window)
    return Strategies(MaskInit(), Threshold(tau), NoRemask(), Blocks(), cache, length, NoAnchor())


def questions(count: int = 4) -> list[Question]:
    draw = np.random.default_rng(3)
    return [Question(f"q{i}", tuple(draw.integers(1, 14, 3 + i).tolist())) for i in range(count)]


def backbone(block: int = 4, logits: str = "aligned", kind=Backbone, seed: int = 0) -> Backbone:
    return kind(random_models(seed, n_layers=2, attention_block=block)[0], mask_id=15, eos_id=0, logits=logits)


@pytest.mark.parametrize("logits", ["aligned", "shifted"])
@pytest.mark.parametrize("cache", [ExactCache(), ExactCache("fused"), ExactCache("separate", "window"), NoCache()])
def test_batches_and_the_plain_engine_say_the_same(cache, logits):
    made = decode(backbone(logits=logits), questions(), strategies(cache))
    alone = [decode(backbone(logits=logits), [q], strategies(cache))[0] for q in questions()]
    plain = [decode(backbone(logits=logits, kind=PlainBackbone), [q], strategies(cache))[0] for q in questions()]
    assert [facts(one) for one in made] == [facts(one) for one in alone] == [facts(one) for one in plain]
    assert [one.cost.commits for one in made] == [one.cost.commits for one in alone]


@pytest.mark.parametrize("prompt", [1, 3, 4, 5, 8])
def test_windows_are_the_blocks_of_the_row(prompt):
    """The first ends where the prompt's last block does, the last where the canvas ends; commits stay in them."""
    meter = Meter(backbone())
    question = Question("q", tuple(range(1, prompt + 1)))
    (done,) = decode(meter.backbone, [question], strategies(NoCache(), tau=1.1), meter=meter)
    order = np.array(done.commit_iteration)
    blocks = (prompt + np.arange(12)) // 4
    assert all(order[blocks < b].max() < order[blocks == b].min() for b in set(blocks.tolist()) - {blocks[0]})


def test_what_every_forward_computes():
    """Prompt and first block, then a block beside what was kept, and between two blocks the finished one once more."""
    question = Question("q", (1, 2, 3, 4, 5, 6))
    two, four = [("block", 2)], [("block", 4)]
    for commit, expected in (
        ("separate", [("full", 8), *four, ("commit", 4), *four * 4, ("commit", 4), *two * 2]),
        ("fused", [("full", 8), *four, ("block", 8), *four * 3, ("block", 6), *two]),
    ):
        meter = Meter(backbone())
        (done,) = decode(meter.backbone, [question], strategies(ExactCache(commit), 8, tau=1.1), meter=meter)
        shown = [(row.kind, row.query_tokens[0]) for row in meter.ledger]
        assert shown == expected
        assert done.cost.commits == Counter(kind for kind, _ in shown)["commit"]
        assert done.cost.nfe == len(shown) and len(done.nats) == done.cost.nfe - done.cost.commits


def test_a_shifted_model_reads_a_block_s_first_token_from_the_commit():
    """The answer's first one too, where the prompt ends with a block."""
    question = Question("q", (1, 2, 3, 4))
    meter = Meter(backbone(logits="shifted"))
    (done,) = decode(meter.backbone, [question], strategies(ExactCache(), 8, tau=1.1), meter=meter)
    first, second = [("commit", 4), *[("block", 4)] * 3], [("commit", 4), *[("block", 4)] * 3]
    assert [(row.kind, row.query_tokens[0]) for row in meter.ledger] == [*first, *second]
    assert (done.commit_iteration[0], done.commit_iteration[4]) == (0, 4)
    logits = random_models(0, n_layers=2, attention_block=4)[1]
    assert done.ids[0] == np.delete(logits.logits(logits.embed([1, 2, 3, 4]))[3], 15).argmax()


def test_the_first_token_after_a_whole_block_of_prompt_is_committed_whatever_its_neighbours_say():
    """As published: with tau = 0 everything that is read is committed at once, and there is one token to be read."""
    made = {
        n: decode(backbone(logits="shifted"), [Question("q", tuple(range(1, n + 1)))], strategies(ExactCache(), 8, tau=1e-9))[0]
        for n in (4, 5)
    }  # fmt: skip
    assert list(made[4].commit_iteration) == [0, 1, 1, 1, 2, 3, 3, 3]
    assert list(made[5].commit_iteration) == [0, 0, 0, 1, 2, 2, 2, 3]


def test_a_block_that_was_laid_whole_is_committed_with_the_next():
    """Nothing is to be done in it, so no forward is of it: one commit forward is of both."""
    case = Case(
        (Question("q", (1, 2, 3, 4), tuple(range(1, 9))),), {"name": "token_inject", "rho": 1.0},
        {"name": "threshold", "tau": 1.1, "temperature": 0.0}, FROZEN, 12, 4, False, 0,
        {"seed": 1, "vocab_size": 16, "attention_block": 4}, exact("separate", "commit"),
    )  # fmt: skip
    (done,) = case.decode()
    assert facts(done) == facts(case.reference(case.questions[0]))
    assert done.cost.commits == 0  # the first forward computes all that stands before the window


def test_it_stops_at_the_end_of_the_answer():
    """In the block in which an end token stands behind nothing but tokens; up to it nothing changes."""
    found = 0
    for seed in range(3):
        b = backbone(seed=seed)
        ends = replace(b, end_ids=(0, 3, 5))
        for question in questions(2):
            (whole,) = decode(ends, [question], strategies(ExactCache()))
            for cache in (ExactCache(), ExactCache("fused"), NoCache()):
                (done,) = decode(ends, [question], strategies(cache, stop=True))
                end = next((i for i, token in enumerate(whole.ids) if token in ends.end_ids), 12)
                assert done.ids[: end + 1] == whole.ids[: end + 1]
                found += done.cost.nfe < whole.cost.nfe
    assert found > 2


LINES = {
    "schedule=canvas": "schedule=canvas makes windows of 12 that do not divide them",
    "length.block_length=6": "schedule=blocks makes windows of 6 that do not divide them: choose schedule=blocks with",
    "cache=prefix": "sees blocks, for which cache=prefix is not made: choose cache=none, exact",
    "cache=dual": "cache=dual is not made",
    "cache=freecache": "cache=freecache is not made",
    "watch=prophet": "watch=prophet reads the whole canvas in every forward",
    "remask=wino": "remask=wino reads tokens from masks beside the row",
    "init=verified init.score=shadow": "init.score=shadow reads tokens from masks beside the row",
}


@pytest.mark.parametrize(("line", "said"), LINES.items())
def test_what_needs_the_canvas_to_the_right_is_refused(line, said):
    words = [
        "backbone.attention_block=4",
        "length.canvas_length=12",
        "length.block_length=4",
        "proposer=oracle",
        "proposer.tail=eos",
    ]
    with pytest.raises(UserError, match=re.escape(said)):
        plan(*composed([*words, *line.split()]))


def test_exact_needs_blocks():
    with pytest.raises(UserError, match="has no blocks: every position sees every position, for which cache=exact"):
        plan(*composed(["cache=exact"]))


def test_a_run_says_how_many_forwards_were_commits(tmp_path):
    words = ["backbone.attention_block=16", "cache=exact", "task.limit=2", f"outputs={tmp_path}", "device=cpu"]
    summary, folder = run_overrides(words)
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert all(0 < record["commit_forwards"] < record["nfe"] for record in records)
    without = sum(record["nfe"] - record["commit_forwards"] for record in records) / 2
    assert summary["nfe_without_commits_mean"] == without
    identity = json.loads((folder / "identity.json").read_text()) if (folder / "identity.json").exists() else None
    assert identity is None or identity["backbone"]["attention_block"] == 16
