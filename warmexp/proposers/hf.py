"""Any `transformers` causal language model as a proposer: greedy, batched, per-token log-probabilities kept."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from warmexp.errors import UserError, check_choice, check_range, out_of_memory
from warmexp.models.hub import fingerprint, model_folder
from warmexp.proposers.proposal import TAILS, Asked, Proposal, Proposer
from warmexp.proposers.spans import decoded_spans
from warmexp.proposers.tokenizer import as_at_inference, encoded_prompts
from warmexp.runs.batches import empty_cache, halving

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Prompt tokens that a response is decoded behind, so that its first space is its own (spans.py).
_CONTEXT = 8
# Some templates write the day's date into the prompt; a proposal must not depend on it. This is the date that Llama 3.1's shows by default.
_DATE = "26 Jul 2024"

# The model in memory, with its tokenizer: while it proposes, and after that if it was asked to stay for the jobs that follow in the same
# process.
_resident: dict[str, tuple[Any, Any]] = {}


def free_models() -> None:
    """Give back the memory of a resident proposer and of whatever else is no longer referred to."""
    _resident.clear()
    empty_cache()


@dataclass
class HFProposer(Proposer):
    """Greedy decoding by `generate`: no sampling, no penalties of the checkpoint's own, no remote code.

    path: `lab:NAME`, a local folder or a hub name; revision: hub revision. dtype: of the weights.
    prompt: text around the task's prompt ("{prompt}"; put few-shot examples here for a base model). chat_template: wrap it as one user
    turn with the tokenizer's own chat template instead; a prompt of several turns (task.shots=turns) becomes as many messages, with
    `prompt` around each of the user's. stop: strings that end the response, cut off. max_new_tokens, batch_size: of generation.
    resident: keep the model in memory for the jobs that follow in this process, beside the backbone; otherwise it is freed
    before the backbone is loaded. tail: see proposal.py.
    """

    path: str
    revision: str | None = None
    dtype: str = "float32"
    prompt: str = "{prompt}"
    chat_template: bool = False
    stop: list[str] = field(default_factory=lambda: ["Question:"])
    max_new_tokens: int = 256
    batch_size: int = 64
    resident: bool = False
    tail: str = "mask"
    stored = True

    def __post_init__(self) -> None:
        check_choice("proposer.dtype", self.dtype, DTYPES)
        check_choice("proposer.tail", self.tail, TAILS)
        check_range("proposer.max_new_tokens", self.max_new_tokens, 1, 2**17, "the number of tokens a proposal may have")
        check_range("proposer.batch_size", self.batch_size, 1, 2**16, "the number of questions in a batch")
        if self.prompt.count("{prompt}") != 1:
            raise UserError(f"proposer.prompt={self.prompt!r} must contain {{prompt}} exactly once.")

    @cached_property
    def folder(self) -> Path:
        return model_folder("proposer.path", self.path, self.revision)

    @cached_property
    def _which(self) -> str:
        """Which model it is, for as long as this proposer is in use."""
        return fingerprint(self.folder, "proposer.path")

    def identity(self) -> dict[str, Any]:
        options = {name: getattr(self, name) for name in ("dtype", "prompt", "chat_template", "stop", "max_new_tokens")}
        return {"kind": "hf", "model": self._which, **options, "stop": list(self.stop)}

    def propose(self, questions: list[Asked], device: str, seed: int, progress) -> Iterator[tuple[str, Proposal]]:
        """Longest prompts last, so that a batch holds prompts of similar length; the model is freed at the end unless it is resident."""
        try:
            _, tokenizer = self._model(device)
            prompts = {q.id: self._prompt(q.prompt, tokenizer, q.turns) for q in questions}
            ordered = sorted(questions, key=lambda q: (len(prompts[q.id]), q.id))
            batches = [ordered[i : i + self.batch_size] for i in range(0, len(ordered), self.batch_size)]

            def generate(batch: Sequence[Asked]) -> list[Proposal]:
                return self._generate(*self._model(device), [prompts[q.id] for q in batch])

            done = 0
            for batch, proposals in halving(batches, generate, self._tell, self._remedy(device)):
                yield from zip((q.id for q in batch), proposals, strict=True)
                done += len(batch)
                progress(done, len(ordered))
        finally:
            if not self.resident:
                free_models()

    def _tell(self, sentence: str) -> None:
        self.say(f"proposer: {sentence}")

    def _remedy(self, device: str) -> str:
        narrower = " proposer.dtype=bfloat16," if self.dtype == "float32" else ""
        return (
            f"device={device} cannot hold proposer.path={self.path} and one question with proposer.max_new_tokens={self.max_new_tokens};"
            f" choose another device=…,{narrower} fewer tokens or shorter prompts; the proposals so far are kept."
        )

    def _model(self, device: str) -> tuple[Any, Any]:
        """Model and tokenizer, loaded or still there. Never more than one proposer is in memory."""
        key = f"{self._which} {self.dtype} {device}"
        if key not in _resident:
            free_models()
            _resident[key] = self._load(device)
            if fingerprint(self.folder, "proposer.path") != self._which:
                free_models()
                raise UserError(f"proposer.path={self.path} was changed while it was in use: run the same command again.")
        return _resident[key]

    def _load(self, device: str) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # its bar would be drawn over ours
        transformers_logging.set_verbosity_error()
        try:
            tokenizer = as_at_inference(AutoTokenizer.from_pretrained(self.folder, trust_remote_code=False, padding_side="left"))
            if self.chat_template and not tokenizer.chat_template:
                raise UserError(f"proposer.chat_template=true but the tokenizer of {self.path} has none: set proposer.chat_template=false.")
            model = AutoModelForCausalLM.from_pretrained(
                self.folder, trust_remote_code=False, use_safetensors=True, dtype=DTYPES[self.dtype]
            )
        except (OSError, ValueError, KeyError, RuntimeError, MemoryError) as error:
            if out_of_memory(error):
                raise UserError(self._too_large("cpu")) from None  # a model is read on the host first
            raise UserError(
                f"proposer.path={self.path} is not a causal language model transformers can load ({_first_line(error)})."
            ) from None
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        try:
            return model.to(device).eval(), tokenizer
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise UserError(self._too_large(device)) from None

    def _too_large(self, device: str) -> str:
        narrower = ", proposer.dtype=bfloat16" if self.dtype == "float32" else ""
        return (
            f"proposer.path={self.path} does not fit in the memory of device={device}: free memory there, or choose another"
            f" device=…{narrower} or a smaller proposer."
        )

    def _prompt(self, prompt: str, tokenizer, turns: tuple[str, ...] = ()) -> str:
        if not self.chat_template:
            return self.prompt.replace("{prompt}", prompt)
        messages = [
            {"role": "assistant", "content": text} if i % 2 else {"role": "user", "content": self.prompt.replace("{prompt}", text)}
            for i, text in enumerate(turns or (prompt,))
        ]
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, date_string=_DATE)

    @torch.inference_mode()
    def _generate(self, model, tokenizer, prompts: list[str]) -> list[Proposal]:
        from transformers import LogitsProcessorList

        started = time.perf_counter()
        # A chat template already contains the beginning-of-text token.
        inputs = encoded_prompts(tokenizer, prompts, beginning=not self.chat_template).to(model.device)
        recorder = _LogProbabilities()
        limit = getattr(model.config, "max_position_embeddings", None) or 2**20
        room = limit - inputs["input_ids"].shape[1]
        if room < 1:
            raise UserError(f"proposer.path={self.path} takes {limit} tokens and a prompt has {inputs['input_ids'].shape[1]}: use another.")
        output = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            max_new_tokens=min(self.max_new_tokens, room),
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            repetition_penalty=1.0,  # Qwen2.5's generation_config.json has 1.1, also for greedy decoding
            pad_token_id=tokenizer.pad_token_id,
            logits_processor=LogitsProcessorList([recorder]),
            **({"stop_strings": list(self.stop), "tokenizer": tokenizer} if self.stop else {}),
        )
        new = output[:, inputs["input_ids"].shape[1] :].tolist()
        logp = torch.stack(recorder.steps, dim=1).tolist()
        ends = _end_ids(model, tokenizer)
        contexts = [row[kept.bool()][-_CONTEXT:].tolist() for row, kept in zip(inputs["input_ids"], inputs["attention_mask"], strict=True)]
        seconds = (time.perf_counter() - started) / len(prompts)
        rows = zip(contexts, new, logp, strict=True)
        return [_proposal(tokenizer, context, ids, p, ends, self.stop, seconds) for context, ids, p in rows]


class _LogProbabilities:
    """A logits processor that changes nothing and keeps the greedy token's log-probability: one float per token instead of the
    [batch, vocabulary] scores per step that `output_scores` would keep."""

    def __init__(self) -> None:
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.steps.append(scores.float().log_softmax(-1).amax(-1))
        return scores


def _end_ids(model, tokenizer) -> set[int]:
    ids = model.generation_config.eos_token_id
    ids = [] if ids is None else ids if isinstance(ids, list) else [ids]
    return {*ids, tokenizer.eos_token_id, tokenizer.pad_token_id} - {None}


def _proposal(
    tokenizer, context: list[int], ids: list[int], logp: list[float], ends: set[int], stop: list[str], seconds: float
) -> Proposal:
    """Text up to the first end token or stop string, and the character span of every token in it. context: the prompt's last tokens."""
    length = next((i for i, token in enumerate(ids) if token in ends), len(ids))
    decode = partial(tokenizer.decode, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    text, spans = decoded_spans(ids[:length], decode, context)
    cut = min((text.find(s) for s in stop if s in text), default=len(text))
    tokens = [(a, min(b, cut), round(p, 6)) for (a, b), p in zip(spans, logp, strict=False) if a < cut]
    # A row that a stop string ended is filled up with padding, which may be the end token: that end is not the model's.
    ended = length < len(ids) and not any(s in text for s in stop)
    return Proposal(text[:cut], tuple(tokens), seconds, round(logp[length], 6) if ended else None)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
