"""`--plan`: everything that is missing at once, where downloads go, memory and time with their labels; nothing is
fetched, loaded or run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from warmexp import __main__ as cli
from warmexp.api import run_overrides
from warmexp.models.hub import offline_if_unreachable
from warmexp.runs import needs
from warmexp.runs.footprint import Footprint, largest


@pytest.fixture
def planned(quiet_home, capsys, monkeypatch):
    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["warmexp", *words, "--plan"])
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code
        said = capsys.readouterr()
        return status, said.out, said.err

    def refuse(*_, **__):
        raise AssertionError("something was fetched, loaded or run")

    monkeypatch.setattr("warmexp.models.hub._download", refuse)
    monkeypatch.setattr("warmexp.models.checkpoint.load_transformer", refuse)
    monkeypatch.setattr("warmexp.runs.run._run", refuse)
    monkeypatch.setattr("warmexp.tasks.gsm8k.read_hub", refuse)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "0")
    offline_if_unreachable.cache_clear()
    yield call
    offline_if_unreachable.cache_clear()


def test_all_that_is_missing_is_said_at_once(planned, quiet_home):
    status, said, wrong = planned("experiment=paper/token_inject")
    assert status == 2 and wrong.count("\n") == 1 and wrong.startswith("warmexp: 3 things are missing: ")
    for part in ("GSAI-ML/LLaDA-8B-Instruct", "meta-llama/Llama-2-7b-hf", "HF_TOKEN", "task.dataset=openai/gsm8k"):
        assert part in wrong
    hub = quiet_home / "hf" / "hub"
    assert f"14.9 GiB, into {hub}/models--GSAI-ML--LLaDA-8B-Instruct" in said and "27.5 GiB in all" in said
    assert "weights 14.9 GiB (8.02 billion in bfloat16)" in said and "logits 4.3 GiB" in said
    assert "24 GiB: batch_size=64 fits" in said and "published for LLaDA-8B-Instruct" in said
    assert "time on one H100: about " in said and "never measured there" in said
    assert not (quiet_home / "outputs").exists()


def test_a_guides_weights_are_needed_too(planned, quiet_home):
    words = ("evidence=[flashdlm]", "unmask=accepted", "guide=checkpoint", "guide.path=Qwen/Qwen2.5-0.5B")
    status, said, wrong = planned(*words)
    assert status == 2 and "1 thing is missing: (1) guide.path=Qwen/Qwen2.5-0.5B is not in the local hub cache" in wrong
    assert "guide.path=Qwen/Qwen2.5-0.5B is not here, and what it needs is not counted" in said
    assert "guide.path must be given" in planned(*words[:3])[2]


def test_a_cache_and_a_large_batch_are_counted(planned):
    said = planned("backbone=llada_8b", "task=gsm8k", "cache=dual", "batch_size=256")[1]
    assert "keys and values" in said and "24 GiB: " in said and "questions fit at a time" in said


def test_prompts_are_counted_where_tokenizer_and_questions_are_here(planned, checkpoint, tmp_path):
    """To the token, as a run would read them; assumed where either is elsewhere, and said which it is."""
    from warmexp.api import planned as plan

    words = ["task=lab", "task.limit=7", f"backbone.path={checkpoint}", "backbone=checkpoint", "length.canvas_length=8"]
    words += ["length.block_length=8", "backbone.dtype=float32"]
    lengths = [len(ids) for ids in plan(words).prompts.values()]
    mean, longest = sum(lengths) / 7, max(lengths)
    status, said, _ = planned(*words)
    assert status == 0 and f"prompts of {mean:.0f} tokens on average, {longest} at most (counted, 7 questions)" in said
    said = planned(*words, "backbone=llada_8b", "backbone.path=GSAI-ML/LLaDA-8B-Instruct")[1]
    assert "prompts of 150 tokens on average, 400 at most (assumed)" in said
    said = planned("backbone=checkpoint", f"backbone.path={checkpoint}", "task=gsm8k", *words[4:])[1]
    assert "tokens on average" in said and "(assumed)" in said


@pytest.mark.slow
def test_a_study_is_added_up(planned):
    status, said, wrong = planned("-m", "+sweep=table1_llada")
    assert status == 2 and "4 things are missing" in wrong and said.startswith("11 runs, into outputs\n")
    assert said.count("models--GSAI-ML--LLaDA-8B-Instruct") == 1 and "42.5 GiB in all" in said


def test_nothing_is_missing_on_the_lab(planned, quiet_home):
    status, said, wrong = planned("tau=0.7", "task.limit=2")
    assert (status, wrong) == (0, "") and "nothing is missing; nothing was downloaded or run" in said
    assert "this CPU, estimated: " in said and "million in float32" in said
    assert not (quiet_home / "outputs").exists()


def test_measured_seconds(quiet_home, capsys, monkeypatch):
    run_overrides(["tau=0.7", "task.limit=2"])
    monkeypatch.setattr(sys, "argv", ["warmexp", "tau=0.9", "--plan"])
    cli.main()
    said = capsys.readouterr().out
    assert "measured: seconds per question of finished runs" in said and "time on what those runs ran on: " in said


def test_a_model_without_a_path_has_its_size_all_the_same(planned):
    status, said, wrong = planned("backbone=smdm_1b", "task.limit=2")
    assert status == 2 and wrong.count("\n") == 1 and "backbone.path must be given: backbone.path=FOLDER" in wrong
    assert "weights 2.1 GiB (1.14 billion in bfloat16)" in said


def test_several_mistakes_in_paths_are_all_named(planned):
    status, _, wrong = planned("backbone=checkpoint", "backbone.path=/nowhere/x", "task=jsonl", "task.path=no.jsonl")
    assert status == 2 and "2 things are missing" in wrong and "/nowhere/x" in wrong and "task.path=no.jsonl" in wrong


def test_a_search_has_no_list_of_runs(planned):
    status, _, wrong = planned("-m", "+sweep=search")
    assert status == 2 and "--plan with hydra/sweeper=search is not possible" in wrong


def test_a_gated_model_wants_a_token(monkeypatch, quiet_home):
    """The hub as it would answer: sizes of its files, and that a licence has to be accepted."""
    import huggingface_hub

    class File:
        rfilename, size = "model-00001-of-00001.safetensors", 3 * needs.GIB

    class Info:
        siblings, gated = [File()], "manual"

    monkeypatch.setattr(needs, "offline_if_unreachable", lambda: False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *_, **__: Info())
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    found = needs.model("proposer.path", "someone/gated", None)
    assert not found.here and found.bytes == 3 * needs.GIB and "gated" in found.missing and "HF_TOKEN" in found.missing
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_x")
    assert needs.model("proposer.path", "someone/gated", None).missing is None


def test_local_files_are_here(quiet_home, checkpoint):
    found = needs.model("backbone.path", str(checkpoint), None)
    assert found.here and found.place == Path(checkpoint) and found.missing is None


def test_the_parts_are_the_whole(checkpoint):
    import torch

    from warmexp.api import composed
    from warmexp.config.instantiate import parts
    from warmexp.config.keys import METHODS
    from warmexp.decode.strategy import Strategies
    from warmexp.models.layouts import read_layout

    cfg = composed(["cache=dual", f"backbone.path={checkpoint}", "backbone=checkpoint"])[0]
    strategies = Strategies(**parts(cfg, METHODS))
    one = Footprint(read_layout(checkpoint)[1], strategies, 100, torch.float32, torch.device("cuda"))
    assert (
        one.bytes(7) == sum(one.parts(7).values())
        and one.parts(7)["keys and values"] == 7 * one.parts(1)["keys and values"]
    )
    fits = largest(one, 64, one.bytes(20))
    assert one.bytes(fits) <= 0.9 * one.bytes(20) < one.bytes(fits + 1)


def test_weights_in_fewer_bits_need_less_once_they_are_loaded(planned, monkeypatch):
    monkeypatch.setattr("warmexp.models.quantization.find_spec", lambda name: name)
    said = planned("backbone=llada_8b", "task=gsm8k", "backbone.quantization=int8")[1]
    assert "weights 8.4 GiB (8.02 billion in int8 and bfloat16, 14.9 GiB while they are loaded)" in said
    assert (
        "memory, backbone llada_8b (GSAI-ML/LLaDA-8B-Instruct), int8:" in said
        and "a dequantized layer 96.0 MiB" in said
    )
    said = planned("backbone=llada_moe", "task=gsm8k", "backbone.quantization=int8")[1]
    assert "weights 7.5 GiB (7.36 billion in int8 and bfloat16, 13.7 GiB while they are loaded)" in said
    assert "a dequantized layer 256.0 MiB" in said  # a layer's 64 experts of 1,024 inner numbers at once


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (["proposer=openai"], "proposer.base_url and proposer.model must be given"),
        (["proposer=openai", "proposer.model=m", "proposer.base_url=gpu-node:8000"], "is no address of a server"),
        (["proposer=file"], "proposer.path must be given"),
        (["proposer=none"], "init=token_inject needs a proposal"),
        (["unmask=topk", "tau=0.9"], "tau=0.9 is read by"),
    ],
)
def test_an_author_that_was_not_told_enough_is_missing(planned, monkeypatch, words, missing):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    status, said, wrong = planned("init=token_inject", "task=gsm8k", *words)
    assert status == 2 and missing in wrong and "task.dataset=openai/gsm8k" in wrong, wrong
    assert "to be downloaded: proposer" not in said


def test_an_author_behind_a_server_is_named_and_not_asked(planned):
    words = ["proposer=openai", "proposer.model=m", "proposer.base_url=http://127.0.0.1:9/v1"]
    status, said, _ = planned("init=token_inject", *words)
    assert status == 0 and "on a server, which is not asked now: proposer.base_url=http://127.0.0.1:9/v1" in said
