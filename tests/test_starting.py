"""What a command that only shows something loads and reads: nothing that runs a model, and no study but the one it
names. Seconds are not asserted; they follow from this."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HEAVY = [
    "torch",
    "transformers",
    "datasets",
    "pandas",
    "pyarrow",
    "numpy",
    "scipy",
    "sqlalchemy",
    "optuna",
    "matplotlib",
]
HEAVY += ["plotly", "wandb", "mlflow", "pydantic", "huggingface_hub", "joblib.parallel"]
LOOK = """
import json, sys
from omegaconf import OmegaConf
read, load = [], OmegaConf.load
OmegaConf.load = lambda file: read.append(str(file)) or load(file)
from warmexp.__main__ import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
studies = [name.rpartition("/")[2] for name in read if "/sweeps/" in name]
print("\\n" + json.dumps([sorted(set(studies)), [name for name in sys.argv[0].split(",") if name in sys.modules]]))
"""


@pytest.mark.parametrize(
    ("words", "studies", "shown"),
    [
        (["--help"], [], "injection_rate, interpolation"),
        (["--cfg", "job"], [], "canvas_length"),
        (["--cfg", "job", "+sweep=smoke"], ["smoke.yaml"], "limit: 8"),
        (["--version"], [], "warmexp"),
        (["-sc", "query=bash"], [], "init=token_inject"),
    ],
)
def test_what_only_shows_something_loads_no_model_code_and_reads_no_other_study(words, studies, shown):
    code = LOOK.replace("sys.argv[0]", repr(",".join(HEAVY)))
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "COMP_LINE": "warmexp init="},
    )
    assert done.returncode == 0, done.stderr
    *_, last = done.stdout.rstrip().split("\n")
    assert json.loads(last) == [studies, []] and shown in done.stdout
