"""A question's line of records.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate
from typing import Any

from warmexp.config.plan import Plan
from warmexp.decode.batch import Decoded
from warmexp.models.tokenizer import BackboneTokenizer
from warmexp.proposers.proposal import Encoded, Proposal
from warmexp.proposers.store import prompt_sha256
from warmexp.runs.readout import correct_after
from warmexp.secrets import is_secret, secret_spans, without_secrets
from warmexp.tasks.response import response_text, uncut_text
from warmexp.tasks.task import TaskQuestion


def record_of(
    plan: Plan, question: TaskQuestion, result: Decoded, proposal: tuple[Proposal, Encoded] | None
) -> dict[str, Any]:
    """One line of records.jsonl: everything that the point, the trace and the diagnosis need.

    `strict` and `flexible` score `response`, `strict_uncut` and `flexible_uncut` score `response_uncut`;
    tasks/response.py says what the two texts are and who scores which. correct_after: readout.correct_after.
    right_tokens: see _right_tokens.
    """
    tokenizer, task = plan.backbone.tokenizer, plan.task
    response, uncut = (text(tokenizer, result.ids, task.stop) for text in (response_text, uncut_text))
    extracted = {**task.extract(response), **{f"{name}_uncut": value for name, value in task.extract(uncut).items()}}
    record = {
        "id": question.id,
        "prompt_sha256": prompt_sha256(question),
        "question": question.prompt,
        "target": question.target,
        "proposal": None if proposal is None else _proposal(plan, question, *proposal, result),
        "response": response,
        "response_uncut": uncut,
        "extracted": extracted,
        "correct": {name: task.matches(value, question.target) for name, value in extracted.items()},
        "correct_after": correct_after(
            result, () if proposal is None else proposal[1].ids, partial(_correct, plan, question)
        ),
        "right_tokens": _right_tokens(plan, question, result.ids),
        "nfe": result.cost.nfe,
        "rows": result.cost.rows,
        **({"commit_forwards": result.cost.commits} if plan.strategies.cache.blocks else {}),
        "no_op": result.cost.no_op,
        "aux_forwards": result.cost.aux_forwards,
        "full_forward_equivalents": result.cost.full_forward_equivalents,
        "token_forwards": result.cost.token_forwards,
        **(_guided(result) if plan.strategies.guide.guides else {}),
        "response_tokens": len(tokenizer.until_end(result.ids)),
        "seconds": round(result.seconds, 6),
        "seconds_forward": round(result.cost.forward_seconds, 6),
        "remembered_forwards": result.cost.remembered,
        "ids": list(result.ids),
        "commit_iteration": list(result.commit_iteration),
        "source": list(result.source),
        "confidence": [None if c is None else round(c, 4) for c in result.confidence],
        "revocations": [list(event) for event in result.revocations],
        "nats": [round(value, 4) for value in result.nats],
    }
    moves = {"moves": [list(move) for move in result.moves]} if plan.strategies.length.resizes else {}
    return without_a_secret(record | moves | _watched(plan, question, result), tokenizer)


def _guided(result: Decoded) -> dict[str, Any]:
    """What a guide has cost."""
    cost = result.cost
    return {
        "guide_forwards": cost.guide_forwards,
        "guide_token_forwards": cost.guide_token_forwards,
        "seconds_guide": round(cost.guide_seconds, 6),
    }


def _watched(plan: Plan, question: TaskQuestion, result: Decoded) -> dict[str, Any]:
    """What a watcher has noted, and the answer that it concludes from that with whether it is right; nothing without a
    watcher."""
    if not plan.strategies.watch.looks:
        return {}
    answer = plan.strategies.watch.conclude(result.notes)
    right = None if answer is None else plan.task.matches(answer, question.target)
    return {"watched": {"notes": list(result.notes), "answer": answer, "correct": right}}


def without_a_secret(record: dict[str, Any], tokenizer: BackboneTokenizer) -> dict[str, Any]:
    """The record, already scored, without secrets: neither in its texts nor spelled by its tokens, which become mask
    tokens there."""
    proposal = record["proposal"]
    texts = [
        record["question"],
        record["target"],
        tokenizer.decode(record["ids"]),
        proposal["text"] if proposal else "",
    ]
    if not is_secret("\n".join(texts)):
        return record
    record = without_secrets(record)
    for holder in (record, record["proposal"]):
        if holder:
            hidden = _spelled(holder["ids"], tokenizer)
            holder["ids"] = [tokenizer.mask_id if i in hidden else token for i, token in enumerate(holder["ids"])]
    gone = {i for i, token in enumerate(record["ids"]) if token == tokenizer.mask_id}
    record["revocations"] = [
        [n, i, tokenizer.mask_id if i in gone else token, *rest] for n, i, token, *rest in record["revocations"]
    ]
    return record


def _spelled(ids: Sequence[int], tokenizer: BackboneTokenizer) -> set[int]:
    """The positions whose tokens spell a secret, or a part of one."""
    pieces = [tokenizer.piece(i) for i in ids]
    ends = list(accumulate(map(len, pieces)))
    spans = secret_spans("".join(pieces))
    return {
        i for i, end in enumerate(ends) if any(start < end and end - len(pieces[i]) < stop for start, stop in spans)
    }


def _correct(plan: Plan, question: TaskQuestion, ids: Sequence[int]) -> dict[str, bool]:
    extracted = plan.task.extract(response_text(plan.backbone.tokenizer, ids, plan.task.stop))
    return {name: plan.task.matches(value, question.target) for name, value in extracted.items()}


def _right_tokens(plan: Plan, question: TaskQuestion, ids: Sequence[int]) -> int | None:
    """How many of the first tokens, an end token included, begin some correct solution; None where the task cannot
    tell."""
    if not hasattr(plan.task, "right_tokens"):
        return None
    tokenizer = plan.backbone.tokenizer
    before = tokenizer.until_end(ids)
    return plan.task.right_tokens(question.id, [tokenizer.piece(i) for i in before], len(before) < len(ids))


def _proposal(
    plan: Plan, question: TaskQuestion, proposal: Proposal, encoded: Encoded, result: Decoded
) -> dict[str, Any]:
    """ids: the proposed tokens, of which the first `written` are the text's. trust: one number for each of them to five
    digits, null for 1.0 throughout; calibrated: the same after a fitted map, null without one. score: what an init that
    verifies read of each, to four digits, null without. straddles: the positions that do."""
    return {
        "text": proposal.text,
        "tokens": len(encoded.ids),
        "ids": list(encoded.ids),
        "written": encoded.written,
        "cut": encoded.cut,
        **{
            f"correct_{name}": plan.task.matches(value, question.target)
            for name, value in plan.task.extract(proposal.text).items()
        },
        "right_tokens": _right_tokens(plan, question, encoded.ids),
        "trust": None if all(t == 1.0 for t in encoded.trust) else [round(t, 5) for t in encoded.trust],
        "calibrated": encoded.calibrated and [round(t, 5) for t in encoded.calibrated],
        "score": [None if s is None else round(s, 4) for s in result.columns.get("score", ())[: len(encoded.ids)]]
        or None,
        "straddles": [i for i, straddles in enumerate(encoded.straddles) if straddles],
        "seconds": round(proposal.seconds, 6),
    }


def texts_of(tokenizer: BackboneTokenizer, records: list[dict[str, Any]]) -> dict[int, str]:
    """Token id -> its text, for every token of the records, so that a canvas can be shown without the checkpoint."""
    ids = {i for r in records for i in r["ids"]} | {event[2] for r in records for event in r["revocations"]}
    ids |= {i for r in records if r["proposal"] for i in r["proposal"].get("ids", ())}
    return {i: tokenizer.piece(i) for i in sorted(ids)}
