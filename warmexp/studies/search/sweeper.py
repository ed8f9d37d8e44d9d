"""The sweeper of a search: choose trials, launch them as jobs of the study, tell Optuna what became of them.

Beside it, `space` says what varies, `samplers` who proposes values, `storage` where trials are kept, `queue` which
trial is next and whose process has died, `baselines` which come first, `limits` what a trial must reach. Only a search
loads Optuna, an extra, so this folder is no package that is imported as a whole.

The number of trials is a total, kept where the trials are, so a search that was killed goes on; the space is held to
the schema (every end of it must be a valid value, a key is varied only where the chosen options read it, what cannot be
run is drawn again); and a run that was tried is not tried twice.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from time import sleep
from typing import Any

import optuna
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import distribution_to_json
from optuna.exceptions import ExperimentalWarning
from optuna.trial import Trial, TrialState

from warmexp.config.keys import baseline_of, reads
from warmexp.console import show
from warmexp.errors import UserError, check_choice, check_range
from warmexp.studies.behind import BEHIND, STOPPED, said_behind
from warmexp.studies.folder import Job, StudyFolder
from warmexp.studies.named import essence
from warmexp.studies.search.baselines import baselines
from warmexp.studies.search.limits import limits_of
from warmexp.studies.search.queue import BASELINE, RUN, WHY, WORKER, Queue
from warmexp.studies.search.samplers import FLAT, NAMES, REPEATED, sampler
from warmexp.studies.search.space import ends, is_group, space_of, suggested, word
from warmexp.studies.search.storage import opened
from warmexp.studies.sweep import given_up, point_of, value_of

OBJECTIVES = ["minimize", "maximize"]  # forwards per question, share of right answers: what a job returns
# How often a draw that is impossible or was tried already is drawn again before the space counts as exhausted; from the
# middle on at random, since a sampler may insist.
_DRAWS = 20
_POLL_SECONDS = 1.0
# What may change between two calls of the same search, because it does not change what is found.
_NEUTRAL = ("hydra", "device", "batch_size", "outputs", "tracker", "study")


class Trials(Sweeper):
    """The arguments are the keys of conf/hydra/sweeper/search.yaml."""

    def __init__(
        self,
        n_trials: int,
        n_jobs: int,
        sampler: str,
        seed: int,
        storage: str | None,
        constraints: Sequence[str],
        prune_after: int | None,
        baselines: int,
        params: Any,
        dry_run: bool,
    ):
        check_choice("hydra.sweeper.sampler", sampler, NAMES)
        check_range("hydra.sweeper.n_trials", n_trials, 1, 10**6, "the number of trials in all")
        check_range("hydra.sweeper.n_jobs", n_jobs, 1, 10**4, "the number of trials launched together")
        check_range("hydra.sweeper.baselines", baselines, 0, 10**4, "the number of trials of the baseline")
        if prune_after is not None:
            check_range("hydra.sweeper.prune_after", prune_after, 1, 10**9, "questions, or null to stop no trial early")
        self.n_trials, self.n_jobs, self.sampler, self.seed = n_trials, n_jobs, sampler, seed
        self.storage, self.limits, self.prune_after = storage, limits_of(constraints or ()), prune_after
        self.baselines, self.params, self.dry_run = baselines, params, dry_run

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            config=config, hydra_context=hydra_context, task_function=task_function
        )

    def sweep(self, arguments: list[str]) -> None:
        """Carry out the trials that are missing."""
        self.space = space_of([*(f"{key}={value}" for key, value in (self.params or {}).items()), *arguments])
        self.folder = StudyFolder(self.config.hydra.sweep.dir)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._search(self.folder.folder)

    def _search(self, folder: Path) -> None:
        name = str(self.config.study.name)
        storage = opened(folder, self.storage, look=self.dry_run)
        study = optuna.create_study(study_name=name, storage=storage, directions=OBJECTIVES, load_if_exists=True)
        queue = Queue(study, folder)
        if self.dry_run:
            self._check(study)
            self._say(queue)
            return
        with queue.working():
            with queue.held():
                if self._check(study):
                    self._ask_for_baselines(queue)
                for number in queue.take_up(failed=True):
                    self.folder.file(number).unlink(missing_ok=True)
            self._say(queue)
            self._work(queue)

    def _say(self, queue: Queue) -> None:
        done, stopped = (len([t for t in queue.trials(s) if RUN in t.user_attrs]) for s in _ENDED)
        early = f", {stopped} of them stopped early" if stopped else ""
        show(f"search {queue.study.study_name}: {done + stopped} of {self.n_trials} trials done{early}")

    def _work(self, queue: Queue) -> None:
        """Trial by trial, or n_jobs at a time, until the total is reached and no other process is at a trial."""
        failed, self.exhausted, waiting = 0, None, False
        while True:
            with queue.held():
                queue.take_up(failed=False)
                missing = 0 if self.exhausted else self.n_trials - failed - queue.counted()
                batch = self._chosen(queue, min(self.n_jobs, missing))
            if batch:
                failed += self._launched(queue, batch)
            elif others := queue.others():
                if not waiting:
                    show(f"waiting for {others} trial{'s' if others > 1 else ''} of other processes")
                waiting = True
                sleep(_POLL_SECONDS)
            else:
                break
        if self.exhausted:
            show(f"the search ends early: {self.exhausted}")

    def _launched(self, queue: Queue, batch: Sequence[tuple[Trial, Job]]) -> int:
        """Launch trials and tell what became of them; how many failed."""
        behind = f"++hydra.job.env_set.{BEHIND}='{said_behind(self.prune_after, queue.best())}'"
        more = [behind] if self.prune_after else []
        try:
            returned = self.launcher.launch(
                [[*job.overrides, *more] for _, job in batch], initial_job_idx=batch[0][1].number
            )
        except Exception as error:  # the launcher's own: the trials come first when the search is asked for again
            raise UserError(f"the launcher gave up: {given_up(error)}") from error
        return sum(not self._told(queue, *one) for one in zip(batch, returned, strict=True))

    def _told(self, queue: Queue, chosen: tuple[Trial, Job], returned: JobReturn) -> bool:
        """Whether a trial came to something."""
        trial, job = chosen
        value = value_of(returned, self.folder, job)
        if value == STOPPED:
            queue.study.tell(trial, state=TrialState.PRUNED)
        elif isinstance(value, (tuple, list)):
            self._tell(queue.study, trial, value)
        else:
            queue.study.tell(trial, state=TrialState.FAIL)
            return False
        return True

    def _tell(self, study: optuna.Study, trial: Trial, values: Sequence[float]) -> None:
        for limit in self.limits:
            trial.set_constraint(f"{limit.name} {limit.bound:g}", limit.missed(values))
        study.tell(trial, values=list(values))

    def _check(self, study: optuna.Study) -> bool:
        """The search is the one that its storage holds; the ends of a new one's space are all valid. Whether it is
        new."""
        config = {
            key: value
            for key, value in OmegaConf.to_container(self.config, resolve=False).items()
            if key not in _NEUTRAL
        }
        space = {key: distribution_to_json(values) for key, values in self.space.varied.items()}
        said = json.dumps([space, essence(self.space.fixed), config], sort_keys=True)
        what = hashlib.sha256(said.encode()).hexdigest()
        if study.user_attrs.get("what", what) != what:
            raise UserError(
                f"study.name={study.study_name} is a search of another space or of other runs: choose another"
                " study.name=…."
            )
        if "what" in study.user_attrs:
            return False
        for key, values in self.space.varied.items():
            for end in ends(values):
                self._check_end(word(key, end))
        study.set_user_attr("what", what)
        return True

    def _check_end(self, end: str) -> None:
        """Some choice of the other groups makes a run with this end of a key's values."""
        key, fixed = end.partition("=")[0], self.space.fixed
        groups = [
            [word(group, choice) for choice in values.choices]
            for group, values in self.space.groups.items()
            if group != key
        ]
        complaint = None
        for choices in itertools.product(*groups):
            if is_group(key) or reads(self._composed([*fixed, *choices]), key):
                complaint = point_of(self, (*fixed, *choices, end)).problem
                if complaint is None:
                    return
        raise UserError(
            complaint or f"{key} is varied and nothing that can be chosen reads it: take it out of the search."
        )

    def _ask_for_baselines(self, queue: Queue) -> None:
        if not self.baselines:
            return
        selector = baseline_of(self.config.study)
        asked = baselines(self.space, selector, min(self.baselines, self.n_trials), self._composed)
        for values in asked:
            queue.ask_for(values, **{BASELINE: True})
        if not asked:
            show(
                f"note: no trial of this search can be its baseline (study.baseline='{selector}'), against which"
                " savings are measured: add its options to what is varied, or hydra.sweeper.baselines=0"
            )

    def _chosen(self, queue: Queue, count: int) -> list[tuple[Trial, Job]]:
        """Trials that no process is at, each with the job that it is, which is written down for whoever runs it."""
        tried, chosen = queue.tried(), []
        while len(chosen) < count and (drawn := self._drawn(queue, tried)) is not None:
            tried.add(drawn[0].user_attrs[RUN])
            chosen.append(drawn)
        return chosen

    def _drawn(self, queue: Queue, tried: set[str]) -> tuple[Trial, Job] | None:
        study, why = queue.study, ""
        for draw in range(_DRAWS):
            number = len(queue.trials())
            study.sampler = sampler(self.sampler if draw < _DRAWS // 2 else "random", self.seed, number)
            trial = study.ask()
            trial.set_user_attr(WORKER, queue.name)
            said = self._values(trial)
            words = [*self.space.fixed, *said]
            point = point_of(self, tuple(words))
            if point.problem is None and point.run_id not in tried:
                trial.set_user_attr(RUN, point.run_id)
                job = Job(trial.number, tuple(words), " ".join(said), point.run_id, point.run_id)
                self.folder.write(job)
                return trial, job
            why = point.problem or f"{_DRAWS} draws in a row were tried before"
            trial.set_user_attr(WHY, point.problem or f"{point.run_id} was tried before")
            values = queue.values(point.run_id) if self.sampler in REPEATED and not point.problem else None
            if values is not None:
                self._tell(study, trial, values)
            else:  # what cannot be run is bad, which samplers learn; what was tried says nothing new
                study.tell(trial, state=TrialState.PRUNED if point.problem else TrialState.FAIL)
        self.exhausted = why
        return None

    def _values(self, trial: Trial) -> list[str]:
        """The words of a trial: groups first, because they say which of the other keys there are."""
        groups = {key: suggested(trial, key, values) for key, values in self.space.groups.items()}
        words = [word(key, value) for key, value in groups.items()]
        cfg = self._composed([*self.space.fixed, *words])
        for key, values in self.space.varied.items():
            if key not in groups and (reads(cfg, key) or self.sampler in FLAT):
                value = suggested(trial, key, values)
                words += [word(key, value)] if reads(cfg, key) else []
        return words

    def _composed(self, words: Sequence[str]) -> DictConfig:
        return self.hydra_context.config_loader.load_sweep_config(self.config, list(words))


_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
