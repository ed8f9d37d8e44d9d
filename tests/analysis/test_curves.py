"""A method says itself along which of its keys a curve is drawn and how it is written; nothing else knows a parameter
by name."""

from __future__ import annotations

import json

import pytest
import yaml

from warmexp.analysis.analysis import analyse
from warmexp.analysis.points import collect, load_point
from warmexp.api import run_overrides

WORDS = ["task.limit=4", "device=cpu"]


@pytest.mark.slow
def test_a_policy_without_a_threshold_has_a_curve(tmp_path):
    for steps in (2, 8):
        run_overrides(["unmask=topk", f"unmask.steps_per_block={steps}", *WORDS, f"outputs={tmp_path}"])
    for tau in (0.5, 0.9):
        run_overrides([f"tau={tau}", *WORDS, f"outputs={tmp_path}"])
    for steps, algorithm in ((6, "entropy"), (9, "entropy"), (6, "maskgit_plus"), (9, "maskgit_plus")):
        dream = ["unmask=dream", f"unmask.steps={steps}", f"unmask.algorithm={algorithm}", "unmask.temperature=0"]
        run_overrides([*dream, *WORDS, f"outputs={tmp_path}"])
    points, left_out = collect(tmp_path)
    assert not left_out
    labels = {point.label for point in points if point.unmask != "dream"}
    assert labels == {"mask τ=0.5", "mask τ=0.9", "mask topk s=2", "mask topk s=8"}
    (group,) = analyse(points).groups
    assert {curve.label: len(curve.runs) for curve in group.curves} == {
        "mask": 2,
        "mask topk": 2,
        "mask dream (algorithm=entropy)": 2,
        "mask dream (algorithm=maskgit_plus)": 2,
    }


def test_runs_from_before_have_the_labels_they_had(tmp_path):
    _, folder = run_overrides(["init=embed_interp", "proposer=oracle", "tau=0.7", *WORDS, f"outputs={tmp_path}"])
    now = load_point(folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config.pop("labels")["curve"] == "unmask.tau"
    (folder / "config.yaml").write_text(json.dumps(config))
    assert load_point(folder).label == now.label == "embed_interp λ=0.4 p=0.5 from oracle τ=0.7"
    assert load_point(folder).curve == now.curve and load_point(folder).at == now.at == 0.7


def test_labels_name_every_method_and_what_it_was_set_to(tmp_path):
    words = ["unmask=klass", "evidence=[credit]", "remask=joint_threshold", "remask.edit=0.7"]
    _, folder = run_overrides([*words, *WORDS, f"outputs={tmp_path}"])
    label = load_point(folder).label
    assert label == "mask + credit α=0.7 β=0.8 γ=0.2 + joint_threshold remask τₑ=0.7 klass τ=0.6 ε=0.015 h=2"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["labels"]["unmask"] = "klass τ=0.6"  # as older labels of topk begin with its name
    (folder / "config.yaml").write_text(json.dumps(config))
    assert load_point(folder).label.endswith(" klass τ=0.6")


def test_a_group_that_came_later_is_no_difference(tmp_path):
    """Of two runs that share a label, one from before there was a group has none of it."""
    for cache in ("none", "dual"):
        _, folder = run_overrides([f"cache={cache}", *WORDS, f"outputs={tmp_path}"])
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for group in ("guide", "attention", "draft"):
        assert config["choices"].pop(group) == ("full" if group == "attention" else "none")
    (folder / "config.yaml").write_text(json.dumps(config))
    labels = {point.label for point in collect(tmp_path)[0]}
    assert len(labels) == 2 and not any(group in label for label in labels for group in ("guide", "attention", "draft"))
