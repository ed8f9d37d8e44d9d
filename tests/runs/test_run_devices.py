"""One run on several devices: the records of one device, whatever becomes of the processes that decode."""

from __future__ import annotations

import json
import os
import pickle
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.studies.launchers.records import command
from tests.test_sinks import run_main
from warmexp.api import planned
from warmexp.config.devices import available_devices, joined
from warmexp.config.keys import GROUPS, options
from warmexp.config.plan import Plan
from warmexp.decode.strategy import BASES
from warmexp.errors import UserError
from warmexp.io import append_lines, read_lines
from warmexp.runs import workers
from warmexp.runs.devices import OWN
from warmexp.runs.run import run

TWO = "device=cpu,cpu"
NAMES = ("cpu (1)", "cpu (2)")


def base(checkpoint: Path, outputs: Path) -> list[str]:
    """A small run: random backbone, corrupted reference solutions injected, sceptical remasking."""
    return [
        "backbone=checkpoint", f"backbone.path={checkpoint}", "backbone.dtype=float64", "length.canvas_length=24", "length.block_length=8",
        "proposer=oracle", "proposer.corruption=0.3", "init=token_inject", "rho=0.5", "remask=linear", "remask.scope=all",
        "remask.bias=-0.6", "tau=0.5", "task.limit=9", "batch_size=2", "share=false", f"outputs={outputs}",
    ]  # fmt: skip


@pytest.fixture
def words(checkpoint, quiet_home) -> list[str]:
    return base(checkpoint, quiet_home / "outputs")


@pytest.fixture(scope="module")
def expected(checkpoint, tmp_path_factory) -> list[dict]:
    """The records of the run on one device."""
    one = planned([*base(checkpoint, tmp_path_factory.mktemp("one")), "device=cpu"])
    run(one, say=lambda _: None)
    return records(one.folder)


@pytest.fixture(scope="module", autouse=True)
def end():
    yield
    workers.end_workers()


@pytest.fixture
def disturbed(monkeypatch):
    """Processes that run some code before they begin to work: what goes wrong in a process has to go wrong inside
    it."""

    def disturb(code: str) -> None:
        workers.end_workers()
        monkeypatch.setattr(
            workers, "_START", workers._START.replace("work(asked, told)", code + "\nwork(asked, told)")
        )

    yield disturb
    workers.end_workers()


def records(folder: Path) -> list[dict]:
    """In the order of the file, without what only the clock and the runs before decide."""
    rows = read_lines(folder / "records.jsonl")
    for row in rows:
        for name in ("seconds", "seconds_forward", "remembered_forwards"):
            del row[name]
        (row["proposal"] or {}).pop("seconds", None)
    return rows


COMPOSITIONS = {
    "shared": ["share=true"],
    "cached": ["cache=dual", "length=eos_stop", "batch_size=64"],
    "plain": ["engine=plain"],
    "its own proposals": ["proposer=self"],
}


def composition(name: str, checkpoint: Path, outputs: Path) -> list[str]:
    """A composition's whole command line; a proposer of its own takes the place of the small run's."""
    more = COMPOSITIONS[name]
    kept = [
        word
        for word in base(checkpoint, outputs)
        if not (word.startswith("proposer") and any(m.startswith("proposer=") for m in more))
    ]
    return [*kept, *more]


@pytest.fixture(scope="module")
def alone(checkpoint, tmp_path_factory) -> dict[str, Plan]:
    """Every composition run on one device. All before any on two: a run on one device ends the processes of several."""
    outputs = tmp_path_factory.mktemp("alone")
    plans = {name: planned([*composition(name, checkpoint, outputs), "device=cpu"]) for name in COMPOSITIONS}
    for one in plans.values():
        run(one, say=lambda _: None)
    return plans


def both(name: str, alone: dict[str, Plan], checkpoint: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The folders of a run on one device and on two."""
    two = planned([*composition(name, checkpoint, tmp_path / "two"), TWO])
    assert alone[name].run_id == two.run_id
    run(two, say=lambda _: None)
    return alone[name].folder, two.folder


@pytest.mark.parametrize(
    "name", ["shared", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cached", "plain"))]
)
def test_the_records_of_two_devices_are_those_of_one(name, alone, checkpoint, quiet_home):
    one, two = both(name, alone, checkpoint, quiet_home)
    assert len(records(two)) == 9 and records(one) == records(two)
    first, second = (json.loads((folder / "environment.json").read_text()) for folder in (one, two))
    assert [d["device"] for d in second["devices"]] == ["cpu", "cpu"] and second["device"] == "cpu,cpu"
    assert set(second) - set(first) == {"devices"} and "device: cpu,cpu" in (two / "config.yaml").read_text()
    totals = [json.loads((folder / "summary.json").read_text()) for folder in (one, two)]
    assert all(totals[0][k] == totals[1][k] for k in totals[0] if "second" not in k and not k.startswith("remembered"))


def test_the_backbones_own_proposals_are_made_where_they_are_decoded(alone, checkpoint, quiet_home):
    one, two = both("its own proposals", alone, checkpoint, quiet_home)
    assert len(records(two)) == 9 and records(one) == records(two)


@pytest.mark.slow
def test_a_proposer_is_asked_once(words):
    words = [word for word in words if not word.startswith("proposer")]
    two = planned([*words, "proposer=lab_weak", TWO]).folder
    run(planned([*words, "proposer=lab_weak", TWO]), say=lambda _: None)
    assert all(row["proposal"]["text"] for row in records(two))
    (store,) = (two.parent / "proposals").glob("*.jsonl")
    assert len({row["prompt_sha256"] for row in read_lines(store)}) == len(read_lines(store)) == 9


def test_processes_stay_for_the_next_run_and_remember_forwards(words):
    words = [*(word for word in words if word != "share=false"), "share=true"]
    first, second, alone = (
        planned([*words, *more]) for more in ([TWO], [TWO, "tau=0.55"], ["device=cpu", "tau=0.6", "task.limit=2"])
    )
    run(first, say=lambda _: None)
    before = [worker.process.pid for worker in workers.pool.workers]
    run(second, say=lambda _: None)
    assert [worker.process.pid for worker in workers.pool.workers] == before and len(before) == 2
    assert sum(row["remembered_forwards"] for row in read_lines(second.folder / "records.jsonl")) > 0
    run(alone, say=lambda _: None)
    assert not workers.pool.workers, "one device needs the memory"
    assert not any(Path(f"/proc/{pid}").exists() for pid in before)


@pytest.mark.slow
def test_a_method_from_outside_reaches_processes_that_were_there_before(words, monkeypatch):
    monkeypatch.setenv("WARMEXP_PLUGINS", "")
    run(planned([*words, TWO, "task.limit=2"]), say=lambda _: None)
    before = [worker.process.pid for worker in workers.pool.workers]
    words = [word for word in words if word != "tau=0.5"]
    made = planned(
        [
            *words,
            TWO,
            "task.limit=2",
            f"plugins=[{Path(__file__).parents[2] / 'examples' / 'mymethods'}]",
            "unmask=margin",
        ]
    )
    assert run(made, say=lambda _: None)["n"] == 2
    assert [worker.process.pid for worker in workers.pool.workers] == before


def killing(monkeypatch, which: list[int]) -> None:
    """Kill processes with a signal when the first records are written."""

    def append(file, rows):
        append_lines(file, rows)
        while which:
            workers.pool.workers[which.pop()].process.kill()

    monkeypatch.setattr("warmexp.runs.run.append_lines", append)
    monkeypatch.setattr("warmexp.runs.run.SAVE_EVERY", 0)


def test_what_a_killed_process_had_is_done_by_the_others(words, expected, monkeypatch):
    two = planned([*words, TWO])
    killing(monkeypatch, [0])
    said: list[str] = []
    run(two, said.append)
    assert [s for s in said if "SIGKILL" in s and NAMES[0] in s and "the others" in s]
    assert records(two.folder) == expected
    run(planned([*words, TWO, "seed=1", "task.limit=2"]), say=lambda _: None)
    assert [worker.name for worker in workers.pool.workers] == list(NAMES), "the next run has all devices again"


@pytest.mark.slow
def test_when_all_are_killed_what_was_decoded_is_kept(words, expected, monkeypatch):
    two = planned([*words, TWO])
    killing(monkeypatch, [0, 1])
    with pytest.raises(
        UserError, match=r"device=cpu,cpu: every process ended \(it was killed by SIGKILL .*goes on from there"
    ):
        run(two, say=lambda _: None)
    assert 0 < len(read_lines(two.folder / "records.jsonl")) < 9
    assert not workers.pool.workers
    said: list[str] = []
    run(two, said.append)
    assert any("resumed" in s for s in said) and records(two.folder) == expected


# A process fails at its third question; the next one that gets so far does not, if a file says that one has failed.
FAILS = """
import os, warmexp.runs.run
real = warmexp.runs.run.stream
def fail():
    if os.path.exists({file!r}):
        return
    {note}
    {failure}
def stream(*arguments):
    for i, one in enumerate(real(*arguments)):
        if i == 2:
            fail()
        yield one
warmexp.runs.run.stream = stream
"""


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        ("raise RuntimeError('CUDA error: 719')", "RuntimeError: CUDA error: 719"),
        pytest.param("os._exit(3)", "status 3", marks=pytest.mark.slow),
    ],
)
def test_an_error_in_one_process_is_one_sentence_and_loses_nothing(words, expected, tmp_path, disturbed, failure, told):
    file = str(tmp_path / "failed")
    disturbed(FAILS.format(file=file, note=f"os.close(os.open({file!r}, os.O_CREAT | os.O_EXCL))", failure=failure))
    said: list[str] = []
    two = planned([*words, TWO])
    run(two, said.append)
    assert Path(file).exists() and records(two.folder) == expected
    (sentence,) = [s for s in said if "ended" in s]
    assert told in sentence and "the others" in sentence and "\n" not in sentence
    if "Runtime" in failure:
        assert (
            "in stream" in (two.folder / "traceback.txt").read_text() and str(two.folder / "traceback.txt") in sentence
        )


@pytest.mark.slow
def test_an_error_in_all_processes_is_one_sentence_and_loses_nothing(words, tmp_path, disturbed):
    disturbed(FAILS.format(file="", note="", failure="raise ValueError('no')"))
    two = planned([*words, TWO])
    with pytest.raises(UserError, match=r"every process ended \(ValueError: no \(.*goes on from there") as caught:
        run(two, say=lambda _: None)
    assert "\n" not in str(caught.value) and len(read_lines(two.folder / "records.jsonl")) >= 4


OUT_OF_MEMORY = """
import torch, warmexp.runs.run
real = warmexp.runs.run.stream
def stream(backbone, questions, strategies, seed, meter, size):
    done = real(backbone, questions, strategies, seed, meter, size)
    if size > 1:
        yield next(done)
        raise torch.OutOfMemoryError("CUDA out of memory.")
    yield from done
warmexp.runs.run.stream = stream
"""


@pytest.mark.slow
def test_each_process_halves_its_own_batches(words, expected, disturbed):
    disturbed(OUT_OF_MEMORY)
    said: list[str] = []
    two = planned([*words, TWO, "batch_size=4"])
    run(two, said.append)
    assert records(two.folder) == expected
    halved = {s for s in said if "out of memory" in s}
    assert halved and halved <= {
        f"{name}: out of memory at batch size {n}: going on with {after}"
        for name in NAMES
        for n, after in ((4, 2), (3, 2), (2, 1))  # 3: what the other process had left
    }


def children(pid: int) -> list[int]:
    """The processes that decode for another one."""
    found = [int(word) for file in Path(f"/proc/{pid}/task").glob("*/children") for word in file.read_text().split()]
    return [child for child in found if b"warmexp.runs.worker" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_all_processes_end_with_their_parent_and_the_run_goes_on_later(words, tmp_path, ending):
    words = [*words, "task.limit=32", "length.canvas_length=64", "batch_size=4"]
    one = planned([*words, "device=cpu"])
    outputs = tmp_path / "two"
    file = outputs / one.run_id / "records.jsonl"
    with command([*words, TWO], outputs) as process:
        deadline = time.monotonic() + 600
        while (
            time.monotonic() < deadline
            and process.poll() is None
            and (not file.exists() or file.read_bytes().count(b"\n") < 3)
        ):
            time.sleep(0.01)
        decoding = children(process.pid)
        os.kill(process.pid, ending)
        text, _ = process.communicate(timeout=300)
    assert process.returncode == {signal.SIGINT: 130}.get(ending, -ending), text
    assert "Traceback" not in text
    done = len(read_lines(file))
    assert len(decoding) == 2 and 3 <= done < 32 and not (file.parent / "summary.json").exists()
    deadline = time.monotonic() + 100
    while any(Path(f"/proc/{pid}").exists() for pid in decoding) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in decoding if Path(f"/proc/{pid}").exists()]
    said: list[str] = []
    run(one, say=lambda _: None)
    run(planned([*words, TWO, f"outputs={outputs}"]), said.append)
    assert any(f"{done} of 32" in s for s in said) and records(file.parent) == records(one.folder)


FORMS = [
    "device=cpu,cpu",
    "device=[cpu,cpu]",
    "device=[cpu, cpu]",
    "device='cpu,cpu'",
    "device='cpu, cpu'",
    "device=cpu, cpu",
]


@pytest.mark.parametrize("form", FORMS)
def test_how_devices_are_written(form):
    made = planned([form, "task.limit=2"])
    assert made.devices == ("cpu", "cpu") and made.device == "cpu" and made.config["device"] == "cpu,cpu"
    assert made.run_id == planned(["device=cpu", "task.limit=2"]).run_id


@pytest.mark.parametrize("flag", [[], ["-m"]])
def test_a_comma_between_devices_is_no_sweep(flag, tmp_path, monkeypatch, capsys):
    words = [*flag, "device=cpu,cpu", "tau=0.7", "task.limit=2", "--dry-run", f"outputs={tmp_path}"]
    assert run_main(monkeypatch, *words) == 0
    said = capsys.readouterr().out
    assert "1 jobs" in said and "folded" not in said


@pytest.mark.parametrize(
    "word", ["device=choice(cpu,cuda)", "device=cpu", "tau=0.7,0.9", "device=[a,b]", "hydra.device=a,b"]
)
def test_other_words_stay_as_they_are(word):
    assert joined(word) == word


@pytest.fixture
def three_gpus(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)


def test_all_cuda_devices(three_gpus):
    assert available_devices("cuda:all") == ("cuda:0", "cuda:1", "cuda:2")
    assert available_devices("cuda:2,cuda:0") == ("cuda:2", "cuda:0")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "is not a list of devices"),
        (["cpu", None], "is not a list of devices"),
        (["cpu", 1], "is not a list of devices"),
        ("cpu,", "is not a list of devices"),
        ("cuda:0,cuda:3", "device=cuda:3 is not there (3 CUDA devices found)"),
        ("cuda:0,auto", "write each by its number"),
        ("cuda:all,cuda:0", "write each by its number"),
        ("cuda:0,cpu", "choose devices of one kind"),
        ("cuda:0,gpu1", "device=gpu1 is not a device"),
    ],
)
def test_devices_that_make_no_sense_are_one_sentence(three_gpus, value, sentence):
    with pytest.raises(UserError) as caught:
        available_devices(value)
    assert sentence in str(caught.value) and str(caught.value).startswith("device=")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("hydra._internal.core_plugins.BasicLauncher", ("cuda:0", ("cuda:0", "cuda:2"))),
        ("hydra_plugins.warmexp_launchers.Slurm", ("cuda:0", ("cuda:0", "cuda:2"))),
        ("hydra_plugins.warmexp_launchers.Local", (OWN, ("cuda:0", "cuda:2"))),
        ("hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher", (OWN, ("cuda:0", "cuda:2"))),
    ],
)
def test_a_launcher_of_several_processes_divides_a_list_of_devices_between_its_jobs(three_gpus, target, expected):
    from warmexp.studies.job import _apart

    made = planned(["device=cuda:0,cuda:2", "task.limit=2"])
    runtime = SimpleNamespace(launcher=SimpleNamespace(_target_=target))
    apart = _apart(made, runtime)
    assert (apart.device, apart.devices) == expected


def test_a_job_takes_one_device_of_its_list(three_gpus, monkeypatch, tmp_path):
    from warmexp.runs import devices

    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(devices, "_devices", lambda: {f"cuda:{i}": f"GPU-{i}" for i in range(3)})
    monkeypatch.setattr(devices, "_last", [])
    apart = replace(planned(["device=cuda:1,cuda:2", "task.limit=2"]), device=OWN)
    with devices.placed(apart, print) as one, devices.placed(apart, print) as other:
        assert [(p.device, p.devices) for p in (one, other)] == [("cuda:1", ("cuda:1",)), ("cuda:2", ("cuda:2",))]


METHODS = [group for group in GROUPS if group in BASES]


@pytest.mark.parametrize(
    ("groups", "least"),
    [
        pytest.param([group for group in GROUPS if group not in BASES], 5, marks=pytest.mark.slow),
        (["init", "cache"], 5),
        pytest.param(METHODS, 20, marks=pytest.mark.slow),
    ],
    ids=["what is no method", "some methods", "all methods"],
)
def test_every_option_can_be_sent_to_another_process(groups, least):
    """What a method holds is pickled in tests/conformance too."""
    sent = 0
    for group in groups:
        for option in options(group):
            try:
                made = planned(["init=token_inject", "task.limit=2", f"{group}={option}"], multirun=True)
            except UserError:  # needs a file, a network or another option
                continue
            there = pickle.loads(pickle.dumps(workers.to_send(made)))
            assert there.run_id == made.run_id and there.prompts == made.prompts
            sent += 1
    assert sent >= least
