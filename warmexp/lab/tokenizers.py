"""The lab's two tokenizers: byte-level BPE trained on the generator's text, splitting numbers in two different ways.

The backbone's keeps up to two digits together, so that every number of the lab is one token; the proposers' splits each
digit. A proposal therefore has to travel as text and be encoded anew, as between any two real models. Both encode any
text losslessly.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from warmexp.lab import problems

END, MASK, START = "<|endoftext|>", "<|mdm_mask|>", "<|startoftext|>"
PROMPT = "Question: {question}\nAnswer:"  # a response starts with a space and ends with END
TRAINING_PROBLEMS = 6_000


def train_tokenizer(
    texts: list[str], vocab_size: int, digits: int, special: list[str], numbers: int, often: int = 3_000
) -> PreTrainedTokenizerFast:
    """BPE over words, punctuation runs, white space and groups of at most `digits` digits, each with its leading space.

    Args:
        texts: to train on. numbers: all numbers below this one become one token, with and without a space, if `digits`
        lets them.
        often: how many times each of these numbers is added to the texts; it has to be more frequent than the rarest
        token.
    """
    tokenizer = Tokenizer(models.BPE())
    # A group of digits never takes part in a longer token; the space before a word or a number belongs to it, as in
    # GPT-2.
    pattern = Regex(rf" ?\p{{L}}+| ?\p{{N}}{{1,{digits}}}| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(pattern, "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # Every number, with and without its space, often enough to become one token.
    tokenizer.train_from_iterator([*texts, *[f"{n} {n}" for n in range(numbers)] * often], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=END,
        bos_token=START if START in special else None,
        mask_token=MASK if MASK in special else None,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )


def _texts() -> list[str]:
    texts = []
    for wordy_share in (0.0, 1.0):
        for _, problem in zip(range(TRAINING_PROBLEMS), problems.stream(0, wordy_share), strict=False):
            texts.append(PROMPT.format(question=problem[1].question) + " " + problem[1].solution)
    return texts


@lru_cache(maxsize=1)
def train_backbone_tokenizer() -> PreTrainedTokenizerFast:
    """Numbers 0 to 99 are single tokens, with and without a leading space."""
    return train_tokenizer(_texts(), vocab_size=832, digits=2, special=[END, MASK, START], numbers=100)


@lru_cache(maxsize=1)
def train_proposer_tokenizer() -> PreTrainedTokenizerFast:
    """Every digit is a token of its own."""
    return train_tokenizer(_texts(), vocab_size=500, digits=1, special=[END], numbers=10)


def save(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and special_tokens_map.json, readable by old and new versions of
    transformers."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    special = {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1024,
        **special,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
