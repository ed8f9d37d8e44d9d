"""The long lab's two tokenizers. Both make every digit a token of its own, so that the parts of a number can disagree,
as in LLaDA's.

The backbone's has a token for nearly every word of the generator; the proposers' is smaller and splits many of them, so
a proposal has to travel as text and its tokens sit elsewhere.
"""

from __future__ import annotations

from functools import lru_cache

from transformers import PreTrainedTokenizerFast

from warmexp.lab.long import problems
from warmexp.lab.tokenizers import END, MASK, PROMPT, START, train_tokenizer

TRAINING_PROBLEMS = 4_000


def _texts() -> list[str]:
    """Problems in each of the wordings alone, so that the rare one is as well known to the tokenizer as the common
    ones."""
    texts = []
    for wording in range(len(problems.SHARES)):
        shares = tuple(float(k == wording) for k in range(len(problems.SHARES)))
        for k in range(TRAINING_PROBLEMS):
            problem = problems.make("train", k, shares)
            texts.append(PROMPT.format(question=problem.question) + " " + problem.solution)
    return texts


@lru_cache(maxsize=1)
def train_backbone_tokenizer() -> PreTrainedTokenizerFast:
    """Every digit is a token of its own."""
    return train_tokenizer(_texts(), vocab_size=704, digits=1, special=[END, MASK, START], numbers=10)


@lru_cache(maxsize=1)
def train_proposer_tokenizer() -> PreTrainedTokenizerFast:
    """Every digit is a token of its own, and words are split more often than by the backbone's."""
    return train_tokenizer(_texts(), vocab_size=500, digits=1, special=[END], numbers=10, often=30_000)
