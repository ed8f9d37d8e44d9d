"""`python -m warmexp.bench` at a small size: what it counts is right; times are only positive."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
import torch

from warmexp.bench import __main__ as module
from warmexp.bench import floors, speed
from warmexp.bench.__main__ import main
from warmexp.bench.clock import Seconds, interleaved, ratios
from warmexp.bench.growth import doublings, exponent
from warmexp.bench.memory import allocated, memory
from warmexp.bench.plain import CACHES, Rule
from warmexp.bench.sharing import tau_sweep
from warmexp.bench.subject import Subject, checkpoint_prompts, lab_checkpoint, random_backbone, random_prompts
from warmexp.config.keys import options
from warmexp.errors import UserError
from warmexp.methods.length.fixed import FixedLength

WORDS = [
    "--model",
    "tiny",
    "--canvas",
    "16",
    "--block",
    "8",
    "--steps",
    "4",
    "--questions",
    "3",
    "--batch",
    "1,3",
    "--repeats",
    "2",
]
OURS = [cache for cache in options("cache") if cache in CACHES]


def tiny() -> Subject:
    backbone = random_backbone("tiny", torch.float64, torch.device("cpu"))
    return Subject("tiny", backbone, FixedLength(16, 8), Rule(steps=4), random_prompts(backbone, 0))


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "new" / "folder"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(floors, "COPY_BYTES", {"cpu": 1 << 16})
        patch.setattr(floors, "MATMUL_SIZE", {"cpu": 32})
        words = [
            *WORDS,
            "--cache",
            ",".join(OURS),
            "--prompt",
            "24",
            "--seeds",
            "2",
            "--dtype",
            "float64",
            "--out",
            str(out),
        ]
        done = subprocess.run(
            [sys.executable, "-m", "warmexp.bench", *words], capture_output=True, text=True, timeout=300
        )
    assert done.returncode == 0, done.stderr
    return json.loads((out / "bench.json").read_text()), done.stdout, out


@pytest.mark.parametrize("cache", ["none", pytest.param("dual", marks=pytest.mark.slow)])
def test_a_batch_needs_little_beside_weights_caches_and_logits(cache):
    """64 of the lab's questions, whose activations would take four times the weights if they were computed at once."""
    checkpoint = lab_checkpoint("float32")
    lab = Subject(
        "lab", checkpoint.load(torch.device("cpu")), FixedLength(48, 16), Rule(0.5), checkpoint_prompts(checkpoint)
    )
    assert 1 < memory(lab, lab.questions(64), cache, 64)["times_needed"] < 1.3


@pytest.mark.slow
def test_tokens_are_compared_and_counted(measured):
    result, printed, _ = measured
    rows = result["speed"]
    assert [(r["who"], r["cache"], r["batch"]) for r in rows] == [
        *(("plain", cache, 1) for cache in OURS),
        *(("warmexp", cache, batch) for cache in OURS for batch in (1, 3)),
    ]
    assert all(len(r["seconds"]) == 2 and min(r["seconds"]) > 0 for r in rows)
    for r in rows:
        assert r["nfe_mean"] == 8 and 0 < r["tokens"] <= 48
        assert r["tokens_per_second"]["high"] == pytest.approx(r["tokens"] / min(r["seconds"]))
        if r["who"] == "warmexp":
            assert (r["identical"], r["questions"], r["divergences"]) == (3, 3, [])
            base = next(p for p in rows if p["who"] == "plain" and p["cache"] == r["cache"])
            each = [a / b for a, b in zip(base["seconds"], r["seconds"], strict=True)]
            assert (r["ratio"]["low"], r["ratio"]["high"]) == pytest.approx((min(each), max(each)))
            assert ("times_none" in r) == (r["cache"] != "none")
            if r["cache"] != "none":
                without = next(p for p in rows if (p["who"], p["cache"], p["batch"]) == ("warmexp", "none", r["batch"]))
                each = [a / b for a, b in zip(without["seconds"], r["seconds"], strict=True)]
                assert (r["times_none"]["low"], r["times_none"]["high"]) == pytest.approx((min(each), max(each)))
    assert all(
        f"batch {batch}: the same questions with cache={c} " in printed for batch in (1, 3) for c in OURS if c != "none"
    )
    assert (
        "3 of 3 questions token-identical" in printed
        and Subject.RULE in printed
        and result["counting_rule"] == Subject.RULE
    )


@pytest.mark.slow
def test_every_part_is_there(measured):
    result, printed, out = measured
    assert result["prompt_tokens"] == [24, 24] and result["model"]["steps_per_block"] == 4
    assert [(f["cache"], f["batch"]) for f in result["forwards"]] == [(c, b) for c in OURS for b in (1, 3)]
    for f in result["forwards"]:
        assert 0 < f["share_outside"] < 1 and sum(k["forwards"] for k in f["kinds"].values()) == 8 * (3 // f["batch"])
        assert all(
            k["rows"] == f["batch"] and k["seconds"] > 0 and k["times_the_floor"] > 0 for k in f["kinds"].values()
        )
    for m in result["memory"]:
        needed = m["needed_bytes"]
        assert needed["logits"] == m["batch"] * 8 * 128 * 8 and needed["weights"] == result["model"]["weights_bytes"]
        assert needed["caches"] == (0 if m["cache"] == "none" else 2 * 2 * 2 * 16 * (24 + 16) * 8 * m["batch"])
        assert m["peak_bytes"] > needed["weights"] and m["times_needed"] == pytest.approx(
            m["peak_bytes"] / sum(needed.values())
        )
    assert {(g["what"], g["cache"]): g["sizes"] for g in result["growth"]} == {
        ("batch", c): [1, 2, 3] for c in OURS
    } | {("response", c): [8, 16] for c in OURS} | {("prompt", c): [16, 24] for c in OURS}  # fmt: skip
    assert "GFLOP/s" in printed and "exponent" in printed and printed.splitlines()[-1] == str(out)
    assert (out / "bench.png").read_bytes().startswith(b"\x89PNG") and (out / "bench.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("cache", OURS)
@pytest.mark.parametrize("logits", ["aligned", "shifted"])
def test_float64_agreement_with_the_plain_decoder(measured, cache, logits):
    """Every cache of the loop that the published code has too."""
    (row,) = (row for row in measured[0]["exact"] if (row["cache"], row["logits"]) == (cache, logits))
    assert (row["identical"], row["canvases"], row["divergences"]) == (18, 18, [])


def test_a_wrong_token_and_a_late_one_are_found(monkeypatch):
    real = speed.stream

    def wrong(*given):
        first, second, *others = sorted(real(*given), key=lambda d: d.id)
        ids = (first.ids[0] ^ 1, *first.ids[1:])
        when = (*second.commit_iteration[:-1], second.commit_iteration[-1] + 1)
        return [dataclasses.replace(first, ids=ids), dataclasses.replace(second, commit_iteration=when), *others]

    monkeypatch.setattr(speed, "stream", wrong)
    subject = tiny()
    questions = subject.questions(4)
    row = speed.speed(subject, questions, ["none"], [4], 1, lambda _: None)[1]
    assert row["identical"] == 2 and len(row["divergences"]) == 2
    assert {d["question"] for d in row["divergences"]} == {"0", "1"}


def test_what_follows_an_end_of_text_is_not_counted():
    subject = tiny()
    end = subject.backbone.eos_id
    assert [subject.answer_tokens(ids) for ids in ([1, 2, end, 3], [end], [1, 2])] == [2, 0, 2]


def test_contenders_take_turns():
    order = []
    contenders = {name: (lambda name=name: order.append(name) or len(order)) for name in "abc"}
    results, seconds = interleaved(contenders, 3, torch.device("cpu"), lambda _: None)
    assert (
        "".join(order) == "abcbcacab"
        and results == {"a": 1, "b": 2, "c": 3}
        and all(len(s) == 3 for s in seconds.values())
    )


def test_ratios_are_taken_round_by_round():
    slow, fast = [Seconds(2, 8), Seconds(30, 9)], [Seconds(1, 2), Seconds(10, 1)]
    assert vars(ratios(slow, fast)) == {"median": 2.5, "low": 2, "high": 3}
    assert vars(ratios(slow, fast, "processor")) == {"median": 6.5, "low": 4, "high": 9}


def test_exponents():
    assert exponent([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2)
    assert exponent([1, 10, 100], [5, 5, 5]) == pytest.approx(0)
    assert doublings(16, 100) == [16, 32, 64, 100] and doublings(3, 3) == [3] and doublings(1, 8) == [1, 2, 4, 8]


def test_memory_counts_what_is_alive_at_once():
    def work():
        a = torch.zeros(1000, dtype=torch.float64)
        del a
        b = torch.zeros(3000, dtype=torch.float64)
        return b + 1

    assert allocated(work) == pytest.approx(48_000, rel=0.01)


@pytest.mark.slow
def test_runs_share_what_comes_before_they_part():
    swept = tau_sweep(2, 1, (0.5, 1.1))
    assert swept["identical"] == swept["answers"] == 4 and len(swept["pairs"]) == 1
    # One token at a time is 48 forwards, of which a question's first at least reads what the other run reads.
    assert swept["rows"] > 2 * 48 and 2 <= swept["rows"] - swept["distinct"] < 2 * 48 and swept["bytes"] > 0
    assert swept["pairs"][0]["distinct"] == swept["distinct"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch", "4"], "--batch 4 is more than the 3 questions"),
        (["--cache", "nine"], "--cache=nine is not one of"),
        (["--cache", ","], "--cache names nothing"),
        (["--parts", "speed,spede"], "--parts=spede is not one of"),
        (["--parts", "runs"], "--parts runs measures runs of the lab"),
        (["--model", "./nowhere"], "./nowhere does not exist"),
        (["--block", "5"], "length.block_length=5 does not divide"),
        (["--prompt", "9000"], "--prompt makes rows of 9016 tokens"),
        (["--device", "cuda:99"], "device=cuda:99 is not there"),
        (["--repeats", "0"], "--repeats=0 is not in"),
        (["--tau", "0"], "--tau=0.0 is not in"),
        (["--steps", "0"], "--steps=0 is not in"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(words, said, tmp_path, capsys):
    assert main([*WORDS, *words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1, error
    assert not list(tmp_path.rglob("bench.json"))


def test_what_was_measured_is_kept_when_a_later_part_fails(tmp_path, capsys, monkeypatch):
    def full(*given):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(module, "growth", full)
    words = [*WORDS, "--cache", "none", "--repeats", "1", "--parts", "speed,growth", "--out", str(tmp_path)]
    assert main(words) == 2
    assert capsys.readouterr().err.endswith(
        "warmexp: --batch 3 does not fit into the memory of --device auto: lower it.\n"
    )
    assert len(json.loads((tmp_path / "bench.json").read_text())["speed"]) == 3


def test_an_earlier_benchmark_is_kept(tmp_path, capsys):
    (tmp_path / "bench.json").write_text("{}")
    assert main([*WORDS, "--out", str(tmp_path)]) == 2
    assert "holds a benchmark already" in capsys.readouterr().err and (tmp_path / "bench.json").read_text() == "{}"
    assert main([*WORDS, "--out", str(tmp_path / "bench.json" / "x")]) == 2
    assert "cannot be made" in capsys.readouterr().err


@pytest.mark.slow
def test_the_lab_is_the_default_subject(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "SHARING_QUESTIONS", 2)
    words = [
        "--questions",
        "2",
        "--batch",
        "2",
        "--repeats",
        "1",
        "--cache",
        "none",
        "--parts",
        "speed,sharing",
        "--out",
        str(tmp_path),
    ]
    assert main(words) == 0
    result = json.loads((tmp_path / "bench.json").read_text())
    assert result["model"]["name"] == "lab" and result["model"]["tau"] == 0.9 and result["model"]["canvas_length"] == 48
    assert result["speed"][1]["identical"] == 2 and "are taken from memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "caches"),
    [
        ("sdar", ["none", "exact"]),
        ("llada2", ["none", "exact"]),
        ("llada_moe", ["none", "dual"]),
        ("smdm", ["none", "dual"]),
    ],
)
def test_random_weights_of_the_newer_layouts(model, caches, tmp_path):
    """Small ones here: the real size is the same command without --tiny. The plain decoder says the same tokens."""
    words = [
        "--model",
        model,
        "--tiny",
        "--dtype",
        "float64",
        "--canvas",
        "32",
        "--steps",
        "2",
        "--questions",
        "2",
        "--batch",
        "2",
    ]
    words += ["--repeats", "1", "--prompt", "13", "--parts", "speed", "--out", str(tmp_path)]
    assert main(words) == 0
    rows = json.loads((tmp_path / "bench.json").read_text())["speed"]
    assert [row["cache"] for row in rows if row["who"] != "plain"] == caches
    assert all(row["identical"] == 2 for row in rows if row["who"] != "plain" and row["cache"] == "none")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], (64, [1, 64], 5, None)),
        (["--questions", "3"], (3, [1, 3], 5, None)),
        (["--questions", "1"], (1, [1], 5, None)),
        (["--model", "llada", "--tiny"], (8, [1, 8], 2, 64)),
        (["--model", "llada", "--tiny", "--canvas", "32", "--repeats", "5"], (8, [1, 8], 5, 32)),
    ],
)
def test_what_is_measured_unless_said_otherwise(words, expected, tmp_path, monkeypatch):
    found = []

    def stop(chosen, save):
        found.append((chosen.questions, chosen.batch, chosen.repeats, chosen.canvas))
        raise UserError("enough")

    monkeypatch.setattr(module, "measure", stop)
    assert main([*words, "--out", str(tmp_path / "o")]) == 2
    assert found == [expected]


def test_what_does_not_go_together_is_said(tmp_path, capsys):
    for words, said in (
        (["--model", "sdar", "--tiny", "--cache", "dual"], "--cache dual is not made for --model sdar"),
        (["--model", "sdar", "--tiny", "--block", "3"], "--block 3 does not divide the 4 positions"),
        (["--model", "100m", "--tiny"], "--tiny makes a published layout small"),
    ):
        assert main([*words, "--questions", "1", "--batch", "1", "--canvas", "12", "--out", str(tmp_path / "o")]) == 2
        assert said in capsys.readouterr().err
