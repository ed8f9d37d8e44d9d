"""Logits that are no numbers stop a run at the first forward, in one sentence; nothing of it is given out."""

from __future__ import annotations

import re
from contextlib import nullcontext

import pytest
import torch

from tests.simulated import methods
from tests.simulated.cuda import SimulatedCuda
from warmexp.decode.canvas import Question
from warmexp.decode.loop import stream
from warmexp.decode.meter import Meter
from warmexp.errors import UserError

WAYS = {
    "cold": ["init=mask"],
    "sampled": ["init=mask", "unmask.temperature=0.7"],
    "dual": ["init=mask", "cache=dual"],
    "verified": ["init=verified"],
    "remask": ["init=token_inject", "remask=linear"],
}


def spoilt(
    words: list[str], device: str, number: float, after: int = 0, dtype: torch.dtype = torch.float64
) -> tuple[list, Meter]:
    """What is given out, the error last, if a weight is `number` from a forward on; and the meter."""
    backbone = methods.backbone(device, dtype=dtype)

    class Spoiling(Meter):
        def forward(self, *arguments, **more):
            if len(self.ledger) == after:
                with torch.inference_mode(False), torch.no_grad():
                    backbone.transformer.blocks[1].ff_out.weight[3, 4] = number
            return super().forward(*arguments, **more)

    meter, given = Spoiling(backbone), []
    try:
        for one in stream(backbone, iter(methods.questions()), methods.strategies(tuple(words)), 0, meter, 2):
            given.append(one)
    except UserError as error:
        given.append(str(error))
    return given, meter


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("way", WAYS)
def test_the_first_forward_that_is_not_finite(way, device, number):
    with SimulatedCuda() if device == "cuda" else nullcontext():
        given, meter = spoilt(WAYS[way], device, number)
        assert len(given) == 1 and "q0: the backbone's logits at its forward 1 are not finite" in given[0]
        assert len(meter.ledger) == 1 and "rope_theta" in given[0]
        meter.backbone = None


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_was_finished_before_is_given_out(device):
    with SimulatedCuda() if device == "cuda" else nullcontext():
        sound, meter = spoilt(WAYS["cold"], device, 0.0, after=10**6)
        first = next(
            i for i, row in enumerate(meter.ledger) if "q2" in row.questions
        )  # in the place of one that was finished
        given, meter = spoilt(WAYS["cold"], device, float("nan"), after=first + 1)
        assert [one.ids for one in given[:-1]] == [one.ids for one in sound[: len(given) - 1]] and len(given) > 1
        assert "at its forward" in given[-1] and len(meter.ledger) == first + 2
        question, n = re.match(r"(\w+): the backbone's logits at its forward (\d+) ", given[-1]).groups()
        assert int(n) == sum(question in row.questions for row in meter.ledger) < len(meter.ledger)
        meter.backbone = None


def test_numbers_beyond_float16():
    given, _ = spoilt(["init=mask"], "cpu", 6e4, dtype=torch.float16)
    assert isinstance(given[-1], str) or all(isinstance(one.ids, tuple) for one in given)
    backbone = methods.backbone(dtype=torch.float16)
    with torch.no_grad():
        backbone.transformer.ff_out.weight.mul_(1e4)
    with pytest.raises(UserError, match="float16 ends at 65504"):
        list(stream(backbone, iter(methods.questions()), methods.strategies(("init=mask",)), 0, Meter(backbone)))


@pytest.mark.parametrize("trust", [float("nan"), 1.5, -0.1])
def test_trust_that_is_no_probability(trust):
    backbone = methods.backbone()
    question = Question("q", (1, 2), (3, 4), (0.5, trust))
    with pytest.raises(UserError, match=r"q: the trust .* \[0, 1\]"):
        list(stream(backbone, iter([question]), methods.strategies(("init=token_inject",)), 0, Meter(backbone)))
