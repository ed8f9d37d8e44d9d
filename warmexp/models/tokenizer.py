"""A backbone's tokenizer: prompts in, responses out, and proposals re-encoded from text.

Special tokens are recognised only where the template puts them, never in what a question or a proposer wrote, and
nothing is added that the template does not say (no second beginning-of-text token).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer

from warmexp.errors import UserError
from warmexp.models.files import shown
from warmexp.models.tokenizer_files import as_at_inference, library_errors, read_tokenizer
from warmexp.models.transformer import ModelConfig

_LOOKS_SPECIAL = re.compile(r"<\|[^|<>\s]+\|>")


@dataclass
class BackboneTokenizer:
    """template: text around a prompt. end_ids: ids that end a response. special_ids: ids that are never taken from
    text.

    template_start: the beginning of the template that stands once, before the first turn. template_turn_end: what ends
    an assistant's turn; None: the template has one user turn only. set_aside: settings of a training that its files
    held (tokenizer_files.py).
    """

    tokenizer: Tokenizer
    template: str
    mask_id: int
    eos_id: int
    end_ids: tuple[int, ...]
    special_ids: frozenset[int]
    template_start: str = ""
    template_turn_end: str | None = None
    set_aside: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        folder: Path,
        config: ModelConfig,
        template: str,
        end_tokens: Sequence[str],
        template_start: str = "",
        template_turn_end: str | None = None,
        mask_name: str | None = None,
    ) -> BackboneTokenizer:
        """Read a checkpoint's tokenizer and check it against its configuration, the template and the end tokens.

        mask_name: the mask's, where the tokenizer may end just before the mask's id: it is then added.
        Raises:
            UserError: no readable tokenizer, no mask token in it, ids beyond the embedding table, or a token it does
            not have.
        """
        tokenizer = read_tokenizer(folder)
        set_aside = as_at_inference(tokenizer)
        where = f"backbone.path={folder}"
        if mask_name is not None and tokenizer.get_vocab_size() == config.mask_token_id:
            tokenizer.add_special_tokens([AddedToken(mask_name, special=True, normalized=False)])
        if tokenizer.id_to_token(config.mask_token_id) is None:
            raise UserError(f"{where}: its vocabulary has no mask token (mask_token_id={config.mask_token_id}).")
        with library_errors(f"{where}: its tokenizer does not work"):
            vocabulary = tokenizer.get_vocab()
            tokenizer.encode("a b", add_special_tokens=False)
        if len(set(vocabulary.values())) < len(vocabulary):
            raise UserError(
                f"{where}: its tokenizer gives two tokens one id: its files are damaged, download them again."
            )
        largest = max(vocabulary.values())
        if largest >= config.embedding_size:
            raise UserError(
                f"{where}: its tokenizer has ids up to {largest} and its embedding table {config.embedding_size} rows:"
                " the tokenizer files are another model's."
            )
        names = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
        mask_name = tokenizer.id_to_token(config.mask_token_id)
        if mask_name not in names:
            raise UserError(
                f"{where}: config.json has mask_token_id={config.mask_token_id}, which is {shown(mask_name)}, a token"
                " of text: one of them is another model's."
            )
        beyond = max((i for name, i in vocabulary.items() if name not in names), default=0)
        if beyond >= config.vocab_size:
            raise UserError(
                f"{where}: its tokenizer has ids up to {beyond} for text and config.json"
                f" vocab_size={config.vocab_size}: one of them is another model's."
            )
        for key, text in {"template": template, "template_turn_end": template_turn_end or ""}.items():
            unknown = [token for token in _LOOKS_SPECIAL.findall(text) if token not in names]
            if unknown:  # it would silently be spelled out in letters
                raise UserError(
                    f"backbone.{key} has {unknown[0]}, which is not a token of {folder}: give that model's own"
                    " template."
                )
        more = []
        for token in end_tokens:
            if (found := tokenizer.token_to_id(token)) is None:
                raise UserError(f"backbone.end_tokens={token} is not a token of {folder}.")
            more.append(found)
        mask, eos = config.mask_token_id, config.eos_token_id
        end = tuple(dict.fromkeys([eos, *config.end_token_ids, *more]))
        _make_special(tokenizer, (mask, *end))
        special = {i for i, token in tokenizer.get_added_tokens_decoder().items() if token.special} | {mask, eos}
        return cls(
            tokenizer, template, mask, eos, end, frozenset(special), template_start, template_turn_end, set_aside
        )

    def encode(self, text: str) -> list[int]:
        """Ids of plain text. A special token spelled out in it is text, and none of its ids is ever returned."""
        self.tokenizer.encode_special_tokens = True
        with library_errors(f"the backbone's tokenizer cannot encode {shown(text)}"):
            ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [i for i in ids if i not in self.special_ids]

    def encode_prompt(self, prompt: str) -> list[int]:
        """Ids of a prompt inside the template, whose own special tokens are recognised: one user turn."""
        return self.encode_turns((prompt,))

    def encode_turns(self, turns: Sequence[str]) -> list[int]:
        """Ids of a conversation: user, assistant, user, …, the last one the user's, up to where the assistant speaks.

        Each user's text stands in the template, which from the second on lacks `template_start`; `template_turn_end`
        follows each assistant's. The template's plain text next to what is said is encoded together with it, as one
        string: a line break after a question mark can be one token with it.
        """
        before, after = self.template.split("{prompt}")
        again = f"{self.template_turn_end or ''}{before.removeprefix(self.template_start)}"
        around = [before, *[after, again] * (len(turns) // 2), after]
        last = len(turns)
        ids: list[int] = []
        text = ""  # what waits to be encoded as one string
        for i, (part, said) in enumerate(zip(around, [*turns, ""], strict=True)):
            tokens = list(self._special.finditer(part))
            if tokens:
                left = 0 if i == 0 else tokens[0].start()
                right = len(part) if i == last else tokens[-1].end()
                ids += [*self.encode(text + part[:left]), *self._recognised(part[left:right])]
                text, part = "", part[right:]
            text += part + said
        return [*ids, *self.encode(text)]

    def _recognised(self, text: str) -> list[int]:
        """Ids of the template's text, special tokens and all."""
        self.tokenizer.encode_special_tokens = False
        with library_errors(f"the backbone's tokenizer cannot encode {shown(text)}"):
            return self.tokenizer.encode(text, add_special_tokens=False).ids

    @cached_property
    def _special(self) -> re.Pattern[str]:
        """Any special token, spelled out."""
        special = [re.escape(t.content) for t in self.tokenizer.get_added_tokens_decoder().values() if t.special]
        return re.compile("|".join(sorted(special, key=len, reverse=True)) or r"(?!)")

    def until_end(self, ids: tuple[int, ...] | list[int]) -> list[int]:
        """The response proper: everything before the first end token."""
        ends = [i for i, token in enumerate(ids) if token in self.end_ids]
        return list(ids[: ends[0]] if ends else ids)

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def piece(self, token: int) -> str:
        """One token as text: special tokens by name; a part of a character is the replacement sign."""
        if token in self.special_ids:
            return self.tokenizer.id_to_token(token) or ""
        return self.tokenizer.decode([token], skip_special_tokens=False)

    def textless(self, rows: int, vocab_size: int) -> tuple[tuple[int, int], ...]:
        """Runs [first, past the last) of the ids below `rows` that no token has, or that are beyond the vocabulary:
        what fills up an embedding table. A canvas must not get one of them, for nobody could read it."""
        return runs_without([i for i in self.tokenizer.get_vocab().values() if i < vocab_size], rows)


def runs_without(ids: Sequence[int], rows: int) -> tuple[tuple[int, int], ...]:
    """Runs [first, past the last) of the numbers below `rows` that are not among `ids`."""
    there = np.zeros(rows, dtype=bool)
    there[list(ids)] = True
    edges = np.flatnonzero(np.diff(np.concatenate(([True], there, [True]))))
    return tuple((int(first), int(past)) for first, past in edges.reshape(-1, 2))


def _make_special(tokenizer: Tokenizer, ids: Sequence[int]) -> None:
    """Mark the added tokens among `ids` as special: spelled out in a text they are text, whatever their flag says."""
    added = tokenizer.get_added_tokens_decoder()
    for token in (added[i] for i in ids if i in added and not added[i].special):
        flags = {name: getattr(token, name) for name in ("single_word", "lstrip", "rstrip", "normalized")}
        tokenizer.add_special_tokens([AddedToken(token.content, special=True, **flags)])
