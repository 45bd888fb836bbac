"""Prefect's UI as a person uses it: forms are filled by label, buttons are pressed by name."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from diptych.report.chromium import Page

__all__ = ["Ui"]

FIND = """(name) => [...document.querySelectorAll("label")].find(
  l => l.innerText.replace("(Optional)", "").trim() === name)?.closest(".p-label")"""
PLACE = """(e) => {
  e.scrollIntoView({block: "center", behavior: "instant"});
  const r = e.getBoundingClientRect();
  const x = r.x + r.width / 2, y = r.y + r.height / 2, hit = document.elementFromPoint(x, y);
  return hit && e.contains(hit) ? [x, y] : null; }"""
BUTTON = """(name) => [...document.querySelectorAll("button, a, [role=tab], [role=menuitem]")].find(
  b => b.innerText.trim() === name && b.getClientRects().length && !b.disabled)"""


class Ui:
    """One window on a server's UI; pictures go to a folder."""

    def __init__(self, url: str, page: Page, pictures: Path) -> None:
        self.url, self.page, self.pictures = url, page, pictures
        pictures.mkdir(parents=True, exist_ok=True)

    def visit(self, path: str, words: str) -> None:
        """Open a page of the UI and wait until it shows these words."""
        self.page.visit(self.url + path)
        self.sees(words)

    def sees(self, words: str, seconds: float = 60) -> None:
        """Wait until the page shows these words."""
        self.page.until(f"document.body.innerText.includes({json.dumps(words)})", seconds)

    def press(self, name: str) -> None:
        """Click the button or link of that name."""
        self.page.until(f"!!({BUTTON})({json.dumps(name)})")
        self._click(f"({BUTTON})({json.dumps(name)})")

    def fill(self, label: str, text: str) -> None:
        """Type into a field in place of what it holds."""
        field = f"({FIND})({json.dumps(label)})?.querySelector('textarea, input')"
        self.page.until(f"!!{field}")
        self.page.run(f"{field}.focus(), {field}.select()")
        self.page.type(text)
        self.page.until(f"{field}.value === {json.dumps(text)}", 10)

    def choices(self, label: str) -> list[str]:
        """What a list offers."""
        options = f"[...(({FIND})({json.dumps(label)})?.querySelectorAll('select option') ?? [])]"
        self.page.until(f"{options}.length > 0")
        return self.page.run(f"{options}.map(o => o.value)")

    def choose(self, label: str, value: str) -> None:
        """Choose one of a list's values (headless Chromium gets the list of a touch screen: the browser's own)."""
        assert value in self.choices(label)
        self.page.run(
            f"(() => {{ const s = ({FIND})({json.dumps(label)}).querySelector('select'); s.value = {json.dumps(value)};"
            " s.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )

    def picture(self, name: str) -> None:
        """Keep what the window shows."""
        time.sleep(0.6)  # panels slide in
        (self.pictures / f"{name}.png").write_bytes(self.page.picture())

    def _click(self, element: str) -> Any:
        """Where it is once it stays there, with nothing in front of it: panels slide, fields appear above."""
        before = None
        while (place := self.page.until(f"({PLACE})({element})")) != before:
            before = place
            time.sleep(0.2)
        self.page.click(*place)
