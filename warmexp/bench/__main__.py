"""Measure the decode loop against the plain decoder (Fast-dLLM as published), and both against what the machine allows:

    python -m warmexp.bench
    python -m warmexp.bench --model 100m --prompt 1000 --canvas 64 --questions 1 --batch 1
    python -m warmexp.bench --model llada --dtype bfloat16 --device cuda --prompt 1000 --questions 16 --batch 1,16
    python -m warmexp.bench --model FOLDER --file test.jsonl --questions 16 --batch 1,4,16 --steps 8 --parts
    forwards,memory

The models are the lab's backbone, random weights of a size (tiny, 100m; llada, dream: the published shapes) or a
checkpoint's folder or hub name, whose loading is measured too. Figures go to standard output, to bench.json and
bench.png. The contenders take turns in one process, so that a ratio compares neighbours in time; on a machine that does
other things too, the ratio of processor time is the better one.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from warmexp.bench.exact import exact
from warmexp.bench.floors import rates
from warmexp.bench.forwards import forwards
from warmexp.bench.growth import growth, study
from warmexp.bench.memory import memory
from warmexp.bench.picture import picture
from warmexp.bench.report import text
from warmexp.bench.sharing import tau_sweep
from warmexp.bench.speed import speed
from warmexp.bench.subject import BLOCKS, PUBLISHED, SHAPES, Subject, build_cache, subject
from warmexp.console import Parser, complain, ending, show
from warmexp.errors import UserError, check_choice, check_range, out_of_memory
from warmexp.io import write_json
from warmexp.models.weights import DTYPES
from warmexp.runs.batches import empty_cache
from warmexp.runs.environment import environment

PARTS = ("speed", "forwards", "memory", "growth", "runs", "exact", "sharing")
LAB_ONLY = ("runs", "sharing")
# Prompts up to this many tokens in `growth`, unless one length is asked for; questions of every run in `runs` and
# `sharing`.
PROMPT, RUN_QUESTIONS, SHARING_QUESTIONS = 256, 64, 16


def measure(chosen: argparse.Namespace, keep: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Everything that is reported, handed to `keep` after every part. Keys end in their units where those are not
    seconds."""
    started = time.perf_counter()

    def say(sentence: str) -> None:
        complain(f"[{time.perf_counter() - started:6.1f} s] {sentence}")

    caches, batches = chosen.cache, chosen.batch
    for cache in caches:
        build_cache(cache)
    s = subject(chosen)
    questions = s.questions(chosen.questions, chosen.prompt)
    prompts = [len(q.prompt) for q in questions]
    row = max(prompts) + s.length.canvas_length
    s.check_room(row, "--prompt" if chosen.prompt else "--canvas")
    result: dict[str, Any] = {
        "command": "python -m warmexp.bench " + " ".join(chosen.words),
        "model": s.identity(),
        "environment": environment(
            str(s.backbone.device), {"backbone": {"model": s.name}, "proposer": None}, s.backbone, row
        ),
        "counting_rule": Subject.RULE,
        "questions": len(questions),
        "prompt_tokens": [min(prompts), max(prompts)],
        "repeats": chosen.repeats,
        **({"load": s.load} if s.load else {}),
    }

    def each(work: Callable[[str, int], dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            _if_it_fits(partial(work, cache, batch), cache, batch)
            for cache, batch in itertools.product(caches, batches)
        ]

    def speeds() -> dict[str, Any]:
        return {"speed": speed(s, questions, caches, batches, chosen.repeats, say)}

    def floors() -> dict[str, Any]:
        r = rates(s.backbone.device, s.backbone.dtype)
        measured = each(lambda cache, batch: forwards(s, questions, cache, batch, r))
        return {"copy_bytes_per_second": r.bandwidth, "matmul_flops_per_second": r.flops, "forwards": measured}

    def grown() -> dict[str, Any]:
        repeats = min(3, chosen.repeats)
        return {
            "growth": [
                g for cache in caches for g in growth(s, cache, max(batches), chosen.prompt or PROMPT, repeats, say)
            ]
        }

    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "speed": speeds,
        "forwards": floors,
        "memory": lambda: {"memory": each(lambda cache, batch: memory(s, questions, cache, batch))},
        "growth": grown,
        "runs": lambda: {"growth": [*result.get("growth", []), study(RUN_QUESTIONS)]},
        "exact": lambda: {"exact": exact(caches, chosen.seeds)},
        "sharing": lambda: {"sharing": tau_sweep(SHARING_QUESTIONS, chosen.repeats)},
    }
    for part in PARTS:
        if part in chosen.parts:
            result |= parts[part]()
            keep(result)
            say(part)
    return result


def _if_it_fits(work: Callable[[], dict[str, Any]], cache: str, batch: int) -> dict[str, Any]:
    """The figures of a cache and a batch size, or that this batch does not fit."""
    try:
        return work()
    except Exception as error:  # not handled in here: its traceback keeps the batch's tensors alive
        if not out_of_memory(error):
            raise
    empty_cache()
    return {"cache": cache, "batch": batch, "out_of_memory": True}


_USUAL = {"questions": 64, "repeats": 5}
_TINY = {"questions": 8, "repeats": 2, "canvas": 64}  # a try, not a measurement


def _sizes(words: str) -> list[int]:
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", words):
        raise argparse.ArgumentTypeError(f"{words} is not a list of whole numbers from 1, such as 1,64")
    return [int(word) for word in words.split(",")]


def _names(words: str) -> list[str]:
    return list(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = Parser(
        prog="python -m warmexp.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--model",
        default="lab",
        help=f"lab (default), {', '.join(SHAPES)} (random weights), or a checkpoint's folder or hub name",
    )
    add("--tiny", action="store_true", help="random weights of a published layout: the same parts, few and small")
    add("--dtype", choices=sorted(DTYPES), default="float32")
    add("--engine", choices=["fast", "graphs"], default="fast", help="graphs: forwards beside a cache as CUDA graphs")
    add("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    add("--questions", type=int, help="how many (default 64; 8 with --tiny)")
    add(
        "--file",
        help='a JSONL file of questions, lines {"question": …}, for a checkpoint (default: the lab\'s questions)',
    )
    add("--prompt", type=int, help="tokens of every prompt (default: as the questions are)")
    add("--canvas", type=int, help="response positions (default 48 for the lab, 64 with --tiny, else 256)")
    add("--block", type=int, help="positions of a block (default 16 for the lab, else 32)")
    add(
        "--batch",
        type=_sizes,
        metavar="N,N,…",
        help="batch sizes of the loop (default 1 and 64, or all questions if they are fewer); the plain decoder has 1",
    )
    caches = "caches (default none,dual; none,exact for random weights of a model that sees blocks)"
    add("--cache", type=_names, metavar="NAME,…", help=caches)
    add("--tau", type=float, default=0.9, help="confidence from which tokens are committed (default 0.9)")
    add(
        "--steps",
        type=int,
        help="forwards per block, whatever the confidences (default 8 for random weights, which are never sure)",
    )
    add("--repeats", type=int, help="rounds (default 5; 2 with --tiny)")
    add("--seed", type=int, default=0, help="of random weights and prompts")
    add("--seeds", type=int, default=2, help="random backbones per kind in the float64 comparison (default 2)")
    parts = f"of {', '.join(PARTS)} (default all; {' and '.join(LAB_ONLY)} with the lab only)"
    add("--parts", type=_names, metavar="NAME,…", help=parts)
    add("--out", type=Path, help="a new folder for bench.json and bench.png (default outputs/bench-DATE_TIME)")
    return parser.parse_args(words)


def _check(chosen: argparse.Namespace) -> None:
    if chosen.cache is None:
        chosen.cache = ["none", "exact"] if chosen.model in BLOCKS else ["none", "dual"]
    if chosen.tiny and chosen.model not in PUBLISHED:
        raise UserError(f"--tiny makes a published layout small and --model is {chosen.model}: leave it out.")
    for name, value in (_TINY if chosen.tiny else _USUAL).items():
        if getattr(chosen, name) is None:
            setattr(chosen, name, value)
    chosen.batch = chosen.batch or sorted({1, min(64, chosen.questions)})
    if chosen.parts is None:
        chosen.parts = [part for part in PARTS if chosen.model == "lab" or part not in LAB_ONLY]
    for part in chosen.parts:
        check_choice("--parts", part, PARTS)
        if part in LAB_ONLY and chosen.model != "lab":
            raise UserError(f"--parts {part} measures runs of the lab and --model is {chosen.model}: leave it out.")
    if not chosen.cache:
        raise UserError("--cache names nothing: give one or more of the caches, such as none,dual.")
    for name, least in (("questions", 1), ("repeats", 1), ("seeds", 1), ("prompt", 1), ("canvas", 1), ("block", 1)):
        value = getattr(chosen, name)
        if value is not None:
            check_range(f"--{name}", value, least, 10**6, "a whole number")
    if max(chosen.batch) > chosen.questions:
        raise UserError(
            f"--batch {max(chosen.batch)} is more than the {chosen.questions} questions: raise --questions or lower it."
        )
    chosen.out = chosen.out or Path("outputs") / time.strftime("bench-%Y-%m-%d_%H-%M-%S")
    if (chosen.out / "bench.json").exists():
        raise UserError(f"--out {chosen.out} holds a benchmark already: give another folder.")


def main(words: list[str] | None = None) -> int:
    """Exit status: 0, or 2 for a user's mistake."""
    words = sys.argv[1:] if words is None else words
    chosen = _arguments(words)
    chosen.words = words
    try:
        _check(chosen)
        try:
            chosen.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--out {chosen.out} cannot be made ({error.strerror}): give another folder.") from None
        result = measure(chosen, partial(write_json, chosen.out / "bench.json"))
    except UserError as error:
        complain(f"warmexp: {error}")
        return 2
    except Exception as error:
        if not out_of_memory(error):
            raise
        complain(
            f"warmexp: --batch {max(chosen.batch)} does not fit into the memory of --device {chosen.device}: lower it."
        )
        return 2
    show(text(result))
    picture(result, chosen.out / "bench.png")
    show(chosen.out)
    return 0


if __name__ == "__main__":
    with ending():
        sys.exit(main())
