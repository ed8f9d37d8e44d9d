"""Token editing: a visible token becomes another at once where the model is sure of the other (LLaDA2.1, arXiv
2602.08676)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from warmexp.decode.edit import Replacement
from warmexp.decode.reading import Reading, Word
from warmexp.decode.view import View
from warmexp.errors import check_choice, check_range
from warmexp.methods.remask.bernoulli import SCOPES
from warmexp.methods.remask.until_quiet import UntilQuiet


@dataclass
class JointThreshold(UntilQuiet):
    """Replace visible x_i by x' = argmax_v p_i(v) where x' ≠ x_i and p_i(x') > τ_e, in the forward that also commits
    masks.

    The masks are the unmasking policy's (τ_m: unmask=threshold). A window is left after the first forward that changes
    nothing in it (until_quiet.py). A model that was trained to overwrite its own wrong tokens (LLaDA2.1) takes a
    draft's as its own; one that was not copies what it sees.

    edit: τ_e in [0, 1]; 0.5 (Q mode) and 0 (S mode) as published, 0.9 by default there; 1 never edits. after: ≥ 0; 16
    as published.
    scope: which tokens may be replaced, as in remask=linear; as published all but the prompt's.
    """

    edit: float = 0.9
    scope: str = "all"
    reads_logits = True
    symbols = {"edit": "τₑ"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("remask.edit", self.edit, 0, 1, "the probability that another token needs")
        check_choice("remask.scope", self.scope, SCOPES)

    def measure(self, view: View, word: Word) -> Mapping[str, Tensor]:
        best = word.logits.softmax(-1).max(-1)
        return {"joint_token": best.indices, "joint_probability": best.values}

    def select(self, view: View, reading: Reading, commit: np.ndarray) -> np.ndarray:
        return np.zeros_like(view.revocable)

    def replace(self, view: View, reading: Reading, commit: np.ndarray) -> Replacement:
        token, probability = reading.measured["joint_token"], reading.measured["joint_probability"]
        return Replacement(view.revocable & (token != view.ids) & (probability > self.edit), token, probability)
