"""What an author knew about its tokens, carried to the backbone's tokens through the text: three kinds of tokenizers,
every direction."""

from __future__ import annotations

import math
import unicodedata
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.proposers.tokenizer_kinds import ALL, SPECIAL, as_backbone, written
from warmexp.proposers.proposal import Proposal, encode, fit
from warmexp.proposers.spans import carry, decoded_spans, encoded_spans

PAIRS = list(product(ALL, ALL))
PIECES = st.sampled_from(
    [
        " ",
        "  ",
        "\n",
        "\n\n",
        " Tom",
        "has",
        " eggs",
        "1234",
        " 56",
        "7",
        "1,290",
        " =",
        ".",
        "####",
        "é",
        "漢字",
        "🙂",
        "👩‍🚀",
        "ß",
        "\u00a0",
        "e\u0301",
    ]
)
ANY = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=14)
TEXT = st.one_of(st.lists(PIECES, min_size=1, max_size=12).map("".join), ANY)


def author(name: str, text: str, seed: int = 0) -> Proposal:
    """What a model with that tokenizer would hand over for a text, with random probabilities."""
    tokenizer = ALL[name]()
    context, ids = written(tokenizer, text)
    text, spans = decoded_spans(ids, tokenizer.decode, context)
    logp = np.log(np.random.default_rng(seed).uniform(0.05, 1.0, len(ids)))
    return Proposal(text, tuple((a, b, float(p)) for (a, b), p in zip(spans, logp, strict=True)))


def check_cover(text: str, spans: list[tuple[int, int]]) -> None:
    """In order, without a gap, from the first character to the last."""
    assert spans[0][0] == 0 and spans[-1][1] == len(text)
    assert all(a < b for a, b in spans)
    assert all(x[0] <= y[0] <= x[1] <= y[1] for x, y in pairwise(spans))


@settings(derandomize=True, deadline=None, database=None, max_examples=120)
@given(text=TEXT, name=st.sampled_from(sorted(ALL)))
def test_the_authors_spans_cover_what_it_wrote(text, name):
    tokenizer = ALL[name]()
    context, ids = written(tokenizer, text)
    found, spans = decoded_spans(ids, tokenizer.decode, context)
    assert found == (unicodedata.normalize("NFC", "Answer:" + text)[7:] if name == "splitting" else text)
    assert len(spans) == len(ids)
    check_cover(found, spans)
    for (start, end), i in zip(spans, ids, strict=True):  # a token that is whole characters stands where its span says
        piece = tokenizer.decode([context[-1], i]).removeprefix(tokenizer.decode([context[-1]]))
        assert "\ufffd" in piece or piece == found[start:end]


@settings(derandomize=True, deadline=None, database=None, max_examples=120)
@given(text=TEXT, name=st.sampled_from(sorted(ALL)))
def test_every_backbone_token_has_its_span(text, name):
    tokenizer = as_backbone(ALL[name]())
    ids, spans = encoded_spans(tokenizer, text)
    assert ids == tokenizer.encode(text) and len(spans) == len(ids)
    check_cover(text, spans)
    encoded = encode(author("grouping", text), tokenizer, 1000, "mask")
    assert len(encoded.ids) == len(encoded.trust) == len(encoded.logp) == len(encoded.straddles)


def test_what_a_normaliser_drops_belongs_to_the_next_token():
    from tokenizers import Tokenizer, normalizers

    inner = Tokenizer.from_str(ALL["grouping"]().to_str())
    inner.normalizer = normalizers.Sequence([normalizers.Strip(), normalizers.Replace("\r", "")])
    text = "  Tom\r\r has\r\n 5\r "
    ids, spans = encoded_spans(as_backbone(inner), text)
    check_cover(text, spans)
    assert [text[a:b] for a, b in spans][-1].strip() == "5" and inner.decode(ids) == "Tom has\n 5"


def slowly(proposal: Proposal, spans: list[tuple[int, int]]) -> tuple[list[float], list[float]]:
    """Sum and minimum by looking at every character of every pair."""
    sums, least = [], []
    for a, b in spans:
        under = [p for x, y, p in proposal.tokens if set(range(a, b)) & set(range(x, y))]
        sums.append(sum(under))
        least.append(min((math.exp(p) for p in under), default=1.0))
    return sums, least


@settings(derandomize=True, deadline=None, database=None, max_examples=200)
@given(text=TEXT, pair=st.sampled_from(PAIRS), seed=st.integers(0, 99))
def test_sums_and_minima_under_every_token(text, pair, seed):
    """And: between two borders that both sides have, with nothing straddling in between, the sums are the same."""
    proposal = author(pair[0], text, seed)
    text = proposal.text
    _, spans = encoded_spans(as_backbone(ALL[pair[1]]()), text)
    carried = carry(proposal.tokens, spans)
    sums, least = slowly(proposal, spans)
    assert carried.logp == pytest.approx(sums) and carried.trust == pytest.approx(least)
    assert all(0 <= t <= 1 for t in carried.trust) and all(p <= 0 for p in carried.logp)
    inside = {c for a, b, _ in proposal.tokens for c in range(a + 1, b)}  # places that are no border of the author's
    parts = {
        c for a, b in spans for c in range(a, b) if sum(x <= c < y for x, y in spans) > 1
    }  # characters that tokens share
    for (a, b), straddles in zip(spans, carried.straddles, strict=True):
        assert straddles == bool({a, b} & inside or parts & set(range(a, b)))
    common = [0, *sorted({a for a, _ in spans} - inside - {0}), len(text)]
    for a, b in pairwise(common):
        mine = [i for i, (x, y) in enumerate(spans) if a <= x and y <= b]
        if mine and not any(carried.straddles[i] for i in mine):
            total = sum(p for x, y, p in proposal.tokens if a <= x and y <= b)
            assert sum(carried.logp[i] for i in mine) == pytest.approx(total)


@settings(derandomize=True, deadline=None, database=None, max_examples=60)
@given(text=TEXT, name=st.sampled_from(sorted(ALL)), seed=st.integers(0, 9))
def test_the_same_tokenizer_on_both_sides_changes_nothing(text, name, seed):
    """Each token keeps its own log-probability, unless it is only a part of a character."""
    assume(unicodedata.is_normalized("NFC", text) and text[0] not in " \n\u0301")
    tokenizer = ALL[name]()
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assume(tokenizer.decode(ids) == text)
    found, spans = decoded_spans(ids, tokenizer.decode)
    logp = np.log(np.random.default_rng(seed).uniform(0.05, 1.0, len(ids))).tolist()
    proposal = Proposal(found, tuple((a, b, p) for (a, b), p in zip(spans, logp, strict=True)))
    encoded = encode(proposal, as_backbone(tokenizer), 1000, "mask")
    assert list(encoded.ids) == ids
    for mine, straddles, theirs in zip(encoded.logp, encoded.straddles, logp, strict=True):
        assert straddles or mine == pytest.approx(theirs)
    if text.isascii():  # the mark that sentencepiece puts in front may stand alone, and then shares the first character
        assert not any(encoded.straddles[2 if name == "sentencepiece" else 0 :])


def by_piece(proposal: Proposal, name: str) -> list[tuple[str, float, float, bool]]:
    _, spans = encoded_spans(as_backbone(ALL[name]()), proposal.text)
    carried = carry(proposal.tokens, spans)
    return [(proposal.text[a:b], *rest) for (a, b), *rest in zip(spans, *carried, strict=True)]


def test_digit_groups_that_the_backbone_splits():
    """123|4 under 1 2 3 4: each digit of the group has the group's probability and says that it is a part of it."""
    proposal = Proposal(" 1234", ((0, 1, -0.1), (1, 4, -2.0), (4, 5, -0.5)))
    rows = by_piece(proposal, "splitting")
    assert [(r[0], r[1], r[3]) for r in rows] == [
        (" ", -0.1, False), ("1", -2.0, True), ("2", -2.0, True), ("3", -2.0, True), ("4", -0.5, False)
    ]  # fmt: skip
    assert rows[2][2] == pytest.approx(math.exp(-2))


def test_digits_that_the_backbone_groups():
    """1 2 3 4 under 123|4: the group has the sum of its digits and the trust of the worst of them."""
    proposal = Proposal(" 1234", tuple((i, i + 1, -float(i)) for i in range(5)))
    assert by_piece(proposal, "grouping") == [
        (" ", 0.0, 1.0, False), ("123", -6.0, pytest.approx(math.exp(-3)), False), ("4", -4.0, pytest.approx(math.exp(-4)), False)
    ]  # fmt: skip


def test_groups_that_do_not_fit():
    """12|34 under 123|4 straddles on both sides, and both carry what they touch."""
    proposal = Proposal("1234", ((0, 2, -1.0), (2, 4, -2.0)))
    rows = by_piece(proposal, "grouping")
    assert [(r[0], r[1], r[3]) for r in rows] == [("123", -3.0, True), ("4", -2.0, True)]


@pytest.mark.parametrize("name", ALL)
def test_a_space_before_a_response_is_the_responses_own(name):
    tokenizer = ALL[name]()
    context, ids = written(tokenizer, " Tom has 5")
    text, spans = decoded_spans(ids, tokenizer.decode, context)
    assert text == " Tom has 5" and spans[0][0] == 0
    bare = decoded_spans(ids, tokenizer.decode)[0]
    assert bare == ("Tom has 5" if name == "sentencepiece" else " Tom has 5")  # why the context is needed


@pytest.mark.parametrize("pair", PAIRS)
def test_newlines_and_characters_of_several_bytes(pair):
    text = " Tom: é 漢🙂.\n\n#### 55"
    proposal = author(pair[0], text)
    assert proposal.text == text
    encoded = encode(proposal, as_backbone(ALL[pair[1]]()), 100, "mask")
    bytes_of = [p for a, b, p in proposal.tokens if text[a:b] == "🙂"]
    assert len(bytes_of) == 4  # none of the three has it: a token per byte
    _, spans = encoded_spans(as_backbone(ALL[pair[1]]()), text)
    mine = [i for i, (a, b) in enumerate(spans) if text[a:b] == "🙂"]
    assert len(mine) == 4 and all(encoded.straddles[i] for i in mine)
    assert all(encoded.logp[i] == pytest.approx(sum(bytes_of)) for i in mine)


def test_a_character_that_never_becomes_whole():
    """A proposer stopped in the middle of a character: the text says so and the spans stay inside it."""
    for name in ALL:
        tokenizer = ALL[name]()
        context, ids = written(tokenizer, " Tom 🙂")
        text, spans = decoded_spans(ids[:-1], tokenizer.decode, context)
        assert text.startswith(" Tom \ufffd") and len(spans) == len(ids) - 1
        assert all(0 <= a <= b <= len(text) for a, b in spans) and spans[-1][1] == len(text)


def test_no_probabilities_is_no_doubt():
    tokenizer = as_backbone(ALL["grouping"]())
    encoded = encode(Proposal(" Tom has 1234 é"), tokenizer, 100, "eos")
    assert set(encoded.trust) == {1.0} and set(encoded.logp) == {0.0} and not any(encoded.straddles)
    half = encode(Proposal("Tom 55", ((0, 3, -1.0),)), tokenizer, 100, "mask")
    assert half.trust[-1] == 1.0 and min(half.trust) == pytest.approx(math.exp(-1))


def test_an_eos_tail_is_as_sure_as_the_end_that_was_written():
    tokenizer = as_backbone(ALL["grouping"]())
    known = encode(Proposal("Tom", ((0, 3, -0.2),), end=-0.7), tokenizer, 6, "eos")
    n = len(tokenizer.encode("Tom"))
    assert known.ids[n:] == (tokenizer.eos_id,) * (6 - n) and not known.cut
    assert known.trust[n:] == pytest.approx([math.exp(-0.7)] * (6 - n))
    assert sum(known.logp[n:]) == pytest.approx(-0.7)
    assert encode(Proposal("Tom", end=-0.7), tokenizer, 6, "mask").ids == known.ids[:n]
    long = encode(Proposal("Tom has 1234 eggs", end=-0.7), tokenizer, 3, "eos")
    assert (
        long.cut and tokenizer.eos_id not in long.ids and len(long.trust) == len(long.logp) == len(long.straddles) == 3
    )


@pytest.mark.parametrize("name", ALL)
def test_end_tokens_spelled_out_are_text(name):
    tokenizer = as_backbone(ALL[name]())
    text = "5 <|eot_id|> <|endoftext|>\n<|mdm_mask|>"
    ids, spans = encoded_spans(tokenizer, text)
    assert not {tokenizer.tokenizer.token_to_id(s) for s in SPECIAL} & set(ids)
    check_cover(text, spans)


TURN = "<|eot_id|>{prompt}<|eot_id|>"


@pytest.mark.parametrize(
    ("template", "prompt", "text", "fitted"),
    [
        ("{prompt}", "Answer:", "Tom", " Tom"), ("{prompt}", "Answer:", " Tom", " Tom"), ("{prompt}", "Answer:", "\nTom", "\nTom"),
        ("{prompt}", "Answer: ", " Tom", "Tom"), ("{prompt}<|eot_id|>\n\n", "Answer:", "  Tom", "Tom"), (TURN, "Answer:", " Tom", "Tom"),
        (TURN, "Answer:", "Tom", "Tom"), ("{prompt}", "spelled out <|eot_id|>", "Tom", " Tom"), ("{prompt}", "Answer:", "", ""),
        (TURN, "Answer:", "\n Tom", "\n Tom"), (TURN, "Answer:", "  ", ""),
    ],
)  # fmt: skip
def test_the_first_space_is_the_backbones_habit(template, prompt, text, fitted):
    tokenizer = as_backbone(ALL["grouping"](), template)
    whole = Proposal(text, ((0, len(text), -1.0),) if text else ())
    made = fit(whole, prompt, tokenizer)
    assert made.text == fitted
    moved = [fitted[a:b] for a, b, _ in made.tokens]
    assert moved == ([text if len(text) <= len(fitted) else fitted] if fitted else [])


def test_hf_ends_are_kept_and_padding_is_not_an_end():
    """Two end tokens (end of turn, end of text), a stop string, and nothing of the kind."""
    from transformers import PreTrainedTokenizerFast

    from warmexp.proposers.greedy import Written
    from warmexp.proposers.hf import proposal_of

    inner = ALL["sentencepiece"]()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", pad_token="</s>")
    end, turn = inner.token_to_id("</s>"), inner.token_to_id("<|eot_id|>")
    context, ids = written(inner, " 5.\n\nQuestion: x")

    def propose(tokens, logp, stop):
        return proposal_of(tokenizer, context, Written(list(tokens), logp), {end, turn}, stop, 0.0)

    logp = [-0.01 * (i + 1) for i in range(len(ids) + 2)]
    for last in (end, turn):
        made = propose([*ids, last, end], logp, stop=[])
        assert made.text == " 5.\n\nQuestion: x" and made.end == pytest.approx(logp[len(ids)])
        assert sum(p for *_, p in made.tokens) == pytest.approx(sum(logp[: len(ids)]))
    stopped = propose([*ids, end, end], logp, stop=["\n\nQuestion:", "\nQuestion:", "Question:"])
    assert stopped.text == " 5." and stopped.end is None and stopped.tokens[-1][1] == 3
    assert propose(ids, logp[: len(ids)], stop=[]).end is None
