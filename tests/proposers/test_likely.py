"""What else an author might have written, and what it says in another vocabulary."""

from __future__ import annotations

import json
import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from tests.proposers.tokenizer_kinds import ALL, as_backbone, written
from warmexp.api import planned, run_overrides
from warmexp.errors import UserError
from warmexp.jsonl import Row
from warmexp.proposers.greedy import Written
from warmexp.proposers.hf import HFProposer, proposal_of
from warmexp.proposers.likely import spelled
from warmexp.proposers.markup import cleaned
from warmexp.proposers.proposal import Asked, Proposal, encode, fit
from warmexp.proposers.spans import encoded_spans

LN = math.log


def by_text(text: str, tokens, likely, tokenizer) -> list[dict[str, float]]:
    """What is told at each of the backbone's tokens, by what they decode to."""
    ids, spans = encoded_spans(tokenizer, text)
    found = spelled(text, tokens, likely, ids, spans, tokenizer)
    assert len(found) == len(ids) and all(i in dict(some) for i, some in zip(ids, found, strict=True))
    return [{tokenizer.piece(i): p for i, p in some} for some in found]


@pytest.fixture(scope="module")
def letters():
    """A backbone's tokenizer with a token per byte at most two letters wide."""
    return as_backbone(ALL["splitting"]())


def test_alternatives_begin_with_a_token_of_the_backbones(letters):
    text = "ab cd"
    tokens = [(0, 2, LN(0.5)), (2, 5, LN(0.7))]
    likely = [
        [("ab", LN(0.5)), ("xb", LN(0.3)), (None, LN(0.1))],
        [(" cd", LN(0.7)), (" ce", LN(0.2)), (" z", LN(0.1))],
    ]
    found = by_text(text, tokens, likely, letters)
    ids, spans = encoded_spans(letters, text)
    starts = [start for start, _ in spans]
    first = found[0]
    own = letters.piece(ids[0])
    assert first[own] == pytest.approx(0.5) and sum(first.values()) == pytest.approx(0.9)  # x… and the end beside it
    assert any(piece.startswith("x") for piece in first) and letters.piece(letters.eos_id) in first
    if 1 in starts:  # "xb" says nothing of what stands behind an a
        assert list(found[starts.index(1)].values()) == [pytest.approx(0.5)]
    at = starts.index(2)
    assert sum(found[at].values()) == pytest.approx(1.0)
    for i in range(at + 1, len(ids)):  # behind " ", " c": what begins like it goes on
        before = text[2 : starts[i]]
        share = sum(math.exp(p) for t, p in likely[1] if t and t.startswith(before) and len(t) > len(before))
        assert sum(found[i].values()) == pytest.approx(share)


def test_tokens_that_begin_alike_are_one(letters):
    found = by_text(
        "q", [(0, 1, LN(0.4))], [[("q", LN(0.4)), ("ww", LN(0.3)), ("www", LN(0.2)), ("q", LN(0.4))]], letters
    )
    assert found[0]["q"] == pytest.approx(0.4) and sum(found[0].values()) == pytest.approx(0.9)


def test_where_the_author_said_nothing_the_token_stands_alone(letters):
    ids, spans = encoded_spans(letters, "ab cd")
    assert spelled("ab cd", [], [], ids, spans, letters) == tuple(((i, 1.0),) for i in ids)
    found = spelled("ab cd", [(2, 5, LN(0.5))], [[(" cd", LN(0.5))]], ids, spans, letters)
    assert found[0] == ((ids[0], 1.0),) and found[-1] == ((ids[-1], pytest.approx(0.5)),)


@pytest.mark.parametrize("name", ALL)
def test_the_same_tokenizer_on_both_sides_spells_every_token_as_itself(name):
    """Where an alternative is one token of the backbone's behind the same text, that token is told."""
    tokenizer = as_backbone(ALL[name]())
    text = "Tom has 12 apples"
    ids, spans = encoded_spans(tokenizer, text)
    tokens = [(a, b, LN(0.6)) for a, b in spans]
    likely = [[(text[a:b], LN(0.6)), (text[a:b][:1] + "7", LN(0.2))] for a, b in spans]
    found = spelled(text, tokens, likely, ids, spans, tokenizer)
    for i, (a, b), some in zip(ids, spans, found, strict=True):
        if b > a:
            assert dict(some)[i] >= 0.6 - 1e-9
            assert some == tuple(sorted(some, key=lambda one: -one[1]))


@pytest.mark.parametrize("name", ["splitting", "sentencepiece"])
def test_a_character_in_parts(name):
    """A part of a character is no text: what else might stand there is told where the character begins, and only as
    far as it is of whole characters."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=ALL[name]())
    backbone = as_backbone(ALL[name]())
    context, ids = written(ALL[name](), " a€b")
    assert len(ids) >= 5  # the € is three of them
    z, q = (written(ALL[name](), f" a{letter}")[1][-1] for letter in "zq")
    row = Written(ids, [LN(0.5)] * len(ids), [[(i, LN(0.5)), (z, LN(0.2)), (q, -math.inf)] for i in ids])
    made = proposal_of(tokenizer, context, row, set(), [], 0.0)
    assert made.text == " a€b" and all(t is None or len(t) <= 2 for some in made.likely for t, _ in some)
    encoded = encode(made, backbone, 12, "mask")
    spans = encoded_spans(backbone, made.text)[1]
    first = spans.index((2, 3))
    assert spans[first : first + 3] == [(2, 3)] * 3
    assert [len(some) for some in encoded.likely[first : first + 3]] == [2, 1, 1]
    assert dict(encoded.likely[first]) == {
        encoded.ids[first]: pytest.approx(0.5), backbone.encode("az")[-1]: pytest.approx(0.2)
    }  # fmt: skip
    assert Proposal.from_row(Row(json.loads(json.dumps(made.to_json())), "here")) == made  # no infinity among them


def test_what_is_cut_is_told_once(letters):
    """A stop string, or markup, takes a part of a token: the rest of it is not another token that begins alike."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=ALL["splitting"]())
    context, ids = written(ALL["splitting"](), " Tom reads")
    whole = tokenizer.decode(ids[-1:])
    row = Written(ids, [LN(0.6)] * len(ids), [[(i, LN(0.6))] for i in ids])
    made = proposal_of(tokenizer, context, row, set(), [whole[2:]], 0.0)
    assert made.text.endswith(whole[:2]) and len(whole) > 2
    marked = Proposal("ab</s>", ((0, 6, LN(0.6)),), likely=((("ab</s>", LN(0.6)), ("x", LN(0.1))),))
    for one in (made, cleaned(marked)):
        assert max(p for some in encode(one, letters, 24, "mask").likely for _, p in some) == pytest.approx(0.6)


def test_a_models_likeliest_tokens(tiny_llama):
    """transformers' own, place by place; without being asked nothing is kept."""
    asked = [Asked(f"q{i}", "abc " * (i + 1), "") for i in range(2)]
    told = dict(HFProposer(str(tiny_llama), max_new_tokens=6, likely=3).propose(asked, "cpu", 0, lambda *_: None))
    plain = dict(HFProposer(str(tiny_llama), max_new_tokens=6).propose(asked, "cpu", 0, lambda *_: None))
    tokenizer, model = AutoTokenizer.from_pretrained(tiny_llama), AutoModelForCausalLM.from_pretrained(tiny_llama)
    for question in asked:
        one, other = told[question.id], plain[question.id]
        assert (one.text, one.tokens, one.end) == (other.text, other.tokens, other.end) and other.likely == ()
        assert len(one.likely) == len(one.tokens)
        ids = tokenizer(question.prompt, return_tensors="pt").input_ids
        for (a, b, p), some in zip(one.tokens, one.likely, strict=True):
            with torch.inference_mode():
                logp, best = model(ids).logits[0, -1].log_softmax(-1).topk(3)
            texts = [tokenizer.decode([*ids[0].tolist(), t])[len(tokenizer.decode(ids[0])) :] for t in best.tolist()]
            if "\ufffd" not in one.text[a:b]:  # else a part of a character, which no text can tell
                assert some[0] == (one.text[a:b], p)
            whole = [(t, q) for t, q in zip(texts, logp.tolist(), strict=True) if t and "\ufffd" not in t]
            assert [t for t, _ in some if t is not None][: len(whole)] == [t for t, _ in whole][: len(some)]
            assert [q for _, q in some] == pytest.approx([q for _, q in whole], abs=1e-4)
            ids = torch.cat((ids, best[None, :1]), 1)


def test_what_is_told_goes_along():
    """Through a file, a cut at the end of a turn, and the first space that the backbone wants or does not."""
    one = Proposal("ab cd", ((0, 2, -0.5), (2, 5, -0.7)), 0.0, -0.1, ((("ab", -0.5), (None, -1.0)), ((" cd", -0.7),)))
    assert Proposal.from_row(Row(json.loads(json.dumps(one.to_json())), "here")) == one
    assert "likely" not in Proposal("ab").to_json()
    ended = Proposal("ab<|im_end|>", ((0, 2, -0.5), (2, 12, -0.7)), likely=((("ab", -0.5),), (("<|im_end|>", -0.7),)))
    assert cleaned(ended).likely == ((("ab", -0.5),),)
    backbone = as_backbone(ALL["splitting"]())
    spaced = Proposal(" ab", ((0, 3, -0.5),), likely=(((" ab", -0.5), (" xy", -1.0), ("z", -2.0)),))
    assert fit(spaced, "ends with white space\n", backbone).likely == ((("ab", -0.5), ("xy", -1.0), ("z", -2.0)),)
    bare = Proposal("ab", ((0, 2, -0.5),), likely=((("ab", -0.5), ("xy", -1.0)),))
    moved = fit(bare, "Answer:", backbone)
    encoded = encode(moved, backbone, 12, "eos")
    assert moved.text == " ab" and len(encoded.likely) == len(encoded.ids)
    assert encoded.likely[-1] == ((backbone.eos_id, 1.0),)
    assert any(len(some) == 2 for some in encoded.likely)


@pytest.mark.parametrize(
    "likely", [0, "", [[]], "x", [[["ab", 0.5]], []], [[["ab", -0.5, 1]], []], [[[7, -0.5]], []], [{"a": 1}, []]]
)
def test_a_file_that_tells_something_else(likely):
    row = Row({"text": "ab cd", "tokens": [[0, 2, -0.5], [2, 5, -0.7]], "likely": likely}, "here, line 1")
    with pytest.raises(UserError, match=r"here, line 1.*likely"):
        Proposal.from_row(row)


def test_a_run_with_k_tokens(tmp_path):
    """One token is what it was under its old name; more are another run, and nobody is asked for what is not told."""
    words = ["init=embed_interp", "proposer=lab_weak", "p=0", "lambda=0.5", "task.limit=3", "init.duration=masked"]
    assert planned([*words, "init.k=1"]).run_id == planned(words).run_id
    assert planned([*words, "proposer.likely=2"]).run_id == planned(words).run_id
    assert planned([*words, "init.k=2", "proposer.likely=2"]).run_id != planned(words).run_id
    with pytest.raises(
        UserError, match=r"init\.k=2 .* proposer=lab_weak tells 0: set init\.k=1, or proposer\.likely=2"
    ):
        planned([*words, "init.k=2"])
    plain, _ = run_overrides([*words, f"outputs={tmp_path}"])
    told, out = run_overrides([*words, "init.k=4", "proposer.likely=4", f"outputs={tmp_path}"])
    alone, _ = run_overrides([*words, "init.k=4", "proposer.likely=4", "batch_size=1", f"outputs={tmp_path / 'alone'}"])
    assert told["nfe_mean"] == alone["nfe_mean"] and "k=4" in (out / "config.yaml").read_text()
    assert plain["run_id"] != told["run_id"]


@pytest.mark.parametrize(("likely", "tells"), [([], 0), ([[], [["+", -1.0]]], 64)])
def test_a_file_tells_what_it_holds(tmp_path, likely, tells):
    """A mixture of k tokens that nobody told would be a mixture of one under another name."""
    file = tmp_path / "proposals.jsonl"
    row = {"text": "5 +", "tokens": [[0, 1, -0.1], [1, 3, -0.2]], "likely": likely}
    file.write_text("".join(json.dumps({"id": i, **row}) + "\n" for i in planned(["task.limit=2"]).prompts))
    words = ["init=embed_interp", "proposer=file", f"proposer.path={file}", "task.limit=2"]
    one = planned([*words, "init.k=1"])
    assert one.proposer.likely == tells
    if tells:
        more = planned([*words, "init.k=2"])
        file.write_text(file.read_text().replace("-1.0", "-1.5"))  # which a mixture of one token does not read
        assert planned([*words, "init.k=1"]).run_id == one.run_id
        assert planned([*words, "init.k=2"]).run_id != more.run_id
    else:
        with pytest.raises(UserError, match=r"init\.k=2 .* proposer=file tells 0: .* `likely` in the lines"):
            planned([*words, "init.k=2"])
