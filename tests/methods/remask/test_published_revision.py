"""The published revision rules against slow ones that are written from their descriptions, decision by decision; warm
tokens are repaired; and what each rule becomes at its limits."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from tests.decode.cases import facts
from tests.decode.test_seams import COLD, backbone, decoded, questions  # noqa: F401 (a fixture)
from tests.reference import revision as slow
from tests.reference.models import published_state, random_models
from tests.reference.transformer import Sizes
from warmexp.decode.canvas import Question
from warmexp.decode.loop import decode
from warmexp.methods.init.token_inject import TokenInject
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.remask.joint_threshold import JointThreshold
from warmexp.methods.remask.none import NoRemask
from warmexp.methods.remask.rcr import RCR
from warmexp.methods.remask.remdm import ReMDM
from warmexp.methods.remask.saber import Saber
from warmexp.methods.remask.t2m import T2M
from warmexp.methods.remask.tolerator import Tolerator
from warmexp.methods.remask.wino import Wino
from warmexp.methods.unmask.ancestral import Ancestral
from warmexp.methods.unmask.saber import Saber as SaberCommits
from warmexp.methods.unmask.threshold import Threshold
from warmexp.methods.unmask.topk import TopK
from warmexp.methods.unmask.wino import Wino as WinoCommits
from warmexp.models.backbone import Backbone
from warmexp.rng import uniform

MASK = 19


def shadowed(seed):
    transformer = random_models(seed=seed, vocab_size=20, n_layers=2)[0]
    c = transformer.config
    return slow.Shadowed(published_state(transformer), Sizes(c.n_heads, c.n_kv_heads, c.rope_theta, c.rms_norm_eps))


def remdm(process, steps, eta, **more):
    rule = slow.ReMDM(process, steps, eta, **more)
    keys = dict(process=process, steps=steps, eta=eta, **more)
    return (
        Ancestral(**keys),
        ReMDM(**keys),
        rule.commits,
        lambda model: rule,
        {"temperature": 1.0, "top_p": 0.9, "idles": True},
    )


# The package's two halves; the slow commit rule, the slow revision rule; what the slow decoder is told besides.
RULES = {
    **{
        f"t2m {score} {theta} {most} {share}": (
            Threshold(0.4),
            T2M(score, theta, most, share),
            slow.threshold(0.4),
            lambda model, rule=(score, theta, most, share): slow.T2M(*rule),
            {},
        )
        for score, theta, most, share in [
            ("low_prob", 0.5, 5, 0.25),
            ("low_prob", 0.1, 3, 1.0),
            ("low_prob", 0.5, 1, 1.0),
            ("t2t", 0.5, 3, 0.25),
            ("t2t", 0.3, 2, 1.0),
            ("logit_diff", 0.1, 5, 0.25),
            ("logit_diff", 0.3, 5, 1.0),
        ]
    },
    **{
        f"saber {n}": (SaberCommits(n), Saber(n), slow.saber_commits(n), lambda model, n=n: slow.Saber(n), {})
        for n in (1, 2, 3, 4)
    },
    "t2m that may look once at a full block": (
        Threshold(0.4),
        T2M("low_prob", 0.6, 5, 0.25, after=1),
        slow.threshold(0.4),
        lambda model: slow.T2M("low_prob", 0.6, 5, 0.25, after=1),
        {},
    ),
    **{
        f"joint threshold {edit} {after}": (
            Threshold(0.4),
            JointThreshold(edit, after=after),
            slow.threshold(0.4),
            lambda model, rule=(edit, after): slow.Joint(*rule),
            {},
        )
        for edit, after in [(0.3, 16), (0.0, 1), (0.5, 2)]
    },
    "saber behind a threshold": (Threshold(0.3), Saber(2), slow.threshold(0.3), lambda model: slow.Saber(2), {}),
    "rcr": (TopK(4), RCR(), slow.quota(4), lambda model: slow.RCR(), {}),
    "rcr in few steps": (TopK(2), RCR(), slow.quota(2), lambda model: slow.RCR(), {}),
    "rcr behind a threshold": (Threshold(0.8), RCR(), slow.threshold(0.8), lambda model: slow.RCR(), {}),
    **{
        f"tolerator {rounds} {repeats} {heat}": (
            Threshold(0.4),
            Tolerator(rounds=rounds, repeats=repeats, temperature=heat),
            slow.threshold(0.4),
            lambda model, rule=(rounds, 0.8, 0.4, repeats, heat): slow.Tolerator(*rule),
            {},
        )
        for rounds, repeats, heat in [(6, 2, 0.3), (9, 10, 1.0), (1, 10, 0.0)]
    },
    "remdm cap": remdm("cap", 8, 0.3),
    "remdm rescale": remdm("rescale", 7, 0.3),
    "remdm conf": remdm("conf", 9, 0.0),
    "remdm loop": remdm("loop", 12, 0.2),
    "remdm loop, late and short": remdm("loop", 9, 0.4, t_on=0.3, t_off=0.2, alpha_on=0.6),
    "remdm loop, with forwards at its very limits": remdm("loop", 8, 0.3, t_on=0.75, t_off=0.25, alpha_on=0.5),
    "remdm loop, a long end": remdm("loop", 10, 0.3, t_on=0.75, t_off=0.35, alpha_on=0.5),
    "mdlm": (Ancestral(steps=6), NoRemask(), slow.ReMDM("plain", 6, 0).commits, lambda model: slow.Frozen(), {"temperature": 1.0, "top_p": 0.9, "idles": True}),
    **{
        f"wino {tau} {theta} {first}": (
            WinoCommits(tau, share=0.5, least=2, most=3),
            Wino(theta, first),
            slow.wino_commits(tau, 0.5, 2, 3),
            lambda model, rule=(theta, first): slow.WINO(model, *rule),
            {},
        )
        for tau, theta, first in [(0.3, 0.9, 30), (0.2, 0.5, 2), (0.5, 0.2, 30)]
    },
}  # fmt: skip


def asked(seed: int, canvas: int) -> list[Question]:
    draw = Random(seed)
    made = []
    for i in range(2):
        proposal = tuple(draw.randrange(MASK) for _ in range(canvas))
        trust = tuple(draw.random() for _ in proposal) if i else ()
        made.append(Question(f"q{i}", tuple(draw.randrange(MASK) for _ in range(2 + i)), proposal, trust))
    return made


@pytest.mark.parametrize(
    "name", [rule if k % 2 == 0 else pytest.param(rule, marks=pytest.mark.slow) for k, rule in enumerate(RULES)]
)
def test_the_rule_as_it_is_described(name):
    """Cold, half warm and from a whole draft; in two blocks and in one."""
    unmask, remask, commit, rule, told = RULES[name]
    changes = 0
    for seed, canvas, width, rho in (
        (0, 8, 4, 0.0),
        (3, 8, 4, 0.6),
        (1, 8, 8, 1.0),
        (2, 16, 16, 0.0),
        (4, 16, 16, 0.5),
    ):
        transformer, reference = random_models(seed=seed, vocab_size=20, n_layers=2)
        model = Backbone(transformer, mask_id=MASK, eos_id=0)
        s = replace(COLD, init=TokenInject(rho), unmask=unmask, remask=remask, length=FixedLength(canvas, width))
        for one, question in zip(decode(model, asked(seed, canvas), s, seed=seed), asked(seed, canvas), strict=True):
            gate = uniform(seed, question.id, "inject", canvas)
            injected = {i: t for i, t in enumerate(question.proposal) if gate[i] < rho}
            revision = rule(shadowed(seed) if "wino" in name else None)
            expected = slow.decode_one(
                reference, question, injected, commit, revision, canvas, width, MASK, seed=seed, **told
            )
            assert list(one.ids) == expected.ids
            assert one.cost.nfe == expected.nfe
            assert list(one.commit_iteration) == expected.commit_iteration
            assert list(one.source) == expected.source
            assert sorted(one.revocations) == expected.revocations
            assert one.confidence == pytest.approx(expected.confidence, abs=1e-9)  # what each token was written with
            changes += len(expected.revocations)
    assert changes or "mdlm" in name, "nothing was revised: the example says little"


IDENTITIES = {
    "wino that doubts nothing is a capped threshold": (
        {"unmask": WinoCommits(0.3, share=0.5, least=1, most=2), "remask": Wino(0.0)},
        {"unmask": WinoCommits(0.3, share=0.5, least=1, most=2)},
        0,
    ),
    "wino without a cap is a threshold": (
        {"unmask": WinoCommits(0.3, share=1.0, least=8, most=8)},
        {"unmask": Threshold(0.3)},
        0,
    ),
    "t2m that suspects nothing reads each block once more": (
        {"unmask": Threshold(0.4), "remask": T2M("low_prob", 0.0)},
        {"unmask": Threshold(0.4)},
        2,
    ),
    "t2m without a look at full blocks": (
        {"unmask": Threshold(0.4), "remask": T2M("logit_diff", 1.0, after=0)},
        {"unmask": Threshold(0.4)},
        0,
    ),
    "no rounds": ({"unmask": Threshold(0.4), "remask": Tolerator(rounds=0)}, {"unmask": Threshold(0.4)}, 0),
    "saber with everything in one forward": (
        {"unmask": SaberCommits(8), "remask": Saber(8)},
        {"unmask": Threshold(1e-9)},
        0,
    ),
    "rcr in one step": ({"unmask": TopK(1), "remask": RCR()}, {"unmask": TopK(1)}, 0),
    "ancestral in one step": ({"unmask": Ancestral(steps=1, temperature=0.0)}, {"unmask": Threshold(1e-9)}, 0),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_at_its_limit_it_is_a_simpler_rule(name, backbone):  # noqa: F811
    one, other, more = IDENTITIES[name]
    for a, b in zip(decoded(backbone, replace(COLD, **one)), decoded(backbone, replace(COLD, **other)), strict=True):
        assert {**facts(a), "nfe": a.cost.nfe - more} == {**facts(b)} or (
            a.ids == b.ids and a.cost.nfe == b.cost.nfe + more and a.commit_iteration[:4] == b.commit_iteration[:4]
        )
        assert not a.revocations


def test_without_remasking_remdm_is_mdlm_in_as_many_forwards_as_steps(backbone):  # noqa: F811
    """η = 0; forwards that commit nothing are counted."""
    plain = decoded(backbone, replace(COLD, unmask=Ancestral(steps=6)))
    waits = decoded(backbone, replace(COLD, unmask=Ancestral(steps=6, process="cap"), remask=ReMDM(6, "cap", 0.0)))
    for one, other in zip(plain, waits, strict=True):
        assert one.cost.nfe <= other.cost.nfe <= 12 and other.cost.nfe >= 10, "5 or 6 forwards in each of two blocks"
        assert one.commit_iteration[:4] == other.commit_iteration[:4] and one.ids[:4] == other.ids[:4]
    idle = [12 - len(set(one.commit_iteration)) for one in waits]
    assert any(n > 0 for n in idle), "some forwards commit nothing"


@pytest.mark.parametrize("process", ["plain", "cap", "rescale"])
def test_the_process_keeps_its_share_of_masks(process):
    """Of 40,000 positions, by the rates alone: after step k a share of (k + 1)/T is visible, however much is masked
    again."""
    rule, draw = Ancestral(steps=10, process=process, eta=0.4), np.random.default_rng(0)
    visible = np.zeros(40_000, dtype=bool)
    for k in range(10):
        sigma, reveal = (float(x[0]) for x in rule.rates(np.array([k])))
        u = draw.random(visible.shape)
        visible = np.where(visible, u >= sigma, u < reveal)
        assert visible.mean() == pytest.approx((k + 1) / 10, abs=0.01)


def test_the_loop_holds_its_level():
    rule, draw = Ancestral(steps=40, process="loop", eta=0.1), np.random.default_rng(0)
    visible, shares = np.zeros(40_000, dtype=bool), []
    for k in range(40):
        sigma, reveal = (float(x[0]) for x in rule.rates(np.array([k])))
        u = draw.random(visible.shape)
        visible = np.where(visible, u >= sigma, u < reveal)
        shares.append(float(visible.mean()))
    assert shares[19:37] == pytest.approx([0.9] * 18, abs=0.01) and shares[-1] == 1.0 and shares[8] < 0.6


def test_t2m_has_the_released_thresholds():
    assert [T2M(score).threshold for score in ("low_prob", "t2t", "logit_diff")] == [0.5, 0.9, 0.3]


def test_wino_counts_a_shadow_for_every_position_of_the_window(backbone):  # noqa: F811
    """In forwards before which something of the window is visible."""
    s = replace(COLD, unmask=WinoCommits(0.2, share=0.5, least=1, most=2), remask=Wino(0.9))
    for one, question in zip(decoded(backbone, s), questions(), strict=True):
        rest = one.cost.token_forwards - one.cost.nfe * (len(question.prompt) + 8)
        assert rest % 4 == 0 and 0 < rest <= 4 * (one.cost.nfe - 2)
