"""Where no saving can be said, the front names the command that changes it; where it can, it asks for nothing."""

from __future__ import annotations

import shlex
import warnings

import pytest

from warmexp.analysis.adding import adding
from warmexp.analysis.analysis import analyse
from warmexp.analysis.points import collect, load_point
from warmexp.api import composed, planned
from warmexp.report.figure import front_picture


def command_of(sentence: str) -> list[str]:
    """The overrides of the one command in a caveat."""
    _, start, line = sentence.partition("python -m warmexp -m ")
    assert start, sentence
    return shlex.split(line)


@pytest.mark.slow
def test_the_command_runs_the_baseline_on_these_questions(lab_study):
    """Its runs at τ = 0.7 and 0.9 are those that are there: the same identity, so the same folder."""
    points = [point for point in collect(lab_study)[0] if point.method != "mask"]
    (sentence,) = analyse(points).groups[0].caveats[-1:]
    assert "no saving can be said" in sentence
    words = command_of(sentence)
    (taus,) = [word for word in words if word.startswith("tau=")]
    assert taus == "tau=0.6,0.7,0.8,0.9" and f"outputs={lab_study}" in words
    there = {folder.name for folder in lab_study.glob("lab-mask-*")}
    made = {planned([word for word in words if word != taus] + [f"tau={tau}"]).folder.name for tau in (0.7, 0.9)}
    assert made == there


def test_what_a_run_was_set_to_is_in_the_command(run, tmp_path):
    task = {"path": "questions.jsonl", "question_field": "q", "limit": None, "subset_seed": None}
    settings = {
        "choices": {"task": "jsonl", "length": "eos_stop", "cache": "dual", "backbone": "checkpoint"},
        "task": {**task, "prompt": "Question: {question}\nAnswer:"},
        "length": {"canvas_length": 64, "block_length": 32},
        "backbone": {"path": "GSAI-ML/LLaDA-8B-Instruct", "canvas_length": 64},
    }
    folder = run("warm", init="token_inject", settings=settings)
    words = shlex.split(adding(load_point(folder), "init=mask remask=none length=fixed"))[4:]
    assert words[:3] == ["init=mask", "remask=none", "length=fixed"]
    for word in (
        "backbone=checkpoint",
        "task=jsonl",
        "task.path=questions.jsonl",
        "task.question_field=q",
        "cache=dual",
    ):
        assert word in words
    assert not any(word.startswith(("length.", "proposer", "task.prompt", "task.limit")) for word in words)
    cfg, choices = composed([word for word in words if not word.startswith("tau=")])
    assert cfg.task.question_field == "q" and choices["cache"] == "dual" and choices["length"] == "fixed"
    settings["task"]["prompt"] = "another\nprompt"
    assert adding(load_point(run("odd", init="token_inject", settings=settings)), "init=mask") is None


def single(runs) -> list[str]:
    (group,) = analyse(runs).groups
    return [sentence for sentence in group.caveats if "single point" in sentence]


def test_a_single_point_is_told_from_one_that_beats_the_others(run, tmp_path):
    warm = load_point(run("warm", init="token_inject", nfe=4))
    first = load_point(run("cold", tau=0.7, nfe=5, correct=80))
    (sentence,) = single([first, warm])
    assert "vary its threshold (unmask.tau)" in sentence and "tau=0.6,0.7,0.8,0.9" in command_of(sentence)
    slower = load_point(run("slower", tau=0.9, nfe=8, correct=70))
    (sentence,) = single([first, slower, warm])
    assert sentence.startswith("One of the baseline's 2 runs is both the cheapest and the most accurate")
    better = load_point(run("better", tau=0.95, nfe=9, correct=90))
    assert single([first, slower, better, warm]) == []


def test_runs_without_a_forward_are_drawn_without_a_warning(run, tmp_path):
    for name in ("a", "b"):
        run(name, init="token_inject", proposer=name, nfe=0, nfe_ci95=[0, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        front = analyse(collect(tmp_path)[0])
        picture = front_picture(front, tmp_path / "front.png")
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize("groups", [2, 5, pytest.param(14, marks=pytest.mark.slow)])
def test_the_picture_has_every_set_of_questions_or_says_which(run, tmp_path, groups):
    for i in range(groups):
        run(f"cold-{i}", n=20 + i, correct=10, questions_sha256=f"{i}" * 64)
    from matplotlib.figure import Figure

    seen: dict[str, object] = {}
    plain = Figure.savefig

    def savefig(self, *words, **keys):
        seen["panels"] = [axes.get_title(loc="left") for axes in self.axes]
        seen["title"] = "" if self._suptitle is None else self._suptitle.get_text()
        return plain(self, *words, dpi=20, **{key: value for key, value in keys.items() if key != "dpi"})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", savefig)
        front_picture(analyse(collect(tmp_path)[0]), tmp_path / "front.png")
    names = [f"{20 + i} lab questions" for i in range(groups)]
    drawn = [title.split(";")[0] for title in seen["panels"]]
    assert len(set(drawn)) == len(drawn) and set(drawn) <= set(names)
    missing = [name for name in names if not any(title.startswith(name) for title in seen["panels"])]
    assert len(seen["panels"]) == min(groups, 12) and all(name in seen["title"] for name in missing)
    assert bool(missing) == (groups > 12)
