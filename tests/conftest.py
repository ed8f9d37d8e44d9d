"""Shared fixtures: one thread per test process, a small checkpoint, a home of one's own."""

from __future__ import annotations

import gc
import logging
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from hypothesis import settings

from tests.checkpoints import write_checkpoint
from tests.skipped import line_of
from warmexp.runs import run as running

torch.set_num_threads(1)
settings.register_profile("large")  # ten times as many random decoding problems: tests/decode/cases.py


def pytest_collection_finish(session):
    """What was imported and collected is there to the end: no collection of a run's garbage has to look through it
    again."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter):
    line = line_of(terminalreporter.stats.get("skipped", []))
    if line is not None:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """A small random backbone in LLaDA's layout."""
    return write_checkpoint(tmp_path_factory.mktemp("llada"))


@pytest.fixture
def quiet_home(tmp_path, monkeypatch) -> Path:
    """A home, working and cache directory of its own, and no key of any tracker."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DISABLED", "WANDB_PROJECT", "WANDB_ENTITY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def no_pictures(request, monkeypatch):
    """A small run's own picture takes a fifth of its time: it is drawn where a test that looks at it is marked
    `pictures`."""
    if request.node.get_closest_marker("pictures") is None:
        monkeypatch.setattr(running, "_figures", lambda folder, records: [])


@pytest.fixture(autouse=True)
def logging_as_before():
    """Hydra points log handlers at the standard output of the moment, which a test's capture closes behind it."""
    loggers = [logging.getLogger(name) for name in (None, "hydra", "HYDRA")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
