"""What a guide is asked and what follows from it, beside a slow description; and where it must change nothing."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.decode.cases import CLEAR, cases, facts, some
from tests.decode.test_seams import COLD, questions
from tests.reference import guides as slow
from tests.reference.models import random_models
from tests.reference.transformer import Sizes
from warmexp.api import planned, run_overrides
from warmexp.decode.guided import Guided
from warmexp.decode.loop import decode
from warmexp.decode.meter import Meter
from warmexp.decode.reading import Word
from warmexp.decode.sampling import sampled
from warmexp.decode.strategy import Consulting
from warmexp.errors import UserError
from warmexp.front.__main__ import main
from warmexp.methods.evidence.apd import AdaptiveParallel
from warmexp.methods.evidence.edlm import EnergyResampling
from warmexp.methods.evidence.flashdlm import FlashDLM
from warmexp.methods.guide.itself import SelfGuide
from warmexp.methods.unmask.accepted import Accepted
from warmexp.methods.unmask.threshold import Threshold
from warmexp.models.backbone import Backbone
from warmexp.models.plain import PlainBackbone
from warmexp.rng import bits

TAUS = st.fixed_dictionaries({"name": st.just("threshold"), "tau": st.sampled_from([0.4, 0.8, 1.1])})
WARM = st.one_of(
    st.just({"name": "mask"}),
    st.fixed_dictionaries({"name": st.just("token_inject"), "rho": st.sampled_from([0.3, 0.7])}),
)
PROBLEMS = cases(inits=WARM, unmasks=TAUS, remasks=st.just({"name": "none"}), most=3)
FLASH = st.builds(lambda *a: (FlashDLM(*a), slow.flashdlm(*a)), st.sampled_from([1, 2, 5, 99]), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from(["ar", "dlm"]))  # fmt: skip
APD = st.builds(lambda *a: (AdaptiveParallel(*a), slow.apd(*a)), st.sampled_from([0.0, 0.3, 0.7, 1.0]), st.sampled_from([1, 2, 100]), st.booleans())  # fmt: skip
EDLM = st.builds(lambda n, span, t: (EnergyResampling(n, *span, t), slow.edlm(n, *span, t)), st.integers(1, 4), st.sampled_from([(1.0, 0.0), (0.9, 0.4), (0.5, 0.5)]), st.sampled_from([0.3, 1.0]))  # fmt: skip


def guided(case, evidence, backbone=None, **changes):
    accepts = evidence.accepts
    unmask = (Accepted if accepts else Threshold)(case.unmask["tau"], case.unmask["temperature"])
    s = replace(case.strategies(), evidence=(evidence,), guide=SelfGuide(), unmask=unmask, **changes)
    return decode(backbone or case.backbone(), list(case.questions), s, case.seed)


def described(case, rule):
    made, model = [], random_models(**case.model)[1]
    injected = [case.strategies().init.start(q, case.canvas, case.seed) for q in case.questions]
    for question, start in zip(case.questions, injected, strict=True):
        ids = [int(v) if there else None for v, there in zip(start.tokens, start.injected, strict=True)]
        done = slow.Told(ids, [-1] * case.canvas, [None] * case.canvas)
        where = (case.block, case.mask_id, case.shifted, case.seed, case.unmask["tau"], case.unmask["temperature"])
        made.append(slow.decode_one(slow.Guided(model, question.id, question.prompt, *where, done), rule))
    return made


def compared(case, evidence, rule):
    expected = described(case, rule)
    assume(all(margin > CLEAR for one in expected for margin in one.margins))
    for one, other in zip(guided(case, evidence), expected, strict=True):
        assert list(one.ids) == other.ids and list(one.commit_iteration) == other.commit_iteration
        assert one.cost.nfe == other.nfe
        assert list(one.confidence) == [None if c is None else pytest.approx(c, abs=1e-9) for c in other.confidence]
        assert one.cost.guide_forwards == other.guide_forwards
        assert one.cost.guide_token_forwards == other.guide_tokens


@some(90)
@given(case=PROBLEMS, pair=FLASH)
def test_flashdlm_as_it_is_described(case, pair):
    compared(case, *pair)


@some(70)
@given(case=PROBLEMS, pair=APD)
def test_apd_as_it_is_described(case, pair):
    compared(case, *pair)


@some(60)
@given(case=PROBLEMS, pair=EDLM, temperature=st.sampled_from([0.7, 1.0, 1.5]))
def test_edlm_as_it_is_described(case, pair, temperature):
    compared(case.but(unmask=case.unmask | {"temperature": temperature}), *pair)


@some(16)
@given(case=PROBLEMS)
def test_where_a_guide_changes_nothing(case):
    """One candidate is the draw itself, and asks nobody; a product of the backbone alone lets a whole window pass."""
    drawn = case.but(unmask=case.unmask | {"temperature": 1.0})
    assert [facts(one) for one in guided(drawn, EnergyResampling(1))] == [facts(one) for one in drawn.decode()]
    assert all(one.cost.guide_forwards == 0 for one in guided(drawn, EnergyResampling(1)))
    at_once = case.but(unmask=case.unmask | {"tau": 1e-9, "temperature": 0.0})
    for one, other in zip(guided(at_once, AdaptiveParallel(1.0)), at_once.decode(), strict=True):
        assert facts(one) == facts(other)


@some(60)
@given(case=PROBLEMS, pair=st.one_of(FLASH, APD, EDLM, EDLM))
def test_batch_and_engine_do_not_matter(case, pair):
    case = case if pair[0].accepts else case.but(unmask={"name": "threshold", "tau": 0.4, "temperature": 1.5})
    together = guided(case, pair[0])
    for one, question in zip(together, case.questions, strict=True):
        for backbone in (case.backbone(), PlainBackbone(**vars(case.backbone()))):
            alone = guided(case.but(questions=(question,)), pair[0], backbone)[0]
            assert facts(alone) == facts(one)
            assert (alone.cost.guide_forwards, alone.cost.guide_token_forwards) == (
                one.cost.guide_forwards, one.cost.guide_token_forwards,
            )  # fmt: skip


def test_what_agrees_with_its_guide_everywhere_is_greedy():
    """With k = 1 and the guide's token at a misfit, every token is the guide's own: the text that it writes alone."""
    transformer, model = random_models(3, vocab_size=20, n_layers=2)
    causal = type(model)(model.state, Sizes(4, 2, 100.0, attention_block=1))
    backbone = Backbone(transformer, 19, 0, "shifted")
    s = replace(COLD, evidence=(FlashDLM(),), guide=SelfGuide(), unmask=Accepted())
    asked = questions()
    for one, question in zip(decode(backbone, asked, s), asked, strict=True):
        ids = list(question.prompt)
        for _ in one.ids:
            z = causal.logits(causal.embed(ids))[-1].copy()
            z[19] = -np.inf
            ids.append(0 if 0 in ids[len(question.prompt) :] else int(z.argmax()))
        assert list(one.ids) == ids[len(question.prompt) :]


def test_only_what_is_new_is_computed():
    """A kept prefix is that of the tokens that stand there: a second question in the same place begins anew."""
    transformer, _ = random_models(1, vocab_size=20)
    backbone = Backbone(transformer, 19, 0, "shifted")
    guide = Guided(backbone.read_causally(), Meter(backbone))
    guide.admit(0, 2, 12)
    assert guide.known.shape == (2, 12) and (guide.known == -1).all()
    guide.known[0, :5] = 3
    guide.admit(1, 4, 20)
    assert guide.known.shape == (4, 20) and (guide.known[0, :5] == 3).all() and (guide.known[1:] == -1).all()
    guide.kept.keys[:, 0] = 7.0
    guide.move(0, 3)
    assert (guide.known[3] == guide.known[0]).all() and (guide.kept.keys[:, 3] == 7.0).all()
    guide.admit(0, 4, 20)
    assert (guide.known == -1).all()


@pytest.mark.parametrize(
    ("dtype", "remedy"), [(torch.float64, "weights or the numbers"), (torch.float16, "choose guide.dtype=bfloat16")]
)
def test_numbers_that_are_not_finite_are_the_guides(dtype, remedy):
    transformer, _ = random_models(1, vocab_size=20)
    backbone = Backbone(transformer, 19, 0, "shifted")

    class Broken(SelfGuide):
        def model(self, backbone):
            made = random_models(2, vocab_size=20)[0]
            other = type(made)(made.config).to(dtype)
            other.load_state_dict(made.state_dict())
            with torch.no_grad():
                other.ln_f.weight.fill_(torch.nan)
            return Backbone(other.eval().requires_grad_(False), 19, 0, "shifted", causal=True)

    s = replace(COLD, evidence=(FlashDLM(),), guide=Broken(), unmask=Accepted())
    with pytest.raises(UserError, match=f"the guide's logits at its forward 1 are not finite.*{remedy}"):
        decode(backbone, questions(), s)


def test_a_guides_seconds_are_the_questions(monkeypatch):
    """On a clock that stands still but for a second in every forward of the guide."""
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    class Slow(Backbone):
        def __call__(self, *arguments):
            clock[0] += 1
            return super().__call__(*arguments)

    class SlowGuide(SelfGuide):
        def model(self, backbone):
            return Slow(**vars(backbone) | {"causal": True})

    backbone = Backbone(random_models(1, vocab_size=20)[0], 19, 0, "shifted")
    done = decode(backbone, questions(), replace(COLD, evidence=(FlashDLM(),), guide=SlowGuide(), unmask=Accepted()))
    for one in done:
        assert one.seconds == pytest.approx(one.cost.guide_seconds) and one.cost.forward_seconds == 0
    assert sum(one.seconds for one in done) == pytest.approx(clock[0])


def test_evidence_that_returns_no_word_is_told():
    class Bad(Consulting):
        def consult(self, view, word, guide):
            return 3

    backbone = Backbone(random_models(1, vocab_size=20)[0], 19, 0, "shifted")
    with pytest.raises(UserError, match="has to return a Word"):
        decode(backbone, questions(), replace(COLD, evidence=(Bad(),), guide=SelfGuide()))


def test_a_record_has_what_a_guide_cost(tmp_path, capsys):
    words = ["guide=self", "evidence=[flashdlm]", "unmask=accepted", "task.limit=6", f"outputs={tmp_path}"]
    summary, _ = run_overrides(words)
    (file,) = tmp_path.glob("lab-*/records.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for r in records:
        assert r["guide_forwards"] == r["nfe"] and r["aux_forwards"] == 0 and r["full_forward_equivalents"] == r["nfe"]
        assert 0 < r["guide_token_forwards"] < r["token_forwards"] and 0 < r["seconds_guide"] < r["seconds"]
    assert summary["guide_forwards_mean"] == sum(r["guide_forwards"] for r in records) / 6
    assert summary["all_forwards_mean"] == summary["nfe_mean"] + summary["guide_forwards_mean"]
    assert summary["all_token_forwards_mean"] == summary["token_forwards_mean"] + summary["guide_token_forwards_mean"]
    cold, _ = run_overrides(["task.limit=6", f"outputs={tmp_path}"])
    assert cold["guide_forwards_mean"] == 0 and cold["all_forwards_mean"] == cold["nfe_mean"]
    # A run that was broken off goes on, and a front can be drawn by what a guide costs.
    (file.parent / "summary.json").unlink()
    file.write_text("".join(f"{json.dumps(r)}\n" for r in records[:4]))
    again, _ = run_overrides(words)
    assert again["guide_token_forwards_mean"] == summary["guide_token_forwards_mean"]
    (other,) = (one for one in tmp_path.glob("lab-*/records.jsonl") if one != file)  # which has no guide
    (other.parent / "summary.json").unlink()
    other.write_text("".join(f"{line}\n" for line in other.read_text().splitlines()[:4]))
    assert run_overrides(["task.limit=6", f"outputs={tmp_path}"])[0]["nfe_mean"] == cold["nfe_mean"]
    main([str(tmp_path), "--x", "all_forwards"])
    assert "forwards and guide's" in capsys.readouterr().out


WORDS = "evidence=[flashdlm] guide=self unmask=accepted"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (f"{WORDS} evidence.flashdlm.k=0", r"evidence\.flashdlm\.k=0"),
        (f"{WORDS} evidence.flashdlm.share=2", r"evidence\.flashdlm\.share=2"),
        (f"{WORDS} evidence.flashdlm.on_reject=both", r"evidence\.flashdlm\.on_reject=both"),
        (f"{WORDS} tau=0", "tau=0"),
        ("evidence=[apd] guide=self unmask=accepted evidence.apd.r=1.5", r"evidence\.apd\.r=1\.5"),
        ("evidence=[apd] guide=self unmask=accepted evidence.apd.lookahead=0", r"evidence\.apd\.lookahead=0"),
        ("evidence=[edlm] guide=self unmask.temperature=1 evidence.edlm.n=0", r"evidence\.edlm\.n=0"),
        ("evidence=[edlm] guide=self unmask.temperature=1 evidence.edlm.temperature=0", r"evidence\.edlm\.temperature=0"),
        ("evidence=[edlm] guide=self unmask.temperature=1 evidence.edlm.first=0.2", "last=0.4 is above .*first=0.2"),
        ("evidence=[edlm] guide=self", "unmask.temperature=0 draws none: set unmask.temperature=1"),
        ("evidence=[flashdlm] unmask=accepted", "consults a guide and guide=none: choose guide=self"),
        ("evidence=[flashdlm] guide=self", "unmask=threshold does not look at: choose unmask=accepted"),
        ("guide=self", "guide=self is consulted by nothing chosen here"),
        ("unmask=accepted", r"evidence=\[none\] asks none: choose evidence=\[flashdlm\] guide=self"),
        ("evidence=[flashdlm,apd] guide=self unmask=accepted", "two that say which tokens"),
        (f"{WORDS} draft=lopa", "reads several of a question at once: choose draft=none"),
        (f"{WORDS} backbone.logits=aligned", "backbone=lab has aligned ones.*choose guide=none"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(words, sentence, tmp_path):
    with pytest.raises(UserError, match=sentence):
        planned([*words.split(), "task.limit=1", f"outputs={tmp_path}"])


class Row:
    """A view of one question whose positions are all masked."""

    def __init__(self, width):
        self.masked = np.ones((1, width), dtype=bool)
        self.at = self.masked.nonzero()

    def on_device(self, array, device):
        return torch.from_numpy(np.ascontiguousarray(array[self.at]))

    def bits(self, purpose):
        return bits(0, "q", purpose, self.masked.shape[1]).view(np.int64)


@pytest.mark.parametrize(("k", "token", "passes"), [(1, 1, True), (1, 2, False), (2, 2, True), (2, 0, False), (3, 0, True)])  # fmt: skip
def test_of_equally_probable_tokens_the_first_is_the_better(k, token, passes):
    said = torch.tensor([[0.2, 0.4, 0.4]], dtype=torch.float64).log()
    word = Word(said, torch.tensor([token]), torch.tensor([0.5], dtype=torch.float64))
    made = FlashDLM(k).consult(Row(1), word, lambda token, rows=None: said)
    assert made.token.tolist() == [token if passes else 1] and made.accepted.tolist() == [True]


def test_the_noise_of_a_product_is_that_of_the_draw():
    """A guide that is the backbone lets every draw pass; the released target has no noise, and passes most probable
    ones."""
    row, z = Row(200), torch.randn(200, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = sampled(z, 0.8, torch.from_numpy(row.bits("gumbel")))
    word = Word(z, drawn, z.softmax(-1).amax(-1), temperature=0.8)
    for r in (0.0, 0.3, 1.0):
        assert AdaptiveParallel(r, 200).consult(row, word, lambda token, rows=None: z.log_softmax(-1)).accepted.all()
        released = (
            AdaptiveParallel(r, 200, True).consult(row, word, lambda token, rows=None: z.log_softmax(-1)).accepted
        )
        first = next(i for i in range(1, 200) if drawn[i] != z[i].argmax())
        assert released.tolist() == [i < first for i in range(200)]


def test_what_a_guide_rules_out_never_fits():
    said = torch.tensor([[0.0, -np.inf, -np.inf]], dtype=torch.float64)
    word = Word(said, torch.tensor([1]), torch.tensor([0.5], dtype=torch.float64))
    assert FlashDLM(99).consult(Row(1), word, lambda token, rows=None: said).token.tolist() == [0]


def test_a_guide_with_another_vocabulary_is_refused():
    """One from outside the project: token ids are all that a guide is told."""

    class Other(SelfGuide):
        def model(self, backbone):
            return Backbone(random_models(seed=1, vocab_size=24)[0], mask_id=23, eos_id=0).read_causally()

    backbone = Backbone(random_models(seed=0, vocab_size=20)[0], mask_id=19, eos_id=0, logits="shifted")
    s = replace(COLD, evidence=(FlashDLM(),), guide=Other(), unmask=Accepted(0.9))
    with pytest.raises(
        UserError, match=r"Other.model has to return .* 20 tokens; it returned one of 24: choose guide=self"
    ):
        decode(backbone, questions(), s)
