"""A search for fewer forwards and more right answers, by Optuna's Hydra sweeper.

What this adds to that sweeper: the number of trials is a total, kept in the study's folder, so a search that was killed
goes on; the space is held to the schema (every end of it must be a valid value, a key is varied only where the chosen
options read it, impossible combinations are drawn again); and a combination that was tried is not tried twice.
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
from filelock import Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Transformer
from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl, create_params_from_overrides
from omegaconf import DictConfig, OmegaConf
from optuna.distributions import BaseDistribution, CategoricalDistribution, distribution_to_json
from optuna.exceptions import ExperimentalWarning
from optuna.trial import Trial, TrialState

from warmexp.config.keys import GROUPS, reads
from warmexp.console import show
from warmexp.errors import UserError, check_choice, check_range
from warmexp.locks import Lock
from warmexp.studies.named import essence
from warmexp.studies.sweep import point_of

SAMPLERS = {
    "tpe": optuna.samplers.TPESampler,
    "nsgaii": optuna.samplers.NSGAIISampler,
    "random": optuna.samplers.RandomSampler,
}
OBJECTIVES = ["minimize", "maximize"]  # forwards per question, share of right answers: what a job returns
# How often a draw that is impossible or was tried already is drawn again before the space counts as exhausted.
_DRAWS = 20
# What may change between two calls of the same search, because it does not change what is found.
_NEUTRAL = ("hydra", "device", "batch_size", "outputs", "tracker", "study")

Space = dict[str, BaseDistribution]


class Exhausted(Exception):
    """Nothing is left to try."""


class Trials(OptunaSweeperImpl):
    """The sweeper. Its arguments are the keys of conf/hydra/sweeper/search.yaml."""

    def __init__(self, n_trials: int, n_jobs: int, sampler: str, seed: int, params: Any, dry_run: bool):
        check_choice("hydra.sweeper.sampler", sampler, tuple(SAMPLERS))
        check_range("hydra.sweeper.n_trials", n_trials, 1, 10**6, "the number of trials in all")
        check_range("hydra.sweeper.n_jobs", n_jobs, 1, 10**4, "the number of trials launched together")
        super().__init__(
            sampler=None,
            direction=OBJECTIVES,
            storage=None,
            study_name=None,
            n_trials=n_trials,
            n_jobs=n_jobs,
            max_failure_rate=1.0,
            search_space=None,
            custom_search_space=None,
            params=params,
        )
        self.wanted, self.make_sampler, self.seed, self.dry_run = n_trials, SAMPLERS[sampler], seed, dry_run

    def sweep(self, arguments: list[str]) -> None:
        """Carry out the trials that are missing."""
        folder = Path(self.sweep_dir)
        folder.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        lock = Lock(folder / ".search.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{folder} is being searched by another process: wait for it, or choose another study.name=…."
            ) from None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self._search(folder, arguments)
        finally:
            lock.release()

    def _search(self, folder: Path, arguments: list[str]) -> None:
        url = f"sqlite:///{(folder / 'optuna.db').resolve()}"
        # Optuna 2 relies on a commit per statement, which SQLAlchemy 2 does only where it is told to.
        self.storage = optuna.storages.RDBStorage(url, engine_kwargs={"isolation_level": "AUTOCOMMIT"})
        self.study_name = str(self.config.study.name)
        study = optuna.create_study(
            study_name=self.study_name, storage=self.storage, directions=OBJECTIVES, load_if_exists=True
        )
        words = [*self._parse_sweeper_params_config(), *arguments]
        self.spelled = _spelled(words)
        space, fixed = create_params_from_overrides(words)
        self._check(study, {key: values for key, values in space.items() if key not in fixed}, _words(fixed))
        _take_up(study)
        done = len(study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]))
        self.n_trials, self.job_idx = self.wanted - done, len(study.trials)
        self.sampler = self.make_sampler(seed=self.seed + len(study.trials))
        show(f"search {self.study_name}: {done} of {self.wanted} trials done")
        if self.n_trials > 0 and not self.dry_run:
            try:
                super().sweep(arguments)
            except Exhausted as why:
                show(f"the search ends early: {why}")

    def _check(self, study: optuna.Study, space: Space, fixed: list[str]) -> None:
        """The search is the one that its storage holds; the ends of a new one's space are all valid."""
        if not space:
            raise UserError(
                "hydra.sweeper.params varies nothing: give some key several values, such as 'tau=interval(0.5,0.95)'."
            )
        config = {
            key: value
            for key, value in OmegaConf.to_container(self.config, resolve=False).items()
            if key not in _NEUTRAL
        }
        said = {key: distribution_to_json(values) for key, values in space.items()}
        what = json.dumps([said, essence(fixed), config], sort_keys=True)
        if study.user_attrs.get("what", what) != what:
            raise UserError(
                f"study.name={self.study_name} is a search of another space or of other runs: choose another"
                " study.name=…."
            )
        if "what" not in study.user_attrs:
            for key, values in space.items():
                for end in _ends(values):
                    self._check_end(space, fixed, self._word(key, end))
            study.set_user_attr("what", what)

    def _check_end(self, space: Space, fixed: list[str], word: str) -> None:
        """Some choice of the other groups makes a run with this end of a key's values."""
        key = word.partition("=")[0]
        groups = [
            [self._word(group, choice) for choice in values.choices]
            for group, values in space.items()
            if _is_group(group) and group != key
        ]
        complaint = None
        for choices in itertools.product(*groups):
            if _is_group(key) or reads(self._composed([*fixed, *choices]), key):
                complaint = point_of(self, (*fixed, *choices, word)).problem
                if complaint is None:
                    return
        raise UserError(
            complaint or f"{key} is varied and nothing that can be chosen reads it: take it out of the search."
        )

    def _configure_trials(
        self, trials: list[Trial], search_space_distributions: Space, fixed_params: dict[str, Any]
    ) -> list[list[str]]:
        """A command line per trial. The sweeper's own method would vary every key and try anything."""
        study, fixed = trials[0].study, _words(fixed_params)
        tried = {trial.user_attrs["run_id"] for trial in study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])}
        overrides = []
        for i in range(len(trials)):
            for _ in range(_DRAWS):
                words = [*fixed, *self._drawn(trials[i], search_space_distributions, fixed)]
                point = point_of(self, tuple(words))
                if point.problem is None and point.run_id not in tried:
                    break
                study.tell(trials[i], state=TrialState.PRUNED)
                trials[i] = study.ask()
            else:
                raise Exhausted(point.problem or f"{_DRAWS} draws in a row were tried before")
            trials[i].set_user_attr("run_id", point.run_id)
            tried.add(point.run_id)
            overrides.append(words)
        return overrides

    def _drawn(self, trial: Trial, space: Space, fixed: list[str]) -> list[str]:
        """The words of a trial: groups first, because they say which of the other keys there are."""
        words = [self._word(key, trial._suggest(key, values)) for key, values in space.items() if _is_group(key)]
        cfg = self._composed([*fixed, *words])
        others = {key: values for key, values in space.items() if not _is_group(key) and reads(cfg, key)}
        return words + [self._word(key, trial._suggest(key, values)) for key, values in others.items()]

    def _word(self, key: str, value: Any) -> str:
        """The word of a command line that gives a key this value: a choice as it was spelled, a number of an interval
        to four digits, which are as fine as a search needs, and can be read."""
        spelled = self.spelled.get((key, repr(value)))
        return f"{key}={spelled or (f'{value:.4g}' if isinstance(value, float) else value)}"

    def _composed(self, words: list[str]) -> DictConfig:
        return self.hydra_context.config_loader.load_sweep_config(self.config, words)


def _take_up(study: optuna.Study) -> None:
    """Trials that were killed or that failed are put first in the queue, with the same values: their runs go on where
    they stopped."""
    for trial in study.get_trials(states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
    taken = study.user_attrs.get("taken up", [])
    again = [
        trial
        for trial in study.get_trials(states=[TrialState.FAIL])
        if trial.number not in taken and "run_id" in trial.user_attrs
    ]
    for trial in again:
        study.enqueue_trial(trial.params)
        taken = [*taken, trial.number]
        study.set_user_attr("taken up", taken)


def _is_group(key: str) -> bool:
    return key in GROUPS or key == "experiment"


def _ends(values: BaseDistribution) -> Iterable[Any]:
    return values.choices if isinstance(values, CategoricalDistribution) else (values.low, values.high)


def _words(fixed: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in fixed.items()]


def _spelled(words: list[str]) -> dict[tuple[str, str], str]:
    """(key, repr of a choice as Optuna is given it) -> the choice with its quotes and escapes: read again, `a, b` would
    be two values, None a word and 0.12345 another number."""
    found: dict[tuple[str, str], str] = {}
    for word in OverridesParser.create().parse_overrides(words):
        if word.is_choice_sweep():
            values = zip(word.sweep_iterator(transformer=Transformer.encode), word.sweep_string_iterator(), strict=True)
            found |= {(word.get_key_element(), repr(value)): spelled for value, spelled in values}
    return found
