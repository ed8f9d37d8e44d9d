"""config.json field by field: every value has the type and the range its name says, or is refused in one sentence that
names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from warmexp.errors import UserError
from warmexp.models.files import shown

_MOST = 2**31 - 1
# Keys of a rotary description that say nothing beyond the plain one.
_PLAIN_ROPE = {"rope_type": "default", "type": "default"}


@dataclass(frozen=True)
class Fields:
    """A parsed config.json. where: the checkpoint, for messages."""

    raw: dict[str, Any]
    where: str

    def __contains__(self, name: str) -> bool:
        return self.raw.get(name) is not None

    def refuse(self, name: str, meaning: str, value: Any = None) -> UserError:
        return UserError(
            f"{self.where}: config.json has {name}={shown(self.raw.get(name) if value is None else value)}, {meaning}."
        )

    def whole(self, name: str, default: int | None = None, least: int = 1) -> int:
        """A whole number; `default` where it is absent or null."""
        value = self.raw.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST:
            raise self.refuse(name, f"which is not a whole number from {least} to {_MOST}: check the checkpoint")
        return value

    def real(self, name: str, low: float, high: float) -> float:
        """A number in (low, high]."""
        return self._real(name, self.raw.get(name), low, high)

    def _real(self, name: str, value: Any, low: float, high: float) -> float:
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and low < value <= high
        if not good:
            raise self.refuse(
                name, f"which is not a number above {low:g} and at most {high:g}: check the checkpoint", value
            )
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        value = self.raw.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refuse(name, "which is neither true nor false: check the checkpoint")
        return value

    def token(self, name: str, rows: int, default: int | None = None) -> int:
        value = self.raw.get(name)
        return self._token(name, default if value is None else value, rows)

    def tokens(self, name: str, rows: int, default: int | None = None) -> tuple[int, ...]:
        """One token or a list of some, each once."""
        value = self.raw.get(name)
        value = default if value is None else value
        listed = value if isinstance(value, list) else [value]
        if not listed:
            raise self.refuse(name, "which names no token: check the checkpoint")
        return tuple(dict.fromkeys(self._token(name, token, rows) for token in listed))

    def _token(self, name: str, value: Any, rows: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < rows:
            raise self.refuse(
                name,
                f"which is not a token: the ids are the whole numbers from 0 to {rows - 1}: check the checkpoint",
                value,
            )
        return value

    def rope_theta(self, share: float = 1) -> float:
        """The rotary base: `rope_theta`, or what transformers 5 writes in its place, `rope_parameters`. share: the part
        of a head that turns.

        Raises:
            UserError: none, two that differ, or rotary positions that are stretched in some way (`rope_scaling`, any
            `rope_type` but default), which this transformer does not implement.
        """
        if self.raw.get("partial_rotary_factor", share) not in (None, share):
            raise self.refuse("partial_rotary_factor", f"only {share:g} is implemented")
        found = {"rope_theta": self.raw.get("rope_theta")}
        for name in ("rope_parameters", "rope_scaling"):
            value = self.raw.get(name)
            if value is None:
                continue
            rest = (
                {k: v for k, v in value.items() if k != "rope_theta" and v is not None}
                if isinstance(value, dict)
                else None
            )
            plain = _PLAIN_ROPE | {"partial_rotary_factor": share}
            if rest is None or any(k not in plain or v != plain[k] for k, v in rest.items()):
                raise self.refuse(name, "only plain rotary positions (rope_type default) are implemented")
            found[f"{name}.rope_theta"] = value.get("rope_theta")
        bases = {name: self._real(name, value, 1, 1e15) for name, value in found.items() if value is not None}
        if not bases:
            raise UserError(
                f"{self.where}: config.json lacks rope_theta (or rope_parameters with it): check the checkpoint."
            )
        if len(set(bases.values())) > 1:
            both = " and ".join(f"{name}={value:g}" for name, value in bases.items())
            raise UserError(f"{self.where}: config.json has {both}, which differ: check the checkpoint.")
        return next(iter(bases.values()))
