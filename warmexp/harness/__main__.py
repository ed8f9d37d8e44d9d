"""`python -m warmexp.harness --tasks TASK[,TASK] OVERRIDES…`: lm-evaluation-harness with a warmexp pipeline as the model.

The overrides are those of `python -m warmexp` and say how to decode; which questions are asked, with which shots and scores, is the
harness's affair. The harness's own command line takes a model's arguments as one comma-separated word, which overrides do not fit
(`remask=linear,remask.scope=all` would do, a list or a template would not); hence this one.

Prompts go through the backbone's template as one user turn, shots included. Responses end at the first end token, as those of the
harness's own models do; `--uncut` hands over all that was decoded (tasks/response.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from warmexp.api import planned
from warmexp.config.messages import explain
from warmexp.console import complain, show
from warmexp.errors import UserError, closest
from warmexp.io import write_json
from warmexp.models.hub import offline_if_unreachable


def evaluate(
    tasks: list[str],
    overrides: list[str],
    limit: int | None = None,
    num_fewshot: int | None = None,
    include_path: str | None = None,
    uncut: bool = False,
    say: Callable[[str], None] = show,
) -> dict[str, Any]:
    """The harness's results, with the pipeline and its cost under "config".

    Args:
        tasks: names or patterns of the harness's tasks.
        overrides: as on warmexp's command line, without a task.
        limit: the first questions of each task only. num_fewshot: instead of the task's own number.
        include_path: a folder with further task files (YAML).
        uncut: score all that was decoded, not only what stands before the first end token.
        say: takes a line for the user.
    Raises:
        UserError: the harness is not installed, a task is unknown or asks for likelihoods, the overrides name a task or cannot be run,
            the proposer cannot work from a prompt alone.
    """
    for word in overrides:
        if word.lstrip("+~").partition("=")[0].partition(".")[0] == "task":
            raise UserError(f"{word} is not read here, because the questions are the harness's: name them with --tasks.")
    if include_path is not None and not Path(include_path).is_dir():
        raise UserError(f"--include_path {include_path} is not a folder: give one that holds task files (YAML).")
    offline_if_unreachable()  # before the harness imports `datasets`, which looks once
    try:
        from lm_eval.evaluator import simple_evaluate
    except ImportError as error:
        why = "is not installed" if (error.name or "").partition(".")[0] == "lm_eval" else f"cannot be imported ({error})"
        raise UserError(f"lm-evaluation-harness {why}: pip install 'warmexp[harness]'.") from None
    from warmexp.harness.model import Pipeline

    # A plan has questions; this one of the lab's is never asked.
    model = Pipeline(planned([*overrides, "task=lab", "task.limit=1"]), uncut, say)
    manager, names = _find(tasks, include_path)
    try:
        results = simple_evaluate(
            model=model, tasks=names, task_manager=manager, limit=limit, num_fewshot=num_fewshot, bootstrap_iters=1000, log_samples=True
        )
    except UserError:
        raise
    except Exception as error:
        if model.started:
            raise
        # Nothing has been asked yet: the task's data are not to be had, or its file is wrong.
        first = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"--tasks {','.join(names)} cannot be built by the harness ({type(error).__name__}: {first}): check the task's file, and"
            " whether its data are in the local cache or can be downloaded."
        ) from error
    results["config"]["model"] = "warmexp"
    return results


def _find(tasks: list[str], include_path: str | None) -> tuple[Any, list[str]]:
    """The harness's task manager and the names it knows for what was asked. Its own 14,000 tasks take seconds to list, so they are listed
    only if a folder of the user's own does not have all that was asked."""
    from lm_eval.tasks import TaskManager

    manager = None
    if include_path is not None:
        manager = TaskManager(include_path=include_path, include_defaults=False)
    if manager is None or not all(manager.match_tasks([task]) for task in tasks):
        manager = TaskManager(include_path=include_path)
    for task in tasks:
        if not manager.match_tasks([task]):
            raise UserError(f"--tasks {task} is not a task of the harness{closest(task, manager.all_tasks)}: see `lm_eval ls tasks`.")
    return manager, list(dict.fromkeys(name for task in tasks for name in manager.match_tasks([task])))


def main(argv: list[str] | None = None) -> None:
    """Entry point of `python -m warmexp.harness`. Exit status: 0, 2 (a user's mistake), 130."""
    parser = argparse.ArgumentParser(prog="python -m warmexp.harness", description=__doc__.partition("\n")[0].replace("`", ""))
    parser.add_argument("--tasks", required=True, help="names of the harness's tasks, with commas between them")
    parser.add_argument("--limit", type=int, help="the first questions of each task only")
    parser.add_argument("--num_fewshot", type=int, help="instead of the task's own number (use 0 with the lab's backbone)")
    parser.add_argument("--include_path", help="a folder with further task files (YAML)")
    parser.add_argument("--output_path", help="a JSON file for results and samples")
    parser.add_argument("--uncut", action="store_true", help="score all that was decoded, also behind the first end token")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="init=token_inject rho=0.5 …, as for python -m warmexp")
    given = parser.parse_intermixed_args(argv)
    try:
        tasks = [name for name in given.tasks.split(",") if name]
        if not tasks:
            raise UserError("--tasks names no task: give one or several with commas between them.")
        if given.output_path and not Path(given.output_path).parent.is_dir():
            raise UserError(f"--output_path {given.output_path} is in a folder that does not exist: make it, or choose another.")
        results = evaluate(tasks, given.overrides, given.limit, given.num_fewshot, given.include_path, given.uncut)
        _report(results)
        if given.output_path:
            write_json(Path(given.output_path), results)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        complain(f"warmexp: {explain(error)}")
        sys.exit(2)
    except KeyboardInterrupt:
        complain("warmexp: interrupted; what was decoded is kept, and the same command goes on from there.")
        sys.exit(130)


def _report(results: dict[str, Any]) -> None:
    from lm_eval.utils import make_table

    show(make_table(results))
    if results.get("groups"):
        show(make_table(results, "groups"))
    cost = results["config"]
    show(f"{cost['n']} questions, NFE {cost['nfe_mean']:.2f} per question, {cost['seconds_decode']:.1f} s of decoding")


if __name__ == "__main__":
    main()
