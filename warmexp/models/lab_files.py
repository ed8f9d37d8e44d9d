"""Where the lab's shipped models lie: next to this file, in a checkout and in an installed wheel alike."""

from __future__ import annotations

from pathlib import Path

MODELS = (
    "backbone",
    "backbone_block",
    "proposer_weak",
    "proposer_strong",
    "long_backbone",
    "long_proposer_weak",
    "long_proposer_strong",
    "long_proposer_foreign",
)
MODELS_DIR = Path(__file__).resolve().parent.parent / "lab" / "models"


def model_path(name: str) -> Path:
    """Folder of a shipped model, complete with its tokenizer."""
    if name not in MODELS:
        raise ValueError(f"no lab model named {name!r}; choose from {', '.join(MODELS)}")
    return MODELS_DIR / name
