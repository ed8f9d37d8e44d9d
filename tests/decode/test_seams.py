"""What methods from outside can do: remember, replace, idle, weigh; and what a class that is wrong is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from random import Random

import numpy as np
import pytest
import torch

from tests.decode.cases import facts
from tests.reference.models import random_models
from warmexp.decode.batch import Decoded
from warmexp.decode.canvas import Question, Start
from warmexp.decode.columns import Column
from warmexp.decode.edit import Replacement
from warmexp.decode.loop import decode, stream
from warmexp.decode.meter import Meter
from warmexp.decode.strategy import Evidence, Remask, Schedule, Strategies, Unmask
from warmexp.decode.view import Span
from warmexp.errors import UserError
from warmexp.methods.anchor.edit import EditAnchor
from warmexp.methods.anchor.none import NoAnchor
from warmexp.methods.cache.none import NoCache
from warmexp.methods.init.token_inject import TokenInject
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.remask.linear import LinearRemask
from warmexp.methods.remask.none import NoRemask
from warmexp.methods.schedule.blocks import Blocks
from warmexp.methods.unmask.threshold import Threshold
from warmexp.models.backbone import Backbone

COLD = Strategies(TokenInject(0.0), Threshold(0.4), NoRemask(), Blocks(), NoCache(), FixedLength(8, 4), NoAnchor())


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return Backbone(random_models(seed=1, vocab_size=20, n_layers=2)[0], mask_id=19, eos_id=0)


def questions(count: int = 4) -> list[Question]:
    draw = Random(0)
    return [
        Question(f"q{i}", tuple(draw.randrange(19) for _ in range(2 + i)), tuple(draw.randrange(19) for _ in range(8)))
        for i in range(count)
    ]


def decoded(backbone: Backbone, s: Strategies, asked: list[Question] | None = None) -> list[Decoded]:
    return decode(backbone, questions() if asked is None else asked, s)


@dataclass
class Klass(Threshold):
    """KLASS (arXiv 2511.05664): confident, and the distribution has hardly moved for `history` forwards."""

    tau: float = 0.3
    epsilon: float = 0.05
    history: int = 2
    reads_logits = True
    columns = {
        "before": Column(dtype="float64", fill=-40.0, vocabulary=True),
        "still": Column(dtype="int64"),
    }

    def measure(self, view, word):
        now = word.logits.log_softmax(-1).clamp(min=-40.0)
        moved = (now.exp() * (now - view.recall("before"))).sum(-1)
        return {"moved": moved, "before": now}

    def still(self, view, reading):
        return np.where(reading.measured["moved"] < self.epsilon, view.recall("still") + 1, 0)

    def select(self, view, reading):
        return super().select(view, reading) & (self.still(view, reading) >= self.history)

    def remember(self, view, reading, edit):
        return {"still": self.still(view, reading)}


def test_a_rule_that_remembers_distributions_does_not_depend_on_its_neighbours(backbone):
    s = replace(COLD, unmask=Klass())
    together = decoded(backbone, s)
    assert [facts(one) for one in together] == [facts(decoded(backbone, s, [q])[0]) for q in questions()]
    assert [facts(one) for one in decoded(backbone, s)] == [facts(one) for one in together], "used again"
    free = decoded(backbone, replace(COLD, unmask=Klass(epsilon=1e9, history=1)))
    assert [facts(one) for one in free] == [
        facts(one) for one in decoded(backbone, replace(COLD, unmask=Threshold(0.3)))
    ]
    assert sum(one.cost.nfe for one in together) > sum(one.cost.nfe for one in free)


@dataclass
class Editing(Remask):
    """Token editing in the manner of LLaDA2.1: a visible token becomes another that the backbone is surer of than
    `tau_edit`."""

    tau_edit: float = 0.2
    scope: str = "all"
    reads_logits = True

    def measure(self, view, word):
        best = word.logits.softmax(-1).max(-1)
        return {"best": best.indices, "sure": best.values}

    def select(self, view, reading, commit):
        return np.zeros_like(view.revocable)

    def replace(self, view, reading, commit):
        best, sure = reading.measured["best"], reading.measured["sure"]
        return Replacement(view.revocable & (best != view.ids) & (sure > self.tau_edit), best, sure)

    def may_fire(self, visits):
        return visits < 6


def test_visible_tokens_become_others(backbone):
    s = replace(COLD, init=TokenInject(1.0), remask=Editing())
    done = decoded(backbone, s)
    edits = [event for one in done for event in one.revocations]
    assert edits and {source for *_, source, _ in edits} <= {"injected", "decoded"}
    for one, question in zip(done, questions(), strict=True):
        assert one.cost.nfe >= 2 and 19 not in one.ids
        changed = {position for _, position, *_ in one.revocations}
        kept = [i for i in range(8) if i not in changed]
        assert all(one.ids[i] == question.proposal[i] and one.source[i] == "injected" for i in kept)
        assert all(one.source[i] == "decoded" and one.commit_iteration[i] >= 0 for i in changed)
    assert [facts(one) for one in done] == [facts(decoded(backbone, s, [q])[0]) for q in questions()]
    nothing = decoded(backbone, replace(s, remask=Editing(tau_edit=1.0)))
    assert all(one.source == ("injected",) * 8 and not one.revocations for one in nothing)


@dataclass
class Waits(Threshold):
    """Commits nothing in the first two forwards of a window, or never."""

    never: bool = False
    idles = True

    def select(self, view, reading):
        late = view.visits >= 2
        return super().select(view, reading) & late[:, None] & (not self.never)


def test_a_rule_may_idle_but_not_for_ever(backbone):
    usual, waited = (
        decoded(backbone, replace(COLD, unmask=Threshold(1e-9))),
        decoded(backbone, replace(COLD, unmask=Waits(1e-9))),
    )
    assert [one.cost.nfe for one in usual] == [2] * 4 and [one.cost.nfe for one in waited] == [6] * 4
    never = decoded(backbone, replace(COLD, unmask=Waits(0.4, never=True)))
    assert all(one.cost.nfe == 2 * (4 * 4 + 4) and 19 not in one.ids for one in never)


@dataclass
class Likes(Evidence):
    """Token `token`, with certainty."""

    token: int = 3

    def weigh(self, view, word):
        assert len(word.token) == int((view.masked | view.revocable).sum())
        return replace(word, token=torch.full_like(word.token, self.token), confidence=torch.ones_like(word.confidence))


def test_evidence_is_asked_in_order(backbone):
    done = decoded(backbone, replace(COLD, evidence=(Likes(3), Likes(5))))
    assert all(one.ids == (5,) * 8 and one.cost.nfe == 2 for one in done)


@dataclass
class Whole(Schedule):
    """The whole canvas at once."""

    def width(self, length):
        return length.canvas_length

    def advance(self, start, todo, width):
        return start, todo.any(1)


def test_a_schedule_of_ones_own(backbone):
    assert [facts(one) for one in decoded(backbone, replace(COLD, schedule=Whole()))] == [
        facts(one) for one in decoded(backbone, replace(COLD, length=FixedLength(8, 8)))
    ]


@dataclass
class Counts(Threshold):
    """Records how often it has looked."""

    columns = {
        "looks": Column("row", "int64", recorded=True),
        "where": Column(dtype="float64", fill=float("nan"), recorded=True),
    }

    def remember(self, view, reading, edit):
        return {
            "looks": view.recall("looks") + 1,
            "where": np.where(edit.commit, view.forwards[:, None], view.recall("where")),
        }


def test_recorded_columns_are_given_out(backbone):
    for one in decoded(backbone, replace(COLD, unmask=Counts(0.4))):
        assert one.columns["looks"] == one.cost.nfe and one.columns["where"] == one.commit_iteration


@pytest.mark.parametrize("rule", [Counts(0.4), Klass()])
def test_questions_that_come_later_remember_nothing_of_others(rule, backbone):
    s = replace(COLD, unmask=rule)
    alone = [decoded(backbone, s, [q])[0] for q in questions(6)]
    later = {one.id: one for one in stream(backbone, questions(6), s, batch_size=2)}
    assert [(facts(later[one.id]), later[one.id].columns) for one in alone] == [
        (facts(one), one.columns) for one in alone
    ]


def test_every_second_outside_forwards_is_charged_once(backbone):
    spent = [0.0]

    class Slow(Threshold):
        def select(self, view, reading):
            spent[0] += 1.0  # for all rows of the view together
            return super().select(view, reading)

    class Still(Meter):
        def clock(self):
            return spent[0]

    done = list(stream(backbone, questions(5), replace(COLD, unmask=Slow(0.4)), meter=Still(backbone), batch_size=3))
    outside = [one.seconds - one.cost.forward_seconds - one.cost.choosing_seconds for one in done]
    assert spent[0] > 2 and sum(outside) == pytest.approx(spent[0])


# What is wrong, by the name of the hook: a class, and what the sentence says.


def bad(base: type, name: str, function, **attributes):
    """An instance of a subclass in which a hook is another function."""
    made = dataclass(type("Bad", (base,), {name: function, **attributes}))
    return made()


def everything(self, view, reading):
    return np.ones_like(view.masked)


def masks(self, view, reading, commit):
    return Replacement(view.revocable, np.full_like(view.ids, 19), reading.confidence)


def floats(self, view, word):
    return replace(word, confidence=word.confidence.float())


@dataclass
class FinishedAtOnce(FixedLength):
    """Finished before anything was decoded."""

    stops = True

    def finished(self, ends, final):
        return np.ones(len(ends), dtype=bool)


@dataclass
class FinishedByNothing(FinishedAtOnce):
    """Forgets to return."""

    def finished(self, ends, final):
        return None


SELECT, COUNTS, LINEAR = partial(bad, Threshold, "select"), partial(bad, Counts, "remember"), partial(bad, LinearRemask)
WRONG = {
    "a tensor": ("unmask", SELECT(lambda self, v, r: torch.ones(4, 4) > 0), "Bad.select; NumPy array of bool, 4x4; a tensor of torch.bool"),
    "floats": ("unmask", SELECT(lambda self, v, r: r.confidence), "Bad.select; bool; ndarray of float64, 4x4"),
    "a wrong shape": ("unmask", SELECT(lambda self, v, r: v.masked.any(1)), "Bad.select; 4x4; ndarray of bool, 4"),
    "nothing": ("unmask", SELECT(lambda self, v, r: None), "Bad.select; it returned NoneType"),
    "beyond what is eligible": ("unmask", SELECT(everything), "Bad.select; view.masked; position; question q"),
    "a revocation of a mask": ("remask", LINEAR("select", lambda self, v, r, c: v.masked), "Bad.select; view.revocable"),
    "no replacement": ("remask", LINEAR("replace", lambda self, v, r, c: v.masked), "Bad.replace; Replacement or None; ndarray of bool"),
    "a mask for a token": ("remask", LINEAR("replace", masks), "Bad.replace; put the mask there"),
    "no word": ("evidence", bad(Likes, "weigh", lambda self, v, w: w.token), "Bad.weigh; has to return a Word"),
    "another type": ("evidence", bad(Likes, "weigh", floats), "Bad.weigh; confidence of torch.float64; torch.float32"),
    "another's column": ("unmask", COUNTS(lambda self, v, r, e: {"look": 1}), "Bad.remember; look is none of them (looks, where)"),
    "no names": ("unmask", COUNTS(lambda self, v, r, e: 1), "Bad.remember; values by name; int"),
    "another shape": ("unmask", COUNTS(lambda self, v, r, e: {"looks": v.masked}), "Bad.remember; looks; 4; ndarray of bool, 4x4"),
    "one too few": ("unmask", bad(Klass, "measure", lambda self, v, w: {"moved": w.token[1:]}), "Bad.measure; moved; 16"),
    "a measure on the host": ("unmask", bad(Klass, "measure", lambda self, v, w: {"moved": v.masked}), "Bad.measure; moved; ndarray"),
}  # fmt: skip


def schedule(hook, function):
    return "schedule", bad(Whole, hook, function)


def moves(start, live=None):
    """An `advance` that returns these, of start [n] and todo [n, L]."""
    return lambda self, s, todo, w: (start(s), todo.any(1) if live is None else live(s, todo))


def begins(**changes):
    """A cold start but for this."""

    def start(self, question, length, seed):
        given = {"tokens": np.zeros(length, dtype=np.int64), "injected": np.zeros(length, dtype=bool), **changes}
        return Start(**given)

    return "init", bad(TokenInject, "start", start)


def replaces(token):
    return lambda self, v, r, c: Replacement(v.revocable, np.full_like(v.ids, token), np.ones(v.ids.shape))


def says(**changes):
    """Evidence that says this of every position."""
    return bad(
        Likes,
        "weigh",
        lambda self, v, w: replace(w, **{k: torch.full_like(getattr(w, k), x) for k, x in changes.items()}),
    )


def plans(start, end, keeps=False):
    """A cache that computes start … end of the response."""
    hook = lambda self, v: Span.of(*(np.maximum(v.first + at, 0) for at in (start, end)), len(v.rows))  # noqa: E731
    return "cache", bad(NoCache, "plan", hook, keeps=keeps)


def asks(hook, function):
    return "anchor", bad(EditAnchor, hook, function)


def remembers(value, **kind):
    """A rule with a column of that kind that returns this for it."""
    return "unmask", bad(
        Threshold, "remember", lambda self, v, r, e: {"mine": value(v)}, columns={"mine": Column(**kind)}
    )


MEASURES = partial(bad, Klass, "measure")
WRONG |= {
    "a mixed-up size": (*schedule("width", lambda self, length: 9), "Bad.width; 1 to 8; 9"),
    "no size": (*schedule("width", lambda self, length: 4.0), "Bad.width; 4.0"),
    "no window": (*schedule("advance", lambda self, s, todo, w: s), "Bad.advance; ndarray of int64, 4"),
    "windows of floats": (*schedule("advance", moves(lambda s: s * 1.0)), "Bad.advance; int64; float64"),
    "a window that goes back": (*schedule("advance", moves(lambda s: s - 1)), "Bad.advance; from 0 to -1"),
    "a window past the end": (*schedule("advance", moves(lambda s: s + 1)), "Bad.advance; from 0 to 1"),
    "finished too soon": (*schedule("advance", moves(lambda s: s, lambda s, t: s > 0)), "Bad.advance; said False where todo.any() is True"),
    "never finished": (*schedule("advance", moves(lambda s: s, lambda s, t: s >= 0)), "Bad.advance; said True where todo.any() is False"),
    "an idle window": (
        "schedule",
        bad(Whole, "advance", moves(lambda s: s), width=lambda self, length: 4),
        "Bad.advance; something to do; position 4",
    ),
    "no span": ("cache", bad(NoCache, "plan", lambda self, v: (0, 1)), "Bad.plan; Span; tuple"),
    "a span of floats": ("cache", bad(NoCache, "plan", lambda self, v: Span.of(0.0, v.row_length, 4)), "Bad.plan; int64; float64"),
    "a span of one": ("cache", bad(NoCache, "plan", lambda self, v: Span.of(0, 9, 1)), "Bad.plan; int64, 4"),
    "a span before the window": (*plans(-9, 1), "Bad.plan; 0 to 3"),
    "a span behind the row": (*plans(-9, 9), "Bad.plan; 0 to 11"),
    "a span that is nothing": (*plans(8, 8, keeps=True), "Bad.plan; 10 to 10"),
    "a part, nothing kept": (*plans(0, 8), "Bad.plan; keeps = True"),
    "a part at once": (*plans(0, 8, keeps=True), "Bad.plan; first forward"),
    "no start": ("init", bad(TokenInject, "start", lambda self, q, n, s: None), "Bad.start; Start; NoneType"),
    "a short start": (*begins(tokens=np.zeros(7, dtype=np.int64)), "Bad.start, tokens:; int64, 8; int64, 7"),
    "a start of floats": (*begins(tokens=np.zeros(8)), "Bad.start, tokens:; float64"),
    "a start of tensors": (*begins(injected=torch.zeros(8) > 0), "Bad.start, injected:; a tensor of torch.bool"),
    "an injected mask": (*begins(tokens=np.full(8, 19), injected=np.ones(8, dtype=bool)), "Bad.start; 19 at position 0 of question q0"),
    "no token": (*begins(tokens=np.full(8, 20)), "Bad.start; 0 to 19; laid 20"),
    "a token below": (*begins(tokens=np.full(8, -1)), "Bad.start; laid -1"),
    "a weight above 1": (*begins(weight=np.full(8, 1.5)), "Bad.start, weight:; shares in [0, 1]; 1.5"),
    "a weight that is no number": (*begins(weight=np.full(8, np.nan)), "Bad.start, weight:; nan"),
    "one weight": (*begins(weight=0.5), "Bad.start, weight:; float64, 8; float"),
    "forwards below 0": (*begins(forwards=-1), "Bad.start; number of forwards; -1"),
    "a start of no column": (*begins(columns={"age": 1}), "Bad.start; age is none of them (none)"),
    "too few": ("init", bad(TokenInject, "prepare", lambda self, m, q, starts, given=None: starts[1:]), "Bad.prepare; 4 Starts; 3"),
    "no starts": ("init", bad(TokenInject, "prepare", lambda self, m, q, starts, given=None: None), "Bad.prepare; NoneType"),
    "shares below 0": ("init", bad(TokenInject, "mixture", lambda self, v: np.full((4, 8), -0.1)), "Bad.mixture; shares in [0, 1]; -0.1"),
    "a mixture of a window": ("init", bad(TokenInject, "mixture", lambda self, v: v.trust), "Bad.mixture; 4x8; 4x4"),
    "finished at once": ("length", FinishedAtOnce(8, 4), "FinishedAtOnce.finished; final"),
    "finished by nothing": ("length", FinishedByNothing(8, 4), "FinishedByNothing.finished; bool, 4; NoneType"),
    "another question": (*asks("moved", lambda self, q, d, w: replace(q, id="other")), "Bad.moved; question q; another, other"),
    "no question": (*asks("moved", lambda self, q, d, w: q.proposal), "Bad.moved; tuple"),
    "a look at nothing": (
        "remask",
        bad(Editing, "again", lambda self, v: v.visits >= 0, may_fire=lambda self, visits: visits < 1),
        "Bad.again; question q; may_fire",
    ),
    "a token beyond": ("remask", LINEAR("replace", replaces(20)), "Bad.replace; 0 to 19; put 20"),
    "evidence for the mask": ("evidence", says(token=19), "Bad.weigh; not the mask (19); 19"),
    "evidence for nothing": ("evidence", says(token=-1), "Bad.weigh; proposed -1"),
    "certain twice": ("evidence", says(confidence=2.0), "Bad.weigh; in [0, 1]; 2.0"),
    "uncertain of all": ("evidence", says(confidence=float("nan")), "Bad.weigh; nan"),
    "elsewhere": ("evidence", bad(Likes, "weigh", lambda self, v, w: replace(w, token=w.token.to("meta"))), "Bad.weigh; on cpu; on meta"),
    "a measure elsewhere": ("unmask", MEASURES(lambda self, v, w: {"moved": w.confidence.to("meta")}), "Bad.measure; on cpu; on meta"),
    "a measure of two": ("unmask", MEASURES(lambda self, v, w: {"moved": w.logits[:, :2]}), "Bad.measure; 16; 16x2"),
    "a flat distribution": ("unmask", MEASURES(lambda self, v, w: {"before": w.confidence}), "Bad.measure; before; 16x20; 16"),
    "a measured column": ("unmask", MEASURES(lambda self, v, w: {"still": w.token}), "Bad.measure; still; without a vocabulary"),
    "a tensor remembered": (*remembers(lambda v: torch.zeros(4, 4)), "Bad.remember; NumPy array of float64; a tensor"),
    "floats for numbers": (*remembers(lambda v: np.full((4, 4), 0.5), dtype="int64"), "Bad.remember; array of int64; float64"),
    "a vocabulary remembered": (*remembers(lambda v: np.zeros((4, 4)), vocabulary=True), "Bad.remember; mine; return it from measure"),
    "a name of the canvas": ("unmask", bad(Threshold, "columns", {"prior": Column()}), "Bad remembers prior; another name"),
    "no column": ("unmask", bad(Threshold, "columns", {"mine": "int64"}), "Bad.columns; Columns by name"),
}  # fmt: skip


def test_two_methods_cannot_measure_under_one_name(backbone):
    one = bad(Likes, "measure", lambda self, v, w: {"moved": w.confidence})
    with pytest.raises(UserError, match=r"moved, which is another method's"):
        decoded(backbone, replace(COLD, unmask=Klass(), evidence=(one,)))


@pytest.mark.parametrize("given", [{"dtype": "flaot64"}, {"per": "token"}, {"per": "row", "vocabulary": True}])
def test_a_column_that_cannot_be_is_refused(given):
    with pytest.raises(ValueError, match=r"a column|a vocabulary"):
        Column(**given)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_class_is_told_so_in_one_sentence(name, backbone):
    group, made, words = WRONG[name]
    s = replace(COLD, init=TokenInject(0.5), remask=LinearRemask(bias=1.0))
    s = replace(s, **{group: (made,) if group == "evidence" else made})
    with pytest.raises(UserError) as told:
        decoded(backbone, s)
    assert all(word in str(told.value) for word in words.split("; ")) and "\n" not in str(told.value), told.value


def test_what_a_method_sees_cannot_be_written_to(backbone):
    def meddles(self, view, reading):
        view.ids[:] = 3
        return view.masked

    with pytest.raises(ValueError, match="read-only"):
        decoded(backbone, replace(COLD, unmask=bad(Threshold, "select", meddles)))


def test_two_methods_cannot_remember_under_one_name(backbone):
    with pytest.raises(UserError, match="Bad and another method remember looks"):
        decoded(backbone, replace(COLD, unmask=Counts(0.4), remask=bad(NoRemask, "columns", {"looks": Column()})))


@pytest.mark.parametrize("base", [Unmask, Evidence, Remask, Schedule])
def test_a_class_without_its_hook_cannot_be_made(base):
    with pytest.raises(TypeError, match="abstract"):
        dataclass(type("Empty", (base,), {}))()


def test_every_forward_tells_the_information_of_what_it_commits(backbone):
    """Σ -ln c, whatever was revoked later; nothing where a rule idles."""
    for s in (COLD, replace(COLD, init=TokenInject(0.5)), replace(COLD, unmask=Waits(0.4))):
        for one in decoded(backbone, s):
            expected = [0.0] * one.cost.nfe
            for n, c in zip(one.commit_iteration, one.confidence, strict=True):
                if n >= 0:
                    expected[n] += -np.log(c)
            assert one.nats == pytest.approx(expected) and str(one.nats).count("-0.0") == 0
    waited = decoded(backbone, replace(COLD, unmask=Waits(1e-9)))
    assert all(one.nats[:2] == (0.0, 0.0) and one.nats[2] > 0 for one in waited)
    revised = decoded(backbone, replace(COLD, remask=LinearRemask(bias=0.3, scope="decoded")))
    assert any(one.revocations for one in revised)
    for one in revised:
        kept = -sum(np.log(c) for c in one.confidence if c is not None)
        assert (
            len(one.nats) == one.cost.nfe and sum(one.nats) > kept
            if one.revocations
            else sum(one.nats) == pytest.approx(kept)
        )


def test_forwards_of_an_init_tell_nothing(backbone):
    """They are the question's own, and come first."""
    from warmexp.methods.init.verified import Verified

    done = [d for theta in (0.0001, 0.5) for d in decoded(backbone, replace(COLD, init=Verified(theta=theta)))]
    assert any("decoded" in one.source for one in done) and any("decoded" not in one.source for one in done)
    for one in done:
        assert len(one.nats) == one.cost.nfe and one.nats[0] == 0.0
        assert (sum(one.nats) > 0) == ("decoded" in one.source)
