"""GSM8K (arXiv 2110.14168): grade-school word problems, asked as lm-evaluation-harness 0.4.13 asks them.

Source: `lm_eval/tasks/gsm8k/gsm8k.yaml` and `gsm8k-cot-zeroshot.yaml` (both task version 3), `api/task.py` and
`api/samplers.py`. The tests hold whole prompts equal to the harness's on the real data. The data are a local JSONL
file, or the hub's through `datasets`.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from warmexp.errors import UserError, check_choice, check_range
from warmexp.tasks.data import read_file, read_hub
from warmexp.tasks.score import HARNESS, NumberScoring, flexible_extract, reference_answer, strict_match_cot
from warmexp.tasks.task import TaskQuestion, check_prompt, subset

SPLITS = ("test", "train")
SHOTS = ("turn", "turns", "none")
_FIELDS = ("question", "answer")


@dataclass
class GSM8K(NumberScoring):
    """The harness's `gsm8k`: shots from the training split, then `Question: …\\nAnswer:`.

    path: a JSONL file, or a folder with {split}.jsonl; null reads `dataset` from the hub. split: test (1,319) or train
    (7,473).
    limit, subset_seed: see task.subset. prompt: text around the question. stop: strings that end a response (the
    harness's).

    num_fewshot: solved examples before the question, each `prompt` + " " + the whole reference solution (calculator
    marks and `#### n` included) + a blank line. fewshot_seed: as the harness's, 1234 being its default. Question i of
    the split has the i-th draw of `random.Random(fewshot_seed)`, which is what it gets in a harness run of the whole
    split or of its first questions; so a question keeps its shots in every subset (a harness run with `--samples` gives
    its n-th question the n-th draw, and therefore other shots).
    fewshot_path: the file the shots are drawn from; null: the training split (train.jsonl beside `path`, or the hub's).

    shots: `turn` puts all of them before the question in the one user turn that the backbone's template makes, as
    Fast-dLLM does (the harness's `--apply_chat_template`). `turns` makes each of them a user turn (`prompt`) and an
    assistant turn (the reference solution), and the question the last user turn (with the harness's
    `--fewshot_as_multiturn` as well); the backbone's template must have turns, and a proposer without a chat template
    is given the text of `turn`. `none` leaves them out, as num_fewshot=0 does.
    """

    path: str | None = None
    dataset: str = "openai/gsm8k"
    split: str = "test"
    limit: int | None = None
    subset_seed: int | None = None
    prompt: str = "Question: {question}\nAnswer:"
    stop: list[str] = field(default_factory=lambda: ["Question:", "</s>", "<|im_end|>"])
    num_fewshot: int = 5
    fewshot_seed: int = 1234
    fewshot_path: str | None = None
    shots: str = "turn"

    def __post_init__(self) -> None:
        check_choice("task.split", self.split, SPLITS)
        check_prompt("task.prompt", self.prompt)
        subset([], self.limit, self.subset_seed)
        check_range("task.num_fewshot", self.num_fewshot, 0, 1000, "the number of solved examples before the question")
        check_range(
            "task.fewshot_seed", self.fewshot_seed, 0, 2**63 - 1, "the seed that the harness draws the shots with"
        )
        check_choice("task.shots", self.shots, SHOTS)
        if self.path is not None:
            _split_file(self.path, self.split)
        if self.shots == "none":
            self.num_fewshot = 0
        if self.num_fewshot:
            self._pool_file()

    def identity(self) -> dict[str, Any]:
        shots: dict[str, Any] = {"num_fewshot": self.num_fewshot}
        if self.num_fewshot:
            shots["fewshot_seed"] = self.fewshot_seed
            shots |= {"shots": "turns"} if self.shots == "turns" else {}
        return {
            "kind": "gsm8k",
            "protocol": f"{HARNESS} gsm8k 3",
            "prompt": self.prompt,
            "stop": list(self.stop),
            **shots,
        }

    def load(self) -> list[TaskQuestion]:
        rows = _rows(self.path, self.dataset, self.split)
        questions = _questions(rows, self.split, self.prompt)
        if self.num_fewshot:
            questions = [
                self._behind(shots, question) for shots, question in zip(self._shots(rows), questions, strict=True)
            ]
        return subset(questions, self.limit, self.subset_seed)

    def _behind(self, shots: list[dict[str, str]], question: TaskQuestion) -> TaskQuestion:
        """A question with solved examples before it."""
        solved = [(self.prompt.replace("{question}", shot["question"]), shot["answer"]) for shot in shots]
        text = "".join(f"{asked} {answer}\n\n" for asked, answer in solved) + question.prompt
        turns = (*chain.from_iterable(solved), question.prompt) if self.shots == "turns" else ()
        return replace(question, prompt=text, turns=turns)

    def training(self, limit: int) -> list[TaskQuestion]:
        """See _training."""
        return _training(self, limit)

    def _pool_file(self) -> Path | None:
        """Where the shots come from; None: the hub."""
        if self.path is None and self.fewshot_path is None:
            return None
        place = Path(self.fewshot_path or self.path).expanduser()
        folder = place if place.is_dir() else place.parent
        file = place if self.fewshot_path and not place.is_dir() else folder / "train.jsonl"
        if not file.is_file():
            raise UserError(
                f"task.num_fewshot={self.num_fewshot} draws from the training split and {file} is not there: give"
                " task.fewshot_path=FILE.jsonl, or task.num_fewshot=0."
            )
        return file

    def _shots(self, rows: list[dict[str, str]]) -> list[list[dict[str, str]]]:
        """The examples before each question."""
        file = self._pool_file()
        pool = _rows(None if file is None else str(file), self.dataset, "train", "task.fewshot_path")
        n = self.num_fewshot
        # From the split that is asked, the harness draws one more and takes the question itself out.
        own = self.split == "train"
        copies = max(Counter(shot["question"] for shot in pool).values()) if own else 0
        if len(pool) - copies < n:
            raise UserError(
                f"task.num_fewshot={n} is more than there is to draw from ({len(pool) - copies} examples): choose"
                " fewer."
            )
        rng = random.Random(self.fewshot_seed)
        found = []
        for row in rows:
            drawn = rng.sample(pool, n + own)
            if own:
                drawn = [shot for shot in drawn if shot != row][:n]
                if len(drawn) < n:  # several copies of the question were drawn
                    drawn = rng.sample([shot for shot in pool if shot != row], n)
            found.append(drawn)
        return found


@dataclass
class GSM8KCoT(NumberScoring):
    """The harness's `gsm8k_cot_zeroshot`: `Q: …\\nA: Let's think step by step.`, and a strict filter that wants `The
    answer is 18.`

    The keys are those of GSM8K without the shots; see there.
    """

    path: str | None = None
    dataset: str = "openai/gsm8k"
    split: str = "test"
    limit: int | None = None
    subset_seed: int | None = None
    prompt: str = "Q: {question}\nA: Let's think step by step."
    stop: list[str] = field(default_factory=lambda: ["Q:", "</s>", "<|im_end|>"])

    def __post_init__(self) -> None:
        check_choice("task.split", self.split, SPLITS)
        check_prompt("task.prompt", self.prompt)
        subset([], self.limit, self.subset_seed)
        if self.path is not None:
            _split_file(self.path, self.split)

    def identity(self) -> dict[str, Any]:
        return {
            "kind": "gsm8k_cot",
            "protocol": f"{HARNESS} gsm8k_cot_zeroshot 3",
            "prompt": self.prompt,
            "stop": list(self.stop),
        }

    def load(self) -> list[TaskQuestion]:
        rows = _rows(self.path, self.dataset, self.split)
        return subset(_questions(rows, self.split, self.prompt), self.limit, self.subset_seed)

    def training(self, limit: int) -> list[TaskQuestion]:
        """See _training."""
        return _training(self, limit)

    def extract(self, text: str) -> dict[str, str]:
        return {"strict": strict_match_cot(text), "flexible": flexible_extract(text)}


def _questions(rows: list[dict[str, str]], split: str, prompt: str) -> list[TaskQuestion]:
    """A question's id is its place in the split, whatever subset it is taken into."""
    return [
        TaskQuestion(
            f"gsm8k-{split}-{i:05d}", prompt.replace("{question}", question), answer, reference_answer(answer), question
        )
        for i, (question, answer) in enumerate((row["question"], row["answer"]) for row in rows)
    ]


def _training(task: GSM8K | GSM8KCoT, limit: int) -> list[TaskQuestion]:
    """The first `limit` questions of the training split, without shots, whatever split the task reads.

    Raises:
        UserError: `path` is a single file of another split, so there is none.
    """
    if task.path is not None and task.split != "train" and not Path(task.path).expanduser().is_dir():
        raise UserError(
            f"task.path={task.path} is one file and has no training split: give a folder with train.jsonl and"
            " test.jsonl."
        )
    return _questions(_rows(task.path, task.dataset, "train"), "train", task.prompt)[:limit]


def _rows(path: str | None, dataset: str, split: str, key: str = "task.path") -> list[dict[str, str]]:
    rows = read_hub(dataset, "main", split) if path is None else read_file(key, _split_file(path, split), _FIELDS)
    return [{name: row.text(name) for name in _FIELDS} for row in rows]


def _split_file(path: str, split: str) -> Path:
    given = Path(path).expanduser()
    file = given / f"{split}.jsonl" if given.is_dir() else given
    if not file.is_file():
        what = f"has no {file.name}" if given.is_dir() else "is no file" if given.exists() else "does not exist"
        raise UserError(f"task.path={path} {what}: give GSM8K's JSONL file, or task.path=null to read it from the hub.")
    return file
