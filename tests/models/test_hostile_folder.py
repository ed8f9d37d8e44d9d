"""A checkpoint folder by somebody else: nothing in it makes a run wait, read without end, or end in a traceback."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections import Counter
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.checkpoints import MASK, write_checkpoint, write_dream
from warmexp.errors import UserError
from warmexp.models import files
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.hub import model_folder
from warmexp.proposers.hf import HFProposer

READ = ("config.json", "tokenizer.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors")


def refusal(folder, seconds: float = 20) -> str:
    started = time.monotonic()
    with pytest.raises(UserError) as said:
        attempt(folder)
    assert time.monotonic() - started < seconds and "\n" not in str(said.value)
    with pytest.raises(UserError):
        HFProposer(str(folder)).identity()
    return str(said.value)


def attempt(folder) -> list[Any]:
    """All that a run does with a checkpoint, and what comes out of it."""
    chosen = Checkpoint(str(folder))
    chosen.identity()
    ids = chosen.tokenizer.encode_prompt("Is 1 + 1 = 2?\n<|endoftext|> é🙂")
    backbone = chosen.load(torch.device("cpu"))
    row, position = torch.zeros(2, dtype=torch.long), torch.tensor([1, 2])
    logits = backbone(torch.tensor([[1, 2, MASK]]), torch.tensor([3]), row, position)
    return [ids, chosen.tokenizer.decode(ids), backbone.end_ids, backbone.mask_id, backbone.logits, logits.tolist()]


@pytest.mark.parametrize("name", [*READ, "generation_config.json", "chat_template.jinja", "merges.txt", "spiece.model"])
@pytest.mark.parametrize("kind", ["pipe", "/dev/zero", "/dev/stdin", "loop", "nothing"])
def test_what_is_no_regular_file_is_refused_unopened(tmp_path, name, kind):
    folder = write_checkpoint(tmp_path / "it")
    file = folder / name
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.symlink_to({"loop": file, "nothing": tmp_path / "gone"}.get(kind, kind))
    said = refusal(folder)
    assert f"{name} of {folder} is not a regular file" in said or f"{name} of {folder} cannot be read" in said


def test_links_to_regular_files_are_read(tmp_path):
    """As the hub's cache keeps them."""
    folder = write_checkpoint(tmp_path / "blobs")
    (tmp_path / "snapshot").mkdir()
    for file in folder.iterdir():
        (tmp_path / "snapshot" / file.name).symlink_to(file)
    assert attempt(tmp_path / "snapshot") == attempt(folder)


def test_folders_named_like_files_are_left_alone(tmp_path):
    folder = write_checkpoint(tmp_path / "it")
    (folder / "more.json").mkdir()
    os.mkfifo(folder / "notes.log")
    assert attempt(folder)
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    assert "has no config.json" in refusal(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors.index.json", "vocab.json"])
def test_a_file_without_end_is_not_read_to_the_end(tmp_path, monkeypatch, name):
    """Sparse, so that it costs nothing here; read whole, it would."""
    folder = (write_dream if name == "vocab.json" else write_checkpoint)(tmp_path / "it")
    monkeypatch.setattr(files, "LIMIT", 1 << 20)
    with (folder / name).open("ab") as handle:
        handle.truncate(1 << 40)
    assert f"{name} of {folder} is larger than 1 MiB" in refusal(folder)


def test_weights_without_end_are_refused_by_their_header(tmp_path):
    folder = write_checkpoint(tmp_path / "it")
    with (folder / READ[3]).open("ab") as handle:
        handle.truncate(1 << 40)
    assert "model-00001-of-00002.safetensors cannot be read" in refusal(folder)


@pytest.mark.parametrize("path", ["a" * 5000, "a\0b", "~nobody-of-that-name/x", "lab:nothing", "loop"])
def test_paths_that_cannot_be(tmp_path, path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for key in ("backbone.path", "proposer.path"):
        with pytest.raises(UserError) as said:
            model_folder(key, str(tmp_path / path) if path == "loop" else path)
        assert str(said.value).startswith(key)


# Values that a field of a damaged or malicious file may have.
ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 255, 256, 257, 259, 263, 264, 10**9, 2**31, 2**63, 10**30, 0.0, 0.5, 1e400, float("nan"), "", "a",
    "1", "silu", "\x00", "\ud800", "\x1b[31m", [], [1], ["a"], {}, {"a": 1}, {"type": "default"}, "x" * 5000, [[[[]]]],
]  # fmt: skip


def mutated_json(value: Any, rnd: random.Random) -> Any:
    value = deepcopy(value)
    for _ in range(rnd.choice([1, 1, 1, 2, 4])):
        places = sorted((place for place in _places(value) if place), key=len)
        if not places:
            return rnd.choice(ODD)
        *way, last = rnd.choice(places[: max(1, int(len(places) * rnd.random()))])
        inner = value
        for key in way:
            inner = inner[key]
        kind = rnd.random()
        if kind < 0.2:
            del inner[last]
        elif kind < 0.9 or not isinstance(inner, dict):
            inner[last] = deepcopy(rnd.choice(ODD))
        else:
            inner[rnd.choice(["rope_parameters", "rope_scaling", "head_dim", "extra"])] = deepcopy(rnd.choice(ODD))
    return value


def _places(value: Any, at: tuple = ()) -> list[tuple]:
    inner = value.items() if isinstance(value, dict) else enumerate(value[:40]) if isinstance(value, list) else ()
    return [at, *(place for key, part in inner for place in _places(part, (*at, key)))]


def mutated_bytes(data: bytes, rnd: random.Random) -> bytes:
    for _ in range(rnd.choice([1, 1, 2, 8])):
        i = rnd.randrange(len(data) + 1)
        new = rnd.choice([b"", bytes([rnd.randrange(256)]), b"[" * 100_000, data[i : i + 50] * 2, rnd.randbytes(64)])
        data = data[:i] + new + data[i + rnd.choice([0, 1, 4, 100, len(data)]) :]
    return data


def mutate(folder: Path, rnd: random.Random) -> list[str]:
    """Change one or two files; the names of those that are another's bytes now."""
    names = sorted(file.name for file in folder.iterdir())
    for name in rnd.choices([*names, "config.json", "config.json"], k=rnd.choice([1, 1, 2])):
        file = folder / name
        data = file.read_bytes()
        try:
            if name.endswith(".json") and rnd.random() < 0.75:
                data = _dumped(mutated_json(json.loads(data), rnd))
            elif name.endswith(".safetensors") and rnd.random() < 0.75:
                size = int.from_bytes(data[:8], "little")
                header = _dumped(mutated_json(json.loads(data[8 : 8 + size]), rnd))
                told = len(header) if rnd.random() < 0.9 else rnd.choice([0, 1, 2**63, 2**64 - 1, len(header) - 1])
                data = told.to_bytes(8, "little") + header + data[8 + size :]
            else:
                data = mutated_bytes(data, rnd)
        except (
            ValueError,
            RecursionError,
        ):  # the second change to a file that the first has left without JSON, or too deep
            continue
        file.write_bytes(data)
    return names


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def fuzz(tmp_path, seeds: range) -> Counter:
    """Every mutant is refused in one sentence or loads; and the one that loads, its weights untouched, is the same
    network."""
    sources = {"llada": write_checkpoint(tmp_path / "llada"), "dream": write_dream(tmp_path / "dream")}
    good = {name: attempt(folder)[-1] for name, folder in sources.items()}
    outcomes: Counter = Counter()
    for seed in seeds:
        rnd = random.Random(seed)
        source = rnd.choice(sorted(sources))
        folder = tmp_path / "mutant"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sources[source], folder)
        mutate(folder, rnd)
        started = time.monotonic()
        try:
            logits = attempt(folder)[-1]
        except UserError as error:
            said = str(error)
            assert "\n" not in said and len(said) < 900, (seed, said)
            outcomes["refused"] += 1
        except BaseException as error:
            raise AssertionError(f"seed {seed} of {source}: {type(error).__name__}: {error}") from error
        else:
            outcomes["loaded"] += 1
            assert logits == good[source] or _meant(sources[source], folder), (
                f"seed {seed} of {source} loads as another network"
            )
        assert time.monotonic() - started < 60, f"seed {seed} of {source} hangs"
    return outcomes


def _meant(source: Path, folder: Path) -> bool:
    """Whether the weights were changed, or the numbers of config.json that a network may have others of."""
    if any((folder / file.name).read_bytes() != file.read_bytes() for file in source.glob("*.safetensors")):
        return True
    before, after = (json.loads((f / "config.json").read_bytes()) for f in (source, folder))
    free = ("rope_theta", "rms_norm_eps", "model_type", "mask_token_id")
    return any(before.get(name) != after.get(name) for name in free)


def test_mutants_are_refused_or_right(tmp_path):
    outcomes = fuzz(tmp_path, range(150))
    assert outcomes["refused"] > 50 and outcomes["loaded"] > 20


@pytest.mark.slow
def test_many_mutants_are_refused_or_right(tmp_path):
    outcomes = fuzz(tmp_path, range(1000, 4000))
    assert outcomes["refused"] > 1000 and outcomes["loaded"] > 400
