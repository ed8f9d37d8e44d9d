"""Real lab runs for a report, copies of them by the hundred, and a slow, obvious replay of a decode from its record."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from warmexp.analysis.analysis import analyse
from warmexp.analysis.points import collect
from warmexp.api import run_overrides
from warmexp.report.html import write_report

QUESTIONS = 24
RUNS = (
    ["tau=0.7"],
    ["tau=0.9"],
    ["init=token_inject", "proposer=lab_weak", "remask=linear"],
    ["init=token_inject", "proposer=lab_strong", "rho=0.3"],
    ["init=token_inject", "proposer=oracle"],
)
HOSTILE = "</script><img src=x onerror=\"window.pwned=1\"><b>bold</b> & 'q' <!-- {{x}} ${y} %{z}"


def lab_runs(outputs: Path, lines=RUNS, questions: int = QUESTIONS) -> Path:
    for line in lines:
        run_overrides([*line, f"task.limit={questions}", f"outputs={outputs}"])
    return outputs


def report(root: Path, file: Path, accuracy: str = "flexible", **keys: Any) -> str:
    points, left_out = collect(root, accuracy)
    return write_report(analyse(points, left_out=left_out, **keys), file).read_text(encoding="utf-8")


def unpacked(html: str) -> dict[str, Any]:
    """Every embedded block by its name."""
    found = re.findall(r'<script type="text/plain" id="([\w-]+)">([A-Za-z0-9+/=]*)</script>', html)
    return {name: json.loads(gzip.decompress(base64.b64decode(block))) for name, block in found}


def records(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        record["id"]: record
        for record in map(json.loads, (folder / "records.jsonl").read_text(encoding="utf-8").splitlines())
    }


def rewrite(folder: Path, change) -> None:
    """Put every record through `change`, which returns the new one."""
    rows = [change(record) for record in records(folder).values()]
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def copies(folder: Path, into: Path, n: int) -> Path:
    """The same run n times under other names and with another ρ."""
    for i in range(n):
        copy = into / f"copy-{i:03}"
        shutil.copytree(folder, copy)
        config = OmegaConf.load(copy / "config.yaml")
        config.init.rho = round((i + 1) / n, 4)
        OmegaConf.save(config, copy / "config.yaml")
        summary = json.loads((copy / "summary.json").read_text(encoding="utf-8"))
        (copy / "summary.json").write_text(
            json.dumps(summary | {"run_id": f"{summary['run_id']}-{i:03}"}), encoding="utf-8"
        )
    return into


def replay(record: dict[str, Any]) -> list[list[int | None]]:
    """Canvases before the first forward and after each one, None where masked: every edit applied in its turn."""
    there = zip(record["ids"], record["source"], record["commit_iteration"], strict=True)
    start = [token if source in ("injected", "fixed") and committed < 0 else None for token, source, committed in there]
    for _, position, token, source, committed in record["revocations"]:
        if source == "injected" and committed < 0:
            start[position] = token
    last = max([*record["commit_iteration"], *(event[0] for event in record["revocations"])])
    canvases = [start]
    for n in range(last + 1):
        canvas = list(canvases[-1])
        for iteration, position, token, _, committed in record["revocations"]:
            if committed == n:
                canvas[position] = token
            if iteration == n:
                canvas[position] = None
        for position, (token, committed) in enumerate(zip(record["ids"], record["commit_iteration"], strict=True)):
            if committed == n:
                canvas[position] = token
        canvases.append(canvas)
    return canvases
