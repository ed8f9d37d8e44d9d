"""What a scaffold's slots may hold, what credit counts, and what a vote of seeds needs, by hand."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from warmexp.api import planned
from warmexp.decode.reading import Word
from warmexp.errors import UserError
from warmexp.methods.evidence.credit import Credit
from warmexp.methods.init.scaffold import Scaffold

PIECES = {1: "a", 2: 'x"y', 3: "\\", 4: "b\n", 5: "cd", 6: "{", 7: "}", 8: " "}
TEXTS = SimpleNamespace(
    end=0, stop=(), pieces=lambda: PIECES, special=lambda: (0, 9), encode=lambda text: [1] * len(text)
)


def test_no_token_of_a_slot_has_a_character_that_ends_a_json_string(tmp_path):
    """Wherever in the token it stands."""
    (tmp_path / "schema.json").write_text(json.dumps({"properties": {"name": {"tokens": 2}}}))
    rule = Scaffold(schema=str(tmp_path / "schema.json"))
    rule.bind(TEXTS, 64)
    assert rule.rules_out == (0, 2, 3, 4, 9)
    plain = Scaffold("{x:2}", without="c")
    plain.bind(TEXTS, 8)
    assert plain.rules_out == (0, 5, 9)


def test_a_template_that_fits_exactly_fits():
    Scaffold("ab{x:2}").bind(TEXTS, 4)
    Scaffold("ab{x}").bind(TEXTS, 3)
    for template, length in (("ab{x:2}", 3), ("ab{x}", 2)):
        with pytest.raises(UserError, match=f"canvas_length={length}"):
            Scaffold(template).bind(TEXTS, length)


def seen(masked: list[bool], credit: list[list[float]]) -> SimpleNamespace:
    """A view of one position per row."""
    return SimpleNamespace(
        masked=np.array(masked),
        recall=lambda name: torch.tensor(credit),
        on_device=lambda a, device: torch.from_numpy(a),
    )


def test_credit_is_earned_by_masks_alone_and_decides_with_what_was_earned_before():
    logits = torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 0.0]], dtype=torch.float64)
    word = Word(logits, logits.argmax(-1), logits.softmax(-1).max(-1).values)
    rule = Credit(alpha=1.0, beta=0.5, gamma=1.0)
    view = seen([True, False], [[8.0, 0.0, 0.0], [8.0, 0.0, 0.0]])
    p = logits[0].softmax(-1)[1]
    credit = torch.tensor([[4.0, float(p), 0.0], [4.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(rule.measure(view, word)["credit"], credit)
    said = rule.weigh(view, word)
    assert said.token.tolist() == [0, 1], (
        "token 0 by what it was credited with before; a visible position keeps its own"
    )
    expected = (logits + credit.log1p()).softmax(-1)[0, 0]
    torch.testing.assert_close(said.confidence, torch.stack([expected, word.confidence[1]]))


def test_credit_outlives_the_token_that_was_taken_back():
    """What a position has earned is about the position: a revocation does not wipe it."""
    assert not Credit().columns["credit"].reset


@pytest.mark.parametrize(
    ("words", "drawn"),
    [
        ("", False),
        ("unmask.temperature=0.5", True),
        ("init=token_inject proposer=oracle", True),
        ("remask=linear remask.scope=decoded", True),
    ],
)
def test_seeds_vote_where_something_is_drawn(words, drawn, tmp_path):
    line = ["ensemble=self_consistency", *words.split(), "task.limit=1", f"outputs={tmp_path}"]
    if drawn:
        assert planned(line).strategies.ensemble.several
    else:
        with pytest.raises(UserError, match="nothing here is drawn"):
            planned(line)
