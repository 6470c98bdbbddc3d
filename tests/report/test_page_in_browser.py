"""The page in Chromium: what it shows on a screen, on a phone, in the dark, on paper and by keyboard."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from transformer.report.page import render_page
from transformer.report.reported import AttentionMap, ReportedRun

pytestmark = pytest.mark.slow

EVIL = ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "'><svg onload=alert(1)>"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    reason = "needs pip install playwright and Chromium, e.g. apt-get install chromium"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    with playwright.sync_playwright() as started:
        own = started.chromium.executable_path
        found = shutil.which("chromium") or shutil.which("google-chrome") or (own if Path(own).exists() else None)
        if found is None:
            pytest.skip(reason)
        sandbox = [] if os.geteuid() else ["--no-sandbox"]  # which root does not have
        opened = started.chromium.launch(executable_path=found, args=sandbox)
        yield opened
        opened.close()


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open a page of runs; whatever it complains of or asks the network for fails the test."""
    complaints: list[str] = []
    opened: list[Any] = []

    def show(runs: list[ReportedRun], width: int = 1280, scheme: str = "light") -> Any:
        path = tmp_path / "report.html"
        path.write_bytes(render_page(runs, 3, "1").encode("utf-8", "replace"))
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: complaints.append(request.url) if "file:" not in request.url else None)
        page.goto(path.as_uri())
        opened.append(page)
        return page

    yield show
    for page in opened:
        page.close()
    assert complaints == []


@pytest.fixture
def runs(make_run: Callable[..., ReportedRun]) -> list[ReportedRun]:
    return [make_run("first"), make_run("second", ["a cat", "two cats are asleep", "old"])]


def brightness(page: Any, selector: str, name: str) -> float:
    """Relative luminance of a colour (WCAG 2.2)."""
    colour = page.locator(selector).first.evaluate(f"element => getComputedStyle(element).{name}")
    channels = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_it_fits_the_screen_and_can_be_read(
    show: Callable[..., Any], runs: list[ReportedRun], width: int, scheme: str
) -> None:
    page = show(runs, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    paper, card = (brightness(page, selector, "backgroundColor") for selector in ("body", "figure"))
    assert (paper > 0.5) is (scheme == "light")
    for selector, ground in (("body", paper), ("body .quiet", paper), ("a[href='#runs']", paper), ("summary", card)):
        dark, bright = sorted((brightness(page, selector, "color"), ground))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, selector


def test_every_line_of_a_chart_is_on_the_canvas(show: Callable[..., Any], runs: list[ReportedRun]) -> None:
    page = show(runs)
    for figure in page.locator("figure.chart").all():
        canvas = figure.locator("svg").bounding_box()
        paths = figure.locator("path.line, path.point").all()
        assert len(paths) == 2
        for path in paths:
            box = path.bounding_box()
            assert canvas["x"] < box["x"] and box["x"] + box["width"] <= canvas["x"] + canvas["width"]
        assert figure.locator(".cursor").is_hidden()


def test_a_chart_is_read_by_pointer_and_by_keys(show: Callable[..., Any], runs: list[ReportedRun]) -> None:
    page = show(runs)
    figure = page.locator("figure.chart").first
    svg, output = figure.locator("svg"), figure.locator("output")
    svg.focus()
    told = []
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "End"):
        page.keyboard.press(key)
        told.append(output.inner_text())
    assert [text.split("·")[0].strip() for text in told] == ["update 10", "update 20", "update 10", "update 60"]
    assert "first 6" in told[0] and "second 6" in told[0] and figure.locator(".cursor circle").count() == 2
    box = svg.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.98, box["y"] + 20)
    assert output.inner_text().startswith("update 60")
    page.mouse.move(0, 0)
    assert output.inner_text() == "" and figure.locator(".cursor").is_hidden()
    figure.locator("summary").press("Enter")
    assert figure.locator("tbody tr").first.is_visible()


def test_attention_is_read_by_pointer_and_by_keys(show: Callable[..., Any], runs: list[ReportedRun]) -> None:
    page = show(runs)
    block = page.locator(".attention").first
    pieces, output = block.locator(".target button"), block.locator("> output")
    pieces.nth(1).hover()
    assert output.inner_text() == "⏎ looks at ⏎ 97 %, ▁Hund 2 %, ▁ein 1 %"
    page.mouse.move(0, 0)
    pieces.nth(1).focus()
    page.keyboard.press("ArrowLeft")
    assert output.inner_text().startswith("▁a looks at ▁ein 90 %")
    shares = [span.evaluate("e => e.style.getPropertyValue('--share')") for span in block.locator(".source span").all()]
    assert shares == ["90%", "5%", "5%"]
    assert block.locator(".target button[tabindex='0']").count() == 1, "one stop for the Tab key"


def test_the_layer_of_a_heat_map_is_chosen(show: Callable[..., Any], runs: list[ReportedRun]) -> None:
    layers = [[[90, 5, 5], [1, 2, 97]], [[0, 100, 0], [50, 25, 25]]]
    maps = {0: AttentionMap(["▁ein", "▁Hund", "⏎"], ["▁a", "⏎"], layers)}
    page = show([replace(runs[0], maps=maps)])
    block = page.locator(".attention").first
    block.locator("summary").click()

    def shown() -> list[int]:
        return [round(100 * float(rect.get_attribute("fill-opacity"))) for rect in block.locator(".squares rect").all()]

    assert shown() == [90, 5, 5, 1, 2, 97]
    block.locator("select").select_option("1")
    assert shown() == [0, 100, 0, 50, 25, 25]


def test_no_sentence_runs(show: Callable[..., Any], make_run: Callable[..., ReportedRun]) -> None:
    run = make_run(EVIL[0], EVIL, sources=EVIL, references=EVIL)
    attention = AttentionMap(EVIL, EVIL, [[[40, 30, 30]] * 3])
    page = show([replace(run, maps=dict.fromkeys(range(3), attention))])
    page.locator(".target button").nth(1).hover()
    page.locator("figure.chart svg").first.hover()
    assert page.locator("script").count() == 1 and page.locator("img").count() == 0
    assert page.locator("h1").inner_text() == EVIL[0]


def test_the_policy_stops_a_script_that_got_in(browser: Any, runs: list[ReportedRun], tmp_path: Path) -> None:
    text = render_page(runs, 3, "1").replace("<main", "<script>window.ran = true</script><main")
    (tmp_path / "x.html").write_text(text, "utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "x.html").as_uri())
    assert page.evaluate("window.ran") is None
    page.close()


def test_on_paper_it_is_light_and_has_no_controls(show: Callable[..., Any], runs: list[ReportedRun]) -> None:
    page = show(runs, scheme="dark")
    page.emulate_media(media="print")
    assert brightness(page, "body", "backgroundColor") == pytest.approx(1)
    assert page.locator("nav").is_hidden() and page.locator("figure.chart svg").first.is_visible()
    assert page.pdf().startswith(b"%PDF")
