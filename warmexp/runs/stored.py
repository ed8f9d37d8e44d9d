"""What stands in a run's folder, read and checked: the one schema of a record and of a summary.

A folder may come from a process that was killed, from a full disk, an editor or somebody else. Whatever reads one reads
it here, so that a line that is not what it should be is named, and nothing behind this module has to ask whether a
number is one. Records of earlier versions lack keys: what they have must be right, and each reader says which keys it
cannot do without. pydantic parses and checks a line in one pass, without numbers that are not finite and with a limit
to nesting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Required

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from warmexp.errors import UserError
from warmexp.io import read_bytes, read_json, read_lines
from warmexp.jsonl import BadLine

_STRICT = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)
_MOST = 2**31  # of anything that is counted
FOLDER = r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]{0,199}$"  # the name of a folder of a run, which is not hidden and lies nowhere else

Count = Annotated[int, Field(ge=0, le=_MOST)]
Forward = Annotated[int, Field(ge=-1, le=2**20)]  # -1: before the first
Cost = Annotated[int, Field(ge=0, le=10**15)] | Annotated[float, Field(ge=0, le=1e15)]
Share = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]
Name = Annotated[str, Field(min_length=1, max_length=10_000)]
Source = Annotated[str, Field(max_length=100)]


class Verdicts(TypedDict, total=False):
    __pydantic_config__ = _STRICT
    strict: bool
    flexible: bool
    strict_uncut: bool
    flexible_uncut: bool


class Changes(TypedDict):
    __pydantic_config__ = _STRICT
    strict: list[tuple[Forward, bool]]
    flexible: list[tuple[Forward, bool]]


class ProposalPart(TypedDict, total=False):
    __pydantic_config__ = _STRICT
    text: str
    tokens: Count
    ids: list[Count]
    written: Count
    cut: bool
    correct_strict: bool
    correct_flexible: bool
    right_tokens: Count | None
    trust: list[Share] | None
    calibrated: list[Share] | None
    score: list[Share | None] | None
    straddles: list[Count]
    seconds: Seconds


class WatchedPart(TypedDict):
    """What a watcher has noted and concluded."""

    __pydantic_config__ = _STRICT
    notes: list[Any]
    answer: str | None
    correct: bool | None


class Record(TypedDict, total=False):
    """A line of records.jsonl as record.record_of writes it, in its order; earlier versions lack some of it."""

    __pydantic_config__ = _STRICT
    id: Required[Name]
    prompt_sha256: str
    question: str
    target: str
    proposal: ProposalPart | None
    response: str
    response_uncut: str
    extracted: dict[str, Any]
    correct: Verdicts
    correct_after: Changes
    right_tokens: Count | None
    nfe: Cost
    rows: Cost
    commit_forwards: Count
    no_op: Count
    aux_forwards: Cost
    full_forward_equivalents: Cost
    token_forwards: Cost
    guide_forwards: Count
    guide_token_forwards: Cost
    seconds_guide: Seconds
    response_tokens: Count
    seconds: Seconds
    seconds_forward: Seconds
    remembered_forwards: Count
    ids: list[Count]
    commit_iteration: list[Forward]
    source: list[Source]
    confidence: list[Share | None]
    revocations: list[tuple[Forward, Count, Count, Source, Forward]]
    nats: list[Cost]
    moves: list[tuple[Forward, Count, Annotated[int, Field(ge=-_MOST, le=_MOST)]]]
    watched: WatchedPart


class Summary(TypedDict, total=False):
    """summary.json of a finished run, as far as anything reads it."""

    __pydantic_config__ = _STRICT
    run_id: Required[Annotated[str, Field(pattern=FOLDER)]]
    status: Required[Source]
    oracle: bool
    n: Annotated[int, Field(ge=1, le=_MOST)]
    questions_sha256: Name
    nfe_mean: Cost
    nfe_ci95: tuple[Cost, Cost]
    accuracy_strict: Share
    accuracy_strict_ci95: tuple[Share, Share]
    accuracy_flexible: Share
    accuracy_flexible_ci95: tuple[Share, Share]
    proposal_accuracy_strict: Share | None
    proposal_accuracy_flexible: Share | None
    seconds_total: Seconds


_record, _summary = TypeAdapter(Record), TypeAdapter(Summary)
# What a record of this format has; a run that goes on counts with all of it. (Those excepted were added to it.)
_ADDED = {
    "rows", "commit_forwards", "guide_forwards", "guide_token_forwards", "seconds_guide", "remembered_forwards", "nats",
    "moves", "watched",
}  # fmt: skip
_WRITTEN = (
    *sorted(set(Record.__annotations__) - _ADDED),
    *("correct.strict", "correct.flexible", "proposal.correct_strict", "proposal.correct_flexible", "proposal.seconds"),
)
# What a front takes of a summary; a run is finished where it is there.
COUNTED = (
    *(
        "n",
        "nfe_mean",
        "nfe_ci95",
        "accuracy_strict",
        "accuracy_strict_ci95",
        "accuracy_flexible",
        "accuracy_flexible_ci95",
    ),
    "seconds_total",
)


def lacking(record: dict[str, Any], keys: Iterable[str]) -> list[str]:
    """Which of the keys a record, or a summary, does not have. A key with a dot is of a part, and asked for where there
    is that part."""
    return [key for key in keys if not _has(record, *key.split("."))]


def _has(node: dict[str, Any], key: str, below: str | None = None) -> bool:
    if below is None:
        return key in node
    return node.get(key) is None or below in node[key]


def read_records(folder: Path, wrong: Callable[[Record], str | None] = lambda _: None) -> list[dict[str, Any]]:
    """The records of a run's folder, each checked; a torn last line is left out.

    wrong: says what else is wrong with a record, None where nothing is.

    Raises:
        UserError: names the first line that is no record, or that is a second one of its question, and why.
    """
    seen: dict[str, int] = {}

    def checked(number: int, line: bytes) -> Record:
        try:
            record = _record.validate_json(line)
        except ValidationError as error:
            raise BadLine(number, f"is no record: {_why(error)}") from None
        if complaint := _unfit(record) or wrong(record):
            raise BadLine(number, complaint)
        first = seen.setdefault(record["id"], number)
        if first != number:
            raise BadLine(number, f"is of the same question as line {first}")
        return record

    return read_lines(folder / "records.jsonl", checked, torn=False)


def read_unfinished(folder: Path, questions: dict[str, str]) -> dict[str, dict[str, Any]]:
    """What a run that goes on has decoded so far, by question.

    questions: of the run, id -> the hash of its prompt (store.prompt_sha256).

    Raises:
        UserError: as read_records; also for a line of a question that is not the run's, or that lacks what this version
        writes.
    """

    def wrong(record: Record) -> str | None:
        if missing := lacking(record, _WRITTEN):
            return f"lacks {', '.join(missing)}"
        if questions.get(record["id"]) != record["prompt_sha256"]:
            return "is of a question that is none of this run's"
        return None

    return {record["id"]: record for record in read_records(folder, wrong)}


def read_summary(folder: Path, needed: Iterable[str] = ()) -> dict[str, Any]:
    """summary.json of a finished run.

    needed: keys that it must have, beside run_id and status.

    Raises:
        UserError: one sentence, where it cannot be read, is not that of a run, lacks a key, or says that the run is not
        finished.
    """
    file = folder / "summary.json"
    try:
        found = read_json(file)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    if found.get("status") != "finished":
        raise UserError(f"{folder}: the run's status is {str(found.get('status'))[:40]}, not finished")
    try:
        _summary.validate_json(read_bytes(file))
    except ValidationError as error:
        raise UserError(f"{folder}: summary.json is not that of a finished run ({_why(error)})") from None
    if missing := lacking(found, needed):
        raise UserError(f"{folder}: summary.json lacks {', '.join(missing)}")
    return found


def finished(folder: Path) -> dict[str, Any] | None:
    """The summary of a finished run's folder, None where it is not finished or lacks what a front takes of it."""
    try:
        return read_summary(folder, COUNTED)
    except UserError:
        return _finished_for_the_harness(folder)


def _finished_for_the_harness(folder: Path) -> dict[str, Any] | None:
    """The same of a run whose questions somebody else scores: its folder is hidden from fronts, and its summary has no
    accuracy."""
    if not folder.name.startswith("."):
        return None
    try:
        found = read_json(folder / "summary.json")
    except UserError:
        return None
    return found if found.get("status") == "finished" and found.get("run_id") == folder.name else None


def _why(error: ValidationError) -> str:
    """The first complaint, without the value it is about, which may be long or anything."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(
        str(part)[:40] for part in first["loc"] if not str(part).startswith(("int", "float", "constrained-"))
    )
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def _unfit(record: Record) -> str | None:
    """What of a record does not fit the rest of it."""
    ids = record.get("ids")
    for key in ("commit_iteration", "source", "confidence"):
        if key in record and (ids is None or len(record[key]) != len(ids)):
            return f"has a {key} that is not as long as ids"
    if "source" in record and "revocations" not in record:
        return "lacks revocations"
    if any(position >= len(ids or ()) for _, position, *_ in record.get("revocations", ())):
        return "has a revocation behind the last position"
    if "confidence" in record and "response_tokens" not in record:
        return "lacks response_tokens"
    if after := record.get("correct_after"):
        nfe = record.get("nfe")
        if (
            not isinstance(nfe, int)
            or nfe > 2**20
            or any(not 0 <= at <= nfe for steps in after.values() for at, *_ in steps)
        ):
            return "has a correct_after behind the last forward"
    return _unfit_proposal(record, record.get("proposal"))


def _unfit_proposal(record: Record, proposal: ProposalPart | None) -> str | None:
    if not proposal:
        return None
    ids = proposal.get("ids")
    longest = len(record.get("ids", ())) if ids is None else len(ids)
    if proposal.get("written", 0) > longest:
        return "has a proposal.written beyond its tokens"
    for key in ("trust", "calibrated", "score"):
        numbers = proposal.get(key)
        if numbers and ids is not None and len(numbers) != len(ids):
            return f"has a proposal.{key} that is not as long as its ids"
    if proposal.get("score") and (ids is None or len(proposal["score"]) > len(record.get("ids", ()))):
        return "has a proposal.score that is longer than ids"
    if (trust := proposal.get("trust")) and not record.get("moves"):  # positions are those of the end
        written = proposal.get("written", longest)
        there = [i for i, source in enumerate(record.get("source", ())[: written + 1]) if source == "injected"]
        there += [
            position
            for _, position, _, source, _ in record.get("revocations", ())
            if source == "injected" and position <= written
        ]
        if any(position >= len(trust) for position in there):
            return "has a proposal.trust that ends before the last injected token"
    return None
