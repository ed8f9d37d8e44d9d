"""The search: its space is the schema's, its trials are ordinary runs, and asked for again it goes on."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import MissingConfigException
from omegaconf import OmegaConf

from tests.studies.launchers.records import command, said
from warmexp import __main__ as cli
from warmexp.config.allowed import check
from warmexp.config.messages import explain
from warmexp.errors import UserError
from warmexp.locks import Lock

optuna = pytest.importorskip("optuna", minversion="5.0", reason="optuna is not installed")

from warmexp.studies.search.queue import RUN, WORKER, Queue  # noqa: E402
from warmexp.studies.search.space import at, space_of  # noqa: E402
from warmexp.studies.search.storage import JOURNAL, opened  # noqa: E402

PLAIN = ["-m", "hydra/sweeper=search", "study.name=s", "task.limit=2"]
SEARCH = [*PLAIN, "hydra.sweeper.sampler=random"]
NO_BASELINE = "hydra.sweeper.baselines=0"


def ask(words: list[str], outputs: Path, monkeypatch, before: list[str] = SEARCH) -> int:
    """Run a command line in this process; its exit status."""
    monkeypatch.setattr(sys, "argv", ["warmexp", *before, *words, f"outputs={outputs}"])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture(autouse=True)
def no_front(monkeypatch):
    """What a study ends with is tested elsewhere, and takes longer than two questions."""
    monkeypatch.setattr("warmexp.studies.end._front", lambda *_: None)


def searched(outputs: Path, url: str | None = None) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=opened(outputs / "studies" / "s", url, look=True))


def trials(outputs: Path, state: str | None = None) -> list[optuna.trial.FrozenTrial]:
    return [trial for trial in searched(outputs).trials if state in (None, trial.state.name)]


def summaries(outputs: Path) -> dict[str, tuple[float, float]]:
    found = [json.loads(file.read_text()) for file in outputs.glob("*/summary.json")]
    return {s["run_id"]: (s["nfe_mean"], s["accuracy_flexible"]) for s in found}


@pytest.mark.slow
def test_trials_are_runs_keys_follow_the_choices_and_the_number_is_a_total(quiet_home, capsys, monkeypatch):
    space = ["init=mask,token_inject", "proposer=lab_weak,none", "tau=interval(0.6,0.95)", "rho=interval(0.1,0.5)"]
    out = quiet_home / "out"
    assert ask([*space, NO_BASELINE, "hydra.sweeper.n_trials=2"], out, monkeypatch) == 0
    before = {file: file.stat().st_mtime_ns for file in out.glob("*/records.jsonl")}
    assert len(before) == 2
    assert ask([*space, NO_BASELINE, "hydra.sweeper.n_trials=5"], out, monkeypatch) == 0
    text = capsys.readouterr().out
    assert "2 of 5 trials done" in text
    assert all(file.stat().st_mtime_ns == when for file, when in before.items()), "a finished trial is not touched"
    done = trials(out, "COMPLETE")
    assert len(done) == 5 == len({trial.user_attrs[RUN] for trial in done})
    assert {trial.user_attrs[RUN]: tuple(trial.values) for trial in done} == summaries(out)
    for trial in done:
        assert ("rho" in trial.params) == (trial.params["init"] == "token_inject"), (
            "a key is varied only where something reads it"
        )
    impossible = trials(out, "PRUNED")
    assert all((trial.params["init"], trial.params["proposer"]) == ("token_inject", "none") for trial in impossible), (
        "only the impossible"
    )


def test_the_baseline_comes_first_and_has_a_front(quiet_home, capsys, monkeypatch):
    """It is what savings are measured against, so it must be there at several settings."""
    out = quiet_home / "out"
    space = ["init=token_inject,mask", "remask=linear,none", "tau=interval(0.5,0.9)", "rho=interval(0.1,0.5)"]
    assert ask([*space, "hydra.sweeper.n_trials=4"], out, monkeypatch) == 0
    first = [trial.params for trial in trials(out, "COMPLETE")][:3]
    assert first == [{"init": "mask", "remask": "none", "tau": tau} for tau in (0.5, 0.7, 0.9)]
    assert "no trial of this search can be its baseline" not in capsys.readouterr().out


def test_a_space_without_the_baseline_says_so_and_a_selector_is_followed(quiet_home, capsys, monkeypatch):
    out, space = quiet_home / "out", ["init=token_inject", "tau=interval(0.5,0.9)", "hydra.sweeper.n_trials=1"]
    assert ask(space, out, monkeypatch) == 0
    assert (
        "no trial of this search can be its baseline (study.baseline='init=mask remask=none')"
        in capsys.readouterr().out
    )
    named = "study.baseline='init=mask | init=token_inject τ=0.8'"
    assert ask([*space, named, "study.name=named"], out, monkeypatch) == 0
    study = optuna.load_study(study_name="named", storage=opened(out / "studies" / "named", None, look=True))
    assert [trial.params for trial in study.trials] == [{"tau": 0.8}]


@pytest.mark.parametrize(
    "sampler",
    ["tpe", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gp", "nsgaii", "qmc", "random"))],
)
def test_a_search_that_is_cut_in_two_draws_what_it_would_have_drawn(sampler, quiet_home, monkeypatch):
    """The jobs are not decoded: this is about the values."""
    monkeypatch.setattr("warmexp.runs.run._run", _made_up)
    monkeypatch.setattr(cli, "end_study", lambda _: 0)
    space = ["init=mask,token_inject,embed_interp", "tau=interval(0.5,0.95)", "rho=interval(0.1,0.5)"]
    space += ["lambda=interval(0.1,0.7)", f"hydra.sweeper.sampler={sampler}", NO_BASELINE]
    drawn = []
    for name, totals in (("whole", (13,)), ("cut", (5, 13))):
        for total in totals:
            assert ask([*space, f"hydra.sweeper.n_trials={total}"], quiet_home / name, monkeypatch, PLAIN) == 0
        done = [trial for trial in trials(quiet_home / name, "COMPLETE") if RUN in trial.user_attrs]
        assert len({trial.user_attrs[RUN] for trial in done}) == len(done) == 13
        drawn.append([trial.params for trial in trials(quiet_home / name)])
    assert drawn[0] == drawn[1]


@pytest.mark.slow
def test_a_gaussian_process_is_told_what_it_repeats(quiet_home, monkeypatch):
    """Else it proposes the same until values are drawn at random; a repetition is no trial."""
    monkeypatch.setattr("warmexp.runs.run._run", _made_up)
    monkeypatch.setattr(cli, "end_study", lambda _: 0)
    space = ["init=mask,token_inject", "tau=choice(0.5,0.7,0.9)", "rho=choice(0.1,0.2,0.3)", NO_BASELINE]
    space += ["hydra.sweeper.sampler=gp", "hydra.sweeper.n_trials=12"]
    assert ask(space, quiet_home / "out", monkeypatch, PLAIN) == 0
    done = trials(quiet_home / "out", "COMPLETE")
    first = {trial.user_attrs[RUN]: trial.values for trial in done if RUN in trial.user_attrs}
    again = [trial for trial in done if RUN not in trial.user_attrs]
    assert len(first) == 12 and not trials(quiet_home / "out", "FAIL")
    for trial in again:
        assert trial.values == first[trial.user_attrs["why"].partition(" ")[0]]


def _made_up(plan, say, stop):
    """A run's summary as a function of its settings."""
    tau, cold = plan.config["unmask"]["tau"], plan.choices["init"] == "mask"
    summary = {"nfe_mean": 4 * tau + 2 * cold, "accuracy_flexible": tau**2 - 0.1 * cold}
    return {**summary, "run_id": plan.run_id}


def test_a_trial_that_was_killed_is_tried_again_with_its_values(quiet_home, capsys, monkeypatch):
    from hydra._internal.core_plugins.basic_launcher import BasicLauncher

    words, out = ["tau=interval(0.5,0.95)", "hydra.sweeper.n_trials=2", NO_BASELINE], quiet_home / "out"

    def dying(*_, **__):
        raise RuntimeError("power cut")

    with monkeypatch.context() as broken:
        broken.setattr(BasicLauncher, "launch", dying)
        assert ask(words, out, broken) == 2
    text = capsys.readouterr().err
    assert "the launcher gave up: RuntimeError: power cut" in text and "Traceback" not in text
    (killed,) = trials(out)
    assert ask(words, out, monkeypatch) == 0
    done = trials(out, "COMPLETE")
    assert len(done) == 2 and killed.params == done[0].params, "the killed one first"
    assert "failed" not in capsys.readouterr().err


def test_trials_that_fail_end_a_search_and_come_first_in_the_next(quiet_home, capsys, monkeypatch):
    words, out = ["tau=interval(0.5,0.95)", "hydra.sweeper.n_trials=2", NO_BASELINE], quiet_home / "out"

    def broken(*_):
        raise RuntimeError("no such weights")

    with monkeypatch.context() as patch:
        patch.setattr("warmexp.runs.run._run", broken)
        assert ask(words, out, patch) == 1
    assert "2 failed" in capsys.readouterr().err
    failed = [trial.params for trial in trials(out, "FAIL")]
    assert len(failed) == 2
    assert ask(words, out, monkeypatch) == 0
    assert [trial.params for trial in trials(out, "COMPLETE")] == failed


@pytest.mark.slow
def test_the_end_of_a_space_that_can_be_tried_is_an_end(quiet_home, capsys, monkeypatch):
    assert ask(["init=mask", "tau=0.7,0.9", "hydra.sweeper.n_trials=9"], quiet_home / "out", monkeypatch) == 0
    assert "ends early" in capsys.readouterr().out and len(summaries(quiet_home / "out")) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["init=mask,token_inject", "rho=interval(0.1,2)"], r"rho=2.0 is not in \[0, 1\]"),
        (["init=mask,embed_interp", "rho=interval(0.1,0.5)"], "rho is varied and nothing that can be chosen reads it"),
        (["tau=0.9"], "varies nothing"),
        (["tau=interval(0.9,0.5)"], r"tau=interval\(0.9,0.5\) is no interval"),
        (["tau=range(0.9,0.5,step=0.1)"], "has no values"),
        (["tau=0.7,0.9", "hydra.sweeper.sampler=cmaes"], "hydra.sweeper.sampler=cmaes"),
        (["tau=0.7,0.9", "hydra.sweeper.prune_after=0"], "hydra.sweeper.prune_after=0"),
        (["tau=0.7,0.9", "hydra.sweeper.constraints=['accuracy>=85']"], "constraints=accuracy>=85 is no limit"),
        (["tau=0.7,0.9", "hydra.sweeper.constraints=['speed>=1']"], "constraints=speed>=1 is no limit"),
        (
            ["tau=0.7,0.9", "hydra.sweeper.storage=nosuchbase://me:SECRETWORD@h/d"],
            "storage=nosuchbase://h/d cannot be opened",
        ),
        (["init=mask,nonsense"], "nonsense"),
        (["tau=0.7,0.9", "hydra/sweeper=optuna"], "write hydra/sweeper=search"),
    ],
)
def test_a_space_that_the_schema_does_not_allow_is_refused_before_the_first_trial(
    words, sentence, quiet_home, capsys, monkeypatch
):
    assert ask(words, quiet_home / "out", monkeypatch) == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1 and re.search(sentence, text), text
    assert "SECRETWORD" not in text
    assert not summaries(quiet_home / "out")


def test_a_range_has_the_values_that_it_has_in_a_grid(recwarn):
    words = ["tau=range(0.2,0.7,step=0.2)", "seed=range(1,6,step=2)", "rho=tag(log,interval(0.1,1))", "p=0,0.5,0"]
    varied = space_of([*words, "lambda=0.5,0.6", "lambda=0.3"]).varied
    assert varied == {
        "tau": optuna.distributions.FloatDistribution(0.2, 0.6, step=0.2),
        "seed": optuna.distributions.IntDistribution(1, 5, step=2),
        "rho": optuna.distributions.FloatDistribution(0.1, 1.0, log=True),
        "p": optuna.distributions.CategoricalDistribution(["0", "0.5"]),
    }
    assert [at(varied["tau"], share) for share in (0, 0.4, 1)] == [0.2, 0.4, 0.6] and at(varied["seed"], 0.5) == 3
    assert not recwarn.list


def test_a_file_that_asks_for_the_old_sweeper_hears_of_the_new_one():
    """Where its plugin is not installed, and where it is."""
    absent = MissingConfigException("", missing_cfg_file="hydra/sweeper/optuna", options=[])
    assert "write hydra/sweeper=search" in explain(absent)
    node = {"_target_": "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"}
    hydra = {"sweeper": node, "callbacks": {}, "launcher": {}, "job_logging": {}, "hydra_logging": {}}
    with pytest.raises(UserError, match="write hydra/sweeper=search"):
        check(OmegaConf.create({"hydra": hydra}), [])


def test_another_space_under_the_same_name_is_refused(quiet_home, capsys, monkeypatch):
    out = quiet_home / "out"
    assert ask(["tau=interval(0.5,0.95)", "hydra.sweeper.n_trials=1"], out, monkeypatch) == 0
    assert ask(["tau=interval(0.5,0.95)", "task.limit=3", "hydra.sweeper.n_trials=2"], out, monkeypatch) == 2
    assert "choose another study.name" in capsys.readouterr().err and len(summaries(out)) == 1


def test_a_dry_run_writes_nothing(quiet_home, capsys, monkeypatch):
    assert ask(["tau=interval(0.5,0.95)", "--dry-run"], quiet_home / "out", monkeypatch) == 0
    assert "0 of 30 trials done" in capsys.readouterr().out and not (quiet_home / "out").exists()


def test_what_a_trial_must_reach_is_told_to_the_sampler(quiet_home, monkeypatch):
    limits = "hydra.sweeper.constraints=['accuracy>=0.5','nfe<=4']"
    out = quiet_home / "out"
    assert ask(["tau=interval(0.5,0.95)", "hydra.sweeper.n_trials=2", limits], out, monkeypatch) == 0
    for trial in trials(out, "COMPLETE"):
        nfe, accuracy = trial.values
        assert trial.constraints == {"accuracy 0.5": 0.5 - accuracy, "nfe 4": nfe - 4}


def test_a_database_keeps_a_search_as_well(quiet_home, capsys, monkeypatch):
    out, url = quiet_home / "out", f"sqlite:///{quiet_home / 'search.db'}"
    words = ["tau=interval(0.5,0.95)", f"hydra.sweeper.storage='{url}'"]
    for total in (1, 2):
        assert ask([*words, f"hydra.sweeper.n_trials={total}"], out, monkeypatch) == 0
    assert "1 of 2 trials done" in capsys.readouterr().out
    assert len(searched(out, url).trials) == 2 == len(summaries(out))
    assert not (out / "studies" / "s" / JOURNAL).exists()


def test_a_torn_line_of_the_journal_is_cut_off(tmp_path):
    study = optuna.create_study(study_name="s", storage=opened(tmp_path, None, look=False))
    study.ask()
    file = tmp_path / JOURNAL
    file.write_bytes(file.read_bytes() + b'{"op_code":4,"wor')
    study = optuna.load_study(study_name="s", storage=opened(tmp_path, None, look=False))
    study.ask()
    assert len(optuna.load_study(study_name="s", storage=opened(tmp_path, None, look=False)).trials) == 2


def test_a_trial_of_a_living_process_is_left_alone_and_of_a_dead_one_taken_up(tmp_path):
    study = optuna.create_study(study_name="s", storage=opened(tmp_path, None, look=False))
    mine, other = Queue(study, tmp_path), Queue(study, tmp_path)
    trial = study.ask({"tau": optuna.distributions.FloatDistribution(0, 1)})
    trial.set_user_attr(WORKER, other.name)
    trial.set_user_attr(RUN, "some-run")
    with other.working():
        for failed in (True, False):
            mine.take_up(failed)
        assert mine.others() == 1 == len(study.trials) and mine.counted() == 1 and mine.tried() == {"some-run"}
    mine.take_up(failed=False)
    assert mine.others() == 0 == mine.counted() and mine.tried() == set()
    again = study.ask({"tau": optuna.distributions.FloatDistribution(0, 1)})
    assert again.params == trial.params
    mine.take_up(failed=True)
    assert len([one for one in study.trials if one.params == trial.params]) == 2, "once is enough"


def test_a_search_waits_for_the_trials_of_other_processes(quiet_home, capsys, monkeypatch):
    """Else the front that it ends with would call them failed."""
    out, words = quiet_home / "out", ["tau=interval(0.5,0.95)", NO_BASELINE]
    assert ask([*words, "hydra.sweeper.n_trials=1"], out, monkeypatch) == 0
    study, slept = searched(out), []
    theirs = study.ask()
    lock = Lock(out / "studies" / "s" / ".search-theirs.lock")
    lock.acquire()
    theirs.set_user_attr(WORKER, "theirs")
    theirs.set_user_attr(RUN, "theirs")

    def sleep(_):
        slept.append(True)
        if len(slept) == 2:
            study.tell(theirs, values=[3.0, 0.5])
            lock.release()

    monkeypatch.setattr("warmexp.studies.search.sweeper.sleep", sleep)
    assert ask([*words, "hydra.sweeper.n_trials=3"], out, monkeypatch) == 0
    assert len(slept) == 2 and "waiting for 1 trial of other processes" in capsys.readouterr().out
    assert len(trials(out, "COMPLETE")) == 3 and len(summaries(out)) == 2


def test_a_trial_behind_the_front_stops_early_keeps_its_records_and_is_no_failure(quiet_home, capsys, monkeypatch):
    from warmexp.studies.behind import Behind

    def behind(self, order, records):
        return f"after {len(records)} questions it lies wholly behind" if self._others else None

    words = ["tau=interval(0.5,0.95)", "task.limit=6", "batch_size=1", NO_BASELINE, "hydra.sweeper.prune_after=1"]
    out = quiet_home / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Behind, "__call__", behind)
        patch.setattr("warmexp.runs.run.SAVE_EVERY", 0.0)
        assert ask([*words, "hydra.sweeper.n_trials=3"], out, patch) == 0
    assert [trial.state.name for trial in trials(out)] == ["COMPLETE", "PRUNED", "PRUNED"], "they count"
    assert "stopped early, its records are kept: after 1 questions" in capsys.readouterr().out
    stopped = out / trials(out, "PRUNED")[0].user_attrs[RUN]
    kept = (stopped / "records.jsonl").read_text()
    assert kept.count("\n") == 1 and not (stopped / "summary.json").exists()
    assert ask([*words, "hydra.sweeper.n_trials=3"], out, monkeypatch) == 0
    assert "3 of 3 trials done, 2 of them stopped early" in capsys.readouterr().out
    tau = trials(out, "PRUNED")[0].params["tau"]
    monkeypatch.setattr(sys, "argv", ["warmexp", f"tau={tau:.4g}", "task.limit=6", f"outputs={out}"])
    cli.main()
    assert "1 of 6 questions were already decoded" in capsys.readouterr().out
    assert kept in (stopped / "records.jsonl").read_text() and (stopped / "summary.json").exists()


def test_optuna_is_loaded_by_a_search_alone():
    code = (
        "import sys; sys.argv[1:] = ['-m', 'tau=0.7,0.9', '--dry-run', 'task.limit=1']; from warmexp.__main__ import main;"
        " main(); print([name for name in ('optuna', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.stdout.endswith("[]\n"), done.stdout + done.stderr


@pytest.mark.slow
def test_a_search_killed_in_the_middle_goes_on_to_its_total(tmp_path):
    words = [
        *SEARCH,
        "tau=interval(0.5,0.95)",
        "task.limit=64",
        "hydra.sweeper.n_trials=4",
        "hydra.sweeper.prune_after=null",
    ]
    with command(words, tmp_path) as process:
        for line in process.stdout:
            if line.startswith("[2]"):
                process.kill()
    assert len(summaries(tmp_path)) == 2
    assert "2 of 4 trials done" in said(words, tmp_path) or len(trials(tmp_path)) > 4
    assert len(trials(tmp_path, "COMPLETE")) == 4


@pytest.mark.slow
def test_trials_in_two_processes_at_once(tmp_path):
    pytest.importorskip("joblib", reason="hydra-joblib-launcher is not installed")
    words = [*SEARCH, "tau=interval(0.5,0.95)", "hydra/launcher=local", "hydra.launcher.n_jobs=2"]
    said([*words, "hydra.sweeper.n_jobs=2", "hydra.sweeper.n_trials=4"], tmp_path)
    assert len(summaries(tmp_path)) == 4 == len(trials(tmp_path))


@pytest.mark.slow
def test_two_processes_work_at_one_search_and_a_third_ends_what_a_killed_one_left(tmp_path):
    words = [
        *PLAIN,
        "tau=interval(0.5,0.95)",
        "task.limit=48",
        "hydra.sweeper.n_trials=8",
        "hydra.sweeper.prune_after=null",
    ]
    with command(words, tmp_path) as one, command(words, tmp_path) as other:
        told = (line for line in one.stdout if line.startswith("["))
        next(told), next(told)  # the first is kept by now: a trial is told before it is kept
        one.kill()
        text = other.communicate(timeout=900)[0]
        assert other.returncode == 0, text
    done = trials(tmp_path, "COMPLETE")
    assert len(done) == 8 == len({trial.user_attrs[RUN] for trial in done}) == len(summaries(tmp_path))
    assert len({trial.user_attrs[WORKER] for trial in done}) == 2
