"""A training that is stopped, damaged or misused: nothing is lost, nothing is run, and the sentence says what to do."""

import json
import os
import pickle
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.lab.test_long_training import TINY, TINY_PROPOSER, backbone
from warmexp.errors import UserError
from warmexp.lab.long.backbone import BackboneTraining, further
from warmexp.lab.long.feed import Stage
from warmexp.lab.long.proposers import ProposerTraining
from warmexp.lab.long.train import main
from warmexp.lab.long.training import run
from warmexp.lab.train_backbone import PREFIX

SHORT = replace(TINY, stages=(Stage(4, "easy", drills=0.5), Stage(8, "easy", 0.4, 0.5, (96,), 0.5)), pool=64)
MEASURED = ("tokens_per_s", "minutes", "time")


def curve(folder):
    notes = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    return [{k: v for k, v in note.items() if k not in MEASURED} for note in notes]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    backbone(folder, SHORT)
    return folder


@pytest.fixture(scope="module")
def five_steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("begun")
    backbone(folder, SHORT, stop_after=5)
    return folder


@pytest.fixture
def begun(five_steps, tmp_path):
    return Path(shutil.copytree(five_steps, tmp_path / "backbone"))


def test_the_curve_of_parts_is_that_of_a_training_at_a_stretch(whole, begun):
    """The state is of step 5, between two lines; a kill had left lines of steps behind it, the last one torn."""
    with open(begun / "curve.jsonl", "a") as file:
        file.write('{"step": 6, "ar": 9.0}\n{"step": 8, "a')
    backbone(begun, SHORT)
    assert curve(begun) == curve(whole) and [note["step"] for note in curve(whole)] == [2, 4, 6, 8]


def test_it_is_judged_when_it_was_asked_for(tmp_path):
    """Whatever the distance of the curve's other lines."""
    backbone(tmp_path, replace(SHORT, stages=(Stage(3, "easy"),)), rows=4, judge_every=3)
    assert [("right" in note, note["step"]) for note in curve(tmp_path)] == [(False, 2), (True, 3)]


def test_trained_weights_are_gone_on_from(whole, tmp_path):
    """By the last stage alone, its steps counted from 0, and to the step; the folder is needed once."""
    recipe = further(SHORT)
    assert recipe.stages == (Stage(4, "easy", 0.4, 0.5, (96,), 0.5),) and further(recipe) == recipe
    folder = Path(shutil.copytree(whole / "model", tmp_path / "trained"))
    stored = load_file(folder / "model.safetensors")
    training = BackboneTraining(tmp_path / "on", recipe, rows=0, start=folder)
    for weights in (training.net.state_dict(), training.average.weights):
        assert all(torch.equal(weights[k.removeprefix(PREFIX)], v.float()) for k, v in stored.items())
    run(training, stop_after=2, judge_every=0)
    shutil.rmtree(folder)
    parts = run(BackboneTraining(tmp_path / "on", recipe, rows=0, start=folder), judge_every=0)
    shutil.copytree(whole / "model", folder)
    at_once = run(BackboneTraining(tmp_path / "at once", recipe, rows=0, start=folder), judge_every=0)
    assert parts.done == 4
    assert all(torch.equal(v, at_once.net.state_dict()[k]) for k, v in parts.net.state_dict().items())


def test_weights_of_another_shape_are_refused(whole, tmp_path):
    folder = Path(shutil.copytree(whole / "model", tmp_path / "trained"))
    wider = replace(SHORT, shape=replace(SHORT.shape, mlp_hidden_size=2 * SHORT.shape.mlp_hidden_size))
    for recipe, place, says in (
        (SHORT, tmp_path, "is no model folder"),
        (wider, folder, "not those of a model of this recipe"),
    ):
        with pytest.raises(UserError, match=says) as refused:
            BackboneTraining(tmp_path / says.split()[0], recipe, start=place)
        assert str(place) in str(refused.value) and "\n" not in str(refused.value)
    (folder / "model.safetensors").write_bytes(b"{}")
    with pytest.raises(UserError, match="not those of a model"):
        BackboneTraining(tmp_path / "damaged", SHORT, start=folder)
    with pytest.raises(UserError, match="--model backbone"):
        main(["--out", str(tmp_path / "o"), "--start", str(folder)])


class Attack:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_a_damaged_state_is_refused_and_left_alone(begun):
    file, marker = begun / "state.ckpt", str(begun / "was run")
    good = file.read_bytes()
    attack = begun / "attack"
    torch.save({"net": Attack(marker), "step": 5}, attack)
    damages = [b"", b"\0" * 100, good[: len(good) // 2], pickle.dumps(Attack(marker)), attack.read_bytes()]
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    damages.append(bytes(flipped))
    for step in (-1, 5.0, "5", None, 9):
        torch.save(torch.load(file, weights_only=True) | {"step": step}, attack)
        damages.append(attack.read_bytes())
    for saved in ([], {}, {"step": 5}):
        torch.save(saved, attack)
        damages.append(attack.read_bytes())
    for content in damages:
        file.write_bytes(content)
        with pytest.raises(UserError, match=r"state.ckpt (cannot be read as a state|does not fit this recipe)"):
            BackboneTraining(begun, SHORT)
        assert file.read_bytes() == content and not os.path.exists(marker)
    file.write_bytes(good)
    assert BackboneTraining(begun, SHORT).done == 5, "a refusal gives the folder back"


def test_a_state_of_another_training_is_refused(begun):
    before = (begun / "state.ckpt").read_bytes()
    wide = replace(SHORT, shape=replace(SHORT.shape, d_model=64))
    for recipe, seed, key in (
        (replace(SHORT, batch=8), 0, "batch=4 there, 8 here"),
        (wide, 0, "d_model=32 there, 64 here"),
        (SHORT, 1, "seed=0 there, 1 here"),
    ):
        with pytest.raises(UserError, match=key):
            BackboneTraining(begun, recipe, seed=seed)
    with pytest.raises(UserError, match=r"is of another training|does not fit this recipe"):
        ProposerTraining(begun, TINY_PROPOSER)
    assert (begun / "state.ckpt").read_bytes() == before


def test_a_state_from_before_recipes_were_kept_is_gone_on_from(begun):
    saved = torch.load(begun / "state.ckpt", weights_only=True)
    del saved["about"], saved["losses"]
    torch.save(saved, begun / "state.ckpt")
    assert backbone(begun, SHORT).done == 8
    torch.save(saved, begun / "state.ckpt")
    with pytest.raises(UserError, match="does not fit this recipe"):
        BackboneTraining(begun, replace(SHORT, shape=replace(SHORT.shape, d_model=64)))


def test_a_full_disk_keeps_the_last_state(whole, begun):
    before, limits = (begun / "state.ckpt").read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    training = BackboneTraining(begun, SHORT)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(UserError, match=r"state.ckpt cannot be written \(File too large\): free some space"):
            run(training, log_every=2, judge_every=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (begun / "state.ckpt").read_bytes() == before and not list(begun.glob("*.tmp"))
    backbone(begun, SHORT)
    assert curve(begun) == curve(whole)


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file/inside"):
        with pytest.raises(UserError, match=r"file.* cannot be written .*give another folder"):
            BackboneTraining(out, SHORT)


def test_a_tokenizer_of_which_half_was_written_is_written_again(tmp_path):
    backbone(tmp_path, SHORT, until=0.0)
    written = sorted(file.name for file in (tmp_path / "tokenizer").iterdir())
    (tmp_path / "tokenizer/tokenizer_config.json").unlink()
    assert BackboneTraining(tmp_path, SHORT).tokenizer.mask_token_id is not None
    assert sorted(file.name for file in (tmp_path / "tokenizer").iterdir()) == written


def signalled(number, monkeypatch):
    """The third step sends this process a signal."""
    step = BackboneTraining.step

    def sends(self, batch):
        if self.done == 2:
            os.kill(os.getpid(), number)
        return step(self, batch)

    monkeypatch.setattr(BackboneTraining, "step", sends)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_first_and_ends_all_models(number, tmp_path, monkeypatch):
    signalled(number, monkeypatch)
    handler = signal.getsignal(number)
    words = ["--out", str(tmp_path), "--judge", "0"]
    if number == signal.SIGINT:
        with pytest.raises(KeyboardInterrupt):
            main(words, SHORT, {"weak": TINY_PROPOSER})
    else:
        main(words, SHORT, {"weak": TINY_PROPOSER})
    assert torch.load(tmp_path / "backbone/state.ckpt", weights_only=True)["step"] == 3
    assert (tmp_path / "backbone/model/model.safetensors").exists() and not (tmp_path / "weak").exists()
    assert signal.getsignal(number) == handler


def test_models_whose_time_never_came_leave_no_folder(tmp_path):
    main(["--out", str(tmp_path), "--minutes", "0"], SHORT, {"weak": TINY_PROPOSER})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--until", "soon"], "--until soon: a time of day such as 18:05"),
        (["--minutes", "-1"], "--minutes -1.0 is not 0 or more"),
        (["--minutes", "nan"], "--minutes nan is not 0 or more"),
        (["--workers", "-1"], "--workers -1 is not 0 or more"),
        (["--judge", "-5"], "--judge -5 is not 0 or more"),
        (["--seed", "-1"], "--seed -1 is not 0 or more"),
        (["--device", "tpu0"], "--device tpu0 cannot be used here"),
        (["--device", "meta"], "--device meta cannot be used here"),
        (["--model", "large"], "--model: invalid choice: 'large'"),
        (["--step", "3"], "unrecognized arguments: --step 3"),
    ],
)
def test_wrong_words_are_one_sentence(words, said, tmp_path):
    with pytest.raises(UserError) as error:
        main(["--out", str(tmp_path), *words], SHORT, {})
    assert said in str(error.value) and "\n" not in str(error.value) and not list(tmp_path.iterdir())
