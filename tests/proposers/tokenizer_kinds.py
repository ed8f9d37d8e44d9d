"""Three really different tokenizers, trained on a few lines: what Llama 3, Llama 2 and Qwen do to digits, spaces and
bytes."""

from __future__ import annotations

import json
from functools import lru_cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from warmexp.models.tokenizer import BackboneTokenizer

TEXTS = [
    "Question: Tom has 5 apples and 1234 eggs. How many are left?\nAnswer:",
    " Tom has 1234 + 56 = 1290 eggs.\nThen 1290 - 90 = 1200.\n#### 1,200",
    "Nadia reads 15 pages, so 100 - 45 = 55 pages are left.\n\nThe answer is  55.\n#### 55",
] * 40
SPECIAL = ["<|endoftext|>", "<|mdm_mask|>", "<|eot_id|>"]
WORDS = r" ?\p{L}+"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def _byte_level(digits: str, merges: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(f"{WORDS}|{digits}|{REST}"), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=256 + merges,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
        min_frequency=1,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


@lru_cache(maxsize=1)
def grouping() -> Tokenizer:
    """Byte-level BPE, up to three digits to a token; its offsets leave white space out, as GPT-2's do."""
    tokenizer = _byte_level(r"\p{N}{1,3}", 220)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return tokenizer


@lru_cache(maxsize=1)
def splitting() -> Tokenizer:
    """Byte-level BPE, every digit by itself, composed characters (Qwen's normaliser)."""
    tokenizer = _byte_level(r"\p{N}", 90)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    return tokenizer


@lru_cache(maxsize=1)
def sentencepiece() -> Tokenizer:
    """Llama 2's kind: ▁ for a space and one more in front, single digits, <0xNN> for what the vocabulary lacks
    (newlines among it)."""
    teacher = Tokenizer(models.BPE())
    teacher.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    teacher.train_from_iterator(
        [t.replace("\n", " ") for t in TEXTS], trainers.BpeTrainer(vocab_size=140, show_progress=False)
    )
    learned = sorted(teacher.get_vocab().items(), key=lambda item: item[1])
    merges = [tuple(pair) for pair in _merges(teacher)]
    names = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *(name for name, _ in learned)]
    vocab = {name: i for i, name in enumerate(dict.fromkeys(names))}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<s>", "</s>", *SPECIAL)])
    return tokenizer


def _merges(tokenizer: Tokenizer) -> list[list[str]]:
    found = json.loads(tokenizer.to_str())["model"]["merges"]
    return [pair if isinstance(pair, list) else pair.split(" ") for pair in found]


ALL = {"grouping": grouping, "sentencepiece": sentencepiece, "splitting": splitting}


def as_backbone(tokenizer: Tokenizer, template: str = "{prompt}") -> BackboneTokenizer:
    end, mask, turn = (tokenizer.token_to_id(token) for token in SPECIAL)
    return BackboneTokenizer(tokenizer, template, mask, end, (end, turn), frozenset((end, mask, turn)))


def written(tokenizer: Tokenizer, text: str, before: str = "Answer:") -> tuple[list[int], list[int]]:
    """Ids of `before` and of `text` as a model would write it after that."""
    tokenizer.encode_special_tokens = True
    context = tokenizer.encode(before, add_special_tokens=False).ids
    ids = tokenizer.encode(before + text, add_special_tokens=False).ids
    assert ids[: len(context)] == context
    return context, ids[len(context) :]
