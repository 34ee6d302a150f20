"""The page in a real browser: it asks for nothing, fits every screen, can be used by everybody, and goes on paper."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runs_by_hand import three

from fedcxr.report.making import report

CHROMIUM = shutil.which("chromium")
driver = pytest.importorskip("playwright.sync_api")
checks = importlib.util.find_spec("axe_playwright_python")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
    pytest.mark.skipif(checks is None, reason="axe-playwright-python is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One for all; as root it has no sandbox of its own, and opens nothing but what we wrote."""
    with driver.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A study's page, with names that are markup to whoever takes them for it."""
    study = three(tmp_path_factory.mktemp("study") / "board", name='<img src=x onerror="alert(1)">' + "long" * 40)
    return report(study).write(study).as_uri()


@pytest.mark.parametrize("width", [375, 768, 1440])
def test_it_fits_the_screen_asks_for_nothing_and_complains_of_nothing(browser: Any, place: str, width: int) -> None:
    said: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url != place else None)
    page.goto(place)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
    assert said == []


@pytest.mark.parametrize("seen", [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"forced_colors": "active"}])
def test_no_barrier_is_found(browser: Any, place: str, seen: dict[str, str]) -> None:
    page = browser.new_page(**seen)
    page.goto(place)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert checks is not None
    page.evaluate((Path(checks.origin or "").parent / "axe.min.js").read_text())
    found = page.evaluate("axe.run()")
    page.close()
    assert len(found["passes"]) > 20
    assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []


def test_the_table_is_sifted_and_reached_by_keys_alone(browser: Any, place: str) -> None:
    page = browser.new_page()
    page.goto(place)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.url.endswith("#policies")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "word":
            break
    rows = page.locator("table.policies tbody tr:visible")
    assert rows.count() == 3
    page.keyboard.type("NOTHING")
    assert rows.count() == 1
    assert page.locator("form.filter output").inner_text() == "1 of 3 shown"
    page.fill("input[name=word]", "")
    page.select_option("select[name=state]", "open")
    assert rows.count() == 1
    assert "cannot tell" in rows.inner_text()
    page.close()


def test_it_is_read_without_a_script_and_goes_on_paper(browser: Any, place: str, tmp_path: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(place)
    assert page.locator("table.policies tbody tr:visible").count() == 3
    assert page.locator("form.filter:visible").count() == 0
    page.pdf(path=tmp_path / "report.pdf")
    context.close()
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "report.pdf").read_bytes().count(b"/Type /Page\n") > 1
