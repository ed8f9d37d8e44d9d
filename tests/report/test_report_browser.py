"""The report in a real browser: no errors, no requests, and everything that can be clicked, typed or dragged does what
it says."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.report.pages import CHROMIUM, LAPTOP, PHONE, column, ready, run_named, visit
from tests.report.reports import HOSTILE, QUESTIONS, copies, records, replay, report, rewrite, unpacked
from warmexp.analysis.measured import measure
from warmexp.analysis.paired import mcnemar
from warmexp.analysis.points import collect
from warmexp.report.cells import p_value

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


def test_sorting(opened, file):
    page = opened(file)
    core = unpacked(file.read_text(encoding="utf-8"))["core"]
    there = core["axes"][0]["runs"]
    first = sorted(
        core["runs"], key=lambda run: (not there[run["run_id"]]["on_front"], run["oracle"], there[run["run_id"]]["x"])
    )
    assert column(page, "run") == [run["label"] for run in first] != [run["label"] for run in core["runs"]]
    page.click(".runs th[data-column='NFE'] button")
    up = [float(text) for text in column(page, "NFE")]
    assert up == sorted(up) and len(up) == 5
    page.click(".runs th[data-column='NFE'] button")
    assert [float(text) for text in column(page, "NFE")] == up[::-1]
    assert page.get_attribute(".runs th[data-column='NFE']", "aria-sort") == "descending"
    page.click(".runs th[data-column='saved'] button")  # unknown ones last, both ways
    unknown = [text == "–" for text in column(page, "saved")]
    page.click(".runs th[data-column='saved'] button")
    assert unknown == sorted(unknown) and unknown == [text == "–" for text in column(page, "saved")] and any(unknown)


def test_filtering_reaches_table_and_picture(opened, file):
    page = opened(file)
    marks = "document.querySelectorAll('#front-plot .scatterlayer .points path').length"
    assert page.evaluate(marks) == 5
    page.fill("#filter", "token_inject")
    assert len(column(page, "run")) == 3 and page.inner_text("#count") == "3 of 5 runs"
    page.wait_for_function(f"() => {marks} === 3")
    page.fill("#filter", "token_inject rho<0.4")
    assert ["ρ=0.3" in name for name in column(page, "run")] == [True]
    page.fill("#filter", "")
    page.get_by_label("remask", exact=True).select_option("linear")
    assert len(column(page, "run")) == 1
    page.reload()
    ready(page, "/front")
    assert len(column(page, "run")) == 1, "the address remembers the filter"


@pytest.mark.slow
def test_another_axis(opened, file):
    page = opened(file)
    page.click("button[data-value='seconds']")
    page.wait_for_function("() => document.querySelector('#front-plot').layout.xaxis.title.text.startsWith('seconds')")
    assert len([float(text) for text in column(page, "seconds")]) == 5
    assert "x=seconds" in page.url


@pytest.mark.slow
def test_only_near_the_front(opened, file):
    page = opened(file)
    lowest = "document.querySelector('#front-plot')._fullLayout.yaxis.range[0]"
    before = page.evaluate(lowest)
    page.check("#near")
    page.wait_for_function(f"before => {lowest} > before", arg=before)


@pytest.mark.slow
def test_hovering_tells_what_differs_and_a_click_leads_to_the_run(opened, file, lab_study):
    page = opened(file)
    oracle = run_named(lab_study, "oracle")
    spot = page.evaluate(
        """name => { const plot = document.querySelector('#front-plot'), box = plot.getBoundingClientRect();
        const trace = plot.data.find(one => (one.customdata || []).includes(name)), { xaxis, yaxis, _size } = plot._fullLayout;
        return [box.x + _size.l + xaxis.d2p(trace.x[0]), box.y + _size.t + yaxis.d2p(trace.y[0])]; }""",
        oracle,
    )
    page.mouse.move(*spot)
    page.wait_for_selector(".hoverlayer .hovertext")
    told = page.text_content(".hoverlayer")
    assert "oracle" in told and "choices.proposer = oracle" in told
    page.mouse.click(*spot)
    ready(page, "/run")
    assert page.url.endswith(f"#/run/{oracle}")


@pytest.mark.slow
def test_a_run_beside_another(opened, file, lab_study):
    name = run_named(lab_study, "lab_weak-linear")
    page = opened(file, f"/run/{name}")
    assert page.locator(".plot .main-svg").count() >= 6 and "choices.remask" in page.inner_text(".facts >> nth=1")
    page.wait_for_function("() => [...document.querySelectorAll('.plot')].every((plot) => plot.data)")
    shown = page.locator(".plot").evaluate_all(
        "all => all.map((plot) => plot.data.map((trace) => [trace.name, trace.y]))"
    )
    record = measure(next(point for point in collect(lab_study)[0] if point.run_id == name))
    readout = next(traces for traces in shown if len(traces) == 4)
    assert readout[0] == ["this run", pytest.approx([100 * k / QUESTIONS for k in record.readout.all.correct])]
    assert readout[2] == [
        "proposal wrong",
        pytest.approx([100 * k / record.readout.wrong.n for k in record.readout.wrong.correct]),
    ]
    survival = next(traces for traces in shown if (traces[0][0] or "").startswith("right (n = "))
    assert survival[1][1] == [
        None if one.same is None else pytest.approx(100 * one.same) for one in record.survival.wrong
    ]
    groups = page.locator("h3:has(+ .chips)").all_inner_texts()
    assert sum(int(text.rsplit("(")[-1].rstrip(")")) for text in groups) == QUESTIONS


def test_flips_of_a_pair(opened, file, lab_study):
    a, b = run_named(lab_study, "lab_weak-linear"), run_named(lab_study, "oracle")
    first, second = records(lab_study / a), records(lab_study / b)
    right = {name: (first[name]["correct"]["flexible"], second[name]["correct"]["flexible"]) for name in first}
    lost = {name for name, pair in right.items() if pair == (False, True)}
    assert lost, "the test needs a flip"
    page = opened(file, f"/compare/{a}/{b}?show=lost")
    assert set(page.locator(".flip").evaluate_all("all => all.map(one => one.dataset.question)")) == lost
    name = sorted(lost)[0]
    told = page.inner_text(f".flip[data-question='{name}']")
    for text in (
        first[name]["target"],
        first[name]["response"],
        second[name]["response"],
        first[name]["proposal"]["text"],
        first[name]["question"],
    ):
        assert text.strip() in told
    won = sum(pair == (True, False) for pair in right.values())
    p = mcnemar(won, len(lost))
    assert p_value(p).replace("\u00a0", " ") == page.inner_text(".facts tr:has-text('McNemar') td")
    page.click("text=swap")
    ready(page, "/compare")
    assert f"only A right ({len(lost)})" in page.inner_text("#main")


def test_every_step_of_a_decode_is_the_records(opened, file, lab_study):
    """The page against a plain replay: all positions after every forward, by keyboard, for the question with most
    revocations."""
    name = run_named(lab_study, "lab_weak-linear")
    record = max(records(lab_study / name).values(), key=lambda r: len(r["revocations"]))
    tokens = json.loads((lab_study / name / "tokens.json").read_text(encoding="utf-8"))
    page = opened(file, f"/decode/{name}/{record['id']}?step=0")
    canvases = replay(record)
    assert int(page.get_attribute("#step", "max")) == len(canvases) - 1 >= 3 and record["revocations"]
    for step, canvas in enumerate(canvases):
        shown = page.locator(".row > span").all_text_contents()
        assert shown == ["▢" if token is None else tokens[str(token)].replace("\n", "⏎") for token in canvas], (
            f"step {step}"
        )
        assert f"{canvas.count(None)} masked" in page.inner_text("#where")
        page.keyboard.press("ArrowRight")
    assert page.input_value("#step") == str(len(canvases) - 1)
    page.keyboard.press("Home")
    assert page.input_value("#step") == "0" and "step=0" in page.url
    page.locator("#step").fill("2")
    assert page.locator(".row > span").all_text_contents().count("▢") == canvases[2].count(None)
    injected = sum(event[3] == "injected" for event in record["revocations"])
    assert page.locator(".track [data-kind=undone]").count() == injected
    assert page.locator(".track [data-kind=kept]").count() == record["source"].count("injected")
    before = page.url
    page.keyboard.press("n")
    page.wait_for_function("before => location.href.split('?')[0] !== before", arg=before.split("?")[0])
    page.keyboard.press("p")
    page.wait_for_function("before => location.href.split('?')[0] === before", arg=before.split("?")[0])


def test_playing_a_decode(opened, file, lab_study):
    page = opened(file, f"/decode/{run_named(lab_study, 'lab_weak-linear')}")
    page.click("#play")
    assert page.input_value("#step") == "0"
    page.wait_for_function("() => document.querySelector('#step').value === '2'")
    page.click("#play")


def test_methods_by_family(opened, run, tmp_path):
    """Each against all the others, under its family's name; the picture's legend has the same titles."""
    plain = {"choices": {"unmask": "threshold", "evidence": [], "watch": "none"}}
    for tau, nfe in ((0.7, 6.0), (0.9, 10.0)):
        run(f"runs/cold-{tau}", tau=tau, nfe=nfe, correct=round(60 + 20 * tau), proposer="none", settings=plain)
    credit = {"choices": {**plain["choices"], "evidence": ["credit"]}}
    run("runs/credit", nfe=5.0, correct=76, proposer="none", settings=credit)
    run("runs/wino", remask="wino", nfe=12.0, correct=77, proposer="none", settings=plain)
    report(tmp_path / "runs", tmp_path / "r.html")
    page = opened(tmp_path / "r.html")
    rows = page.locator("#methods tbody tr").all_inner_texts()
    names = [row.split("\t")[0].strip() for row in rows]
    assert names == [
        "unmasking", "unmask=threshold", "evidence", "unmask=threshold evidence=[credit]",
        "revision", "unmask=threshold remask=wino",
    ]  # fmt: skip
    content = page.evaluate("document.querySelectorAll('#methods tbody td')[14].innerText")
    assert content.startswith("+3.")  # of the 8 forwards between the two thresholds, at 76 + 1 %
    titles = page.evaluate(
        "document.querySelector('#front-plot').data.map(one => one.legendgrouptitle?.text).filter(Boolean)"
    )
    assert titles == ["unmasking", "evidence", "revision"]
    page.click("button[data-value='seconds']")
    page.wait_for_function("() => document.querySelector('#methods').innerText.includes('seconds')")


@pytest.mark.slow
def test_the_quality_of_the_prior(opened, file, run, tmp_path):
    """Curves where corruption was varied, over two measures of quality and along every axis; nothing where it was
    not."""
    run("runs/cold")
    for rate, correct in ((0, 98), (0.5, 70), (1, 20)):
        keys = {"corruption": rate, "kind": "tokens"}
        run(
            f"runs/{rate}",
            init="token_inject",
            proposer="oracle",
            oracle=True,
            proposer_keys=keys,
            nfe=3 + rate,
            correct=correct,
        )
    run("runs/real", init="token_inject", nfe=4, correct=60)
    report(tmp_path / "runs", tmp_path / "r.html")
    page = opened(tmp_path / "r.html")
    data = "document.querySelectorAll('#quality .plot')[{}].data.map(trace => [trace.name, trace.x, trace.y])"
    page.wait_for_function("() => document.querySelectorAll('#quality .main-svg').length >= 2")
    assert page.evaluate(data.format(0)) == [["token_inject, tokens", [0, 0.5, 1], [99, 71, 21]]]
    assert page.evaluate(data.format(1))[0][2] == [3, 3.5, 4]
    page.click("#quality button[data-value='proposal_accuracy']")
    page.wait_for_function("() => (document.querySelector('#quality .plot').data || []).length === 2")
    assert page.evaluate(data.format(0))[1] == ["real proposers", [30], [61]]
    page.click("button[data-value='seconds']")
    page.wait_for_function("() => (document.querySelectorAll('#quality .plot')[1].data || [])[1]?.y[0] < 1")
    page = opened(file)
    assert page.locator("#quality").inner_text() == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.slow
def test_light_and_dark(opened, file, scheme):
    page = opened(file, scheme=scheme)
    brightness = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]"
    first = page.evaluate(brightness)
    assert (first > 128) == (scheme == "light")
    page.click("#theme")
    assert (page.evaluate(brightness) > 128) == (scheme == "dark")
    page.reload()
    ready(page, "/front")
    assert (page.evaluate(brightness) > 128) == (scheme == "dark"), "the choice is kept"


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
@pytest.mark.slow
def test_nothing_sticks_out(opened, file, viewport):
    page = opened(file, viewport=viewport)
    for where in ("/front", "/run", "/compare", "/decode"):
        visit(page, where)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
        wide = page.locator(".plot").evaluate_all(
            "all => all.filter(one => one.getBoundingClientRect().right > innerWidth).length"
        )
        assert wide == 0, where


def test_hostile_text_stays_text(opened, lab_study, tmp_path):
    runs = shutil.copytree(lab_study, tmp_path / "runs")
    for folder in runs.glob("lab-*"):
        rewrite(
            folder,
            lambda r: (
                r
                | {
                    "question": HOSTILE,
                    "response": HOSTILE,
                    "target": HOSTILE,
                    "proposal": r["proposal"] and r["proposal"] | {"text": HOSTILE},
                }
            ),
        )
        tokens = json.loads((folder / "tokens.json").read_text(encoding="utf-8"))
        (folder / "tokens.json").write_text(json.dumps(dict.fromkeys(tokens, HOSTILE)), encoding="utf-8")
    report(runs, tmp_path / "r.html")
    a, b = run_named(runs, "lab_weak-linear"), run_named(runs, "oracle")
    page = opened(tmp_path / "r.html", f"/compare/{a}/{b}?show=lost")
    assert HOSTILE in page.inner_text(".flip")
    visit(page, f"/decode/{a}")
    assert page.locator(".row > span").first.text_content() == HOSTILE
    for where in (
        "/front",
        f"/run/{a}",
        "/decode/%3Cimg%20src=x%20onerror=alert(1)%3E/%22%3E?step=%3Cb%3E",
        "/compare/%E0%A4%A/x",
    ):
        visit(page, where)
    assert page.evaluate("[window.pwned, document.querySelectorAll('main img, main b > b').length]") == [None, 0]


@pytest.mark.slow
def test_what_is_absent_is_said(opened, lab_study, tmp_path):
    """One run, of the first format: no baseline beside it, no confidence, no token texts."""
    folder = shutil.copytree(lab_study / run_named(lab_study, "lab_strong"), tmp_path / "runs" / "one")
    (folder / "tokens.json").unlink()
    rewrite(folder, lambda r: {key: value for key, value in r.items() if key != "confidence"})
    report(tmp_path / "runs", tmp_path / "r.html")
    page = opened(tmp_path / "r.html")
    assert "baseline" in page.inner_text(".notice")
    visit(page, "/run")
    assert "do not say with what confidence" in page.inner_text("#main")
    visit(page, "/decode")
    assert page.locator(".row > span").first.text_content().startswith("#")
    page.evaluate("location.hash = '/compare'")
    page.wait_for_selector("text=There is only one run here.")


@pytest.mark.slow
def test_no_runs_at_all(opened, tmp_path, browser):
    report(tmp_path, tmp_path / "r.html")
    page = browser.new_page()
    page.goto(f"file://{tmp_path / 'r.html'}")
    page.wait_for_selector("text=no finished runs")
    page.close()


@pytest.mark.slow
def test_two_hundred_runs(opened, lab_study, tmp_path):
    copies(lab_study / run_named(lab_study, "lab_weak-linear"), tmp_path / "runs", 198)
    for i in (0, 1):
        shutil.copytree(sorted(lab_study.glob("lab-mask-*"))[i], tmp_path / "runs" / f"cold-{i}")
    report(tmp_path / "runs", tmp_path / "r.html")
    assert (tmp_path / "r.html").stat().st_size < 10e6
    page = opened(tmp_path / "r.html")
    assert len(column(page, "run")) == 200
    page.fill("#filter", "rho<=0.5")
    assert page.inner_text("#count") == "99 of 200 runs"
    page.evaluate("location.hash = '/decode'")
    ready(page, "/decode")
    assert page.locator(".row").count() > 0
