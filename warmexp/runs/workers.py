"""One run on several devices: a process per device takes questions from one list, and this process alone writes what
they find.

A process that ends before its time, killed or by an error, costs its run nothing: the others take over the questions
that it had. All of them end with this process, however it ends: each has a thread that reads what it is sent, and what
is closed is read at once. Between two runs they stay, and so do the models that they have loaded.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warmexp.errors import UserError

if TYPE_CHECKING:
    from warmexp.config.plan import Plan
    from warmexp.proposers.proposal import Encoded, Proposal
    from warmexp.tasks.task import TaskQuestion

# Run by Python in each process; nothing is imported before the search path is this process's own.
_START = """
import sys
from multiprocessing.connection import Connection
asked, told = Connection(int(sys.argv[1]), writable=False), Connection(int(sys.argv[2]), readable=False)
sys.path[:] = asked.recv()
from warmexp.runs.worker import work
work(asked, told)
"""
# What tells a process's libraries how many threads they may have: read when they are loaded.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(eq=False)
class Worker:
    """A process and the questions it has been given and not answered, by id.

    say, hear: the ends of two pipes. Two, because what a process had said before it was killed can then still be heard.
    """

    name: str
    process: subprocess.Popen
    say: Connection
    hear: Connection
    given: dict[str, TaskQuestion] = field(default_factory=dict)
    hungry: bool = False

    def tell(self, *message: Any) -> None:
        with suppress(OSError):  # it has ended, which is heard next
            self.say.send(message)

    def end(self) -> None:
        self.process.kill()
        with suppress(subprocess.TimeoutExpired):  # a driver may hold it a while longer
            self.process.wait(timeout=10)
        self.say.close()
        self.hear.close()


@dataclass
class Pool:
    """The processes of this one. had: question id -> name of the process that decoded it last, which may remember its
    forwards."""

    devices: tuple[str, ...] = ()
    workers: list[Worker] = field(default_factory=list)
    had: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def ready(self, devices: tuple[str, ...]) -> None:
        """A process for each device: those that are there, and new ones in the place of those that have ended."""
        if devices != self.devices:
            self.end()
        self.devices = devices
        there = {worker.name: worker for worker in self.workers}
        self.workers = [
            there.get(name) or _started(device, devices, name)
            for name, device in zip(_names(devices), devices, strict=True)
        ]

    def drop(self, worker: Worker) -> None:
        self.workers.remove(worker)
        worker.end()

    def end(self) -> None:
        for worker in self.workers:
            worker.end()
        self.workers, self.devices = [], ()
        self.had.clear()


pool = Pool()
end_workers = pool.end
atexit.register(end_workers)


def _names(devices: Sequence[str]) -> list[str]:
    """A device's name, numbered where it is there more than once."""
    times = [devices[: i + 1].count(device) for i, device in enumerate(devices)]
    return [
        f"{device} ({n})" if devices.count(device) > 1 else device for device, n in zip(devices, times, strict=True)
    ]


def _started(device: str, devices: tuple[str, ...], name: str) -> Worker:
    import torch

    threads = str(max(1, torch.get_num_threads() // len(devices)))
    asked, say = Pipe(duplex=False)
    hear, told = Pipe(duplex=False)
    process = subprocess.Popen(
        [sys.executable, "-c", _START, str(asked.fileno()), str(told.fileno())],
        env={**os.environ, **dict.fromkeys(_THREADS, threads)},
        pass_fds=(asked.fileno(), told.fileno()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        process_group=0,  # a Ctrl-C at the terminal is for this process, which ends the others
    )
    asked.close()
    told.close()
    worker = Worker(name, process, say, hear)
    with suppress(OSError):
        say.send(_search_path())
    worker.tell("device", device, int(threads))
    return worker


def _search_path() -> list[str]:
    """Where modules are looked for, wherever the working directory is; a package may have become trusted since a
    process was started."""
    return [entry or os.getcwd() for entry in sys.path]


def on_several(
    plan: Plan,
    questions: Sequence[TaskQuestion],
    proposal_of: Callable[[str], tuple[Proposal, Encoded] | None],
    note: Callable[..., None],
    say: Callable[[str], None],
) -> Iterator[tuple[TaskQuestion, dict[str, Any]]]:
    """Decode questions in the processes of the plan's devices.

    Args:
        proposal_of: a question's proposal by its id, None where it has none yet.
        note: told what is known of the devices whenever that is more: environment.json as one device's, then a part for
        each device.
        say: told of a process that ended before its time, and what the processes have to say.
    Yields:
        questions and their records, in the order in which they are finished.
    Raises:
        UserError: no process is left; what the first of them to fail said of it.
    """
    from warmexp.runs.run import free_own_backbone

    free_own_backbone()
    pool.ready(plan.devices)
    try:
        yield from _Round(plan, list(questions), proposal_of, note, say).results()
    except BaseException:
        pool.end()  # in the middle of something
        raise


def to_send(plan: Plan) -> Plan:
    """A plan without what belongs to this process."""
    proposer = copy(plan.proposer)
    vars(proposer).pop("say", None)  # to the user of this process
    return replace(plan, proposer=proposer, tracker=None)


class _Round:
    """One run's questions and who has them."""

    def __init__(self, plan, questions, proposal_of, note, say) -> None:
        from warmexp.runs.run import longest_row

        self.plan, self.proposal_of, self.note, self.say = plan, proposal_of, note, say
        self.waiting: list[TaskQuestion] = questions
        self.left = len(questions)
        self.facts: dict[str, dict[str, Any]] = {}
        self.failures: list[str] = []
        pool.runs += 1
        self.number = pool.runs
        # Questions are divided evenly: the first process to be ready would else put all of a short list into its batch.
        share = -(-len(questions) // len(pool.workers))
        job = pickle.dumps((to_send(plan), min(plan.batch_size, share), longest_row(plan, questions)))
        for worker in pool.workers:
            worker.given, worker.hungry = {}, False
            worker.tell("job", _search_path(), self.number, job)

    def results(self) -> Iterator[tuple[TaskQuestion, dict[str, Any]]]:
        while self.left:
            if not pool.workers:
                raise UserError(self._all_failed())
            workers = {worker.hear: worker for worker in pool.workers}
            for connection in wait(list(workers)):
                worker = workers[connection]
                try:
                    number, what, *content = connection.recv()
                except (EOFError, OSError):
                    self._lost(worker, _ending(worker.process))
                    continue
                if number != self.number:
                    continue  # it asked for another question when the last run was over
                if what == "record":
                    (record,) = content
                    self.left -= 1
                    pool.had[record["id"]] = worker.name
                    yield worker.given.pop(record["id"]), record
                elif what == "question?":
                    (worker.hungry,) = content
                    self._feed(worker)
                elif what == "ready":
                    (self.facts[worker.name],) = content
                    self._note()
                elif what == "say":
                    self.say(f"{worker.name}: {content[0]}")
                else:
                    self._lost(worker, *content)
        for worker in pool.workers:
            worker.tell("over")

    def _note(self) -> None:
        """Of a process that has not said anything yet, its device is known."""
        found = [
            self.facts.get(name, {"device": device})
            for name, device in zip(_names(self.plan.devices), self.plan.devices, strict=True)
        ]
        self.note(next(facts for facts in found if len(facts) > 1), found)

    def _feed(self, worker: Worker) -> None:
        """Answer a process that asked for a question. One that has nothing else to do waits until there is one: another
        may be lost."""
        if not self.waiting:
            if not worker.hungry:
                worker.tell("none")
            return
        mine = (q for q in self.waiting if pool.had.get(q.id, worker.name) == worker.name)
        question = next(mine, self.waiting[0])
        self.waiting.remove(question)
        worker.given[question.id] = question
        worker.hungry = False
        worker.tell("question", question.id, self.proposal_of(question.id))

    def _lost(self, worker: Worker, reason: str, trace: str = "") -> None:
        """A process has ended or is of no more use: its questions go to the others."""
        pool.drop(worker)
        if trace:
            reason += _kept(self.plan.folder / "traceback.txt", trace)
        self.failures.append(reason)
        given = list(worker.given.values())
        self.waiting = given + self.waiting
        if pool.workers:
            taken = f"; the others take over what it had ({len(given)} questions)" if given else "; the others go on"
            self.say(f"warning: the process for device={worker.name} ended: {reason}{taken}")
        for other in pool.workers:
            if other.hungry:
                self._feed(other)

    def _all_failed(self) -> str:
        reasons = list(dict.fromkeys(self.failures))
        kept = "what was decoded so far is kept, and the same command goes on from there."
        return f"device={','.join(self.plan.devices)}: every process ended ({'; '.join(reasons)}): {kept}"


def _ending(process: subprocess.Popen) -> str:
    status = process.wait()
    if status >= 0:
        return f"it ended with status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"it was killed by {name}" + (" (the system does so when memory is short)" if name == "SIGKILL" else "")


def _kept(file: Path, trace: str) -> str:
    """Where the traceback of a defect is, in words."""
    with suppress(OSError):
        file.write_text(trace, encoding="utf-8")
        return f" ({file})"
    return ""
