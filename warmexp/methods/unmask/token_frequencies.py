"""How often tokens occur in a task's training solutions: what `python -m warmexp.frequencies` counts and writes."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from warmexp.errors import UserError
from warmexp.io import read_json
from warmexp.models.lab_files import MODELS_DIR
from warmexp.models.tokenizer import BackboneTokenizer

COMMAND = "python -m warmexp.frequencies"
SHIPPED = "lab:frequencies"
_TINY = 1e-9  # the published code adds it to frequencies before their logarithm


@dataclass(frozen=True)
class Frequencies:
    """counts: token id -> how often it was there, ≥ 1. vocabulary: `vocabulary_sha256` of the tokenizer that made the
    ids."""

    counts: Mapping[int, int]
    vocabulary: str

    @classmethod
    def counted(cls, texts: Iterable[str], tokenizer: BackboneTokenizer) -> Frequencies:
        counts = Counter(token for text in texts for token in tokenizer.encode(text))
        return cls(dict(sorted(counts.items())), vocabulary_sha256(tokenizer))

    @property
    def sha256(self) -> str:
        """Of what it computes."""
        content = [self.vocabulary, sorted(self.counts.items())]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        return {"vocabulary": self.vocabulary, "counts": {str(token): n for token, n in sorted(self.counts.items())}}

    def surprise(self) -> np.ndarray:
        """[largest id + 2] float64, -ln f of every token, f = count / N; what was never seen has f = 1 / N. The last
        entry is for all larger ids."""
        total = sum(self.counts.values())
        share = np.full(max(self.counts) + 2, 1 / total)
        share[list(self.counts)] = np.array(list(self.counts.values())) / total
        return -np.log(share + _TINY)


def vocabulary_sha256(tokenizer: BackboneTokenizer) -> str:
    """Of which token has which id."""
    words = sorted(tokenizer.tokenizer.get_vocab(with_added_tokens=True).items())
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]


def read_frequencies(path: str) -> Frequencies:
    """From their file, or those of the lab's training split, which are shipped (SHIPPED).

    Raises:
        UserError: the file is missing, or holds something else.
    """
    file = MODELS_DIR / "frequencies.json" if path == SHIPPED else Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"unmask.frequencies={path} does not exist: make it with {COMMAND} --out {path}.")
    found = read_json(file)
    try:
        counts = {int(token): n for token, n in found["counts"].items()}
        made = Frequencies(counts, found["vocabulary"])
    except (KeyError, ValueError, AttributeError) as error:
        raise UserError(
            f"unmask.frequencies={path} holds no frequencies ({error!r}): make it with {COMMAND}."
        ) from None
    numbers = [n for n in counts.values() if isinstance(n, int) and not isinstance(n, bool) and 1 <= n < 2**53]
    if not counts or len(numbers) < len(counts) or not 0 <= min(counts) <= max(counts) < 2**24:
        raise UserError(
            f"unmask.frequencies={path} holds no frequencies (counts are numbers from 1, by token id): make it with"
            f" {COMMAND}."
        )
    return made
