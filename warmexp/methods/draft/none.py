"""One canvas per question and forward."""

from __future__ import annotations

from dataclasses import dataclass

from warmexp.decode.strategy import Draft


@dataclass
class NoDraft(Draft):
    """Nothing is drafted."""
