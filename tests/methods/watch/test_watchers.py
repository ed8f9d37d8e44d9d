"""Watchers: what they see is what a slow decoder sees, they cost no forward, and they finish or record as published."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from tests.decode.cases import facts
from tests.decode.test_seams import COLD, backbone, decoded, questions  # noqa: F401 (a fixture)
from tests.reference import revision as slow
from tests.reference.models import random_models
from warmexp.api import planned, run_overrides
from warmexp.check_method.problems import Letters
from warmexp.decode.loop import decode
from warmexp.decode.meter import Meter
from warmexp.decode.strategy import Watch
from warmexp.errors import UserError
from warmexp.methods.init.token_inject import TokenInject
from warmexp.methods.remask.t2m import T2M
from warmexp.methods.remask.wino import Wino
from warmexp.methods.unmask.threshold import Threshold
from warmexp.methods.watch.prophet import Prophet
from warmexp.methods.watch.temporal_vote import TemporalVote

MODEL = random_models(seed=1, vocab_size=20, n_layers=2)[1]


def bound(watch):
    watch.bind(Letters(), 8)
    return watch


@dataclass
class Listens(slow.Frozen):
    """What temporal voting notes, in the slow decoder."""

    notes: list

    def over(self, s):
        found = Letters().answer(s.proposed(), "strict")
        self.notes.append(found and found[0])
        return False


@dataclass
class Foresees(slow.Frozen):
    gaps: tuple[float, float, float]

    def over(self, s):
        found = Letters().answer(s.proposed(), "strict")
        if found is None:
            return False
        each = []
        for i in range(found[1], found[2]):
            best, second = sorted(s.z[i], reverse=True)[:2]
            each.append(best - second)
        progress = sum(token != s.mask_id for token in s.ids) / len(s.ids)
        needed = self.gaps[0] if progress < 0.33 else self.gaps[1] if progress < 0.67 else self.gaps[2]
        return sum(each) / len(each) >= needed


def reference(question, revision, tau=0.4):
    return slow.decode_one(MODEL, question, {}, slow.threshold(tau), revision, 8, 4, 19)


def test_a_vote_notes_the_answer_of_every_forward_and_changes_nothing(backbone):  # noqa: F811
    plain = decoded(backbone, COLD)
    watched = decoded(backbone, replace(COLD, watch=bound(TemporalVote())))
    assert [facts(one) for one in watched] == [facts(one) for one in plain]
    notes = []
    for one, question in zip(watched, questions(), strict=True):
        listens = Listens([])
        reference(question, listens)
        assert list(one.notes) == listens.notes and len(one.notes) == one.cost.nfe
        notes += one.notes
    assert len(set(notes)) > 2 and not any(one.notes for one in plain)


def test_a_vote_hears_the_tokens_that_are_drawn(backbone):  # noqa: F811
    """In the window, where they are what is proposed; elsewhere the most probable ones."""
    done = decoded(backbone, replace(COLD, unmask=Threshold(0.4, temperature=1.5), watch=bound(TemporalVote())))
    for one, question in zip(done, questions(), strict=True):
        listens = Listens([])
        slow.decode_one(MODEL, question, {}, slow.threshold(0.4), listens, 8, 4, 19, temperature=1.5)
        assert list(one.notes) == listens.notes


@pytest.mark.parametrize("remask", [T2M("t2t", 0.2, share=1.0), Wino(0.9)])
def test_a_vote_changes_nothing_where_tokens_are_revised(backbone, remask):  # noqa: F811
    s = replace(COLD, init=TokenInject(0.6), remask=remask)
    plain, watched = decoded(backbone, s), decoded(backbone, replace(s, watch=bound(TemporalVote())))
    assert [facts(one) for one in watched] == [facts(one) for one in plain]
    assert any(one.revocations for one in plain)


@pytest.mark.parametrize("gaps", [(2.0, 0.5, 0.2), (1.0, 1.0, 1.0), (6.0, 0.5, 9.0), (0.0, 0.0, 0.0)])
def test_prophet_as_it_is_described(gaps, backbone):  # noqa: F811
    done = decoded(backbone, replace(COLD, watch=bound(Prophet(*gaps))))
    early = 0
    for one, question, usual in zip(done, questions(), decoded(backbone, COLD), strict=True):
        expected = reference(question, Foresees(gaps))
        assert list(one.ids) == expected.ids and one.cost.nfe == expected.nfe
        assert list(one.commit_iteration) == expected.commit_iteration and list(one.source) == expected.source
        early += one.cost.nfe < usual.cost.nfe
    assert early or gaps[0] > 3


def test_prophet_that_needs_too_much_changes_nothing(backbone):  # noqa: F811
    done = decoded(backbone, replace(COLD, watch=bound(Prophet(1e9, 1e9, 1e9))))
    assert [facts(one) for one in done] == [facts(one) for one in decoded(backbone, COLD)]


class Stops(Watch):
    """After the second forward, come what may."""

    looks = True

    def finish(self, view, sight):
        return view.forwards >= 1


def test_a_question_that_is_finished_is_revised_no_more(backbone):  # noqa: F811
    s = replace(COLD, init=TokenInject(0.6), remask=T2M("low_prob", 0.9, share=1.0))
    usual, stopped = decoded(backbone, s), decoded(backbone, replace(s, watch=Stops()))
    for one, other in zip(usual, stopped, strict=True):
        assert 19 not in other.ids and other.cost.nfe == 2 < one.cost.nfe
        assert list(other.revocations) == [event for event in one.revocations if event[0] == 0]
        assert any(n == 1 for n in other.commit_iteration[4:]), "the other block is filled, too"
    assert any(one.revocations for one in stopped) and any(event[0] == 1 for one in usual for event in one.revocations)


def test_the_watched_forwards_are_the_ones_that_count(backbone):  # noqa: F811
    meter = Meter(backbone)
    done = decode(backbone, questions(), replace(COLD, watch=bound(TemporalVote())), meter=meter)
    assert sum(len(row.questions) for row in meter.ledger) == sum(len(one.notes) for one in done)


@pytest.mark.parametrize(
    ("watch", "notes", "wins"),
    [
        (TemporalVote("fixed"), ["3", "3", "4", None], "3"),
        (TemporalVote("fixed"), ["3", "4", "4", "3"], "3"),
        (TemporalVote("linear"), ["3", "3", None, "4"], "4"),
        (TemporalVote("linear"), ["3", "3", "4", None], "3"),
        (TemporalVote("exp", 0.1), ["3", "3", None, "4"], "3"),
        (TemporalVote("exp"), ["3", "3", "3", "4"], "4"),
        (TemporalVote(), [None, None], None),
        (TemporalVote(), [], None),
    ],
)
def test_votes_by_hand(watch, notes, wins):
    assert watch.conclude(notes) == wins


def test_the_published_weights():
    assert TemporalVote("linear").weight(1, 4) == 0.5
    assert TemporalVote("exp", 5.0).weight(2, 4) == math.exp(2.5)


class Forgets(Watch):
    looks = True

    def note(self, view, sight):
        return []


class Tells(Forgets):
    def finish(self, view, sight):
        return np.ones(1)


@pytest.mark.parametrize(("wrong", "hook"), [(Forgets, "Forgets.note"), (Tells, "Tells.finish")])
def test_a_watcher_that_is_wrong_is_told(backbone, wrong, hook):  # noqa: F811
    with pytest.raises(UserError, match=hook):
        decoded(backbone, replace(COLD, watch=wrong()))


def test_it_is_refused_beside_a_cache(tmp_path):
    for name in ("prophet", "temporal_vote"):
        with pytest.raises(UserError, match=f"watch={name} reads the whole canvas.*cache=dual.*cache=none"):
            planned([f"watch={name}", "cache=dual", "task.limit=1", f"outputs={tmp_path}"])


def test_the_task_says_where_the_answer_is():
    plan = planned(["watch=prophet", "task.limit=1"])
    texts, tokenizer = plan.strategies.watch._texts, plan.backbone.tokenizer
    ids = tokenizer.encode(" 3 + 4 = 7. 7 - 1 = 16\n#### 16 and 16 #### 9")
    for kind, answer in (("strict", "16"), ("flexible", "9")):
        found, first, past = texts.answer(ids, kind)
        assert found == answer and tokenizer.decode(ids[first:past]).strip() == answer
        ends = {"strict": " 3 + 4 = 7. 7 - 1 = 16\n#### 16", "flexible": tokenizer.decode(ids)}[kind]
        assert tokenizer.decode(ids[:past]) == ends
    assert texts.answer(tokenizer.encode(" no number"), "strict") is None


def test_a_vote_is_in_records_and_summary(tmp_path):
    words = ["task.limit=6", "tau=0.6", f"outputs={tmp_path}"]
    plain, _ = run_overrides(words)
    summary, folder = run_overrides([*words, "watch=temporal_vote"])
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    assert summary["nfe_mean"] == plain["nfe_mean"] and summary["accuracy_strict"] == plain["accuracy_strict"]
    assert summary["run_id"] != plain["run_id"] and "accuracy_watched" not in plain
    for record in records:
        watched = record["watched"]
        assert len(watched["notes"]) == record["nfe"]
        assert watched["answer"] == TemporalVote().conclude(watched["notes"])
        assert watched["notes"][-1] == record["extracted"]["flexible"]
        assert watched["correct"] == (watched["answer"] == record["target"])
    assert summary["accuracy_watched"] == sum(r["watched"]["correct"] for r in records) / 6 > 0.5


def test_prophet_saves_forwards_on_the_lab(tmp_path):
    words = ["task.limit=16", "length.block_length=48", "tau=0.9", f"outputs={tmp_path}"]
    plain, _ = run_overrides(words)
    summary, _ = run_overrides([*words, "watch=prophet"])
    assert summary["nfe_mean"] < plain["nfe_mean"] and summary["accuracy_strict"] >= plain["accuracy_strict"] - 0.2
    with pytest.raises(UserError, match=r"watch\.early=-1"):
        planned(["watch=prophet", "watch.early=-1"])
