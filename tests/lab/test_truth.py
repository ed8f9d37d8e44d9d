"""What counts as right, token by token."""

from __future__ import annotations

import pytest

from warmexp.lab import problems
from warmexp.lab.truth import is_solution, right_tokens, right_until, solutions
from warmexp.proposers.oracle import OracleProposer
from warmexp.proposers.proposal import Asked

ALL = [*problems.load("calibration"), *problems.load("test", 200), *problems.load("train", 200)]


def test_the_reference_solution_is_one_of_them_and_all_have_its_answer():
    for problem in ALL:
        assert problem.solution in solutions(problem.id)
        assert all(s.endswith(f"\n#### {problem.answer}") for s in solutions(problem.id))


def test_both_wordings_and_both_orders():
    """13 + 4 and 4 + 13, said in two ways; a difference has one order."""
    step = next(p for p in ALL if p.solution.count("\n") == 1 and " + " in p.solution)
    assert len(solutions(step.id)) == 4
    step = next(p for p in ALL if p.solution.count("\n") == 1 and " - " in p.solution)
    assert len(solutions(step.id)) == 2


@pytest.mark.parametrize("problem", ALL[::50], ids=lambda p: p.id)
def test_from_the_first_slip_on_everything_is_wrong(problem):
    text = f" {problem.solution}"
    assert right_until(problem.id, text) == len(text) and is_solution(problem.id, text)
    at = text.index("=") + 2
    slipped = f"{text[:at]}0{text[at:]}"
    assert right_until(problem.id, slipped) == at and not is_solution(problem.id, slipped)
    assert right_tokens(problem.id, [slipped[:at], slipped[at : at + 3], slipped[at + 3 :]]) == [True, False, False]
    assert right_until(problem.id, text[:at]) == at and not is_solution(problem.id, text[:at])
    assert right_until(problem.id, text + " and more") == len(text)


def test_wordings_may_change_between_the_lines():
    problem = next(p for p in ALL if p.solution.count("\n") > 1)
    first, last = solutions(problem.id)[0], solutions(problem.id)[-1]
    mixed = "\n".join([first.split("\n")[0], *last.split("\n")[1:]])
    assert first.split("\n")[0] != last.split("\n")[0] and is_solution(problem.id, mixed)


def test_nothing_is_right_of_other_questions():
    assert right_until(ALL[0].id, "") == 0 and right_tokens(ALL[0].id, []) == []
    for name in ("gsm8k-test-00001", "lab-test-x", ""):
        with pytest.raises(ValueError, match="not the id of a lab question"):
            solutions(name)


@pytest.mark.parametrize("kind", ["tokens", "numbers", "step"])
def test_planted_errors_are_found_where_they_are(kind):
    """Against every prefix tried in turn; and a wrong result, which no other wording or order can explain, to the
    character."""
    oracle, results = OracleProposer(corruption=0.4, kind=kind), 0
    for problem in ALL[::3]:
        text = oracle._corrupt(Asked(problem.id, "", problem.solution), seed=3)
        until = right_until(problem.id, text)
        assert until == max(
            k for k in range(len(text) + 1) if any(s.startswith(text[:k]) for s in solutions(problem.id))
        )
        planted = next(
            (k for k, pair in enumerate(zip(text, problem.solution, strict=False)) if pair[0] != pair[1]), len(text)
        )
        assert until >= planted and (until == len(text) and is_solution(problem.id, text)) == (
            text in solutions(problem.id)
        )
        if kind == "numbers" and "= " in problem.solution[:planted].rpartition("\n")[2] and planted < len(text):
            assert until == planted
            results += 1
    assert results >= 30 or kind != "numbers"
