"""PC-Sampler: what stands early and says something goes first (arXiv 2508.13021)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from warmexp.decode.reading import Reading
from warmexp.decode.strategy import Setup
from warmexp.decode.view import View
from warmexp.errors import UserError, check_range
from warmexp.methods.unmask.token_frequencies import COMMAND, read_frequencies, vocabulary_sha256
from warmexp.methods.unmask.topk import TopK


@dataclass
class PcSampler(TopK):
    """unmask=topk by the score e^{-λ·i}·min(-c·ln f, α), i the index in the window and f how frequent the proposed
    token is in a corpus.

    Confident tokens that occur everywhere (stops, line breaks, "the") say little and spoil what depends on them; the
    decay keeps the order near left to right. A token that the corpus lacks has f = 1 / N, N its number of tokens; end
    of text is one, as published.

    decay: λ ≥ 0; 0.25 as published, 0 for puzzles, 0.5 for countdown; 0 is no decay. cap: α > 0, nats; 10. frequencies:
    a file that `python -m warmexp.frequencies` has counted with the backbone's tokenizer on the task's training split,
    `lab:frequencies` for the lab; null: f = 1/e for all, which leaves the decay. Its content is part of a run's
    identity, and its path is not. steps_per_block: as in unmask=topk, as many as positions in the published runs.
    temperature: as there.
    """

    decay: float = 0.25
    cap: float = 10.0
    frequencies: str | None = None
    symbols = TopK.symbols | {"decay": "λ", "cap": "α"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("unmask.decay", self.decay, 0, 1000, "the rate at which later positions count less")
        check_range("unmask.cap", self.cap, 0, 1e6, "the largest score of a token, in nats", open_low=True)
        self.table = read_frequencies(self.frequencies) if self.frequencies else None
        self.surprise = self.table.surprise() if self.table else np.ones(1)

    def identity(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "frequencies": self.table and self.table.sha256}

    def check(self, setup: Setup) -> None:
        tokenizer = setup.parts["backbone"].tokenizer if "backbone" in setup.parts else None
        if self.table and tokenizer and vocabulary_sha256(tokenizer) != self.table.vocabulary:
            words = f"{setup.said('backbone')} {setup.said('task')}"
            raise UserError(
                f"unmask.frequencies={self.frequencies} was counted with another tokenizer than that of"
                f" {setup.said('backbone')}: make it with {COMMAND} {words} --out FILE, or set unmask.frequencies=null."
            )

    def score(self, view: View, reading: Reading) -> np.ndarray:
        surprise = self.surprise[np.minimum(reading.token, len(self.surprise) - 1)]
        worth = np.minimum(reading.confidence * surprise, self.cap)
        return np.where(view.masked, np.exp(-self.decay * np.arange(worth.shape[1])) * worth, -np.inf)
