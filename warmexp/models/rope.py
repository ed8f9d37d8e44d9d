"""NTK-aware stretching of the rotary base, as LongLLaDA does it (arXiv 2506.14429): θ becomes λ·θ when a model is
loaded.

A rotary dimension whose period is longer than the trained length T never saw a full turn. With

    d_ext = 2·⌈(d/2)·log_θ(T / 2π)⌉        the dimensions that did (d: head dimension)
    λ(L)  = (L / 2π)^(d / d_ext) / θ       so that at length L the last of them turns no further than it did in training

a model trained on T tokens reads L tokens without further training. λ is rounded up. It costs a little at short
lengths: leave it at 1 unless prompts are long.
"""

from __future__ import annotations

import math
from dataclasses import replace

from warmexp.models.transformer import ModelConfig


def ntk_factor(target_length: int, trained_length: int, theta: float, head_dim: int) -> int:
    """λ for reading target_length tokens with a model trained on trained_length; at least 1."""
    exponent = head_dim / _trained_dims(trained_length, theta, head_dim)
    return max(1, math.ceil((target_length / (2 * math.pi)) ** exponent / theta))


def ntk_length(factor: float, trained_length: int, theta: float, head_dim: int) -> int:
    """The longest input that `ntk_factor` would give this λ for (its inverse), never less than the trained length."""
    exponent = _trained_dims(trained_length, theta, head_dim) / head_dim
    return max(trained_length, math.floor(2 * math.pi * (factor * theta) ** exponent))


def _trained_dims(trained_length: int, theta: float, head_dim: int) -> int:
    return 2 * math.ceil(head_dim / 2 * math.log(trained_length / (2 * math.pi), theta))


def stretched(config: ModelConfig, factor: float) -> ModelConfig:
    """The configuration with λ·θ and with the length limit that λ is for; a factor of 1 changes nothing.

    The checkpoint's max_sequence_length is taken for the trained length (true of LLaDA; Dream publishes Qwen2.5's
    131,072, which was no limit before and is none after).
    """
    if factor == 1:
        return config
    length = ntk_length(factor, config.max_sequence_length, config.rope_theta, config.rotary_dim)
    return replace(config, rope_theta=factor * config.rope_theta, max_sequence_length=length)
