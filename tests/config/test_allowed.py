"""What a configuration may make run: known classes. Everything else that it names is refused before it is touched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.test_sinks import run_main
from warmexp.api import composed
from warmexp.config.allowed import CheckedLoader
from warmexp.errors import UserError

EVIL = "builtins.open"  # with an argument it leaves a file behind


@pytest.fixture
def place(quiet_home, monkeypatch) -> Path:
    """A folder for configurations of somebody else; the file `mark` in it says that something was run."""
    folder = quiet_home / "conf"
    (folder / "experiment").mkdir(parents=True)
    return folder


def refused(place: Path, monkeypatch, capfd, text: str, *words: str) -> str:
    """The sentence with which a run is refused whose experiment file is `text`."""
    (place / "experiment" / "evil.yaml").write_text("# @package _global_\n" + text.replace("MARK", str(place / "mark")))
    status = run_main(monkeypatch, *words, "--config-dir", str(place), "experiment=evil", "task.limit=1")
    said = capfd.readouterr().err
    assert status == 2 and said.startswith("warmexp: ") and "Traceback" not in said and said.count("\n") == 1, said
    assert not (place / "mark").exists() and not list(place.parent.glob("outputs/lab*"))
    return said


def logging_of(handler: str, key: str = "job_logging", more: str = "filters: {}") -> str:
    return f"hydra: {{{key}: {{version: 1, root: {{handlers: [h]}}, handlers: {{h: {{{handler}}}}}, {more}}}}}"


CALL = "{_target_: builtins.open, file: MARK, mode: w}"
NAMED = {
    "callback": f"hydra: {{callbacks: {{x: {CALL}}}}}",
    "callback with a nested one": f"hydra: {{callbacks: {{x: {{_target_: warmexp.studies.end.Asked, y: {CALL}}}}}}}",
    "callback in a list": f"hydra: {{callbacks: {{x: {{_target_: warmexp.studies.end.Asked, _args_: [{CALL}]}}}}}}",
    "callback from elsewhere": "study: {name: a}\nhydra: {callbacks: {x: '${oc.create:{_target_:builtins.open}}'}}",
    "callback by reference": "hydra: {callbacks: {x: '${task}'}}",
    "callback by a name that is put together": "hydra: {callbacks: {x: {_target_: 'builtins.${outputs}'}}}",
    "callback's name from the environment": "hydra: {callbacks: {x: {_target_: '${oc.env:HOME}'}}}",
    "launcher": f"hydra: {{launcher: {CALL}}}",
    "launcher's part": f"hydra: {{launcher: {{x: {CALL}}}}}",
    "sweeper": f"hydra: {{sweeper: {CALL}}}",
    "sweeper's part": f"hydra: {{sweeper: {{params: {{x: {CALL}}}}}}}",
    "another plugin": "hydra: {launcher: {_target_: hydra_plugins.evil.Launcher}}",
    "logging factory": logging_of("(): builtins.open, file: MARK, mode: w"),
    "hydra's logging factory": logging_of("(): builtins.open, file: MARK, mode: w", "hydra_logging"),
    "formatter's factory": logging_of("class: logging.StreamHandler", more="formatters: {f: {(): builtins.open, file: MARK, mode: w}}"),
    "logging class": logging_of("class: logging.handlers.SocketHandler, host: a, port: 1"),
    "logging object": logging_of("class: logging.StreamHandler, stream: 'ext://os.environ'"),
    "logging attribute": logging_of("class: logging.StreamHandler, '.': {a: b}"),
    "log that is no log": logging_of("class: logging.FileHandler, filename: MARK"),
    "log elsewhere": logging_of("class: logging.FileHandler, filename: MARK.log"),
    "log above": logging_of("class: logging.FileHandler, filename: '${hydra.runtime.output_dir}/../mark.log'"),
    "log that is emptied": logging_of("class: logging.FileHandler, mode: w, filename: '${hydra.runtime.output_dir}/x.log'"),
    "log by a name from elsewhere": "hydra: {job: {name: ../../mark}}",
    "place of logs": "hydra: {run: {dir: MARK}}",
    "format that reaches into objects": logging_of("class: logging.StreamHandler", more="formatters: {f: {format: '{a}', style: '{'}}"),
    "PATH": "hydra: {job: {env_set: {PATH: MARK}}}",
    "plugins": "hydra: {job: {env_set: {WARMEXP_PLUGINS: MARK}}}",
    "server": "hydra: {job: {env_set: {WANDB_BASE_URL: 'https://elsewhere.example'}}}",
}  # fmt: skip


@pytest.mark.parametrize("text", NAMED.values(), ids=NAMED)
def test_a_file_may_name_nothing_to_run(text, place, monkeypatch, capfd):
    assert "hydra." in refused(place, monkeypatch, capfd, text)


@pytest.mark.parametrize("name", ["callback", "logging factory", "PATH"])
def test_nor_in_a_study(name, place, monkeypatch, capfd):
    refused(place, monkeypatch, capfd, NAMED[name], "-m")


@pytest.mark.parametrize(
    "text",
    [
        "setup: ['touch MARK']",
        "additional_parameters: {wrap: 'touch MARK'}",
        "submitit_folder: MARK",
        "partition: |\n      gpu\n      touch MARK\n",
        "pre_dispatch: '__import__(\"os\")'",
        "temp_folder: MARK",
    ],
)
def test_commands_of_a_launcher_come_from_the_command_line_only(text, place, monkeypatch, capfd):
    kind = "local" if "dis" in text or "temp" in text else "slurm"
    sweep = f"defaults:\n  - override /hydra/launcher: {kind}\nhydra:\n  launcher:\n    {text}\n"
    said = refused(place, monkeypatch, capfd, sweep, "-m")
    assert "hydra.launcher." in said


def test_what_is_typed_may_set_them():
    words = ["hydra/launcher=slurm", "hydra.launcher.setup=[module load cuda]", "+hydra.job.env_set.MY_OWN=1"]
    composed(words)
    composed(["hydra/launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=1"])
    composed(["hydra/launcher=joblib"])
    composed(["hydra/launcher=submitit_local"])
    composed(["hydra/sweeper=search", "hydra/launcher=local"])
    for logging in ("default", "stdout", "none", "disabled"):
        composed(
            [f"hydra/job_logging={logging}", f"hydra/hydra_logging={logging}" if logging != "stdout" else "seed=1"]
        )


def test_a_log_in_the_output_folder_is_a_log(place, monkeypatch):
    text = logging_of("class: logging.FileHandler, filename: '${hydra.runtime.output_dir}/${hydra.job.name}.log'")
    (place / "experiment" / "own.yaml").write_text("# @package _global_\n" + text)
    composed([f"hydra.searchpath=[file://{place}]", "experiment=own"])
    composed(
        [
            f"hydra.searchpath=[file://{place}]",
            "experiment=own",
            "hydra.job_logging.handlers.h.filename=/elsewhere/x.log",
        ]
    )


SPELLED = [
    "${oc.env:MY_PLAIN_NAME}",
    "a ${oc.env:MY_PLAIN_NAME,x}",
    "${oc.env:${study.name}}",
    "${oc.decode:'${oc.env:MY_PLAIN_NAME}'}",
]


@pytest.mark.parametrize("spelled", SPELLED)
@pytest.mark.parametrize("words", [[], ["-m"]])
def test_a_file_may_not_read_the_environment(spelled, words, place, monkeypatch, capfd):
    """What it reads would stand in prompts and records that are shared."""
    monkeypatch.setenv("MY_PLAIN_NAME", "somebody")
    text = f'study: {{name: MY_PLAIN_NAME}}\ntask: {{split: "{spelled}"}}'
    said = refused(place, monkeypatch, capfd, text, *words)
    assert "} is refused in a configuration file" in said and said.startswith("warmexp: ${oc.env:")
    assert all("somebody" not in file.read_text() for file in place.parent.rglob("*.*") if file.is_file())


def test_the_command_line_may(place, monkeypatch):
    monkeypatch.setenv("MY_PLAIN_NAME", "somebody")
    cfg, _ = composed(["study.name=${oc.env:MY_PLAIN_NAME}"])
    assert cfg.study.name == "somebody"
    cfg, _ = composed(["tracker=wandb"])
    assert cfg.tracker.project == "warmexp"


def test_where_a_search_is_written_comes_from_the_command_line_only(place, monkeypatch, capfd):
    text, words = "hydra: {sweeper: {storage: 'sqlite:///MARK'}}", ("-m", "hydra/sweeper=search")
    assert "hydra.sweeper.storage is refused in a file" in refused(place, monkeypatch, capfd, text, *words)
    composed(["hydra/sweeper=search", "hydra.sweeper.storage=sqlite:///x.db"])


@pytest.mark.parametrize("how", ["hydra.searchpath=[pkg://EVIL]", "--config-path=pkg://EVIL", "in a file"])
def test_a_package_is_no_place_of_configurations(how, place, monkeypatch, capfd):
    name = "a_package_that_nobody_imports"
    package = place.parent / name
    package.mkdir()
    (package / "__init__.py").write_text(f"open({str(place / 'mark')!r}, 'w')")
    monkeypatch.syspath_prepend(str(place.parent))
    if how == "in a file":
        (place / "config.yaml").write_text(f"hydra: {{searchpath: ['pkg://{name}']}}")
        words = ["--config-path", str(place)]
    else:
        words = [how.replace("EVIL", name)]
    assert run_main(monkeypatch, *words, "task.limit=1") == 2
    assert not (place / "mark").exists() and name not in sys.modules
    assert f"pkg://{name} is refused" in capfd.readouterr().err


def test_a_worker_checks_too(quiet_home):
    """A launcher's processes compose each job again, with the loader that they are sent."""
    import pickle

    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    from warmexp.config.keys import conf_dir

    composed([])
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        loader = pickle.loads(pickle.dumps(GlobalHydra.instance().config_loader()))
        assert type(loader) is CheckedLoader
        master = loader.load_configuration("config", [], run_mode=_multirun())
        with pytest.raises(UserError, match=r"env_set\.PATH"):
            loader.load_sweep_config(
                master, ["+hydra.job.env_set.PATH=/tmp"]
            )  # as the grid of a study's file could say
        loader.load_sweep_config(master, ["++hydra.job.env_set.WARMEXP_IF_BUSY=return"])


def _multirun():
    from hydra.types import RunMode

    return RunMode.MULTIRUN


def test_a_group_builds_only_dataclasses_of_warmexp(place, monkeypatch, capfd):
    said = refused(place, monkeypatch, capfd, "init: {_target_: builtins.open, file: MARK, mode: w}")
    assert "init._target_=builtins.open" in said


def test_a_value_may_look_like_a_class():
    cfg, _ = composed(["task.limit=1", "+study.note=_target_", "tracker=wandb", "tracker.name=os.system"])
    assert cfg.tracker.name == "os.system"


@pytest.mark.parametrize("word", ["--experimental-rerun", "--experimental-rerun=", "--exp"])
def test_a_pickle_is_not_run_again(word, quiet_home, monkeypatch, capfd):
    file = quiet_home / "config.pickle"
    words = [word + str(file)] if word.endswith("=") else [word, str(file)]
    assert run_main(monkeypatch, *words) == 2
    said = capfd.readouterr().err
    assert said.startswith("warmexp: ") and "pickle" in said
