"""Run folders as pandas tables, and a small plot:

    python examples/runs_in_pandas.py outputs          # prints a row per run, writes runs.png
    python examples/runs_in_pandas.py outputs --out figure.pdf

`runs(root)` and `records(root)` are what to copy into a notebook.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml


def runs(root: Path) -> pd.DataFrame:
    """A row per run: what was chosen (`config.yaml`, nested keys joined by dots) and what came out (`summary.json`)."""
    rows = []
    for summary in sorted(root.rglob("summary.json")):
        config = yaml.safe_load((summary.parent / "config.yaml").read_text(encoding="utf-8"))
        row = {f"config.{key}": value for key, value in pd.json_normalize(config).iloc[0].items()}
        rows.append({"folder": str(summary.parent)} | row | json.loads(summary.read_text(encoding="utf-8")))
    return pd.DataFrame(rows)


def records(root: Path) -> pd.DataFrame:
    """A row per run and question, the fields of `records.jsonl`; `strict` and `flexible` say whether the answer was
    right."""
    tables = []
    for file in sorted(root.rglob("records.jsonl")):
        table = pd.read_json(file, lines=True, dtype={"id": str})
        right = pd.DataFrame(list(table["correct"]), index=table.index)
        tables.append(table.assign(folder=str(file.parent), strict=right["strict"], flexible=right["flexible"]))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def reach(table: pd.DataFrame, value: str, interval: str) -> np.ndarray:
    """How far each interval [low, high] reaches below and above its value: [2, runs], as matplotlib wants it."""
    return abs(np.array(table[interval].tolist()).T - table[value].to_numpy())


def plot(table: pd.DataFrame, out: Path) -> None:
    """Accuracy over forwards with both 95 % intervals: a mark per run, a colour per init; hollow where an oracle saw
    the answer."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for (init, oracle), group in table.groupby(["config.choices.init", "oracle"]):
        axes.errorbar(
            group["nfe_mean"],
            group["accuracy_flexible"],
            xerr=reach(group, "nfe_mean", "nfe_ci95"),
            yerr=reach(group, "accuracy_flexible", "accuracy_flexible_ci95"),
            fmt="o",
            fillstyle="none" if oracle else "full",
            label=f"{init} (oracle)" if oracle else init,
        )
    axes.set(xlabel="NFE (forwards per question)", ylabel="accuracy, flexible match")
    axes.legend(frameon=False)
    figure.savefig(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="a folder that holds run folders, such as outputs")
    parser.add_argument("--out", type=Path, default=Path("runs.png"))
    options = parser.parse_args()
    found = runs(options.root)
    if found.empty:
        parser.error(f"{options.root} holds no finished run: give a folder such as outputs, or run `make demo` first.")
    print(
        found[
            ["config.choices.init", "config.choices.remask", "n", "nfe_mean", "accuracy_flexible", "folder"]
        ].to_string(index=False)
    )
    each = records(options.root)
    print("\nforwards of right and of wrong answers")
    print(each.groupby(["folder", "flexible"])["nfe"].agg(["count", "mean", "median"]).round(2).to_string())
    plot(found, options.out)
