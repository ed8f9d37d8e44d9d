"""TensorBoard: event files beside the runs, one folder each, written by torch's own writer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warmexp.tracking import content
from warmexp.tracking.mirror import Mirror, Told


@dataclass
class TensorBoardTracker(Mirror):
    """folder: where the event files go; None: `tensorboard` in the outputs folder."""

    folder: str | None = None

    kind, title, module = "tensorboard", "TensorBoard", "tensorboard"

    def _place(self) -> str:
        return f"{self.folder or ''} {self.project}"

    def _open(self, told: Told) -> str:
        from torch.utils.tensorboard import SummaryWriter

        outputs = told.folder.parent if told.job_type == "run" else told.folder.parent.parent
        top = Path(self.folder).expanduser() if self.folder else outputs / "tensorboard"
        at = top / _word(self.project) / _word(told.group or "runs") / _word(f"{told.name} {content.short(told.key)}")
        for old in at.glob("events.out.tfevents.*"):
            old.unlink()  # the same run, told again
        self._writer, self._told_config, self._final = SummaryWriter(str(at)), told.config, {}
        self._write_words("config", told.config | {"tags": ", ".join(told.tags)})
        return f"tensorboard --logdir {top}"

    def _scalars(self, values: dict[str, float], step: int | None) -> None:
        for key, value in values.items():
            self._writer.add_scalar(key if "/" in key else f"summary/{key}", value, step or 0)
        if step is None:
            self._final |= values

    def _words(self, values: dict[str, str]) -> None:
        for key, value in values.items():
            self._writer.add_text(key, value)

    def _table(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        lines = [columns, ["---"] * len(columns), *rows]
        self._writer.add_text(name, "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in lines))

    def _file(self, file: Path, name: str) -> None:
        if file.suffix == ".png":
            from matplotlib.image import imread

            self._writer.add_image(name, imread(file)[..., :3], dataformats="HWC")

    def _close(self, failed: bool) -> None:
        from torch.utils.tensorboard.summary import hparams

        settings = {
            key: v if isinstance(v, (bool, int, float, str)) else str(v) for key, v in self._told_config.items()
        }
        for part in hparams(settings, {f"summary/{key}": value for key, value in self._final.items()}):
            self._writer._get_file_writer().add_summary(part)  # add_hparams would open a second run for it
        self._writer.close()

    def _write_words(self, name: str, values: dict[str, Any]) -> None:
        self._table(name, ["key", "value"], [[key, value] for key, value in values.items()])


def _word(text: str) -> str:
    """A folder's name that shows as it is in TensorBoard's list of runs."""
    return re.sub(r"[^\w=.,+ -]+", "", text).strip(" .")[:120] or "_"


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
