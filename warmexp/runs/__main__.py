"""`python -m warmexp.runs`: the runs of an outputs folder: list, find, show, compare, remove, export.

python -m warmexp.runs                                          all runs, the last changed last
python -m warmexp.runs list init=token_inject 'rho>=0.3' status=failed
python -m warmexp.runs show 7a6777                              any beginning of a name or of its hash
python -m warmexp.runs diff 7a6777 lab-token_inject             settings, results and answers that differ
python -m warmexp.runs remove status=failed                     says what would go; --yes deletes
python -m warmexp.runs prune                                    what nothing needs, likewise
python -m warmexp.runs sizes
python -m warmexp.runs export runs.parquet task=lab             or .csv; --questions: a row per question
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from warmexp.console import Parser, complain, ending, show
from warmexp.errors import UserError, check_choice, closest
from warmexp.runs.catalogue import FINISHED, Run, catalogue, named
from warmexp.runs.compare import differences
from warmexp.runs.export import export
from warmexp.runs.listing import COLUMNS, table
from warmexp.runs.space import Found, in_words, prunable, refuse_running, remove, size_of, sizes
from warmexp.runs.where import chosen, value_of

COMMANDS = ("list", "show", "diff", "remove", "prune", "sizes", "export")


def _parser() -> Parser:
    parser = Parser(
        prog="python -m warmexp.runs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("command", nargs="?", default="list", help=f"one of {', '.join(COMMANDS)} (default: list)")
    add("words", nargs="*", metavar="WORD", help="runs, or conditions: KEY=VALUE, KEY!=VALUE, KEY>=NUMBER, KEY~TEXT")
    add("--outputs", type=Path, default=Path("outputs"), help="where the runs lie (default: outputs)")
    add("--sort", metavar="KEY", help="of list: by what, such as nfe or -accuracy, the largest first")
    add("--columns", metavar="KEY,…", help="of list: further keys to show, such as rho,tau,seed")
    add("--yes", action="store_true", help="of remove and prune: delete, instead of saying what would go")
    add("--questions", action="store_true", help="of export: a row per question of the finished runs")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Carry out one command. Raises UserError for a user's mistake."""
    given = _parser().parse_intermixed_args(arguments)
    if any(sign in given.command for sign in "=<>~"):  # a condition, where no command was given
        given.words, given.command = [given.command, *given.words], "list"
    check_choice("the command", given.command, COMMANDS)
    runs = catalogue(given.outputs)
    {
        "list": _list,
        "show": _show,
        "diff": _diff,
        "remove": _remove,
        "prune": _prune,
        "sizes": _sizes,
        "export": _export,
    }[given.command](given, runs)


def _list(given: argparse.Namespace, runs: list[Run]) -> None:
    found = chosen(runs, given.words)
    if given.sort:
        key = given.sort.lstrip("-")
        found = _by(found, key, given.sort.startswith("-"))
    more = [key for key in (given.columns or "").split(",") if key]
    table(found, more)
    count = f"{len(found)} of {len(runs)} runs" if given.words else f"{len(runs)} runs"
    states = ", ".join(
        f"{sum(run.status == status for run in found)} {status}"
        for status in dict.fromkeys(run.status for run in found)
    )
    show(f"{count}{f' ({states})' if states else ''}")
    for run in [run for run in found if run.reason][:10]:
        show(f"{run.status}: {run.name}: {run.reason}")


def _by(runs: list[Run], key: str, descending: bool) -> list[Run]:
    having = [run for run in runs if value_of(run, key)]
    if runs and not having:
        keys = [*COLUMNS, *{name for run in runs for name in (*run.settings, *run.summary)}]
        raise UserError(f"--sort {key}: no run has the key{closest(key, keys)}.")
    numeric = all(isinstance(value_of(run, key)[0], int | float) for run in having)
    rest = [run for run in runs if run not in having]
    return [
        *sorted(
            having, key=lambda run: value_of(run, key)[0] if numeric else str(value_of(run, key)[0]), reverse=descending
        ),
        *rest,
    ]


def _show(given: argparse.Namespace, runs: list[Run]) -> None:
    for word in given.words or _wanting("show", "a run"):
        run = named(runs, word)
        when = datetime.fromtimestamp(run.changed).isoformat(" ", "seconds")
        show(
            f"{run.folder}",
            f"  {run.status}, {run.records} of {run.questions} questions, {in_words(size_of(run.folder))}, {when}",
        )
        if run.reason:
            show(f"  {run.reason}")
        if run.studies:
            show(f"  of {', '.join(run.studies)}")
        for title, part in (("settings", run.settings), ("results", run.summary)):
            show(f"  {title}:", *(f"    {key}: {_value(value)}" for key, value in part.items() if value is not None))


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    return (
        f"{value:.6g}"
        if isinstance(value, float)
        else repr(value)
        if isinstance(value, str) and "\n" in value
        else str(value)
    )


def _diff(given: argparse.Namespace, runs: list[Run]) -> None:
    if len(given.words) != 2:
        _wanting("diff", "two runs")
    first, second = (named(runs, word) for word in given.words)
    show(f"A  {first.name}", f"B  {second.name}")
    for line in differences(first, second):
        show(line)


def _remove(given: argparse.Namespace, runs: list[Run]) -> None:
    words = given.words or _wanting("remove", "runs, or conditions such as status=failed")
    conditions = [word for word in words if any(sign in word for sign in "=<>~")]
    found = [named(runs, word) for word in words if word not in conditions]
    if conditions:
        found += [run for run in chosen(runs, conditions) if run.folder and run not in found]
    refuse_running(found)
    _let_go(
        [Found(run.folder, f"a run, {run.status}, {run.records} records", size_of(run.folder)) for run in found], given
    )


def _prune(given: argparse.Namespace, runs: list[Run]) -> None:
    _let_go(prunable(given.outputs, chosen(runs, given.words)), given)


def _let_go(found: list[Found], given: argparse.Namespace) -> None:
    if not found:
        show("nothing to delete")
        return
    for one in found:
        show(f"{one.path}  {in_words(one.bytes)}  {one.why}")
    total = in_words(sum(one.bytes for one in found))
    if given.yes:
        show(f"deleted {len(found)}: {in_words(remove(found))} freed")
    else:
        show(f"{len(found)} would be deleted, {total}; nothing was: add --yes")


def _sizes(given: argparse.Namespace, runs: list[Run]) -> None:
    parts = sizes(given.outputs, runs)
    for name, size in parts:
        show(f"{in_words(size):>12}  {name}")
    total, count = sum(size for _, size in parts), sum(run.folder is not None for run in runs)
    show(f"{in_words(total):>12}  {given.outputs}, {count} runs")
    largest = sorted(((size_of(run.folder), run.name) for run in runs if run.folder), reverse=True)[:5]
    for size, name in largest:
        show(f"{in_words(size):>12}  {name}")


def _export(given: argparse.Namespace, runs: list[Run]) -> None:
    if not given.words or any(sign in given.words[0] for sign in "=<>~"):
        _wanting("export", "a file that ends in .parquet or .csv")
    file = Path(given.words[0]).expanduser()
    found = chosen(runs, given.words[1:])
    rows = export(found, file, given.questions, complain)
    of = sum(run.status == FINISHED for run in found) if given.questions else rows
    show(f"{file}: {rows} rows" + (f" of {of} finished runs" if given.questions else ", one per run"))


def _wanting(command: str, what: str) -> Any:
    raise UserError(f"{command} wants {what}: python -m warmexp.runs {command} …")


if __name__ == "__main__":
    with ending():
        main()
        sys.exit(0)
