"""Guided diffusion: an autoregressive model lets pass what it would have written, too (FlashDLM, arXiv 2505.21467)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from warmexp.decode.guided import Asking
from warmexp.decode.reading import Word
from warmexp.decode.strategy import Consulting
from warmexp.decode.view import View
from warmexp.errors import check_choice, check_range
from warmexp.methods.evidence.passing import passed

REJECTS = ("ar", "dlm")


@dataclass
class FlashDLM(Consulting):
    """The backbone proposes a token x_i at every masked position of the window, one forward of the guide reads all of
    them, and those before the first misfit pass. x_i fits if it is among the guide's k most probable tokens there and
    q_i(x_i) ≥ share · max q_i, where q_i = q(· | everything before i, proposals included).

    Published are deterministic (k = 1), top-k (k = 5) and relative (k = 2, share = 1/2) matching; the paper only lets
    pass, its released code also writes the guide's own token at the first misfit, as speculative decoding does.

    k: ≥ 1. share: in [0, 1]; 0 asks for nothing more. on_reject: at the first misfit, `ar` writes the guide's most
    probable token with the guide's probability (as released); `dlm` stops before it, and takes the backbone's first
    token where nothing has passed.
    Tokens that are visible already are read and not judged. With temperature above 0 it is the drawn tokens that are.
    """

    k: int = 1
    share: float = 0.0
    on_reject: str = "ar"
    symbols = {"k": "k", "share": "share"}
    accepts = True

    def __post_init__(self) -> None:
        check_range("evidence.flashdlm.k", self.k, 1, 2**20, "how many of the guide's tokens fit")
        check_range("evidence.flashdlm.share", self.share, 0, 1, "how probable a token has to be, of the best")
        check_choice("evidence.flashdlm.on_reject", self.on_reject, REJECTS)

    def consult(self, view: View, word: Word, guide: Asking) -> Word:
        said = guide(word.token)
        best = said.max(-1)  # the first of equal maxima
        own = said.gather(1, word.token[:, None])
        index = torch.arange(said.shape[1], device=said.device)
        above = ((said > own) | ((said == own) & (index < word.token[:, None]))).sum(-1)
        own = own[:, 0]
        fits = (above < self.k) & (own > -torch.inf) & (own.exp() >= self.share * best.values.exp())
        passes, misfit, first = passed(view, fits)
        if self.on_reject == "dlm":
            return replace(word, accepted=passes | (misfit & first))
        return replace(
            word,
            token=torch.where(misfit, best.indices, word.token),
            confidence=torch.where(misfit, best.values.exp(), word.confidence),
            accepted=passes | misfit,
        )
