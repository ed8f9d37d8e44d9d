"""What a report with many runs needs: a picture per set of questions, filters that mean what they say, lists to type
into, files of what is shown, and a meaning behind every word."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.analysis.conftest import write_run
from tests.report.pages import CHROMIUM, PHONE, column, ready, run_named, visit
from tests.report.reports import QUESTIONS, records, report, unpacked
from warmexp.analysis.analysis import analyse
from warmexp.analysis.points import collect
from warmexp.report.cells import run_cells, run_columns, saving_cells, saving_columns
from warmexp.report.table import _place

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
WIDE = {"width": 1366, "height": 768}
MARKS = "(document.querySelector('#front-plot').data || []).flatMap(trace => trace.customdata || []).length"


def fixed_and_early(folder: Path) -> None:
    for length in ("fixed", "eos_stop"):
        for i, tau in enumerate((0.7, 0.9)):
            settings = {"choices": {"length": length}}
            nfe, correct = (4, 70) if length == "eos_stop" else (6, 71)
            write_run(folder / f"{length}-{tau}", tau=tau, nfe=nfe + 2 * i, correct=correct + i, settings=settings)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """Cold starts under both length policies and five warm ones on 100 questions, some of them on 64 others, a warm
    start alone on 40."""
    root = tmp_path_factory.mktemp("many")
    fixed_and_early(root)
    # 100 * 0.8125 and 4.125 lie exactly between two numbers of the digits that are shown.
    for name, rho, nfe, correct in (("a", 0.5, 4.125, 60), ("b", 0.55, 5, 80), ("c", 0.25, 9, 95)):
        write_run(root / f"inject-{name}", init="token_inject", init_keys={"rho": rho}, nfe=nfe, correct=correct)
    write_run(root / "linear", init="token_inject", init_keys={"rho": 0.5}, remask="linear", nfe=14, correct=78)
    write_run(root / "oracle", init="token_inject", init_keys={"rho": 0.1}, proposer="oracle", oracle=True, nfe=3)
    other = {"n": 64, "questions_sha256": "o" * 64}
    write_run(root / "cold-64", tau=0.7, nfe=6.125, correct=51, **other)
    write_run(root / "warm-64", init="embed_interp", nfe=5, correct=50, **other)
    write_run(root / "alone-40", init="verified", nfe=5, correct=30, n=40, questions_sha256="p" * 64)
    return root


@pytest.fixture(scope="module")
def many(study, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    report(study, path, accuracy="strict")
    return path


@pytest.mark.slow
def test_every_set_of_questions_has_its_own_picture(opened, many):
    page = opened(many, viewport=WIDE)
    page.wait_for_function(f"() => {MARKS} === 9")
    assert page.inner_text("#count") == "9 runs"
    options = page.locator("select[aria-label='questions'] option").all_inner_texts()
    assert options == ["100 lab questions · 9 runs", "64 lab questions · 2 runs", "40 lab questions · 1 run"]
    page.get_by_label("questions", exact=True).select_option("1")
    page.wait_for_function(f"() => {MARKS} === 2")
    assert len(column(page, "run")) == 2 and "questions=2" in page.url
    hull = "document.querySelector('#front-plot').data.filter(trace => trace.meta === 'baseline').length"
    assert page.evaluate(hull) == 1
    page.get_by_label("questions", exact=True).select_option("2")
    page.wait_for_function(f"() => {MARKS} === 1")
    assert "python -m warmexp -m init=mask" in page.inner_text("#caveats .command")
    page.reload()
    ready(page, "/front")
    assert page.inner_text("#count") == "1 run"
    page.click("button[data-value='seconds']")
    page.wait_for_function(f"() => {MARKS} === 1")


def marks(page) -> dict[str, tuple[str, str]]:
    """Run -> symbol and colour."""
    found = page.evaluate(
        "document.querySelector('#front-plot').data.filter(trace => trace.customdata)"
        ".flatMap(trace => trace.customdata.map(id => [id, trace.marker.symbol, trace.marker.color]))"
    )
    return {name: (symbol, tint) for name, symbol, tint in found}


@pytest.mark.slow
def test_length_policies_differ_to_the_eye_and_a_method_has_one_shape(opened, many, study, tmp_path):
    names = {json.loads((folder / "summary.json").read_text())["run_id"]: folder.name for folder in study.iterdir()}
    shown = {names[name]: mark for name, mark in marks(opened(many)).items()}
    assert shown["fixed-0.7"] != shown["eos_stop-0.7"] and "dot" in shown["eos_stop-0.9"][0]
    verified = tmp_path / "v"
    write_run(verified / "one", init="verified", nfe=5)
    write_run(verified / "two", init="another", nfe=5)
    report(verified, tmp_path / "v.html", accuracy="strict")
    alone = {symbol for symbol, _ in marks(opened(tmp_path / "v.html")).values()}
    page = opened(many, "/front?questions=3")
    page.wait_for_function(f"() => {MARKS} === 1")
    assert {symbol for symbol, _ in marks(page).values()} == {"diamond"} and "diamond" in alone and len(alone) == 2


# Words, and the runs that they leave.
FILTERS = [
    ("nfe < 5", ["eos_stop-0.7", "inject-a", "oracle"]),
    ("nfe<5 -oracle", ["eos_stop-0.7", "inject-a"]),
    ("nfe ≥ 8", ["fixed-0.9", "inject-c", "linear"]),
    ("rho=0.5", ["inject-a", "linear"]),
    ("rho=0.5,0.25", ["inject-a", "inject-c", "linear"]),
    ("rho!=0.5 token_inject", ["inject-b", "inject-c", "oracle"]),
    ("-linear rho=0.5", ["inject-a"]),
    ("-rho=0.5 token_inject", ["inject-b", "inject-c", "oracle"]),
    ("accuracy=80", ["inject-b"]),
    ("accuracy = 95.0", ["inject-c"]),
    ("nfe=4.12", ["inject-a"]),
    ("mask", ["eos_stop-0.7", "eos_stop-0.9", "fixed-0.7", "fixed-0.9"]),
    ("remask=linear", ["linear"]),
    ("length=eos_stop", ["eos_stop-0.7", "eos_stop-0.9"]),
    ("seconds<0.05", ["eos_stop-0.7"]),  # cold starts take 10 ms a forward and nothing before
]


def shown(page) -> set[str]:
    return set(page.locator(".runs tbody tr").evaluate_all("rows => rows.map(row => row.dataset.run)"))


def test_a_filter_means_what_it_says_on_every_axis(opened, many, study):
    names = {folder.name: json.loads((folder / "summary.json").read_text())["run_id"] for folder in study.iterdir()}
    page = opened(many)
    for key in ("nfe", "seconds"):
        page.click(f"button[data-value='{key}']")
        for words, expected in FILTERS:
            page.fill("#filter", words)
            assert shown(page) == {names[name] for name in expected}, (key, words)
            assert page.inner_text("#filter-said") == ""


@pytest.mark.slow
def test_a_filter_says_what_it_cannot_mean_and_is_tied_to_the_axis_that_it_was_about(opened, many):
    page = opened(many)
    for words, said in (
        ("tua=0.7", 'There is no column or varying setting "tua".'),
        ("nfe<many", "many is not a number."),
        ("nfe<", "nfe< what?"),
    ):
        page.fill("#filter", words)
        assert page.inner_text("#filter-said") == said and page.inner_text("#count") == "9 runs"
    page.fill("#filter", "saved > 0")
    before = column(page, "run")
    assert before and page.inner_text("#filter-said") == ""
    page.click("button[data-value='seconds']")
    assert page.input_value("#filter") == "nfe:saved>0" and column(page, "run") == before


@pytest.mark.slow
def test_near_the_front_is_near_along_every_axis(opened, many):
    page = opened(many)
    page.fill("#filter", "-oracle")
    for key, label in (("nfe", "NFE"), ("seconds", "seconds")):
        page.click(f"button[data-value='{key}']")
        layout = "document.querySelector('#front-plot')._fullLayout"
        page.wait_for_function(f"label => {layout}?.xaxis.title.text.startsWith(label)", arg=label)
        wide = f"['xaxis', 'yaxis'].map(name => {{ const r = {layout}[name].range; return r[1] - r[0]; }})"
        before = page.evaluate(wide)
        page.check("#near")
        page.wait_for_function(f"before => {wide}.every((one, i) => one < before[i])", arg=before)
        page.uncheck("#near")
        page.wait_for_function(f"before => {wide}.every((one, i) => one === before[i])", arg=before)


NOT_HERE = [
    ("/run/nobody", 'There is no run "nobody" in this report'),
    ("/run?beside=nobody", 'There is no run "nobody"'),
    ("/compare/nobody/neither", 'There is no run "neither"'),
    ("/decode/nobody", 'There is no run "nobody"'),
    ("/front?x=watts", 'These runs have no axis "watts".'),
    ("/front?questions=9", 'There are no questions number "9".'),
    ("/front?sort=beauty", 'There is no column "beauty".'),
    ("/nowhere", 'There is no page "nowhere"'),
]


@pytest.mark.slow
def test_what_the_address_asks_for_and_is_not_here_is_said(opened, many):
    page = opened(many)
    for where, said in NOT_HERE:
        page.evaluate("where => { document.querySelector('main').replaceChildren(); location.hash = where; }", where)
        page.wait_for_selector(".missing")
        assert said in " ".join(page.locator(".missing").all_inner_texts())


def test_numbers_are_the_terminals(opened, many, study):
    """Digit by digit: also where a number lies between two, is zero, or has no limit on one side."""
    page = opened(many, viewport=WIDE)
    page.click("#columns")
    front = analyse(collect(study, "strict")[0])
    runs = sorted((run for run in front.runs if run.group == 0), key=_place)
    ordered = page.locator(".runs tbody tr").evaluate_all("rows => rows.map(row => row.dataset.run)")
    assert ordered == [run.point.run_id for run in runs]
    rows = page.locator(".runs tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.innerText))"
    )
    heads = page.locator(".runs thead th").evaluate_all(
        "all => all.flatMap(head => head.colSpan > 1 ? [head.dataset.column, head.dataset.column + ' []'] : [head.dataset.column])"
    )
    unbounded = 0
    for run, cells in zip(runs, rows, strict=True):
        here = {name: cell.replace("\u00a0", " ") for name, cell in zip(heads, cells, strict=True)}
        told = dict(zip(run_columns(front), run_cells(front, run), strict=True))
        told |= dict(zip(saving_columns(front), saving_cells(front, run), strict=True)) if run.saved else {}
        told = {name.replace("\u00a0", " "): cell.replace("\u00a0", " ") for name, cell in told.items()}
        assert f"{here['NFE']} {here['NFE []']}" == told["NFE [95 % CI]"]
        assert f"{here['accuracy %']} {here['accuracy % []']}" == told["strict % [95 % CI]"]
        assert here["undominated %"] == told["undominated %"]
        if run.saved:
            saved = f"{here['saved']} {here['saved []']}"
            assert saved == told["NFE saved at equal accuracy [95 % CI]"].removesuffix(" !")
            assert here["saved %"] == told["saved %"]
            assert f"{here['Δ accuracy']} {here['Δ accuracy []']}" == told["Δ strict % [95 %, together]"]
            assert f"{here['Δ cost']} {here['Δ cost []']}" == told["Δ NFE [95 %, together]"]
            p, _, holm = told["p, Holm (needed)"].split(" (")[0].partition(", ")
            assert (here["p"], here["p (Holm)"]) == (p, holm or "–")  # an oracle's is in no family
            unbounded += "∞" in here["saved []"]
    assert unbounded and any(run.x == 4.125 for run in runs)


@pytest.mark.slow
def test_no_column_is_cut(opened, many):
    """A column is there or not: none ends beyond the table's edge. On demand all of them are there."""
    page = opened(many, viewport=WIDE)
    cut = (
        "(() => { const box = document.querySelector('.scroller').getBoundingClientRect();"
        " return [...document.querySelectorAll('.runs th')].filter(one => one.getBoundingClientRect().right > box.right + 1).length; })()"
    )
    few = page.locator(".runs thead th").count()
    assert page.evaluate(cut) == 0 and few >= 6
    assert page.inner_text("#columns").endswith("more columns")
    page.click("#columns")
    assert page.locator(".runs thead th").count() > few
    page.click("#columns")
    assert page.evaluate(cut) == 0
    page.set_viewport_size({"width": 1000, "height": 700})
    page.wait_for_function(f"() => {cut} === 0 && document.querySelectorAll('.runs thead th').length < {few}")


@pytest.mark.slow
def test_what_is_shown_can_be_saved(opened, many):
    page = opened(many, viewport=WIDE)
    page.fill("#filter", "rho=0.5")
    page.click(".runs th[data-column='NFE'] button")
    with page.expect_download() as download:
        page.click(".save >> text=CSV")
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert [float(row["NFE"]) for row in rows] == [4.125, 14] and float(rows[0]["accuracy %"]) == 60
    assert (
        float(rows[0]["NFE low"]) < 4.125 < float(rows[0]["NFE high"]) and [row["rho"] for row in rows] == ["0.5"] * 2
    )
    page.click("#theme")
    with page.expect_download() as download:
        page.click(".save >> text=PNG")
    content = Path(download.value.path()).read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 20_000


@pytest.mark.slow
def test_every_word_has_a_meaning(opened, many):
    page = opened(many, viewport=WIDE)
    page.click("#room .term >> text=saved")
    assert "What the baseline spends at this run's accuracy" in page.inner_text("#meaning")
    box = page.locator("#meaning").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= WIDE["width"] and box["y"] >= 0
    page.keyboard.press("Escape")
    visit(page, "/words")
    told = page.inner_text("dl.words")
    for word in ("NFE", "AUP", "hypervolume", "saved", "trust", "ECE"):
        assert f"\n{word}\n" in f"\n{told}\n"
    page = opened(many, viewport=PHONE)
    page.locator(".term >> text=hypervolume").first.click()
    box = page.locator("#meaning").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]


@pytest.mark.slow
def test_typing_in_a_list_and_looking_for_a_question(opened, file, lab_study):
    """By words from the middle of a run's name, and by the words of a question."""
    page = opened(file, "/run")
    for word in ("ECE", "confidence"):
        page.click(f".hint .term >> text={word}")
        assert page.inner_text("#meaning b") == word
        page.keyboard.press("Escape")
    box = page.get_by_label("run", exact=True).first
    box.click()
    box.fill("strong inject")
    assert page.locator("[role=option]:visible").count() == 1
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('lab_strong')")
    ready(page, "/run")
    name = run_named(lab_study, "lab_strong")
    record = sorted(records(lab_study / name).values(), key=lambda one: one["id"])[QUESTIONS // 2]
    words = " ".join(record["question"].split()[1:9]).lower()
    visit(page, f"/decode/{name}")
    page.get_by_role("combobox", name="question").fill(words)
    found = page.locator("[role=option]:visible")
    assert record["id"] in [one.split()[1] for one in found.all_inner_texts()]
    page.keyboard.press("n")  # a letter that is typed turns no page
    assert page.get_by_role("combobox", name="question").is_visible() and f"/decode/{name}" in page.url
    page.keyboard.press("Escape")


def test_every_axis_has_a_figure_for_every_set_of_questions(study, tmp_path):
    data = unpacked(report(study, tmp_path / "r.html", accuracy="strict"))["core"]
    assert [len(ax["figures"]) for ax in data["axes"]] == [3] * len(data["axes"])
    assert [group["name"] for group in data["groups"]] == ["100 lab questions", "64 lab questions", "40 lab questions"]


@pytest.mark.slow
def test_methods_fit_a_laptop_and_a_wide_axis_has_whole_numbers(opened, tmp_path):
    """Twenty forwards are no small 2 behind a 10."""
    for i, unmask in enumerate(("threshold", "dream", "pc_sampler", "ete_recon", "slowfast", "hierarchy")):
        choices = {
            "unmask": unmask,
            "schedule": "canvas",
            "watch": "temporal_vote",
            "length": "eos_stop",
            "feed": "soft",
        }
        for tau in (0.7, 0.9):
            keys = {"settings": {"choices": choices | {"ensemble": "votes_of_several"}}, "tau": tau}
            write_run(tmp_path / f"{unmask}-{tau}", nfe=2 + 9 * i + tau, correct=60 + i, **keys)
    report(tmp_path, tmp_path / "report.html")
    page = opened(tmp_path / "report.html", viewport=WIDE)
    page.wait_for_function(f"() => {MARKS} === 12")
    shown = [float(text.replace(",", "")) for text in page.locator("#front-plot .xtick text").all_text_contents()]
    assert len(shown) >= 4 and shown == sorted(set(shown)) and {20, 50} & set(shown), shown
    widths = page.evaluate("(e => [e.scrollWidth, e.clientWidth])(document.querySelector('#methods .scroller'))")
    assert widths[0] <= widths[1], widths
