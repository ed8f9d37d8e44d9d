"""The scoring traps as literal expectations, and equality with lm-evaluation-harness's own filter and metric
classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from warmexp.tasks.score import INVALID, exact_match, flexible_extract, reference_answer, strict_match, strict_match_cot

# response, strict extraction, strict verdict, flexible extraction, flexible verdict; the target is 18 throughout
TRAPS = [
    ("She makes 9 * 2 = 18.\n#### 18", "18", True, "18", True),
    ("#### 18.", "18.", True, "18.", True),
    ("#### $18", INVALID, False, "$18", True),
    ("####18", INVALID, False, "18", True),
    ("####  18", INVALID, False, "18", True),
    ("#### 18.00", "18.00", False, "18.00", False),
    ("The total is $18.00.", INVALID, False, "$18.00.", False),
    ("$18 per day...", INVALID, False, "...", False),
    ("$18 per day.", INVALID, False, "$18", True),
    ("(9-18)", INVALID, False, "-18", False),
    ("#### 18..", "18..", False, "18..", False),
    ("#### 18\nThat is 3 more than 15", "18", True, "15", False),
    ("#### 12 no, #### 18", "12", False, "18", True),
    ("#### 1,8", "1,8", True, "1,8", True),
    ("#### -18", "-18", False, "-18", False),
    ("#### 18 dollars", "18", True, "18", True),
    ("#### 018", "018", False, "018", False),
    ("#### eighteen", INVALID, False, INVALID, False),
    ("#### .", ".", False, INVALID, False),
    ("#### ,", ",", False, INVALID, False),
    ("18 ,, ", INVALID, False, ",,", False),
    ("", INVALID, False, INVALID, False),
    ("5", INVALID, False, "5", False),
    ("\u0661\u0668", INVALID, False, INVALID, False),  # Arabic-Indic digits are not [0-9]
]


@pytest.mark.parametrize(("text", "strict", "strict_ok", "flexible", "flexible_ok"), TRAPS)
def test_traps(text: str, strict: str, strict_ok: bool, flexible: str, flexible_ok: bool) -> None:
    assert strict_match(text) == strict
    assert flexible_extract(text) == flexible
    assert exact_match(strict, "18") is strict_ok
    assert exact_match(flexible, "18") is flexible_ok


# response, extraction by gsm8k_cot_zeroshot's strict filter: the dot at the end of its pattern is any character, and
# there must be one
COT_TRAPS = [
    ("So 9 * 2 = 18. The answer is 18.", "18"),
    ("The answer is 18", "1"),
    ("The answer is 5", INVALID),
    ("The answer is 18.\n", "18"),
    ("The answer is 18\n", "1"),
    ("The answer is 18. ", "18."),
    ("The answer is $18.", INVALID),
    ("the answer is 18.", INVALID),
    ("The answer is 12. No, The answer is 18.", "12."),
    ("The answer is -1,800.", "-1,800"),
    ("#### 18", INVALID),
]


@pytest.mark.parametrize(("text", "strict"), COT_TRAPS)
def test_cot_traps(text: str, strict: str) -> None:
    assert strict_match_cot(text) == strict


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        ("2 + 16 = <<2+16=18>>18\n#### 18", "18"),
        ("#### 1,000\n", "1,000"),
        ("#### 12, no\n#### 18 ", "18"),
        ("just 18", "just 18"),
        ("####18", "####18"),
    ],
)
def test_reference_answer(solution: str, answer: str) -> None:
    assert reference_answer(solution) == answer


def test_invalid_is_never_right() -> None:
    assert not exact_match(INVALID, "18")
    assert not exact_match(INVALID, "")


def test_normalisation_is_applied_to_both_sides() -> None:
    assert exact_match("1,000.", "$1000")
    assert exact_match("1000", "a\nb #### 1,000.")
    assert exact_match("ABC", "abc")


pieces = st.sampled_from(
    ["####", "#### ", "$", ",", ".", "-", "\n", " ", "18", "1,000", "18.00", "...", "(", "9", "The answer is "]
)
texts = st.lists(st.one_of(pieces, st.text(alphabet="0123456789$,.-# \n\u0661xX", max_size=6)), max_size=14).map(
    "".join
)
# NumPy's fixed-width strings, in which the harness compares, cannot hold a trailing NUL, so NUL is left out
wild = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)


@pytest.fixture(scope="module")
def harness():
    """The harness's filters and metric, built from the parameters in its own gsm8k.yaml."""
    lm_eval = pytest.importorskip("lm_eval")
    yaml = pytest.importorskip("yaml")
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter

    folder = Path(lm_eval.__file__).parent / "tasks" / "gsm8k"
    config, cot = (yaml.safe_load((folder / name).read_text()) for name in ("gsm8k.yaml", "gsm8k-cot-zeroshot.yaml"))
    assert (
        config["doc_to_target"] == cot["doc_to_target"] == "{{answer}}" and config["metric_list"] == cot["metric_list"]
    )
    assert config["filter_list"][1] == cot["filter_list"][1]
    filters = {"strict-match-cot": RegexFilter(regex_pattern=cot["filter_list"][0]["filter"][0]["regex_pattern"])}
    for entry in config["filter_list"]:
        regex, first = entry["filter"]
        assert regex.pop("function") == "regex"
        assert first == {"function": "take_first"}
        filters[entry["name"]] = RegexFilter(**regex)
    (metric,) = config["metric_list"]
    assert metric["metric"] == "exact_match"
    options = {key: metric[key] for key in ("ignore_case", "ignore_punctuation", "regexes_to_ignore")}

    class Harness:
        @staticmethod
        def extract(name: str, text: str) -> str:
            return filters[name].apply([[text]], [{}])[0][0]

        @staticmethod
        def matches(extracted: str, target: str) -> bool:
            return bool(exact_match_hf_evaluate(predictions=[extracted], references=[target], **options)["exact_match"])

    return Harness


def _same(harness, text: str, target: str) -> None:
    filters = (
        ("strict-match", strict_match),
        ("flexible-extract", flexible_extract),
        ("strict-match-cot", strict_match_cot),
    )
    for name, ours in filters:
        extracted = harness.extract(name, text)
        assert ours(text) == extracted
        assert exact_match(extracted, target) == harness.matches(extracted, target)


@pytest.mark.parametrize("text", [trap[0] for trap in (*TRAPS, *COT_TRAPS)])
@pytest.mark.parametrize("target", ["18", "so 9 + 9 = <<9+9=18>>18\n#### 18", "#### 1,8.", "18.00", "-18", ""])
def test_traps_equal_the_harness(harness, text: str, target: str) -> None:
    _same(harness, text, target)


@settings(max_examples=300, deadline=None)
@given(text=st.one_of(texts, wild), target=st.one_of(texts, wild))
@example(text="#### 18\n", target="#### 18\n")
@example(text="18.\n", target="18\n")
def test_random_text_equals_the_harness(harness, text: str, target: str) -> None:
    _same(harness, text, target)
    assert exact_match(text, target) == harness.matches(text, target)


@settings(max_examples=300, deadline=None)
@given(text=texts, solution=texts)
def test_reference_answer_changes_no_verdict(harness, text: str, solution: str) -> None:
    answer = reference_answer(solution)
    if not solution.endswith(answer) or solution.rpartition("#### ")[2] != answer:
        return  # whitespace around the answer: the one stated difference
    for extracted in (strict_match(text), flexible_extract(text)):
        assert exact_match(extracted, answer) == harness.matches(extracted, solution)
