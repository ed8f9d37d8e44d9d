"""The sweeper that searches with Optuna; see warmexp/studies/search/. It lies here because Hydra looks for plugins
nowhere else."""

from typing import Any

from hydra.plugins.sweeper import Sweeper

from warmexp.errors import UserError


class Search(Sweeper):
    """The keys of conf/hydra/sweeper/search.yaml."""

    def __init__(self, **settings: Any):
        self.settings = settings

    def setup(self, **hydra: Any) -> None:
        try:
            from warmexp.studies.search.sweeper import Trials
        except ImportError:  # optuna is not loaded before it is asked for: that takes a second
            raise UserError("hydra/sweeper=search needs optuna 5 or later: pip install 'warmexp[sweeps]'.") from None
        self.trials = Trials(**self.settings)
        self.trials.setup(**hydra)

    def sweep(self, arguments: list[str]) -> None:
        self.trials.sweep(arguments)
