"""Nothing that is published may change: stored records of many compositions, and the same with other batches."""

from __future__ import annotations

import pytest
import torch

from tests.golden.compositions import COMPOSITIONS, load, records
from warmexp.api import planned

STORED = load()


@pytest.fixture(scope="module")
def backbone():
    return planned(["backbone.dtype=float64", "task.limit=1"]).backbone.load(torch.device("cpu"))


@pytest.mark.parametrize(
    "name", [name if k % 3 else pytest.param(name, marks=pytest.mark.slow) for k, name in enumerate(COMPOSITIONS)]
)
def test_records_are_as_stored(backbone, name):
    # A batch of two and one alone: neighbours, and the order in which places become free, change nothing either.
    assert records(backbone, STORED, name, batch=2) == STORED["records"][name]


def test_every_stored_record_is_compared():
    assert set(STORED["records"]) == set(COMPOSITIONS)
