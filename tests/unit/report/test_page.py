"""The page: what it must say first, what must never get into it, how large it may be."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from small_version import Record, SmallVersion, Used, picture, story, usual

from diptych.records import Document
from diptych.report import write_report
from diptych.report.values import bytes_text, json_for_script, number, safe_link, value_text
from diptych.version import Version

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"quoted\" 'single' & \u2028 ]]> {{ 7*7 }}"


class Elements(HTMLParser):
    """Every start tag with its attributes, and the text of script elements."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data


def page(version: SmallVersion, path: Path, **options: int) -> str:
    """The page's markup."""
    return write_report(version.version, path / "report.html", **options).read_text("utf-8")


def hostile(url: str = "javascript:alert(3)") -> Record:
    """A record whose every text attacks."""
    document = Document(HOSTILE, HOSTILE, HOSTILE, 'en" onload="alert(4)', (HOSTILE,), HOSTILE)
    extra = json.dumps({"boxes": [[1, 2, 30, 40]], "labels": [HOSTILE]})
    images = [
        Used(picture(1), HOSTILE, url=url, extra=extra),
        Used(picture(2), HOSTILE, url=url, rule="clean.<script>"),
        Used(None, HOSTILE, outcome=f"failed:{HOSTILE}"),
    ]
    return Record(HOSTILE, document, images, url=url, split=HOSTILE)


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    calm = Elements(page(SmallVersion(tmp_path / "a", usual()), tmp_path))
    version = SmallVersion(tmp_path / "b", [*usual(), hostile()])
    html = page(version, tmp_path)
    found = Elements(html)
    assert len(found.scripts) == len(calm.scripts) == 2
    assert {t for t, _ in found.tags} <= {t for t, _ in calm.tags}
    assert not [a for _, attributes in found.tags for a in attributes if a.startswith("on")]
    assert "49" not in found.text.split("{{")[1][:12]
    for _, attributes in found.tags:
        for name in ("href", "src"):
            value = attributes.get(name)
            assert value is None or value.startswith(("https://", "http://", "#", "data:image/jpeg;base64,")), value
    assert "javascript:alert(3)" in found.text  # shown, never a link
    assert HOSTILE in found.text


def test_the_embedded_data_is_json_and_closes_no_script(tmp_path: Path) -> None:
    records = [dataclasses.replace(r, split=HOSTILE) for r in usual()]
    found = Elements(page(SmallVersion(tmp_path, records), tmp_path))
    data = json.loads(found.scripts[0])
    assert HOSTILE in [g["split"] for g in data["statistics"]["groups"]]
    assert "\u2028" not in found.scripts[0] and "<" not in found.scripts[0]


def test_links_open_without_opener(small: SmallVersion, tmp_path: Path) -> None:
    found = Elements(page(small, tmp_path))
    links = [a for t, a in found.tags if t == "a" and not (a["href"] or "").startswith("#")]
    assert links and all("noopener" in (a["rel"] or "") for a in links)


@pytest.mark.parametrize(
    "url",
    ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "//host/x", "https://", "http://a b/",
     "java\nscript:x",
     'https://a/"onclick="x', "vbscript:x", "http://[::1", ""],
)  # fmt: skip
def test_what_is_no_web_address_becomes_no_link(url: str) -> None:
    assert safe_link(url) is None


def test_web_addresses_become_links() -> None:
    assert safe_link("https://example.org/a?b=1&c=2#d") == "https://example.org/a?b=1&c=2#d"


def test_nothing_is_loaded_and_only_our_script_may_run(small: SmallVersion, tmp_path: Path) -> None:
    found = Elements(page(small, tmp_path))
    assert not [t for t, a in found.tags if t in ("link", "iframe", "object", "embed", "base")]
    policy = next(a["content"] or "" for t, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy and "'unsafe-eval'" not in policy and "script-src 'sha256-" in policy


def test_thumbnails_are_our_own_small_jpegs(small: SmallVersion, tmp_path: Path) -> None:
    html = page(small, tmp_path)
    assert "SECRET-EXIF" not in html
    found = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", html)
    assert found
    for text in found:
        data = base64.b64decode(text)
        assert b"SECRET" not in data and b"Exif" not in data
        with Image.open(io.BytesIO(data)) as image:
            assert image.format == "JPEG" and max(image.size) <= 320


def test_the_first_line_says_what_must_be_said(tmp_path: Path) -> None:
    html = page(SmallVersion(tmp_path, usual(), random_weights=True, accepted_failures=0.034), tmp_path)
    first = html[html.index("<body>") :][:600]
    assert "Random weights: random:7, used by backbone" in first and "3.4 % of all rows failed" in first
    calm = page(SmallVersion(tmp_path / "calm", usual()), tmp_path)
    assert 'class="notice"' not in calm and "No random weights" in calm


def test_a_sample_build_says_so_before_anything_else(tmp_path: Path) -> None:
    small = SmallVersion(tmp_path, usual())
    recipe = "name: small\nsample_of: hcscl\nstand_ins: [a <drawn> detector for Faster R-CNN]\n"
    small.version = Version(small.store, small.version.manifest.model_copy(update={"recipe": recipe}))
    html = page(small, tmp_path)
    first = html[html.index("<body>") :][:600]
    assert "Sample build of hcscl: generated data" in first and "a &lt;drawn&gt; detector" in first


def test_boxes_edges_and_ocr_lines_are_drawn(small: SmallVersion, tmp_path: Path) -> None:
    html = page(small, tmp_path)
    assert "5,5 50,5 50,60 5,60" in html  # regions.boxes, labelled by the column beside it
    assert "10,10 60,10 60,30 10,30" in html and "FRESH &lt;COFFEE&gt;" in html
    assert re.search(r'<line x1="28" y1="32" x2="85" y2="50"/>', html)
    assert "cat <i>left of</i> ball" in html
    assert {"ocr.lines", "regions.boxes", "scene_graph edges"} <= set(re.findall(r"</i>([\w. ]+)</label>", html))


def test_every_value_of_a_record_is_there(small: SmallVersion, tmp_path: Path) -> None:
    text = Elements(page(small, tmp_path)).text
    record = next(k for k, r in small.records.items() if r.name == "thumb")
    rows = small.version.lineage(record).rows
    assert len(rows) >= 8
    for row in rows:
        assert row.segment in text and row.key in text
    assert "value12.5, threshold 64.0" in re.sub(r"\s*\n\s*", "", text)


def test_the_gallery_has_every_rule_and_status_however_small(small: SmallVersion, tmp_path: Path) -> None:
    html = page(small, tmp_path, gallery=1)
    rules = set(re.findall(r'<option value="([^"]+: [^"]+)">', html))
    assert rules == {
        "backbone: boom", "clean: thumbnail", "clean_pairs: advertisement", "clean_text: short_text",
        "fetch: gone", "fetch: http_500", "fetch: timeout",
    }  # fmt: skip
    cards = html.count('<article class="card"')
    assert 5 <= cards < len(small.records)
    assert "left out (--gallery 0)" in page(small, tmp_path, gallery=0)


def test_the_page_is_the_same_every_time(small: SmallVersion, tmp_path: Path) -> None:
    assert page(small, tmp_path) == page(small, tmp_path)


def test_the_size_is_bounded_by_the_gallery_and_stated(tmp_path: Path) -> None:
    records = [Record(f"r{n}", story(n), [Used(picture(n), f"Caption {n}.")]) for n in range(40)]
    few = page(SmallVersion(tmp_path / "a", records[:12]), tmp_path, gallery=6)
    many = page(SmallVersion(tmp_path / "b", records), tmp_path, gallery=6)
    assert len(many) < 1.15 * len(few)
    assert bytes_text(len(many.encode())) + " in this page" in many


def test_long_texts_are_cut(tmp_path: Path) -> None:
    long = Document("T" * 50, "word " * 400_000, "s" * 90_000, "en", (), "x" * 500_000)
    version = SmallVersion(tmp_path, [Record("long", long, [Used(picture(1), "c " * 90_000)])], ("clean", "clean_text"))
    assert len(page(version, tmp_path)) < 200_000


@pytest.mark.parametrize("stages", [(), ("clean",), ("clean", "clean_text", "clean_pairs", "sentences")])
def test_without_records_without_images_without_ocr(tmp_path: Path, stages: tuple[str, ...]) -> None:
    for n, records in enumerate(([], [Record("r", story(1))], [Record("r", None, outcome="gone")], usual())):
        html = page(SmallVersion(tmp_path / str(n), records, stages, fits=bool(n % 2)), tmp_path)
        assert '<svg viewBox="0 0 360 178" role="img" aria-label=""' not in html
        assert "nan" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", html).lower().replace("nano", "")


def test_a_copy_without_the_pictures_still_has_a_report(tmp_path: Path) -> None:
    version = SmallVersion(tmp_path, [Record("r", story(1), [Used(picture(1), "Gone.")])])
    (key,) = version.version.snapshot.image_keys()
    for file in tmp_path.rglob(key):
        file.unlink()
    html = page(version, tmp_path)
    assert "data:image/jpeg" not in html and "no picture" in html


def test_no_plot_is_empty(small: SmallVersion, tmp_path: Path) -> None:
    plots = re.findall(r'<figure class="plot">.*?</figure>', page(small, tmp_path), re.S)
    assert plots
    assert all('class="bar"' in p or 'class="dot"' in p for p in plots)


def test_numbers_and_values_as_text() -> None:
    assert [number(v) for v in (None, 0, 1234567, 0.12345, 12345.6, 3.0)] == [
        "–",
        "0",
        "1,234,567",
        "0.123",
        "12,346",
        "3",
    ]
    assert [bytes_text(n) for n in (0, 999, 1000, 1_234_567, 250_000_000)] == [
        "0 bytes",
        "999 bytes",
        "1 kB",
        "1.23 MB",
        "250 MB",
    ]
    assert json.loads(json_for_script({"a": HOSTILE})) == {"a": HOSTILE}
    assert value_text(b"abc").startswith("3 bytes") and "in all" in value_text("x" * 9000)
    assert value_text([float("nan"), {"a": b""}]) is not None
