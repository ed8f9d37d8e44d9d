"""A warmexp pipeline as a model of lm-evaluation-harness: requests in, response texts out. Needs the harness; see
__main__.py.

It knows the harness's model interface and a checked plan. Prompts, shots, stop strings, filters and metrics are the
harness's; decoding is one warmexp run on the harness's prompts, so it is batched, metered, resumed after a kill and
reused like any other. The run's folder is hidden (`outputs/.harness-…`), because targets stay with the harness and the
folder's own accuracies mean nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.utils import simple_parse_args_string

from warmexp.api import planned
from warmexp.config.keys import GROUPS
from warmexp.config.plan import Plan, questions_sha256
from warmexp.console import show
from warmexp.errors import UserError
from warmexp.harness.library import NO_CACHE
from warmexp.runs.run import run
from warmexp.runs.statistics import bootstrap_mean
from warmexp.runs.stored import read_records
from warmexp.tasks.response import response_text, uncut_text
from warmexp.tasks.score import NumberScoring
from warmexp.tasks.task import TaskQuestion
from warmexp.tracking.none import NoTracker

# Proposers that need more than a prompt: a question's id or solution, or a training split.
_NEED_MORE = ("oracle", "file", "retrieval")


@dataclass
class Requests(NumberScoring):
    """The harness's requests as a task. Stop strings are each request's own, so the run itself stops at none."""

    questions: list[TaskQuestion]
    stop: list[str] = field(default_factory=list)

    def identity(self) -> dict[str, Any]:
        return {"kind": "harness"}

    def load(self) -> list[TaskQuestion]:
        return self.questions


@register_model("warmexp")
class Pipeline(LM):
    """plan: its backbone, proposer and strategies are used, its task and tracker are not. uncut: answer with all that
    was decoded, see tasks/response.py.

    `records` keeps, by question id, how each answer came about. A question is called as warmexp's own tasks call it
    (`gsm8k-test-00005` is document 5 of the harness's `gsm8k`), so that a run here and a run there make the same random
    draws. A document that is asked several times (a task's `repeats`) is as many questions, `…#1` being its second,
    each with draws of its own.

    As the registered model "warmexp", its arguments are the overrides of `python -m warmexp`, and `uncut`.
    """

    def __init__(self, plan: Plan, uncut: bool = False, say: Callable[[str], None] = show) -> None:
        super().__init__()
        if plan.strategies.init.reads_proposal and (plan.proposer.oracle or plan.choices["proposer"] in _NEED_MORE):
            raise UserError(
                f"proposer={plan.choices['proposer']} cannot answer the harness, whose requests are prompts and"
                " nothing else: choose a proposer that writes from a prompt, such as proposer=hf or"
                " proposer=lab_weak."
            )
        self.plan, self.text, self.say = plan, uncut_text if uncut else response_text, say
        self.records: dict[str, dict[str, Any]] = {}
        self.started = False
        self._said: set[str] = set()

    @classmethod
    def of(cls, overrides: Sequence[str], uncut: bool = False, say: Callable[[str], None] = show) -> Pipeline:
        """From overrides as on warmexp's command line, without a task.

        Raises:
            UserError: they name a task, or cannot be run.
        """
        for word in overrides:
            if word.lstrip("+~").partition("=")[0].partition(".")[0] == "task":
                raise UserError(
                    f"{word} is not read here, because the questions are the harness's: name them with --tasks."
                )
        # A plan has questions; this one of the lab's is never asked.
        return cls(planned([*overrides, "task=lab", "task.limit=1"]), uncut, say)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: Mapping[str, Any], additional_config: Mapping[str, Any] | None = None
    ) -> Pipeline:
        """arg_dict: overrides, and `uncut`. additional_config: the harness's `device` and `batch_size`. Its command
        line gives cuda:0 and 1 when nobody asked, so these two stand for our own."""
        given = dict(arg_dict)
        uncut = given.pop("uncut", False)
        if not isinstance(uncut, bool):
            raise UserError(
                f"uncut={uncut} is neither true nor false: whether what stands behind the first end token is scored"
                " too."
            )
        more = additional_config or {}
        size = str(more.get("batch_size") or "")
        if more.get("device") not in (None, "cuda:0"):
            given.setdefault("device", str(more["device"]))
        if size.isdecimal() and int(size) > 1:
            given.setdefault("batch_size", int(size))
        return cls.of([f"{key}={_hydra(value, key)}" for key, value in given.items()], uncut)

    @classmethod
    def create_from_arg_string(cls, arg_string: str, additional_config: Mapping[str, Any] | None = None) -> Pipeline:
        """The same from `key=value,key=value`."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    def set_cache_hook(self, cache_hook: Any) -> None:
        raise UserError(NO_CACHE)

    def chat_template(self, chat_template: bool | str = False) -> NoReturn:
        raise UserError(
            "apply_chat_template is not read here: every prompt goes through backbone.template as one user turn;"
            " leave it out."
        )

    def loglikelihood(self, requests: list[Instance]) -> NoReturn:
        self._refuse(requests)

    def loglikelihood_rolling(self, requests: list[Instance]) -> NoReturn:
        self._refuse(requests)

    def _refuse(self, requests: list[Instance]) -> NoReturn:
        names = ", ".join(sorted({str(request.task_name) for request in requests}))
        raise UserError(
            f"--tasks {names} asks for likelihoods, which decoding a canvas does not give: choose tasks that generate"
            " text, such as gsm8k."
        )

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Response texts, in the order of the requests."""
        self.started = True
        ids = _question_ids(requests)
        for request in requests:
            self._warn(request)
        stops = [_stop(request) for request in requests]
        questions = {i: TaskQuestion(i, str(r.args[0]), "", "") for i, r in zip(ids, requests, strict=True)}
        plan = self._plan(list(questions.values()))
        run(plan, self.say)
        self.records |= {record["id"]: record for record in read_records(plan.folder)}
        tokenizer = plan.backbone.tokenizer
        return [self.text(tokenizer, self.records[i]["ids"], stop) for i, stop in zip(ids, stops, strict=True)]

    def get_model_info(self) -> dict[str, Any]:
        """What the harness adds to its results: the pipeline, and what it cost."""
        records = list(self.records.values())
        n = max(len(records), 1)
        nfe = [record["nfe"] for record in records]
        means = {
            f"{key}_mean": sum(record[key] for record in records) / n
            for key in ("nfe", "full_forward_equivalents", "aux_forwards")
        }
        identity = {key: value for key, value in self.plan.identity.items() if key not in ("task", "questions")}
        return {
            "warmexp": {
                "identity": identity,
                "choices": {k: v for k, v in self.plan.choices.items() if k not in ("task", "tracker")},
            },
            "n": len(records),
            **means,
            "nfe_ci95": list(bootstrap_mean(nfe)) if nfe else None,
            "seconds_decode": sum(record["seconds"] for record in records),
            "seconds_propose": sum(record["proposal"]["seconds"] for record in records if record["proposal"]),
        }

    def _plan(self, questions: list[TaskQuestion]) -> Plan:
        """The plan with the harness's questions in place of its own."""
        plan, task = self.plan, Requests(questions)
        return replace(
            plan,
            task=task,
            questions=questions,
            prompts={question.id: self._prompt(question) for question in questions},
            tracker=NoTracker(),
            choices=plan.choices | {"task": ".harness"},
            config=plan.config | {"task": task.identity()},
            identity=plan.identity | {"task": task.identity(), "questions": questions_sha256(questions)},
        )

    def _prompt(self, question: TaskQuestion) -> tuple[int, ...]:
        ids = tuple(self.plan.backbone.tokenizer.encode_prompt(question.prompt))
        limit, length = self.plan.backbone.config.max_sequence_length, self.plan.strategies.length.canvas_length
        if len(ids) + length > limit:
            raise UserError(
                f"{question.id} has {len(ids)} prompt tokens; with length.canvas_length={length} that is more than"
                f" the backbone's max_sequence_length={limit}: choose a smaller canvas, or fewer shots with"
                " --num_fewshot."
            )
        if not ids:
            raise UserError(f"{question.id} has an empty prompt: check the task and backbone.template.")
        return ids

    def _warn(self, request: Instance) -> None:
        """What a request asks for and a canvas cannot follow is said once."""
        options, length = request.args[1], self.plan.strategies.length.canvas_length
        if options.get("do_sample") and float(options.get("temperature") or 1.0) > 0:
            self._once(
                f"{request.task_name} asks for samples, but the pipeline decodes as it is configured"
                " (unmask.temperature)"
            )
        asked = options.get("max_gen_toks") or options.get("max_tokens")
        if asked and int(asked) != length:
            self._once(
                f"{request.task_name} asks for up to {asked} tokens, but the canvas has length.canvas_length={length}"
            )

    def _once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self.say(f"warning: {sentence}.")


def _question_ids(requests: Sequence[Instance]) -> list[str]:
    """A document's further requests (idx > 0) and its repeats are questions of their own."""
    seen: Counter[str] = Counter()
    ids = []
    for place, request in enumerate(requests):
        document = place if request.doc_id is None else request.doc_id
        name = f"{request.task_name}-test-{document:05d}" + (f"-{request.idx}" if request.idx else "")
        ids.append(f"{name}#{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return ids


_PLAIN = re.compile(r"(?!(?i:true|false|null|nan|inf)$)[A-Za-z_./][\w./:@+-]*")  # what Hydra reads as a word


def _hydra(value: Any, key: str = "") -> str:
    """A value that the harness has read, as Hydra reads it. The harness takes the word `none` for no value; as a
    group's option it is one."""
    if value is None:
        return "none" if key in GROUPS else "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_hydra, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{name}:{_hydra(inner)}" for name, inner in value.items()) + "}"
    text = str(value)
    if not isinstance(value, str) or _PLAIN.fullmatch(text):
        return text
    return "'" + re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + ("\\'" if match[2] else ""), text) + "'"


def _stop(request: Instance) -> list[str]:
    """Raises UserError: what a task's file gives are no texts."""
    until = request.args[1].get("until") or []
    stops = [until] if isinstance(until, str) else until
    if not isinstance(stops, (list, tuple)) or not all(isinstance(stop, str) for stop in stops):
        raise UserError(
            f"generation_kwargs.until={until} of --tasks {request.task_name} is no list of texts: correct the"
            " task's file."
        )
    return list(stops)
