"""The proposal in the prompt: how it is told, that nothing else of the run changes, and that unmask=agreement still
reads it."""

from __future__ import annotations

import pytest
import torch

from warmexp.api import planned, run_overrides
from warmexp.decode.canvas import Question
from warmexp.decode.loop import decode
from warmexp.io import read_lines
from warmexp.methods.init.context import Context

WORDS = ["proposer=oracle", "proposer.tail=eos", "proposer.corruption=0.3", "tau=0.7", "task.limit=4", "device=cpu"]


def test_how_a_proposal_is_told():
    init = Context("[{proposal}] {prompt}")
    assert init.told(("Why?",), " Because. ") == ("[Because.] Why?",)
    assert init.told(("One?", "Yes.", "{proposal} or {prompt}?"), "No.") == (
        "One?",
        "Yes.",
        "[No.] {proposal} or {prompt}?",
    )
    assert init.told(("Why?",), " ") == ("Why?",)


@pytest.mark.slow
def test_it_is_the_cold_start_of_another_prompt(quiet_home):
    """The backbone decodes a masked canvas behind prompt and draft; the record still is of the task's own prompt."""
    made = planned([*WORDS, "init=context"])
    _, folder = run_overrides([*WORDS, "init=context", f"outputs={quiet_home}/out"])
    _, cold = run_overrides([*WORDS[3:], "init=mask", f"outputs={quiet_home}/out"])
    backbone = made.backbone.load(torch.device("cpu"))
    plain = made.strategies.init.template
    for record, other in zip(read_lines(folder / "records.jsonl"), read_lines(cold / "records.jsonl"), strict=True):
        told = plain.replace("{proposal}", record["proposal"]["text"].strip()).replace("{prompt}", record["question"])
        prompt = tuple(made.backbone.tokenizer.encode_prompt(told))
        (alone,) = decode(backbone, [Question(record["id"], prompt)], made.strategies)
        assert list(alone.ids) == record["ids"] and alone.cost.nfe == record["nfe"]
        assert record["token_forwards"] == record["nfe"] * (len(prompt) + 48)
        assert record["prompt_sha256"] == other["prompt_sha256"] and set(record["source"]) == {"decoded"}


@pytest.mark.slow
def test_what_is_told_is_part_of_the_run_and_agreement_reads_it(quiet_home):
    ids = {
        planned([*WORDS, "init=context", *more]).run_id
        for more in ([], ["init.template='{proposal} {prompt}'"], ["unmask=agreement"])
    }
    assert len(ids) == 3
    nfe = {}
    for low in (0.7, 0.1):
        words = [
            *WORDS,
            "init=context",
            "unmask=agreement",
            f"unmask.low={low}",
            "proposer.corruption=0",
            f"outputs={quiet_home}/out",
        ]
        nfe[low] = run_overrides(words)[0]["nfe_mean"]
    assert nfe[0.1] < nfe[0.7]


def test_of_a_long_proposal_no_more_is_told_than_fits_the_canvas(quiet_home):
    words = [*WORDS, "init=context", "length.canvas_length=8", "length.block_length=8", f"outputs={quiet_home}/out"]
    _, folder = run_overrides(words)
    made = planned(words)
    for record in read_lines(folder / "records.jsonl"):
        assert record["proposal"]["cut"]
        prompt = record["token_forwards"] // record["nfe"] - 8
        own = len(made.prompts[record["id"]])
        assert own < prompt <= own + made.strategies.init.longer(made.backbone.tokenizer, 8) + 2
