"""Sampled tokens: the draws' bits, their distribution, and that no neighbour, batch or device is in them."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.stats import kstest

from tests.reference.decoder import splitmix64
from tests.simulated.cuda import SimulatedCuda
from tests.simulated.methods import decoded, questions
from warmexp.api import planned
from warmexp.decode.sampling import gumbel, hashed, sampled

KEYS = torch.tensor([0, 1, -1, 2**63 - 1, -(2**63), 0x123456789ABCDEF])


def test_the_bits_are_those_of_splitmix64():
    """Published values: the first outputs from the states 0 and 1234567."""
    known = {0: [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4], 1234567: [6457827717110365317, 3203168211198807973]}
    for state, outputs in known.items():
        assert hashed(torch.tensor([state]), 2)[0].numpy().view(np.uint64).tolist() == outputs


def test_noise_is_that_of_the_reference_on_every_device():
    expected = [[-math.log(-math.log(splitmix64(key % 2**64, v))) for v in range(50)] for key in KEYS.tolist()]
    torch.testing.assert_close(gumbel(KEYS, 50), torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=1e-15)
    with SimulatedCuda():
        assert hashed(KEYS.to("cuda"), 50).cpu().equal(hashed(KEYS, 50))


def test_the_distribution():
    noise = gumbel(torch.arange(40), 1000).flatten()
    assert noise.isfinite().all() and kstest(noise.numpy(), lambda x: np.exp(-np.exp(-x))).pvalue > 0.001
    logits = torch.tensor([0.0, 1.0, 2.0, -math.inf], dtype=torch.float64)
    drawn = sampled(logits.expand(20_000, 4), 2.0, torch.arange(20_000)).bincount(minlength=4) / 20_000
    torch.testing.assert_close(drawn.double(), (logits / 2).softmax(0), atol=0.015, rtol=0)


def test_pieces_change_nothing():
    logits = torch.randn(7, 40_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    keys = torch.arange(7)
    whole = sampled(logits, 1.0, keys)
    assert whole.equal(torch.cat([sampled(logits[i : i + 1], 1.0, keys[i : i + 1]) for i in range(7)]))


def test_sampled_tokens_depend_on_no_neighbour():
    words, asked = ["init=mask", "unmask.temperature=1"], questions()
    alone = [one.ids for one in decoded(words, asked, batch=1)]
    assert alone == [one.ids for one in decoded(words, asked[::-1], batch=3)]
    assert alone != [one.ids for one in decoded(["init=mask"], asked)]


def test_an_own_draw_at_every_position():
    """A block's positions, the blocks of a canvas and its forwards do not share their luck."""
    words = ["init=mask", "unmask.temperature=100", "unmask=topk", "unmask.steps_per_block=2"]
    ids = decoded(words, questions()[:1], canvas=40, block=5)[0].ids
    rows = [ids[i : i + 5] for i in range(0, 40, 5)]
    assert len(set(rows)) == len(rows) and len(set(ids)) > 8


def test_the_way_of_drawing_is_in_the_identity_of_runs_that_draw():
    assert planned(["unmask.temperature=0.7"]).identity["sampling"] == "splitmix64"
    assert "sampling" not in planned(["tau=0.7"]).identity
