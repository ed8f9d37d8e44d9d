"""Kill a command again and again, at random moments, until it has done its work; count records that were lost or that
came twice.

    python -m tests.runs.kills --kills 20 --seed 0 --ways plain,devices,wandb,local,search

A server that has imported everything forks a process per command, so that a kill meets the work and not the imports.
Half of the signals are SIGKILL, half SIGTERM; they go to the command's own process, to one of its children, or to all
of them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.checkpoints import write_checkpoint
from tests.studies.launchers.records import records as of_all

QUESTIONS = 16
WAYS = {
    "plain": ["tau=0.5"],
    "devices": ["tau=0.5", "device=cpu,cpu"],
    "wandb": ["tau=0.5", "tracker=wandb", "tracker.mode=offline"],
    "local": ["-m", "tau=0.5,0.6,0.7", "hydra/launcher=local", "hydra.launcher.n_jobs=2"],
    "search": [
        "-m",
        "hydra/sweeper=search",
        "hydra.sweeper.sampler=random",
        "hydra.sweeper.n_trials=3",
        "tau=0.5,0.6,0.7",
        "study.name=s",
    ],
}
SERVER = """
import os, sys
import warmexp.__main__, warmexp.runs.run, warmexp.runs.figure, warmexp.analysis, scipy.stats, matplotlib.pyplot
for line in sys.stdin:
    log, *words = eval(line)
    child = os.fork()
    if child == 0:
        os.setsid()
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0), os.dup2(out, 1), os.dup2(out, 2)
        sys.argv[1:] = words
        status = 0
        try:
            warmexp.__main__.main()
        except SystemExit as end:
            status = end.code or 0
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Server:
    """Starts commands, one at a time, each in a session of its own."""

    def __init__(self, log: Path):
        self.log = log
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=pipe, stdout=pipe, text=True, env=environment
        )

    def start(self, words: list[str]) -> int:
        """The command's process id."""
        self.process.stdin.write(f"{[str(self.log), *words]!r}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def wait(self) -> int:
        """The command's status, once it has ended."""
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def arguments(way: str, checkpoint: Path, outputs: Path) -> list[str]:
    """A run (or study) of a small random backbone that reads corrupted proposals and revokes."""
    return [
        *WAYS[way], "backbone=checkpoint", f"backbone.path={checkpoint}", "length.canvas_length=64", "length.block_length=16",
        "proposer=oracle", "proposer.corruption=0.3", "init=token_inject", "rho=0.3", "remask=linear", "remask.scope=all",
        "remask.bias=-0.6", f"task.limit={QUESTIONS}", "batch_size=2", f"outputs={outputs}",
    ]  # fmt: skip


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in file.read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def on_disk(outputs: Path) -> dict[tuple[str, str], int]:
    """(run id, question) -> how many whole lines of its records.jsonl are about it. A line that is not whole is the
    last one."""
    times: Counter[tuple[str, str]] = Counter()
    for file in outputs.glob("*/records.jsonl"):
        for line in file.read_bytes().split(b"\n")[:-1]:
            times[file.parent.name, json.loads(line)["id"]] += 1
    return times


class Torn:
    """A command that is killed: what was on the disk at any kill has to be there after the next one."""

    def __init__(self, way: str, server: Server, checkpoint: Path, folder: Path, draw: random.Random):
        self.way, self.server, self.checkpoint, self.folder, self.draw = way, server, checkpoint, folder, draw
        self.kills = self.rounds = self.lost = self.doubled = self.wrong = self.torn = 0
        self.tell = False  # after every round
        self.expected = self._undisturbed()

    def _undisturbed(self) -> dict[str, list]:
        outputs = self.folder / "undisturbed"
        self.server.start(arguments(self.way, self.checkpoint, outputs))
        assert self.server.wait() == 0, self.server.log.read_text()
        return of_all(outputs)

    def kill(self, kills: int) -> None:
        """Rounds of one run (or study) each, killed until `kills` signals were sent, then left to finish and
        compared."""
        while self.kills < kills:
            self.rounds += 1
            outputs = self.folder / f"round {self.rounds}"
            before: dict[tuple[str, str], int] = {}
            finished = False
            while not finished:
                finished = self._once(outputs, self.kills < kills)
                now = on_disk(outputs)
                self.lost += len(set(before) - set(now))
                self.doubled += sum(times > 1 for times in now.values())
                before = now
            found = of_all(outputs)
            self.wrong += sum(found.get(run) != rows for run, rows in self.expected.items()) + len(
                set(found) - set(self.expected)
            )
            if self.tell:
                print(self, flush=True)

    def _once(self, outputs: Path, disturb: bool) -> bool:
        """One command; whether it came to its end."""
        pid = self.server.start(arguments(self.way, self.checkpoint, outputs))
        if not disturb:
            status = self.server.wait()
            assert status == 0, self.server.log.read_text()[-3000:]
            return True
        there, wanted = sum(on_disk(outputs).values()), self.draw.randint(0, 6)
        number, target = (
            self.draw.choice((signal.SIGKILL, signal.SIGTERM)),
            self.draw.choice(("itself", "itself", "child", "all")),
        )
        later = self.draw.random() * self.draw.choice((0.01, 0.3))
        # Some records after those that are there, and a moment; or the end of the command.
        while Path(f"/proc/{pid}").exists() and _alive(pid) and sum(on_disk(outputs).values()) < there + wanted:
            time.sleep(0.02)
        time.sleep(later)
        family = descendants(pid)
        hit = {"itself": [pid], "child": [self.draw.choice(family)] if family else [pid], "all": [*family, pid]}[target]
        sent = 0
        for one in hit:
            with suppress(ProcessLookupError):
                os.kill(one, number)
                sent = 1
        self.kills += sent
        self.torn += any(
            not file.read_bytes().endswith(b"\n") for file in outputs.glob("*/records.jsonl") if file.stat().st_size
        )
        if target == "child":
            time.sleep(self.draw.random())
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL) if self.draw.random() < 0.5 else None
        return self.server.wait() == 0

    def __str__(self) -> str:
        return (
            f"{self.way}: {self.kills} kills in {self.rounds} rounds: {self.lost} records lost, {self.doubled} doubled,"
            f" {self.wrong} runs with other records, {self.torn} torn lines seen"
        )


def _alive(pid: int) -> bool:
    """Whether a process that its parent has not waited for yet still runs."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20, help="of each way")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ways", default=",".join(WAYS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = write_checkpoint(Path(folder) / "checkpoint")
        for way in options.ways.split(","):
            server = Server(Path(folder) / f"{way}.log")
            torn = Torn(way, server, checkpoint, Path(folder) / way, random.Random(f"{options.seed} {way}"))
            torn.tell, started = True, time.monotonic()
            torn.kill(options.kills)
            server.close()
            print(f"{torn} ({time.monotonic() - started:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
