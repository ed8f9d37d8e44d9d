"""The λ table of LongLLaDA (arXiv 2506.14429), and what a factor does to a configuration."""

from __future__ import annotations

import pytest

from tests.reference.models import random_models
from warmexp.models.rope import ntk_factor, ntk_length, stretched

LLADA = {"trained_length": 4096, "theta": 5e5, "head_dim": 128}
DREAM = {"trained_length": 2048, "theta": 1e6, "head_dim": 128}
LLAMA3 = {"trained_length": 8192, "theta": 5e5, "head_dim": 128}
TABLE = [
    (LLADA, 8192, 4),
    (LLADA, 16384, 14),
    (LLADA, 24576, 31),
    (LLADA, 32768, 55),
    (DREAM, 4096, 5),
    (LLAMA3, 16384, 4),
    (LLAMA3, 32768, 13),
]


@pytest.mark.parametrize(("model", "length", "factor"), TABLE)
def test_the_published_factors(model, length, factor):
    assert ntk_factor(length, **model) == factor


@pytest.mark.parametrize(("model", "length", "factor"), TABLE)
def test_a_factor_is_good_for_the_length_it_was_made_for_and_the_next_smaller_one_is_not(model, length, factor):
    assert ntk_length(factor, **model) >= length > ntk_length(factor - 1, **model)


def test_no_stretching_is_needed_within_the_trained_length():
    assert ntk_factor(4096, **LLADA) == 1 == ntk_factor(100, **LLADA)
    assert ntk_length(1.0001, trained_length=4096, theta=5e5, head_dim=128) >= 4096


def test_a_factor_of_one_is_the_same_configuration():
    config = random_models(0)[0].config
    assert stretched(config, 1.0) is config
    assert stretched(config, 3.0).rope_theta == 3 * config.rope_theta
