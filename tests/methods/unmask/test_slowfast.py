"""SlowFast beside a slow one that is written from its description, as two loops inside a third."""

from __future__ import annotations

import statistics
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from tests.conformance.test_conformance import conforms
from tests.decode.cases import facts
from tests.decode.test_seams import COLD, backbone, decoded  # noqa: F401 (a fixture)
from tests.methods.unmask.slow import agree, softmax
from warmexp.api import planned
from warmexp.check_method.__main__ import compositions
from warmexp.errors import UserError
from warmexp.methods.length.fixed import FixedLength
from warmexp.methods.schedule.canvas import WholeCanvas
from warmexp.methods.unmask.slowfast import SlowFast
from warmexp.methods.unmask.threshold import Threshold

L = 8


def cycles(rule: SlowFast, width: int):
    """A generator that is sent confidences by masked position and yields what to commit."""
    start, chosen = 0, None

    def choose(c, first, past):
        inside = {i: c[i] for i in c if first <= i < past}
        sure = [i for i in inside if inside[i] >= rule.tau]
        return sure if len(sure) > 1 else [max(inside, key=lambda i: (inside[i], -i))]

    while True:
        estimates, end, settled = [], None, False
        for _ in range(rule.looks):  # slow
            c = yield chosen
            if not settled:
                far = [i for i in c if i >= start and c[i] >= rule.ready]
                estimates.append(min(max(far) + 1 if far else start + 1, width))
                end = estimates[-1]
                if len(estimates) > 1:
                    settled = statistics.pstdev(estimates[-2:]) < rule.steady
                    end = estimates[-1] if settled else int(statistics.mean(estimates[-2:]))
            chosen = choose(c, start, width)
            left = set(c) - set(chosen)
        while any(start <= i < end for i in left):  # fast
            c = yield chosen
            chosen = choose(c, start, end)
            left = set(c) - set(chosen)
        start = end


def described(rule: SlowFast, width: int = L):
    def of(_):
        running = []

        def one(ids, z, k):
            if k == 0 or not running:
                running.append(cycles(rule, width))
                next(running[-1])
            c = {i: float(softmax(z[i]).max()) for i in range(width) if ids[i] is None}
            return {i: int(z[i].argmax()) for i in running[-1].send(c)}

        return one

    return of


@pytest.mark.parametrize("looks", [1, 2, 3, 6])
@pytest.mark.parametrize("ready", [0.1, 0.35, 0.5, 0.9])
def test_as_it_is_described(looks, ready):
    for tau in (0.4, 0.7):
        rule = SlowFast(tau, looks=looks, ready=ready)
        agree(rule, described(rule), canvas=L, block=L)


@pytest.mark.parametrize("steady", [0.4, 2.0])
def test_on_a_longer_canvas_with_many_cycles(steady):
    rule = SlowFast(0.6, looks=2, ready=0.55, steady=steady)
    agree(rule, described(rule, 24), canvas=24, block=24, seeds=range(3))


def look(rule, c, masked, state=(0, 0, 0, 0, False), visits=1):
    """One forward: what is committed, and the state after it."""
    columns = dict(zip(rule.columns, (np.array([v]) for v in state), strict=True))
    view = SimpleNamespace(masked=np.array([masked], dtype=bool), visits=np.array([visits]), recall=columns.__getitem__)
    reading = SimpleNamespace(confidence=np.where(view.masked, np.array([c]), -1.0))
    after = rule.remember(view, reading, None)
    return np.flatnonzero(rule.select(view, reading)[0]).tolist(), tuple(int(v[0]) for v in after.values())


def test_a_cycle_by_hand():
    rule, c = SlowFast(0.9, looks=2, ready=0.3), [0.2, 0.5, 0.4, 0.1, 0.95, 0.1]
    assert look(rule, c, [1] * 6, visits=0) == ([4], (0, 5, 5, 1, 0))  # the last c ≥ 0.3 is at 4: e = 5
    # The second estimate is 3: its deviation from 5 is 1, not below it, and the mean is 4.
    assert look(rule, c, [1, 1, 1, 1, 0, 1], (0, 5, 5, 1, 0)) == ([1], (0, 4, 3, 2, 0))
    # Fast: only [0, 4), though position 5 is surer.
    assert look(rule, [0.2, 0, 0.4, 0.1, 0, 0.99], [1, 0, 1, 1, 0, 1], (0, 4, 3, 2, 0)) == ([2], (0, 4, 3, 2, 0))
    # [0, 4) is full: a new cycle begins at 4, slowly, with an estimate of its own.
    assert look(rule, [0, 0, 0, 0, 0, 0.1], [0, 0, 0, 0, 0, 1], (0, 4, 3, 2, 1)) == ([5], (4, 5, 5, 1, 0))
    # Equal estimates settle the end, and no later one moves it.
    assert look(rule, c, [1, 1, 1, 1, 0, 1], (0, 3, 3, 1, 0))[1] == (0, 3, 3, 2, 1)
    assert look(SlowFast(0.9, looks=9), c, [1] * 6, (0, 3, 3, 4, 1))[1] == (0, 3, 3, 5, 1)
    # A token before the stretch was revoked: it goes back there.
    assert look(rule, c, [1, 0, 0, 0, 1, 1], (4, 6, 6, 2, 1))[1][0] == 0


def test_a_window_begins_its_own_cycles(backbone):  # noqa: F811
    """In blocks, a block is decoded as if it were alone; what another remembered is not used."""
    rule = SlowFast(0.5, looks=2, ready=0.5)
    view = (rule, [0.1] * 4, [1] * 4)
    assert look(*view, (3, 4, 4, 2, 1), visits=0) == look(*view, visits=0)
    assert all(d.cost.nfe >= 2 for d in decoded(backbone, replace(COLD, unmask=rule)))


@pytest.mark.parametrize(
    "rule", [SlowFast(0.4, ready=0.0), SlowFast(0.4, looks=1000)], ids=["all ready", "always slow"]
)
def test_at_its_limits_it_is_a_threshold(rule, backbone):  # noqa: F811
    whole = replace(COLD, schedule=WholeCanvas())
    one, other = ([facts(d) for d in decoded(backbone, replace(whole, unmask=r))] for r in (rule, Threshold(0.4)))
    assert one == other


def test_above_one_it_commits_one_per_forward(backbone):  # noqa: F811
    whole = replace(COLD, length=FixedLength(L, L))
    assert all(d.cost.nfe == L for d in decoded(backbone, replace(whole, unmask=SlowFast(1.1, looks=2))))


def test_it_goes_along_with_revocations():
    for name, nodes in compositions(["unmask=slowfast", "unmask.looks=2", "remask=budget", "remask.scope=all"])[:1]:
        conforms(name, nodes, "unmask", range(1))


def test_the_option_brings_the_whole_canvas():
    assert planned(["unmask=slowfast", "task.limit=1"]).choices["schedule"] == "canvas"


@pytest.mark.parametrize(("key", "value"), [("looks", 0), ("ready", 1.5), ("steady", -1.0)])
def test_what_cannot_be_is_refused(key, value):
    with pytest.raises(UserError, match=f"unmask.{key}="):
        SlowFast(**{key: value})
