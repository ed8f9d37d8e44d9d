"""What caches and sparse attention save as prompts grow: that it is measured, never how long it took."""

from __future__ import annotations

import json

import pytest

from warmexp.bench.windows import main
from warmexp.errors import UserError


def test_every_method_is_measured(tmp_path, capsys):
    words = "--prompts 24,40 --canvas 8 --block 4 --steps 4 --methods dual,dkv,window:active=2:buffer=4,sparsed:tile=4:share=1"
    assert main([*words.split(), "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "windows.json").read_text())
    assert [(row["prompt"], row["method"].split(":")[0]) for row in rows] == [
        (prompt, name) for prompt in (24, 40) for name in ("none", "dual", "dkv", "window", "sparsed")
    ]
    for prompt in (24, 40):
        by = {row["method"].split(":")[0]: row for row in rows if row["prompt"] == prompt}
        assert by["none"]["same"] == by["sparsed"]["same"] == 1.0
        assert by["none"]["token_forwards"] == by["none"]["nfe"] * (prompt + 8)
        assert all(by[name]["token_forwards"] < by["none"]["token_forwards"] for name in ("dual", "dkv", "window"))
    assert "sparsed:tile=4:share=1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--methods nothing", "--methods"),
        ("--methods dkv:refresh=0", r"cache\.refresh=0"),
        ("--methods dkv:fresh=2", "fresh is not a key"),
        ("--prompts 1000,x", "--prompts 1000,x is not a list"),
        ("--prompts 9000", "--prompts=9000"),
        ("--model big", "--model"),
        ("--canvas 0", "--canvas"),
    ],
)
def test_what_cannot_be_is_refused(words, sentence):
    with pytest.raises(UserError, match=sentence):
        main(words.split())
