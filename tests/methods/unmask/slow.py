"""One question at a time, cold, by a rule that is written from a published description: what the package's loop has to
come to.

A rule is a function `rule(ids, z, k)` of the canvas (None where masked), the logits [L, V] of all its positions, the
mask's at -inf, and the number of forwards before this one. It says which positions receive which tokens, as a dict.
Rules that remember something are objects with a `__call__`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from tests.decode.cases import facts
from tests.decode.test_seams import questions
from tests.reference.decoder import splitmix64
from tests.reference.models import random_models
from warmexp.decode.loop import decode
from warmexp.decode.strategy import Strategies
from warmexp.methods.anchor.none import NoAnchor
from warmexp.methods.cache.none import NoCache
from warmexp.methods.init.mask import MaskInit
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.remask.none import NoRemask
from warmexp.methods.schedule.blocks import Blocks
from warmexp.models.backbone import Backbone
from warmexp.rng import bits

MASK = 19
Rule = Callable[[list[int | None], np.ndarray, int], dict[int, int]]


def softmax(z: np.ndarray) -> np.ndarray:
    """[..., V], rows of -inf everywhere excepted."""
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def nats(p: np.ndarray) -> float:
    """The entropy of [V]."""
    return float(-sum(x * np.log(x) for x in p if x > 0))


def noise(question: str, n: int, position: int, seed: int = 0) -> np.ndarray:
    """[V] Gumbel numbers of one position in forward n: the keyed draws are part of the contract."""
    state = int(bits(seed, question, "gumbel", position + 1, step=n)[position])
    return np.array([-np.log(-np.log(splitmix64(state, v))) for v in range(MASK + 1)])


@lru_cache(maxsize=4096)
def logits(model, row: tuple[int, ...], first: int) -> np.ndarray:
    """[L, V] from position `first` of a row on. The rules of a test read many of the same rows."""
    z = model.logits(model.embed(list(row)))[first:, : MASK + 1].copy()
    z[:, MASK] = -np.inf
    z.flags.writeable = False
    return z


def slow(rule: Rule, model, prompt: tuple[int, ...], canvas: int) -> dict:
    """A question's tokens, the forward of each commit, and how many forwards there were."""
    ids: list[int | None] = [None] * canvas
    when, n = [-1] * canvas, 0
    while None in ids:
        row = [*prompt, *(MASK if i is None else i for i in ids)]
        for i, token in rule(list(ids), logits(model, tuple(row), len(prompt)), n).items():
            assert ids[i] is None
            ids[i], when[i] = token, n
        n += 1
    return {"ids": ids, "commit_iteration": when, "nfe": n}


def agree(strategy, rule: Callable[[str], Rule], canvas: int = 8, block: int = 8, schedule=None, seeds=range(2)) -> int:
    """Several questions of several models, in a batch by the package and one by one by the rule: the same. rule: makes
    that of the question with this id. Returns the forwards of all.
    """
    total = 0
    for seed in seeds:
        model, reference = random_models(seed=seed, vocab_size=MASK + 1, n_layers=2)
        parts = (schedule or Blocks(), NoCache(), FixedLength(canvas, block), NoAnchor())
        backbone = Backbone(model, mask_id=MASK, eos_id=0)
        for q, done in zip(
            questions(),
            decode(backbone, questions(), Strategies(MaskInit(), strategy, NoRemask(), *parts)),
            strict=True,
        ):
            expected = slow(rule(q.id), reference, q.prompt, canvas)
            found = facts(done)
            assert {name: found[name] for name in expected} == expected, (seed, q.id)
            total += expected["nfe"]
    return total
