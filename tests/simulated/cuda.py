"""A CUDA device for machines that have none: `cuda:N` tensors whose numbers lie in CPU tensors.

    with SimulatedCuda() as gpu:
        run_overrides(["init=token_inject", "device=cuda"])
    gpu.waits        # Counter: (what, where) -> how often the host waited for the device

Enforced is what CUDA enforces: one device per operation (a CPU tensor of no dimension may join an elementwise one, CPU
indices may index), no `.numpy()`, a capacity beyond which torch.OutOfMemoryError is raised. Counted is what costs time
on a GPU and nothing on a CPU: reads, uploads from memory that is not pinned, results whose size depends on values,
kernels. With `timeline` there is an asynchronous clock too: the host takes `launch` seconds to queue an operation, the
device takes what `timeline` says, who reads waits for all that is queued, and `time.perf_counter` tells this clock and
no other.

Not seen: kernels' own numbers (they are the CPU's, bit for bit), what fused kernels demand of strides and alignment,
streams, fragmentation, torch.compile, CUDA graphs, and composites that a CUDA build takes apart in another way.
"""

from __future__ import annotations

import sys
import time
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch.__future__ import get_overwrite_module_params_on_conversion, set_overwrite_module_params_on_conversion
from torch.utils._python_dispatch import TorchDispatchMode

from tests.simulated.guard import device_guard

# Results whose size, or whose Python value, depends on the numbers. (bincount reads its largest entry.)
READS = {"_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "equal", "bincount", "repeat_interleave"}
READS |= {"unique_consecutive", "_unique", "_unique2", "unique_dim"}
# May take a CPU tensor of no dimension beside CUDA tensors although they are not tagged as elementwise.
SCALARS = {"where", "masked_fill", "masked_fill_", "fill_", "clamp", "clamp_", "index_put", "index_put_"}
SCALARS |= {"_index_put_impl_"}
# Composites that are one operation here, so that their numbers are the CPU's; others are taken apart: they hide copies.
WHOLE = {"scaled_dot_product_attention", "linear", "rms_norm", "matmul"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class DeviceTensor(torch.Tensor):
    """A tensor that says it is on a CUDA device; `inner` has its numbers, `lease` its share of the device's memory."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: torch.Tensor, device: torch.device, lease: Lease) -> DeviceTensor:
        shape = {"strides": inner.stride(), "storage_offset": inner.storage_offset()}
        with torch.inference_mode(inner.is_inference()):  # a view of an ordinary tensor is one too
            self = torch.Tensor._make_wrapper_subclass(cls, inner.size(), dtype=inner.dtype, device=device, **shape)
        self.inner, self.lease = inner, lease
        return self

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    __array__ = numpy

    def __repr__(self, **_: Any) -> str:
        return f"DeviceTensor({self.inner}, device={self.device})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if SimulatedCuda.current is None:
            raise RuntimeError("a simulated CUDA tensor outlived its device")
        return SimulatedCuda.current.run(func, args, kwargs or {})


class _Mode(TorchDispatchMode):
    """Sends everything past the device, also what has no tensor of its yet, such as `torch.zeros(…, device="cuda")`."""

    def __init__(self, device: SimulatedCuda) -> None:
        super().__init__()
        self.device = device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return self.device.run(func, args, kwargs or {})


class Lease:
    """Memory of one storage, given back when the last tensor on it is gone."""

    def __init__(self, device: SimulatedCuda, index: int, size: int, key: int) -> None:
        self.device, self.index, self.size, self.key = device, index, size, key

    def __del__(self) -> None:
        self.device.allocated[self.index] -= self.size
        self.device.leases.pop(self.key, None)


class SimulatedCuda:
    """The devices, while the context lasts. Not for several threads.

    devices: how many. capacity: bytes of each. name, compute: what get_device_properties says. timeline: seconds that
    an operation takes on the device, given (func, tensors it reads and writes), or None for no clock. launch: seconds
    in which the host queues one. inside: part of the paths whose lines are named as places.

    waits, uploads: by (what, place). kernels: by operation. allocated, peak: bytes by device. host: the clock, in
    seconds.
    """

    current: SimulatedCuda | None = None

    def __init__(
        self,
        devices: int = 1,
        capacity: int = 80 << 30,
        name: str = "Simulated GPU",
        compute: tuple[int, int] = (9, 0),
        timeline: Callable[[Any, list[torch.Tensor]], float] | None = None,
        launch: float = 5e-6,
        inside: str = "/warmexp/",
    ) -> None:
        self.mode = _Mode(self)
        self.count, self.capacity, self.name, self.compute = devices, capacity, name, compute
        self.timeline, self.launch, self.inside = timeline, launch, inside
        self.waits: Counter[tuple[str, str]] = Counter()
        self.uploads: Counter[tuple[str, str]] = Counter()
        self.kernels: Counter[str] = Counter()
        self.allocated, self.peak = [0] * devices, [0] * devices
        self.leases: dict[int, weakref.ref[Lease]] = {}
        self.host = self.busy = 0.0  # the host's clock, and until when the device has work

    # -- the context: torch.cuda as code asks it

    def __enter__(self) -> SimulatedCuda:
        self._patches = ExitStack()
        for attribute, stand_in in self._asked().items():
            self._patches.enter_context(patch.object(torch.cuda, attribute, stand_in))
        self._patches.enter_context(patch.object(torch.Tensor, "pin_memory", _pinned))
        if self.timeline:
            self._patches.enter_context(patch.object(time, "perf_counter", lambda: self.host))
        self._patches.enter_context(device_guard())
        # torch.tensor(…, device="cuda") is built on the host and moved where a mode can see it, as for fake tensors.
        self._patches.callback(torch._C._set_only_lift_cpu_tensors, torch._C._only_lift_cpu_tensors())
        torch._C._set_only_lift_cpu_tensors(True)
        # model.to("cuda") puts new parameters in the place of the old ones instead of new memory under them.
        self._patches.callback(set_overwrite_module_params_on_conversion, get_overwrite_module_params_on_conversion())
        set_overwrite_module_params_on_conversion(True)
        SimulatedCuda.current = self
        self.mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.mode.__exit__(*error)
        SimulatedCuda.current = None
        self._patches.close()

    def _asked(self) -> dict[str, Callable[..., Any]]:
        return {
            "_lazy_init": lambda: None,
            "is_available": lambda: True,
            "is_initialized": lambda: True,
            "device_count": lambda: self.count,
            "current_device": lambda: 0,
            "set_device": lambda device: None,
            "get_device_name": lambda device=None: self.name,
            "get_device_capability": lambda device=None: self.compute,
            "get_device_properties": self._properties,
            "mem_get_info": lambda device=None: (self.capacity - self.allocated[self._index(device)], self.capacity),
            "memory_allocated": lambda device=None: self.allocated[self._index(device)],
            "memory_reserved": lambda device=None: self.allocated[self._index(device)],
            "max_memory_allocated": lambda device=None: self.peak[self._index(device)],
            "reset_peak_memory_stats": self._reset_peak,
            "empty_cache": lambda: None,
            "is_bf16_supported": lambda *_: True,
            "synchronize": lambda device=None: self.wait("synchronize"),
        }

    def _index(self, device: Any) -> int:
        return (0 if device is None else device if isinstance(device, int) else torch.device(device).index) or 0

    def _properties(self, device: Any = None) -> SimpleNamespace:
        major, minor = self.compute
        uuid = f"GPU-{self._index(device)}"
        return SimpleNamespace(
            name=self.name, total_memory=self.capacity, major=major, minor=minor, uuid=uuid, multi_processor_count=132
        )

    def _reset_peak(self, device: Any = None) -> None:
        self.peak[self._index(device)] = self.allocated[self._index(device)]

    # -- what is counted

    def wait(self, what: str) -> None:
        """The host waits for everything that is queued."""
        self.waits[what, self._place()] += 1
        if self.timeline:
            self.host = max(self.host, self.busy)

    def _place(self, depth: int = 2) -> str:
        frame, found = sys._getframe(1), []
        while frame is not None and len(found) < depth:
            file = frame.f_code.co_filename
            if self.inside in file and file != __file__:
                found.append(f"{file.rpartition(self.inside)[2]}:{frame.f_lineno} {frame.f_code.co_name}")
            frame = frame.f_back
        return " < ".join(found) or "elsewhere"

    # -- one operation

    def run(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        leaves = _leaves((args, kwargs))
        flat = [x for x in leaves if isinstance(x, torch.Tensor)]
        ours = [x for x in flat if isinstance(x, DeviceTensor)]
        target = next((x for x in leaves if isinstance(x, torch.device)), None)
        if kwargs.get("pin_memory"):  # there is nobody to pin it
            kwargs = kwargs | {"pin_memory": False}
        if not ours and (target is None or target.type != "cuda"):
            return func(*args, **kwargs)  # of the host alone
        name = func.overloadpacket.__name__
        if name not in WHOLE and _composite(func.name()):
            with self.mode:
                return func.decompose(*args, **kwargs)
        if name in ("_to_copy", "copy_"):
            self._transfer(name, args, target, kwargs.get("non_blocking", len(args) > 2 and args[2]))
        elif ours:
            self._check(func, name, args, kwargs, flat, ours)
        device = ours[0].device if ours else torch.device("cuda", target.index or 0)
        if target is not None:
            device = torch.device("cuda", target.index or 0) if target.type == "cuda" else target
            kwargs = kwargs | {"device": torch.device("cpu")}
        inner = {id(x.inner): x for x in ours}
        made = func(*_mapped(args, DeviceTensor, _inner), **_mapped(kwargs, DeviceTensor, _inner))
        if device.type != "cuda" or (name == "copy_" and not isinstance(args[0], DeviceTensor)):
            return _apart(made, ours)
        self._launched(func, name, flat, made)
        return _mapped(made, torch.Tensor, lambda x: inner[id(x)] if id(x) in inner else self._wrap(x, device))

    def _check(
        self,
        func: Any,
        name: str,
        args: tuple,
        kwargs: dict[str, Any],
        flat: list[torch.Tensor],
        ours: list[DeviceTensor],
    ) -> None:
        """Refuse what CUDA refuses, count what it waits for."""
        host = [x for x in flat if not isinstance(x, DeviceTensor)]
        if name in INDEXING and isinstance(args[0], DeviceTensor):
            indices = [x for x in args[1] if x is not None]
            moved = [x for x in indices if not isinstance(x, DeviceTensor)]
            if any(x.dtype in (torch.bool, torch.uint8) and isinstance(x, DeviceTensor) for x in indices):
                single = (
                    name != "index" and args[2].numel() == 1 and not isinstance(args[2], DeviceTensor)
                )  # then it is a masked_fill
                if not single:
                    self.wait("boolean index")
            for _ in moved:
                self.wait("upload of an index")
            if name != "index" and not isinstance(args[2], DeviceTensor):
                self.wait("upload of a value")  # seen on a GPU: a number that is put at indices is copied there first
            host = [x for x in host if all(x is not m for m in moved)]
        scalars = torch.Tag.pointwise in func.tags or name in SCALARS
        wrong = [x for x in host if x.dim() or not scalars]
        devices = {x.device for x in ours}
        if wrong or len(devices) > 1:
            found = ", ".join(sorted({str(x.device) for x in (*wrong, *ours)}))
            raise RuntimeError(
                f"Expected all tensors to be on the same device, but found at least two devices, {found}! ({func})"
            )
        if name in READS and kwargs.get("output_size") is None:
            self.wait(name)

    def _transfer(self, name: str, args: tuple, target: torch.device | None, non_blocking: bool) -> None:
        source = args[1] if name == "copy_" else args[0]
        target = args[0].device if name == "copy_" else target or source.device
        if (source.device.type, target.type) == ("cuda", "cpu"):
            self.wait("read")
        elif (source.device.type, target.type) == ("cpu", "cuda"):
            if non_blocking and getattr(source, "pinned", False):
                self.uploads["queued", self._place()] += 1
            else:  # memory that is not pinned is staged first, and the driver may wait for that
                self.wait("upload, not pinned" if non_blocking else "upload")

    def _launched(self, func: Any, name: str, flat: list[torch.Tensor], made: Any) -> None:
        self.host += self.launch
        if any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns):
            return  # a view
        self.kernels[name] += 1
        if self.timeline:
            tensors = [getattr(x, "inner", x) for x in flat] + [x for x in _leaves(made) if isinstance(x, torch.Tensor)]
            self.busy = max(self.busy, self.host) + self.timeline(func, tensors)

    # -- memory

    def _wrap(self, inner: torch.Tensor, device: torch.device) -> DeviceTensor:
        storage = inner.untyped_storage()
        known = self.leases.get(storage._cdata)
        lease = known() if known else None
        return DeviceTensor(inner, device, lease or self._lease(storage, device.index))

    def _lease(self, storage: torch.UntypedStorage, index: int) -> Lease:
        size = -(-storage.nbytes() // 512) * 512
        if self.allocated[index] + size > self.capacity:
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {size} bytes on the simulated GPU {index}."
            )
        self.allocated[index] += size
        self.peak[index] = max(self.peak[index], self.allocated[index])
        lease = Lease(self, index, size, storage._cdata)
        self.leases[storage._cdata] = weakref.ref(lease)
        return lease


@cache
def _composite(name: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(name, "CompositeImplicitAutograd")


# What operations take and give holds tuples, lists and dicts and nothing else: torch's pytree takes ten times as long.
def _leaves(x: Any) -> list[Any]:
    if isinstance(x, dict):
        x = x.values()
    elif not isinstance(x, (tuple, list)):
        return [x]
    return [leaf for part in x for leaf in _leaves(part)]


def _mapped(x: Any, kind: type, function: Callable[[Any], Any]) -> Any:
    """With `function` applied to every leaf of that kind."""
    if isinstance(x, kind):
        return function(x)
    if isinstance(x, (tuple, list)):
        return type(x)([_mapped(part, kind, function) for part in x])
    if isinstance(x, dict):
        return {key: _mapped(part, kind, function) for key, part in x.items()}
    return x


def _pinned(tensor: torch.Tensor, device: Any = None) -> torch.Tensor:
    copy = tensor.clone()
    copy.pinned = True
    return copy


def _inner(x: DeviceTensor) -> torch.Tensor:
    return x.inner


def _apart(made: Any, ours: list[DeviceTensor]) -> Any:
    """A copy on the host never is the device's own memory."""
    held = {x.inner.untyped_storage()._cdata for x in ours}
    return _mapped(made, torch.Tensor, lambda x: x.clone() if x.untyped_storage()._cdata in held else x)
