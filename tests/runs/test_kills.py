"""Commands that are killed at random moments lose no record and write none twice: tests/runs/kills.py."""

from __future__ import annotations

import importlib.util
import random

import pytest

from tests.runs.kills import WAYS, Server, Torn

needs = {"local": "joblib", "search": "optuna"}


def torn_by(way: str, kills: int, seed: int, checkpoint, folder) -> Torn:
    if way in needs and importlib.util.find_spec(needs[way]) is None:
        pytest.skip(f"{needs[way]} is not installed")
    server = Server(folder / "log")
    try:
        torn = Torn(way, server, checkpoint, folder, random.Random(seed))
        torn.kill(kills)
    finally:
        server.close()
    assert torn.kills >= kills
    return torn


@pytest.mark.slow
def test_a_run_that_is_killed_once(checkpoint, tmp_path, monkeypatch):
    """Killed, gone on, compared with the same run undisturbed."""
    monkeypatch.setattr("tests.runs.kills.QUESTIONS", 6)
    torn = torn_by("plain", 1, 0, checkpoint, tmp_path)
    assert (torn.lost, torn.doubled, torn.wrong) == (0, 0, 0), torn


@pytest.mark.slow
@pytest.mark.parametrize("way", ["plain", "devices"])
def test_nothing_is_lost_and_nothing_doubled(way, checkpoint, tmp_path):
    torn = torn_by(way, 3, 0, checkpoint, tmp_path)
    assert (torn.lost, torn.doubled, torn.wrong) == (0, 0, 0), torn


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_twenty_kills_of_each_way(way, checkpoint, tmp_path):
    torn = torn_by(way, 20, 1, checkpoint, tmp_path)
    assert (torn.lost, torn.doubled, torn.wrong) == (0, 0, 0), torn
