"""Random decoding problems, and one policy dict read twice: by the package's strategies and by the reference
decoder."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st

from tests.reference.decoder import Answer, decode_one
from tests.reference.models import random_models
from warmexp.decode.batch import Decoded
from warmexp.decode.canvas import Question
from warmexp.decode.loop import decode
from warmexp.decode.strategy import Strategies
from warmexp.methods.anchor.edit import EditAnchor
from warmexp.methods.anchor.none import NoAnchor
from warmexp.methods.cache.dual import DualCache
from warmexp.methods.cache.exact import ExactCache
from warmexp.methods.cache.freecache import FreeCache
from warmexp.methods.cache.none import NoCache
from warmexp.methods.cache.prefix import PrefixCache
from warmexp.methods.evidence.bonus import Bonus
from warmexp.methods.evidence.product import Product
from warmexp.methods.init.embed_interp import EmbedInterp
from warmexp.methods.init.mask import MaskInit
from warmexp.methods.init.token_inject import TokenInject
from warmexp.methods.init.verified import Verified
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.remask.budget import BudgetRemask
from warmexp.methods.remask.exponential import ExponentialRemask
from warmexp.methods.remask.linear import LinearRemask
from warmexp.methods.remask.none import NoRemask
from warmexp.methods.schedule.blocks import Blocks
from warmexp.methods.unmask.agreement import Agreement
from warmexp.methods.unmask.threshold import Threshold
from warmexp.methods.unmask.topk import TopK
from warmexp.models.backbone import Backbone
from warmexp.rng import uniform

BUILDERS = {
    "mask": MaskInit,
    "token_inject": TokenInject,
    "embed_interp": EmbedInterp,
    "verified": Verified,
    "threshold": Threshold,
    "agreement": Agreement,
    "bonus": Bonus,
    "product": Product,
    "topk": TopK,
    "none": NoRemask,
    "linear": LinearRemask,
    "exponential": ExponentialRemask,
    "budget": BudgetRemask,
    "anchor none": NoAnchor,
    "anchor edit": EditAnchor,
}
CACHES = {"none": NoCache, "exact": ExactCache, "prefix": PrefixCache, "dual": DualCache, "freecache": FreeCache}
COLD = {"name": "mask"}
FROZEN = {"name": "none"}
CLEAR = 1e-9  # two float64 implementations may differ where a decision is closer to its boundary than this


# What the default suite has time for, and `--hypothesis-profile=large` (tests/conftest.py), in parts of the number that
# a test names.
SHARE = {"large": 4.0}.get(settings.get_current_profile_name(), 0.35)


def profile(examples: int) -> settings:
    """The same examples on every run and machine."""
    return settings(derandomize=True, deadline=None, database=None, max_examples=examples)


def some(examples: int) -> settings:
    """The same, and as many of them as the suite has time for."""
    return profile(max(8, round(examples * SHARE)))


def build(policy: dict) -> Any:
    """{"name": …, field: value} -> the package's strategy."""
    return BUILDERS[policy["name"]](**{key: value for key, value in policy.items() if key != "name"})


def parted(unmask: dict) -> tuple[dict, list[dict]]:
    """The unmasking policy and the evidence: the reference decoder knows both as one rule."""
    if unmask["name"] not in ("bonus", "product"):
        return unmask, []
    rule = {key: unmask[key] for key in ("tau", "temperature") if key in unmask}
    return {"name": "threshold", **rule}, [{key: value for key, value in unmask.items() if key not in rule}]


@dataclass(frozen=True)
class Case:
    """A decoding problem. `model` are random_models' arguments; the mask is token vocab_size - 1."""

    questions: tuple[Question, ...]
    init: dict
    unmask: dict
    remask: dict
    canvas: int
    block: int
    shifted: bool
    seed: int
    model: dict
    cache: dict = field(default_factory=lambda: {"name": "none"})
    anchor: dict = field(default_factory=lambda: {"name": "none"})

    @property
    def mask_id(self) -> int:
        return self.model["vocab_size"] - 1

    @property
    def alignment(self) -> str:
        return "shifted" if self.shifted else "aligned"

    def but(self, **changes: Any) -> Case:
        return replace(self, **changes)

    def backbone(self) -> Backbone:
        return Backbone(random_models(**self.model)[0], mask_id=self.mask_id, eos_id=0, logits=self.alignment)

    def strategies(self) -> Strategies:
        length, anchor = FixedLength(self.canvas, self.block), self.anchor | {"name": f"anchor {self.anchor['name']}"}
        unmask, evidence = parted(self.unmask)
        return Strategies(
            build(self.init),
            build(unmask),
            build(self.remask),
            Blocks(),
            self.keeper(),
            length,
            build(anchor),
            tuple(map(build, evidence)),
        )

    def keeper(self) -> Any:
        """The cache strategy."""
        fields = {key: value for key, value in self.cache.items() if key != "name"}
        return CACHES[self.cache["name"]](**fields)

    def decode(self, questions: tuple[Question, ...] | None = None) -> list[Decoded]:
        """By the package, all questions (or the given ones) in one batch."""
        return decode(
            self.backbone(), list(self.questions if questions is None else questions), self.strategies(), seed=self.seed
        )

    def reference(self, question: Question) -> Answer:
        model = random_models(**self.model)[1]
        policies = (self.init, self.unmask, self.remask)
        where = (self.canvas, self.block, self.mask_id, self.shifted, self.seed)
        return decode_one(model, question, *policies, *where, self.cache, self.anchor)

    def uninjected(self, question: Question) -> int:
        """How many positions start masked."""
        return (
            self.canvas
            if self.init["name"] != "token_inject"
            else starts_masked(question, self.init["rho"], self.canvas, self.seed)
        )


def starts_masked(question: Question, rho: float, canvas: int, seed: int) -> int:
    """Canvas positions that injection at rate rho leaves masked."""
    return canvas - int((uniform(seed, question.id, "inject", canvas)[: len(question.proposal)] < rho).sum())


def facts(done: Decoded | Answer) -> dict:
    """What two decoders must agree on."""
    return {
        "ids": list(done.ids),
        "nfe": done.nfe + done.silent if isinstance(done, Answer) else done.cost.nfe,
        "commit_iteration": list(done.commit_iteration),
        "source": list(done.source),
        "revocations": sorted(tuple(event) for event in done.revocations),
        "token_forwards": done.token_forwards if isinstance(done, Answer) else done.cost.token_forwards,
    }


def check(case: Case) -> None:
    """Every question of the batch comes out as the reference says."""
    answers = [case.reference(question) for question in case.questions]
    assume(all(step.margin > CLEAR for answer in answers for step in answer.forwards))
    done = case.decode()
    assert [one.id for one in done] == [question.id for question in case.questions]
    for one, answer in zip(done, answers, strict=True):
        assert facts(one) == facts(answer)
        assert list(one.confidence) == [None if c is None else pytest.approx(c, abs=1e-9) for c in answer.confidence]


RATES = st.sampled_from([0.0, 0.3, 0.5, 0.8, 1.0])
SCOPES = st.sampled_from(["injected", "decoded", "all"])
WARM = st.one_of(
    st.fixed_dictionaries({"name": st.just("token_inject"), "rho": RATES}),
    st.fixed_dictionaries(
        {
            "name": st.just("embed_interp"),
            "lam": RATES,
            "p": st.sampled_from([0.0, 0.2, 0.5, 1.0]),
            "duration": st.sampled_from(["first", "masked", "fade"]),
            "fade_forwards": st.integers(1, 6),
        }
    ),
)
# A soft prior with what the paper's has not.
SOFT = st.fixed_dictionaries(
    {
        "name": st.just("embed_interp"),
        "lam": st.sampled_from([0.5, 1.0]),
        "p": st.sampled_from([0.0, 0.3]),
        "duration": st.sampled_from(["masked", "fade"]),
        "fade_forwards": st.integers(2, 6),
        "by_trust": st.booleans(),
        "by_entropy": st.booleans(),
        "norm": st.sampled_from(["none", "match"]),
        "k": st.sampled_from([1, 1, 2, 3]),
    }
)
VERIFIED = st.fixed_dictionaries(
    {
        "name": st.just("verified"),
        "theta": st.sampled_from([0.0001, 0.0001, 0.01, 0.1, 0.5]),
        "weight": st.sampled_from([0.0, 0.5, 1.0]),
        "cap": st.sampled_from([0.5, 0.8]),
        "score": st.sampled_from(["visible", "halves"]),
        "keep_rule": st.sampled_from(["prefix", "each"]),
        "whole": st.sampled_from([0.0, 0.0, 0.2, 0.6]),
    }
)
AGREEMENT = st.fixed_dictionaries(
    {"name": st.just("agreement"), "tau": st.sampled_from([0.6, 0.9]), "low": st.sampled_from([0.1, 0.3, 0.6])}
)
WINS = st.sampled_from(["agreed", "most"])
BONUS = st.one_of(
    st.fixed_dictionaries(
        {
            "name": st.just("bonus"),
            "tau": st.sampled_from([0.4, 0.7, 0.9]),
            "beta": st.sampled_from([0.5, 1.0, 3.0]),
            "strength": st.sampled_from(["logit", "trust"]),
            "cap": st.sampled_from([0.8, 0.95]),
            "wins": WINS,
        }
    ),
    st.fixed_dictionaries(
        {
            "name": st.just("product"),
            "tau": st.sampled_from([0.4, 0.7, 0.9]),
            "w": st.sampled_from([0.3, 0.7, 0.9]),
            "cap": st.sampled_from([0.8, 0.95]),
            "wins": WINS,
        }
    ),
)
INITS = st.one_of(WARM, st.just(COLD))
UNMASKS = st.one_of(
    st.fixed_dictionaries({"name": st.just("threshold"), "tau": st.sampled_from([0.2, 0.4, 0.6, 0.8, 0.9, 1.1])}),
    st.fixed_dictionaries({"name": st.just("topk"), "steps_per_block": st.integers(1, 9)}),
)
LINEAR = st.fixed_dictionaries(
    {
        "name": st.just("linear"),
        "bias": st.sampled_from([-0.9, -0.5, 0.0, 0.3, 0.5]),
        "slope": st.sampled_from([0.0, 0.0375, 0.2]),
        "scope": SCOPES,
    }
)
EXPONENTIAL = st.fixed_dictionaries(
    {
        "name": st.just("exponential"),
        "bias": st.sampled_from([-0.5, 0.0, 0.5]),
        "floor": st.sampled_from([-2.0, -1.0, -0.3]),
        "base": st.sampled_from([0.4, 0.9]),
        "span": st.sampled_from([1, 8, 40]),
        "scope": SCOPES,
    }
)
BUDGET = st.fixed_dictionaries(
    {
        "name": st.just("budget"),
        "threshold": st.sampled_from([0.1, 0.3, 0.6, 1.0]),
        "most": st.integers(1, 3),
        "scope": SCOPES,
        "score": st.just("visible"),
    }
)
WINDOWS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["prefix", "dual"]),
        "refresh": st.sampled_from(["block", "revocation", 1, 2, 3]),
        "first_token": st.sampled_from(["refresh", "window"]),
    }
)
FREEZING = st.fixed_dictionaries({"name": st.just("freecache"), "settle": st.booleans()})
REMASKS = st.one_of(st.just(FROZEN), LINEAR, EXPONENTIAL)
GRIDS = st.sampled_from([(4, 2), (4, 4), (6, 3), (8, 4), (8, 8), (8, 2), (12, 4), (16, 8), (16, 4)])


@st.composite
def cases(draw, inits=INITS, unmasks=UNMASKS, remasks=REMASKS, grids=GRIDS, most=5, proposals=True) -> Case:
    """1 to `most` questions with prompts of 1 to 8 tokens and proposals of none to canvas tokens, none of them the
    mask."""
    canvas, block = draw(grids)
    vocabulary = draw(st.sampled_from([12, 20, 30]))
    lengths = st.sampled_from([canvas, canvas, canvas // 2, 0])
    questions = []
    for index in range(draw(st.integers(1, most))):
        content = Random(draw(st.integers(0, 999)))  # few draws per case, so that the policies get most of the variety
        prompt = tuple(content.randrange(vocabulary - 1) for _ in range(draw(st.integers(1, 8))))
        proposal = tuple(content.randrange(vocabulary - 1) for _ in range(draw(lengths) if proposals else 0))
        name = f"q{index}-{content.randrange(100)}"
        trust = tuple(content.random() for _ in proposal) if content.random() < 0.5 else ()
        others = [(token, content.randrange(vocabulary - 1), content.random()) for token in proposal]
        likely = tuple(((a, 0.6 * p), (b, 0.4 * p)) for a, b, p in others) if content.random() < 0.7 else ()
        questions.append(Question(name, prompt, proposal, trust, likely=likely))
    unmask = dict(draw(unmasks))
    unmask.setdefault("temperature", draw(st.sampled_from([0.0, 0.0, 0.7, 1.5])))
    model = {
        "seed": draw(st.integers(0, 5)),
        "vocab_size": vocabulary,
        "padded": draw(st.sampled_from([0, 2])),
        "n_layers": draw(st.integers(1, 2)),
        "loud_mask": draw(st.booleans()),
    }
    return Case(
        questions=tuple(questions),
        init=draw(inits),
        unmask=unmask,
        remask=draw(remasks),
        canvas=canvas,
        block=block,
        shifted=draw(st.booleans()),
        seed=draw(st.integers(0, 3)),
        model=model,
    )
