"""A small transformer over what a forward said of a window: the probability that each proposed token is right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from warmexp.errors import UserError
from warmexp.io import give_usual_mode
from warmexp.models.lab_files import MODELS_DIR

COMMAND = "python -m warmexp.train_policy"
SHIPPED = "lab:policy"
# Made on the quick lab, and on the long one in blocks of 16.
_FILES = {SHIPPED: "policy.safetensors", "lab:long_policy": "long_policy.safetensors"}
FEATURES = 6
_KIND = "warmexp unmasking policy 1"
_EDGE = 1e-6  # probabilities nearer to 0 or 1 look alike to it
_LARGEST = 2**26  # bytes: what is larger is something else


@dataclass(frozen=True)
class Shape:
    """width: of the hidden states. heads: of attention, of width / heads each. layers: blocks. reach: positions farther
    apart than this look equally far to attention."""

    width: int = 32
    heads: int = 4
    layers: int = 1
    reach: int = 16

    @property
    def sound(self) -> bool:
        sizes = [type(value) is int and 1 <= value <= 1024 for value in asdict(self).values()]
        return all(sizes) and self.width % self.heads == 0


class Policy(nn.Module):
    """Logits [n, W] that the proposed tokens are right: the logit of their confidence, and what blocks of a transformer
    add to it, which is nothing before training."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        self.read = nn.Linear(FEATURES, shape.width)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width)
        self.say = nn.Linear(shape.width, 1)
        nn.init.zeros_(self.say.weight)
        nn.init.zeros_(self.say.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x: [n, W, FEATURES], of `features`."""
        h = self.read(x)
        for block in self.blocks:
            h = block(h)
        return x[..., 1] + self.say(self.norm(h))[..., 0]

    def right(self, x: np.ndarray) -> np.ndarray:
        """[n, W] float64 probabilities, of [n, W, FEATURES] float64."""
        with torch.inference_mode():
            return self(torch.from_numpy(x)).sigmoid().numpy()

    @property
    def sha256(self) -> str:
        """Of what it computes."""
        found = hashlib.sha256(json.dumps([_KIND, asdict(self.shape)]).encode())
        for name, tensor in sorted(self.state_dict().items()):
            found.update(name.encode() + tensor.float().numpy().tobytes())
        return found.hexdigest()[:16]

    def save(self, file: Path, notes: Mapping[str, str] | None = None) -> None:
        """As float32. notes: what else a reader wants to know; nothing depends on them."""
        shape = {name: str(value) for name, value in asdict(self.shape).items()}
        tensors = {name: tensor.float().contiguous() for name, tensor in self.state_dict().items()}
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, file, {"kind": _KIND, **shape, **(notes or {})})
        give_usual_mode(file)


class _Block(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.heads, self.reach = shape.heads, shape.reach
        self.before = nn.LayerNorm(shape.width)
        self.mix = nn.Linear(shape.width, 3 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.distance = nn.Parameter(torch.zeros(shape.heads, 2 * shape.reach + 1))
        self.between = nn.LayerNorm(shape.width)
        self.up = nn.Linear(shape.width, 4 * shape.width)
        self.down = nn.Linear(4 * shape.width, shape.width)

    def forward(self, h: Tensor) -> Tensor:
        n, size, width = h.shape
        q, k, v = self.mix(self.before(h)).view(n, size, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        at = torch.arange(size, device=h.device)
        apart = (at[None, :] - at[:, None]).clamp(-self.reach, self.reach) + self.reach
        score = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + self.distance[:, apart]
        seen = (score.softmax(-1) @ v).transpose(1, 2).reshape(n, size, width)
        h = h + self.out(seen)
        return h + self.down(F.gelu(self.up(self.between(h))))


def features(masked: np.ndarray, confidence: np.ndarray, second: np.ndarray, entropy: np.ndarray) -> np.ndarray:
    """[n, W, FEATURES] float64 of [n, W] arrays: what is masked; there the confidence, the probability of the second
    best token, and the entropy over the largest there can be; what is visible is certain, whatever the arrays say.

    They are: masked; the logits of confidence and second; the entropy; ln of 1 + the masked positions before this one,
    and the logarithm of the product of their confidences.
    """
    best = np.where(masked, confidence, 1.0)
    open_ = masked.astype(float)
    sure = np.log(best.clip(_EDGE, 1.0)) * open_
    return np.stack(
        (
            open_,
            _logit(best),
            _logit(np.where(masked, second, 0.0)),
            np.where(masked, entropy, 0.0),
            np.log1p(open_.cumsum(1) - open_),
            sure.cumsum(1) - sure,
        ),
        -1,
    )


def _logit(p: np.ndarray) -> np.ndarray:
    inside = p.clip(_EDGE, 1 - _EDGE)
    return np.log(inside / (1 - inside))


def read_policy(path: str) -> Policy:
    """From its file, or one of the labs', which are shipped. In float64, on the host.

    Raises:
        UserError: the file is missing, or holds something else.
    """
    file = MODELS_DIR / _FILES[path] if path in _FILES else Path(path).expanduser()
    if not file.is_file():
        raise UserError(
            f"unmask.weights={path} does not exist: make it with {COMMAND} --out {path}, or set"
            f" unmask.weights={SHIPPED}."
        )
    try:
        made = _policy_of(file)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"unmask.weights={path} holds no unmasking policy ({reason}): make it with {COMMAND}, or set"
            f" unmask.weights={SHIPPED}."
        ) from None
    return made


def _policy_of(file: Path) -> Policy:
    if file.stat().st_size > _LARGEST:
        raise ValueError("it is too large for one")
    with safe_open(file, "pt") as found:  # tensors and words: nothing in it is executed
        notes = found.metadata() or {}
        if notes.get("kind") != _KIND:
            raise ValueError("its metadata do not say that it is one")
        shape = Shape(**{each.name: int(notes[each.name]) for each in fields(Shape)})
        if not shape.sound:
            raise ValueError(f"its metadata have sizes that cannot be, {asdict(shape)}")
        tensors = {name: found.get_tensor(name) for name in found.keys()}  # noqa: SIM118 (no mapping)
    made = Policy(shape)
    made.load_state_dict(tensors)
    if not all(bool(tensor.isfinite().all()) for tensor in tensors.values()):
        raise ValueError("its weights are not all finite")
    return made.double().eval().requires_grad_(False)
