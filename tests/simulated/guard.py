"""What torch's bindings ask of a CUDA build before they dispatch, answered in a CPU build."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

CUDA, META = 1, 14  # c10::DeviceType


@contextmanager
def device_guard() -> Iterator[None]:
    """`~x`, `x[i]` and `.to("cuda")` ask for the current device, or switch it, and a CPU build has nobody to ask about
    CUDA. It is given what the meta device has, which does nothing, except that it says cuda:0.

    c10::impl::device_guard_impl_registry is an array of pointers to objects whose first virtual functions are type(),
    exchangeDevice(Device) and getDevice(); a Device is two bytes, type and index.
    """
    library = ctypes.CDLL(str(next((Path(torch.__file__).parent / "lib").glob("*c10.*"))))
    registry = (ctypes.c_void_p * (META + 1)).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    before = registry[CUDA]
    functions = (ctypes.c_void_p * 64)()
    ctypes.memmove(functions, ctypes.c_void_p.from_address(registry[META]).value, ctypes.sizeof(functions))
    says = ctypes.CFUNCTYPE(ctypes.c_uint16, ctypes.c_void_p, ctypes.c_uint16)(lambda this, device: CUDA)
    functions[0] = functions[1] = functions[2] = ctypes.cast(says, ctypes.c_void_p).value
    switch = ctypes.c_void_p(ctypes.addressof(functions))
    registry[CUDA] = ctypes.addressof(switch)
    try:
        yield
    finally:
        registry[CUDA] = before
