"""Tiny matrices: one thread is fastest. And a loop that makes no progress fails instead of hanging."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch

from warmexp.decode.canvas import Canvas
from warmexp.decode.edit import Edit


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="package")
def bounded_blocks():
    """Revocations end after 4W forwards of a block, and each forward after that commits: no block takes more than
    5W."""
    original = Canvas.apply

    def apply(canvas: Canvas, edit: Edit) -> None:
        assert (canvas.visits < 5 * canvas.width).all(), "a block is read for ever"
        original(canvas, edit)

    with patch.object(Canvas, "apply", apply):
        yield
