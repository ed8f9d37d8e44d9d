"""The plain decoder against the numpy reference (no cache) and against a forward whose other keys and values are held
fixed (caches)."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.reference.decoder import decode_one
from tests.reference.models import random_models
from warmexp.bench.compare import divergence
from warmexp.bench.plain import Answer, Rule, plain_decode
from warmexp.decode.canvas import Question
from warmexp.models.backbone import Backbone

CANVAS, BLOCK = 12, 4
RULES = (Rule(0.2), Rule(0.9), Rule(steps=3))
PROMPTS = ((3, 1, 4, 1, 5), (9, 2), (6, 5, 3, 5, 8, 9, 7, 9))


def backbone_of(seed: int, logits: str, **more) -> Backbone:
    transformer, _ = random_models(seed, **more)
    return Backbone(transformer, transformer.config.mask_token_id, transformer.config.eos_token_id, logits)


def frozen(backbone: Backbone, x: torch.Tensor, window: slice, kept: dict | None) -> tuple[torch.Tensor, dict]:
    """A forward of the whole sequence by the package's transformer, with the outputs of its key and value projections
    outside the window put back to what they were: what a cache is an economical way to compute. -> [T, V] logits, row i
    for token i, and those outputs."""
    seen = {}

    def hook(name):
        def replace(module, inputs, output):
            if kept is not None:
                held = kept[name].clone()
                held[:, window] = output[:, window]
                output = held
            seen[name] = output
            return output

        return replace

    modules = dict(backbone.transformer.named_modules())
    hooks = [modules[n].register_forward_hook(hook(n)) for n in modules if n.endswith(("k_proj", "v_proj"))]
    try:
        logits = backbone.transformer.head(backbone.transformer(backbone.embed(x[None])))[0]
    finally:
        for handle in hooks:
            handle.remove()
    if backbone.logits == "shifted":
        logits = torch.cat((logits[:1], logits[:-1]))
    return logits, seen


@torch.inference_mode()
def by_freezing(backbone: Backbone, prompt: tuple[int, ...], rule: Rule, cache: str) -> Answer:
    """prefix and dual, position by position."""
    x = torch.tensor([*prompt, *[backbone.mask_id] * CANVAS])
    answer = Answer([], [-1] * CANVAS)
    for start in range(len(prompt), len(x), BLOCK):
        kept, k = None, 0
        while masked := [i for i in range(start, start + BLOCK) if x[i] == backbone.mask_id]:
            window = slice(start, start + BLOCK if cache == "dual" else len(x))
            logits, seen = frozen(backbone, x, window, kept)
            if kept is None:
                kept = seen
                masked = masked[:1] if backbone.logits == "shifted" else masked
            logits[:, backbone.mask_id] = -torch.inf
            sure = {i: float(logits[i].softmax(-1).max()) for i in masked}
            ranked = sorted(masked, key=lambda i: (-sure[i], i))
            if rule.steps is None:
                chosen = [i for i in ranked if sure[i] >= rule.tau] or ranked[:1]
            else:
                chosen = ranked[: -(-len(masked) // max(1, rule.steps - k))]
            for i in chosen:
                x[i] = logits[i].argmax()
                answer.commit_iteration[i - len(prompt)] = answer.nfe
            answer.nfe += 1
            k += 1
    answer.ids = x[len(prompt) :].tolist()
    return answer


@pytest.mark.parametrize(
    ("cache", "logits"),
    [
        ("prefix", "shifted"),
        ("dual", "aligned"),
        *(pytest.param(*two, marks=pytest.mark.slow) for two in (("prefix", "aligned"), ("dual", "shifted"))),
    ],
)
def test_caches_hold_keys_and_values_fixed(cache, logits):
    lengths = set()
    for seed, rule, prompt in itertools.product(range(6), RULES, PROMPTS):
        backbone = backbone_of(seed, logits, n_layers=3, n_kv_heads=(2, 4)[seed % 2], qkv_bias=seed % 3 == 0)
        expected = by_freezing(backbone, prompt, rule, cache)
        answer = plain_decode(backbone, prompt, CANVAS, BLOCK, rule, cache)
        assert (answer.ids, answer.commit_iteration, answer.nfe) == (
            expected.ids,
            expected.commit_iteration,
            expected.nfe,
        )
        lengths.add(answer.nfe)
    assert len(lengths) > 3  # the rules do decide


@pytest.mark.parametrize("logits", ["aligned", "shifted"])
def test_without_a_cache_it_is_the_reference_decoder(logits):
    for seed, rule, prompt in itertools.product(range(6), RULES, PROMPTS):
        backbone = backbone_of(seed, logits, n_layers=2, loud_mask=seed == 5)
        unmask = (
            {"name": "threshold", "tau": rule.tau}
            if rule.steps is None
            else {"name": "topk", "steps_per_block": rule.steps}
        )
        model = random_models(seed, n_layers=2, loud_mask=seed == 5)[1]
        expected = decode_one(model, Question("q", prompt), {"name": "mask"}, unmask | {"temperature": 0}, {"name": "none"}, CANVAS, BLOCK,
                              backbone.mask_id, shifted=logits == "shifted")  # fmt: skip
        answer = plain_decode(backbone, prompt, CANVAS, BLOCK, rule)
        assert (answer.ids, answer.commit_iteration, answer.nfe) == (
            expected.ids,
            expected.commit_iteration,
            expected.nfe,
        )


def test_one_layer_has_nothing_to_go_stale():
    """A first layer's keys and values depend on the tokens alone, and those outside the block stand still while it is
    decoded."""
    for seed, rule, prompt in itertools.product(range(8), RULES, PROMPTS):
        backbone = backbone_of(seed, "aligned")
        exact, *cached = (
            plain_decode(backbone, prompt, CANVAS, BLOCK, rule, cache) for cache in ("none", "prefix", "dual")
        )
        assert all((a.ids, a.commit_iteration) == (exact.ids, exact.commit_iteration) for a in cached)


def test_deeper_caches_do_go_stale():
    """Or the two tests above would compare a cache that is never used."""
    prompt, rule = PROMPTS[0], RULES[1]
    backbones = [backbone_of(seed, "aligned", n_layers=3) for seed in range(12)]
    answers = [
        [plain_decode(b, prompt, CANVAS, BLOCK, rule, cache).ids for cache in ("none", "prefix", "dual")]
        for b in backbones
    ]
    assert all(len({str(row[i]) for row in answers}) > 1 for i in range(3))
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert any(row[a] != row[b] for row in answers)


def test_an_unknown_cache():
    with pytest.raises(ValueError, match="cache=triple is not one of none, prefix, dual"):
        plain_decode(backbone_of(0, "aligned"), (1,), CANVAS, BLOCK, RULES[0], "triple")


def traced() -> Answer:
    """Four positions: 0 and 1 committed first, at 0.95 and 0.91, then 2 and 3."""
    seen = [{0: (0.95, 2.0), 1: (0.91, 0.5), 2: (0.6, 1.0), 3: (0.2, 0.1)}, {2: (0.99, 3.0), 3: (0.97, 0.001)}]
    return Answer([7, 8, 9, 10], [0, 0, 1, 1], 2, seen)


@pytest.mark.parametrize(
    ("ids", "when", "rule", "iteration", "positions", "margin"),
    [
        ([7, 8, 9, 11], [0, 0, 1, 1], Rule(0.9), 1, (3,), 0.001),  # another token: by how much its logit led
        ([7, 8, 9, 10], [0, 1, 1, 2], Rule(0.9), 0, (1,), 0.01),  # one less: its distance to τ
        ([7, 8, 9, 10], [0, 0, 0, 1], Rule(0.9), 0, (2,), 0.3),  # one more
        ([7, 8, 9, 10], [0, 1, 0, 1], Rule(steps=2), 0, (1, 2), 0.31),  # one for another: their order
        ([7, 8, 9, 10], [0, 0, 1, 2], Rule(0.9), 1, (3,), 0.07),
        ([7, 8, 9, 10], [0, 2, 1, 1], Rule(0.9), 0, (1,), 0.01),
    ],
)
def test_where_decoders_part_and_by_how_much(ids, when, rule, iteration, positions, margin):
    found = divergence("q", traced(), ids, when, rule)
    assert (found.iteration, found.positions) == (iteration, positions) and found.margin == pytest.approx(margin)


def test_a_commit_that_was_not_eligible_is_no_tie():
    answer = traced()
    del answer.seen[0][2]
    assert divergence("q", answer, [7, 8, 9, 10], [0, 0, 0, 1], Rule(0.9)).margin == float("inf")


def test_no_divergence():
    assert divergence("q", traced(), [7, 8, 9, 10], [0, 0, 1, 1], Rule(0.9)) is None
