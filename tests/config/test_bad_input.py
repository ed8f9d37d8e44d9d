"""A user's mistake gets one sentence that names the key, the value and the remedy; nothing is loaded, nothing is
printed as a traceback."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from warmexp import __main__ as cli

# command line -> what the sentence must contain
WRONG = {
    "init=foo": ["init=foo", "embed_interp", "mask", "token_inject"],
    "init=tokeninject": ["did you mean 'token_inject'"],
    "inti=mask": ["inti", "did you mean 'init'"],
    "rhoo=0.5": ["rhoo", "did you mean 'rho'"],
    "+foo=1": ["foo is not a key"],
    "token_inject=1": ["did you mean init=token_inject"],
    "init=token_inject init.rhoo=0.3": ["init.rhoo", "did you mean 'rho'"],
    "init=token_inject +init.speed=3": ["init.speed", "rho"],
    "init=token_inject rho=1.5": ["rho=1.5", "[0, 1]", "injected"],
    "init=token_inject rho=-0.1": ["rho=-0.1", "[0, 1]"],
    "init=token_inject rho=half": ["rho=half", "not a number"],
    "init=token_inject rho=nan": ["rho=nan", "[0, 1]"],
    "init=embed_interp lambda=2": ["lambda=2", "[0, 1]"],
    "init=embed_interp p=1.2": ["p=1.2", "[0, 1]"],
    "init=embed_interp init.duration=forever": ["init.duration=forever", "first, masked, fade"],
    "init=embed_interp init.by_entropy=true": ["init.by_entropy=true", "init.duration=masked"],
    "init=embed_interp init.norm=unit": ["init.norm=unit", "none, match"],
    "init=embed_interp init.by_trust=perhaps": ["init.by_trust='perhaps'"],
    "tau=0": ["tau=0", "above 0"],
    "tau=-1": ["tau=-1", "above 0"],
    "rho=0.5": ["rho=0.5", "init=token_inject", "init=mask"],
    "init=token_inject lambda=0.3": ["lambda=0.3", "init=embed_interp"],
    "unmask=topk tau=0.9": ["tau=0.9", "unmask=threshold", "unmask=topk"],
    "init=token_inject evidence=[bonus] evidence.bonus.beta=-1": ["evidence.bonus.beta=-1"],
    "init=token_inject evidence=[bonus] evidence.bonus.wins=always": ["evidence.bonus.wins=always", "agreed, most"],
    "init=token_inject evidence=[bonus] evidence.bonus.strength=odds": ["evidence.bonus.strength=odds", "logit, trust"],
    "init=token_inject evidence=[product] evidence.product.w=0": ["evidence.product.w=0", "(0, 1]"],
    "init=token_inject evidence=[product] evidence.product.cap=1": ["evidence.product.cap=1"],
    "evidence=[bonus,7]": ["evidence=[bonus,7] is no list of options"],
    "evidence=7": ["evidence=7 is not an option"],
    "evidence=[bonus]": ["evidence=[bonus]", "init=mask reads none", "init=token_inject rho=0"],
    "unmask=bonus": ["unmask=bonus", "evidence=[bonus] is", "agreement, ", "threshold, topk"],
    "unmask=topk unmask.steps_per_block=0": ["unmask.steps_per_block=0"],
    "init=token_inject proposer=none": ["needs a proposal", "lab_weak"],
    "remask=linear": ["remask.scope=injected", "init=mask", "remask.scope=decoded"],
    "init=embed_interp remask=exponential": ["remask.scope=injected", "init=embed_interp"],
    "init=token_inject remask=linear remask.scope=everything": ["remask.scope=everything", "injected, decoded, all"],
    "init=token_inject remask=linear remask.bias=3": ["remask.bias=3"],
    "init=token_inject remask=budget remask.threshold=0": ["remask.threshold=0"],
    "init=token_inject remask=budget remask.most=0": ["remask.most=0"],
    "init=token_inject remask=budget remask.score=wino": ["remask.score=wino", "visible, shadow"],
    "init=token_inject remask=budget remask.score=shadow cache=dual": [
        "remask.score=shadow",
        "cache=none",
        "remask.score=visible",
    ],
    "init=mask anchor=edit": ["anchor=edit", "init=mask", "anchor=none"],
    "init=token_inject anchor=edit anchor.window=0": ["anchor.window=0"],
    "init=token_inject anchor=edit anchor.within=1.2": ["anchor.within=1.2", "[0, 1]"],
    "init=token_inject anchor=edit anchor.abort=perhaps": ["anchor.abort='perhaps'"],
    "init=token_inject anchor=nearest": ["anchor", "edit, none"],
    "init=context init.template='{prompt}'": ["init.template", "{proposal}"],
    "init=context length.canvas_length=496": ["init=context", "max_sequence_length=1024"],
    "init=mask remask=budget": ["remask.scope=injected", "init=mask"],
    "length.block_length=17": ["length.block_length=17", "does not divide"],
    "length.canvas_length=0": ["length.canvas_length=0"],
    "length.canvas_length=5000 length.block_length=50": ["max_sequence_length", "smaller canvas"],
    "length.block_length=many": ["length.block_length", "many"],
    "batch_size=0": ["batch_size=0"],
    "engine=quick": ["engine=quick", "fast, graphs, plain"],
    "share=yes": ["share=yes", "auto, true, false"],
    "share=1": ["share=1", "auto, true, false"],
    "cache=dual cache.refresh=0": ["cache.refresh=0", "block, revocation or a number"],
    "cache=dual cache.first_token=left": ["cache.first_token=left", "refresh, window"],
    "cache=freecache cache.refresh=2": ["cache.refresh is not a key"],
    "batch_size=big": ["batch_size=big", "whole number"],
    "seed=1.5": ["seed=1.5", "whole number"],
    "seed=-1": ["seed=-1"],
    "device=gpu": ["device=gpu", "auto, cpu, cuda"],
    "device=cuda:99": ["device=cuda:99", "device=cpu"],
    "task.split=validation": ["task.split=validation", "test"],
    "task.limit=0": ["task.limit=0"],
    "task=gsm8k task.path=nowhere.jsonl": ["task.path=nowhere.jsonl"],
    "backbone=checkpoint": ["backbone.path must be given"],
    "backbone=smdm_1b": ["backbone.path must be given", "tokenizer.json", "config.json of docs/models.md"],
    "backbone=checkpoint backbone.path=/nowhere/at/all": ["backbone.path=/nowhere/at/all", "does not exist"],
    "backbone=checkpoint backbone.path=lab:backbone backbone.dtype=int8": ["backbone.dtype=int8", "bfloat16"],
    "backbone.logits=sideways": ["backbone.logits=sideways", "aligned, shifted"],
    "backbone.template=hello": ["backbone.template", "{prompt}"],
    "init=token_inject proposer=hf": ["proposer.path must be given"],
    "init=token_inject proposer=hf proposer.path=./missing": ["proposer.path=./missing", "does not exist"],
    "init=token_inject proposer=file proposer.path=missing.jsonl": ["proposer.path=missing.jsonl", "does not exist"],
    "init=token_inject proposer=oracle proposer.corruption=2": ["proposer.corruption=2", "[0, 1]"],
    "init=token_inject proposer=oracle proposer.kind=words": ["proposer.kind=words", "swap"],
    "init=token_inject proposer.tail=padding": ["proposer.tail=padding", "mask, eos"],
    "init=token_inject proposer.calibration=none.json": [
        "proposer.calibration=none.json",
        "does not exist",
        "warmexp.calibrate",
    ],
    "init=token_inject proposer.calibrate=x": ["proposer.calibrate", "did you mean 'calibration'"],
    "init._target_=os.system": ["init._target_=os.system", "inside warmexp."],
    "init._target_=warmexp.runs.run.run": ["init._target_=warmexp.runs.run.run", "refused"],
    "tracker=wandb tracker.mode=sometimes": ["mode", "sometimes", "offline"],
    "experiment=missing": ["experiment=missing", "soft_prior"],
    "study.name=../up": ["study.name=../up", "folder"],
    "+study.nam=x": ["study.nam", "did you mean 'name'"],
    "study.name=1": ["study.name=1", "word"],
    "study.baseline=mask": ["study.baseline", "'mask'", "init=mask remask=none"],
    "study.baseline='init=msk'": ["study.baseline", "init=msk", "'mask'"],
    "study=x": ["study=x"],
    "rho": ["rho has no value", "rho=VALUE"],
    "rho=[0.1": ["rho=[0.1", "not closed"],
    "~init": ["init"],
    "-m outputs=/proc/nowhere tau=0.7,0.9": ["outputs=", "cannot be written"],
    "-m outputs=a,b": ["outputs cannot vary"],
    "-m +sweep=smoke,demo": ["+sweep=smoke,demo", "runs one study"],
    "-m study.name=a,b": ["study.name cannot vary"],
    "-m +sweep=smok": ["sweep=smok", "did you mean 'smoke'"],
    "outputs=/proc/nowhere": ["outputs=/proc/nowhere", "cannot be written"],
}


def answer(words: list[str], capsys, monkeypatch) -> tuple[int, str]:
    """Run the command line in this process: exit status and what it said on standard error."""
    monkeypatch.setattr(sys, "argv", ["warmexp", *words])
    # Hydra composes once more in front, to look for a hydra.mode, and goes on without one if that fails.
    monkeypatch.setattr("hydra._internal.hydra.Hydra.get_mode", lambda *_, **__: None)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize("line", WRONG)
def test_one_sentence(line, quiet_home, capsys, monkeypatch):
    import torch

    def refuse(*_, **__):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("warmexp.models.checkpoint.load_transformer", refuse)
    if "cuda" in line:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status, said = answer(line.split(), capsys, monkeypatch)
    assert status == 2
    assert said.startswith("warmexp: ") and said.count("\n") == 1, said
    for part in WRONG[line]:
        assert part in said, said


def test_pickle_checkpoint_is_refused(quiet_home, capsys, monkeypatch, checkpoint):
    folder = quiet_home / "pickled"
    folder.mkdir()
    (folder / "config.json").write_bytes((checkpoint / "config.json").read_bytes())
    (folder / "pytorch_model.bin").write_bytes(b"not to be opened")
    status, said = answer(["backbone=checkpoint", f"backbone.path={folder}"], capsys, monkeypatch)
    assert status == 2 and "pytorch_model.bin" in said and "pickle" in said and "safetensors" in said


def test_file_proposer_without_the_questions(quiet_home, capsys, monkeypatch):
    (quiet_home / "mine.jsonl").write_text(json.dumps({"id": "somebody-else", "text": "5"}) + "\n")
    words = ["init=token_inject", "proposer=file", "proposer.path=mine.jsonl", "task.limit=3"]
    status, said = answer(words, capsys, monkeypatch)
    assert status == 2 and "3 of 3 questions" in said and "lab-test" in said


def test_no_network_is_said_at_once(quiet_home, capsys, monkeypatch):
    """A hub name with nothing listening at the hub's address: one sentence, no retries."""
    from warmexp.models.hub import offline_if_unreachable

    offline_if_unreachable.cache_clear()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "0")
    status, said = answer(["backbone=checkpoint", "backbone.path=GSAI-ML/LLaDA-8B-Instruct"], capsys, monkeypatch)
    offline_if_unreachable.cache_clear()
    assert status == 2 and "backbone.path=GSAI-ML/LLaDA-8B-Instruct" in said and "cannot be reached" in said


def test_a_sweep_goes_on_after_a_mistake(quiet_home, capsys, monkeypatch):
    """One bad value in a multirun: the good jobs run, the bad one is named at the end, and the exit status says so."""
    words = ["-m", "init=token_inject", "proposer=oracle", "rho=0.2,7", "task.limit=2"]
    status, said = answer(words, capsys, monkeypatch)
    assert status == 1 and "rho=7" in said and "1 failed" in said
    assert len(list((quiet_home / "outputs").glob("lab-token_inject-oracle-*/summary.json"))) == 1


def test_a_real_process_has_no_traceback(quiet_home):
    done = subprocess.run(
        [sys.executable, "-m", "warmexp", "init=token_inject", "ρ=1.5"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "rho=1.5" in done.stderr and "Traceback" not in done.stderr


def test_a_study_that_is_not_yaml_is_named_with_its_line(quiet_home, capsys, monkeypatch):
    file = quiet_home / "mine.yaml"
    file.write_text("hydra:\n  mode: MULTIRUN\n  sweeper:\n    grids:\n      - !tau=0.5\n")
    monkeypatch.setattr("warmexp.studies.named._files", lambda: (file,))
    status, said = answer(["-m", "+sweep=mine"], capsys, monkeypatch)
    assert status == 2 and said.count("\n") == 1, said
    assert "mine.yaml, line 5, column 9 is not YAML" in said and "!tau=0.5" in said
