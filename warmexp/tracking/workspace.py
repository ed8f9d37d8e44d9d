"""`python -m warmexp.tracking.workspace STUDY`: a saved W&B workspace of a study, built as code (needs
`warmexp[workspaces]`).

It shows the runs of the study's group: accuracy against forwards, seconds and the proposal's accuracy, parallel
coordinates over the settings that vary, the front's own figure and table, and the table of runs, cheapest first.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmexp.console import Parser, complain, ending, show
from warmexp.errors import UserError
from warmexp.io import read_json, write_json
from warmexp.secrets import without_secrets
from warmexp.tracking import content
from warmexp.tracking.client import choose, first_line, quiet_client

if TYPE_CHECKING:
    from wandb_workspaces.workspaces import Section, Workspace

FILE = "wandb_workspace.json"  # in the study's folder: the address of the saved view
_COST = {
    "nfe": "nfe_mean", "rows": "rows_mean", "full_forward_equivalents": "full_forward_equivalents_mean", "token_forwards": "token_forwards_mean",
    "guide_forwards": "guide_forwards_mean", "all_forwards": "all_forwards_mean",
    "all_token_forwards": "all_token_forwards_mean",
    "seconds": "seconds_total",
}  # fmt: skip
_MOST_RUNS = 1000


def build(front: dict[str, Any], group: str, entity: str, project: str) -> Workspace:
    """The workspace as wandb-workspaces' own object; nothing is sent. front: what front.json holds."""
    quiet_client()
    from wandb_workspaces import expr, workspaces

    cost, accuracy = _COST[front["x"]], f"accuracy_{front['accuracy']}"
    varying = list(dict.fromkeys(content.flat_key(key) for key in front["varying"]))
    runs = workspaces.RunsetSettings(
        filters=[expr.Metric("Group") == group],
        order=[expr.Ordering(expr.Summary(cost), ascending=True)],
        pinned_columns=[*(f"config:{key}" for key in varying[:8]), f"summary:{cost}", f"summary:{accuracy}"],
    )
    settings = workspaces.WorkspaceSettings(max_runs=_MOST_RUNS)
    sections = _sections(cost, accuracy, varying, content.figure_names(front))
    return workspaces.Workspace(entity, project, f"study {group}", sections, settings=settings, runset_settings=runs)


def _sections(cost: str, accuracy: str, varying: list[str], figures: list[str]) -> list[Section]:
    import wandb_workspaces.reports.v2 as panels
    from wandb_workspaces.workspaces import Section

    def scatter(title: str, x: str, y: str) -> Any:
        return panels.ScatterPlot(title=title, x=panels.SummaryMetric(x), y=panels.SummaryMetric(y))

    column = panels.ParallelCoordinatesPlotColumn
    lines = [*(column(panels.Config(key)) for key in varying), column(panels.SummaryMetric(cost), inverted=True)]
    lines.append(column(panels.SummaryMetric(accuracy)))
    points = [
        scatter("What a forward buys", cost, accuracy),
        scatter("What a second buys", "seconds_total", accuracy),
        scatter("What the proposal was worth", f"proposal_{accuracy}", accuracy),
    ]
    front = [
        *(panels.MediaBrowser(title="The front", media_keys=[figure]) for figure in figures),
        panels.WeavePanelSummaryTable(table_name="front"),
    ]
    return [
        Section(name="Forwards and accuracy", panels=points, is_open=True),
        Section(
            name="Settings", panels=[panels.ParallelCoordinatesPlot(title="Settings", columns=lines)], is_open=True
        ),
        Section(name="The front", panels=front, is_open=True),
    ]


def save(study: Path, front: dict[str, Any], group: str, entity: str, project: str) -> str:
    """Save the workspace, over the one that was saved for this study before.

    Returns:
        its address.
    Raises:
        Exception: whatever the client raises.
    """
    from wandb_workspaces.workspaces import Workspace

    new, before = build(front, group, entity, project), _address(study)
    if before and f"/{entity}/{project}?" in before:
        try:
            old = Workspace.from_url(before)
        except Exception:  # deleted there
            pass
        else:
            old.sections, old.settings, old.runset_settings = new.sections, new.settings, new.runset_settings
            new = old
    new.save()
    write_json(study / FILE, {"url": new.url})
    return new.url


def _address(study: Path) -> str | None:
    try:
        address = read_json(study / FILE).get("url")
    except UserError:
        return None
    return address if isinstance(address, str) else None


def main(arguments: list[str] | None = None) -> int:
    """The command line. Exit status: 0, or 2 with one sentence."""
    asked = _parser().parse_args(arguments)
    try:
        address = _save(asked)
    except UserError as error:
        complain(f"warmexp: {error}")
        return 2
    show(f"workspace: {address}")
    return 0


def _save(asked: argparse.Namespace) -> str:
    study = asked.study
    try:
        front = read_json(study / "front" / "front.json")
        group = asked.group or study.resolve().name
    except (UserError, OSError):
        raise UserError(
            f"{study} has no front/front.json: name a study's folder, such as outputs/studies/NAME."
        ) from None
    if find_spec("wandb_workspaces") is None:
        raise UserError("wandb-workspaces is not installed: pip install 'warmexp[workspaces]'.")
    mode, why = choose("online")
    if mode != "online":
        raise UserError(f"W&B cannot be reached ({why}): a workspace is saved on its server.")
    try:
        entity = asked.entity or quiet_client().Api().default_entity
        return save(study, front, group, entity, asked.project)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"W&B did not save the workspace ({without_secrets(first_line(error))}); check --entity and --project."
        ) from None


def _parser() -> Parser:
    parser = Parser(prog="python -m warmexp.tracking.workspace", description="Save a W&B workspace of a study.")
    parser.add_argument("study", type=Path, metavar="STUDY", help="a study's folder, such as outputs/studies/NAME")
    parser.add_argument(
        "--project",
        default=os.environ.get("WANDB_PROJECT") or "warmexp",
        help="default: WANDB_PROJECT, otherwise warmexp",
    )
    parser.add_argument(
        "--entity",
        default=os.environ.get("WANDB_ENTITY") or None,
        help="default: WANDB_ENTITY, otherwise the key's own",
    )
    parser.add_argument("--group", help="the runs' group; default: the study's name")
    return parser


if __name__ == "__main__":
    with ending():
        sys.exit(main())
