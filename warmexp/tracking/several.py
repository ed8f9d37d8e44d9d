"""Several trackers at once: `tracker=several 'tracker.of=[wandb,mlflow]'`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from warmexp.errors import UserError, check_choice


@dataclass
class Several:
    """of: options of the group tracker. options: keys of theirs, by name: {mlflow: {uri: …}}."""

    of: list[str] = field(default_factory=list)
    options: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        from warmexp.config.instantiate import build
        from warmexp.config.keys import option_files

        files = {file.stem: file for file in option_files("tracker") if file.stem != "several"}
        if not self.of:
            raise UserError(
                f"tracker.of is empty: name some of {', '.join(files)}, such as 'tracker.of=[wandb,mlflow]'."
            )
        for name in [*self.of, *(self.options or {})]:
            check_choice("tracker.of", name, files)
        more = self.options or {}
        if idle := [name for name in more if name not in self.of]:
            raise UserError(
                f"tracker.options has {idle[0]}, which tracker.of does not name: add it there or leave it out."
            )
        self._all = [
            build("tracker", OmegaConf.merge(OmegaConf.load(files[name]), more.get(name) or {}))
            for name in dict.fromkeys(self.of)
        ]

    @property
    def note(self) -> str | None:
        return "\n".join(one.note for one in self._all if one.note) or None

    def start(self, run_id: str, config: dict[str, Any], folder: Path) -> None:
        for one in self._all:
            one.start(run_id, config, folder)

    def progress(self, done: int, total: int, nfe_mean: float, accuracy: float) -> None:
        for one in self._all:
            one.progress(done, total, nfe_mean, accuracy)

    def finish(self, summary: dict[str, Any], records: list[dict[str, Any]], figures: list[Path]) -> None:
        for one in self._all:
            one.finish(summary, records, figures)

    def fail(self, reason: str) -> None:
        for one in self._all:
            one.fail(reason)

    def mirror(self, run_id: str, config: dict[str, Any], folder: Path) -> None:
        for one in self._all:
            one.mirror(run_id, config, folder)

    def study(self, front: dict[str, Any], folder: Path, name: str) -> str | None:
        from warmexp.tracking.study import log_study

        return "\n".join(filter(None, (log_study(one, front, folder, name) for one in self._all))) or None
