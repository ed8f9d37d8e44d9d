"""`--dry-run`: the jobs of a study, what is done, what is left and about how long it takes. No model is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from warmexp.console import show
from warmexp.errors import UserError
from warmexp.runs.stored import finished, read_records
from warmexp.studies.fold import Point
from warmexp.studies.folder import labels


def print_forecast(points: Sequence[Point]) -> None:
    """A line per job and the time left, estimated from the seconds per question of the study's finished runs of the
    same method."""
    pace: dict[tuple[str, ...], list[float]] = {}
    left: list[tuple[tuple[str, ...], int]] = []
    for number, (point, name) in enumerate(zip(points, labels([point.overrides for point in points]), strict=True), 1):
        state, questions = _state(point)
        show(f"[{number}/{len(points)}] {name}: {state}")
        if point.problem:
            continue
        summary = finished(point.folder)
        if summary is None:
            left.append((_method(point), questions))
        else:
            pace.setdefault(_method(point), []).append(summary["seconds_total"] / summary["n"])
    show(f"left: {len(left)} jobs, {sum(n for _, n in left)} questions, {_estimate(pace, left)}; nothing was run")


def _state(point: Point) -> tuple[str, int]:
    """In words, and the number of questions left."""
    if point.problem:
        return f"cannot be run: {point.problem}", 0
    if finished(point.folder) is not None:
        return f"finished ({point.folder})", 0
    try:
        done = min(len(read_records(point.folder)), point.questions)
    except UserError as error:
        return f"cannot go on: {error}", 0
    return (
        f"{done} of {point.questions} questions done" if done else f"{point.questions} questions"
    ), point.questions - done


def _method(point: Point) -> tuple[str, ...]:
    return tuple(point.choices[group] for group in ("backbone", "init", "proposer", "unmask", "remask"))


def _estimate(pace: dict[tuple[str, ...], list[float]], left: list[tuple[tuple[str, ...], int]]) -> str:
    everything = [seconds for group in pace.values() for seconds in group]
    if left and not everything:
        return "time unknown (no run of the study is finished yet)"
    seconds = sum(questions * _mean(pace.get(method, everything)) for method, questions in left)
    hours, rest = divmod(round(seconds), 3600)
    minutes, seconds = divmod(rest, 60)
    return "about " + (
        f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
