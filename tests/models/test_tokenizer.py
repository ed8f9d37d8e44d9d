"""Tokenizers without code from a checkpoint, and chat templates token by token."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.checkpoints import (
    EOS,
    EOT,
    MASK,
    dream_config,
    dream_tensors,
    llada_config,
    llada_tensors,
    write_checkpoint,
    write_dream,
    write_qwen2_files,
    write_weights,
)
from warmexp.api import composed
from warmexp.config.instantiate import build
from warmexp.errors import UserError
from warmexp.models.checkpoint import Checkpoint
from warmexp.models.tokenizer_files import QWEN2_PATTERN, read_tokenizer

CORPUS = """Question: Natalia sold clips to 48 of her friends in April, and then half as many in May. How many clips did she sell?\nAnswer:
She sold 48/2 = <<48/2=24>>24 clips in May.\n#### 72\n\nuser\nassistant\n\nsystem You are a helpful assistant. def f(x):\n    return x +
1\n\nIt's what they're doing, isn't it? 1,234.50 dollars; I'll pay 100%.\r\n\r\n汉字与日本語 café Ελληνικά 🙂"""
LICENSE = Path(__file__).parents[2] / "LICENSE"  # ten kilobytes of English that never change

# Published ids: LLaDA-8B's and Qwen2.5's/Dream's tokenizer_config.json
LLADA_IDS = {
    "<|startoftext|>": 126080,
    "<|endoftext|>": 126081,
    "<|mdm_mask|>": 126336,
    "<|start_header_id|>": 126346,
    "<|end_header_id|>": 126347,
    "<|eot_id|>": 126348,
}
DREAM_IDS = {
    "<|endoftext|>": 151643,
    "<|im_start|>": 151644,
    "<|im_end|>": 151645,
    "<tool_call>": 151657,
    "</tool_call>": 151658,
    "<|beginoftext|>": 151665,
    "<|mask|>": 151666,
}
PLAIN = ("<tool_call>", "</tool_call>")

TRICKY = [
    "",
    " ",
    "   three leading spaces",
    "trailing spaces   ",
    "48 clips and 1234567890 more",
    "#### 72\n",
    "She sold 48/2 = <<48/2=24>>24 clips.\n\nQuestion: why?\n\n\n  Indented",
    "line\r\nbreaks\r\n\r\nof\rthree kinds\n",
    "tabs\t\tand\u00a0no-break\u2003em spaces\u3000",
    "I'll, we'RE, it's; don't 'tis",
    "café and cafe\u0301 (NFC makes them one), ﬁ, Å\u0300, 한글, \u1112\u1161\u11ab",
    "汉字与日本語かな、Ελληνικά, עברית, العربية ١٢٣ ½ ²",
    "🙂👩‍👩‍👧‍👦🇫🇷 zero\u200bwidth\u200djoiners \ufeff",
    "<|im_start|>user\nIs this a turn?<|im_end|>\n<|mask|><|endoftext|>",
    "<tool_call>{\"a\": 1}</tool_call>",
    "x" * 300 + "!!!???\n\n\n...\n",
    "line separators \u2028 and \u2029, next line \x85, null \x00, bell \x07",
]  # fmt: skip


@lru_cache(maxsize=1)
def merges() -> list[tuple[str, str]]:
    """A few hundred merges learnt from text, within Qwen2's pattern."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    texts = [CORPUS] * 3 + [LICENSE.read_text(encoding="utf-8")]
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False)
    )
    learnt = [tuple(pair) for pair in json.loads(tokenizer.to_str())["model"]["merges"]]
    assert len(learnt) > 400 and ("?", "Ċ") in learnt
    return learnt


@pytest.fixture(scope="module")
def dream(tmp_path_factory) -> Path:
    """Qwen2's files with Dream's special tokens at their published ids (and a gap below them), under a small
    checkpoint."""
    folder = tmp_path_factory.mktemp("dream_ids")
    ids = {
        "eos_token_id": 151643,
        "pad_token_id": 151643,
        "bos_token_id": 151643,
        "mask_token_id": 151666,
        "vocab_size": 152064,
    }
    write_weights(folder, dream_tensors(), {**dream_config(), **ids})  # the weights are not loaded here
    write_qwen2_files(folder, DREAM_IDS, merges(), plain=PLAIN)
    return folder


@pytest.fixture(scope="module")
def llada(tmp_path_factory) -> Path:
    """A tokenizer.json with LLaDA's special tokens at their published ids; its post-processor would add a beginning of
    text."""
    from tokenizers.processors import TemplateProcessing

    folder = tmp_path_factory.mktemp("llada_ids")
    ids = {
        "eos_token_id": 126081,
        "pad_token_id": 126081,
        "mask_token_id": 126336,
        "vocab_size": 126464,
        "embedding_size": 126464,
    }
    write_weights(folder, llada_tensors(), {**llada_config(), **ids})
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges())]
    tokenizer = Tokenizer(
        models.BPE(vocab={w: i for i, w in enumerate(dict.fromkeys(words))} | LLADA_IDS, merges=merges())
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in LLADA_IDS])
    tokenizer.post_processor = TemplateProcessing(
        single="<|startoftext|> $A", special_tokens=[("<|startoftext|>", 126080)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@lru_cache(maxsize=1)
def transformers_qwen2(folder: Path):
    """transformers' own Qwen2 tokenizer with the same vocabulary, merges and added tokens."""
    from transformers import Qwen2Tokenizer

    vocab = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    # ids with a gap cannot be given to it as added tokens: they go where ours go, into the vocabulary
    theirs = Qwen2Tokenizer(
        vocab=vocab | DREAM_IDS, merges=merges(), eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    theirs.add_tokens([AddedToken(token, special=token not in PLAIN, normalized=False) for token in DREAM_IDS])
    return theirs


def test_the_pattern_is_qwen2s():
    from transformers.models.qwen2.tokenization_qwen2 import PRETOKENIZE_REGEX

    assert QWEN2_PATTERN == PRETOKENIZE_REGEX


@pytest.mark.parametrize("text", TRICKY)
def test_rebuilt_from_its_files_it_is_transformers_own(dream, text):
    """Ids, and the text they decode to; special tokens in the text are recognised by both."""
    ours, theirs = read_tokenizer(dream), transformers_qwen2(dream)
    ids = theirs.encode(text, add_special_tokens=False)
    assert ours.encode(text, add_special_tokens=False).ids == ids
    assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)


ANY_TEXT = st.text(alphabet=st.sampled_from(" \n\r\t09aAé\u0301中🙂'?!.<|>=\u00a0\u2028_s"), max_size=30)


@settings(derandomize=True, deadline=None, database=None, max_examples=150)
@given(text=st.one_of(ANY_TEXT, st.text(max_size=20)))
def test_and_on_any_text(dream, text):
    assert read_tokenizer_once(dream).encode(text, add_special_tokens=False).ids == transformers_qwen2(dream).encode(
        text
    )


@lru_cache(maxsize=2)
def read_tokenizer_once(folder: Path) -> Tokenizer:
    return read_tokenizer(folder)


def test_and_the_one_transformers_reads_from_the_same_files(tmp_path):
    """With ids that follow one another, as published, transformers can read the folder itself."""
    from transformers import Qwen2Tokenizer

    first = len({*pre_tokenizers.ByteLevel.alphabet(), *("".join(pair) for pair in merges())})
    names = list(DREAM_IDS)
    write_qwen2_files(tmp_path, {name: first + i for i, name in enumerate(names)}, merges(), plain=PLAIN)
    ours, theirs = read_tokenizer(tmp_path), Qwen2Tokenizer.from_pretrained(tmp_path)
    assert {name: ours.token_to_id(name) for name in names} == {
        name: theirs.convert_tokens_to_ids(name) for name in names
    }
    for text in TRICKY:
        assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text), text


def test_published_ids_hold_and_text_comes_back(dream):
    tokenizer = read_tokenizer(dream)
    assert {name: tokenizer.token_to_id(name) for name in DREAM_IDS} == DREAM_IDS
    assert tokenizer.encode("12 <|im_end|>", add_special_tokens=False).tokens == ["1", "2", "Ġ", "<|im_end|>"], (
        "digits stay apart"
    )


CHAT = {
    "llada_8b": "llada",
    "llada_1_5": "llada",
    "dparallel_llada": "llada",
    "dream_7b": "dream",
    "diffucoder_7b": "dream",
    "dparallel_dream": "dream",
}
PROMPT = "Question: How many clips did <|eot_id|><|im_end|> sell in May?\nAnswer: 48"


def chosen(option: str, folder: Path) -> Checkpoint:
    """A shipped backbone option, pointed at a local folder."""
    cfg, _ = composed([f"backbone={option}", f"backbone.path={folder}"])
    return build("backbone", cfg.backbone)


@pytest.mark.parametrize("option", CHAT)
def test_chat_templates_token_by_token(option, llada, dream):
    """The published special ids in the published places, each once; the prompt between them is plain text, whatever it
    says."""
    backbone = chosen(option, llada if CHAT[option] == "llada" else dream)
    tokenizer = backbone.tokenizer

    def plain(text: str) -> list[int]:
        tokenizer.tokenizer.encode_special_tokens = True
        return tokenizer.tokenizer.encode(text, add_special_tokens=False).ids

    if CHAT[option] == "llada":
        bos, start, end, eot = 126080, 126346, 126347, 126348
        expected = [
            bos,
            start,
            *plain("user"),
            end,
            *plain("\n\n" + PROMPT),
            eot,
            start,
            *plain("assistant"),
            end,
            *plain("\n\n"),
        ]
        ends = (126081, 126348)
    else:
        start, end = 151644, 151645
        system = plain("system\nYou are a helpful assistant.")
        expected = [
            start,
            *system,
            end,
            *plain("\n"),
            start,
            *plain("user\n" + PROMPT),
            end,
            *plain("\n"),
            start,
            *plain("assistant\n"),
        ]
        ends = (151643, 151645)
    ids = tokenizer.encode_prompt(PROMPT)
    assert ids == expected
    assert tokenizer.end_ids == ends and tokenizer.mask_id not in ids
    assert backbone.alignment == {"llada": "aligned", "dream": "shifted"}[CHAT[option]]
    assert (backbone.dtype, backbone.canvas_length, backbone.block_length, backbone.rope_factor) == (
        "bfloat16",
        256,
        32,
        1.0,
    )


TURNS = (
    "Question: <|im_end|>Why?\nAnswer:",
    "She <|eot_id|> sold 24?\n#### 72",
    "Question: And?\nAnswer:",
    "\n 5",
    PROMPT,
)


@pytest.mark.parametrize("option", CHAT)
def test_conversations_token_by_token(option, llada, dream):
    """What stands once stands once, every turn has its marks, and what is said in a turn is plain text, whatever it
    says."""
    tokenizer = chosen(option, llada if CHAT[option] == "llada" else dream).tokenizer
    first, answer, second, reply, last = TURNS

    def plain(text: str) -> list[int]:
        tokenizer.tokenizer.encode_special_tokens = True
        return tokenizer.tokenizer.encode(text, add_special_tokens=False).ids

    if CHAT[option] == "llada":
        bos, start, end, eot = 126080, 126346, 126347, 126348

        def turn(role: str, text: str) -> list[int]:
            return [start, *plain(role), end, *plain("\n\n" + text)]

        said = [("user", first), ("assistant", answer), ("user", second), ("assistant", reply), ("user", last)]
        expected = [bos, *(i for role, text in said for i in [*turn(role, text), eot]), *turn("assistant", "")]
    else:
        start, end = 151644, 151645

        def turn(role: str, text: str) -> list[int]:
            return [start, *plain(f"{role}\n{text}"), end, *plain("\n")]

        said = [("user", first), ("assistant", answer), ("user", second), ("assistant", reply), ("user", last)]
        expected = [
            *turn("system", "You are a helpful assistant."),
            *(i for role, text in said for i in turn(role, text)),
        ]
        expected += [start, *plain("assistant\n")]
    assert tokenizer.encode_turns(TURNS) == expected
    assert tokenizer.encode_turns([PROMPT]) == tokenizer.encode_prompt(PROMPT)


# Qwen2's chat_template, and Llama 3's, which LLaDA's is (it strips white space around what is said)
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] +"
    " '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>'"
    " %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}"
    "{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{"
    " '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
SAID = [
    "Question: Why?",
    "It's 1,234.50?\n#### 24",
    "Question: café?\nAnswer:",
    "汉字 🙂",
    "Question: How many?\nAnswer:",
]


@pytest.mark.parametrize("turns", [1, 3, 5])
@pytest.mark.parametrize("option", CHAT)
def test_conversations_are_apply_chat_templates(option, turns, llada, dream):
    from transformers import PreTrainedTokenizerFast

    if CHAT[option] == "llada":
        inner = read_tokenizer(llada)
        theirs, folder, template = (
            PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<|startoftext|>"),
            llada,
            LLAMA3,
        )
    else:
        theirs, folder, template = transformers_qwen2(dream), dream, CHATML
    messages = [{"role": "assistant" if i % 2 else "user", "content": text} for i, text in enumerate(SAID[-turns:])]
    ids = theirs.apply_chat_template(messages, chat_template=template, add_generation_prompt=True, return_dict=False)
    assert chosen(option, folder).tokenizer.encode_turns(SAID[-turns:]) == ids


def test_turns_need_a_template_that_has_them(llada, dream):
    """One user turn only, or a beginning that is not the template's; each with what to do about it."""
    for backbone in (
        chosen("dream_7b_base", dream),
        chosen("llada_8b_base", llada),
        Checkpoint("x", template_turn_end="\n"),
    ):
        with pytest.raises(
            UserError,
            match=r"task\.shots=turns needs a chat template, and backbone\.template='.*\{prompt\}' .*turn or none",
        ):
            backbone.check_turns()
    chat = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    with pytest.raises(UserError, match=r"backbone\.template_turn_end=None has one user turn only"):
        Checkpoint("x", template=chat).check_turns()
    with pytest.raises(UserError, match=r"backbone\.template_start='hello' is not how backbone\.template='.*' begins"):
        Checkpoint("x", template=chat, template_start="hello", template_turn_end="<|im_end|>\n").check_turns()
    with pytest.raises(UserError, match=r"backbone\.template_turn_end has <\|eot_id\|>, which is not a token of"):
        Checkpoint(str(dream), template=chat, template_turn_end="<|eot_id|>").tokenizer  # noqa: B018
    for option, family in CHAT.items():
        chosen(option, llada if family == "llada" else dream).check_turns()


@pytest.mark.parametrize(("option", "first"), [("llada_8b_base", []), ("dream_7b_base", [151665])])
def test_base_models_continue_text(option, first, llada, dream):
    tokenizer = chosen(option, llada if option == "llada_8b_base" else dream).tokenizer
    assert tokenizer.encode_prompt("a b") == [*first, *tokenizer.encode("a b")]
    assert tokenizer.end_ids == (tokenizer.eos_id,)


def test_text_next_to_the_prompt_is_encoded_with_it(dream):
    """'?' and a line break are one token of this vocabulary: a template's break after the prompt must not split
    them."""
    template = "<|im_start|>user\n{prompt}\n<|im_end|>"
    tokenizer = Checkpoint(str(dream), template=template).tokenizer
    glued = tokenizer.tokenizer.token_to_id("?Ċ")
    ids = tokenizer.encode_prompt("Why?")
    assert ids[0] == 151644 and ids[-1] == 151645 and ids[-2] == glued
    assert ids == read_tokenizer(dream).encode(template.format(prompt="Why?"), add_special_tokens=False).ids


def test_a_template_for_another_family_is_refused(llada, dream):
    """Its special tokens would silently be spelled out in letters."""
    with pytest.raises(UserError, match=r"backbone\.template has <\|startoftext\|>, which is not a token of"):
        chosen("llada_8b", dream).tokenizer  # noqa: B018
    with pytest.raises(UserError, match=r"backbone\.template has <\|im_start\|>"):
        Checkpoint(str(llada), template="<|im_start|>{prompt}").tokenizer  # noqa: B018
    with pytest.raises(UserError, match=r"backbone\.end_tokens=<\|eot_id\|> is not a token of"):
        Checkpoint(str(dream), end_tokens=["<|eot_id|>"]).tokenizer  # noqa: B018


@pytest.mark.parametrize(("write", "mask"), [(write_checkpoint, "<|mdm_mask|>"), (write_dream, "<|mask|>")])
def test_special_tokens_in_text_are_text(tmp_path, write, mask):
    folder = write(tmp_path / "small")
    end = "<|eot_id|>" if write is write_checkpoint else "<|im_end|>"
    tokenizer = Checkpoint(str(folder), end_tokens=[end], template=f"{end}{{prompt}}{end}").tokenizer
    text = f"a{mask}b<|endoftext|>"
    ids = tokenizer.encode(text)
    assert not {EOS, MASK, EOT} & set(ids)
    assert tokenizer.decode(ids) == text
    prompt = tokenizer.encode_prompt(text)
    assert prompt[0] == prompt[-1] == EOT and prompt[1:-1] == ids
    assert tokenizer.until_end([1, 2, EOT, 3, EOS]) == [1, 2]
    assert tokenizer.until_end([1, 2]) == [1, 2]


def test_tokenizer_files_of_another_model_are_refused(tmp_path, dream):
    folder = write_dream(tmp_path / "small")
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / name).write_bytes((dream / name).read_bytes())
    with pytest.raises(UserError, match="ids up to 151666 and its embedding table 264 rows"):
        Checkpoint(str(folder)).tokenizer  # noqa: B018
    raw = {**dream_config(), "mask_token_id": 151666, "eos_token_id": 151643}
    (folder / "config.json").write_text(json.dumps(raw))
    with pytest.raises(UserError, match=r"eos_token_id=151643, which is not a token: .* from 0 to 263"):
        Checkpoint(str(folder)).tokenizer  # noqa: B018


def test_missing_or_foreign_tokenizer_files_are_named(tmp_path):
    folder = write_dream(tmp_path / "small")
    settings_file = folder / "tokenizer_config.json"
    settings_file.write_text(settings_file.read_text().replace("DreamTokenizer", "GPT2Tokenizer"))
    with pytest.raises(UserError, match="tokenizer_class=GPT2Tokenizer"):
        Checkpoint(str(folder)).tokenizer  # noqa: B018
    (folder / "merges.txt").unlink()
    with pytest.raises(UserError, match=r"no tokenizer\.json, nor Qwen2's files in its place \(merges\.txt missing\)"):
        Checkpoint(str(folder)).tokenizer  # noqa: B018
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read"):
        Checkpoint(str(folder)).tokenizer  # noqa: B018


def test_damaged_merges_are_named(tmp_path):
    folder = write_dream(tmp_path / "small")
    (folder / "merges.txt").write_text("#version: 0.2\na\n")
    with pytest.raises(UserError, match=r"vocab\.json and merges\.txt do not make a tokenizer"):
        Checkpoint(str(folder)).tokenizer  # noqa: B018


def test_a_token_alone_is_shown_by_its_text_or_name(llada):
    tokenizer = chosen("llada_8b", llada).tokenizer
    pieces = [tokenizer.piece(i) for i in tokenizer.encode(" clips in April\n")]
    assert "".join(pieces) == " clips in April\n" and len(pieces) > 1
    assert tokenizer.piece(LLADA_IDS["<|mdm_mask|>"]) == "<|mdm_mask|>"
