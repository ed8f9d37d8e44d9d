"""Reports opened in a real browser: fixtures and what tests of pages share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.report.browsers import chromium
from tests.report.reports import report

CHROMIUM = chromium()
PATIENCE = 60_000  # milliseconds, for every wait; what playwright does not bound, the suite does (faulthandler_timeout)
LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(lab_study, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("file") / "report.html"
    report(lab_study, path)
    return path


@pytest.fixture
def opened(browser):
    """Open a file at a view; in the end nothing may have been written to the console, thrown, or asked of anybody."""
    contexts, said, asked = [], [], []

    def opening(file: Path, where: str = "/front", viewport=LAPTOP, scheme: str = "light"):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda request: None if request.url.startswith(("file:", "blob:", "data:")) else asked.append(request.url),
        )
        page.goto(f"file://{file}#{where}")
        ready(page, where)
        return page

    yield opening
    for context in contexts:
        context.close()
    assert said == [] and asked == []


def ready(page, where: str) -> None:
    view = where.split("?")[0].split("/")[1]
    page.wait_for_function("view => document.body.dataset.ready === view", arg=view)
    if view not in ("decode", "words"):
        page.wait_for_selector(".main-svg")


def visit(page, where: str) -> None:
    page.evaluate(
        "where => { if (location.hash !== `#${where}`) { delete document.body.dataset.ready; location.hash = where; } }",
        where,
    )
    ready(page, where)


def column(page, name: str) -> list[str]:
    """The cells under a heading, intervals left out."""
    names = page.locator(".runs thead th").evaluate_all("heads => heads.map(head => head.dataset.column)")
    return page.locator(
        f".runs tbody tr td:not(.interval):nth-child({1 + names.index(name)} of :not(.interval))"
    ).all_inner_texts()


def run_named(study: Path, part: str) -> str:
    return next(folder.name for folder in study.glob("lab-*") if part in folder.name)
