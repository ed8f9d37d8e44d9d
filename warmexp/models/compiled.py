"""The backbone's forward through torch.compile (`engine=compiled`): the same operations, traced, fused and turned into code at the start.

For GPUs, whose kernels wait for launches, and for processors on which packed weights (models/linear.py) gain nothing; they cannot be
traced, so a compiled backbone has its weights as torch has them.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from warmexp.errors import UserError
from warmexp.models.backbone import Backbone

BACKEND = "inductor"


@dataclass
class CompiledBackbone(Backbone):
    """A backbone whose transformer is compiled for any number of rows and positions. Its weights must not be packed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.transformer.compile(dynamic=True, backend=BACKEND)

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
