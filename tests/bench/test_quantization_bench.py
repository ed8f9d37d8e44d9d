"""The table of what fewer bits do: figures are those of the records."""

from __future__ import annotations

import json

import pytest
import torch

from tests.models.test_quantization import folder, installed, tensors, words  # noqa: F401
from warmexp.api import planned
from warmexp.bench.quantization import _unpacked, main, random_weights
from warmexp.runs.run import run


def test_a_line_per_kind_of_runs_that_differ_in_nothing_else(folder, quiet_home, capsys):  # noqa: F811
    outputs = quiet_home / "outputs"
    assert not outputs.exists() and main([str(outputs)]) == 2
    plans = {}
    for kind, tau in (("none", 0.5), ("int4", 0.5), ("int8", 0.7)):
        plans[kind] = planned(words(folder, outputs, f"backbone.quantization={kind}", f"tau={tau}", "task.limit=3"))
        run(plans[kind], say=lambda _: None)
    capsys.readouterr()
    assert main([str(outputs)]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split(" | ")[:3] for line in lines] == [
        ["| token_inject oracle", "0.5", kind] for kind in ("none", "int4")
    ]
    for kind, line in zip(("none", "int4"), lines, strict=True):
        own, before = (
            [json.loads(text) for text in (plans[one].folder / "records.jsonl").read_text().splitlines()] for one in (kind, "none")
        )  # fmt: skip
        said = [number for r in own for number in r["confidence"][: r["response_tokens"]] if number is not None]
        ids = {r["id"]: r["ids"] for r in before}
        figures = line.rstrip("| ").split(" | ")[3:]
        assert float(figures[0]) == pytest.approx(sum(said) / len(said), abs=1e-4)
        assert float(figures[2]) == pytest.approx(sum(r["nfe"] for r in own) / 3, abs=0.01)
        assert float(figures[3]) == pytest.approx(100 * sum(r["correct"]["flexible"] for r in own) / 3, abs=0.1)
        assert float(figures[4]) == pytest.approx(100 * sum(r["ids"] == ids[r["id"]] for r in own) / 3, abs=1)


def test_random_weights(capsys):
    backbone = _unpacked("tiny")
    before = {name: weight.clone() for name, weight in backbone.transformer.named_parameters()}
    none, int8, int4 = random_weights(backbone, ["none", "int8", "int4"])
    assert none["change"] == none["other"] == 0 < int8["change"] < int4["change"] and int8["other"] < int4["other"]
    assert all(torch.equal(before[name], weight) for name, weight in backbone.transformer.named_parameters())
    assert main(["--random", "none"]) == 2 and "--random=none" in capsys.readouterr().err
