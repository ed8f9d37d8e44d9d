"""One run: questions → proposals → decode → score → records → summary, in a folder that a kill at any moment cannot
spoil."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout
from omegaconf import OmegaConf

from warmexp.config.plan import Plan, questions_sha256
from warmexp.console import show
from warmexp.decode.canvas import Question
from warmexp.decode.loop import stream
from warmexp.decode.memory import Memory, SharingMeter
from warmexp.decode.meter import Meter
from warmexp.decode.strategy import Strategies
from warmexp.errors import UserError
from warmexp.io import append_lines, write_json, write_text
from warmexp.locks import Lock
from warmexp.models.backbone import Backbone
from warmexp.models.plain import PlainBackbone
from warmexp.proposers.hf import free_models
from warmexp.proposers.proposal import Asked, Encoded, Proposal, encode, fit
from warmexp.proposers.store import prompt_sha256, proposals_for
from warmexp.runs.batches import empty_cache, gathered, shrinking
from warmexp.runs.circumstances import other_seconds
from warmexp.runs.console import ProgressBar
from warmexp.runs.devices import placed
from warmexp.runs.environment import environment, keep_float32, no_cudnn_attention
from warmexp.runs.footprint import Footprint, fitting
from warmexp.runs.members import merged
from warmexp.runs.record import record_of, texts_of
from warmexp.runs.stored import finished, read_unfinished
from warmexp.runs.summary import summarise
from warmexp.runs.workers import end_workers, on_several
from warmexp.secrets import without_secrets
from warmexp.tasks.task import TaskQuestion

# Seconds between two writes of finished records: a write waits for the disk, and a kill costs what was finished since
# the last.
SAVE_EVERY = 0.5
# The last backbone stays loaded, so the jobs of a sweep in one process load it once.
_resident: dict[str, Backbone] = {}
_memory = Memory()  # of its forwards


# Asked while a run is decoded why it should stop, None where it should not: given the ids of its questions in the order
# in which they are decoded, and the records of those that are finished.
Stop = Callable[[Sequence[str], dict[str, dict[str, Any]]], str | None]


class Locked(UserError):
    """Another process is working on the run."""


class Stopped(UserError):
    """Whoever asked for the run wants no more of it. Its records are kept."""


def run(plan: Plan, say: Callable[[str], None] = show, wait: bool = False, stop: Stop | None = None) -> dict[str, Any]:
    """Carry out a plan and return its summary. A finished run is reused at once; an unfinished one goes on from its
    last record.

    wait: for another process that is working on the same run, and take over what it leaves.
    Raises:
        Locked: another process is working on it, and `wait` is false.
        Stopped: `stop` said why.
    """
    for warning in plan.warnings:
        say(f"warning: {warning}")
    with _locked(plan, say, wait):
        done = finished(plan.folder)
        if done is not None:
            seconds = other_seconds(
                plan.folder, {"batch_size": plan.batch_size, "engine": plan.engine, "share": plan.share}
            )
            say(
                f"reused {plan.folder} (finished earlier; delete the folder to run it"
                f" again{f'; {seconds}' if seconds else ''})"
            )
            plan.tracker.mirror(plan.run_id, _stored_config(plan), plan.folder)
            if plan.tracker.note:
                say(plan.tracker.note)
            return done
        with placed(plan, say) as plan:
            return _run(plan, say, stop)


@contextmanager
def _locked(plan: Plan, say: Callable[[str], None], wait: bool) -> Iterator[None]:
    """The run's folder, made and held. The operating system lets go of it when the process ends, however it ends."""
    folder = plan.folder
    lock = Lock(folder / ".lock", say)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if not wait:
                raise Locked(
                    f"{folder} is being worked on by another process: wait for it, then run the same command to reuse"
                    " it."
                ) from None
            say(f"waiting for {folder}: another process is working on it")
            lock.acquire(poll_interval=0.2)
    except OSError as error:
        raise UserError(
            f"outputs={plan.outputs} cannot be written ({error.strerror}): choose another outputs=FOLDER."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _run(plan: Plan, say: Callable[[str], None], stop: Stop | None) -> dict[str, Any]:
    folder, tracker = plan.folder, plan.tracker
    config = _stored_config(plan)
    write_text(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(without_secrets(config))))
    write_json(
        folder / "questions.json", {"sha256": questions_sha256(plan.questions), "ids": [q.id for q in plan.questions]}
    )
    if plan.strategies.init.reads_proposal and plan.proposer.calibrator:
        write_json(folder / "calibration.json", plan.proposer.calibrator.to_json())
    tracker.start(plan.run_id, config, folder)
    keep_float32()
    no_cudnn_attention()
    try:
        proposals = _proposals(plan, say)
        records = _decode_all(plan, proposals, say, stop)
        summary = summarise(plan.run_id, records, oracle=plan.oracle, questions=questions_sha256(plan.questions))
        figures = _figures(folder, records)
        write_json(folder / "summary.json", summary)  # last: its being there means that everything else is
    except BaseException as error:
        tracker.fail(str(error) if isinstance(error, UserError) else type(error).__name__)
        raise
    tracker.finish(summary, records, figures)
    if tracker.note:
        say(tracker.note)
    return summary


def _stored_config(plan: Plan) -> dict[str, Any]:
    return {**plan.config, "run_id": plan.run_id, "identity": plan.identity, "labels": _labels(plan.strategies)}


def _labels(s: Strategies) -> dict[str, Any]:
    """What figures and tables write of the methods, by the methods' own word, and the key along which their curve
    runs."""
    shown = {field.name: getattr(s, field.name) for field in fields(s)}
    told = {
        name: " ".join(filter(None, (o.shown() for o in one))) if isinstance(one, tuple) else one.shown()
        for name, one in shown.items()
    }
    return {**told, "curve": s.unmask.curve and f"unmask.{s.unmask.curve}"}


def _proposals(plan: Plan, say: Callable[[str], None]) -> dict[str, tuple[Proposal, Encoded]]:
    """Proposals first and in one go; the proposer is freed before the backbone is loaded, unless it is to stay
    resident.

    What the backbone itself proposes comes later, batch by batch.
    """
    if not plan.strategies.init.reads_proposal:
        return {}
    if not plan.proposer.resident:
        free_models()  # of an earlier job that kept its own
    if plan.proposer.from_backbone:
        return {}
    make_room = (lambda: None) if plan.proposer.resident else _free_backbone
    asked = [Asked(q.id, q.prompt, q.solution, q.question, q.turns) for q in plan.questions]
    plan.proposer.say = say
    with ProgressBar(len(asked), f"proposing ({plan.choices['proposer']})") as bar:
        store = plan.outputs / "proposals"
        texts = proposals_for(
            plan.proposer, asked, store, plan.device, plan.seed, lambda done, _: bar.update(done), make_room
        )
    length, tokenizer = plan.strategies.length.canvas_length, plan.backbone.tokenizer
    fitted = {q.id: fit(texts[q.id], q.prompt, tokenizer) for q in plan.questions}
    judge, tail = plan.proposer.judge, plan.proposer.tail
    encoded = {i: (p, judge(encode(p, tokenizer, length, tail), tokenizer)) for i, p in fitted.items()}
    if all(not e.ids for _, e in encoded.values()):
        say("warning: every proposal is empty, so this warm start is a cold start.")
    return encoded


def _decode_all(
    plan: Plan,
    proposals: dict[str, tuple[Proposal, Encoded]],
    say: Callable[[str], None],
    stop: Stop | None,
) -> list[dict[str, Any]]:
    """Decode what has no record yet, append a record per question, and leave the file in the task's order."""
    file = plan.folder / "records.jsonl"
    records = read_unfinished(plan.folder, {q.id: prompt_sha256(q) for q in plan.questions})
    pending = [q for q in plan.questions if q.id not in records]
    if records and pending:
        say(f"resumed {plan.folder}: {len(records)} of {len(plan.questions)} questions were already decoded")
    if pending:
        # Questions of similar length share a batch, and the longest come first: what does not fit is found out at once.
        ordered = sorted(plan.questions, key=lambda q: (-len(plan.prompts[q.id]), q.id))
        order = [q.id for q in ordered]
        ordered = [q for q in ordered if q.id not in records]
        on = on_several if len(plan.devices) > 1 else _on_one
        with ProgressBar(len(plan.questions), plan.run_id) as bar:
            decoding = on(plan, ordered, proposals.get, partial(_note_environment, plan), say)
            for rows in gathered((record for _, record in decoding), SAVE_EVERY):
                append_lines(file, rows)
                records |= {record["id"]: record for record in rows}
                nfe, accuracy = _running(records)
                bar.update(len(records), nfe, accuracy)
                plan.tracker.progress(len(records), len(plan.questions), nfe, accuracy)
                if stop and len(records) < len(order) and (why := stop(order, records)):
                    raise Stopped(why)
    ordered_records = [records[q.id] for q in plan.questions]
    write_text(file, "".join(_line(record) for record in ordered_records))
    write_json(plan.folder / "tokens.json", texts_of(plan.backbone.tokenizer, ordered_records))
    return ordered_records


def _on_one(
    plan: Plan,
    questions: Sequence[TaskQuestion],
    proposal_of: Callable[[str], tuple[Proposal, Encoded] | None],
    note: Callable[..., None],
    say: Callable[[str], None],
) -> Iterator[tuple[TaskQuestion, dict[str, Any]]]:
    """As workers.on_several, in this process."""
    end_workers()
    backbone = loaded(plan)
    tokens = longest_row(plan, questions)
    note(environment(plan.device, plan.identity, backbone, tokens))
    yield from decoded(plan, backbone, questions, proposal_of, min(plan.batch_size, len(questions)), tokens, say)


def longest_row(plan: Plan, questions: Sequence[TaskQuestion]) -> int:
    """Tokens of the longest prompt and its canvas."""
    return plan.strategies.length.canvas_length + max(len(plan.prompts[q.id]) for q in questions)


def _note_environment(plan: Plan, facts: dict[str, Any], devices: Sequence[dict[str, Any]] = ()) -> None:
    """One device's facts; of several, what each says of itself too."""
    if devices:
        own = ("device", "threads", "dtype", "attention", "gpu", "gpu_memory", "compute_capability")
        each = [{name: one[name] for name in own if name in one} for one in devices]
        facts = {**facts, "device": ",".join(plan.devices), "devices": each}
    write_json(plan.folder / "environment.json", facts)


def _remedy(plan: Plan, tokens: int) -> str:
    """tokens: of the longest row."""
    narrower = " backbone.dtype=bfloat16," if plan.backbone.dtype in ("float64", "float32") else ""
    alone = " proposer.resident=false," if plan.strategies.init.reads_proposal and plan.proposer.resident else ""
    nothing_kept = " cache=none," if plan.strategies.cache.keeps else ""
    return (
        f"device={plan.device} cannot hold the backbone and one question of {tokens} tokens, of which"
        f" length.canvas_length={plan.strategies.length.canvas_length}; free memory there, or choose another"
        f" device=…,{narrower}{alone}{nothing_kept} a smaller length.canvas_length or shorter prompts; what was"
        " decoded so far is kept, and the same command goes on from it."
    )


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n"


def _running(records: dict[str, dict[str, Any]]) -> tuple[float, float]:
    n = len(records)
    return sum(r["nfe"] for r in records.values()) / n, sum(r["correct"]["flexible"] for r in records.values()) / n


def loaded(plan: Plan) -> Backbone:
    """The plan's backbone on its device, with its engine's forward; still there from the run before, or loaded."""
    engine = "fast" if plan.engine == "plain" else plan.engine
    key = f"{plan.identity['backbone']} on {plan.device}, {engine}"
    if key not in _resident:
        _free_backbone()
        if plan.device.startswith("cuda:"):
            torch.cuda.set_device(plan.device)  # what names no device goes there too, not to the first one
        _resident[key] = plan.backbone.load(torch.device(plan.device), engine)
    return PlainBackbone(**vars(_resident[key])) if plan.engine == "plain" else _resident[key]


def _free_backbone() -> None:
    end_workers()
    free_own_backbone()


def free_own_backbone() -> None:
    """Of this process; the processes of other devices keep theirs."""
    _resident.clear()
    _memory.clear()
    empty_cache()


def decoded(
    plan: Plan,
    backbone: Backbone,
    questions: Iterable[TaskQuestion],
    proposal_of: Callable[[str], tuple[Proposal, Encoded] | None],
    batch_size: int,
    tokens: int,
    say: Callable[[str], None],
) -> Iterator[tuple[TaskQuestion, dict[str, Any]]]:
    """Questions and their records in the order in which they are finished, `batch_size` decoded at a time or what fits
    in memory.

    tokens: of the longest row.
    """
    own = plan.backbone
    footprint = Footprint(own.config, plan.strategies, tokens, backbone.dtype, backbone.device, own.quantization)
    size = 1 if plan.engine == "plain" else fitting(footprint, batch_size, say)
    return shrinking(questions, size, partial(_decode_some, plan, backbone, proposal_of), say, _remedy(plan, tokens))


def _decode_some(
    plan: Plan,
    backbone: Backbone,
    proposal_of: Callable[[str], tuple[Proposal, Encoded] | None],
    questions: Iterable[TaskQuestion],
    size: int,
) -> Iterator[tuple[TaskQuestion, dict[str, Any]]]:
    def metered() -> Meter:
        return SharingMeter(backbone, memory=_memory) if plan.shares else Meter(backbone)

    meter = metered()
    drafts = plan.strategies.init.reads_proposal and plan.proposer.from_backbone
    taken: dict[str, tuple[TaskQuestion, tuple[Proposal, Encoded] | None]] = {}

    def asked() -> Iterator[Question]:
        waiting = iter(questions)
        while some := list(islice(waiting, size if drafts else 1)):
            proposals = _drafted(plan, meter, some) if drafts else {q.id: proposal_of(q.id) for q in some}
            for question in some:
                taken[question.id] = question, proposals[question.id]
                yield _question(plan, question, proposals[question.id])

    if not plan.strategies.ensemble.several:
        for result in stream(backbone, asked(), plan.strategies, plan.seed, meter, size):
            question, proposal = taken.pop(result.id)
            yield question, record_of(plan, question, result, proposal)
        return
    waiting = asked()
    while some := list(islice(waiting, size)):
        records: dict[str, list[dict[str, Any]]] = {question.id: [] for question in some}
        for strategies, seed in plan.strategies.ensemble.members(plan.strategies, plan.seed):
            for result in stream(backbone, some, strategies, seed, meter, size):
                records[result.id].append(record_of(plan, taken[result.id][0], result, taken[result.id][1]))
            meter = metered()  # the first has counted what the proposals took
        for i, rows in records.items():
            yield taken.pop(i)[0], merged(rows, plan.task.matches)


def _drafted(plan: Plan, meter: Meter, questions: Sequence[TaskQuestion]) -> dict[str, tuple[Proposal, Encoded]]:
    """What the backbone itself proposes."""
    tokenizer = plan.backbone.tokenizer
    drafted = plan.proposer.draft(meter, [Question(q.id, plan.prompts[q.id]) for q in questions], tokenizer)
    return {i: (proposal, plan.proposer.judge(encoded, tokenizer)) for i, (proposal, encoded) in drafted.items()}


def _question(plan: Plan, question: TaskQuestion, proposal: tuple[Proposal, Encoded] | None) -> Question:
    if proposal is None:
        return Question(question.id, plan.prompts[question.id])
    encoded = proposal[1]
    trust = encoded.trust if encoded.calibrated is None else encoded.calibrated
    prompt = _told(plan, question, *proposal) if plan.strategies.init.tells else plan.prompts[question.id]
    return Question(question.id, prompt, encoded.ids, trust, encoded.written, encoded.numeric, encoded.likely)


def _told(plan: Plan, question: TaskQuestion, proposal: Proposal, encoded: Encoded) -> tuple[int, ...]:
    """The prompt with the proposal in it, of which no more is told than would fit on the canvas."""
    tokenizer, limit, canvas = (
        plan.backbone.tokenizer,
        plan.backbone.config.max_sequence_length,
        plan.strategies.length.canvas_length,
    )
    text = tokenizer.decode(list(encoded.ids)) if encoded.cut else proposal.text
    ids = tuple(tokenizer.encode_turns(plan.strategies.init.told(question.turns or (question.prompt,), text)))
    if len(ids) + canvas > limit:
        raise UserError(
            f"{question.id} has {len(ids)} prompt tokens with the proposal in it; with length.canvas_length={canvas}"
            f" that is more than the backbone's max_sequence_length={limit}: choose a smaller canvas, or another init"
            f" than {plan.choices['init']}."
        )
    return ids


def _figures(folder: Path, records: list[dict[str, Any]]) -> list[Path]:
    from warmexp.runs.figure import nfe_histogram

    path = folder / "figures" / "nfe.png"
    nfe_histogram(records, path)
    return [path]
