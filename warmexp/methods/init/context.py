"""A control: the proposal is in the prompt, and the canvas starts cold.

What a draft is worth as something to read, as in plan conditioning (Think First, Diffuse Fast, arXiv 2603.13243),
beside what it is worth as something to start from. For backbones that follow instructions; the lab's has never seen a
draft in a prompt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from warmexp.decode.canvas import Question, Start
from warmexp.decode.strategy import Init
from warmexp.errors import UserError
from warmexp.methods.init.token_inject import slots
from warmexp.models.tokenizer import BackboneTokenizer

_PLACES = ("{prompt}", "{proposal}")


@dataclass
class Context(Init):
    """The prompt becomes `template` with the prompt and the proposal's text in it (of a conversation: the user's last
    turn); x_i = M for every i. An empty proposal leaves the prompt alone; one that is longer than the canvas is cut to
    it.

    The backbone's own template (its chat format) stands around this one. The proposal can still be read by
    unmask=agreement.
    """

    template: str = "A draft, which may be wrong: {proposal}\n\n{prompt}"
    reads_proposal = True
    tells = True

    def __post_init__(self) -> None:
        if any(self.template.count(place) != 1 for place in _PLACES):
            raise UserError(f"init.template={self.template!r} must contain {' and '.join(_PLACES)}, each exactly once.")

    def start(self, question: Question, length: int, seed: int) -> Start:
        return Start(slots(question, length)[0], np.zeros(length, dtype=bool))

    def told(self, turns: Sequence[str], proposal: str) -> tuple[str, ...]:
        """A conversation, the user's turn last, with the proposal's text told in it."""
        said = {"{prompt}": turns[-1], "{proposal}": proposal.strip()}
        last = "".join(said.get(part, part) for part in re.split(r"(\{prompt\}|\{proposal\})", self.template))
        return (*turns[:-1], last) if said["{proposal}"] else tuple(turns)

    def longer(self, tokenizer: BackboneTokenizer, canvas_length: int) -> int:
        """How many tokens a prompt may grow by, up to the few by which texts that are encoded as one differ from their
        sum."""
        return canvas_length + len(tokenizer.encode(re.sub(r"\{prompt\}|\{proposal\}", "", self.template)))
