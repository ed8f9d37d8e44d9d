"""The parts of a layer through torch.compile (`engine=compiled`): the same operations, traced, fused and turned into code at the start.

For GPUs, on which norms, rotations and the feed-forward's products run as chains of small kernels, and for processors on which packed
weights (models/linear.py) gain nothing; they cannot be traced, so a compiled backbone has its weights as torch has them.

What is compiled are three functions of tensors per layer, not the forward: what is kept and what is read in between differs from forward
to forward, in shapes and in kind, and torch gives up compiling a function that has been so in more than eight ways. All layers share what
is compiled.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from warmexp.errors import UserError
from warmexp.models.backbone import Backbone

BACKEND = "inductor"
PARTS = ("keys_values", "queries", "after_attention")  # of a Block


@dataclass
class CompiledBackbone(Backbone):
    """A backbone whose layers are compiled for any number of rows and positions. Its weights must not be packed."""

    packs: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for block in self.transformer.blocks:
            for part in PARTS:
                setattr(block, part, torch.compile(getattr(block, part), dynamic=True, backend=BACKEND))

    def __call__(self, *args: Any, **named: Any) -> Tensor:
        """As Backbone's.

        Raises:
            UserError: torch.compile failed.
        """
        try:
            return super().__call__(*args, **named)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(f"engine=compiled: torch.compile failed ({reason}): choose engine=fast.") from error


def check_compiler(device: str) -> None:
    """Raises UserError, one sentence, where torch.compile has nothing to compile with: a C++ compiler for a CPU, Triton for a GPU."""
    if device.startswith("cuda"):
        if importlib.util.find_spec("triton") is None:
            raise UserError(f"engine=compiled on device={device} needs the package triton, which is not installed: choose engine=fast.")
    elif not any(shutil.which(name) for name in (os.environ.get("CXX"), "g++", "clang++", "cl") if name):
        raise UserError("engine=compiled needs a C++ compiler and there is no CXX, g++, clang++ or cl: install one, or choose engine=fast.")
