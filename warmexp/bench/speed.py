"""The comparison: the decode loop in batches against the plain decoder, same weights, same questions, one process,
taking turns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from warmexp.bench.clock import Seconds, Spread, interleaved, ratios
from warmexp.bench.compare import divergence
from warmexp.bench.plain import CACHES, Answer, plain_decode
from warmexp.bench.subject import Subject
from warmexp.decode.batch import Decoded
from warmexp.decode.canvas import Question
from warmexp.decode.loop import stream
from warmexp.decode.meter import Meter


def plain(subject: Subject, questions: Sequence[Question], cache: str, trace: bool = False) -> list[Answer]:
    length = subject.length
    return [
        plain_decode(subject.published, q.prompt, length.canvas_length, length.block_length, subject.rule, cache, trace)
        for q in questions
    ]


def ours(
    subject: Subject, questions: Sequence[Question], cache: str, batch: int, meter: Meter | None = None
) -> list[Decoded]:
    """`batch` at a time, questions of similar length together as in a run; results in the order of the questions."""
    ordered = sorted(questions, key=lambda q: (len(q.prompt), q.id))
    done = {d.id: d for d in stream(subject.backbone, ordered, subject.strategies(cache), 0, meter, batch)}
    return [done[q.id] for q in questions]


def speed(
    subject: Subject,
    questions: Sequence[Question],
    caches: Sequence[str],
    batches: Sequence[int],
    repeats: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """A row per contender: the plain decoder with every cache it has among `caches`, the loop with every cache and
    batch size.

    ratio: how many times as many tokens per second as the plain decoder with the same cache (cache=none where it has no
    such cache), round by round; ratio_processor: the same of processor time, which other processes do not lengthen.
    times_none: how many times as long as it the loop takes for the same questions without a cache, at the same batch
    size. identical, divergences: against the plain decoder with the same cache, None where it has none.
    """
    contenders: dict[tuple[str, str, int], Callable[[], Any]] = {}
    for cache in dict.fromkeys(("none", *caches)) if set(caches) - set(CACHES) else caches:
        if cache in CACHES:
            contenders["plain", cache, 1] = lambda cache=cache: plain(subject, questions, cache)
    for cache in caches:
        for batch in batches:
            contenders["warmexp", cache, batch] = lambda cache=cache, batch=batch: ours(
                subject, questions, cache, batch
            )
    for work in contenders.values():
        warm_up(work, subject)
    results, seconds = interleaved(contenders, repeats, subject.backbone.device, say)
    say("comparing tokens")
    traced = {cache: plain(subject, questions, cache, trace=True) for who, cache, _ in contenders if who == "plain"}
    return [_row(subject, questions, key, results, seconds, traced) for key in contenders]


def warm_up(work: Callable[[], Any], subject: Subject) -> None:
    """A GPU loads its kernels and reserves its memory in the first forwards; a CPU has nothing worth an untimed
    round."""
    if subject.backbone.device.type != "cpu":
        work()


def _row(
    subject: Subject,
    questions: Sequence[Question],
    key: tuple[str, str, int],
    results: dict[tuple[str, str, int], list[Any]],
    seconds: dict[tuple[str, str, int], list[Seconds]],
    traced: dict[str, list[Answer]],
) -> dict[str, Any]:
    who, cache, batch = key
    answers, spent = results[key], seconds[key]
    base = ("plain", cache if cache in traced else "none", 1)
    tokens = [sum(subject.answer_tokens(a.ids) for a in results[k]) for k in (key, base)]
    row = {
        "who": who,
        "cache": cache,
        "batch": batch,
        "tokens": tokens[0],
        "nfe_mean": sum(a.nfe if who == "plain" else a.cost.nfe for a in answers) / len(answers),
        "seconds": [s.wall for s in spent],
        "tokens_per_second": vars(Spread.of([tokens[0] / s.wall for s in spent])),
        "questions_per_second": vars(Spread.of([len(questions) / s.wall for s in spent])),
    }
    if who == "plain":
        return row
    for name, clock in (("ratio", "wall"), ("ratio_processor", "processor")):
        times = ratios(seconds[base], spent, clock)
        row[name] = {k: v * tokens[0] / tokens[1] for k, v in vars(times).items()}
    row["against"] = base[1]
    if cache != "none" and (who, "none", batch) in seconds:
        uncached = seconds[who, "none", batch]
        row["times_none"], row["times_none_processor"] = (
            vars(ratios(uncached, spent, clock)) for clock in ("wall", "processor")
        )
    found = None
    if cache in traced:
        pairs = zip(questions, traced[cache], answers, strict=True)
        found = [divergence(q.id, p, a.ids, a.commit_iteration, subject.rule) for q, p, a in pairs]
    row["identical"] = None if found is None else found.count(None)
    row["questions"] = len(questions)
    row["divergences"] = None if found is None else [dataclasses.asdict(d) for d in found if d is not None]
    return row
