"""`python -m warmexp.bench` of a checkpoint against the device's floors: forwards, work and memory are right; times are
only positive."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from warmexp.bench import __main__ as module
from warmexp.bench import floors
from warmexp.bench.__main__ import main
from warmexp.bench.forwards import forwards
from warmexp.bench.plain import Rule
from warmexp.bench.subject import Subject, random_backbone
from warmexp.errors import UserError
from warmexp.methods.length.fixed import FixedLength
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.random_checkpoint import main as write_random


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("random") / "random"
    sizes = ["--d_model", "16", "--layers", "2", "--heads", "2", "--kv_heads", "2", "--mlp", "32", "--rows", "300"]
    assert write_random(["--layout", "llada", "--out", str(folder), *sizes]) == 0
    return folder


@pytest.fixture
def words(folder, tmp_path):
    file = tmp_path / "questions.jsonl"
    rows = [
        {"question": "One and one?"},
        {"question": "One and two?"},
        {"question": "And " * 9},
        {"question": "left out"},
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["--model", str(folder), "--file", str(file), "--questions", "3", "--device", "cpu", "--cache", "none", "--canvas", "32",
            "--block", "8", "--parts", "forwards,memory", "--out", str(tmp_path / "out")]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("steps", "per_block"), [(4, 4), (3, 3), (20, 8)])
def test_forwards_floors_and_memory_of_a_checkpoint(words, tmp_path, capsys, steps, per_block):
    assert main([*words, "--batch", "1,2,3", "--steps", str(steps)]) == 0
    result = json.loads((tmp_path / "out" / "bench.json").read_text())
    nfe = 32 // 8 * per_block  # a block of 8 takes no more than 8 forwards
    assert [row["batch"] for row in result["forwards"]] == [row["batch"] for row in result["memory"]] == [1, 2, 3]
    # Questions of similar length go together: a batch of two and one of one, a batch of all three.
    assert [row["kinds"]["full"]["forwards"] for row in result["forwards"]] == [3 * nfe, 2 * nfe, nfe]
    assert all(0 < row["share_outside"] < 1 and row["kinds"]["full"]["floor_weights"] > 0 for row in result["forwards"])
    lengths = [len("Question: " + text + "\nAnswer:") for text in ("One and one?", "And " * 9)]
    assert result["prompt_tokens"] == lengths
    load = result["load"]
    assert load["seconds"] > 0 and load["peak_bytes"] > 0
    assert load["gib_per_second"] == pytest.approx(load["bytes"] / 2**30 / load["seconds"])
    assert "loaded in " in capsys.readouterr().out


def test_the_work_of_a_forward_is_what_torch_counts(folder):
    """FLOPs against torch's own counter, over a real forward; bytes against the shapes, table left out."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    backbone = Checkpoint(str(folder), dtype="float64").load(
        torch.device("cpu")
    )  # packed weights' products are not counted either
    ids = torch.randint(0, 200, (2, 24))
    # Four positions of each row: of fewer, a CPU computes some more (FEWEST in models/linear.py).
    row, position = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), torch.tensor([3, 5, 9, 10, 18, 20, 21, 23])
    with (
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counted,
    ):  # the CPU's fused kernel is not counted
        backbone(ids, torch.tensor([24, 24]), row, position)
    work = floors.forward_work(backbone.transformer, 2, 24, 8)
    assert work.flops == counted.get_total_flops()
    d, mlp, rows = 16, 32, 300
    assert work.bytes == 8 * (2 * (4 * d * d + 3 * d * mlp + 2 * d) + d + rows * d)


def test_grouped_queries_and_biases(tmp_path):
    """Dream's layout: the shapes of its matrices, not those of LLaDA's, decide the arithmetic."""
    sizes = ["--d_model", "16", "--layers", "1", "--heads", "4", "--kv_heads", "2", "--mlp", "32", "--rows", "300"]
    write_random(["--layout", "dream", "--out", str(tmp_path / "dream"), *sizes])
    work = floors.forward_work(Checkpoint(str(tmp_path / "dream")).load(torch.device("cpu")).transformer, 1, 10, 10)
    assert work.flops == 10 * 2 * (2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 32) + 4 * 10 * 10 * 16 + 2 * 10 * 16 * 300


def test_rows_of_other_lengths_are_not_work():
    """On the CPU rows of one length go through the backbone together and those of another after them: nothing is
    padded."""
    backbone = random_backbone("tiny", torch.float32, torch.device("cpu"))
    prompts = [(1,) * 40, (2,) * 40, (3,) * 90]
    subject = Subject("tiny", backbone, FixedLength(16, 16), Rule(steps=1), lambda count, length: prompts)
    rates = floors.Rates(bandwidth=1.0, flops=1.0)
    ((kind, row),) = forwards(subject, subject.questions(3), "none", 3, rates)["kinds"].items()
    work = [floors.forward_work(backbone.transformer, rows, tokens, 16 * rows) for rows, tokens in ((2, 56), (1, 106))]
    assert kind == "full" and row["forwards"] == 1 and row["floor_flops"] == sum(w.flops for w in work)
    assert row["floor_weights"] == work[0].bytes == work[1].bytes


def test_a_batch_that_does_not_fit_is_reported_and_the_others_measured(words, tmp_path, monkeypatch, capsys):
    def tight(work):
        def run(subject, questions, cache, batch, *more):
            if batch > 1:
                raise torch.OutOfMemoryError
            return work(subject, questions, cache, batch, *more)

        return run

    for name in ("forwards", "memory"):
        monkeypatch.setattr(module, name, tight(getattr(module, name)))
    assert main([*words, "--batch", "2,1"]) == 0
    result = json.loads((tmp_path / "out" / "bench.json").read_text())
    for part in ("forwards", "memory"):
        first, second = result[part]
        assert first == {"cache": "none", "batch": 2, "out_of_memory": True} and second["batch"] == 1
    assert capsys.readouterr().out.count("none           2  out of memory") == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--batch", "1,9"], "--batch 9 is more than the 3 questions"),
        (["--questions", "9"], "--questions 9 is more than the 4 there are"),
        (["--canvas", "8192"], "--canvas makes rows of"),
        (["--file", "nowhere.jsonl"], "--file=nowhere.jsonl cannot be read"),
        (["--model", "tiny"], "--model tiny, random weights, has no tokenizer"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(words, change, said, capsys):
    assert main([*words, "--batch", "1", *change]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("batch", ["0", "1,", "a", "1,-2"])
def test_batch_sizes_are_whole_numbers(words, batch):
    with pytest.raises(UserError, match=r"--batch: .* is not a list of whole numbers from 1, such as 1,64"):
        main([*words, "--batch", batch])


@pytest.mark.slow
def test_it_needs_neither_tracker_nor_data_sets_nor_harness(words):
    """A machine for measuring may have torch and little else."""
    blocked = "import sys\nfor name in ('wandb', 'datasets', 'lm_eval'):\n    sys.modules[name] = None\n"
    code = (
        f"{blocked}from warmexp.bench.__main__ import"
        f" main\nsys.exit(main({[*words, '--batch', '1', '--steps', '2']!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "ms/forward" in done.stdout, done.stderr
