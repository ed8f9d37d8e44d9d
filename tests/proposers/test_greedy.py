"""What a proposer writes depends on its model and its prompt: not on the checkpoint's habits, the other rows, or the
clock."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.proposers.test_hf import ask, write_model
from tests.proposers.tokenizer_kinds import ALL
from warmexp.errors import UserError
from warmexp.proposers.greedy import batched, end_ids, write
from warmexp.proposers.hf import HFProposer, free_models
from warmexp.proposers.proposal import Asked
from warmexp.proposers.tokenizer import prompt_ids

HABITS = {
    "no_repeat_ngram_size": 2, "suppress_tokens": [10, 32, 101], "begin_suppress_tokens": list(range(128)), "min_new_tokens": 12,
    "min_length": 400, "max_time": 1e-9, "max_new_tokens": 2, "max_length": 3, "num_return_sequences": 2, "num_beams": 3,
    "repetition_penalty": 5.0, "encoder_repetition_penalty": 3.0, "bad_words_ids": [[101], [32]], "forced_eos_token_id": 7,
    "forced_bos_token_id": 7,
    "exponential_decay_length_penalty": [1, 2.0],
    "sequence_bias": [[[101], -9.0]],
    "return_dict_in_generate": True,
    "output_scores": True, "do_sample": True, "temperature": 0.3, "top_k": 3, "guidance_scale": 2.0, "renormalize_logits": True,
    "use_cache": False, "cache_implementation": "static", "stop_strings": ["e"], "prompt_lookup_num_tokens": 3, "token_healing": True,
    "remove_invalid_values": True, "diversity_penalty": 0.5, "watermarking_config": {"bias": 9.0}, "penalty_alpha": 0.6, "low_memory": True,
    "pad_token_id": 5, "dola_layers": "low", "constraints": [1], "compile_config": {}, "no_such_field": 1, "max_new_tokens ": None,
}  # fmt: skip


def copied(folder: Path, to: Path, file: str, **fields) -> Path:
    """A copy of a model whose JSON file has some other fields."""
    shutil.copytree(folder, to)
    values = json.loads((to / file).read_text()) if (to / file).is_file() else {}
    (to / file).write_text(json.dumps({**values, **fields}))
    return to


ALONE = ("no_repeat_ngram_size", "suppress_tokens", "min_new_tokens", "max_time", "num_return_sequences")
SETS = {
    "all": HABITS,
    "of wrong types": dict.fromkeys(HABITS, "nonsense"),
    **{name: {name: HABITS[name]} for name in ALONE},
}


@pytest.mark.parametrize("fields", SETS)
def test_no_habit_of_a_checkpoint_applies(tiny_llama, tmp_path, fields):
    plain, changed = (
        ask(tiny_llama)["q"],
        ask(copied(tiny_llama, tmp_path / "x", "generation_config.json", **SETS[fields]))["q"],
    )
    assert (changed.text, changed.tokens, changed.end) == (plain.text, plain.tokens, plain.end)


def test_nor_in_the_models_own_configuration(tiny_llama, tmp_path):
    habits = {
        name: HABITS[name]
        for name in ("no_repeat_ngram_size", "suppress_tokens", "repetition_penalty", "num_beams", "max_length")
    }
    plain, changed = ask(tiny_llama)["q"], ask(copied(tiny_llama, tmp_path / "x", "config.json", **habits))["q"]
    assert (changed.text, changed.tokens) == (plain.text, plain.tokens)


def test_end_tokens_are_taken_from_it(tiny_llama, tmp_path):
    plain, proposer = ask(tiny_llama)["q"], HFProposer(str(tiny_llama))
    token = write(*proposer._load("cpu"), [proposer._prompts([Asked("q", "abc ", "")])["q"]], 12, [256], [])[0].ids[2]
    for i, value in enumerate((token, [256, token])):
        cut = ask(copied(tiny_llama, tmp_path / str(i), "generation_config.json", eos_token_id=value))["q"]
        assert (
            len(cut.tokens) == 2
            and cut.end is not None
            and [p for *_, p in cut.tokens] == [p for *_, p in plain.tokens[:2]]
        )


@pytest.mark.parametrize("value", ["2", 2.5, True, [1, None], -1, 257, [[1]], {"a": 1}])
def test_an_end_token_that_is_none(tiny_llama, tmp_path, value):
    """Said while the run is planned."""
    folder = copied(tiny_llama, tmp_path / "x", "generation_config.json", eos_token_id=value)
    with pytest.raises(
        UserError, match=r"proposer\.path: generation_config\.json has eos_token_id=.* is no id of its 257 tokens"
    ):
        HFProposer(str(folder)).identity()


def test_the_models_own_end_token_where_there_is_no_other(tiny_llama, tmp_path):
    folder = copied(tiny_llama, tmp_path / "x", "config.json", eos_token_id=[7, 3])
    (folder / "generation_config.json").unlink()
    assert end_ids("proposer.path", folder, 257) == (3, 7)


QUESTIONS = [Asked(f"q{i}", "abc " * n, "") for i, n in enumerate((1, 60, 118, 122, 122, 126))]


def test_every_row_has_its_own_room(tiny_llama):
    """A model of 512 positions, prompts of up to 504 tokens: each writes 30 tokens or what its own prompt leaves,
    whoever is beside it."""

    def found(size: int, questions=QUESTIONS):
        proposer = HFProposer(str(tiny_llama), batch_size=size, stop=[], max_new_tokens=30, resident=True)
        return dict(proposer.propose(questions, "cpu", 0, lambda *_: None))

    alone = found(1)
    for others in (found(64), found(3, QUESTIONS[::-1])):
        assert {i: p.text for i, p in others.items()} == {i: p.text for i, p in alone.items()}
    assert [len(alone[q.id].tokens) for q in QUESTIONS] == [30, 30, 30, 24, 24, 8]
    free_models()


def test_learned_positions_do_not_run_out(tmp_path):
    """GPT-2 has a table of positions: a row at the end of it beside one at its beginning."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = write_model(tmp_path, ALL["splitting"]())
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=64, eos_token_id=None, bos_token_id=None
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    questions = [Asked(f"q{i}", "7" * n, "") for i, n in enumerate((1, 5, 60, 63, 63))]
    batched, alone = (ask(tmp_path, questions, batch_size=size, stop=[]) for size in (8, 1))
    assert {i: p.text for i, p in batched.items()} == {i: p.text for i, p in alone.items()}
    assert [len(alone[q.id].tokens) for q in questions] == [12, 12, 4, 1, 1]
    with pytest.raises(UserError, match="takes 64 tokens and the prompt of q9 has 64"):
        ask(tmp_path, [Asked("q9", "7" * 64, "")])


def test_rotary_frequencies_that_follow_the_longest_row(tiny_llama, tmp_path):
    """Where a long row changes the frequencies of all rows of a batch, rows of different lengths are not read
    together."""
    half = 8 // 2
    rope = {"rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0] * half, "long_factor": [9.0] * half, "factor": 8.0,
            "original_max_position_embeddings": 64}  # fmt: skip
    folder = copied(tiny_llama, tmp_path / "x", "config.json", rope_parameters=rope, rope_scaling=None)
    questions = [Asked(f"q{i}", "abc " * n, "") for i, n in enumerate((2, 3, 5, 40))]
    batched, alone = (ask(folder, questions, batch_size=size, stop=[]) for size in (8, 1))
    assert {i: p.text for i, p in batched.items()} == {i: p.text for i, p in alone.items()}


def test_batches():
    items = [("a", 300), ("b", 290), ("c", 100), ("d", 100), ("e", 7), ("f", 7), ("g", 7), ("h", 1)]
    assert batched(items, 100, 3, True) == [["a", "b", "c"], ["d"], ["e", "f", "g"], ["h"]]
    assert batched(items, 100, 2, False) == [["a"], ["b"], ["c", "d"], ["e", "f"], ["g"], ["h"]]


ENDS_WITH = {"after": "$A <|endoftext|>", "both": "<|eot_id|> $A <|endoftext|>", "before": "<|eot_id|> $A"}


@pytest.mark.parametrize("where", ENDS_WITH)
@pytest.mark.parametrize("kind", ALL)
def test_no_end_token_behind_a_prompt(tmp_path, kind, where):
    """A tokenizer that appends one makes a model begin something else; what it puts in front belongs there."""
    from tokenizers import processors

    plain = Tokenizer.from_str(ALL[kind]().to_str())
    plain.post_processor = processors.Sequence([])
    (tmp_path / "plain").mkdir()
    bare = write_model(tmp_path / "plain", plain)
    special = [(token, plain.token_to_id(token)) for token in ("<|endoftext|>", "<|eot_id|>")]
    plain.post_processor = processors.TemplateProcessing(single=ENDS_WITH[where], special_tokens=special)
    changed = write_model(tmp_path, plain)
    text = "Question: Tom has 5\nAnswer:"
    head = [] if where == "after" else [special[1][1]]
    assert prompt_ids(changed, text, True) == [*head, *prompt_ids(bare, text, True)]
    assert prompt_ids(changed, text, False) == prompt_ids(bare, text, False)
    if where == "after":
        asked = [Asked("q", text, "")]
        assert ask(tmp_path, asked, stop=[])["q"].text == ask(tmp_path / "plain", asked, stop=[])["q"].text


@pytest.mark.parametrize("state", [{"truncation": {"max_length": 5, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}},
                                   {"padding": {"strategy": {"Fixed": 300}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 1,
                                                "pad_type_id": 0, "pad_token": "a"}}, {"dropout": 0.9}])  # fmt: skip
def test_a_tokenizers_state_from_training_does_not_apply(tmp_path, state):
    write_model(tmp_path / "plain", ALL["grouping"]())
    shutil.copytree(tmp_path / "plain", tmp_path / "changed")
    file = tmp_path / "changed" / "tokenizer.json"
    values = json.loads(file.read_text())
    if "dropout" in state:
        values["model"]["dropout"] = state["dropout"]
    file.write_text(json.dumps({**values, **{k: v for k, v in state.items() if k != "dropout"}}))
    asked = [Asked(f"q{i}", "Question: Tom has 1234 eggs.\nAnswer:" * i, "") for i in (1, 2)]
    plain, changed = (ask(tmp_path / name, asked, stop=[]) for name in ("plain", "changed"))
    assert {i: p.text for i, p in plain.items()} == {i: p.text for i, p in changed.items()}
    ids = [HFProposer(str(tmp_path / name))._prompts(asked) for name in ("plain", "changed", "changed")]
    assert ids[0] == ids[1] == ids[2] and len(ids[0]["q2"]) > 5


def test_numbers_that_are_not_finite(tiny_llama, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copied(tiny_llama, tmp_path / "x", "config.json")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"computes numbers that are not finite with proposer\.dtype=float32"):
        ask(folder)


def test_a_kernel_named_in_a_file_is_not_fetched(tiny_llama, tmp_path):
    folder = copied(
        tiny_llama,
        tmp_path / "x",
        "config.json",
        attn_implementation="kernels-community/none",
        _attn_implementation="x/y",
    )
    assert ask(folder)["q"].text == ask(tiny_llama)["q"].text
