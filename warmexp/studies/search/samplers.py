"""Who proposes the values of a trial."""

from __future__ import annotations

import numpy as np
import optuna
from optuna.samplers import BaseSampler

NAMES = ("tpe", "gp", "nsgaii", "qmc", "random")
# These know a space by the keys that all trials have, so a trial draws every key, of which its command line gets those
# that something reads. TPE models what hangs on a choice, and at random nothing is modelled.
FLAT = ("gp", "nsgaii", "qmc")
# This one proposes what it proposed before until it is told a value there, also where other keys that nothing reads
# differ: a repetition is told what the run that it repeats came to. It counts as no trial.
REPEATED = ("gp",)
_POPULATION = 10  # of NSGA-II, whose own default of 50 is more than a search here has trials


def sampler(name: str, seed: int, number: int) -> BaseSampler:
    """The sampler for one trial, made anew from the search's seed and the trial's number: so a search that was killed
    goes on as it would have, and processes that work at one search draw different values.

    Sources: TPE: S. Watanabe, arXiv 2304.11127, for several objectives Y. Ozaki et al., JAIR 73 (2022). GP: expected
    hypervolume improvement (needs torch and scipy, which are there). NSGA-II: K. Deb et al., IEEE TEC 6 (2002). QMC: a
    scrambled Sobol sequence.
    """
    own = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=own, multivariate=True, group=True)
    if name == "gp":
        return optuna.samplers.GPSampler(seed=own, deterministic_objective=True, warn_independent_sampling=False)
    if name == "nsgaii":
        return optuna.samplers.NSGAIISampler(seed=own, population_size=_POPULATION)
    if name == "qmc":  # one sequence, of which the storage knows how far it is
        return optuna.samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
    return optuna.samplers.RandomSampler(seed=own)
