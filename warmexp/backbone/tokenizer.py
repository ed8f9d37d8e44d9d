"""A backbone's tokenizer: prompts in, responses out, and proposals re-encoded from text.

Read from `tokenizer.json` with the `tokenizers` library: no remote code, and special tokens are recognised only where the template puts
them, never in what a question or a proposer wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from warmexp.backbone.transformer import ModelConfig
from warmexp.errors import UserError


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
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise UserError(f"backbone.path={folder} has no tokenizer.json: give a checkpoint with its fast tokenizer.")
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises bare Exception
            raise UserError(f"backbone.path={folder}: tokenizer.json cannot be read ({error}).") from None
        if tokenizer.id_to_token(config.mask_token_id) is None:
            raise UserError(f"backbone.path={folder}: its vocabulary has no mask token (mask_token_id={config.mask_token_id}).")
        unknown = [token for token in end_tokens if tokenizer.token_to_id(token) is None]
        if unknown:
            raise UserError(f"backbone.end_tokens={unknown[0]} is not a token of {folder}.")
        added = tokenizer.get_added_tokens_decoder()
        special = {i for i, token in added.items() if token.special} | {config.mask_token_id, config.eos_token_id}
        end = (config.eos_token_id, *(tokenizer.token_to_id(token) for token in end_tokens))
        return cls(tokenizer, template, config.mask_token_id, config.eos_token_id, end, frozenset(special))

    def encode(self, text: str) -> list[int]:
        """Ids of plain text. A special token spelled out in it is text, and none of its ids is ever returned."""
        self.tokenizer.encode_special_tokens = True
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        return [i for i in ids if i not in self.special_ids]

    def encode_prompt(self, prompt: str) -> list[int]:
        """Ids of a prompt inside the template, whose own special tokens are recognised."""
        before, after = self.template.split("{prompt}")
        return self._encode_template(before) + self.encode(prompt) + self._encode_template(after)

    def _encode_template(self, text: str) -> list[int]:
        self.tokenizer.encode_special_tokens = False
        return self.tokenizer.encode(text, add_special_tokens=False).ids if text else []

    def until_end(self, ids: tuple[int, ...] | list[int]) -> list[int]:
        """The response proper: everything before the first end token."""
        ends = [i for i, token in enumerate(ids) if token in self.end_ids]
        return list(ids[: ends[0]] if ends else ids)

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)
