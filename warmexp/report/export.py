"""A front as files: front.json for programs, front.csv for a spreadsheet, front.png for a paper, report.html for a
reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from warmexp.analysis.axes import AXES
from warmexp.analysis.result import Front
from warmexp.errors import UserError
from warmexp.io import table_text, write_text
from warmexp.report.figure import front_picture
from warmexp.report.quality_figure import quality_picture
from warmexp.secrets import without_secrets


def write_front(front: Front, folder: Path | str, title: str = "warmexp report") -> dict[str, Path]:
    """Write everything; what was there of an earlier front is replaced.

    Returns:
        name -> path, in the order json, csv, png, report; and quality, a second picture, where the quality of the prior
        was varied.
    Raises:
        UserError: where the folder cannot be written.
    """
    from warmexp.report.html import write_report  # loads Plotly

    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another folder.") from None
    paths = {name: folder / file for name, file in (("json", "front.json"), ("csv", "front.csv"), ("png", "front.png"))}
    content = without_secrets(front.to_json())
    write_text(paths["json"], json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(paths["csv"], csv_text(content))
    front_picture(front, paths["png"])
    paths["report"] = folder / "report.html"
    write_report(front, paths["report"], title)
    (folder / "quality.png").unlink(missing_ok=True)
    if front.prior_quality:
        paths["quality"] = quality_picture(front, folder / "quality.png")
    return paths


def csv_text(content: dict[str, Any]) -> str:
    """front.json's runs as a table (io.table_text): one line per run, with every axis, the comparison and the settings
    that vary."""
    return table_text([_row(run, content["varying"]) for run in content["runs"]])


_PLAIN = ("run_id", "label", "method", "proposer", "tau", "oracle", "group", "n", "x")
_SAVED = ("x_of_baseline_front_at_equal_accuracy", "saved", "saved_share", "bound")
_GAINED = "gained_at_equal_cost"
_PAIRED = (
    "baseline", "n", "wins", "losses", "mcnemar_p", "mcnemar_p_holm", "compared", "accuracy_difference", "non_inferior", "x_difference",
    "nfe_difference",
    "questions_needed", "questions_needed_non_inferior",
)  # fmt: skip


def _row(run: dict[str, Any], varying: list[str]) -> dict[str, Any]:
    saved, paired = run["saved"] or {}, run["paired"] or {}
    return {
        **{key: run[key] for key in _PLAIN},
        **_limits("x", run["x_ci95"]),
        "family": run.get("family"),
        "accuracy": run["accuracy"],
        **_limits("accuracy", run["accuracy_ci95"]),
        "x_median": run["x_median"],
        "x_p95": run["x_p95"],
        "on_front": run["on_front"],
        "undominated_share": run["undominated_share"],
        "is_baseline": run["is_baseline"],
        **{name: run["metrics"].get(name) for name in AXES},
        "accuracy_strict": run["accuracies"]["strict"],
        "accuracy_flexible": run["accuracies"]["flexible"],
        "proposal_accuracy": run["proposal_accuracy"],
        **_seeds(run.get("seeds")),
        **{key: saved.get(key) for key in _SAVED},
        **_limits("saved", saved.get("ci95")),
        **_limits("saved_without", saved.get("without")),
        "gained": (saved.get(_GAINED) or {}).get("gained"),
        **_limits("gained", (saved.get(_GAINED) or {}).get("ci95")),
        **_others(run.get("against_others") or {}),
        **{f"paired_{key}": paired.get(key) for key in _PAIRED},
        **_limits("paired_accuracy_difference", paired.get("accuracy_difference_ci95")),
        **_limits("paired_x_difference", paired.get("x_difference_ci95")),
        **_limits("paired_accuracy_difference_together", paired.get("accuracy_difference_simultaneous")),
        **_limits("paired_x_difference_together", paired.get("x_difference_simultaneous")),
        **{key: run["settings"].get(key) for key in varying},
        "folder": run["folder"],
    }


def _others(saved: dict[str, Any]) -> dict[str, Any]:
    """Against the joint front of all other methods."""
    told = {f"others_{key}": saved.get(key) for key in ("saved", "saved_share", "bound")}
    return {**told, **_limits("others_saved", saved.get("ci95"))}


def _seeds(seeds: dict[str, Any] | None) -> dict[str, Any]:
    """Of a point that is several seeds' mean: which, and the standard deviations between them."""
    told = seeds or {}
    return {
        "seeds": " ".join(map(str, told.get("values", ()))) or None,
        "accuracy_sd": told.get("accuracy_sd"),
        "nfe_sd": told.get("nfe_sd"),
    }


def _limits(name: str, interval: list[float | None] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
