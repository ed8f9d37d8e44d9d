"""The simulated device refuses what CUDA refuses, counts what CUDA waits for, and keeps its clock."""

from __future__ import annotations

import time
from collections import Counter

import pytest
import torch

from tests.simulated.cuda import SimulatedCuda


def counted(counter: Counter) -> Counter:
    """Without the places."""
    found: Counter = Counter()
    for (what, _), n in counter.items():
        found[what] += n
    return found


def test_two_devices_in_one_operation():
    with SimulatedCuda(devices=2):
        x = torch.arange(3.0, device="cuda")
        for other in (torch.ones(3), torch.ones(3, device="cuda:1")):
            with pytest.raises(RuntimeError, match="same device"):
                x + other
        with pytest.raises(RuntimeError, match="same device"):
            x.gather(0, torch.tensor([1]))
        with pytest.raises(TypeError, match="numpy"):
            x.numpy()
        assert (x * torch.tensor(2.0)).tolist() == [0, 2, 4] and x[torch.tensor([2, 0])].tolist() == [2, 0]


def test_what_is_waited_for():
    with SimulatedCuda(inside="/tests/") as gpu:
        x = torch.arange(4, device="cuda")
        assert not gpu.waits
        (
            x[x > 1],
            x.nonzero(),
            int(x.sum()),
            bool(x.any()),
            x.cpu(),
            torch.tensor([1], device="cuda"),
            x[torch.tensor([1])],
        )
        x.repeat_interleave(x)
        torch.tensor([1]).to("cuda", non_blocking=True)
    waits = {
        "boolean index": 1,
        "nonzero": 1,
        "_local_scalar_dense": 2,
        "read": 1,
        "upload": 1,
        "upload of an index": 1,
    }
    assert counted(gpu.waits) == waits | {"repeat_interleave": 1, "upload, not pinned": 1}
    assert all("test_what_is_waited_for" in place for _, place in gpu.waits)


def test_what_is_not():
    with SimulatedCuda() as gpu:
        x = torch.tensor([4, 5, 6]).pin_memory().to("cuda", non_blocking=True)
        y = torch.full((3,), 2, device="cuda")
        x[x.argsort()] = torch.where(x > y, x * 2, 0)
        x.masked_fill_(x > 10, 1)
        assert not gpu.waits and counted(gpu.uploads) == {"queued": 1}
        assert x.tolist() == [8, 10, 1]


def test_views_share_memory_that_is_counted_once():
    with SimulatedCuda(capacity=3 << 20) as gpu:
        x = torch.zeros(1 << 18, device="cuda")
        x[:5] += 1
        assert x.view(512, 512)[0, :6].tolist() == [1, 1, 1, 1, 1, 0] and gpu.allocated == [1 << 20]
        with pytest.raises(torch.OutOfMemoryError):
            torch.zeros(3 << 18, device="cuda")
        del x
        assert gpu.allocated == [0]


def test_the_clock_goes_on_while_the_device_works_and_waits_for_it_where_it_is_read():
    with SimulatedCuda(timeline=lambda func, tensors: 1.0, launch=0.1):
        x = torch.zeros(3, device="cuda")
        x + 1
        x + 2
        assert time.perf_counter() == pytest.approx(0.3)
        x.tolist()
        assert time.perf_counter() == pytest.approx(3.1)
