"""Another model as the guide: read as transformers reads it, in the backbone's ids or not at all."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from warmexp.api import planned, run_overrides
from warmexp.errors import UserError
from warmexp.methods.guide.checkpoint import CheckpointGuide
from warmexp.methods.guide.itself import SelfGuide
from warmexp.methods.guide.none import NoGuide
from warmexp.models.hub import model_folder
from warmexp.runs.footprint import Footprint
from warmexp.runs.run import loaded

LAB = model_folder("backbone.path", "lab:backbone")
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
KINDS = {
    "qwen2": lambda **k: Qwen2ForCausalLM(Qwen2Config(**SIZES, **k)),
    "qwen3": lambda **k: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=16, **k)),
    "llama": lambda **k: LlamaForCausalLM(LlamaConfig(**SIZES, **k)),
}
ASK = ["evidence=[flashdlm]", "unmask=accepted", "guide=checkpoint", "guide.dtype=float32", "task.limit=3", "tau=1.1"]


def written(folder: Path, kind: str = "qwen2", rows: int | None = None, tied: bool = False):
    """A random model with the lab's tokenizer, without its mask."""
    config = json.loads((LAB / "config.json").read_text())
    torch.manual_seed(1)
    made = KINDS[kind](
        vocab_size=rows or config["embedding_size"], eos_token_id=config["eos_token_id"], tie_word_embeddings=tied,
        initializer_range=0.3,
    )  # fmt: skip
    for name, weights in made.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weights, std=0.3)
    made.eval().save_pretrained(folder)
    shutil.copy(LAB / "tokenizer.json", folder)
    return made


@pytest.mark.parametrize(
    ("kind", "more", "tied"), [("qwen2", -1, True), ("qwen2", 40, False), ("qwen3", 0, False), ("llama", 40, True)]
)
def test_it_says_what_transformers_says(tmp_path, kind, more, tied):
    """Also where its embedding table has fewer rows than the backbone's, or more."""
    rows = json.loads((LAB / "config.json").read_text())["embedding_size"] + more
    theirs = written(tmp_path, kind, rows, tied).double()
    backbone = loaded(planned(["init=mask", "task.limit=1"]))
    guide = CheckpointGuide(str(tmp_path), dtype="float64").model(backbone)
    ids = torch.randint(0, rows - max(more, 0) - 30, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        row, position = torch.arange(2).repeat_interleave(8), torch.arange(1, 9).repeat(2)
        said = guide.rule_out(guide(ids, torch.tensor([9, 9]), row, position))
        expected = theirs(ids).logits[:, :-1].flatten(0, 1)
    assert said.shape[1] == backbone.vocabulary and (said[:, backbone.mask_id] == -torch.inf).all()
    spoken = said.isfinite().all(0).nonzero()[:, 0]
    assert len(spoken) == sum(i < rows and i != backbone.mask_id for i in set(Tokenizer.from_file(str(LAB / "tokenizer.json")).get_vocab().values()))  # fmt: skip
    assert torch.allclose(said[:, spoken], expected[:, spoken], atol=1e-4)  # their rotary angles are float32
    nobody = replace(backbone, textless=((5, 8), (30, 31)))  # rows that the backbone has no tokens for
    said = CheckpointGuide(str(tmp_path), dtype="float64").model(nobody).rule_out(said.clone())
    assert (said[:, [5, 6, 7, 30]] == -torch.inf).all() and said[:, [4, 8, 29]].isfinite().all()


def test_one_proposal_at_a_time_writes_its_own_text(tmp_path):
    """FlashDLM with k = 1 takes the guide's best token each time: greedy decoding by transformers."""
    theirs, folder = written(tmp_path / "model"), tmp_path / "model"
    words = ["init=mask", *ASK, f"guide.path={folder}", "evidence.flashdlm.k=1", f"outputs={tmp_path / 'out'}"]
    plan = planned(words)
    summary, out = run_overrides(words)
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    has = set(Tokenizer.from_file(str(LAB / "tokenizer.json")).get_vocab().values()) - {
        plan.backbone.config.mask_token_id
    }
    for record in records:
        ids = list(plan.prompts[record["id"]])
        length = plan.strategies.length.canvas_length
        end = plan.backbone.config.eos_token_id
        written_ids: list[int] = []
        while len(written_ids) < length:
            with torch.inference_mode():
                logits = theirs(torch.tensor([ids + written_ids])).logits[0, -1]
            best = max(has, key=lambda i: float(logits[i]))
            written_ids += [best] if best != end else [end] * (length - len(written_ids))
        assert record["ids"] == written_ids
    assert summary["guide_forwards_mean"] > 0 and len(records) == 3


def test_its_weights_are_part_of_what_a_run_is(tmp_path):
    words = ["init=mask", *ASK, f"guide.path={tmp_path / 'a'}"]
    written(tmp_path / "a")
    first = planned(words).run_id
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert planned([*words, f"guide.path={tmp_path / 'b'}"]).run_id == first
    written(tmp_path / "a", rows=2000)
    assert planned(words).run_id != first


def test_batch_and_devices_do_not_matter(tmp_path):
    written(tmp_path / "model")
    words = ["init=mask", *ASK, f"guide.path={tmp_path / 'model'}", "task.limit=5"]
    found = []
    for n, more in enumerate((["batch_size=5"], ["batch_size=2"], ["device=cpu,cpu"])):
        _, out = run_overrides([*words, *more, f"outputs={tmp_path / str(n)}"])
        records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
        found.append(sorted((r["id"], r["ids"], r["nfe"], r["guide_forwards"]) for r in records))
    assert found[0] == found[1] == found[2]


def spoil(folder: Path, how: str) -> None:
    if how == "renamed":
        data = json.loads((folder / "tokenizer.json").read_text())
        vocab = data["model"]["vocab"]
        a, b = [name for name, i in vocab.items() if i in (20, 21)]
        vocab[a], vocab[b] = vocab[b], vocab[a]
        (folder / "tokenizer.json").write_text(json.dumps(data))
        return
    config = json.loads((folder / "config.json").read_text())
    changes = {
        "gpt2": {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]},
        "window": {"use_sliding_window": True},
        "layers": {"num_hidden_layers": 3},
        "short": {"max_position_embeddings": 8},
    }
    (folder / "config.json").write_text(json.dumps({**config, **changes[how]}))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("renamed", "has another vocabulary than backbone=lab"),
        ("gpt2", "the layouts that can be read are Qwen2"),
        ("window", "use_sliding_window"),
        ("layers", "3 layers and the weights 2"),
        ("short", "8 positions that guide=checkpoint reads: choose another guide.path"),
    ],
)
def test_what_cannot_be_a_guide_is_one_sentence(tmp_path, how, said):
    written(tmp_path)
    spoil(tmp_path, how)
    with pytest.raises(UserError, match=said) as error:
        planned(["init=mask", *ASK, f"guide.path={tmp_path}"])
    assert "guide.path" in str(error.value) and "backbone.path" not in str(error.value)


def test_what_an_init_puts_into_the_prompt_needs_room_too(tmp_path):
    written(tmp_path)
    words = ["init=mask", *ASK, f"guide.path={tmp_path}", "length.canvas_length=32"]
    longest = max(map(len, planned(words).prompts.values()))
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "max_position_embeddings": longest + 32}))
    planned(words)
    with pytest.raises(UserError, match=r"to which init=context may add \d+; .* positions that guide=checkpoint reads"):
        planned([*words, "init=context", "proposer=lab_weak"])


def test_a_proposer_of_the_lab_has_another_vocabulary():
    with pytest.raises(UserError, match=r"another vocabulary than backbone=lab .* as a proposer"):
        planned(["init=mask", *ASK, "guide.path=lab:proposer_weak"])
    with pytest.raises(UserError, match=r"guide\.path must be given"):
        planned(["init=mask", *ASK])
    with pytest.raises(UserError, match=r"guide\.path=nowhere does not exist"):
        planned(["init=mask", *ASK, "guide.path=nowhere"])


def test_a_table_too_small_for_its_tokenizer_is_refused(tmp_path):
    """Prompts would be read as rows of zeros."""
    written(tmp_path, rows=100)
    with pytest.raises(UserError, match=r"is token 100 of its tokenizer and its embedding table has 100 rows"):
        planned(["init=mask", *ASK, f"guide.path={tmp_path}"])


def test_a_token_of_the_template_that_it_has_not_is_refused(tmp_path):
    """Its table may well have a row there, which nobody has trained."""
    written(tmp_path)
    data = json.loads((tmp_path / "tokenizer.json").read_text())
    end = next(token for token in data["added_tokens"] if token["id"] == 0)
    data["added_tokens"].remove(end)
    data["model"]["vocab"] = {name: i for name, i in data["model"]["vocab"].items() if i}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    words = ["init=mask", *ASK, f"guide.path={tmp_path}"]
    planned(words)
    with pytest.raises(UserError, match=r"does not have '<.*>', with which backbone=lab frames a prompt"):
        planned([*words, f"backbone.template='{end['content']}{{prompt}}'"])


def test_numbers_of_positions_add_up(tmp_path):
    written(tmp_path / "model")
    _, out = run_overrides(
        ["init=mask", *ASK, f"guide.path={tmp_path / 'model'}", f"outputs={tmp_path / 'out'}", "evidence.flashdlm.k=5"]
    )
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert all(0 < r["guide_forwards"] <= r["guide_token_forwards"] for r in records)
    assert np.mean([r["nfe"] for r in records]) > 1


def test_its_memory_is_planned_with(tmp_path):
    """Weights once, keys and values for every position of every question."""
    theirs = written(tmp_path)
    config, dtype = loaded(planned(["init=mask", "task.limit=1"])).transformer.config, torch.float32
    guide = CheckpointGuide(str(tmp_path), dtype="float32")
    weights = 4 * sum(p.numel() for p in theirs.parameters())
    assert guide.needs(config, dtype, 0) == weights
    assert guide.needs(config, dtype, 10) - weights == 10 * 2 * 2 * 2 * 8 * 4  # two layers of two key heads of eight
    each = 2 * config.n_layers * config.n_kv_heads * config.head_dim * 4
    assert SelfGuide().needs(config, dtype, 10) == 10 * each and NoGuide().needs(config, dtype, 10) == 0
    plan = planned(["init=mask", *ASK, f"guide.path={tmp_path}"])
    planned_with = Footprint(config, plan.strategies, 80, dtype, torch.device("cpu"))
    assert planned_with.parts(3)["a guide"] == guide.needs(config, dtype, 240)
