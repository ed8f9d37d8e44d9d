"""Floors that are measured in no time."""

from __future__ import annotations

import pytest

from warmexp.bench import floors


@pytest.fixture(autouse=True)
def small_floors(monkeypatch):
    monkeypatch.setattr(floors, "COPY_BYTES", {"cpu": 1 << 16})
    monkeypatch.setattr(floors, "MATMUL_SIZE", {"cpu": 32})
