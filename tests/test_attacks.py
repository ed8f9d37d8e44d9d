"""Hostile and unlucky input through the real command line: a result that is right, or one sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.checkpoints import EOS, llada_config, llada_tensors, write_checkpoint
from tests.test_sinks import everything, run_main

SMALL = [
    "backbone=checkpoint",
    "length.canvas_length=8",
    "length.block_length=8",
    "tau=0.3",
    "task.limit=2",
    "device=cpu",
]


def decoded(folder: Path) -> list[tuple[str, list[int], int]]:
    lines = [line for file in sorted(folder.glob("*/records.jsonl")) for line in file.read_text().splitlines()]
    return [(row["id"], row["ids"], row["nfe"]) for row in map(json.loads, lines)]


@pytest.mark.parametrize("key", ["blocks.1.ff_proj", "ff_out"])
def test_weights_that_are_no_numbers(key, quiet_home, monkeypatch, capfd):
    """In the middle of the model, or in the head's row of a single token."""
    tensors = llada_tensors()
    tensors[f"model.transformer.{key}.weight"][3, 3] = float("nan")
    folder = write_checkpoint(quiet_home / "model", tensors=tensors)
    assert run_main(monkeypatch, *SMALL, f"backbone.path={folder}") == 2
    said = capfd.readouterr().err
    assert "are not finite" in said and said.startswith("warmexp: ") and said.count("\n") == 1
    assert not decoded(quiet_home / "outputs") and not list(quiet_home.glob("outputs/*/summary.json"))


def test_one_changed_bit_in_the_middle_of_large_weights_is_another_run(quiet_home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(quiet_home / "cache"))
    sizes = {"mlp": 400_000, "layers": 1}
    folder = write_checkpoint(quiet_home / "model", llada_tensors(**sizes), llada_config(**sizes), shards=1)
    (file,) = folder.glob("*.safetensors")
    assert file.stat().st_size > 64 << 20
    words = [*SMALL[:-2], "task.limit=1", "device=cpu", f"backbone.path={folder}", "tau=0.01"]
    assert run_main(monkeypatch, *words) == 0
    with file.open("r+b") as handle:
        handle.seek(file.stat().st_size // 2)
        bit = handle.read(1)[0] ^ 1
        handle.seek(-1, 1)
        handle.write(bytes([bit]))
    assert run_main(monkeypatch, *words) == 0
    assert len(list(quiet_home.glob("outputs/*/summary.json"))) == 2


CUT = {"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0}
FILLED = {"strategy": {"Fixed": 300}, "direction": "Left", "pad_to_multiple_of": None, "pad_type_id": 0}
STATES = {
    "truncation": {"truncation": CUT},
    "padding": {"padding": FILLED | {"pad_id": EOS, "pad_token": "<|endoftext|>"}},
    "dropout": {"dropout": 0.5},
}


def test_what_a_training_left_in_a_tokenizer_changes_no_token(quiet_home, monkeypatch, capfd):
    base = write_checkpoint(quiet_home / "base")
    assert run_main(monkeypatch, *SMALL, f"backbone.path={base}", "outputs=base-out") == 0
    for name, state in STATES.items():
        folder = shutil.copytree(base, quiet_home / name)
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        (tokenizer["model"] if name == "dropout" else tokenizer).update(state)
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        assert run_main(monkeypatch, *SMALL, f"backbone.path={folder}", f"outputs={name}-out") == 0
        assert decoded(quiet_home / f"{name}-out") == decoded(quiet_home / "base-out"), name


def test_a_token_behind_letters_in_a_prompt_is_in_no_file(quiet_home, monkeypatch, capfd):
    token = "ghp_aB3dE5fG7hJ9kL2mN4pQ6rS8tU0vW"
    file = quiet_home / "q.jsonl"
    file.write_text(
        json.dumps({"id": "q1", "question": f"MY_KEY_{token} or key{token}: 2 + 2?", "answer": "#### 4"}) + "\n"
    )
    words = [
        "task=jsonl",
        f"task.path={file}",
        "tau=0.7,0.9",
        "-m",
        "study.name=s",
        "tracker=wandb",
        "tracker.mode=offline",
    ]
    assert run_main(monkeypatch, *words) == 0  # -m amid the overrides, as people write it
    assert token not in everything(quiet_home / "outputs") + "".join(capfd.readouterr())
