"""A scaffold: what is known of a response's form stands on the canvas, and the model fills slots (S³, arXiv
2507.04504)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from warmexp.decode.canvas import Question, Start
from warmexp.decode.strategy import Init, Texts
from warmexp.errors import UserError, check_range

_SLOT = re.compile(r"\{(\w+)(?::(\d+))?\}")
# What would end a JSON string, or may not stand in one.
_NOT_IN_JSON = '"\\' + "".join(map(chr, range(32)))


@dataclass
class Scaffold(Init):
    """The canvas is a template: its text is fixed tokens, `{name:n}` is a slot of n masks, `{name}` (one of them at
    most) a slot of what is left, and behind the template's end stands the end of text.

    A slot's tokens are the model's, except that none ends the response and none has a character of `without`. Text and
    slots are encoded piece by piece. Published: one block of the whole canvas, a quota, and 16 masks per field; a value
    that is shorter fills up with a null word that the prompt asks for, such as `<none>`.

    template: as above. schema: the path of a JSON schema of an object, whose `properties` make the template: fields of
    `slot` tokens each, or of the property's own `tokens`, all strings as released. Nothing in a slot can end a JSON
    string then, so every response parses. slot: 16. without: characters; with a schema also quotes, backslashes and
    what is below a space.
    """

    template: str = "{work}\n#### {answer:4}"
    schema: str | None = None
    slot: int = 16
    without: str = ""
    fixes = True

    def __post_init__(self) -> None:
        check_range("init.slot", self.slot, 1, 2**20, "the number of tokens of a field")
        if self.schema is not None:
            self.template = self._of_schema(self.schema)
        slots = list(_SLOT.finditer(self.template))
        names = [slot[1] for slot in slots]
        rests = [slot for slot in slots if slot[2] is None]
        if not names or len(set(names)) < len(names) or len(rests) > 1 or any(slot[2] == "0" for slot in slots):
            raise UserError(
                f"init.template={self.template!r} needs slots such as {{answer:4}}, each name once, of at least one"
                " token, and at most one slot without a number."
            )

    def _of_schema(self, path: str) -> str:
        try:
            fields = json.loads(Path(path).expanduser().read_text(encoding="utf-8"))["properties"]
            sizes = {name: int(kind.get("tokens", self.slot)) for name, kind in fields.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"init.schema={path} is no JSON schema of an object with properties ({type(error).__name__}): give a"
                ' file such as {"properties": {"name": {}, "year": {"tokens": 4}}}.'
            ) from None
        lines = [f'  {json.dumps(name)}: "{{f{i}:{size}}}"' for i, (name, size) in enumerate(sizes.items())]
        return "{\n" + ",\n".join(lines) + "\n}"

    def identity(self) -> dict[str, Any]:
        """With what a schema says (the template that it makes, and that slots are JSON) and not where it is."""
        return {**super().identity(), "schema": self.schema is not None}

    def bind(self, texts: Texts, length: int) -> None:
        if self.schema is not None and texts.stop:
            raise UserError(
                f"init.schema={self.schema} asks for JSON, which the stop string {texts.stop[0]!r} in a slot would cut:"
                " set task.stop=[]."
            )
        banned = self.without + (_NOT_IN_JSON if self.schema is not None else "")
        pieces = texts.pieces()
        allowed = {i for i, piece in pieces.items() if piece and not any(c in piece for c in banned)}
        if not allowed:
            raise UserError(f"init.without={self.without!r} leaves no token for the slots: give fewer characters.")
        self._tokens = self._laid_out(texts, length)
        self.rules_out = tuple(sorted((set(pieces) | {texts.end} | set(texts.special())) - allowed))

    def _laid_out(self, texts: Texts, length: int) -> list[int]:
        """[L], -1 in slots."""
        parts: list[list[int] | int] = []
        text = 0
        for match in _SLOT.finditer(self.template):
            parts += [texts.encode(self.template[text : match.start()]), int(match[2] or -1)]
            text = match.end()
        parts.append(texts.encode(self.template[text:]))
        known = sum(part if isinstance(part, int) else len(part) for part in parts if part != -1)
        if known + (-1 in parts) > length:
            raise UserError(
                f"init.template needs {known + (-1 in parts)} tokens and length.canvas_length={length}: choose a longer"
                " canvas or smaller slots."
            )
        rows = [[-1] * (length - known if part == -1 else part) if isinstance(part, int) else part for part in parts]
        laid = [token for row in rows for token in row]
        return laid + [texts.end] * (length - len(laid))

    def start(self, question: Question, length: int, seed: int) -> Start:
        tokens = np.array(self._tokens, dtype=np.int64)
        fixed = tokens >= 0
        return Start(np.where(fixed, tokens, 0), fixed, fixed=fixed)
