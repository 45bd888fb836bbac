"""A picture of a report: ``python -m diptych.report.screenshot REPORT.html OUT.png --width 1280 --height 900``."""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path

from PIL import Image

from diptych.exceptions import DiptychError
from diptych.report.chromium import Page

__all__ = ["main", "screenshot"]

_FILTER = """
(text) => {
  const field = document.querySelector("form.filters").elements.text;
  field.value = text;
  field.dispatchEvent(new Event("change", { bubbles: true }));
}
"""
_SETTLE = """
(async () => {
  const near = [...document.images].filter((i) => Math.abs(i.getBoundingClientRect().top) < 2 * innerHeight);
  for (const image of near) image.loading = "eager";
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  await Promise.race([Promise.all(near.map((i) => i.decode().catch(() => 0))), wait(5000)]);
  await wait(150);
})()
"""
"""Pictures near the window are loaded when it is seen; an absent one is not waited for."""


def screenshot(
    report: Path,
    out: Path,
    *,
    width: int = 1280,
    height: int = 900,
    dark: bool = False,
    at: str = "",
    text: str = "",
    script: str = "",
    colours: int = 0,
) -> Path:
    """Write a PNG of the report at a window size; ``at`` is a CSS selector to scroll to, ``text`` a filter of the
    gallery, ``script`` runs before.

    ``colours`` above 0 stores a palette of so many colours: a third of the bytes.
    """
    if not report.is_file():
        raise DiptychError(f"no report at {report}; diptych report D@V --to {report} writes one")
    with Page(width, height, dark=dark) as page:
        page.open(report)
        page.run("document.documentElement.style.scrollBehavior = 'auto'")
        if text:
            page.run(f"({_FILTER})({json.dumps(text)})")
        if script:
            page.run(script)
        if at:
            found = page.run(f"(e => (e?.scrollIntoView(), !!e))(document.querySelector({json.dumps(at)}))")
            if not found:
                raise DiptychError(f"nothing in {report} matches {at!r}")
        page.run(_SETTLE)
        data = page.picture()
    if colours:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        buffer = io.BytesIO()
        image.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        data = buffer.getvalue()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(data)
    return out


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m diptych.report.screenshot", description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=900)
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--at", default="", metavar="SELECTOR", help="scroll to this element, as #gallery")
    parser.add_argument("--text", default="", help="filter the gallery by these words")
    parser.add_argument("--script", default="", help="JavaScript to run before")
    parser.add_argument("--colours", type=int, default=0, help="store a palette of so many colours (2 to 256)")
    given = vars(parser.parse_args(arguments))
    try:
        path = screenshot(given.pop("report"), given.pop("out"), **given)
    except DiptychError as error:
        print(f"screenshot: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    print(f"wrote {path} ({path.stat().st_size:,} bytes)")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
