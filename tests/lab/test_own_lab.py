"""docs/lab.md on a lab of one's own is true: its files are taken from the page, its recipes, cut short, are trained, and
what comes out is decoded."""

import importlib
import json
import shlex
import sys
from dataclasses import replace

import pytest

from tests.test_own_method import BLOCK, COMMANDS, put, section
from warmexp.api import run_overrides
from warmexp.errors import UserError
from warmexp.lab.long import drills, judge
from warmexp.lab.long.feed import Segments, Stage
from warmexp.lab.long.train import main
from warmexp.lab.splits import Problem, Splits

SECTION = section("docs/lab.md", "The long lab")


@pytest.fixture
def mylab(tmp_path, monkeypatch):
    """The package of the page, as modules."""
    put(dict(BLOCK.findall(SECTION)), tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield lambda name: importlib.import_module(f"mylab.{name}")
    for name in [name for name in sys.modules if name.split(".")[0] == "mylab"]:
        del sys.modules[name]


def test_following_the_page_makes_a_lab(mylab, tmp_path):
    recipes = mylab("train")
    full = recipes.BACKBONE.stages[-1]
    backbone = replace(
        recipes.BACKBONE,
        stages=(Stage(2, "short"), replace(full, until=6)),
        batch=4,
        pool=40,
        shape=replace(recipes.BACKBONE.shape, d_model=16, n_layers=1, n_heads=1, mlp_hidden_size=24),
    )
    weak = replace(recipes.WEAK, stages=(Stage(2, "full"),), batch=4, pool=40)
    *trained, cold, warm = [shlex.split(line, comments=True) for line in COMMANDS.findall(SECTION)[0].splitlines()]
    assert [words[:3] for words in trained] == [["python", "-m", "mylab.train"]] * 2
    for words in trained:
        main([*words[3:], "--judge", "6"], backbone, {"weak": weak})
    *_, last = (tmp_path / "labs/backbone/curve.jsonl").read_text().splitlines()
    assert {"right", "whole", "right_3", "strict", "forwards"} <= set(json.loads(last)) and "right_?" not in last
    for words in (cold, warm):
        assert words[:3] == ["python", "-m", "warmexp"]
        _, folder = run_overrides([word for word in words[3:] if "limit" not in word] + ["task.limit=2", "outputs=out"])
        found = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
        assert [record["id"].split("-")[0] for record in found] == ["mylab"] * 2
        assert all(record["right_tokens"] is None for record in found), "it says nothing of a truth that it has not"


def test_the_pages_generator_and_recipe_fit_each_other(mylab):
    problems, recipes = mylab("problems"), mylab("train")
    tokenizer = recipes.backbone_tokenizer()
    for k in range(300):
        p = problems.make("train", k)
        assert sorted(p.answer) == sorted(c for c in p.question if c.isdigit()) and list(p.answer) == sorted(p.answer)
        ids = tokenizer(f" {p.solution}")["input_ids"]
        assert len(ids) < recipes.BACKBONE.shape.canvas
        found = judge.places(tokenizer, ids, problems.COMPUTED)
        assert [tokenizer.decode([ids[j] for j in place]).strip() for place in found] == list(p.answer)
    for recipe in (recipes.BACKBONE, recipes.WEAK):
        recipe.check()
    assert len({p.question for s in ("test", "calibration") for p in problems.load(s)}) == 768


def test_a_level_or_a_pool_that_the_generator_has_not_is_refused(mylab):
    recipe = mylab("train").BACKBONE
    with pytest.raises(UserError, match=r"level=hard is not one of short, full of mylab.problems"):
        replace(recipe, stages=(Stage(2, "hard"),)).check()
    with pytest.raises(UserError, match="pool=500000 of the recipe needs a training split of more than 1000000"):
        replace(recipe, pool=500_000).check()


def test_a_training_split_that_is_used_up_is_refused(mylab, monkeypatch):
    """Every question of one digit is held out."""
    recipe, problems = mylab("train").BACKBONE, mylab("problems")
    monkeypatch.setitem(problems.LEVELS, "short", (1, 1))
    held = Splits(
        {"train": 1_000, "calibration": 4, "test": 5}, lambda s, k, *manner: problems.make(s, k, level=(1, 1))
    )
    monkeypatch.setattr(problems, "stream", held.stream)
    segments = Segments(None, replace(recipe, pool=40), None, 0, 0, 1)
    with pytest.raises(UserError, match=r"mylab.problems has 0 training problems .* the recipe wants 40"):
        segments._pool(0, recipe.stages[0])


def test_a_generator_with_few_questions_is_refused_and_does_not_hang():
    splits = Splits({"train": 10, "calibration": 4, "test": 8}, lambda s, k: Problem(f"{s}{k}", str(k % 10), "", ""))
    with pytest.raises(UserError, match="hardly more than 10 different questions"):
        splits.load("test")


def test_drills_of_ones_own(mylab):
    recipes = mylab("train")
    tokenizer = recipes.backbone_tokenizer()
    ids, result = drills.rows(tokenizer, None, 2, None, lambda level, rng: ("Of 3 2 the smallest is", " 2.\n"))
    assert tokenizer.decode(ids[0][result[0]]) == " 2.\n" * drills.LINES and len(ids) == 2
