"""What revision methods cannot be combined with, in one sentence; and that they repair a poor draft's tokens."""

from __future__ import annotations

import pytest

from warmexp.api import planned, run_overrides
from warmexp.errors import UserError

REFUSED = {
    "remask=tolerator cache=dual": ["remask=tolerator", "cache=dual", "cache=none"],
    "remask=wino cache=prefix": ["remask=wino", "cache=prefix", "cache=none"],
    "unmask=ancestral unmask.process=cap": ["unmask.process=cap", "remask=none", "remask=remdm"],
    "unmask=ancestral remask=remdm unmask.steps=9": ["unmask.steps=9", "remask.steps=32", "give remask.steps"],
    "remask=remdm remask.steps=65": ["remask.steps=65", "64", "16 positions", "length.block_length"],
    "unmask=ancestral unmask.steps=1000": ["unmask.steps=1000", "fewer steps"],
    "remask=remdm remask.process=plain": ["remask.process=plain", "cap, rescale, conf, loop"],
    "remask=remdm remask.t_off=0.6": ["remask.t_off=0.6", "(0, 0.55]"],
    "remask=t2m remask.score=low": ["remask.score=low", "low_prob", "t2t"],
    "remask=t2m remask.threshold=2": ["remask.threshold=2", "[0, 1]"],
    "remask=t2m remask.scope=injected": ["remask=t2m", "init=mask", "injects none"],
    "remask=tolerator remask.start=0": ["remask.start=0", "(0, 1]"],
    "remask=saber remask.least=0": ["remask.least=0"],
    "unmask=wino unmask.most=3": ["unmask.most=3", "unmask.least"],
}


@pytest.mark.parametrize("words", REFUSED)
def test_refused_in_one_sentence(words, tmp_path):
    with pytest.raises(UserError) as refused:
        planned([*words.split(), "task.limit=1", f"outputs={tmp_path}"])
    sentence = str(refused.value)
    assert all(part in sentence for part in REFUSED[words]) and "\n" not in sentence, sentence


WARM = ["init=token_inject", "proposer=lab_weak", "task.split=calibration", "task.limit=16", "batch_size=16"]
REPAIRS = {
    "remask=t2m": 1.0,
    "remask=wino unmask=wino": 1.0,
    "remask=tolerator remask.rounds=4": 1.0,
    "remask=saber unmask=saber": 0.5,
    "remask=rcr unmask=topk unmask.steps_per_block=6": 0.5,
    "remask=remdm remask.eta=0.1 remask.steps=10": 0.5,
}


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """How many of 16 answers are right, at an injection rate, by words and where nothing is revised."""
    known = {}

    def found(words: str, rho: float) -> int:
        if (words, rho) not in known:
            folder = tmp_path_factory.mktemp("run")
            summary, _ = run_overrides([*WARM, f"rho={rho}", *words.split(), f"outputs={folder}"])
            known[words, rho] = round(16 * summary["accuracy_strict"])
        return known[words, rho]

    return found


@pytest.mark.parametrize("words", [pytest.param(w, marks=pytest.mark.slow if i else ()) for i, w in enumerate(REPAIRS)])
def test_injected_tokens_of_a_poor_draft_are_repaired(words, right):
    rho = REPAIRS[words]
    assert right(words, rho) > right("remask=none", rho)
