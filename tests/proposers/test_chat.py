"""Chat templates, which are programs, and what a chat model writes around its answer."""

from __future__ import annotations

import json
import os
import time

import pytest

from tests.proposers.test_hf import write_model
from tests.proposers.tokenizer_kinds import ALL
from warmexp.errors import UserError
from warmexp.proposers.chat import rendered
from warmexp.proposers.file import FileProposer
from warmexp.proposers.hf import HFProposer
from warmexp.proposers.markup import cleaned
from warmexp.proposers.proposal import Asked, Proposal

ASKED = [Asked("q", "3 and 4?", "")]
QWEN3 = (
    "{{ messages[0].content"
    " }}{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"
)


def texts(folder, template: str, **options) -> dict[str, str]:
    write_model(folder, ALL["grouping"](), chat_template=template)
    return HFProposer(str(folder), chat_template=True, **options)._texts(ASKED)


BAD = {
    "loops": ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "does not end within"),
    "multiplies": ("{{ 'a' * 99999999999 }}", "takes more than 512 MiB"),
    "doubles": (
        "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{"
        " ns.s }}",
        "512 MiB",
    ),
    "pads": ("{{ '%99999999999d' % 7 }}", "its chat template"),
    "writes": ("{% for i in range(99999) %}aaaaaaaaaa{% endfor %}", "adds more than 65536 characters"),
    "recurses": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "cannot be rendered (RecursionError"),
    "raises": ("{{ raise_exception('no system role') }}", "cannot be rendered (TemplateError: no system role)"),
    "no Jinja": ("{% for %}", "cannot be rendered (TemplateSyntaxError"),
    "leaves the sandbox": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "cannot be rendered (SecurityError"),
}


# Each of them takes a process of its own.
@pytest.mark.parametrize(
    "what", [name if k % 2 == 0 else pytest.param(name, marks=pytest.mark.slow) for k, name in enumerate(BAD)]
)
def test_a_template_is_limited(what):
    template, said = BAD[what]
    started = time.monotonic()
    with pytest.raises(UserError) as error:
        rendered("proposer.path=x", template, [[{"role": "user", "content": "7"}]], {})
    assert (
        said in str(error.value)
        and "\n" not in str(error.value)
        and str(error.value).startswith("proposer.path=x: its chat template")
    )
    assert time.monotonic() - started < 290, "ended by itself, not by the last resort"


def test_a_template_that_never_ends_is_one_sentence_of_the_proposer(tmp_path):
    with pytest.raises(UserError, match=r"proposer\.path=.*adds more than .*proposer\.chat_template=false"):
        write_model(tmp_path, ALL["grouping"](), chat_template=BAD["writes"][0])
        list(HFProposer(str(tmp_path), chat_template=True).propose(ASKED, "cpu", 0, lambda *_: None))


def test_a_template_sees_neither_the_day_nor_the_environment(monkeypatch):
    monkeypatch.setitem(os.environ, "SECRET_TOKEN", "s3cret")
    chat = [[{"role": "user", "content": "7"}]]
    assert rendered("x", "{{ strftime_now('%d %b %Y') }}", chat, {}) == ["26 Jul 2024"]
    assert rendered("x", "{{ bos_token }}{{ messages[0].content }}", chat * 2, {"bos_token": "<s>"}) == ["<s>7"] * 2


def test_thinking_can_be_switched_off(tmp_path):
    assert texts(tmp_path, QWEN3) == {"q": "3 and 4?"}
    off = HFProposer(str(tmp_path), chat_template=True, chat_template_kwargs={"enable_thinking": False})
    assert off._texts(ASKED) == {"q": "3 and 4?<think>\n\n</think>\n\n"}
    on = HFProposer(str(tmp_path), chat_template=True)
    assert off.identity() != on.identity() and "chat_template_kwargs" not in on.identity()


def test_from_the_command_line(tmp_path, quiet_home):
    from warmexp.api import planned

    write_model(tmp_path / "model", ALL["grouping"](), chat_template=QWEN3)
    words = [
        "init=token_inject",
        "proposer=hf",
        f"proposer.path={tmp_path}/model",
        "proposer.chat_template=true",
        "task.limit=1",
        "device=cpu",
    ]
    for word in (
        "+proposer.chat_template_kwargs.enable_thinking=false",
        "proposer.chat_template_kwargs={enable_thinking:false}",
    ):
        assert planned([*words, word]).proposer.chat_template_kwargs == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"chat_template_kwargs": {"enable_thinking": False}}, r"chat_template_kwargs=.*proposer\.chat_template=false"),
        (
            {"chat_template_kwargs": {"messages": []}, "chat_template": True},
            "has messages, which the call itself gives",
        ),
    ],
)
def test_what_a_template_cannot_be_given(options, said):
    with pytest.raises(UserError, match=said):
        HFProposer("x", **options)


WRAPPED = {
    "<think>\nLet me see: 3+4.\n</think>\n\n<|im_start|>assistant\n3 + 4 = 7\n#### 7<|im_end|><|endoftext|></s>[INST]": "3 + 4 = 7\n#### 7",
    "\n<thinking>x</thinking> #### 7": "#### 7",
    "[THINK]x[/THINK]#### 7</s>": "#### 7",
    "I add: 3+4.\n</think>\n\n#### 7": "#### 7",
    "<think>a</think>b</think> #### 7": "#### 7",
    "<|start_header_id|>assistant<|end_header_id|>\n\n#### 7<|eot_id|><|start_header_id|>user<|end_header_id|>": "#### 7",
    "<start_of_turn>model\n#### 7<end_of_turn>\n": "#### 7",
    " #### 7<|im_start|>user\nMore": " #### 7",
    "#### 7<｜end▁of▁sentence｜>": "#### 7",
    "7 <think>cut": "7 ",
    "<think>cut 3 + 4": "",
    "": "",
    " 3 < 4 and 5 > 2, so <b>7</b> |7| [7]\n#### 7\n": " 3 < 4 and 5 > 2, so <b>7</b> |7| [7]\n#### 7\n",
}  # fmt: skip


@pytest.mark.parametrize("text", WRAPPED)
def test_only_the_answer_is_proposed(tmp_path, text):
    """From a file, and said once."""
    file, said = tmp_path / "p.jsonl", []
    file.write_text(json.dumps({"id": "q", "text": text}) + "\n")
    proposer = FileProposer(str(file))
    proposer.say = said.append
    assert dict(proposer.propose(ASKED, "cpu", 0, None))["q"].text == WRAPPED[text]
    assert len(said) == (text != WRAPPED[text]) + ("cut" in text)
    if "cut" in text:
        assert "1 proposals end before the thought" in said[1] and "max_new_tokens" in said[1]


def test_spans_move_along():
    text = "<think>3+4</think>\n a 7<|im_end|>\n"
    parts = ["<think>", "3+4", "</think>", "\n ", "a", " 7", "<|im_end|>", "\n"]
    tokens, at = [], 0
    for i, part in enumerate(parts):
        tokens.append((at, at + len(part), -float(i)))
        at += len(part)
    made = cleaned(Proposal(text, tuple(tokens), 1.5, -9.0))
    assert made == Proposal("a 7", ((0, 1, -4.0), (1, 3, -5.0)), 1.5, -6.0)
    whole = Proposal("a 7", ((0, 1, -4.0), (1, 3, -5.0)), 1.5, -6.0)
    assert cleaned(whole) is whole
    assert cleaned(Proposal("a 7</s>")).end is None


def test_a_model_that_thinks(tmp_path, monkeypatch):
    """Its proposals are stored without their thoughts."""
    from warmexp.proposers import hf
    from warmexp.proposers.greedy import Written

    inner = ALL["grouping"]()
    write_model(tmp_path, inner)
    ids = inner.encode("<think>Tom has 5.</think>\n\n3 + 4 = 7").ids
    monkeypatch.setattr(
        hf, "write", lambda *_: [Written([*ids, inner.token_to_id("<|endoftext|>")], [-0.5] * (len(ids) + 1))]
    )
    proposer, said = HFProposer(str(tmp_path)), []
    proposer.say = said.append
    made = dict(proposer.propose(ASKED, "cpu", 0, lambda *_: None))["q"]
    assert made.text == "3 + 4 = 7" and made.end == -0.5 and made.tokens[-1][1] == len(made.text)
    assert said == ["proposer: thoughts or turn markers were taken out of 1 proposals"]
