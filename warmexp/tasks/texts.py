"""Text as a backbone's tokens, and the answer as a task finds it: what methods are told that have to know
(decode/strategy.py, Texts)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from warmexp.models.tokenizer import BackboneTokenizer
from warmexp.tasks.response import response_text
from warmexp.tasks.score import INVALID
from warmexp.tasks.task import Task


@dataclass(frozen=True)
class TaskTexts:
    """backbone: what has a `tokenizer`, an unloaded checkpoint."""

    backbone: Any
    task: Task

    @property
    def end(self) -> int:
        return self.backbone.tokenizer.eos_id

    @property
    def stop(self) -> Sequence[str]:
        return self.task.stop

    def encode(self, text: str) -> list[int]:
        return self.backbone.tokenizer.encode(text)

    def pieces(self) -> Mapping[int, str]:
        return _pieces(self.backbone.tokenizer)

    def special(self) -> Sequence[int]:
        return sorted(self.backbone.tokenizer.special_ids)

    def answer(self, ids: Sequence[int], kind: str) -> tuple[str, int, int] | None:
        """The task's own filter finds the answer in the response. It ends where the shortest beginning does that has
        it (seen from the end: of a filter that takes the last one, that is the last), and begins as many characters
        before as it has."""
        tokenizer, task = self.backbone.tokenizer, self.task
        before = list(tokenizer.until_end(ids))

        def found(count: int) -> str:
            return task.extract(response_text(tokenizer, before[:count], task.stop))[kind]

        answer = found(len(before))
        if answer == INVALID:
            return None
        end = len(before)
        while end and found(end - 1) == answer:
            end -= 1
        start, length = end, 0
        while start and length < len(answer):
            start -= 1
            length = len(tokenizer.decode(before[start:end]).rstrip())
        return answer, start, end


def _pieces(tokenizer: BackboneTokenizer) -> Mapping[int, str]:
    return {
        i: tokenizer.piece(i)
        for i in sorted(tokenizer.tokenizer.get_vocab().values())
        if i not in tokenizer.special_ids
    }
