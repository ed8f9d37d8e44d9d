"""CUDA graphs without CUDA: torch's operations are recorded below Python and run again on the same tensors.

What a graph cannot hold is refused here too: a value that is read, a tensor that comes from the host. Python does not
run at a replay, so whatever a recording should have taken from its inputs and took from Python is stale here as it
would be there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

READS = {"_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "equal", "bincount", "unique_dim", "_unique2"}
# Composites that are one operation here; all others are taken apart.
WHOLE = {"scaled_dot_product_attention", "linear", "rms_norm", "matmul"}


class Graph:
    """Stands in for torch.cuda.CUDAGraph. calls: (operation, arguments, result), in order."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, made in self.calls:
            again = func(*args, **kwargs)
            if any(r.alias_info is not None for r in func._schema.returns):
                continue  # a view, or written in place
            for old, new in zip(tree_flatten(made)[0], tree_flatten(again)[0], strict=True):
                if isinstance(old, torch.Tensor):
                    old.copy_(new)


class _Recorder(TorchDispatchMode):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in READS or name == "lift_fresh":  # lift_fresh: torch.tensor(…), torch.from_numpy(…)
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        if name not in WHOLE and torch._C._dispatch_has_kernel_for_dispatch_key(
            func.name(), "CompositeImplicitAutograd"
        ):
            with self:  # in inference mode `item` arrives as itself and hides what it does
                return func.decompose(*args, **(kwargs or {}))
        made = func(*args, **(kwargs or {}))
        self.graph.calls.append((func, args, kwargs or {}, made))
        return made


@contextmanager
def fake_graphs() -> Iterator[list[Graph]]:
    """torch.cuda's graphs and streams, stood in for; the graphs that are recorded, in order."""
    graphs: list[Graph] = []

    def graph() -> Graph:
        graphs.append(Graph())
        return graphs[-1]

    @contextmanager
    def recording(graph, pool, stream, capture_error_mode):
        assert pool == "pool" and isinstance(stream, SimpleNamespace)
        with _Recorder(graph):
            yield

    stand_ins = {
        "CUDAGraph": graph,
        "graph": recording,
        "graph_pool_handle": lambda: "pool",
        "device": nullcontext,
        "stream": nullcontext,
        "Stream": lambda: SimpleNamespace(wait_stream=lambda other: None),
        "current_stream": lambda: SimpleNamespace(wait_stream=lambda other: None),
    }
    with ExitStack() as stack:
        for name, stand_in in stand_ins.items():
            stack.enter_context(patch.object(torch.cuda, name, stand_in))
        yield graphs
