"""`--plan`: what a command needs and takes, before anything is downloaded, loaded or decoded.

Numbers are labelled: measured (of finished runs in the same outputs folder), published, or estimated (from arithmetic).
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from warmexp.config.instantiate import parts
from warmexp.config.keys import METHODS
from warmexp.config.plan import check
from warmexp.console import show
from warmexp.decode.strategy import Guide, Strategies
from warmexp.errors import UserError
from warmexp.models.layouts import LAYOUTS, read_layout
from warmexp.models.published import SHAPES, TOKENS, published_config
from warmexp.models.quantization import check_kind, check_sizes, stored_bytes
from warmexp.models.transformer import ModelConfig, parameters
from warmexp.models.weights import DTYPES, free_memory
from warmexp.runs import needs
from warmexp.runs.catalogue import FINISHED, Run, catalogue
from warmexp.runs.footprint import SHARE, Footprint, largest
from warmexp.runs.needs import GIB, Need
from warmexp.runs.space import in_words
from warmexp.studies.prompts import prompts_of

# Forwards per question, canvas 256 in blocks of 32, τ = 0.9: arXiv 2512.19004, Table 1 (LLaDA-8B-Instruct, GSM8K).
_PUBLISHED_FORWARDS = {"mask": 79.12, "token_inject": 51.70, "embed_interp": 56.40}
_PUBLISHED_CANVAS = 256
_QUESTIONS = {"gsm8k": 1319, "gsm8k_cot": 1319, "math500": 500}
# Dense bfloat16 products per second, by their makers' data sheets; a share of it is what whole models reach.
_PEAK = {"A100": 312e12, "H100": 989e12}
_REACHED = 0.4
_SIZES = (24, 40, 80)  # GiB of common GPUs
SERVER, WRONG = "proposer.base_url", "the configuration"  # kinds of needs


@dataclass(frozen=True)
class Job:
    """A command line that was composed: its configuration and the option chosen in each group."""

    words: tuple[str, ...]
    cfg: DictConfig
    choices: dict[str, str]


def forecast(jobs: Sequence[Job], outputs: Path, several: bool = False) -> None:
    """Print it. several: whether it is a study, where a key that a run does not read is no mistake.

    Raises:
        UserError: one sentence with everything that is missing or wrong.
    """
    found = _needs(jobs, several)
    show(f"{len(jobs)} run{'s' if len(jobs) > 1 else ''}, into {outputs}")
    _print_needs(found)
    runs = catalogue(outputs) if outputs.is_dir() else []
    by_model: dict[str, list[Job]] = {}
    for job in jobs:
        quantized = "" if (kind := _quantization(job)) == "none" else f", {kind}"
        by_model.setdefault(f"{job.choices['backbone']} ({job.cfg.backbone.path}){quantized}", []).append(job)
    seconds: Counter[str] = Counter()
    labels: dict[str, None] = {}
    for name, mine in by_model.items():
        config, weights = _config(mine[0])
        if config is None:
            show(f"{name}: memory and time are not known before its config.json is here")
            continue
        show(f"memory, backbone {name}:")
        _print_memory(config, weights, mine)
        for job in mine:
            for where, took, *why in _time(config, weights, job, runs):
                seconds[where] += took
                labels |= dict.fromkeys(why)
    for where, took in seconds.items():
        show(f"time on {where}: {_duration(took)}{' for all runs' if len(jobs) > 1 else ''}")
    for label in labels:
        show(f"  {label}")
    missing = list(dict.fromkeys(need.missing.rstrip(".") for need in found if need.missing))
    if missing:
        listed = "; ".join(f"({number}) {sentence}" for number, sentence in enumerate(missing, 1))
        what = "missing or wrong" if any(need.key == WRONG for need in found) else "missing"
        raise UserError(f"{len(missing)} thing{'s are' if len(missing) > 1 else ' is'} {what}: {listed}.")
    show("nothing is missing; nothing was downloaded or run")


def _needs(jobs: Sequence[Job], several: bool) -> list[Need]:
    found: dict[tuple[str, str], Need] = {}
    for job in jobs:
        backbone, proposer = job.cfg.backbone, job.cfg.proposer
        asked = [needs.model("backbone.path", backbone.path, backbone.get("revision")), *_of_the_guide(job)]
        here = all(need.here for need in asked)
        if _methods(job).init.reads_proposal:
            asked += _of_the_author(proposer)
        asked.append(needs.questions(OmegaConf.to_container(job.cfg.task, resolve=True)))
        try:
            check(job.cfg, job.choices, several, backbone=here)
        except UserError as error:
            if str(error) not in {need.missing for need in asked}:
                asked.append(Need(WRONG, str(error), None, False, None, str(error)))
        for need in asked:
            found.setdefault((need.key, need.name), need)
    return list(found.values())


def _of_the_guide(job: Job) -> list[Need]:
    """Its weights, where it has some of its own."""
    guide = job.cfg.get("guide") or {}
    return [needs.model("guide.path", guide.path, guide.get("revision"))] if "path" in guide else []


def _of_the_author(proposer: DictConfig) -> list[Need]:
    """Its weights, or its server."""
    if str(proposer.get("_target_")).endswith("HFProposer"):
        return [needs.model("proposer.path", proposer.path, proposer.get("revision"))]
    return [] if proposer.get("base_url") is None else [Need(SERVER, proposer.base_url, None, True)]


def _print_needs(found: Sequence[Need]) -> None:
    for need in found:
        if need.key == WRONG:
            continue
        if need.key == SERVER:
            show(f"  on a server, which is not asked now: {need.key}={need.name}")
        elif need.here:
            show(f"  here: {need.key}={need.name}" + (f" ({need.place})" if need.place else ""))
        elif need.place is None and need.bytes is None:
            show(f"  not here: {need.key}={need.name}")
        else:
            size = "of unknown size" if need.bytes is None else in_words(need.bytes)
            size = "some megabytes" if need.key == "task.dataset" else size
            show(f"  to be downloaded: {need.key}={need.name}, {size}" + (f", into {need.place}" if need.place else ""))
    total = sum(need.bytes or 0 for need in found if not need.here)
    free = needs.free_disk(needs.hub_cache())
    if total and free is not None:
        short = ": TOO LITTLE, set HF_HOME to a larger disk" if free < total else ""
        show(f"  downloads: {in_words(total)} in all, {in_words(free)} free there{short}")


def _methods(job: Job) -> Strategies:
    return Strategies(**parts(job.cfg, METHODS))


def _counted(job: Job) -> Strategies:
    """The methods, without a guide whose sizes nobody knows."""
    here = all(need.here for need in _of_the_guide(job))
    return _methods(job) if here else replace(_methods(job), guide=Guide())


def _config(job: Job) -> tuple[ModelConfig | None, int]:
    """The backbone's sizes and its number of weights, from its files or as published."""
    path = str(job.cfg.backbone.path)
    need = needs.model("backbone.path", path, job.cfg.backbone.get("revision"))
    if need.here and need.place is not None:
        found, config = read_layout(need.place)
        check_sizes(_quantization(job), found.name, config)
    else:
        kind = needs.layout(path)
        if kind is None:
            return None, 0
        config = LAYOUTS[kind].config(published_config(kind, SHAPES[kind], "bfloat16", TOKENS[kind]), path)
        check_sizes(_quantization(job), LAYOUTS[kind].name, config)
    return config, parameters(config)


def _quantization(job: Job) -> str:
    """A configuration of somebody's own may not have the key."""
    kind = str(job.cfg.backbone.get("quantization") or "none")
    check_kind(kind, str(job.cfg.backbone.dtype))
    return kind


def _print_memory(config: ModelConfig, weights: int, jobs: Sequence[Job]) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = DTYPES[str(jobs[0].cfg.backbone.dtype)]
    size = int(jobs[0].cfg.batch_size)
    prompts = [prompts_of(job.cfg) for job in jobs]
    gpu = torch.device("cuda")  # batches of a GPU's size, whatever this machine has
    quantized = _quantization(jobs[0])
    prints = [
        Footprint(config, m, one.longest + m.length.canvas_length, dtype, gpu, quantized)
        for one, m in zip(prompts, map(_counted, jobs), strict=True)
    ]
    heaviest = max(prints, key=lambda one: one.bytes(size))
    loaded, held = weights * dtype.itemsize, stored_bytes(quantized, config, weights, dtype)
    count = f"{weights / 1e9:.2f} billion" if weights >= 1e9 else f"{weights / 1e6:.1f} million"
    kind = str(jobs[0].cfg.backbone.dtype)
    if quantized != "none":
        kind = f"{quantized} and {kind}, {in_words(loaded)} while they are loaded"
    show(f"  weights {in_words(held)} ({count} in {kind})")
    for said in dict.fromkeys(one.said for one in prompts):
        show(f"  {said}")
    for name in dict.fromkeys(need.name for job in jobs for need in _of_the_guide(job) if not need.here):
        show(f"  guide.path={name} is not here, and what it needs is not counted")
    listed = ", ".join(f"{name} {in_words(part)}" for name, part in heaviest.parts(size).items() if part)
    show(f"  at batch_size={size}: {listed}")
    for gib in _SIZES:
        show(f"  {gib} GiB: {_fit(heaviest, size, gib * GIB, held, loaded)}")
    free = free_memory(device)
    if free is not None:
        show(f"  this machine's {device}, {in_words(free)} free: {_fit(heaviest, size, free, held, loaded)}")


def _fit(footprint: Footprint, size: int, free: int, held: int, loaded: int) -> str:
    """held: bytes of the weights; loaded: before they are quantized."""
    left = free - held
    if loaded > max(free, held):
        return "the weights do not fit while they are loaded"
    if left <= 0 or footprint.bytes(1) > SHARE * left:
        return "the weights and one question do not fit"
    fits = largest(footprint, size, left)
    return f"batch_size={size} fits" if fits == size else f"{fits} questions fit at a time"


def _time(
    config: ModelConfig, weights: int, job: Job, runs: Sequence[Run]
) -> list[tuple[str, float, *tuple[str, ...]]]:
    """(where, seconds, labels) of a run: as measured here, otherwise estimated."""
    known = _questions(job)
    alike = [run for run in runs if run.status == FINISHED and _alike(run, job)]
    if alike:
        per_question = sum(run.summary["seconds_total"] / run.summary["n"] for run in alike) / len(alike)
        label = (
            "measured: seconds per question of finished runs of the same backbone, init, cache and task in this folder"
        )
        return [("what those runs ran on", per_question * known, label)]
    forwards, label = _forwards(job)
    prompt = prompts_of(job.cfg).mean
    strategies = _methods(job)
    canvas, block = strategies.length.canvas_length, strategies.length.block_length
    positions = (prompt + canvas) * forwards
    if strategies.cache.keeps:  # one full forward per block, the others compute a window
        window = block if job.choices["cache"] == "dual" else canvas // 2 + block
        full = canvas / block
        positions = (prompt + canvas) * min(full, forwards) + window * max(0.0, forwards - full)
    work = 2 * (weights - config.embedding_size * config.d_model) * positions * known
    estimate = (
        f"GPUs, estimated: arithmetic of the weights at {100 * _REACHED:.0f} % of the data sheet; never measured there"
    )
    where = [(f"one {name}", work / (_REACHED * peak), label, estimate) for name, peak in _PEAK.items()]
    if not torch.cuda.is_available():
        speed, label_here = _speed()
        where.append(("this CPU", work / speed, label, label_here))
    return where


def _questions(job: Job) -> int:
    counted = prompts_of(job.cfg).questions
    if counted is not None:
        return counted
    task = job.cfg.task
    limit = task.get("limit")
    whole = _QUESTIONS.get(job.choices["task"], 1319)
    path = task.get("path")
    if path and Path(str(path)).expanduser().is_file():
        with Path(str(path)).expanduser().open("rb") as lines:
            whole = sum(1 for line in lines if line.strip())
    return min(int(limit), whole) if limit else whole


def _forwards(job: Job) -> tuple[float, str]:
    """Forwards per question, and where that is from."""
    canvas = int(_methods(job).length.canvas_length)
    published = _PUBLISHED_FORWARDS.get(job.choices["init"])
    usual = (
        job.choices["unmask"] == "threshold" and job.choices["remask"] == "none" and job.choices["backbone"] != "lab"
    )
    if published and usual:
        return published * canvas / _PUBLISHED_CANVAS, (
            "forwards per question: published for LLaDA-8B-Instruct on GSM8K at τ = 0.9 (arXiv 2512.19004, Table 1),"
            " in proportion to the canvas"
        )
    return float(canvas), "forwards per question: at most one per position; most rules need far fewer"


def _alike(run: Run, job: Job) -> bool:
    same = all(
        run.settings.get(group) == job.choices.get(group) for group in ("backbone", "init", "cache", "unmask", "task")
    )
    return same and run.settings.get("backbone.path") == job.cfg.backbone.path


@lru_cache(maxsize=1)
def _speed(n: int = 512) -> tuple[float, str]:
    """Operations per second of a float32 matrix product here."""
    a = torch.ones(n, n)
    a @ a
    times = []
    for _ in range(3):
        started = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - started)
    label = f"this CPU, estimated: arithmetic at the speed of a matrix product measured now ({os.cpu_count()} cores)"
    return 2 * n**3 / min(times), label


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"about {seconds / 3600:.1f} h"
    return f"about {seconds / 86400:.1f} days" if seconds < 30 * 86400 else "months"
