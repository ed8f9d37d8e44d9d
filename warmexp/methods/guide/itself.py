"""The backbone as its own guide."""

from __future__ import annotations

from dataclasses import dataclass

from warmexp.decode.strategy import Guide, Setup
from warmexp.errors import UserError


@dataclass
class SelfGuide(Guide):
    """The backbone's own weights, read from left to right: log p(x_i | x_<i), the hidden state at i-1 predicting i.

    Published guides are other, smaller models (checkpoint.py). A backbone can be one where its shifted logits
    have been trained from left to right, too: the lab's has seen a share of autoregressive batches to the end; Dream
    began as such a model and has not seen any since. Its forwards cost what the backbone's own do per position.
    """

    guides = True

    def check(self, setup: Setup) -> None:
        super().check(setup)
        backbone = setup.parts.get("backbone")
        if backbone is not None and backbone.alignment != "shifted":
            raise UserError(
                f"{setup.said('guide')} reads a backbone from left to right by its shifted logits, and"
                f" {setup.said('backbone')} has aligned ones, which say nothing there: choose guide=none, or a backbone"
                " such as lab or dream_7b."
            )
