"""front.csv in a spreadsheet: texts are texts, whatever they begin with, and numbers are numbers."""

from __future__ import annotations

import csv
import io

import pytest

from warmexp.io import cell
from warmexp.report.export import csv_text


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1+1",
        "-1+1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =1+1",
        "＝1+1",
        '=HYPERLINK("http://a.example")',
        "|calc",
        "%0",
    ],
)
def test_a_formula_is_a_text(text):
    assert cell(text) == "'" + text


@pytest.mark.parametrize("value", [-1, 0.5, -1e-5, None, True, "-1", "+1.5e3", "-inf", "mask", "ρ=0.5", "a=1", ""])
def test_numbers_and_words_stay(value):
    assert cell(value) == value


def test_a_separator_in_a_text_begins_nocell():
    run = {
        "run_id": "=1+1", "label": "a;=1+1", "method": "a\n=1+1", "proposer": "none", "tau": 0.9, "oracle": False, "group": 0, "n": 2,
        "x": -4.5, "x_ci95": [-5.0, None], "accuracy": 1.0, "accuracy_ci95": [0.5, 1.0], "on_front": True, "is_baseline": False,
        "x_median": -4.5, "x_p95": -3.0, "undominated_share": 1.0,
        "metrics": {"nfe": 4.5}, "accuracies": {"strict": 1.0, "flexible": 1.0}, "proposal_accuracy": None, "saved": None, "paired": None,
        "settings": {"=key": "+1+1"}, "folder": "-x",
    }  # fmt: skip
    text = csv_text({"runs": [run], "varying": ["=key"]})
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["run_id"], row["label"], row["'=key"], row["folder"]) == ("'=1+1", "a;=1+1", "'+1+1", "'-x")
    assert '"a;=1+1"' in text and '"a\n=1+1"' in text and ",-4.5,-5.0," in text
    assert (float(row["x"]), float(row["nfe"]), row["tau"]) == (-4.5, 4.5, "0.9")
