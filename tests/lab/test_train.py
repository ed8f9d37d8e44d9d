"""The recipe at a tiny size: states keep their promises, a few steps lower the loss, a resumed run equals an
undisturbed one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from tests.simulated.methods import strategies
from warmexp.decode.canvas import Question
from warmexp.decode.loop import decode
from warmexp.errors import UserError
from warmexp.lab import evaluate, problems, states, train_backbone
from warmexp.lab.tokenizers import PROMPT
from warmexp.lab.train import main
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.lab_files import model_path

TINY = replace(
    train_backbone.BACKBONE,
    d_model=32,
    n_layers=1,
    n_heads=1,
    mlp_hidden_size=48,
    batch=16,
    ar_steps=10,
    small_steps=30,
    steps=60,
    warmup=5,
    ema=0.9,
)


def tiny(out, r, **options):
    options = {"seed": 0, "resume": False, "pool": 400, "every": 30, "check": 0} | options
    return train_backbone.train_backbone(out, r, torch.device("cpu"), **options)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    size, rows, mask = 48, 400, 999
    length = rng.integers(10, 40, rows)
    clean = np.where(np.arange(size) < length[:, None] - 1, rng.integers(3, 60, (rows, size)), 0)
    slipped = np.where(clean > 0, (clean + 1) % 60, 0)
    s = states.draw(clean, length, slipped, mask, np.arange(3, 40), rng, states.StateMix())
    return clean, length, mask, s


def test_every_state_has_something_to_predict(drawn):
    _, _, mask, s = drawn
    masked = s.ids == mask
    assert masked.any(1).all() and (s.weight[masked] > 0).all()
    assert s.weight.min() >= 0 and s.weight.max() == 1


def test_wrong_tokens_are_visible_scored_and_in_some_rows_only(drawn):
    clean, length, mask, s = drawn
    wrong = (s.ids != mask) & (s.ids != clean)
    assert (s.weight[wrong] > 0).all()
    assert 0.1 < wrong.any(1).mean() < 0.5
    assert not wrong[np.arange(48) > length[:, None] + 3].any()


def test_interpolation_touches_masks_only(drawn):
    _, _, mask, s = drawn
    assert (s.soft_weight[s.ids != mask] == 0).all()
    assert 0 < (s.soft_weight > 0).any(1).mean() < 0.3 and s.soft_weight.max() < 1


def test_most_states_are_a_prefix_and_an_all_mask_tail(drawn):
    _, _, mask, s = drawn
    assert (s.ids[:, -8:] == mask).all(1).mean() > 0.5


@pytest.mark.slow
def test_a_few_steps_lower_the_loss_and_write_the_layout(tmp_path):
    first = tiny(tmp_path / "a", replace(TINY, steps=12))
    last = tiny(tmp_path / "b", replace(TINY, steps=120))
    assert last < 0.8 * first
    weights = load_file(tmp_path / "b/backbone/model.safetensors")
    assert all(
        k.startswith("model.transformer.") and k.endswith(".weight") and w.dtype == torch.bfloat16
        for k, w in weights.items()
    )


@pytest.mark.slow
def test_a_resumed_run_equals_an_undisturbed_one(tmp_path):
    tiny(tmp_path / "whole", TINY)
    tiny(tmp_path / "parts", TINY, stop_after=35)
    tiny(tmp_path / "parts", TINY, resume=True)
    whole, parts = (load_file(tmp_path / n / "backbone/model.safetensors") for n in ("whole", "parts"))
    assert all(torch.equal(whole[k], parts[k]) for k in whole)


def test_a_damaged_state_or_a_device_that_is_not_there_is_one_sentence(tmp_path):
    (tmp_path / "backbone.ckpt").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"backbone.ckpt cannot be read as a state .*delete it to begin anew"):
        tiny(tmp_path, TINY, resume=True)
    with pytest.raises(UserError, match="--device tpu0 cannot be used here"):
        main(["--out", str(tmp_path), "--device", "tpu0"])


def test_wrong_numbers_keep_their_way_of_being_written():
    """The first digit of a number has a space in front, the later ones have none; neither turns into the other, nor
    into anything else."""
    ways = np.array([range(10, 20), range(20, 30)])
    clean = np.random.default_rng(0).integers(8, 32, (200, 40))
    found = states.corrupt(clean, np.full(200, 40), ways, np.random.default_rng(1))
    still = (found == clean).mean(1) > 0.2  # rows of which nothing was moved
    number = (clean >= 10) & (clean < 30) & still[:, None]
    changed = number & (found != clean)
    assert changed.sum() > 500
    same_way = (found // 10 == clean // 10)[changed].mean()
    assert same_way > 0.9  # the rest stands where rows were moved from some point on
    assert {*found[number & (clean < 20)]} >= set(range(10, 20)) and {*found[number & (clean >= 20)]} >= set(
        range(20, 30)
    )


def test_blocks_of_a_grid_begin_where_attention_ends():
    """The canvas begins 5 positions into a block of 16: before the block all is seen, behind it nothing."""
    rng, rows, mask = np.random.default_rng(0), 300, 999
    length = rng.integers(10, 40, rows)
    clean = np.where(np.arange(48) < length[:, None] - 1, rng.integers(3, 60, (rows, 48)), 0)
    mix = replace(states.StateMix(), block=1.0, scatter=0.0, uniform=0.0)
    s = states.draw(clean, length, clean, mask, np.arange(3, 40), rng, mix, grid=16, offset=5)
    masked = s.ids == mask
    first = masked.argmax(1)
    start = (first + 5) // 16 * 16 - 5
    place = np.arange(48)
    assert masked.any(1).all() and masked[place >= (start + 16)[:, None]].all() and len(set(start)) > 2


def test_the_recipes_own_decoder_agrees_on_blocks():
    """With the project's, on the sibling: tokens and forwards of cold starts."""
    chosen = problems.load("calibration", 6)
    backbone = Checkpoint("lab:backbone_block", logits="shifted").load(torch.device("cpu"))
    tokenizer = AutoTokenizer.from_pretrained(model_path("backbone_block"))
    prompts = tokenizer([PROMPT.format(question=p.question) for p in chosen])["input_ids"]
    ids, forwards = evaluate.decode_all(backbone.transformer, prompts, 48, 0.9, 16)
    s = strategies(("tau=0.9", "backbone=lab_block"), 48, 16)
    done = decode(backbone, [Question(str(i), tuple(p)) for i, p in enumerate(prompts)], s)
    assert [list(d.ids) for d in done] == ids and [d.cost.nfe for d in done] == forwards
