"""`python -m warmexp.harness --tasks TASK[,TASK] OVERRIDES…`: lm-evaluation-harness with a warmexp pipeline as the
model.

The overrides are those of `python -m warmexp` and say how to decode; which questions are asked, with which shots and
scores, is the harness's affair. `python -m warmexp.harness.lm_eval --model warmexp --model_args init=token_inject
rho=0.5 --tasks gsm8k` is the harness's own command line with the same model (lm_eval.py).

Prompts go through the backbone's template as one user turn, shots included. Responses end at the first end token, as
those of the harness's own models do; `--uncut` hands over all that was decoded (tasks/response.py).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from warmexp.config.messages import MISTAKES, explain
from warmexp.console import GOES_ON, ending, show
from warmexp.errors import UserError, closest
from warmexp.harness.library import NO_CACHE, need_harness
from warmexp.io import write_json, write_text
from warmexp.secrets import json_without_secrets

CACHE_REQUESTS = ("true", "refresh", "delete")


def evaluate(
    tasks: list[str],
    overrides: list[str],
    limit: float | None = None,
    num_fewshot: int | None = None,
    include_path: str | None = None,
    uncut: bool = False,
    cache_requests: str | None = None,
    say: Callable[[str], None] = show,
) -> dict[str, Any]:
    """The harness's results, with the pipeline and its cost under "config".

    Args:
        tasks: names or patterns of the harness's tasks.
        overrides: as on warmexp's command line, without a task.
        limit: the first questions of each task only, as a number or as a share below 1. num_fewshot: instead of the
        task's own number.
        include_path: a folder with further task files (YAML).
        uncut: score all that was decoded, not only what stands before the first end token.
        cache_requests: `true` keeps the prompts that the harness builds and takes kept ones, `refresh` builds them
            again, `delete` deletes what is kept.
        say: takes a line for the user.
    Raises:
        UserError: the harness is not installed, a task is unknown or asks for likelihoods, the overrides name a task or
            cannot be run, the proposer cannot work from a prompt alone.
    """
    if limit is not None and not (0 < limit < 1 or (limit >= 1 and float(limit).is_integer())):
        raise UserError(
            f"--limit {limit:g} is neither a number of questions nor a share of them below 1: choose one, such as 50"
            " or 0.1."
        )
    if cache_requests not in (None, *CACHE_REQUESTS):
        raise UserError(f"--cache_requests {cache_requests} is not one of {', '.join(CACHE_REQUESTS)}.")
    if include_path is not None and not Path(include_path).is_dir():
        raise UserError(f"--include_path {include_path} is not a folder: give one that holds task files (YAML).")
    need_harness()
    from lm_eval.evaluator import simple_evaluate

    from warmexp.harness.model import Pipeline

    model = Pipeline.of(overrides, uncut, say)
    manager, names = _find(tasks, include_path)
    try:
        results = simple_evaluate(
            model=model,
            tasks=names,
            task_manager=manager,
            limit=limit,
            num_fewshot=num_fewshot,
            bootstrap_iters=1000,
            log_samples=True,
            cache_requests=cache_requests in ("true", "refresh"),
            rewrite_requests_cache=cache_requests == "refresh",
            delete_requests_cache=cache_requests == "delete",
        )
    except UserError:
        raise
    except Exception as error:
        if model.started:
            raise
        # Nothing has been asked yet: the task's data are not to be had, or its file is wrong.
        first = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"--tasks {','.join(names)} cannot be built by the harness ({type(error).__name__}: {first}): check the"
            " task's file, and whether its data are in the local cache or can be downloaded."
        ) from error
    results["config"]["model"] = "warmexp"
    return results


def _find(tasks: list[str], include_path: str | None) -> tuple[Any, list[str]]:
    """The harness's task manager and the names it knows for what was asked. Its own 14,000 tasks take seconds to list,
    so they are listed only if a folder of the user's own does not have all that was asked."""
    from lm_eval.tasks import TaskManager

    manager = None
    if include_path is not None:
        manager = TaskManager(include_path=include_path, include_defaults=False)
    if manager is None or not all(manager.match_tasks([task]) for task in tasks):
        manager = TaskManager(include_path=include_path)
    for task in tasks:
        if not manager.match_tasks([task]):
            raise UserError(
                f"--tasks {task} is not a task of the harness{closest(task, manager.all_tasks)}: see `lm_eval ls"
                " tasks`."
            )
    return manager, list(dict.fromkeys(name for task in tasks for name in manager.match_tasks([task])))


def main(argv: list[str] | None = None) -> None:
    """Entry point of `python -m warmexp.harness`. Exit status: 0, 2 (a user's mistake), 130."""
    parser = argparse.ArgumentParser(
        prog="python -m warmexp.harness", description=__doc__.partition("\n")[0].replace("`", "")
    )
    parser.add_argument("--tasks", required=True, help="names of the harness's tasks, with commas between them")
    parser.add_argument(
        "--limit", type=float, help="the first questions of each task only: a number, or a share below 1"
    )
    parser.add_argument(
        "--num_fewshot", type=int, help="instead of the task's own number (use 0 with the lab's backbone)"
    )
    parser.add_argument("--include_path", help="a folder with further task files (YAML)")
    parser.add_argument("--output_path", help="a file (.json) for results and samples, or a folder for results")
    parser.add_argument(
        "--log_samples", action="store_true", help="write the samples into the folder too, a file for each task"
    )
    parser.add_argument(
        "--cache_requests",
        nargs="?",
        const="true",
        help="keep the prompts that the harness builds: true, refresh, delete",
    )
    parser.add_argument("--use_cache", help=argparse.SUPPRESS)
    parser.add_argument(
        "--uncut", action="store_true", help="score all that was decoded, also behind the first end token"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="init=token_inject rho=0.5 …, as for python -m warmexp"
    )
    given = parser.parse_intermixed_args(argv)
    with ending(explain, MISTAKES, GOES_ON):
        tasks = [name for name in given.tasks.split(",") if name]
        if not tasks:
            raise UserError("--tasks names no task: give one or several with commas between them.")
        if given.use_cache is not None:
            raise UserError(f"--{NO_CACHE}")
        place = _place(given.output_path, given.log_samples)
        results = evaluate(
            tasks,
            given.overrides,
            given.limit,
            given.num_fewshot,
            given.include_path,
            given.uncut,
            given.cache_requests,
        )
        if place is not None:
            _write(results, place, given.log_samples)
        _report(results)


def _place(path: str | None, samples: bool) -> Path | None:
    """Where results go: a file, or a folder, which is made before anything is decoded."""
    if not path:
        if samples:
            raise UserError("--log_samples needs a place for them: give --output_path FOLDER.")
        return None
    place = Path(path).expanduser()
    if place.suffix == ".json" and not place.is_dir():
        if not place.parent.is_dir():
            raise UserError(f"--output_path {path} is in a folder that does not exist: make it, or choose another.")
        return place
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"--output_path {path} cannot be made a folder ({error.strerror}): choose another, or a file ending in"
            " .json."
        ) from None
    return place


def _write(results: dict[str, Any], place: Path, samples: bool) -> None:
    """One file with everything; or, in a folder, results_DATE.json and samples_TASK_DATE.jsonl for each task, named as
    the harness does."""
    if not place.is_dir():
        write_json(place, results)
        return
    date = datetime.now().isoformat().replace(":", "-")
    write_json(place / f"results_{date}.json", {key: value for key, value in results.items() if key != "samples"})
    for task, rows in results["samples"].items() if samples else ():
        name = re.sub(r"[^\w.-]", "_", task)
        lines = (json_without_secrets(row, ensure_ascii=False, default=str) + "\n" for row in rows)
        write_text(place / f"samples_{name}_{date}.jsonl", "".join(lines))


def _report(results: dict[str, Any]) -> None:
    from lm_eval.utils import make_table

    show(make_table(results))
    if results.get("groups"):
        show(make_table(results, "groups"))
    cost = results["config"]
    show(f"{cost['n']} answers, NFE {cost['nfe_mean']:.2f} per question, {cost['seconds_decode']:.1f} s of decoding")


if __name__ == "__main__":
    main()
