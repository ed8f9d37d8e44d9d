"""Methods on backbones that see blocks: exact keys and values change nothing of what any of them does, and token editing
takes an injected draft block by block, as a slow loop does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.reference.decoder import softmax
from tests.reference.models import random_models
from warmexp.check_method.__main__ import compositions
from warmexp.check_method.problems import problems
from warmexp.decode.canvas import Question
from warmexp.decode.loop import decode
from warmexp.decode.strategy import Strategies
from warmexp.methods.anchor.none import NoAnchor
from warmexp.methods.cache.exact import ExactCache
from warmexp.methods.cache.none import NoCache
from warmexp.methods.init.token_inject import TokenInject
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.remask.joint_threshold import JointThreshold
from warmexp.methods.schedule.blocks import Blocks
from warmexp.methods.unmask.threshold import Threshold
from warmexp.models.backbone import Backbone

# A rule that remembers distributions, and one that replaces tokens and looks at full windows again.
RULES = [("unmask", "klass"), pytest.param("remask", "joint_threshold", marks=pytest.mark.slow)]


@pytest.mark.parametrize(("group", "option"), RULES)
def test_exact_keys_and_values_change_nothing(group, option):
    """Aligned logits with commit forwards of their own, shifted ones with a position more on the left."""
    for seed, words in ((0, []), (1, ["cache.first_token=window"])):
        for name, nodes in compositions([f"{group}={option}", "cache=exact", *words]):
            exact = next(problems(nodes, [seed]))
            plain = replace(exact, nodes=nodes | {"cache": {"_target_": f"{NoCache.__module__}.NoCache"}})
            assert exact.backbone.attention_block == 4
            for one, other in zip(exact.alone, plain.alone, strict=True):
                ours, theirs = (
                    (d.ids, d.commit_iteration, d.source, d.revocations, d.cost.nfe - d.cost.commits)
                    for d in (one, other)
                )
                assert ours == theirs, f"{name}, seed {seed}, {one.id}"


def slow_editing(model, question: Question, canvas: int, block: int, tau: float, edit: float, after: int, mask: int):
    """LLaDA2.1's loop on a draft that lies on the canvas: tokens, replacements in their order, and forwards that read."""
    ids, lost, forwards = [*question.prompt, *question.proposal], [], 0
    first = len(question.prompt)
    ids += [mask] * (first + canvas - len(ids))
    for begin in range(first // block * block, first + canvas, block):
        here = range(max(first, begin), min(first + canvas, begin + block))
        full = 0
        while True:
            masked = [i for i in here if ids[i] == mask]
            full += not masked
            logits = model.logits(model.embed(ids)).copy()
            logits[:, mask] = -np.inf
            token = logits.argmax(1)
            sure = {i: softmax(logits[i])[token[i]] for i in here}
            commit = [i for i in masked if sure[i] >= tau] or sorted(masked, key=lambda i: -sure[i])[:1]
            edits = [i for i in here if i not in masked and token[i] != ids[i] and sure[i] > edit]
            lost += [(forwards, i - first, ids[i]) for i in edits]
            for i in (*commit, *edits):
                ids[i] = int(token[i])
            forwards += 1
            if not masked and (not edits or full >= after):
                break
    return ids[first:], lost, forwards


@pytest.mark.parametrize("cache", [NoCache(), ExactCache(), ExactCache("fused")])
def test_token_editing_of_a_draft(cache):
    edited = 0
    for seed in range(3):
        transformer, reference = random_models(seed, n_layers=2, attention_block=4)
        draw = np.random.default_rng(seed)
        question = Question(
            "q", tuple(draw.integers(1, 14, 2 + seed).tolist()), tuple(draw.integers(1, 14, 9).tolist())
        )
        remask = JointThreshold(edit=0.6, after=5)
        s = Strategies(TokenInject(1.0), Threshold(0.5), remask, Blocks(), cache, FixedLength(12, 4), NoAnchor())
        (done,) = decode(Backbone(transformer, mask_id=15, eos_id=0), [question], s)
        ids, lost, forwards = slow_editing(reference, question, 12, 4, 0.5, 0.6, 5, 15)
        assert list(done.ids) == ids
        assert [(n, position, token) for n, position, token, *_ in done.revocations] == lost
        assert done.cost.nfe - done.cost.commits == forwards
        edited += len(lost)
    assert edited


@pytest.mark.parametrize("edit", [0.3, 1.0])
def test_a_last_block_of_one_visible_token_is_read_too(edit):
    """A shifted backbone reads it from the block before it, which has no other position here to be computed for."""
    transformer, _ = random_models(0, n_layers=2, attention_block=4)
    draw = np.random.default_rng(0)
    question = Question("q", tuple(draw.integers(1, 14, 5).tolist()), tuple(draw.integers(1, 14, 8).tolist()))
    found = {}
    for cache in (NoCache(), ExactCache()):
        remask = JointThreshold(edit=edit, after=5)
        s = Strategies(TokenInject(1.0), Threshold(0.5), remask, Blocks(), cache, FixedLength(8, 4), NoAnchor())
        backbone = Backbone(transformer, mask_id=15, eos_id=0, logits="shifted")
        (found[type(cache).__name__],) = decode(backbone, [question], s)
    plain, exact = found["NoCache"], found["ExactCache"]
    if edit == 1.0:  # nothing is edited
        assert exact.ids == plain.ids == question.proposal
    assert any(position == 7 for _, position, *_ in plain.revocations) == (edit < 1)
    assert exact.cost.nfe >= 3
