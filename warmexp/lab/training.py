"""What the recipe's two kinds of training share: texts grouped for batches, the running average, folders that are never
half written."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend
from transformers import PreTrainedTokenizerFast

from warmexp.errors import UserError, out_of_memory
from warmexp.io import give_usual_mode
from warmexp.lab import problems, tokenizers

KERNELS = {"cpu": [SDPBackend.MATH], "cuda": [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]}
POOL = 80_000  # problems tokenised up front


def mixed(device: torch.device) -> torch.autocast:
    """bfloat16 where it is fast: a processor without it emulates it, and is then five to eight times as slow as in
    float32."""
    fast = device.type != "cpu" or torch.backends.cpu.get_cpu_capability() == "AVX512"
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


@dataclass
class Pool:
    """Training texts grouped by prompt length, so that a batch needs no padding."""

    prompt: dict[int, np.ndarray]  # prompt length -> [N, P]
    clean: dict[int, np.ndarray]  # -> [N, L], filled up with end-of-text
    slipped: dict[int, np.ndarray]
    length: dict[int, np.ndarray]  # -> [N], up to and including the first end-of-text

    def batch(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        keys = sorted(self.prompt)
        counts = np.array([len(self.prompt[k]) for k in keys], dtype=float)
        key = keys[rng.choice(len(keys), p=counts / counts.sum())]
        rows = rng.integers(0, len(self.prompt[key]), size)
        return self.prompt[key][rows], self.clean[key][rows], self.slipped[key][rows], self.length[key][rows]


def build_pool(
    tokenizer: PreTrainedTokenizerFast,
    canvas: int,
    size: int,
    wordy_share: float = problems.WORDY_SHARE,
    sizes: problems.Sizes = problems.FULL,
) -> Pool:
    found = []
    for _, (index, problem) in zip(range(size), problems.stream(0, wordy_share, sizes), strict=False):
        found.append((problem, problems.slipped("train", index, wordy_share, sizes)))
    prompts = tokenizer([tokenizers.PROMPT.format(question=p.question) for p, _ in found])["input_ids"]
    responses = tokenizer([" " + p.solution for p, _ in found])["input_ids"]
    slips = tokenizer([" " + s for _, s in found])["input_ids"]
    groups: dict[int, list[int]] = {}
    for k, prompt in enumerate(prompts):
        if len(responses[k]) < canvas:
            groups.setdefault(len(prompt), []).append(k)
    end = tokenizer.eos_token_id

    def filled(rows: list[list[int]], members: list[int]) -> np.ndarray:
        return np.array([(rows[k] + [end] * canvas)[:canvas] for k in members], dtype=np.int16)

    return Pool(
        prompt={n: np.array([prompts[k] for k in g], dtype=np.int16) for n, g in groups.items()},
        clean={n: filled(responses, g) for n, g in groups.items()},
        slipped={n: filled(slips, g) for n, g in groups.items()},
        length={n: np.array([len(responses[k]) + 1 for k in g]) for n, g in groups.items()},
    )


class Average:
    """Exponential moving average of the weights, shorter at the start."""

    def __init__(self, net: nn.Module, decay: float):
        self.decay, self.count = decay, 0
        self.weights = {k: v.detach().clone() for k, v in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        self.count += 1
        decay = min(self.decay, self.count / (self.count + 10))
        new = net.state_dict()
        torch._foreach_lerp_(list(self.weights.values()), [new[k] for k in self.weights], 1 - decay)


def replace_folder(folder: Path, write) -> None:
    """Write a folder's files beside it, then move them in one by one, so that a reader never sees a half-written
    file."""
    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    write(fresh)
    give_usual_mode(*fresh.iterdir())
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(fresh.iterdir()):
        file.replace(folder / file.name)
    fresh.rmdir()


def read_state(file: Path, device: torch.device, steps: float = float("inf")) -> dict[str, Any]:
    """A training's state, of one of its `steps`. Nothing of the file is run.

    Raises:
        UserError: it is damaged, or no state.
    """
    try:
        if broken := zipfile.ZipFile(file).testzip():  # torch compares no checksums
            raise ValueError(f"{broken} in it is damaged")
        saved = torch.load(file, map_location=device, weights_only=True)
        if type(saved["step"]) is not int or not 0 <= saved["step"] <= steps:
            raise ValueError(f"its step is {saved['step']!r}")
        return saved
    except Exception as error:  # a damaged file has many
        if out_of_memory(error):
            raise
        raise UserError(
            f"{file} cannot be read as a state ({first_line(error)}): put back a copy, or delete it to begin anew."
        ) from None


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def usable(name: str) -> torch.device:
    """The device of `--device`. Raises UserError: it is not here."""
    try:
        torch.empty(1, device=name).cpu()
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UserError(f"--device {name} cannot be used here: give cpu, or cuda where there is a GPU.") from None
