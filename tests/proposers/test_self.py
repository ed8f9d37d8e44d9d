"""The backbone's own draft: what it is, what it costs, and that every init that reads proposals takes it."""

from __future__ import annotations

import json

import pytest
import torch

from warmexp.api import planned
from warmexp.io import read_lines
from warmexp.runs.run import run

INITS = {
    "inject": ["init=token_inject", "rho=1", "remask=none"],
    "doubt": ["init=token_inject", "rho=0.5", "remask=linear", "remask.scope=all", "remask.bias=-0.6"],
    "interpolate": ["init=embed_interp", "lambda=0.4", "p=0.5", "init.duration=masked"],
}


@pytest.fixture
def words(checkpoint, quiet_home) -> list[str]:
    return [
        "backbone=checkpoint", f"backbone.path={checkpoint}", "backbone.dtype=float64", "length.canvas_length=24", "length.block_length=8",
        "proposer=self", "tau=0.5", "task.limit=7", "device=cpu", "batch_size=4", f"outputs={quiet_home}/outputs",
    ]  # fmt: skip


def rows(folder) -> list[dict]:
    records = read_lines(folder / "records.jsonl")
    for record in records:
        for part in (record, record["proposal"]):
            part.pop("seconds")
        record.pop("seconds_forward")
        record.pop("remembered_forwards")
    return records


@pytest.mark.parametrize("init", INITS)
def test_the_draft_is_metered_and_read_by_every_init(words, init):
    plan = planned([*words, *INITS[init]])
    summary = run(plan, say=lambda _: None)
    records = read_lines(plan.folder / "records.jsonl")
    for record in records:
        assert record["aux_forwards"] == 1 and record["full_forward_equivalents"] == record["nfe"] + 1
        assert record["token_forwards"] == (record["nfe"] + 1) * (len(plan.prompts[record["id"]]) + 24)
        proposal = record["proposal"]
        assert len(proposal["trust"]) == proposal["tokens"] > 0 and all(0 < t < 1 for t in proposal["trust"])
        assert proposal["straddles"] == [] and proposal["seconds"] > 0 and proposal["cut"] is False
        commits = sum(s == "decoded" for s in record["source"]) + sum(e[3] == "decoded" for e in record["revocations"])
        assert record["nfe"] <= commits
    assert summary["aux_forwards_mean"] == 1 and summary["seconds_propose"] > 0 and summary["oracle"] is False
    assert summary["proposal_accuracy_flexible"] is not None
    assert not (plan.outputs / "proposals").exists(), "it belongs to this backbone and is not stored"


def test_a_cold_start_has_no_auxiliary_forward(words):
    plan = planned([*words, "init=mask"])
    run(plan, say=lambda _: None)
    assert {r["aux_forwards"] for r in read_lines(plan.folder / "records.jsonl")} == {0}


def test_the_draft_is_the_argmax_of_one_forward(words):
    """Against the backbone called directly, one question at a time, with the ids injected as they are."""
    plan = planned([*words, *INITS["inject"]])
    run(plan, say=lambda _: None)
    backbone = plan.backbone.load(torch.device("cpu"))
    for record in read_lines(plan.folder / "records.jsonl"):
        prompt = list(plan.prompts[record["id"]])
        ids = torch.tensor([[*prompt, *[backbone.mask_id] * 24]])
        where = torch.arange(len(prompt), len(prompt) + 24)
        with torch.no_grad():
            logits = backbone(ids, torch.tensor([ids.shape[1]]), torch.zeros(24, dtype=torch.long), where)
        for first, past in ((backbone.mask_id, backbone.mask_id + 1), *backbone.textless):  # what a draft can never say
            logits[:, first:past] = -torch.inf
        probability, best = logits.softmax(-1).max(-1)
        n = next((i for i, token in enumerate(best.tolist()) if token in backbone.end_ids), 24)
        sources = record["source"]
        assert sources == ["injected"] * n + ["decoded"] * (24 - n) and record["ids"][:n] == best[:n].tolist()
        assert record["proposal"]["tokens"] == n
        assert record["proposal"]["trust"] == pytest.approx(probability[:n].tolist(), abs=6e-6)
        assert record["proposal"]["text"] == plan.backbone.tokenizer.decode(best[:n].tolist())


def test_an_end_token_ends_the_draft(words):
    """Any frequent token declared an end token cuts the draft there, and an eos tail goes on from it."""
    first = planned([*words, *INITS["inject"]])
    run(first, say=lambda _: None)
    record = read_lines(first.folder / "records.jsonl")[0]
    backbone, tokenizer = first.backbone.load(torch.device("cpu")), first.backbone.tokenizer
    from warmexp.decode.canvas import Question
    from warmexp.decode.meter import Meter

    backbone.end_ids = (record["ids"][5],)
    question = Question(record["id"], first.prompts[record["id"]])
    first.proposer.tail = "eos"
    meter = Meter(backbone)
    proposal, encoded = first.proposer.draft(meter, [question], tokenizer)[record["id"]]
    n = record["ids"].index(record["ids"][5])
    assert encoded.ids == (*record["ids"][:n], *[backbone.eos_id] * (24 - n))
    assert proposal.end == pytest.approx(torch.tensor(encoded.trust[-1]).log().item(), abs=1e-6)
    assert [row.kind for row in meter.ledger] == ["aux"] and meter.ledger[0].questions == (record["id"],)


def test_the_batch_does_not_matter(words, tmp_path, monkeypatch):
    """Neither the decode batch nor the groups that memory allows."""
    words = [*words, "share=false"]
    one, two = (
        planned([*words, *INITS["doubt"]]),
        planned([*words, *INITS["doubt"], "batch_size=3", f"outputs={tmp_path}/other"]),
    )
    run(one, say=lambda _: None)
    import warmexp.proposers.self_draft as module

    monkeypatch.setattr(module, "_LOGIT_BYTES", 1)
    run(two, say=lambda _: None)
    assert one.run_id == two.run_id and rows(one.folder) == rows(two.folder)


def test_a_resumed_run_drafts_only_what_is_missing(words, tmp_path):
    whole, torn = planned([*words, *INITS["doubt"]]), planned([*words, *INITS["doubt"], f"outputs={tmp_path}/torn"])
    run(whole, say=lambda _: None)
    torn.folder.mkdir(parents=True)
    lines = (whole.folder / "records.jsonl").read_bytes().splitlines(keepends=True)
    (torn.folder / "records.jsonl").write_bytes(b"".join(lines[2:5]))
    run(torn, say=lambda _: None)
    assert rows(torn.folder) == rows(whole.folder)


def test_its_identity_holds_the_backbone_and_the_length(words):
    made = planned([*words, *INITS["inject"]])
    assert (
        made.identity["proposer"]["backbone"] == made.identity["backbone"]
        and made.identity["proposer"]["canvas_length"] == 24
    )
    other = planned([w.replace("canvas_length=24", "canvas_length=32") for w in words] + INITS["inject"])
    assert json.dumps(other.identity["proposer"]) != json.dumps(made.identity["proposer"])
