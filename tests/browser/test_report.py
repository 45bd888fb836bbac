"""The report in a real browser: no request, no error, no overflow; filters and keys work without network."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from diptych.exceptions import DiptychError
from diptych.report import chromium
from diptych.report.chromium import Page
from diptych.report.screenshot import main, screenshot

VISIBLE = "[...document.querySelectorAll('.card')].filter(c => !c.hidden).length"
SET = """(n, v) => {
  const e = document.querySelector("form.filters").elements[n];
  e.value = v;
  e.dispatchEvent(new Event("change", {bubbles: true}));
}"""


def choose(page: Page, name: str, value: str) -> int:
    """Set a filter; how many records are left."""
    page.run(f"({SET})({name!r}, {value!r})")
    return page.run(VISIBLE)


@pytest.fixture
def page(report: Path) -> Iterator[Page]:
    """The report in a wide window."""
    with Page(1280, 900) as found:
        found.open(report)
        yield found


@pytest.mark.parametrize("width", [1280, 820, 390, 320])
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.system("chromium")
def test_no_request_no_error_no_overflow(report: Path, empty: Path, width: int, dark: bool) -> None:
    with Page(width, 844, dark=dark) as page:
        for path in (report, empty):
            page.open(path)
            page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
            page.run("scrollTo(0, document.body.scrollHeight)")
            assert page.run("document.documentElement.scrollWidth") <= width
            outside = page.run(
                f"[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, svg')"
                f" && e.getClientRects().length && e.getBoundingClientRect().right > {width} + 1)"
                ".map(e => e.outerHTML.slice(0, 120))"
            )
            assert outside == []
        assert page.requests == []
        assert page.errors == []


@pytest.mark.system("chromium")
def test_filters_and_the_empty_result(page: Page) -> None:
    every = page.run(VISIBLE)
    assert choose(page, "rule", "clean: thumbnail") == 1
    assert "1 of" in page.run("document.querySelector('.count').textContent")
    assert choose(page, "split", "test") == 0
    assert page.run("!document.querySelector('.none').hidden")
    assert choose(page, "rule", "") == 1
    assert choose(page, "split", "") == every
    chinese = choose(page, "language", "zh")
    assert 0 < chinese < every
    choose(page, "language", "")
    assert 0 < choose(page, "status", "not fetched") < every
    page.run("document.querySelector('form.filters button[type=reset]').click()")
    page.run("new Promise(r => setTimeout(r, 50))")
    assert page.run(VISIBLE) == every
    assert page.errors == []


@pytest.mark.system("chromium")
def test_a_rule_in_the_funnel_leads_to_its_records(page: Page) -> None:
    page.run("document.querySelector('.funnel button[data-rule=\"clean: thumbnail\"]').click()")
    assert page.run(VISIBLE) == 1
    assert page.run("document.activeElement.name") == "rule"


@pytest.mark.system("chromium")
def test_keys(page: Page) -> None:
    page.press("/")
    assert page.run("document.activeElement.name") == "text"
    page.type("BUY.")
    page.run("new Promise(r => setTimeout(r, 200))")
    assert page.run(VISIBLE) == 1
    assert page.run("document.querySelector('.card:not([hidden])').textContent").count("Buy.")
    page.press("Escape")
    assert page.run(VISIBLE) > 1
    page.press("j")
    first = page.run("[...document.querySelectorAll('.card')].indexOf(document.activeElement)")
    page.press("j")
    assert (first, page.run("[...document.querySelectorAll('.card')].indexOf(document.activeElement)")) == (0, 1)
    page.press("k")
    page.press("Enter")
    assert page.run("document.activeElement.querySelector('details.all').open")
    assert page.errors == []


@pytest.mark.system("chromium")
def test_layers_can_be_hidden(page: Page) -> None:
    shown = "[...document.querySelectorAll('svg.drawn')].filter(e => e.getClientRects().length).length"
    assert page.run(shown) > 0
    page.run("document.querySelectorAll('input[name=layer]').forEach(e => e.click())")
    assert page.run(shown) == 0


@pytest.mark.system("chromium")
def test_a_script_in_the_text_cannot_run(page: Page) -> None:
    page.run("const s = document.createElement('script'); s.textContent = 'window.evil = 1'; document.body.append(s)")
    assert page.run("window.evil === undefined")
    assert any("Content Security Policy" in e for e in page.errors)


@pytest.mark.system("chromium")
def test_the_statistics_can_be_read_from_the_page(page: Page) -> None:
    assert page.run("JSON.parse(document.getElementById('data').textContent).statistics.groups[0].documents") > 0


@pytest.mark.system("chromium")
def test_a_screenshot_has_the_size_asked_for(report: Path, tmp_path: Path) -> None:
    out = screenshot(report, tmp_path / "shots" / "a.png", width=390, height=844, at="#gallery", colours=64)
    with Image.open(io.BytesIO(out.read_bytes())) as image:
        assert image.size == (390, 844)
    assert main([str(report), str(tmp_path / "b.png"), "--at", "#nowhere"]) == 1


def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none.html"), "x.png"]) == 1
    assert "no report at" in capsys.readouterr().err
    monkeypatch.setattr(chromium, "NAMES", ("no-such-browser",))
    with pytest.raises(DiptychError, match="apt-get install chromium"):
        Page()
