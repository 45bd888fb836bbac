"""Forgotten addresses leave the pages that mention them, however they are written; all else stays byte for byte."""

from __future__ import annotations

import gzip

import pytest

from diptych.sources.unlink import NOWHERE, unlink

BASE = "http://x.example/news/"
GONE = "http://x.example/news/a%20b.html?id=5&n=2"


@pytest.mark.parametrize(
    "body",
    [
        b'<a href="/news/a%20b.html?id=5&amp;n=2">t</a>',
        b"<a href='a b.html?id=5&amp;n=2#part'>t</a>",
        b'<img SRC = "//x.example/news/a%20b.html?id=5&n=2">',
        b'<img srcset="small.png 1x, a%20b.html?id=5&amp;n=2 2x">',
        b"<loc>http://x.example/news/a%20b.html?id=5&n=2</loc>",
        b"see http://x.example/news/a%20b.html?id=5&n=2.",
        b'{"u":"http:\\/\\/x.example\\/news\\/a%20b.html?id=5&n=2"}',
        b"<a href=a%20b.html?id=5&n=2>t</a>",
    ],
)
def test_every_spelling_is_found(body: bytes) -> None:
    found = unlink(body, BASE, lambda url: url == GONE)
    assert NOWHERE.encode() in found and b"id=5" not in found


def test_other_pages_are_the_same_object() -> None:
    body = '<a href="/news/c.html">é</a> \xff http://y.example/'.encode("latin-1")
    assert unlink(body, BASE, lambda url: url == GONE) is body
    assert unlink(b"<a href=x>", "file:a.html", lambda url: True) == b"<a href=x>"
    packed = gzip.compress(b"<urlset><url><loc>" + GONE.encode() + b"</loc></url></urlset>")
    assert unlink(packed, BASE, lambda url: url == GONE) == b"<urlset><url><loc>about:invalid</loc></url></urlset>"
    assert unlink(packed, BASE, lambda url: False) is packed
    broken = packed[:-9]
    assert unlink(broken, BASE, lambda url: False) is broken
    names = b"<p " + b"data-" * 100_000 + b">"
    assert unlink(names, BASE, lambda url: False) is names, "in linear time"
    mixed = b'<a href="c.html">1</a><a href="d.html">2</a>'
    assert (
        unlink(mixed, BASE, lambda url: url.endswith("d.html"))
        == b'<a href="c.html">1</a><a href="about:invalid">2</a>'
    )
