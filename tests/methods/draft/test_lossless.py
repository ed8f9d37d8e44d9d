"""FreeDave on five hundred questions: not one token is another, in float32."""

from __future__ import annotations

import copy
from dataclasses import replace
from random import Random

import pytest
import torch

from tests.decode.test_seams import COLD
from tests.reference.models import random_models
from warmexp.decode.canvas import Question
from warmexp.decode.loop import stream
from warmexp.methods.draft.freedave import FreeDave
from warmexp.methods.unmask.threshold import Threshold
from warmexp.models.backbone import Backbone


@pytest.mark.slow
def test_five_hundred_questions():
    draw = Random(0)
    questions = [Question(f"q{i}", tuple(draw.randrange(19) for _ in range(1 + i % 7))) for i in range(500)]
    model = copy.deepcopy(random_models(seed=1, vocab_size=20, n_layers=2)[0]).to(torch.float32)
    backbone = Backbone(model, mask_id=19, eos_id=0)
    done = []
    for draft in (FreeDave(1), FreeDave(4), FreeDave(8, eager=True)):
        s = replace(COLD, unmask=Threshold(1.1), draft=draft)
        done.append({one.id: one for one in stream(backbone, questions, s, batch_size=100)})
    plain, *drafted = done
    for found in drafted:
        assert {i: one.ids for i, one in found.items()} == {i: one.ids for i, one in plain.items()}
        assert sum(one.cost.nfe for one in found.values()) < sum(one.cost.nfe for one in plain.values())
