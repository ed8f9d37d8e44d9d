"""Both shipped tokenizers encode any text losslessly, and they split numbers differently."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from warmexp.lab import problems, tokenizers
from warmexp.models.lab_files import model_path

BACKBONE = AutoTokenizer.from_pretrained(model_path("backbone"))
PROPOSER = AutoTokenizer.from_pretrained(model_path("proposer_strong"))
ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("tokenizer", [BACKBONE, PROPOSER], ids=["backbone", "proposer"])
@settings(max_examples=200, deadline=None)
@given(text=ANY_TEXT)
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(ids(tokenizer, text)) == text


@pytest.mark.parametrize(
    "text", ["", " ", "\n\n  x", "a , b .", "don 't", "12345 007", "\t#### -3.5", "größe 数 🙂", " ( y )"]
)
def test_texts_that_clean_up_would_change(text):
    for tokenizer in (BACKBONE, PROPOSER):
        assert tokenizer.decode(ids(tokenizer, text)) == text


def test_numbers_are_single_tokens_for_the_backbone_only():
    for n in range(100):
        for text in (f"{n}", f" {n}"):
            assert len(ids(BACKBONE, text)) == 1
            assert len(ids(PROPOSER, text)) == len(str(n))


def test_special_tokens():
    assert BACKBONE.mask_token == tokenizers.MASK and BACKBONE.eos_token == BACKBONE.pad_token == tokenizers.END
    assert PROPOSER.mask_token is None and PROPOSER.eos_token == tokenizers.END
    assert len(BACKBONE) != len(PROPOSER)


def test_lab_texts_are_short_and_the_two_tokenizers_disagree():
    chosen = problems.load("test", 300)
    lengths = [len(ids(BACKBONE, " " + p.solution)) for p in chosen]
    assert max(lengths) < 48 and min(lengths) >= 8
    assert any(len(ids(PROPOSER, " " + p.solution)) != n for p, n in zip(chosen, lengths, strict=True))
    prompts = [tokenizers.PROMPT.format(question=p.question) for p in chosen]
    assert max(len(ids(BACKBONE, p)) for p in prompts) <= 70


@pytest.mark.slow
def test_shipped_tokenizer_is_what_the_recipe_trains():
    assert tokenizers.train_backbone_tokenizer().get_vocab() == BACKBONE.get_vocab()
    assert tokenizers.train_proposer_tokenizer().get_vocab() == PROPOSER.get_vocab()
