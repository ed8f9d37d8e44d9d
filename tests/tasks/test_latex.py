"""MATH answers: the traps as literal expectations, and equality with lm-evaluation-harness's own functions."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from warmexp.tasks.latex import between_dollars, last_boxed, normalise, same_answer
from warmexp.tasks.math500 import Math500

SAME = [
    ("\\frac12", "\\frac{1}{2}"),
    ("\\dfrac{1}{2}", "\\tfrac12"),
    ("0.5", "\\frac{1}{2}"),
    ("1/2", "\\frac{1}{2}"),
    ("\\frac1{72}", "\\frac{1}{72}"),
    ("\\sqrt3", "\\sqrt{3}"),
    ("k = 3", "3"),
    (".5", "0.5"),
    ("12\\text{ cm}", "12"),
    ("50\\%", "50"),
    ("\\$5", "5"),
    ("90^\\circ", "90"),
    ("\\left( 1, 2 \\right)", "(1,2)"),
    ("-1/2", "\\frac{-1}{2}"),
    ("x/2", "x/2"),
    ("", ""),
]
DIFFERENT = [
    ("2/4", "1/2"),  # strings are compared, not values
    ("x/2", "x / 2"),  # letters over numbers: the normalisation gives up, and then a space counts
    ("1,000", "1000"),
    ("abc = 3", "3"),
    ("\\text{ cm}\\text{ s}", "\\text{ cm}"),
    ("\\frac", "\\frac "),
    ("\\sqrt", ""),
    ("0.50", "0.5"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_answer(one, other):
    assert same_answer(one, other) and same_answer(other, one)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_answer(one, other):
    assert not same_answer(one, other) and not same_answer(other, one)


@pytest.mark.parametrize(
    ("text", "boxed"),
    [
        ("so $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("\\boxed{1} no, \\boxed{2}", "2"),
        ("$\\boxed 7$ done", "7"),
        ("\\boxed{3", None),
        ("\\fbox{4}", None),
        ("18", None),
        ("\\boxed", None),
    ],
)
def test_the_last_box(text, boxed):
    assert last_boxed(text) == boxed


@pytest.mark.parametrize(
    ("text", "answer"), [("It is $3$.", "3"), ("$a$ and $b$", "a$ and $b"), ("it costs $3", "it costs $3"), ("3", "3")]
)
def test_between_dollars(text, answer):
    assert between_dollars(text) == answer


def test_filters_of_the_task():
    task = Math500()
    assert task.extract("The value $x$ is $\\boxed{\\frac12}$.") == {
        "strict": "x$ is $\\boxed{\\frac12}",
        "flexible": "\\frac12",
    }
    assert task.extract("It is $\\frac12$") == {"strict": "\\frac12", "flexible": "\\frac12"}
    assert task.matches("\\frac12", "0.5") and not task.matches("[invalid]", "0.5")


@pytest.fixture(scope="module")
def harness():
    pytest.importorskip("lm_eval")
    from lm_eval.tasks.hendrycks_math import utils

    return utils


pieces = st.sampled_from(
    ["\\frac", "\\dfrac", "\\sqrt", "{", "}", "1", "2", "12", "/", "=", " ", ".", "-", "x", "\\text{ ", "cm}", "\\%", "\\$", "$", "\\!",
     "\\\\", "\\left", "\\right", "^\\circ", "^{\\circ}", "\n", "0.5", "k = ", "\\boxed{", "\\boxed ", "\\boxed", "\\fbox{", ",", "_"]
)  # fmt: skip
texts = st.lists(pieces, max_size=9).map("".join)


@settings(max_examples=600, deadline=None)
@given(one=texts, other=texts)
@example(one="\\frac", other="\\frac")
@example(one="1_0/2", other="10/2")
@example(one="\\sqrt\\frac1", other="\\sqrt")
def test_normalisation_equals_the_harness(harness, one, other):
    assert same_answer(one, other) == harness.is_equiv(one, other)
    try:
        expected = harness.strip_string(one)
    except (AssertionError, IndexError, ValueError):
        with pytest.raises(ValueError):
            normalise(one)
    else:
        assert normalise(one) == expected


@settings(max_examples=600, deadline=None)
@given(text=texts)
def test_boxes_equal_the_harness(harness, text):
    expected = None
    found = harness.last_boxed_only_string(text)
    if found is not None:
        with contextlib.suppress(AssertionError):  # a frame the harness does not read (\\fbox)
            expected = harness.remove_boxed(found)
    assert last_boxed(text) == expected


@settings(max_examples=300, deadline=None)
@given(text=texts, gold=texts)
def test_the_strict_score_equals_the_harness(harness, text, gold):
    task = Math500()
    solution = f"so \\boxed{{{gold.replace('{', '').replace('}', '').replace('boxed', '')}}}"
    verdict = harness.process_results({"solution": solution}, [text])["exact_match"]
    assert task.matches(task.extract(text)["strict"], last_boxed(solution)) == bool(verdict)
