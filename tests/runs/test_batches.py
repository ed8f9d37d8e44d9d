"""Every way in which memory that has run out is said halves the batch; no other error does."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import torch
from safetensors import safe_open

from tests.checkpoints import write_checkpoint
from warmexp.errors import UserError, out_of_memory
from warmexp.models import weights
from warmexp.models.checkpoint import Checkpoint
from warmexp.runs.batches import halving, shrinking

CUBLAS = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"


def accelerator_error(text: str) -> Exception:
    """torch.AcceleratorError where torch has it (2.8), what was raised in its place where it has not."""
    return getattr(torch, "AcceleratorError", RuntimeError)(text)


OURS = {
    "allocator": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "runtime": lambda: accelerator_error(
        "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported."
    ),
    "cublas": lambda: RuntimeError(CUBLAS),
    "cudnn": lambda: RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    "driver": lambda: RuntimeError("CUDA driver error: out of memory"),
    "python": lambda: MemoryError(),
    "system": lambda: OSError(errno.ENOMEM, "Cannot allocate memory"),
}
OTHERS = {
    "illegal access": lambda: accelerator_error("CUDA error: an illegal memory access was encountered"),
    "assert": lambda: accelerator_error("CUDA error: device-side assert triggered"),
    "cublas": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
    "disk": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "value": lambda: ValueError("can't allocate memory"),
}


def failing(error, above: int, work):
    def works(batch, *size):
        if (size[0] if size else len(batch)) > above:
            raise error()
        return work(batch)

    return works


@pytest.mark.parametrize("kind", OURS)
def test_however_it_is_said_the_batch_is_halved(kind):
    said: list[str] = []
    assert list(halving([[1, 2, 3, 4]], failing(OURS[kind], 2, sum), said.append, "")) == [([1, 2], 3), ([3, 4], 7)]
    work = failing(OURS[kind], 1, lambda items: iter([(items[0], items[0] ** 2)]))
    assert list(
        shrinking([5], 3, lambda items, size: work(some := list(items), min(size, len(some))), said.append, "")
    ) == [(5, 25)]
    assert said == ["out of memory at batch size 4: going on with 2"]


@pytest.mark.parametrize("kind", OTHERS)
def test_any_other_error_is_raised(kind):
    with pytest.raises(type(OTHERS[kind]())):
        list(halving([[1, 2]], failing(OTHERS[kind], 0, sum), lambda _: None, ""))
    with pytest.raises(type(OTHERS[kind]())):
        list(shrinking([1, 2], 2, failing(OTHERS[kind], 0, sum), lambda _: None, ""))


@pytest.mark.parametrize("allocate", [lambda: torch.empty(1 << 55), lambda: np.empty(1 << 55), lambda: [0] * (1 << 55)])
def test_what_this_machine_says_itself_is_known(allocate):
    with pytest.raises(Exception) as caught:
        allocate()
    assert out_of_memory(caught.value)


@pytest.mark.parametrize("kind", OURS)
def test_weights_for_which_memory_runs_out_are_one_sentence(kind, tmp_path, monkeypatch):
    """Somebody else may have taken what was free when the headers were read."""
    folder = write_checkpoint(tmp_path / "model")

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *error):
            return self.file.__exit__(*error)

        def __getattr__(self, name):
            return getattr(self.file, name)

        def get_tensor(self, name):
            raise OURS[kind]()

    monkeypatch.setattr(weights, "safe_open", lambda *given, **named: Full(safe_open(*given, **named)))
    with pytest.raises(
        UserError, match=r"cpu ran out of memory while the weights were loaded in float32: .*backbone\.dtype=bfloat16"
    ) as said:
        Checkpoint(str(folder)).load(torch.device("cpu"))
    assert "damaged" not in str(said.value)
