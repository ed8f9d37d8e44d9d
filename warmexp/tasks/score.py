"""GSM8K answer extraction and matching: the filters and the metric of lm-evaluation-harness's `gsm8k` and
`gsm8k_cot_zeroshot` tasks (version 3), nothing else.

Pure functions of strings. They are written out here so that decoding does not need the harness installed;
tests/tasks/test_score.py holds them equal to the harness's own classes. What looks like a defect below (a currency sign
makes the strict filter fail, "18.00" is not 18, a sentence's closing "..." is taken for a number) is the harness's
behaviour and is kept, because published numbers contain it.

Source: EleutherAI lm-evaluation-harness, `lm_eval/tasks/gsm8k/gsm8k.yaml`, `gsm8k-cot-zeroshot.yaml`,
`filters/extraction.py`, `api/metrics.py`.
"""

from __future__ import annotations

import re

HARNESS = "lm-evaluation-harness 0.4.13"  # the version whose prompts, shots and scores the tests hold ours equal to
INVALID = "[invalid]"  # what the harness records when a filter finds nothing

_STRICT = re.compile(r"#### (\-?[0-9\.\,]+)")
_STRICT_COT = re.compile(r"The answer is (\-?[0-9\.\,]+).")
_FLEXIBLE = re.compile(r"(-?[$0-9.,]{2,})|(-?[0-9]+)")
_IGNORED = tuple(re.compile(pattern) for pattern in (r",", r"\$", r"(?s).*#### ", r"\.$"))  # deleted in this order


def strict_match(text: str) -> str:
    """The number after the first `#### `, as written, or "[invalid]"."""
    match = _STRICT.search(text)
    return match.group(1) if match else INVALID


def strict_match_cot(text: str) -> str:
    """The number after the first `The answer is `, as written, or "[invalid]".

    The last dot of the harness's pattern is any character, and one must follow the number: "The answer is 18" without a
    full stop at the end of the text gives 1.
    """
    match = _STRICT_COT.search(text)
    return match.group(1) if match else INVALID


def flexible_extract(text: str) -> str:
    """The last number-like piece of the text, as written, or "[invalid]"."""
    found = _FLEXIBLE.findall(text)
    return next(group for group in found[-1] if group) if found else INVALID


def exact_match(extracted: str, target: str) -> bool:
    """Whether an extracted answer equals the target after the harness's normalisation of both.

    Args:
        extracted: what `strict_match` or `flexible_extract` returned.
        target: a bare answer or a whole reference solution; everything up to its last `#### ` is ignored.
    """
    return _normalise(extracted) == _normalise(target)


def reference_answer(solution: str) -> str:
    """The target of a reference solution: what follows its last `#### `, or the whole solution where there is none.

    `exact_match` gives the same verdict against this as against the whole solution. The one difference from the harness
    is that surrounding whitespace is dropped: no filter ever extracts whitespace, so a target that kept it could never
    be met.
    """
    return solution.rpartition("#### ")[2].strip()


class NumberScoring:
    """The scoring half of a task whose answers are numbers in GSM8K's form: `#### 18` by the strict filter, the last
    number by the flexible one."""

    def extract(self, text: str) -> dict[str, str]:
        return {"strict": strict_match(text), "flexible": flexible_extract(text)}

    def matches(self, extracted: str, target: str) -> bool:
        return exact_match(extracted, target)


def _normalise(text: str) -> str:
    for pattern in _IGNORED:
        text = pattern.sub("", text)
    return text.lower()
