"""A plan is written before the first record and stays; what was chosen on one split is confirmed once on the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.analysis.conftest import write_run
from warmexp.analysis.analysis import MARGIN, analyse
from warmexp.analysis.points import collect
from warmexp.config import keys
from warmexp.errors import UserError
from warmexp.report.table import markdown
from warmexp.studies.confirm import _once, chosen, grid, words
from warmexp.studies.fold import Point
from warmexp.studies.frozen import freeze, frozen, plan_of

STUDY = OmegaConf.create({"name": "s", "baseline": None, "margin": None, "endpoint": None, "confirm": None})


def points(n: int) -> list[Point]:
    return [Point((f"tau={tau}",), f"run{tau}", Path("nowhere"), n, {}) for tau in (0.7, 0.9)]


def test_a_plan_is_written_once_and_a_change_is_kept_beside_it(tmp_path):
    first = plan_of(STUDY, points(128))
    assert MARGIN == keys.MARGIN == first["margin"] and first["questions"] == [128]
    assert freeze(tmp_path, first, started=False) is None and freeze(tmp_path, first, started=True) is None
    written = frozen(tmp_path)
    assert written["before_first_record"] and written["plan"] == first and not written["changes"]
    said = freeze(tmp_path, plan_of(STUDY, points(512)), started=True)
    assert "says otherwise of its questions" in said
    changed = frozen(tmp_path)
    assert (
        changed["plan"] == first
        and changed["sha256"] == written["sha256"]
        and changed["changes"][0]["keys"] == ["questions"]
    )
    write_run(tmp_path / "a")
    front = analyse(collect(tmp_path / "a")[0], plan=changed)
    assert "Questions were added after a look" in front.caveats[0] and "changed 1 time since" in front.checklist[0].said
    file = tmp_path / "plan.json"
    file.write_text(file.read_text().replace('"margin": 0.01', '"margin": 0.05'))
    assert frozen(tmp_path) is None  # it is not what its hash says


def test_looking_again_with_more_questions_is_no_longer_one_test():
    """Extending a study that did not find anything to the number it said it needs, five times: the error of 2.5 % a
    side grows."""
    import numpy as np

    from warmexp.analysis.paired import mcnemar

    once = again = 0
    for seed in range(400):
        flips = np.random.default_rng(seed).random(4096)
        wins, losses = (flips < 0.05).cumsum(), ((flips >= 0.05) & (flips < 0.10)).cumsum()
        looks = [mcnemar(int(wins[n - 1]), int(losses[n - 1])) < 0.05 for n in (256, 512, 1024, 2048, 4096)]
        once += looks[0]
        again += any(looks)
    assert once / 400 <= 0.06 and again / 400 > 0.1


@pytest.fixture
def front(tmp_path):
    cal, test = {"task": {"split": "calibration"}}, {"task": {"split": "test"}}
    for tau, nfe, correct in ((0.7, 6, 290), (0.9, 10, 292)):
        write_run(tmp_path / f"cold{tau}", tau=tau, nfe=nfe, correct=correct, n=300, settings=cal)
    for name, nfe, correct in (("good", 4, 295), ("cheap", 2, 200), ("right", 9, 299)):
        write_run(
            tmp_path / name,
            init="token_inject",
            init_keys={"rho": nfe / 10},
            nfe=nfe,
            correct=correct,
            n=300,
            settings=cal,
        )
    write_run(
        tmp_path / "other",
        init="token_inject",
        init_keys={"rho": 0.1},
        n=300,
        correct=299,
        nfe=1,
        settings=test,
        questions_sha256="t",
    )
    return analyse(collect(tmp_path, "strict")[0])


@pytest.mark.parametrize(("rule", "name"), [("cheapest", "good"), ("accurate", "right"), ("saved", "good")])
def test_rules(front, rule, name):
    assert chosen(front, rule).point.folder.name == name


def test_what_cannot_be_confirmed(front, tmp_path):
    mine = next(run for run in front.runs if run.point.folder.name == "cheap")
    assert chosen(front, mine.point.run_id) is mine
    with pytest.raises(UserError, match="neither a run on the calibration split nor one of cheapest, saved, accurate"):
        chosen(front, "best")
    _once(tmp_path / "confirm.json", {"run": "one"})
    _once(tmp_path / "confirm.json", {"run": "one"})
    with pytest.raises(UserError, match="a second look at the same questions"):
        _once(tmp_path / "confirm.json", {"run": "two"})


def test_many_runs_on_the_test_split_are_named(tmp_path):
    test = {"task": {"split": "test"}}
    write_run(tmp_path / "cold", settings=test)
    write_run(tmp_path / "one", init="token_inject", init_keys={"rho": 0.1}, settings=test)
    assert not any("compared on the test split" in one for one in analyse(collect(tmp_path)[0]).caveats)
    two = write_run(tmp_path / "two", init="token_inject", init_keys={"rho": 0.3}, settings=test)
    (two / "calibration.json").write_text(json.dumps({"notes": {"splits": ["test"]}}))
    front = analyse(collect(tmp_path)[0])
    assert any(one.startswith("2 runs were compared on the test split") for one in front.caveats)
    assert any("1 run uses a trust map that was fitted on questions of the same split" in one for one in front.caveats)
    assert "Questions of the test split." in markdown(front)


def test_the_words_of_a_confirming_study():
    lines = [
        grid(["init=mask", "tau=0.7", "task.split=calibration"]),
        grid(["init=token_inject", "task.prompt=it's {question}"]),
    ]
    assert lines[0] == "'!init=mask' '!tau=0.7' '!task.split=test'"
    overrides = {"task": ["+sweep=threshold", "tau=0.7,0.9", "study.confirm=cheapest", "task.limit=8", "outputs=out"]}
    cfg = OmegaConf.create({"study": {**STUDY, "confirm": "cheapest"}, "hydra": {"overrides": overrides}})
    found = words(cfg, lines, "s-confirm")
    assert found[:4] == ["-m", "+sweep=threshold", "task.limit=8", "outputs=out"] and "study.name=s-confirm" in found
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (read,) = OverridesParser.create().parse_overrides([found[4]])
    assert [str(value) for value in read.value()] == lines


@pytest.mark.slow
def test_a_study_confirms_what_it_chose(quiet_home):
    import subprocess
    import sys

    asked = [
        "-m",
        "init=mask,token_inject",
        "tau=0.7",
        "proposer=lab_strong",
        "task.split=calibration",
        "task.limit=6",
        "outputs=out",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "warmexp", *asked, "study.name=s", "study.confirm=accurate"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(Path("out/studies/s-confirm/front/front.json").read_text())
    assert (
        {run["split"] for run in told["runs"]} == {"test"}
        and len(told["runs"]) == 2
        and told["plan"]["before_first_record"]
    )
    assert json.loads(Path("out/studies/s/confirm.json").read_text())["rule"] == "accurate"
