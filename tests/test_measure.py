"""`python -m warmexp.measure` at a small shape on the CPU: forwards, work and memory are right; times are only positive."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import pytest
import torch

from warmexp.measure import __main__ as module
from warmexp.measure import floors
from warmexp.measure.__main__ import main
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.random_checkpoint import main as write_random


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("measure") / "random"
    sizes = ["--d_model", "16", "--layers", "2", "--heads", "2", "--kv_heads", "2", "--mlp", "32", "--rows", "300"]
    assert write_random(["--layout", "llada", "--out", str(folder), *sizes]) == 0
    return folder


@pytest.fixture
def words(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(floors, "COPY_BYTES", {"cpu": 1 << 16})
    monkeypatch.setattr(floors, "MATMUL_SIZE", {"cpu": 32})
    questions = tmp_path / "questions.jsonl"
    rows = [{"question": "One and one?"}, {"question": "One and two?"}, {"question": "And " * 9}, {"question": "left out by the limit"}]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["--checkpoint", str(folder), "--questions", str(questions), "--limit", "3", "--device", "cpu", "--dtype", "float32",
            "--canvas_length", "32", "--block_length", "8", "--out", str(tmp_path / "out.json")]  # fmt: skip


@pytest.mark.parametrize(("steps", "per_block"), [(4, 4), (3, 3), (20, 8)])
def test_forwards_floors_and_memory(words, tmp_path, capsys, steps, per_block):
    assert main([*words, "--batch", "1,2,3", "--steps_per_block", str(steps)]) == 0
    result = json.loads((tmp_path / "out.json").read_text())
    nfe = 32 // 8 * per_block  # a block of 8 takes no more than 8 forwards
    assert [row["batch"] for row in result["batches"]] == [1, 2, 3]
    # A batch of two and one of one, a batch of all three: a forward of a batch is one forward.
    assert [row["forwards"] for row in result["batches"]] == [3 * nfe, 2 * nfe, nfe]
    # On the CPU rows of one length go through the backbone together, and those of another length after them: two lengths among three.
    assert [row["groups"] for row in result["batches"]] == [3 * nfe, 2 * nfe, 2 * nfe]
    for row in result["batches"]:
        assert row["nfe"] == [nfe] * 3
        for key in ("seconds", "seconds_per_forward", "floor_weights", "floor_flops", "times_the_floor", "peak_bytes"):
            assert row[key] > 0, key
        assert 0 < row["share_outside"] < 1
        assert row["seconds_per_forward"] < row["seconds"]
    assert result["questions"] == 3 and result["longest_row_tokens"] == 32 + len("Question: " + "And " * 9 + "\nAnswer:")
    load = result["load"]
    assert load["seconds"] > 0 and load["gib_per_second"] == pytest.approx(load["bytes"] / 2**30 / load["seconds"])
    assert result["environment"]["device"] == "cpu" and result["environment"]["dtype"] == "float32"
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 7 and [line.split()[:2] for line in printed[-3:]] == [
        [str(row["batch"]), str(row["forwards"])] for row in result["batches"]
    ]


def test_the_work_of_a_forward_is_what_torch_counts(folder):
    """FLOPs against torch's own counter, over a real forward; bytes against the shapes, table left out."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    backbone = Checkpoint(str(folder), dtype="float64").load(torch.device("cpu"))  # packed weights' products are not counted either
    ids = torch.randint(0, 200, (2, 24))
    row, position = torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([3, 5, 9, 20, 21, 23])
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counted:  # the CPU's fused kernel is not counted
        backbone(ids, torch.tensor([24, 24]), row, position)
    work = floors.forward_work(backbone.transformer, 2, 24, 6)
    assert work.flops == counted.get_total_flops()
    d, mlp, rows = 16, 32, 300
    assert work.bytes == 8 * (2 * (4 * d * d + 3 * d * mlp + 2 * d) + d + rows * d)


def test_grouped_queries_and_biases(tmp_path):
    """Dream's layout: the shapes of its matrices, not those of LLaDA's, decide the arithmetic."""
    sizes = ["--d_model", "16", "--layers", "1", "--heads", "4", "--kv_heads", "2", "--mlp", "32", "--rows", "300"]
    write_random(["--layout", "dream", "--out", str(tmp_path / "dream"), *sizes])
    work = floors.forward_work(Checkpoint(str(tmp_path / "dream")).load(torch.device("cpu")).transformer, 1, 10, 10)
    assert work.flops == 10 * 2 * (2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 32) + 4 * 10 * 10 * 16 + 2 * 10 * 16 * 300


def test_a_batch_that_does_not_fit_is_reported_and_the_others_measured(words, tmp_path, monkeypatch, capsys):
    real = module.decode

    def tight(backbone, questions, *more):
        if len(questions) > 1:
            raise torch.OutOfMemoryError
        return real(backbone, questions, *more)

    monkeypatch.setattr(module, "decode", tight)
    assert main([*words, "--batch", "2,1"]) == 0
    first, second = json.loads((tmp_path / "out.json").read_text())["batches"]
    assert first == {"batch": 2, "out_of_memory": True} and second["forwards"] == 3 * 32
    assert "    2  out of memory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--batch", "1,9"], "--batch 9 is more than the 3 questions"),
        (["--canvas_length", "8192"], "8192 makes rows of"),
        (["--device", "cuda:99"], "device=cuda:99 is not there"),
        (["--questions", "nowhere.jsonl"], "--questions=nowhere.jsonl cannot be read"),
        (["--checkpoint", "./nowhere"], "--checkpoint=./nowhere does not exist"),
        (["--out", "no/folder/out.json"], "--out no/folder/out.json cannot be written"),
        (["--limit", "0"], "--limit=0 is not in"),
        (["--steps_per_block", "0"], "steps_per_block=0 is not in"),
    ],
)
def test_what_cannot_be_measured_is_one_sentence(words, change, said, capsys):
    assert main([*words, *change]) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("batch", ["0", "1,", "a", "1,-2"])
def test_batch_sizes_are_whole_numbers(words, batch, capsys):
    with pytest.raises(SystemExit):
        main([*words, "--batch", batch])
    assert "such as 1,4,16" in capsys.readouterr().err


def test_it_needs_neither_tracker_nor_data_sets_nor_harness(words):
    """A machine for measuring may have torch and little else."""
    blocked = "import sys\nfor name in ('wandb', 'datasets', 'lm_eval'):\n    sys.modules[name] = None\n"
    code = f"{blocked}from warmexp.measure.__main__ import main\nsys.exit(main({[*words, '--steps_per_block', '2']!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "ms/forward" in done.stdout, done.stderr


def test_a_forward_is_the_sum_of_its_groups(words, tmp_path, monkeypatch):
    """Its seconds and its arithmetic; the weights it has to read once."""
    clock = iter(range(10**6))  # every reading is a second after the one before
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(clock)))
    work = []
    monkeypatch.setattr(module, "forward_work", lambda *shape: work.append(floors.forward_work(*shape)) or work[-1])
    assert main([*words, "--batch", "3"]) == 0
    result = json.loads((tmp_path / "out.json").read_text())
    row = result["batches"][0]
    assert row["groups"] == 2 * row["forwards"] == len(work) and row["seconds_per_forward"] == 2
    pairs = [first.flops + second.flops for first, second in zip(work[::2], work[1::2], strict=True)]
    assert row["floor_flops"] == pytest.approx(statistics.median(pairs) / result["matmul_flops_per_second"])
    assert row["floor_weights"] == pytest.approx(work[0].bytes / result["copy_bytes_per_second"])
