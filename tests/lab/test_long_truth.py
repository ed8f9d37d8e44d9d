"""What counts as right on the long lab, token by token."""

from itertools import product

import pytest

from warmexp.lab.long import problems
from warmexp.lab.truth import is_solution, right_tokens, right_until
from warmexp.tasks.lab import LongLabTask

ALL = [*problems.load("calibration", 150), *problems.load("test", 150), *problems.load("train", 50)]


def every_solution(name: str) -> set[str]:
    """Written down the slow way: all orders, one wording for each line, operands as they stand."""
    tale, r = problems.draw(*name.removeprefix("long-").split("-")[:1], int(name.split("-")[2]))
    orders = {tuple(problems.any_order(tale.steps, r)) for _ in range(300)}
    found = set()
    for order in orders:
        texts = [problems.write(tale, w, list(order))[0].split("\n") for w in range(3)]
        found |= {
            "\n".join(chosen) for chosen in product(*(sorted({t[k] for t in texts}) for k in range(len(texts[0]))))
        }
    return found


def test_the_reference_solution_is_right_in_every_wording_and_order():
    for p in ALL:
        tale, r = problems.draw(p.id.split("-")[1], int(p.id.split("-")[2]))
        for wording in range(3):
            text = problems.write(tale, wording, problems.any_order(tale.steps, r))[0]
            assert is_solution(p.id, text) and right_until(p.id, f" {text}") == len(text) + 1
        assert is_solution(p.id, p.solution)


def test_against_all_solutions_written_down():
    short = [p for p in ALL if p.solution.count("\n") - 2 <= 3][:12]
    for p in short:
        solutions = every_solution(p.id)
        for text in sorted(solutions)[::50]:
            assert is_solution(p.id, text)
            assert not is_solution(p.id, text[:-1]) and right_until(p.id, text[:-1]) == len(text) - 1
            assert not is_solution(p.id, text + "0") and right_until(p.id, text + "0") == len(text)


def test_from_the_first_slip_on_everything_is_wrong():
    for p in ALL[::7]:
        text = f" {p.solution}"
        at = text.rindex("####") + 5
        slipped = f"{text[:at]}x{text[at:]}"
        assert right_until(p.id, slipped) == at and not is_solution(p.id, slipped)
        assert right_tokens(p.id, [slipped[:at], slipped[at : at + 1], slipped[at + 1 :]]) == [True, False, False]


def turned(line: str, op: str) -> str:
    """The line with the operands of its equation in the other order."""
    words = line.split()
    k = words.index(op)
    words[k - 1], words[k + 1] = words[k + 1], words[k - 1]
    return " ".join(words)


@pytest.mark.parametrize(("op", "right"), [("+", True), ("x", True), ("-", False), ("/", False)])
def test_operands_may_change_places_in_sums_and_products_only(op, right):
    lines = [
        (p, line) for p in ALL for line in p.solution.split("\n") if f" {op} " in line and turned(line, op) != line
    ]
    assert len(lines) > 5
    for p, line in lines:
        assert is_solution(p.id, p.solution.replace(line, turned(line, op), 1)) is right


def test_a_step_before_what_it_uses_is_wrong():
    p = next(p for p in ALL if p.solution.count("\n") - 2 == 2)
    lines = p.solution.split("\n")
    lines[1], lines[2] = lines[2], lines[1]
    assert right_until(p.id, "\n".join(lines)) < len(lines[0]) + 1 + len(lines[1])


def test_the_task_counts_right_tokens_and_the_end():
    task = LongLabTask(split="calibration", limit=3)
    question = task.load()[1]
    pieces = [question.solution[k : k + 4] for k in range(0, len(question.solution), 4)]
    assert task.right_tokens(question.id, pieces, ended=True) == len(pieces) + 1
    assert task.right_tokens(question.id, pieces[:-1], ended=True) == len(pieces) - 1
    assert task.identity()["kind"] == "lab_long" and task.training(2)[0].id == "long-train-0000000"


def test_nothing_is_right_of_other_questions():
    assert right_until(ALL[0].id, "") == 0
    for name in ("long-test-x", "long-dev-0000001"):
        with pytest.raises(ValueError, match="not the id of a long lab question"):
            right_until(name, "We")
