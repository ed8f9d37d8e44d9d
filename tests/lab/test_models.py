"""The shipped files: LLaDA's layout for the backbones, complete folders, and small enough to ship."""

import json

import pytest
from safetensors import safe_open
from transformers import PreTrainedTokenizerFast

from tests.analysis.test_sentences import ROOT
from warmexp.api import run_overrides
from warmexp.lab.long import tokenizers
from warmexp.lab.long.backbone import BACKBONE, begin_with
from warmexp.lab.long.judge import numbers_right
from warmexp.lab.long.problems import FULL
from warmexp.lab.train_backbone import new_backbone
from warmexp.models.lab_files import MODELS, MODELS_DIR, model_path

LIMIT_ALL, LIMIT_ONE = 30_000_000, 10_000 * 1024
BACKBONES = [name for name in MODELS if "backbone" in name]
BLOCK_KEYS = ("attn_norm", "q_proj", "k_proj", "v_proj", "attn_out", "ff_norm", "ff_proj", "up_proj", "ff_out")


def test_unknown_model_names_the_choices():
    with pytest.raises(ValueError, match="backbone, backbone_block, proposer_weak, proposer_strong"):
        model_path("large")


@pytest.mark.parametrize("name", MODELS)
def test_folder_is_complete(name):
    names = {f.name for f in model_path(name).iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
    } <= names


def test_sizes():
    sizes = [f.stat().st_size for f in MODELS_DIR.rglob("*") if f.is_file()]
    assert sum(sizes) <= LIMIT_ALL and max(sizes) < LIMIT_ONE


@pytest.mark.parametrize("name", BACKBONES)
def test_backbone_has_the_published_keys_and_shapes(name):
    folder = model_path(name)
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "llada" and config["architectures"] == ["LLaDAModelLM"]
    assert (config["activation_type"], config["block_type"], config["layer_norm_type"], config["rope"]) == (
        "silu",
        "llama",
        "rms",
        True,
    )
    d, mlp, rows = config["d_model"], config["mlp_hidden_size"], config["embedding_size"]
    kv = d // config["n_heads"] * config["n_kv_heads"]
    shapes = {"attn_norm": [d], "q_proj": [d, d], "k_proj": [kv, d], "v_proj": [kv, d], "attn_out": [d, d]}
    shapes |= {"ff_norm": [d], "ff_proj": [mlp, d], "up_proj": [mlp, d], "ff_out": [d, mlp]}
    expected = {"wte": [rows, d], "ln_f": [d], "ff_out": [rows, d]}
    expected |= {f"blocks.{n}.{key}": shapes[key] for n in range(config["n_layers"]) for key in BLOCK_KEYS}
    with safe_open(folder / "model.safetensors", "pt") as file:
        found = {key: file.get_slice(key) for key in list(file.keys())}
        assert {k: s.get_shape() for k, s in found.items()} == {
            f"model.transformer.{k}.weight": s for k, s in expected.items()
        }
        assert {s.get_dtype() for s in found.values()} == {"BF16"}
    assert config["max_sequence_length"] == 1024 and config["vocab_size"] <= rows
    assert config["mask_token_id"] < config["vocab_size"] > config["eos_token_id"] == config["pad_token_id"]


def vocabulary(name):
    return json.loads((model_path(name) / "tokenizer.json").read_text())["model"]["vocab"]


def test_the_long_labs_tokenizers_are_those_of_its_generator():
    """A later change of the generator's words would shift the ids under the weights."""
    assert vocabulary("long_backbone") == tokenizers.train_backbone_tokenizer().get_vocab()
    proposer = tokenizers.train_proposer_tokenizer().get_vocab()
    for name in ("weak", "strong", "foreign"):
        assert vocabulary(f"long_proposer_{name}") == proposer
    assert vocabulary("backbone_block") == vocabulary("backbone")


def right(found):
    return sum(row["correct"]["flexible"] for row in found)


def records(tmp_path, *words):
    _, made = run_overrides([*words, f"outputs={tmp_path}"])
    return [json.loads(line) for line in (made / "records.jsonl").read_text().splitlines()]


def test_the_long_lab_is_answered_in_the_papers_regime(tmp_path):
    """Half of them right, more than ten forwards for each on average, fewer than one per two tokens."""
    found = records(tmp_path, "backbone=lab_long", "task=lab_long", "task.limit=8", "length=eos_stop", "tau=0.8")
    assert right(found) >= 4
    assert len(found) == 8 and sum(row["nfe"] for row in found) > 80
    assert 2 * sum(row["nfe"] for row in found) < sum(row["response_tokens"] for row in found)


@pytest.mark.slow
def test_what_the_long_labs_backbone_has_not_learnt():
    """docs/lab.md, "Where it is wrong": it computes well with another person's number."""
    words = PreTrainedTokenizerFast.from_pretrained(model_path("long_backbone"))
    net = new_backbone(words, BACKBONE.shape)
    begin_with(model_path("long_backbone"), net)
    found = numbers_right(net, words, BACKBONE, BACKBONE.stages[-1], 256)
    page = (ROOT / "docs/lab.md").read_text(encoding="utf-8").replace("\n", " ")
    share = {plot: round(100 * found[f"chosen_{plot}"]) for plot in set(FULL.plots)}
    assert f"{100 * found['chosen']:.1f} % (256 calibration questions, the true text before each)" in page
    assert f"where `right` is {100 * found['right']:.1f} %" in page
    assert (
        f"{share['shopping']} % in shopping, {share['work']} in work, {share['holdings']} in holdings, {share['compare']}"
        f" in compare and {share['rivals']} in rivals"
    ) in page


@pytest.mark.slow
def test_the_block_causal_sibling_answers_and_keeps_its_blocks_exactly(tmp_path):
    words = ["backbone=lab_block", "task.limit=24", "tau=0.9"]
    plain, kept = (records(tmp_path, *words, cache) for cache in ("cache=none", "cache=exact"))
    assert right(plain) >= 8 and right(kept) >= 8
    same = [a["ids"] == b["ids"] for a, b in zip(plain, kept, strict=True)]
    assert sum(same) >= 12, "a first token that waits for its block's commit forward may be another"
    exact = records(tmp_path, *words, "cache=exact", "cache.first_token=window", "cache.commit=fused")
    assert right(exact) >= 8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "low", "high"), [("weak", 0.10, 0.35), ("strong", 0.55, 0.80), ("foreign", 0.55, 0.80)]
)
def test_the_long_labs_authors_are_as_good_as_they_should_be(name, low, high, tmp_path):
    words = [
        "backbone=lab_long",
        "task=lab_long",
        "task.split=calibration",
        "init=token_inject",
        "rho=1",
        "proposer.tail=eos",
        "task.limit=256",
    ]
    found = records(tmp_path, *words, f"proposer=lab_long_{name}")
    assert low <= right(found) / 256 <= high
