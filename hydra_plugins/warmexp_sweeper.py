"""Hydra's basic sweeper for studies: a list of grids instead of one, equal runs folded, finished runs not launched
again.

It only makes the list of jobs; any launcher runs them. It lies in `hydra_plugins` because Hydra instantiates plugins
from nowhere else. Hydra executes this file before it is in sys.modules, where a dataclass looks up annotations that are
text: they are none here.
"""

from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper, BasicSweeperConf
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser


@dataclass
class StudySweeperConf(BasicSweeperConf):
    """As the basic sweeper's, and
    grids: command lines, each a grid (commas vary a key); the study is all of their points. `params` and the words of
        the command line belong to every grid, and the command line wins over the file; but a word behind a `!` stays as
        it is.
    dry_run: print the jobs, what is done and what is left; run nothing.
    plan: print what the jobs need and take, and what is missing; download and run nothing.
    """

    _target_: str = "hydra_plugins.warmexp_sweeper.StudySweeper"
    grids: list[str] | None = None
    dry_run: bool = False
    plan: bool = False


ConfigStore.instance().store(group="hydra/sweeper", name="study", node=StudySweeperConf, provider="warmexp")


class StudySweeper(BasicSweeper):
    """See StudySweeperConf."""

    def __init__(
        self,
        max_batch_size: int | None,
        params: Any = None,
        grids: list[str] | None = None,
        dry_run: bool = False,
        plan: bool = False,
    ):
        super().__init__(max_batch_size, params)
        self.grids = list(grids or [""])
        self.dry_run = dry_run
        self.plan = plan

    def sweep(self, arguments: list[str]) -> Any:
        from warmexp.studies.grids import grid_words, refuse_to_vary, refuse_too_many
        from warmexp.studies.sweep import forecast_of, sweep

        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        overrides: list[list[str]] = []
        for grid in self.grids:
            words = parser.parse_overrides(grid_words(grid, self._parse_config(), arguments))
            refuse_to_vary(word.get_key_element() for word in words if word.is_sweep_override())
            refuse_too_many(words)
            overrides += self.split_arguments(words, None)[0]
        return forecast_of(self, overrides) if self.plan else sweep(self, overrides)
