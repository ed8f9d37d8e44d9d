"""What a report embeds and in which file: everything it says must be found in the run folders it was made from."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil

import numpy as np
import pytest

from tests.report.reports import HOSTILE, QUESTIONS, lab_runs, records, report, rewrite, unpacked
from warmexp.analysis.analysis import along, analyse
from warmexp.analysis.points import collect
from warmexp.report.html.chosen import common_start, ranked
from warmexp.report.html.content import blocks
from warmexp.report.interactive import front_figure


@pytest.fixture
def copied(lab_study, tmp_path):
    return shutil.copytree(lab_study, tmp_path / "runs")


@pytest.mark.slow
def test_every_run_is_told_as_its_records_say(lab_study, tmp_path):
    data = unpacked(report(lab_study, tmp_path / "new" / "report.html"))
    core = data["core"]
    assert len(core["runs"]) == 5
    assert [axis["key"] for axis in core["axes"]] == ["nfe", "token_forwards", "seconds"]
    assert core["embedded"] == QUESTIONS
    for i, run in enumerate(core["runs"]):
        block, questions, written = data[f"run-{i}"], data[f"set-{run['set']}"], records(lab_study / run["run_id"])
        assert questions["ids"] == sorted(written)
        assert block["nfe"] == [written[name]["nfe"] for name in questions["ids"]]
        assert block["correct"] == "".join("01"[written[name]["correct"]["flexible"]] for name in questions["ids"])
        tokens = json.loads((lab_study / run["run_id"] / "tokens.json").read_text(encoding="utf-8"))
        assert len(block["rows"]) == QUESTIONS
        for row in block["rows"]:
            record = written[questions["ids"][row["q"]]]
            assert questions["start"] + questions["questions"][row["q"]] == record["question"]
            assert row["response"] == record["response"] and row["at"] == record["commit_iteration"]
            assert [block["tokens"][t] for t in row["ids"]] == [tokens[str(t)] for t in record["ids"]]
            assert [block["tokens"][event[2]] for event in row["revoked"]] == [
                tokens[str(event[2])] for event in record["revocations"]
            ]
            assert row["source"] == "".join(source[0] for source in record["source"])
    assert any(row["revoked"] for row in data["run-2"]["rows"] + data["run-3"]["rows"])


def test_the_file_is_closed_to_the_outside(lab_study, tmp_path):
    """Its two scripts are the ones the policy names by hash; nothing else may run or be asked for."""
    html = report(lab_study, tmp_path / "report.html")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1]
    scripts = re.findall(r"<script>(.*?)</script>", html, re.S)
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts}
    assert len(scripts) == 2 and hashes == set(re.search(r"script-src ([^;]*);", policy)[1].split())
    assert policy.startswith("default-src 'none';")
    assert not re.search(r'(?:src|href)="(?!#)', html.split("<script>")[0])
    assert len(html.encode()) < 10e6


def test_text_from_runs_is_never_markup(copied, tmp_path):
    (folder,) = copied.glob("*lab_strong*")
    rewrite(
        folder, lambda r: r | {"question": HOSTILE, "response": HOSTILE, "proposal": r["proposal"] | {"text": HOSTILE}}
    )
    html = report(copied, tmp_path / "report.html")
    assert "onerror" not in html.split("<script>")[0]
    points, _ = collect(copied)
    front = analyse(points).to_json()
    for run in front["runs"]:
        run |= {"label": HOSTILE, "proposer": HOSTILE, "method": HOSTILE, "settings": {HOSTILE: HOSTILE}}
    front["varying"] = [HOSTILE]
    told = [text for trace in front_figure(front).data for text in (trace.name, *(trace.hovertext or ()))]
    assert not any("<img" in text or "</script" in text for text in told) and any("&lt;img" in text for text in told)


def test_a_title_is_escaped(lab_study, tmp_path):
    from warmexp.report.html import write_report

    html = write_report(analyse(collect(lab_study)[0]), tmp_path / "r.html", title="<i>ρ & $x</i>").read_text(
        encoding="utf-8"
    )
    assert "<title>&lt;i&gt;ρ &amp; $x&lt;/i&gt;</title>" in html


def test_records_of_an_older_format(copied, tmp_path):
    for folder in copied.glob("lab-*"):
        (folder / "tokens.json").unlink()
        rewrite(folder, lambda r: {key: value for key, value in r.items() if key != "confidence"})
    data = unpacked(report(copied, tmp_path / "r.html"))
    block = data["run-0"]
    assert block["calibration"]["confidence"] is None and "confidence" not in block["rows"][0]
    assert all(re.fullmatch(r"#\d+", text) for text in block["tokens"])


def test_runs_whose_decodes_were_not_kept(copied, tmp_path):
    kept = ("id", "question", "target", "correct", "nfe", "seconds", "response", "response_tokens")
    for folder in copied.glob("lab-*"):
        rewrite(folder, lambda r: {key: r[key] for key in kept})
    data = unpacked(report(copied, tmp_path / "r.html"))
    assert data["run-0"]["rows"] and "ids" not in data["run-0"]["rows"][0]
    assert [axis["key"] for axis in data["core"]["axes"]] == ["nfe", "seconds"]


def test_an_axis_that_tells_nothing_is_left_out(copied, tmp_path):
    """Zero for everybody, or the same as another: unless the front stands on it."""

    def axes(file: str, **keys):
        return [axis["key"] for axis in unpacked(report(copied, tmp_path / file, **keys))["core"]["axes"]]

    assert axes("a.html", x="rows") == ["rows", "token_forwards", "seconds"]
    rewrite(sorted(copied.glob("lab-*"))[0], lambda r: r | {"rows": 2 * r["nfe"], "guide_forwards": 1})
    assert axes("b.html") == ["nfe", "rows", "token_forwards", "guide_forwards", "all_forwards", "seconds"]


@pytest.mark.parametrize("which", ["nothing", "one run", "no baseline"])
def test_few_runs(lab_study, tmp_path, which):
    points, _ = collect(lab_study)
    chosen = {"nothing": [], "one run": points[:1], "no baseline": [p for p in points if p.method != "mask"]}[which]
    data = dict(blocks(analyse(chosen), "few"))
    assert set(data) == {"core", *(f"run-{i}" for i in range(len(chosen))), *(["set-0"] if chosen else [])}


def test_runs_on_different_questions(lab_study, tmp_path):
    others = lab_runs(tmp_path / "more", [["tau=0.8"]], questions=5)
    data = unpacked(report([lab_study, others], tmp_path / "r.html"))
    assert [one["n"] for one in data["core"]["sets"]] == [QUESTIONS, 5]
    assert "2 groups" in " ".join(data["core"]["caveats"])


def test_a_small_budget_keeps_the_telling_questions(lab_study):
    points, _ = collect(lab_study)
    front = analyse(points)
    generous = dict(blocks(front, "x"))
    rest = sum(len(block) for name, block in generous.items() if not name.startswith("run-"))
    tight = dict(blocks(front, "x", rest + 12_000))
    whole, small = (
        unpacked(f'<script type="text/plain" id="r">{data["run-2"]}</script>')["r"] for data in (generous, tight)
    )
    assert sum(map(len, tight.values())) <= rest + 12_000 < sum(map(len, generous.values()))
    assert (
        0 < len(small["rows"]) < QUESTIONS
        and [r["q"] for r in small["rows"]] == [r["q"] for r in whole["rows"]][: len(small["rows"])]
    )
    assert small["correct"] == whole["correct"] and small["nfe"] == whole["nfe"]


def test_rare_flips_come_first():
    reference = np.array([True] * 6)
    many, one = np.array([False] * 5 + [True]), np.array([True] * 5 + [False])
    assert ranked([many, one, reference], reference) == [5, 0, 1, 2, 3, 4]
    assert ranked([reference], reference) == [0, 1, 2, 3, 4, 5]


def test_what_all_prompts_begin_with():
    shots = "Question: a\nAnswer: b\n"
    assert common_start([shots + "Question: c", shots + "Question: d"]) == len(shots)
    assert common_start(["one line", "one list"]) == 0 and common_start(["same\n"]) == 0
    assert common_start(["same\nsame", "same\nsame"]) == 5


def test_the_figure_is_the_front(lab_study):
    """Marks at the front's own numbers, whiskers at its intervals, the oracle's apart, the baseline's front as a
    line."""
    front = along(analyse(collect(lab_study)[0]), "seconds").to_json()
    traces = front_figure(front).data
    seen = {}
    for trace in traces:
        for i, name in enumerate(trace.customdata or ()):
            low, high = trace.x[i] - trace.error_x.arrayminus[i], trace.x[i] + trace.error_x.array[i]
            seen[name] = (trace.meta, trace.x[i], trace.y[i], low, high)
    for run in front["runs"]:
        role, x, y, low, high = seen[run["run_id"]]
        assert (role == "oracle") == run["oracle"]
        assert (x, y) == (run["x"], 100 * run["accuracy"]) and [low, high] == pytest.approx(run["x_ci95"])
    (line,) = [trace for trace in traces if trace.meta == "baseline"]
    assert [list(pair) for pair in zip(line.x, line.y, strict=True)] == [
        [x, 100 * y] for x, y in front["baseline"]["front"]
    ]
