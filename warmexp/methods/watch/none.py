"""Nobody watches."""

from __future__ import annotations

from dataclasses import dataclass

from warmexp.decode.strategy import Watch


@dataclass
class NoWatch(Watch):
    """Looks at nothing."""
