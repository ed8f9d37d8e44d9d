"""Runs that differ in the seed alone: one point with its spread, and a page, a comparison and a decode for each seed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.report.pages import CHROMIUM, column, visit
from tests.report.reports import lab_runs, records, report, unpacked
from warmexp.analysis.analysis import analyse
from warmexp.analysis.points import collect
from warmexp.report.export import write_front

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def seeded(tmp_path_factory) -> Path:
    lines = [["tau=0.7"], ["tau=0.9"]]
    lines += [["init=token_inject", "proposer=lab_weak", f"seed={seed}"] for seed in SEEDS]
    return lab_runs(tmp_path_factory.mktemp("seeded"), lines, questions=8)


def by_seed(folder: Path) -> dict[int, Path]:
    found = {}
    for one in folder.glob("lab-token_inject-*"):
        settings = dict(next(p for p in collect(one)[0]).settings)
        found[settings["seed"]] = one
    return found


def test_one_point_in_every_file(seeded, tmp_path):
    front = analyse(collect(seeded)[0])
    paths = write_front(front, tmp_path / "front")
    (point,) = [run for run in front.runs if run.point.seeds]
    assert len(front.runs) == 3 and "seed=" not in point.point.label and point.point.label.endswith(", 3 seeds")
    assert "seed" not in front.varying
    rows = list(csv.DictReader(paths["csv"].read_text(encoding="utf-8").splitlines()))
    (row,) = [row for row in rows if row["seeds"]]
    nfe = [json.loads((one / "summary.json").read_text())["nfe_mean"] for _, one in sorted(by_seed(seeded).items())]
    mean = sum(nfe) / 3
    spread = (sum((one - mean) ** 2 for one in nfe) / 2) ** 0.5
    assert row["seeds"] == "0 1 2" and float(row["nfe"]) == pytest.approx(mean)
    assert float(row["nfe_sd"]) == pytest.approx(spread) and float(row["accuracy_sd"]) >= 0
    told = next(run["seeds"] for run in json.loads(paths["json"].read_text())["runs"] if run["seeds"])
    assert [one["x"]["nfe"] for one in told["each"]] == pytest.approx(nfe)


def test_every_seed_has_its_own_decodes(seeded, tmp_path):
    data = unpacked(report(seeded, tmp_path / "r.html"))
    core, folders = data["core"], by_seed(seeded)
    assert [one["seed"] for one in core["seeds"]] == list(SEEDS) and len(core["runs"]) == 3
    for i, one in enumerate(core["seeds"]):
        written = records(folders[one["seed"]])
        block = data[f"seed-{i}"]
        assert one["run"] == folders[one["seed"]].name
        assert block["nfe"] == [written[name]["nfe"] for name in sorted(written)]
        assert {row["response"] for row in block["rows"]} == {record["response"] for record in written.values()}
    assert {f"run-{i}" for i in range(3)} & set(data) == {
        f"run-{i}" for i, run in enumerate(core["runs"]) if not run["seeds"]
    }


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
@pytest.mark.slow
def test_pages_of_seeds(opened, seeded, tmp_path):
    report(seeded, tmp_path / "r.html")
    folders = by_seed(seeded)
    page = opened(tmp_path / "r.html")
    assert len(column(page, "run")) == 3
    dots = (
        "document.querySelector('#front-plot').data.filter(trace => trace.meta === 'seeds').flatMap(trace => trace.x)"
    )
    nfe = [json.loads((one / "summary.json").read_text())["nfe_mean"] for _, one in sorted(folders.items())]
    assert page.evaluate(dots) == pytest.approx(nfe)
    page.fill("#filter", "3 seeds")
    page.click("#columns")
    assert column(page, "seeds") == ["0, 1, 2"]
    page.click(".runs tbody a >> nth=0")
    page.wait_for_selector("#seeds")
    rows = page.locator("#seeds tbody tr").all_inner_texts()
    assert [row.split()[1] for row in rows] == ["0", "1", "2"]
    assert "standard deviation" in page.inner_text("#seeds").lower()
    page.click("#seeds a:has-text('seed 2')")
    page.wait_for_function("name => location.hash.endsWith(encodeURIComponent(name))", arg=f"{folders[2].name}~seed2")
    page.wait_for_selector("h1:has-text('seed 2')")
    question = sorted(records(folders[2]))[0]
    visit(page, f"/decode/{folders[2].name}/{question}")
    tokens = json.loads((folders[2] / "tokens.json").read_text(encoding="utf-8"))
    ids = records(folders[2])[question]["ids"]
    shown = page.locator(".row > span").all_text_contents()
    assert shown == [tokens[str(token)].replace("\n", "⏎") for token in ids]
    point = next(p.run_id for p in (run.point for run in analyse(collect(seeded)[0]).runs) if p.seeds)
    cold = next(folder.name for folder in seeded.glob("lab-mask-*"))
    visit(page, f"/compare/{folders[1].name}/{cold}")
    first, second = records(folders[1]), records(seeded / cold)
    right = [(first[name]["correct"]["flexible"], second[name]["correct"]["flexible"]) for name in first]
    assert page.inner_text(".facts tr:has-text('both right') td") == str(sum(a and b for a, b in right))
    page.get_by_role("combobox", name="A").click()
    assert "seed 2" in " ".join(page.locator("[role=option]:visible").all_inner_texts())
    page.keyboard.press("Escape")
    visit(page, f"/compare/{point}/{cold}")
    assert "shown is seed 0" in page.inner_text("#main")
