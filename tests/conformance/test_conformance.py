"""Every option of every method group holds to the same contracts; a method that breaks one is told which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from tests.beside import BESIDE, ELSEWHERE, FEWER
from warmexp.check_method.__main__ import compositions, main
from warmexp.check_method.suite import CHECKS, conform
from warmexp.config.keys import options
from warmexp.decode.strategy import BASES
from warmexp.methods.unmask.threshold import Threshold

METHODS = [(group, option) for group in BASES for option in options(group) if f"{group}={option}" not in ELSEWHERE]


CHEAP, DEAR = CHECKS[:2], CHECKS[2:]


def words(group: str, option: str, more: list[str] | None = None) -> list[str]:
    word = f"{group}={option}"
    return [word, *BESIDE.get(word, []), *(more or [])]


def conforms(name: str, nodes: dict, group: str, seeds: range, checks=CHECKS) -> None:
    for sentence, found in conform(nodes, group, seeds, checks):
        assert found is None, f"{name}: {sentence} {found}"


@pytest.mark.parametrize(("group", "option"), METHODS)
def test_a_method_conforms(group, option):
    """One of its compositions, with aligned or shifted logits, and one of the dear checks, by turns; all of them on many
    problems are marked slow."""
    turn = METHODS.index((group, option))
    found = compositions(words(group, option, FEWER.get(option, [])))
    name, nodes = found[turn % len(found)]
    conforms(name, nodes, group, [turn // len(found) % 2], [*CHEAP, DEAR[turn % len(DEAR)]])


@pytest.mark.slow
@pytest.mark.parametrize(("group", "option"), METHODS)
def test_a_method_conforms_on_many_problems(group, option):
    for name, nodes in compositions(words(group, option)):
        conforms(name, nodes, group, range(12))


@dataclass
class Remembers(Threshold):
    """A rule with state of its own: from its third look at a question on it commits everything."""

    def __post_init__(self):
        super().__post_init__()
        self.seen = {}

    def select(self, view, reading):
        for question in view.questions:
            self.seen[question] = self.seen.get(question, 0) + 1
        again = np.array([self.seen[question] > 2 for question in view.questions])
        return view.masked & ((reading.confidence >= self.tau) | again[:, None])


@dataclass
class Counts(Threshold):
    """A rule that looks at its neighbours: the more questions there are, the more it commits."""

    def select(self, view, reading):
        return view.masked & (reading.confidence >= self.tau / len(view.questions))


@pytest.mark.parametrize(("wrong", "sentence"), [(Remembers, "Used again"), (Counts, "Alone")])
def test_a_method_that_breaks_a_contract_is_told_which(wrong, sentence, monkeypatch):
    monkeypatch.setattr("warmexp.config.instantiate.trusts", lambda module: True)
    _, nodes = compositions(["unmask=threshold"])[0]
    nodes["unmask"] = {"_target_": f"{__name__}.{wrong.__name__}"}
    failed = [said for said, found in conform(nodes, "unmask", range(2)) if found is not None]
    assert any(said.startswith(sentence) for said in failed), failed


@pytest.mark.slow
def test_the_command_says_what_holds(capsys):
    assert main(["unmask=threshold", "tau=0.3"]) == 0
    said = capsys.readouterr().out
    assert "unmask=threshold, as given" in said and "unmask=threshold, warm" in said and "FAILED" not in said
    assert main([]) == 2
    with pytest.raises(SystemExit, match="2"):
        main(["unmask=nothing"])
