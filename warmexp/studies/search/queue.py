"""The trials of a search, which several processes may work at: which of them count, and whose process has died."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import Timeout
from optuna import Study
from optuna.trial import FrozenTrial, TrialState

from warmexp.locks import Lock

# What is written down of a trial: the run that it is, the process that works at it, the trial that it repeats.
RUN, WORKER, AGAIN, BASELINE, WHY = "run_id", "worker", "repeats", "baseline", "why"


class Queue:
    """Of one process. Whatever reads and then writes is done while `held`."""

    def __init__(self, study: Study, folder: Path):
        self.study, self._folder = study, folder
        self.name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._lock = Lock(folder / ".search.lock")

    def held(self) -> Lock:
        """Held while a trial is chosen, so that no two processes choose the same run."""
        return self._lock

    @contextmanager
    def working(self) -> Iterator[None]:
        """This process is at work: the operating system lets go of its lock however it ends."""
        file = self._file(self.name)
        with Lock(file):
            try:
                yield
            finally:
                file.unlink(missing_ok=True)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states or None)

    def counted(self) -> int:
        """The trials that the total counts: finished, stopped early or at work; not those that were drawn in vain."""
        states = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING
        return sum(RUN in trial.user_attrs for trial in self.trials(*states))

    def tried(self) -> set[str]:
        """The runs that no other trial should be."""
        states = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING
        return {trial.user_attrs[RUN] for trial in self.trials(*states) if RUN in trial.user_attrs}

    def values(self, run_id: str) -> list[float] | None:
        """What a run came to, where it was finished."""
        done = self.trials(TrialState.COMPLETE)
        return next((trial.values for trial in done if trial.user_attrs.get(RUN) == run_id), None)

    def others(self) -> int:
        """How many trials other processes are at."""
        return len(self.trials(TrialState.RUNNING))

    def best(self) -> list[str]:
        """The runs on the front of what is finished."""
        return [trial.user_attrs[RUN] for trial in self.study.best_trials if RUN in trial.user_attrs]

    def ask_for(self, values: dict[str, Any], **about: Any) -> None:
        """Put a trial first in the queue."""
        self.study.enqueue_trial(values, user_attrs=about)

    def take_up(self, failed: bool) -> list[int]:
        """Put trials whose process has died first in the queue, with their values: their runs go on where they stopped.

        failed: those that failed too.
        Returns:
            their numbers.
        """
        for trial in self.trials(TrialState.RUNNING):
            if self._dead(trial.user_attrs.get(WORKER)):
                self.study.tell(trial.number, state=TrialState.FAIL)
                if not failed:
                    self._again(trial)
        if not failed:
            return []
        repeated = {trial.user_attrs.get(AGAIN) for trial in self.trials()}
        again = [
            trial
            for trial in self.trials(TrialState.FAIL)
            if trial.number not in repeated and WHY not in trial.user_attrs
        ]
        for trial in again:
            self._again(trial)
        return [trial.number for trial in again]

    def _again(self, trial: FrozenTrial) -> None:
        values = trial.system_attrs.get("fixed_params", {}) | trial.params
        # One that was being drawn when its process died is drawn again like any other, unless it was asked for.
        if RUN in trial.user_attrs or "fixed_params" in trial.system_attrs:
            self.ask_for(values, **{AGAIN: trial.number})

    def _dead(self, worker: str | None) -> bool:
        """Whether the process that a trial was drawn by is gone."""
        if worker == self.name:
            return False
        file = self._file(worker) if worker else None
        if file is None or not file.exists():
            return True
        lock = Lock(file)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
        lock.release()
        file.unlink(missing_ok=True)
        return True

    def _file(self, worker: str) -> Path:
        return self._folder / f".search-{Path(worker).name}.lock"
