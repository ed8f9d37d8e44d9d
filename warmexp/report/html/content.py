"""What a report embeds: one block for the front, one per set of questions, one per run; each is compressed and unpacked
when looked at."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from warmexp.analysis.analysis import along
from warmexp.analysis.axes import AXES
from warmexp.analysis.jsonable import jsonable
from warmexp.analysis.measured import Measured
from warmexp.analysis.proposals import by_proposal
from warmexp.analysis.resample import percentile_interval, replicate_means
from warmexp.analysis.result import Front, Result
from warmexp.report.html.chosen import common_start, ranked
from warmexp.report.html.decodes import packed
from warmexp.report.html.records import records, token_texts
from warmexp.report.interactive import front_figure
from warmexp.report.marks import shapes
from warmexp.secrets import json_without_secrets

# Characters of base64 that all blocks may take: with Plotly (4.8 MB) and the page itself a report stays under 10 MB.
BUDGET = 4_600_000
_SAMPLE, _TRIED = 8, 100  # runs, and questions of each, from which the room that a question takes is estimated
_OF_RUN = ("settings", "calibration", "survival", "readout")  # told in a run's own block
_OF_AXIS = (
    "x", "x_ci95", "x_median", "x_p95", "on_front", "undominated_share", "steady", "saved", "saved_reason", "against_others", "paired",
    "paired_reason",
)  # fmt: skip
_OF_GROUP = ("name", "n", "task", "split", "backbone", "caveats")

Set = list[Result]


def blocks(front: Front, title: str, budget: int = BUDGET) -> Iterator[tuple[str, str]]:
    """(name, base64) of every block: "core", "set-0" …, "run-0" … in the order of front.runs, "seed-0" … in that of
    core's seeds; a run that is several seeds' mean has no block but theirs."""
    sets, leaves = _sets(front), _leaves(front)
    questions = [_pack(_questions(members)) for members in sets]
    core = _core(front, title, sets)
    per_run, runs = _bounded(leaves, sets, budget - sum(map(len, [_pack(core), *questions])))
    yield "core", _pack({**core, "embedded": per_run})
    yield from ((f"set-{i}", block) for i, block in enumerate(questions))
    yield from zip(leaves, runs, strict=True)


def _leaves(front: Front) -> dict[str, Measured]:
    """Block -> what was decoded: every run, and every seed of one that is several seeds' mean."""
    alone = {f"run-{i}": run.measured for i, run in enumerate(front.runs) if not run.measured.members}
    seeds = [one for run in front.runs for one in run.measured.members]
    return alone | {f"seed-{i}": one for i, one in enumerate(seeds)}


def _pack(value: Any) -> str:
    raw = json_without_secrets(value, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "backslashreplace"
    )  # packed, no filter can read it; a folder's name may be no text, and "\\udcff" is JSON
    return base64.b64encode(gzip.compress(raw, mtime=0)).decode()


def _sets(front: Front) -> list[Set]:
    """Runs on the same questions together."""
    found: dict[tuple, Set] = {}
    for run in front.runs:
        found.setdefault((run.point.questions, run.measured.ids), []).append(run)
    return list(found.values())


def _core(front: Front, title: str, sets: list[Set]) -> dict[str, Any]:
    whole = front.to_json()
    groups = {run["run_id"]: run["group"] for run in whole["runs"]}
    place = {run.point.run_id: i for i, members in enumerate(sets) for run in members}
    runs = []
    for run, raw in zip(front.runs, whole["runs"], strict=True):
        settings = {key: raw["settings"].get(key) for key in whole["varying"]}
        kept = {key: value for key, value in raw.items() if key not in (*_OF_RUN, *_OF_AXIS)}
        runs.append({**kept, "settings": settings, "set": place[run.point.run_id]})
    return {
        "title": title,
        **{key: whole[key] for key in ("warmexp", "x", "accuracy", "left_out", "varying", "margin", "checklist")},
        "caveats": front.general,
        "selector": front.selector,
        "pooled": front.pooled,
        "groups": [{key: group[key] for key in _OF_GROUP} for group in whole["groups"]],
        "shapes": shapes(run.point.method for run in front.runs),
        "axes": [
            _axis(front if name == front.x else along(front, name), name, groups, len(whole["groups"]))
            for name in _axes(front)
        ],
        "sets": [{"n": len(members[0].measured.ids), "task": members[0].point.task} for members in sets],
        "runs": runs,
        "seeds": [_seed(run, one, seed) for run in front.runs for one, seed in _seeds(run)],
    }


def _seeds(run: Result) -> Iterator[tuple[Measured, int]]:
    return zip(run.measured.members, run.point.seeds, strict=True)


def _seed(run: Result, one: Measured, seed: int) -> dict[str, Any]:
    """One of the runs that a point is the mean of, as a run of its own that stands on no front."""
    proposed = one.proposal_right.get(one.point.accuracy_filter)
    stars = {name: replicate_means(values[:, None], one.point.questions)[:, 0] for name, values in one.x.items()}
    axes = {
        name: {
            "x": float(values.mean()),
            "x_ci95": percentile_interval(stars[name]),
            "x_median": float(np.median(values)),
            "x_p95": float(np.quantile(values, 0.95, method="inverted_cdf")),
        }
        for name, values in one.x.items()
    }
    split = None if proposed is None else by_proposal(one.right, proposed, None, one.injected)
    return jsonable(
        {
            "run_id": f"{one.point.run_id}~seed{seed}",  # the point has the first one's id
            "run": one.point.run_id,
            "point": run.point.run_id,
            "seed": seed,
            "accuracy": one.point.accuracy,
            "accuracy_ci95": one.point.accuracy_ci95,
            "by_proposal": split,
            "axes": axes,
        }
    )


def _axes(front: Front) -> list[str]:
    """The axes that tell something here: one that is zero for every question, or the same as another one, is left out
    unless the front stands on it."""
    said: list[list[bytes | None]] = []
    kept = []
    for name in sorted(AXES, key=lambda name: name != front.x):
        values = [run.measured.x.get(name) for run in front.runs]
        told = [None if one is None else np.asarray(one, np.float64).tobytes() for one in values]
        idle = all(one is None or not np.any(one) for one in values) or told in said
        if name == front.x or not idle:
            said.append(told)
            kept.append(name)
    return [name for name in AXES if name in kept]


def _axis(front: Front, name: str, groups: dict[str, int], n: int) -> dict[str, Any]:
    """A front along one axis. groups: run -> its group along the front's own axis, of n: here they may come in another
    order, or be absent where no record has the axis."""
    whole = front.to_json()
    here = {groups[run["run_id"]]: run["group"] for run in whole["runs"]}
    there = {number: place for place, number in here.items()}
    return {
        "key": name,
        "label": AXES[name].label,
        "unit": AXES[name].unit,
        "digits": AXES[name].digits,
        "figures": [_figure(whole, here[place]) if place in here else None for place in range(n)],
        "groups": [whole["groups"][here[place]] if place in here else None for place in range(n)],
        "quality": [{**curve, "group": there[curve["group"]]} for curve in whole["prior_quality"]],
        "runs": {run["run_id"]: {key: run[key] for key in _OF_AXIS} for run in whole["runs"]},
    }


def _figure(whole: dict[str, Any], group: int) -> dict[str, Any]:
    figure = json.loads(front_figure(whole, group).to_json())
    return {"data": figure["data"], "layout": figure["layout"]}


def _questions(members: Set) -> dict[str, Any]:
    """The questions' texts, from the first run that still has its records."""
    ids = members[0].measured.ids
    for run in members:
        found = records(run.point.folder, ids)
        if found:
            break
    texts = [found[i].get("question", "") if i in found else "" for i in ids]
    start = common_start([text for text in texts if text])
    targets = [found[i].get("target", "") if i in found else "" for i in ids]
    return {
        "ids": ids,
        "start": texts[0][:start] if texts else "",
        "questions": [text[start:] for text in texts],
        "targets": targets,
    }


def _bounded(leaves: dict[str, Measured], sets: list[Set], budget: int) -> tuple[int, list[str]]:
    """The runs' blocks with as many questions each as the budget allows; the same questions for all runs of a set."""
    order: dict[str, list[int]] = {}
    for members in sets:
        reference = next((run for run in members if run.is_baseline), members[0]).measured.shown.right
        mine = [one for run in members for one in run.measured.members or (run.measured,)]
        best = ranked([one.right for one in mine], reference)
        order |= {one.point.run_id: best for one in mine}

    def made(runs: Sequence[Measured], per_run: int) -> list[str]:
        return [_pack(_run(run, order[run.point.run_id][:per_run])) for run in runs]

    everything = list(leaves.values())
    few = everything[:: max(1, len(everything) // _SAMPLE)]
    per_run = max((run.point.n for run in everything), default=0)
    if per_run > _TRIED and few:
        one = sum(map(len, made(few, _TRIED))) / (_TRIED * len(few))  # a question's share, by a sample of the runs
        per_run = min(per_run, max(0, int(budget / (one * len(everything)))))
    while True:
        blocks = made(everything, per_run)
        size = sum(map(len, blocks))
        if size <= budget or per_run == 0:
            return per_run, blocks
        per_run = max(0, int(0.95 * per_run * budget / size))


def _run(measured: Measured, chosen: list[int]) -> dict[str, Any]:
    folder = measured.point.folder
    found = records(folder, [measured.ids[i] for i in chosen])
    rows = [(i, found[measured.ids[i]]) for i in chosen if measured.ids[i] in found]
    proposed = measured.proposal_right.get(measured.point.accuracy_filter)
    return {
        "settings": dict(measured.point.settings),
        "calibration": jsonable(measured.calibration),
        "survival": jsonable(measured.survival),
        "readout": jsonable(measured.readout),
        "correct": _bits(measured.right),
        "proposal": None if proposed is None else _bits(proposed),
        "nfe": measured.x["nfe"].astype(int).tolist(),
        **packed(rows, token_texts(folder)),
    }


def _bits(values: np.ndarray) -> str:
    return "".join("01"[bool(value)] for value in values)
