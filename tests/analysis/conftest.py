"""Real small run folders, written as a run writes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from warmexp.runs.statistics import bootstrap_mean, wilson


def record(i: int, nfe: float, strict: bool, flexible: bool, proposed: bool) -> dict:
    """A question that took `nfe` forwards of 10 ms on a row of 80 tokens; every fourth proposal is right."""
    proposal = {
        "seconds": 0.5,
        "correct_strict": i % 4 == 0,
        "correct_flexible": i % 4 == 0,
        "trust": [0.9, 0.5],
        "tokens": 2,
    }
    return {
        "id": f"lab-{i}",
        "correct": {"strict": strict, "flexible": flexible},
        "proposal": proposal if proposed else None,
        "nfe": nfe,
        "aux_forwards": 0,
        "full_forward_equivalents": float(nfe),
        "token_forwards": 80 * nfe,
        "response_tokens": 3,
        "seconds": 0.01 * nfe,
        "ids": [7, 8, 9, 0],
        "source": ["injected" if proposed else "decoded", "decoded", "decoded", "decoded"],
        "confidence": [None if proposed else 0.75, 0.95, 1.0, 1.0],
        "revocations": [[1, 1, 5, "injected", -1]] if proposed else [],
    }


def write_run(
    folder: Path,
    *,
    init: str = "mask",
    init_keys: dict | None = None,
    remask: str = "none",
    proposer: str = "lab_weak",
    proposer_keys: dict | None = None,
    tau: float = 0.9,
    nfe: float = 10.0,
    correct: int = 75,
    n: int = 100,
    oracle: bool = False,
    status: str = "finished",
    model: str = "m",
    settings: dict | None = None,
    environment: dict | None = None,
    shift: int = 0,
    **changes: object,
) -> Path:
    """A run folder: n records whose NFE averages `nfe` (half of them one above, half one below), `correct` of them
    right.

    settings: parts of the configuration that differ from these. environment: of environment.json, which is else not
    written. shift: which questions are right: those from n − shift on first.
    """
    folder.mkdir(parents=True)
    choices = {"backbone": "lab", "proposer": proposer, "init": init, "remask": remask, "unmask": "threshold"}
    choices |= {"cache": "none", "length": "fixed", "task": "lab", "tracker": "none"}
    config = {
        "choices": choices,
        "init": {"_target_": f"warmexp.methods.init.{init}.Init", **(init_keys or {})},
        "unmask": {"_target_": "warmexp.methods.unmask.threshold.Threshold", "tau": tau},
        "remask": {"_target_": f"warmexp.methods.remask.{remask}.Remask"},
        "proposer": {"_target_": "warmexp.proposers.hf.HFProposer", **(proposer_keys or {})},
        "seed": 0,
        "tau": tau,
        "identity": {"backbone": {"model": model}},
    }
    for key, value in (settings or {}).items():
        config[key] = {**config.get(key, {}), **value} if isinstance(value, dict) else value
    if environment is not None:
        (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    right = [(i + shift) % n < correct for i in range(n)]
    records = [
        record(i, nfe + (1 if i % 2 else -1), right[i], right[i] or i == correct, init != "mask") for i in range(n)
    ]
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    summary = {
        "run_id": hashlib.sha256(str(folder).encode()).hexdigest()[:12],
        "status": status,
        "oracle": oracle,
        "n": n,
        "nfe_mean": nfe,
        "nfe_ci95": list(bootstrap_mean([record["nfe"] for record in records])),
        "accuracy_strict": correct / n,
        "accuracy_strict_ci95": list(wilson(correct, n)),
        "accuracy_flexible": min(correct + 1, n) / n,
        "accuracy_flexible_ci95": list(wilson(min(correct + 1, n), n)),
        "proposal_accuracy_strict": None if init == "mask" else 0.25,
        "proposal_accuracy_flexible": None if init == "mask" else 0.3,
        "seconds_total": 12.5,
        "questions_sha256": "q" * 64,
    }
    (folder / "summary.json").write_text(json.dumps(summary | changes), encoding="utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """`run("name", init=..., nfe=...)` writes a run folder under tmp_path and returns it."""
    return lambda name, **keys: write_run(tmp_path / name, **keys)


@pytest.fixture(scope="session")
def lab_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folders of reports.RUNS on the lab, for tests that only read them."""
    from tests.report.reports import lab_runs

    return lab_runs(tmp_path_factory.mktemp("lab-study"))
