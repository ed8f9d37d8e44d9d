"""GSM8K (arXiv 2110.14168): grade-school word problems, from a local JSONL file or from the hub through `datasets`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from warmexp.errors import UserError, check_choice
from warmexp.hub import offline_if_unreachable
from warmexp.task.score import reference_answer
from warmexp.task.task import TaskQuestion, check_prompt, subset

SPLITS = ("test", "train")


@dataclass
class GSM8K:
    """Zero-shot in lm-evaluation-harness's words (`Question: …\\nAnswer:`).

    path: a JSONL file, or a folder with {split}.jsonl; null reads `dataset` from the hub. split: test (1,319) or train (7,473).
    limit, subset_seed: see task.subset. prompt: text around the question. stop: strings that end a response (the harness's).
    """

    path: str | None = None
    dataset: str = "openai/gsm8k"
    split: str = "test"
    limit: int | None = None
    subset_seed: int | None = None
    prompt: str = "Question: {question}\nAnswer:"
    stop: list[str] = field(default_factory=lambda: ["Question:", "</s>", "<|im_end|>"])

    def __post_init__(self) -> None:
        check_choice("task.split", self.split, SPLITS)
        check_prompt("task.prompt", self.prompt)
        subset([], self.limit, self.subset_seed)
        if self.path is not None:
            self._file()

    def identity(self) -> dict[str, Any]:
        return {"kind": "gsm8k", "prompt": self.prompt, "stop": list(self.stop)}

    def load(self) -> list[TaskQuestion]:
        rows = self._read_hub() if self.path is None else self._read_file()
        numbered = [(f"gsm8k-{self.split}-{i:05d}", row) for i, row in enumerate(rows)]
        return [
            TaskQuestion(
                i, self.prompt.replace("{question}", row["question"]), row["answer"], reference_answer(row["answer"]), row["question"]
            )
            for i, row in subset(numbered, self.limit, self.subset_seed)
        ]

    def training(self, limit: int) -> list[TaskQuestion]:
        """The first `limit` questions of the training split, whatever split this task reads.

        Raises:
            UserError: `path` is a single file of another split, so there is none.
        """
        if self.path is not None and self.split != "train" and not Path(self.path).expanduser().is_dir():
            raise UserError(f"task.path={self.path} is one file and has no training split: give a folder with train.jsonl and test.jsonl.")
        return replace(self, split="train", limit=limit, subset_seed=None).load()

    def _file(self) -> Path:
        file = Path(self.path).expanduser()
        file = file / f"{self.split}.jsonl" if file.is_dir() else file
        if not file.is_file():
            raise UserError(
                f"task.path={self.path} has no {file.name}: give GSM8K's JSONL file, or task.path=null to read it from the hub."
            )
        return file

    def _read_file(self) -> list[dict[str, str]]:
        rows = []
        for number, line in enumerate(self._file().read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
                rows.append({"question": row["question"], "answer": row["answer"]})
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f'task.path={self.path}, line {number} is not {{"question": …, "answer": …}} ({error!r}).') from None
        return rows

    def _read_hub(self) -> list[dict[str, str]]:
        offline = offline_if_unreachable()
        from datasets import load_dataset

        try:
            return list(load_dataset(self.dataset, "main", split=self.split))
        except Exception as error:  # the library raises many kinds; each means that there is no data set
            where = "the hub cannot be reached and it is not in the local cache" if offline else str(error).splitlines()[0]
            raise UserError(f"task.dataset={self.dataset} could not be read ({where}): give task.path=FILE.jsonl instead.") from None
