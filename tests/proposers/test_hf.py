"""`transformers` models as proposers: generation, log-probabilities, templates, memory, and the shipped
configurations."""

from __future__ import annotations

import gc
import math
import weakref

import pytest

from tests.proposers.tokenizer_kinds import ALL
from warmexp.api import composed, planned
from warmexp.config.instantiate import build
from warmexp.errors import UserError
from warmexp.proposers import hf
from warmexp.proposers.greedy import Written
from warmexp.proposers.hf import HFProposer
from warmexp.proposers.proposal import Asked
from warmexp.runs.run import run


def test_a_transformers_model_proposes(tiny_llama):
    """Batched and left-padded equals one by one; every token has its span and its log-probability."""
    import torch
    from transformers import AutoModelForCausalLM

    questions = [Asked(f"q{i}", "abc " * (i + 1), "") for i in range(3)]

    def ask(**options):
        return dict(
            HFProposer(str(tiny_llama), max_new_tokens=12, **options).propose(questions, "cpu", 0, lambda *_: None)
        )

    batched, alone = ask(batch_size=3), ask(batch_size=1)
    assert {k: p.text for k, p in batched.items()} == {k: p.text for k, p in alone.items()}
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    proposal = alone["q0"]
    assert proposal.tokens and proposal.tokens[0][0] == 0 and proposal.tokens[-1][1] == len(proposal.text)
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(tiny_llama)("abc ", return_tensors="pt").input_ids
    first = model(ids).logits[0, -1].log_softmax(-1).max().item()
    assert proposal.tokens[0][2] == pytest.approx(first, abs=1e-4)
    assert torch.isfinite(torch.tensor([t[2] for t in proposal.tokens])).all()


def test_stop_strings_end_a_proposal(tiny_llama):
    asked = [Asked("q", "abc ", "")]
    options = {"max_new_tokens": 20}
    whole = dict(HFProposer(str(tiny_llama), stop=[], **options).propose(asked, "cpu", 0, lambda *_: None))["q"].text
    stop = whole[3]
    cut = dict(HFProposer(str(tiny_llama), stop=[stop], **options).propose(asked, "cpu", 0, lambda *_: None))["q"]
    assert cut.text == whole[: whole.index(stop)]
    assert all(b <= len(cut.text) for _, b, _ in cut.tokens)


def test_a_model_without_a_chat_template_says_so(tiny_llama):
    with pytest.raises(UserError, match="chat_template=false"):
        list(
            HFProposer(str(tiny_llama), chat_template=True).propose([Asked("q", "abc", "")], "cpu", 0, lambda *_: None)
        )


def ask(folder, questions=None, **options):
    questions = questions or [Asked("q", "abc ", "")]
    return dict(HFProposer(str(folder), max_new_tokens=12, **options).propose(questions, "cpu", 0, lambda *_: None))


def write_model(folder, inner, **settings):
    """A random model with a given tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<|endoftext|>", pad_token="<|endoftext|>", **settings
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=512, eos_token_id=tokenizer.eos_token_id, bos_token_id=None, pad_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return tokenizer


def test_every_token_of_a_padded_row_has_its_own_log_probability(tiny_llama):
    """All of them, against one forward over prompt and response, for the shortest prompt of a batch."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    questions = [Asked(f"q{i}", "abc " * (4 * i + 1), "") for i in range(3)]
    found = ask(tiny_llama, questions, batch_size=3, stop=[])
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_llama), AutoTokenizer.from_pretrained(tiny_llama)
    for question in questions:
        ids = tokenizer(question.prompt, return_tensors="pt").input_ids
        expected = []
        for _ in range(12):
            logp = model(ids).logits[0, -1].detach().log_softmax(-1)
            token = int(logp.argmax())
            if token == tokenizer.eos_token_id:
                break
            expected.append(float(logp[token]))
            ids = torch.cat((ids, torch.tensor([[token]])), dim=1)
        assert [p for *_, p in found[question.id].tokens] == pytest.approx(expected, abs=1e-4)


def test_a_checkpoints_penalties_do_not_apply(tiny_llama, tmp_path):
    """Greedy is greedy: Qwen2.5 ships a repetition penalty, which would change tokens and their log-probabilities."""
    import json
    import shutil

    shutil.copytree(tiny_llama, tmp_path / "penal")
    file = tmp_path / "penal" / "generation_config.json"
    file.write_text(
        json.dumps(
            {
                **json.loads(file.read_text()),
                "repetition_penalty": 5.0,
                "do_sample": True,
                "temperature": 0.3,
                "top_k": 3,
            }
        )
    )
    plain, penal = ask(tiny_llama, stop=[]), ask(tmp_path / "penal", stop=[])
    assert plain["q"].text == penal["q"].text and plain["q"].tokens == penal["q"].tokens


def test_a_sentencepiece_model_keeps_its_leading_space(tmp_path):
    """The text is the prompt's continuation, and the spans of its tokens lie in it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    write_model(tmp_path, ALL["sentencepiece"]())
    prompt = "Question: Tom has 5\nAnswer:"
    found = ask(tmp_path, [Asked("q", prompt, "")], stop=[])["q"]
    tokenizer, model = AutoTokenizer.from_pretrained(tmp_path), AutoModelForCausalLM.from_pretrained(tmp_path)
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    new = model.generate(ids, max_new_tokens=12, do_sample=False)[0]
    assert prompt + found.text == tokenizer.decode(new, skip_special_tokens=True)
    assert len(found.tokens) <= 12 and found.tokens[0][0] == 0 and found.tokens[-1][1] == len(found.text)


CHAT = (
    "<|turn|>{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}{{"
    " date_string }}\n"
    "{% for m in messages %}{{ m['role'] }}: {{ m['content']"
    " }}<|turn|>{% endfor %}{% if add_generation_prompt %}model:\n{% endif %}"
)


def test_a_chat_template_is_one_user_turn_without_a_second_beginning(tmp_path):
    """The template writes the beginning of text; the tokenizer must not add another. And no day's date in a prompt."""
    from tokenizers import AddedToken, Tokenizer, processors

    inner = Tokenizer.from_str(ALL["grouping"]().to_str())
    inner.add_special_tokens([AddedToken("<|turn|>", special=True)])
    begin = inner.token_to_id("<|turn|>")
    inner.post_processor = processors.TemplateProcessing(single="<|turn|> $A", special_tokens=[("<|turn|>", begin)])
    tokenizer = write_model(tmp_path, inner, bos_token="<|turn|>", chat_template=CHAT)
    assert tokenizer("Tom").input_ids[0] == begin
    proposer = HFProposer(str(tmp_path), chat_template=True, prompt="Solve. {prompt}", max_new_tokens=2, stop=[])
    asked = [Asked("q", "Tom has 5", "")]
    assert proposer._texts(asked) == {"q": "<|turn|>26 Jul 2024\nuser: Solve. Tom has 5<|turn|>model:\n"}
    ids = proposer._prompts(asked)["q"]
    assert ids.count(begin) == 2 and ids[0] == begin != ids[1]


def test_turns_are_messages_or_flat_text(tmp_path):
    """With a chat template the turns are its messages, without one the model reads the same as text; the two are stored
    apart."""
    write_model(tmp_path, ALL["grouping"](), chat_template=CHAT)
    turns = ("Tom has 5?", "5", "Nadia has 15?")
    chats, reads = (HFProposer(str(tmp_path), chat_template=chat, prompt="Solve. {prompt}") for chat in (True, False))
    asked = [Asked("q", "Tom has 5? 5\n\nNadia has 15?", "", turns=turns)]
    said = "user: Solve. Tom has 5?<|turn|>assistant: 5<|turn|>user: Solve. Nadia has 15?<|turn|>"
    assert chats._texts(asked) == {"q": f"<|turn|>26 Jul 2024\n{said}model:\n"}
    assert reads._texts(asked) == {"q": "Solve. Tom has 5? 5\n\nNadia has 15?"}


def loads(monkeypatch) -> list[weakref.ref]:
    """Weak references to every proposer model that is loaded from here on."""
    found, real = [], HFProposer._load

    def load(self, device):
        model, tokenizer = real(self, device)
        found.append(weakref.ref(model))
        return model, tokenizer

    monkeypatch.setattr(HFProposer, "_load", load)
    return found


def words(checkpoint, home, model, *more) -> list[str]:
    return [
        "backbone=checkpoint", f"backbone.path={checkpoint}", "backbone.dtype=float32", "length.canvas_length=16", "length.block_length=8",
        "proposer=hf", f"proposer.path={model}", "proposer.dtype=float32", "proposer.max_new_tokens=6", "init=token_inject",
        "task.limit=3", "device=cpu", f"outputs={home}/outputs", *more,
    ]  # fmt: skip


def test_the_proposer_is_gone_before_the_backbone_comes(checkpoint, quiet_home, tiny_llama, monkeypatch):
    from warmexp.models.checkpoint import Checkpoint

    proposers, alive = loads(monkeypatch), []
    real = Checkpoint.load

    def load(self, *how):
        alive.append([ref() is not None for ref in proposers])
        return real(self, *how)

    monkeypatch.setattr(Checkpoint, "load", load)
    import warmexp.runs.run as module

    module._resident.clear()
    run(planned(words(checkpoint, quiet_home, tiny_llama)), say=lambda _: None)
    assert len(proposers) == 1 and alive == [[False]]
    # The next job needs new proposals: the backbone of the first makes room for the proposer and is loaded again after
    # it.
    gone = weakref.ref(next(iter(module._resident.values())).transformer)
    monkeypatch.setattr(HFProposer, "_generate", _checked(HFProposer._generate, lambda: gone() is None))
    run(planned(words(checkpoint, quiet_home, tiny_llama, "proposer.max_new_tokens=5")), say=lambda _: None)
    assert len(proposers) == 2 and alive == [[False], [False, False]]
    # A job whose proposals are all stored loads no proposer and keeps the backbone.
    run(planned(words(checkpoint, quiet_home, tiny_llama, "rho=0.3")), say=lambda _: None)
    assert len(proposers) == 2 and len(alive) == 2


def _checked(real, condition):
    def generate(*arguments):
        assert condition()
        return real(*arguments)

    return generate


def test_the_proposer_is_gone_after_a_failure(tiny_llama, monkeypatch):
    proposers = loads(monkeypatch)

    def fails(*_):
        raise KeyError("x")

    monkeypatch.setattr(HFProposer, "_generate", fails)
    with pytest.raises(KeyError):
        ask(tiny_llama)
    gc.collect()
    assert len(proposers) == 1 and proposers[0]() is None


def test_a_resident_proposer_serves_the_jobs_that_follow(checkpoint, quiet_home, tiny_llama, monkeypatch):
    """One load for two jobs, beside the backbone; a job that does not ask for it frees it. It is not part of the run's
    identity."""
    import warmexp.runs.run as module

    proposers = loads(monkeypatch)
    stays = planned(words(checkpoint, quiet_home, tiny_llama, "proposer.resident=true"))
    assert stays.run_id == planned(words(checkpoint, quiet_home, tiny_llama)).run_id
    run(stays, say=lambda _: None)
    assert len(proposers) == 1 and proposers[0]() is not None
    backbone = weakref.ref(next(iter(module._resident.values())).transformer)
    run(
        planned(words(checkpoint, quiet_home, tiny_llama, "proposer.resident=true", "proposer.max_new_tokens=5")),
        say=lambda _: None,
    )
    assert len(proposers) == 1 and backbone() is not None
    run(planned(words(checkpoint, quiet_home, tiny_llama, "rho=0.3")), say=lambda _: None)  # its proposals are stored
    assert not hf._resident and all(ref() is None for ref in proposers)


def test_only_one_proposer_is_resident(tiny_llama, tmp_path, monkeypatch):
    proposers = loads(monkeypatch)
    write_model(tmp_path, ALL["splitting"]())
    ask(tiny_llama, resident=True)
    ask(tmp_path, resident=True)
    assert len(hf._resident) == 1 and [ref() is None for ref in proposers] == [True, False]
    hf.free_models()
    assert proposers[1]() is None


PUBLISHED = {
    "llama2_7b": ("meta-llama/Llama-2-7b-hf", False),
    "llama3_8b": ("meta-llama/Llama-3.1-8B-Instruct", True),
    "qwen2_5_0_5b": ("Qwen/Qwen2.5-0.5B-Instruct", True),
    "qwen2_5_1_5b": ("Qwen/Qwen2.5-1.5B-Instruct", True),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_proposers(name):
    proposer = build("proposer", composed([f"proposer={name}"])[0].proposer)
    assert (proposer.path, proposer.chat_template) == PUBLISHED[name]
    assert (
        proposer.dtype == "bfloat16"
        and proposer.max_new_tokens == 256
        and not proposer.resident
        and "Question:" in proposer.stop
    )


def test_the_few_shot_prompt_of_the_base_model():
    """Examples in the task's own form, each with an answer line, then the task's prompt and nothing after it."""
    proposer = build("proposer", composed(["proposer=llama2_7b"])[0].proposer)
    prompt = proposer._texts([Asked("q", "Question: How many?\nAnswer:", "")])["q"]
    *shots, asked = prompt.split("\n\n")
    assert asked == "Question: How many?\nAnswer:" and len(shots) == 4
    for shot in shots:
        question, answer, last = shot.split("\n")
        assert question.startswith("Question: ") and answer.startswith("Answer: ") and last.startswith("#### ")
        for left, right in (part.rsplit("= ", 1) for part in answer.split(". ") if "=" in part):
            expression = "".join(c for c in left if c in "0123456789+-*/ ").strip()
            assert eval(expression) == int(right.split()[0])
        assert answer.rsplit("= ", 1)[1].split()[0] == last.removeprefix("#### ")


def test_a_base_model_is_cut_at_its_first_invented_question(tmp_path):
    from transformers import PreTrainedTokenizerFast

    inner = ALL["grouping"]()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>")
    stop = build("proposer", composed(["proposer=llama2_7b"])[0].proposer).stop
    ids = inner.encode(" 1 + 2 = 3.\n#### 3\n\nQuestion: How many?\nAnswer: 4\n#### 4\n\nQuestion:").ids
    made = hf.proposal_of(tokenizer, inner.encode("Answer:").ids, Written(ids, [-0.1] * len(ids)), set(), stop, 0.0)
    assert made.text == " 1 + 2 = 3.\n#### 3" and made.end is None
    assert made.tokens[-1][1] == len(made.text) and math.isclose(made.tokens[0][2], -0.1)


def test_weights_that_are_not_here_are_one_sentence(tmp_path, monkeypatch):
    """Nothing of it is downloaded, and nothing is loaded to find out."""
    import warmexp.models.hub as hub

    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(hub, "offline_if_unreachable", lambda: True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="Llama-2-7b-hf is not in the local hub cache"):
        planned(["proposer=llama2_7b", "init=token_inject", "task.limit=1"])


def test_out_of_memory_halves_a_batch_of_proposals(tiny_llama, monkeypatch):
    """A model that holds two prompts at most proposes what it proposes otherwise, and each size is given up once."""
    import torch

    questions = [Asked(f"q{i}", "abc " * (i + 1), "") for i in range(7)]
    expected = ask(tiny_llama, questions, batch_size=5)
    real, sizes = HFProposer._generate, []

    def tight(self, model, tokenizer, prompts, most):
        sizes.append(len(prompts))
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(self, model, tokenizer, prompts, most)

    monkeypatch.setattr(HFProposer, "_generate", tight)
    proposer = HFProposer(str(tiny_llama), max_new_tokens=12, batch_size=5)
    said, done = [], []
    proposer.say = said.append
    found = dict(proposer.propose(questions, "cpu", 0, lambda n, total: done.append((n, total))))
    assert {i: p.text for i, p in found.items()} == {i: p.text for i, p in expected.items()}
    for i, proposal in found.items():
        assert [p for *_, p in proposal.tokens] == pytest.approx([p for *_, p in expected[i].tokens], abs=1e-4)
    assert sizes == [5, 3, 2, 1, 2, 2] and done == [(2, 7), (3, 7), (5, 7), (7, 7)]
    assert said == [
        "proposer: out of memory at batch size 5: going on with 3",
        "proposer: out of memory at batch size 3: going on with 2",
    ]

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(HFProposer, "_generate", full)
    with pytest.raises(
        UserError, match=r"batch size 1: device=cpu .*proposer\.max_new_tokens=12; .*proposer\.dtype=bfloat16"
    ):
        list(proposer.propose(questions[:1], "cpu", 0, lambda *_: None))
    assert not hf._resident


def test_a_proposer_that_does_not_fit_is_one_sentence(tiny_llama, monkeypatch):
    import torch
    from transformers import LlamaForCausalLM

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(LlamaForCausalLM, "to", full)
    with pytest.raises(UserError, match=r"does not fit in the memory of device=cpu: .*proposer\.dtype=bfloat16"):
        ask(tiny_llama)
    assert not hf._resident
