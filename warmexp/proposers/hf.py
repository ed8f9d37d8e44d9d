"""Any `transformers` causal language model as a proposer: greedy, batched, per-token log-probabilities kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from warmexp.console import quiet_torchao
from warmexp.errors import UserError, check_choice, check_range, out_of_memory
from warmexp.models.hub import fingerprint, model_folder, read_json
from warmexp.models.weights import DTYPES
from warmexp.proposers.chat import DATE, RESERVED, rendered
from warmexp.proposers.greedy import Written, batched, end_ids, may_pad, write
from warmexp.proposers.likely import Alternative, rewritten
from warmexp.proposers.markup import cleaned, tell_cleaned
from warmexp.proposers.proposal import TAILS, Asked, Proposal, Proposer
from warmexp.proposers.spans import decoded_spans
from warmexp.proposers.tokenizer import as_at_inference, prompt_ids
from warmexp.proposers.weights import check_folder, check_loaded
from warmexp.runs.batches import empty_cache, halving

# Prompt tokens that a response is decoded behind, so that its first space is its own (spans.py).
_CONTEXT = 8
# Raised when the same model and options propose otherwise: 2 leaves out what a checkpoint's own settings and a row's
# neighbours did.
_GREEDY = 2

# The model in memory, with its tokenizer: while it proposes, and after that if it was asked to stay for the jobs that
# follow in the same process.
_resident: dict[str, tuple[Any, Any]] = {}


def free_models() -> None:
    """Give back the memory of a resident proposer and of whatever else is no longer referred to."""
    _resident.clear()
    empty_cache()


@dataclass
class HFProposer(Proposer):
    """Plain greedy decoding (greedy.py): no sampling, no generation settings of the checkpoint's but its end tokens, no
    remote code.

    path: `lab:NAME`, a local folder or a hub name; revision: hub revision. dtype: of the weights.
    prompt: text around the task's prompt ("{prompt}"; put few-shot examples here for a base model). chat_template: wrap
    it as one user turn with the tokenizer's own chat template instead; a prompt of several turns (task.shots=turns)
    becomes as many messages, with `prompt` around each of the user's. chat_template_kwargs: what the template reads
    beside the messages, such as {enable_thinking: false}. stop: strings that end the response, cut off. max_new_tokens,
    batch_size: of generation. likely: how many of the likeliest tokens to keep in each place (init.k); 0: none.
    resident: keep the model in memory for the jobs that follow in this process, beside the backbone; otherwise it is
    freed before the backbone is loaded. tail: see proposal.py.

    A proposal depends on its own prompt: every row may write max_new_tokens, or what its own prompt leaves of the
    model's context. With dtype=bfloat16 or float16 a batch of another size may round otherwise, as everywhere.
    """

    path: str
    revision: str | None = None
    dtype: str = "float32"
    prompt: str = "{prompt}"
    chat_template: bool = False
    chat_template_kwargs: dict[str, Any] | None = None
    stop: list[str] = field(default_factory=lambda: ["Question:"])
    max_new_tokens: int = 256
    batch_size: int = 64
    likely: int = 0
    resident: bool = False
    tail: str = "mask"
    stored = True

    def __post_init__(self) -> None:
        self._cleaned: list[str] = []  # texts from which markup was taken
        check_choice("proposer.dtype", self.dtype, DTYPES)
        check_choice("proposer.tail", self.tail, TAILS)
        check_range(
            "proposer.max_new_tokens", self.max_new_tokens, 1, 2**17, "the number of tokens a proposal may have"
        )
        check_range("proposer.batch_size", self.batch_size, 1, 2**16, "the number of questions in a batch")
        check_range("proposer.likely", self.likely, 0, 64, "how many of the likeliest tokens are kept in each place")
        if self.prompt.count("{prompt}") != 1:
            raise UserError(f"proposer.prompt={self.prompt!r} must contain {{prompt}} exactly once.")
        if self.chat_template_kwargs and not self.chat_template:
            raise UserError(
                f"proposer.chat_template_kwargs={self.chat_template_kwargs} is read by a chat template and"
                " proposer.chat_template=false:"
                " set it to true, or leave them out."
            )
        taken = RESERVED & set(self.chat_template_kwargs or ())
        if taken:
            raise UserError(
                f"proposer.chat_template_kwargs has {min(taken)}, which the call itself gives to a template: leave it"
                " out."
            )

    @cached_property
    def folder(self) -> Path:
        return model_folder("proposer.path", self.path, self.revision)

    @cached_property
    def _which(self) -> str:
        """Which model it is, for as long as this proposer is in use."""
        check_folder(self.folder)
        return fingerprint(self.folder, "proposer.path")

    def identity(self) -> dict[str, Any]:
        end_ids("proposer.path", self.folder, self._vocabulary)
        options = {name: getattr(self, name) for name in ("dtype", "prompt", "chat_template", "stop", "max_new_tokens")}
        more = {"chat_template_kwargs": dict(self.chat_template_kwargs)} if self.chat_template_kwargs else {}
        said = {"likely": self.likely} if self.likely else {}  # the same proposals without them have no such entry
        return {
            "kind": "hf",
            "greedy": _GREEDY,
            "model": self._which,
            **options,
            "stop": list(self.stop),
            **more,
            **said,
        }

    @property
    def _vocabulary(self) -> int:
        size = read_json("proposer.path", self.folder / "config.json").get("vocab_size")
        return size if isinstance(size, int) else 2**31  # some configurations keep it elsewhere

    def propose(self, questions: list[Asked], device: str, seed: int, progress) -> Iterator[tuple[str, Proposal]]:
        """Longest prompts last, so that a batch holds prompts of similar length; the model is freed at the end unless
        it is resident."""
        self._cleaned.clear()
        try:
            prompts = self._prompts(questions)
            room = {i: self._room(i, len(ids)) for i, ids in prompts.items()}
            model, _ = self._model(device)
            ordered = sorted(questions, key=lambda q: (len(prompts[q.id]), q.id))
            sized = [(q, room[q.id]) for q in ordered]
            batches = batched(sized, self.max_new_tokens, self.batch_size, may_pad(model))
            del model  # the batches must not keep it alive when its place is wanted

            def generate(batch: Sequence[Asked]) -> list[Proposal]:
                most = min(self.max_new_tokens, room[batch[0].id])
                return self._generate(*self._model(device), [prompts[q.id] for q in batch], most)

            done = 0
            for batch, proposals in halving(batches, generate, self._tell, self._remedy(device)):
                yield from zip((q.id for q in batch), proposals, strict=True)
                done += len(batch)
                progress(done, len(ordered))
            tell_cleaned(self._tell, self._cleaned)
        finally:
            if not self.resident:
                free_models()

    def _tell(self, sentence: str) -> None:
        self.say(f"proposer: {sentence}")

    def _remedy(self, device: str) -> str:
        narrower = " proposer.dtype=bfloat16," if self.dtype == "float32" else ""
        return (
            f"device={device} cannot hold proposer.path={self.path} and one question with"
            f" proposer.max_new_tokens={self.max_new_tokens};"
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
                raise UserError(
                    f"proposer.path={self.path} was changed while it was in use: run the same command again."
                )
        return _resident[key]

    def _load(self, device: str) -> tuple[Any, Any]:
        quiet_torchao()
        from transformers import AutoModelForCausalLM, GenerationConfig

        tokenizer = self.tokenizer
        with self._one_sentence():
            model, found = AutoModelForCausalLM.from_pretrained(
                self.folder,
                config=self.config,
                output_loading_info=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=DTYPES[self.dtype],
                generation_config=GenerationConfig(),
            )
        check_loaded(self.folder, found)
        try:
            return model.to(device).eval(), tokenizer
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            raise UserError(self._too_large(device)) from None

    def _too_large(self, device: str) -> str:
        narrower = ", proposer.dtype=bfloat16" if self.dtype == "float32" else ""
        return (
            f"proposer.path={self.path} does not fit in the memory of device={device}: free memory there, or choose"
            f" another device=…{narrower} or a smaller proposer."
        )

    @cached_property
    def config(self) -> Any:
        from transformers import AutoConfig

        with self._one_sentence():
            config = AutoConfig.from_pretrained(self.folder, trust_remote_code=False)
        config._attn_implementation = None  # a file could name a kernel to be downloaded and run
        config.return_dict = True  # of whoever saved it; generation reads outputs by their names
        config.is_encoder_decoder = False  # a causal language model is none, and would be asked for a first token
        return config

    @cached_property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        with self._one_sentence():
            tokenizer = as_at_inference(AutoTokenizer.from_pretrained(self.folder, trust_remote_code=False))
        if self.chat_template and not tokenizer.chat_template:
            raise UserError(
                f"proposer.chat_template=true but the tokenizer of {self.path} has none: set"
                " proposer.chat_template=false."
            )
        return tokenizer

    @contextmanager
    def _one_sentence(self) -> Iterator[None]:
        quiet_torchao()
        from transformers.utils import logging as transformers_logging

        transformers_logging.disable_progress_bar()  # its bar would be drawn over ours
        transformers_logging.set_verbosity_error()
        try:
            yield
        except Exception as error:  # the library raises whatever its many parts raise
            if out_of_memory(error):
                raise UserError(self._too_large("cpu")) from None  # a model is read on the host first
            raise UserError(
                f"proposer.path={self.path} is not a causal language model transformers can load"
                f" ({_first_line(error)})."
            ) from None

    def _prompts(self, questions: Sequence[Asked]) -> dict[str, list[int]]:
        """Question id -> ids of its prompt. A chat template writes the beginning of text itself."""
        texts, tokenizer = self._texts(questions), self.tokenizer
        try:
            return {i: prompt_ids(tokenizer, text, not self.chat_template) for i, text in texts.items()}
        except Exception as error:  # of the tokenizers library, which has no class of its own for them
            raise UserError(
                f"proposer.path={self.path}: its tokenizer cannot encode the prompts ({_first_line(error)}): check its"
                " tokenizer files, or choose another proposer."
            ) from None

    def _texts(self, questions: Sequence[Asked]) -> dict[str, str]:
        if not self.chat_template:
            return {q.id: self.prompt.replace("{prompt}", q.prompt) for q in questions}
        chats = [
            [
                {"role": "assistant", "content": text}
                if i % 2
                else {"role": "user", "content": self.prompt.replace("{prompt}", text)}
                for i, text in enumerate(q.turns or (q.prompt,))
            ]
            for q in questions
        ]
        with self._one_sentence():
            template = self.tokenizer.get_chat_template()
        special = {
            name: str(token) for name, token in self.tokenizer.special_tokens_map.items() if isinstance(token, str)
        }
        variables = {**special, "date_string": DATE.strftime("%d %b %Y"), **(self.chat_template_kwargs or {})}
        texts = rendered(f"proposer.path={self.path}", template, chats, variables)
        return dict(zip((q.id for q in questions), texts, strict=True))

    def _room(self, question: str, length: int) -> int:
        """Tokens that a response to a prompt of `length` tokens may have in the model's context."""
        limit = getattr(self.config.get_text_config(), "max_position_embeddings", None) or 2**20
        if length < 1:
            raise UserError(
                f"proposer.path={self.path}: the prompt of {question} has no tokens: check task.prompt and"
                " proposer.prompt."
            )
        if length >= limit:
            raise UserError(
                f"proposer.path={self.path} takes {limit} tokens and the prompt of {question} has {length}: use"
                " shorter prompts or another proposer."
            )
        return limit - length

    def _generate(self, model, tokenizer, prompts: list[list[int]], most: int) -> list[Proposal]:
        started = time.perf_counter()
        own = end_ids("proposer.path", self.folder, self._vocabulary)
        ends = sorted({*own, tokenizer.eos_token_id} - {None})
        rows = self._written(model, tokenizer, prompts, most, ends)
        seconds = (time.perf_counter() - started) / len(prompts)
        last = {*ends, tokenizer.pad_token_id} - {None}
        return [
            self._proposal(tokenizer, ids[-_CONTEXT:], row, last, seconds)
            for ids, row in zip(prompts, rows, strict=True)
        ]

    def _written(self, model, tokenizer, prompts: list[list[int]], most: int, ends: list[int]) -> list[Written]:
        """Errors of memory go on to whoever halves the batch."""
        try:
            return write(model, tokenizer, prompts, most, ends, [s for s in self.stop if s], self.likely)
        except (UserError, OSError, MemoryError):
            raise
        except Exception as error:  # the library raises whatever its many models raise
            if out_of_memory(error):
                raise
            raise UserError(
                f"proposer.path={self.path} cannot write with this version of transformers ({type(error).__name__}:"
                f" {_first_line(error)}): check its configuration and tokenizer files,"
                " or choose another proposer."
            ) from None

    def _proposal(self, tokenizer, context: list[int], row: Written, ends: set[int], seconds: float) -> Proposal:
        written = proposal_of(tokenizer, context, row, ends, self.stop, seconds)
        if not all(math.isfinite(p) for *_, p in written.tokens) or (
            written.end is not None and not math.isfinite(written.end)
        ):
            raise UserError(
                f"proposer.path={self.path} computes numbers that are not finite with proposer.dtype={self.dtype}:"
                " choose another dtype, or check its weights."
            )
        made = cleaned(written)
        if made is not written:
            self._cleaned.append(written.text)
        return made


def proposal_of(
    tokenizer, context: list[int], row: Written, ends: set[int], stop: list[str], seconds: float
) -> Proposal:
    """Text up to the first end token or stop string, and the character span of every token in it. context: the prompt's
    last tokens."""
    ids, logp, _ = row
    length = next((i for i, token in enumerate(ids) if token in ends), len(ids))
    decode = partial(tokenizer.decode, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    text, spans = decoded_spans(ids[:length], decode, context)
    stop = [s for s in stop if s]  # an empty one stops nothing, as with the backbone
    cut = min((text.find(s) for s in stop if s in text), default=len(text))
    tokens = [(a, min(b, cut), round(min(p, 0.0), 6)) for (a, b), p in zip(spans, logp, strict=False) if a < cut]
    kept = [i for i, (a, _) in enumerate(spans) if a < cut]
    likely = tuple(
        rewritten(_texts(ids[:length], row.likely[i], i, decode, context, ends), text[slice(*spans[i])], text[a:b])
        for i, (a, b, _) in zip(kept, tokens, strict=True)
        if row.likely
    )
    # A row that a stop string ended is filled up with padding, which may be the end token: that end is not the model's.
    ended = length < len(ids) and not any(s in text for s in stop)
    end = round(min(logp[length], 0.0), 6) if ended else None
    return Proposal(text[:cut], tuple(tokens), seconds, end, likely)


def _texts(
    ids: Sequence[int],
    likely: Sequence[tuple[int, float]],
    i: int,
    decode: Callable[[list[int]], str],
    context: Sequence[int],
    ends: set[int],
) -> tuple[Alternative, ...]:
    """The texts of what might stand at i, each behind what stands there; None for an end. What is no whole character,
    or makes one whole that has begun, is left out."""
    before = [*context, *ids[:i]][-_CONTEXT:]
    head, found = decode(before), []
    for token, p in likely:
        whole = head if token in ends else decode([*before, token])
        text = None if token in ends else whole.removeprefix(head)
        if whole.startswith(head) and text != "" and "\ufffd" not in (text or "") and p > -math.inf:
            found.append((text, round(min(p, 0.0), 6)))
    return tuple(found)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
