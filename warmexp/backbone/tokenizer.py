"""A backbone's tokenizer: prompts in, responses out, and proposals re-encoded from text.

Special tokens are recognised only where the template puts them, never in what a question or a proposer wrote, and nothing is added that
the template does not say (no second beginning-of-text token).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer

from warmexp.backbone.tokenizer_files import read_tokenizer
from warmexp.backbone.transformer import ModelConfig
from warmexp.errors import UserError

_LOOKS_SPECIAL = re.compile(r"<\|[^|<>\s]+\|>")


@dataclass
class BackboneTokenizer:
    """template: text around a prompt. end_ids: ids that end a response. special_ids: ids that are never taken from text."""

    tokenizer: Tokenizer
    template: str
    mask_id: int
    eos_id: int
    end_ids: tuple[int, ...]
    special_ids: frozenset[int]

    @classmethod
    def load(cls, folder: Path, config: ModelConfig, template: str, end_tokens: tuple[str, ...] | list[str]) -> BackboneTokenizer:
        """Read a checkpoint's tokenizer and check it against its configuration, the template and the end tokens.

        Raises:
            UserError: no readable tokenizer, no mask token in it, ids beyond the embedding table, or a token it does not have.
        """
        tokenizer = read_tokenizer(folder)
        if tokenizer.id_to_token(config.mask_token_id) is None:
            raise UserError(f"backbone.path={folder}: its vocabulary has no mask token (mask_token_id={config.mask_token_id}).")
        largest = max(tokenizer.get_vocab().values())
        if largest >= config.embedding_size:
            raise UserError(
                f"backbone.path={folder}: its tokenizer has ids up to {largest} and its embedding table {config.embedding_size} rows:"
                " the tokenizer files are another model's."
            )
        added = tokenizer.get_added_tokens_decoder()
        names = {token.content for token in added.values()}
        unknown = [token for token in _LOOKS_SPECIAL.findall(template) if token not in names]
        if unknown:  # it would silently be spelled out in letters
            raise UserError(f"backbone.template has {unknown[0]}, which is not a token of {folder}: give that model's own template.")
        unknown = [token for token in end_tokens if tokenizer.token_to_id(token) is None]
        if unknown:
            raise UserError(f"backbone.end_tokens={unknown[0]} is not a token of {folder}.")
        special = {i for i, token in added.items() if token.special} | {config.mask_token_id, config.eos_token_id}
        end = (config.eos_token_id, *(tokenizer.token_to_id(token) for token in end_tokens))
        return cls(tokenizer, template, config.mask_token_id, config.eos_token_id, end, frozenset(special))

    def encode(self, text: str) -> list[int]:
        """Ids of plain text. A special token spelled out in it is text, and none of its ids is ever returned."""
        self.tokenizer.encode_special_tokens = True
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [i for i in ids if i not in self.special_ids]

    def encode_prompt(self, prompt: str) -> list[int]:
        """Ids of a prompt inside the template, whose own special tokens are recognised.

        The template's plain text next to the prompt is encoded together with it, as one string: a line break after a question mark can
        be one token with it.
        """
        head, left, right, tail = self._around
        return [*head, *self.encode(left + prompt + right), *tail]

    @cached_property
    def _around(self) -> tuple[list[int], str, str, list[int]]:
        """The template: ids up to the last special token before the prompt, text from there, text up to the next one, ids from there."""
        before, after = self.template.split("{prompt}")
        special = [re.escape(t.content) for t in self.tokenizer.get_added_tokens_decoder().values() if t.special]
        token = re.compile("|".join(sorted(special, key=len, reverse=True)) or r"(?!)")
        left = max((found.end() for found in token.finditer(before)), default=0)
        right = next((found.start() for found in token.finditer(after)), len(after))
        self.tokenizer.encode_special_tokens = False
        head, tail = (self.tokenizer.encode(text, add_special_tokens=False).ids for text in (before[:left], after[right:]))
        return head, before[left:], after[:right], tail

    def until_end(self, ids: tuple[int, ...] | list[int]) -> list[int]:
        """The response proper: everything before the first end token."""
        ends = [i for i, token in enumerate(ids) if token in self.end_ids]
        return list(ids[: ends[0]] if ends else ids)

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)
