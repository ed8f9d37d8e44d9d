"""A learned unmasking policy beside a slow one; before training it is the threshold; its file, from the recipe to a
run's identity."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from tests.decode.cases import facts
from tests.decode.test_seams import COLD, backbone, decoded, questions  # noqa: F401 (a fixture)
from tests.methods.unmask.slow import MASK, agree, nats, softmax
from tests.reference import policy as reference
from warmexp.api import planned
from warmexp.errors import UserError
from warmexp.lab import evaluate, problems
from warmexp.lab.long import problems as long_problems
from warmexp.lab.long.backbone import BACKBONE
from warmexp.lab.training import POOL
from warmexp.methods.unmask.learned import Learned
from warmexp.methods.unmask.policy import FEATURES, Policy, Shape, features, read_policy
from warmexp.methods.unmask.threshold import Threshold
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.lab_files import MODELS_DIR
from warmexp.tasks.lab import LabTask, LongLabTask
from warmexp.train_policy import __main__ as command
from warmexp.train_policy import recipe as train_policy
from warmexp.train_policy.__main__ import main

L = 8
SMALL = Shape(width=8, heads=2, layers=2, reach=3)
SIZES = {"width": 8, "heads": 2, "layers": 2, "reach": 3}


def drawn(shape: Shape, seed: int = 0) -> Policy:
    """With every weight drawn, so that each counts."""
    torch.manual_seed(seed)
    policy = Policy(shape)
    for p in policy.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return policy


@pytest.fixture
def file(tmp_path):
    drawn(SMALL).save(tmp_path / "policy.safetensors")
    return tmp_path / "policy.safetensors"


@pytest.fixture
def untrained(tmp_path):
    Policy(SMALL).save(tmp_path / "untrained.safetensors")
    return str(tmp_path / "untrained.safetensors")


@pytest.mark.parametrize("tau", [0.2, 0.5, 0.8, 1.1])
def test_as_it_is_described(file, tau):
    tensors = load_file(file)

    def rule(ids, z, k):
        masked = [i is None for i in ids]
        p = softmax(z)
        best, second = p.max(1), np.sort(p, 1)[:, -2]
        entropy = [nats(row) / math.log(MASK) for row in p]
        said = reference.right(tensors, SIZES, reference.described(masked, best, second, entropy))
        open_ = [i for i in range(L) if masked[i]]
        sure = [i for i in open_ if said[i] >= tau] or [max(open_, key=lambda i: said[i])]
        return {i: int(z[i].argmax()) for i in sure}

    forwards = agree(Learned(tau, weights=str(file)), lambda _: rule, canvas=L, block=L)
    assert forwards == 2 * 4 * L if tau > 1 else 2 * 4 <= forwards < 2 * 4 * L


@pytest.mark.parametrize("tau", [0.1, 0.3, 0.6, 0.9, 1.1])
def test_before_training_it_is_the_threshold(untrained, backbone, tau):  # noqa: F811
    one, other = (
        [facts(d) for d in decoded(backbone, replace(COLD, unmask=rule))]
        for rule in (Learned(tau, weights=untrained), Threshold(tau))
    )
    assert one == other


def test_a_policy_that_says_yes_everywhere_takes_a_window_in_one_forward(tmp_path, backbone):  # noqa: F811
    policy = Policy(SMALL)
    torch.nn.init.constant_(policy.say.bias, 50.0)
    policy.save(tmp_path / "yes.safetensors")
    for done in decoded(backbone, replace(COLD, unmask=Learned(0.999, weights=str(tmp_path / "yes.safetensors")))):
        assert done.cost.nfe == len(done.ids) // COLD.length.block_length


@pytest.mark.parametrize("name", sorted(Policy(SMALL).state_dict()))
def test_every_tensor_of_the_file_counts(file, tmp_path, name):
    """A part of the network that is left out, or read as another, is seen; and it is another run's."""
    rng = np.random.default_rng(0)
    masked = rng.random((3, 11)) < 0.7
    best = rng.uniform(0.1, 0.99, masked.shape)
    x = features(masked, best, (1 - best) / 2, rng.random(masked.shape))
    sound = read_policy(str(file))
    tensors = load_file(file)
    if name == "blocks.0.mix.bias":  # keys' biases change no weight of attention: take those of queries and values
        tensors[name][:8] += 1.0
    else:
        tensors[name] = rng.permutation(tensors[name].ravel()).reshape(tensors[name].shape) + 0.1
    save_file(tensors, tmp_path / "other.safetensors", dict(kind="warmexp unmasking policy 1", **_words(SIZES)))
    other = read_policy(str(tmp_path / "other.safetensors"))
    assert np.abs(other.right(x) - sound.right(x)).max() > 1e-6 and other.sha256 != sound.sha256
    for row in range(3):
        told = reference.described(masked[row], best[row], (1 - best[row]) / 2, x[row, :, 3])
        assert other.right(x)[row] == pytest.approx(reference.right(tensors, SIZES, told), abs=1e-12)


def _words(sizes):
    return {name: str(value) for name, value in sizes.items()}


def test_what_is_visible_is_certain():
    masked = np.array([[True, False, True]])
    x = features(masked, np.array([[0.5, -1.0, 1.0]]), np.full((1, 3), 0.25), np.array([[0.5, np.nan, 0.0]]))
    edge = math.log((1 - 1e-6) / 1e-6)
    assert x[0, 1] == pytest.approx([0, edge, -edge, 0, math.log(2), math.log(0.5)], abs=1e-5)
    assert x[0, 2] == pytest.approx([1, edge, math.log(1 / 3), 0, math.log(2), math.log(0.5)], abs=1e-5)


def test_it_takes_the_likeliest_and_not_the_most_confident(file):
    """Where nothing reaches τ."""
    rule = Learned(1.1, weights=str(file))
    rng = np.random.default_rng(1)
    masked = np.ones((40, L), bool)
    confidence = rng.uniform(0.1, 0.9, masked.shape)
    measured = {"policy_second": (1 - confidence) / 2, "policy_entropy": rng.random(masked.shape)}
    view, reading = SimpleNamespace(masked=masked), SimpleNamespace(confidence=confidence, measured=measured)
    chosen = rule.select(view, reading)
    assert (chosen.sum(1) == 1).all() and (chosen.argmax(1) == rule.right(view, reading).argmax(1)).all()
    assert (chosen.argmax(1) != confidence.argmax(1)).any()


def test_its_weights_are_part_of_the_run_and_where_they_lie_is_not(tmp_path, file):
    shipped = MODELS_DIR / "policy.safetensors"
    (tmp_path / "copy.safetensors").write_bytes(shipped.read_bytes())

    def run_of(*words):
        return planned(["unmask=learned", *words, "task.limit=1"])

    usual, copy = run_of(), run_of(f"unmask.weights={tmp_path / 'copy.safetensors'}")
    assert usual.run_id == copy.run_id == run_of("unmask.weights=lab:policy").run_id
    assert len({usual.run_id, run_of(f"unmask.weights={file}").run_id, run_of("tau=0.8").run_id}) == 3
    assert usual.identity["unmask"]["weights"] == read_policy("lab:policy").sha256


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "text", "kind", "sizes", "size", "heads", "shape", "absent", "more", "infinite"]
)
def test_a_file_that_holds_something_else_is_one_sentence(damage, file, tmp_path):
    tensors, notes = load_file(file), dict(kind="warmexp unmasking policy 1", **_words(SIZES))
    broken = tmp_path / "broken.safetensors"
    if damage == "kind":
        notes["kind"] = "another"
    elif damage == "sizes":
        del notes["reach"]
    elif damage == "size":
        notes["width"] = "wide"
    elif damage == "heads":
        notes["heads"] = "3"
    elif damage == "shape":
        tensors["say.weight"] = tensors["say.weight"][:, :4].copy()
    elif damage == "absent":
        del tensors["norm.bias"]
    elif damage == "more":
        tensors["extra"] = np.ones(1, np.float32)
    elif damage == "infinite":
        tensors["say.bias"][0] = np.inf
    if damage not in ("missing", "empty", "text"):
        save_file(tensors, broken, notes)
    elif damage != "missing":
        broken.write_text("" if damage == "empty" else "weights")
    with pytest.raises(
        UserError, match=r"^unmask.weights=\S+broken.safetensors (does not exist|holds no unmasking)"
    ) as e:
        planned(["unmask=learned", f"unmask.weights={broken}", "task.limit=1"])
    assert "\n" not in str(e.value) and "python -m warmexp.train_policy" in str(e.value)


# The recipe.

FEW = replace(train_policy.RECIPE, rows=6, held_out=0.34, passes=6, batch=8)


@pytest.fixture(scope="module")
def lab():
    """The lab's backbone and twelve prompts that it has not seen."""
    checkpoint = Checkpoint("lab:backbone", logits="shifted")
    prompts = [checkpoint.tokenizer.encode(question.prompt) for question in LabTask().unseen(12)]
    return checkpoint.load(torch.device("cpu")), prompts


@pytest.fixture(scope="module")
def collected(lab):
    return train_policy.collect(*lab, FEW, 0)


def test_a_careful_decoding_judges(lab):
    """Hurried by the same threshold, every first forward of a block is an example: what is right is what the lab's own
    decoder ends with."""
    model, prompts = lab
    net, prompt = model.transformer, torch.tensor(prompts[:1])
    r = replace(FEW, hurried=(0.97,), forwards=1)
    found = train_policy.examples(model, prompt, r, 48, np.random.default_rng(0))
    canvas = torch.full((1, 48), model.mask_id)
    done, forwards = evaluate.decode(net, prompt, canvas, 0.97, 48)
    token, confidence, x = train_policy.look(model, prompt, canvas, 0, 48)
    assert len(found) == int(forwards) and found[0].counts.all() and x.shape == (1, 48, FEATURES)
    assert (found[0].right == (token == done).numpy()).all() and not found[0].right.all()
    assert (found[0].x == x).all() and (confidence >= 0).all()
    assert found[-1].counts.sum() < 48 and found[-1].right[found[-1].counts].all()


@pytest.mark.parametrize("logits", ["shifted", "aligned"])
def test_it_looks_at_what_the_decoder_reads(logits, backbone):  # noqa: F811
    """Token and confidence of the first forward of a block are those that a decoding stores."""
    backbone = replace(backbone, logits=logits)
    for done in decoded(backbone, replace(COLD, unmask=Threshold(1e-9))):
        (question,) = [q for q in questions() if q.id == done.id]
        canvas = torch.full((1, len(done.ids)), backbone.mask_id)
        block = COLD.length.block_length
        token, confidence, _ = train_policy.look(backbone, torch.tensor([question.prompt]), canvas, 0, block)
        assert token[0].tolist() == list(done.ids[:block])
        assert confidence[0].tolist() == pytest.approx(list(done.confidence[:block]), abs=1e-6)


@pytest.mark.parametrize(("task", "stream"), [(LabTask, problems.stream), (LongLabTask, long_problems.stream)])
def test_questions_that_are_learnt_from_are_others(task, stream):
    """None of them is a calibration or a test question, or one that the backbone was trained on."""
    found = task(limit=3).unseen(40)
    indices = [int(question.id.rpartition("-")[2]) for question in found]
    assert len(found) == 40 and indices == sorted(indices) and all("train" in question.id for question in found)
    assert indices[0] >= task.trained_on > 0
    assert [q.prompt for q in found] == [
        f"Question: {p.question}\nAnswer:" for _, p in islice(stream(task.trained_on), 40)
    ]


def test_no_backbone_was_trained_on_them():
    assert LabTask.trained_on >= 2 * POOL  # of which it took POOL
    r = BACKBONE
    assert r.steps // r.pool_steps * r.pool < LongLabTask.trained_on - 100_000


def test_it_learns_and_the_same_seed_learns_the_same(collected, tmp_path):
    found, _ = collected
    one, loss, plain = train_policy.train(found, found, FEW, 0)
    assert loss < plain and train_policy.judged(Policy(Shape()), found, FEW)[0] == pytest.approx(plain)
    assert train_policy.train(found, found, FEW, 0)[0].sha256 == one.sha256
    assert train_policy.train(found, found, FEW, 1)[0].sha256 != one.sha256
    one.save(tmp_path / "p.safetensors", {"loss": f"{loss:.4f}"})
    assert read_policy(str(tmp_path / "p.safetensors")).sha256 == one.sha256


@pytest.mark.parametrize("name", ["policy", "long_policy"])
def test_the_shipped_ones_know_more_than_confidence_does(name):
    from safetensors import safe_open

    with safe_open(MODELS_DIR / f"{name}.safetensors", "np") as found:
        notes = found.metadata()
    assert float(notes["loss"]) < float(notes["loss_of_confidence"])
    assert read_policy(f"lab:{name}").sha256 == read_policy(str(MODELS_DIR / f"{name}.safetensors")).sha256


def test_the_command_trains_for_the_backbone_and_the_task_that_it_is_given(tmp_path, monkeypatch, capsys):
    """With the canvas and the blocks of the words, on prompts of the task's training split."""
    asked = []
    monkeypatch.setattr(
        command, "collect", lambda _, prompts, r, seed: asked.append((prompts, r)) or examples_of_nothing()
    )
    lines = [json.dumps({"question": f"How many is {k}?", "answer": str(k)}) for k in range(120)]
    (tmp_path / "train.jsonl").write_text("\n".join(lines))
    (tmp_path / "test.jsonl").write_text(lines[0])
    task = ["task=jsonl", f"task.path={tmp_path / 'test.jsonl'}", f"task.training_path={tmp_path / 'train.jsonl'}"]
    out = tmp_path / "policy.safetensors"
    words = ["backbone=lab", *task, "length.canvas_length=16", "length.block_length=8", "--problems", "110"]
    main([*words, "--passes", "1", "--rows", "5", "--out", str(out)])
    ((prompts, r),) = asked
    assert len(prompts) == 110 and (r.canvas, r.widths, r.rows) == (16, (8, 12, 8, 16), 5)
    assert f"unmask.weights={out}" in capsys.readouterr().out and read_policy(str(out)).sha256


def examples_of_nothing():
    """To train on and to look at."""
    x = np.zeros((2, 4, FEATURES), np.float32)
    made = train_policy.Examples(x, np.ones((2, 4), bool), np.ones((2, 4), bool))
    return [made], [made]


def test_the_shipped_ones_blocks_are_the_labs():
    assert command.widths(16, 48) == train_policy.RECIPE.widths and command.widths(32, 64) == (32, 48, 32, 64)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--problems", "3"], "--problems"),
        (["--passes", "0"], "--passes"),
        (["--rows", "0"], "--rows"),
        (["--seed", "-1"], "--seed"),
        (["tau=0.5"], "tau=0.5 would change nothing here: .* backbone, task, length, device alone"),
        (["cache=prefix"], "cache=prefix would change nothing"),
        (["~proposer"], "~proposer would change nothing"),
        (["length=daedal"], "length=daedal changes the canvas"),
        (["backbone=lab_block"], "backbone=lab_block is read in blocks of a grid .attention_block=16"),
        (["length.canvas_length=1200"], "prompt tokens; with length.canvas_length=1200 that is more"),
        (["task=math500"], "task=math500 has no training split"),
    ],
)
def test_the_command_refuses(words, said):
    with pytest.raises(UserError, match=said):
        main(words)


def test_a_training_split_with_few_questions_is_refused(tmp_path):
    (tmp_path / "few.jsonl").write_text(json.dumps({"question": "1?", "answer": "1"}))
    file = tmp_path / "few.jsonl"
    with pytest.raises(UserError, match="has 1 questions: at least 100"):
        main(["task=jsonl", f"task.path={file}", f"task.training_path={file}"])
