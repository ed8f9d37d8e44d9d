"""The long lab's tokenizers and recipe: texts come back, digits are single, answers fit the canvas, training goes on
where it stopped."""

import json
import re
from dataclasses import replace
from datetime import datetime
from functools import cache

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaForCausalLM

from warmexp.errors import UserError
from warmexp.lab import train_backbone
from warmexp.lab.long import drills, problems
from warmexp.lab.long.backbone import BACKBONE as BACKBONE_RECIPE
from warmexp.lab.long.backbone import BackboneTraining
from warmexp.lab.long.backbone import draw as backbone_draw
from warmexp.lab.long.feed import Segments, Stage, batches
from warmexp.lab.long.judge import numbers_right, places
from warmexp.lab.long.proposers import PROPOSERS, ProposerTraining
from warmexp.lab.long.train import next_time
from warmexp.lab.long.training import run
from warmexp.lab.muon import Muon, orthogonal
from warmexp.lab.scored import next_tokens, weighted_loss
from warmexp.lab.tokenizers import PROMPT
from warmexp.models.lab_files import model_path

# Shipped; test_models.py trains both anew and finds the same.
BACKBONE, PROPOSER = (AutoTokenizer.from_pretrained(model_path(f"long_{n}")) for n in ("backbone", "proposer_weak"))


@cache
def chosen() -> list:
    return [*problems.load("test"), *problems.load("calibration"), *problems.load("train", 500)]


def backbone_tokenizer():
    return BACKBONE


def proposer_tokenizer():
    return PROPOSER


TINY = replace(
    BACKBONE_RECIPE,
    new_tokenizer=backbone_tokenizer,
    shape=replace(BACKBONE_RECIPE.shape, d_model=32, n_layers=1, n_heads=1, mlp_hidden_size=48),
    stages=(Stage(4, "easy", drills=0.5), Stage(14, "full", 0.4, 0.5, (96, 192), 0.5)),
    batch=4,
    pool=200,
    pool_steps=3,
)
TINY_PROPOSER = replace(
    PROPOSERS["weak"],
    new_tokenizer=proposer_tokenizer,
    shape=replace(PROPOSERS["weak"].shape, hidden_size=32, layers=1, target=0.0),
    stages=(Stage(4, "easy"), Stage(8, "middle")),
    batch=4,
    pool=200,
)


def backbone(out, r=TINY, rows=0, **options):
    return run(BackboneTraining(out, r, rows=rows, decoded=1), **{"log_every": 2, "judge_every": 0} | options)


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("tokenizer", [BACKBONE, PROPOSER], ids=["backbone", "proposer"])
def test_texts_come_back(tokenizer):
    for p in chosen()[::10]:
        text = PROMPT.format(question=p.question) + " " + p.solution
        assert tokenizer.decode(ids(tokenizer, text)) == text
    for text in ("", " ", "\n\n  x", "a , b .", "12345 007", "größe 数 🙂"):
        assert tokenizer.decode(ids(tokenizer, text)) == text


def test_digits_are_single_and_the_two_tokenizers_disagree_on_words():
    for n in range(100):
        for text in (f"{n}", f" {n}"):
            assert len(ids(BACKBONE, text)) == len(ids(PROPOSER, text)) == len(str(n))
    assert BACKBONE.mask_token and PROPOSER.mask_token is None and len(BACKBONE) != len(PROPOSER)
    longer = [len(ids(PROPOSER, p.solution)) / len(ids(BACKBONE, p.solution)) for p in chosen()[::20]]
    assert min(longer) > 1 and np.mean(longer) > 1.1


def test_answers_fit_the_canvas_and_are_long():
    lengths = [len(ids(BACKBONE, " " + p.solution)) + 1 for p in chosen()]
    assert max(lengths) < BACKBONE_RECIPE.shape.canvas == 192
    assert np.percentile(lengths, 5) > 45 and 80 < np.median(lengths) < 110
    for wording in range(3):
        shares = tuple(float(k == wording) for k in range(3))
        assert max(len(ids(BACKBONE, " " + problems.make("train", k, shares).solution)) for k in range(500)) < 191


def test_results_are_found():
    for p in chosen()[::40]:
        response = ids(BACKBONE, " " + p.solution)
        lines = p.solution.split("\n")[1:-2]
        found = [
            BACKBONE.decode([response[k] for k in place]).strip()
            for place in places(BACKBONE, response, problems.COMPUTED)
        ]
        assert found == [re.search(r"(?: =| to get) (\d+)", line)[1] for line in lines]


def test_what_results_are_computed_from_is_found_where_the_line_has_said_whose_it_is():
    for wording in range(3):
        for k in range(60):
            p = problems.make("train", k, tuple(float(w == wording) for w in range(3)))
            response = ids(BACKBONE, " " + p.solution)
            found = [
                BACKBONE.decode([response[k] for k in place]).strip()
                for place in places(BACKBONE, response, problems.CHOSEN)
            ]
            assert found == (re.findall(r"\d+(?= [-+x/])|(?<=[-+x/] )\d+", p.solution) if wording == 0 else [])


class Reader:
    """Knows the next token, but what stands before a sign: the last digit of every left operand."""

    wte = torch.nn.Embedding(1, 1)
    signs = torch.tensor(sorted({ids(BACKBONE, f"7 {sign} 7")[1] for sign in "+-x/"}))

    def embed(self, tokens):
        return tokens

    def __call__(self, tokens, mask):
        return tokens

    def head(self, tokens):
        after, behind = tokens.roll(-1, 1), tokens.roll(-2, 1)
        return torch.nn.functional.one_hot(after.where(~torch.isin(behind, self.signs), 0), len(BACKBONE))


def test_who_computes_well_with_wrong_numbers_is_found_out():
    found = numbers_right(Reader(), BACKBONE, BACKBONE_RECIPE, BACKBONE_RECIPE.stages[-1], 48)
    assert found["right"] == found["whole"] == 1.0 and found["chosen"] == 0.5
    plots = {problems.kind("calibration", k) for k in range(48)}
    assert {key for key in found if key.startswith("chosen_")} <= {f"chosen_{plot}" for plot in plots}
    assert all(found[key] == 0.5 for key in found if key.startswith("chosen"))


@pytest.mark.parametrize("level", problems.LEVELS)
def test_drills_are_right_sums_and_their_results_are_marked(level):
    z = problems.LEVELS[level]
    full, result = drills.rows(BACKBONE, z, 40, np.random.default_rng(3))
    count = {"+": 0, "-": 0, "x": 0, "/": 0}
    for row, mark in zip(full, result, strict=True):
        assert row[-1] in (BACKBONE.eos_token_id, *ids(BACKBONE, "\n"))
        lines = BACKBONE.decode(row, skip_special_tokens=True).splitlines()
        marked = BACKBONE.decode(row[mark]).splitlines()
        assert len(lines) == len(marked) == drills.LINES
        for line, shown in zip(lines, marked, strict=True):
            a, b, c = map(int, re.findall(r"\d+", line))
            op = next(k for k, forms in drills.FORMS.items() if any(same(form, line) for form in forms))
            a, b = (b, a) if line.startswith("Take") else (a, b)
            assert {"+": a + b, "-": a - b, "x": a * b, "/": a / b}[op] == c and shown == f" {c}."
            assert min(a, b, c) >= 1 and max(a, b, c) <= z.limit
            count[op] += 1
    assert min(count.values()) > 10


def same(form: str, line: str) -> bool:
    return re.sub(r"\{.\}|\d+", "", form) == re.sub(r"\d+", "", line.rpartition(" ")[0])


def test_orthogonal_updates():
    torch.manual_seed(0)
    for shape in ((64, 24), (24, 64)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert values.min() > 0.6 and values.max() < 1.3


def test_muon_agrees_with_torch():
    """Torch's own rounds to bfloat16 on the way, so only roughly."""
    torch.manual_seed(0)
    start = torch.randn(48, 32)
    ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    a = Muon([ours], lr=0.02, weight_decay=0.1)
    b = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.grad = torch.randn(48, 32)
        theirs.grad = ours.grad.clone()
        a.step(), b.step()
    moved = (ours - start).norm()
    assert moved > 0.1 and (ours - theirs).norm() < 0.03 * moved


def test_training_goes_on_to_the_step_with_equal_weights(tmp_path):
    whole = backbone(tmp_path / "whole")
    for stop in (1, 5, None):
        parts = backbone(tmp_path / "parts", stop_after=stop)
    assert parts.done == whole.done == 14 and parts.tokens == whole.tokens
    a, b = (torch.load(tmp_path / n / "state.ckpt", weights_only=True) for n in ("whole", "parts"))
    assert all(
        torch.equal(a["net"][k], b["net"][k]) and torch.equal(a["average"][k], b["average"][k]) for k in a["net"]
    )
    weights = load_file(tmp_path / "parts/model/model.safetensors")
    assert all(k.startswith("model.transformer.") and w.dtype == torch.bfloat16 for k, w in weights.items())
    curve = [json.loads(line) for line in (tmp_path / "parts/curve.jsonl").read_text().splitlines()]
    assert [note["step"] for note in curve] == [2, 4, 6, 8, 10, 12, 14]
    assert {"ar", "states", "drills", "masked_drills"} <= set((tmp_path / "whole/curve.jsonl").read_text().split('"'))


@pytest.mark.slow
def test_a_proposer_goes_on_and_stops_at_its_target(tmp_path):
    options = {"log_every": 2, "judge_every": 8}
    whole = run(ProposerTraining(tmp_path / "whole", TINY_PROPOSER, rows=4), **options)
    run(ProposerTraining(tmp_path / "parts", TINY_PROPOSER, rows=4), stop_after=3, **options)
    parts = run(ProposerTraining(tmp_path / "parts", TINY_PROPOSER, rows=4), **options)
    assert all(
        torch.equal(a, b) for a, b in zip(whole.net.state_dict().values(), parts.net.state_dict().values(), strict=True)
    )
    assert whole.finished and parts.finished and not ProposerTraining(tmp_path / "new", TINY_PROPOSER).finished
    before = parts.done
    assert run(ProposerTraining(tmp_path / "parts", TINY_PROPOSER), **options).done == before
    net = LlamaForCausalLM.from_pretrained(tmp_path / "parts/model")
    assert (
        net.config.vocab_size == len(PROPOSER)
        and AutoTokenizer.from_pretrained(tmp_path / "parts/model").eos_token_id is not None
    )


def test_the_clock_stops_it_with_the_state_kept(tmp_path):
    assert backbone(tmp_path, until=0.0).done == 0 and (tmp_path / "state.ckpt").exists()


def test_two_processes_never_train_in_one_folder(tmp_path):
    """A suspended process that wakes up would put its old state over the newer one."""
    suspended = BackboneTraining(tmp_path, TINY)
    with pytest.raises(UserError, match="is being trained by another process"):
        BackboneTraining(tmp_path, TINY)
    run(suspended, until=0.0)
    assert backbone(tmp_path, until=0.0).done == 0


def test_a_few_steps_lower_the_loss_and_are_judged(tmp_path):
    r = replace(TINY, stages=(Stage(28, "easy"), Stage(30, "easy", 0.5, 1.0, (96,))), batch=8, warmup=3)
    backbone(tmp_path, r, rows=8, log_every=10, judge_every=10)
    curve = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert curve[-1]["ar"] < 0.85 * curve[0]["ar"]
    assert (
        0 <= curve[-1]["right"] <= 1
        and "right_2" in curve[-1]
        and "right_+" in curve[-1]
        and curve[-1]["forwards"] >= 6
        and "forwards" not in curve[0]
    )


def test_the_time_to_stop_is_the_next_one():
    evening = datetime(2026, 11, 25, 22, 35, 10)
    assert next_time("23:00", evening) == datetime(2026, 11, 25, 23)
    assert next_time("01:20", evening) == datetime(2026, 11, 26, 1, 20)
    assert next_time("22:35", evening) == datetime(2026, 11, 26, 22, 35)
    with pytest.raises(ValueError, match="does not match"):
        next_time("soon", evening)


@pytest.mark.slow
def test_batches_made_ahead_by_others_are_those_made_here():
    """Whatever the number of processes, and wherever a training goes on in the middle of a segment."""
    here, ahead = (
        list(batches(Segments(BACKBONE, TINY, backbone_draw, 3, first, 14), workers))
        for first, workers in ((0, 0), (5, 2))
    )
    assert len(here) == 14 and len(ahead) == 9
    for one, other in zip(here[5:], ahead, strict=True):
        assert one.kind == other.kind
        for a, b in zip(vars(one.data).values(), vars(other.data).values(), strict=True):
            assert (a is None and b is None) or np.array_equal(a, b)


def test_padding_at_the_left_changes_no_loss():
    net = train_backbone.new_backbone(BACKBONE, TINY.shape).double()
    rng = np.random.default_rng(0)
    ids = rng.integers(3, 200, (3, 12))
    scored = np.zeros(ids.shape, dtype=bool)
    scored[:, 5:] = True
    plain = next_tokens(ids, scored)
    filled = np.concatenate((rng.integers(3, 200, (3, 4)), ids), 1)
    moved = next_tokens(filled, np.concatenate((np.zeros((3, 4), dtype=bool), scored), 1))
    seen, hidden = (float(weighted_loss(net, b)) for b in (moved, replace(moved, padding=np.full(3, 4))))
    assert hidden == pytest.approx(float(weighted_loss(net, plain)), abs=1e-12) and abs(seen - hidden) > 1e-9
