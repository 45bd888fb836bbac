"""Addresses: canonical forms, sites, local paths, private networks, robots rules, sitemaps and feeds."""

from __future__ import annotations

import gzip
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diptych.sources.address import is_public
from diptych.sources.answers import retry_after
from diptych.sources.charset import decode_page
from diptych.sources.feeds import Listed, read_feed
from diptych.sources.robots import RobotsRules, directives, forbidden
from diptych.sources.sniff import is_feed, is_page, looks_like_image
from diptych.sources.urls import BadUrl, canonical_url, file_url, join_url, path_of, site_of


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("HTTP://Example.COM:80", "http://example.com/"),
        ("https://example.com:443/a#part", "https://example.com/a"),
        ("http://example.com:8080/a", "http://example.com:8080/a"),
        ("http://user:pw@example.com/a", "http://example.com/a"),
        ("http://FAẞ.bücher.example/a", "http://xn--fa-hia.xn--bcher-kva.example/a"),
        ("http://example.com/a/./b/../c", "http://example.com/a/c"),
        ("http://example.com/../../x/", "http://example.com/x/"),
        ("http://example.com/%7euser/%e4%bd", "http://example.com/~user/%E4%BD"),
        ("http://example.com/a b", "http://example.com/a%20b"),
        ("http://example.com/100%", "http://example.com/100%25"),
        ("http://example.com/桥?q=河", "http://example.com/%E6%A1%A5?q=%E6%B2%B3"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://example.com/?b=2&a=1&utm_source=x&fbclid=y", "http://example.com/?b=2&a=1"),
        ("http://example.com/?", "http://example.com/"),
        ("http://[::1]:80/a", "http://[::1]/a"),
        ("http://example.com./a", "http://example.com/a"),
        (" http://example.com/a\n", "http://example.com/a"),
        ("http://example.com/my photo.jpg\n", "http://example.com/my%20photo.jpg"),
        ("http://example.com/a\n\tb", "http://example.com/ab"),
        ("http://a。/", "http://a/"),
        ("http://h.org/resize/http://cdn.com/.thumbs/a.jpg", "http://h.org/resize/http://cdn.com/.thumbs/a.jpg"),
        ("http://h.org//a/./b", "http://h.org/a/b"),
        ("http://h.org/a/..//b/..", "http://h.org/"),
    ],
)
def test_canonical_forms(written: str, canonical: str) -> None:
    assert canonical_url(written) == canonical and canonical_url(canonical) == canonical


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://a/",
        "file:///etc/passwd",
        "http://",
        "http://a b/",
        "http://[::1",
        "http://a:99999/",
        "//a/b",
        "javascript:1",
        "http://" + "a" * 70 + ".com/",
        "http://a/" + "b" * 16_000,
    ],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(BadUrl):
        canonical_url(url)


@given(st.text(max_size=40), st.text(max_size=40))
def test_canonical_is_idempotent_and_never_fails_otherwise(path: str, query: str) -> None:
    try:
        once = canonical_url(f"http://example.com/{path}?{query}")
        joined = join_url("http://example.com/x/", path)
    except BadUrl:
        return
    assert canonical_url(once) == once and once.isascii() and canonical_url(joined) == joined


@given(st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=30))
def test_local_paths_round_trip(name: str) -> None:
    name = "a" + name.encode("utf-8", "surrogateescape" if "\udc80" <= max(name) <= "\udcff" else "replace").decode(
        "utf-8", "surrogateescape"
    )
    name = name.replace("/", "_")
    url = file_url(f"folder/{name}")
    assert path_of(url) == f"folder/{name}" and url.isprintable() | (not url.isascii())
    url.encode("utf-8")


@pytest.mark.parametrize(
    "url", ["file:/etc/passwd", "file:../x", "file:a/../../x", "file:%2e%2e/x", "file:", "file:a%00b"]
)
def test_local_paths_that_leave_the_folder(url: str) -> None:
    with pytest.raises(BadUrl):
        path_of(url)


def test_sites() -> None:
    urls = (
        "http://www.news.example/",
        "http://img.news.example/a",
        "http://a.b.co.uk/",
        "http://127.0.0.1:80/",
        "http://localhost:1/",
    )
    assert [site_of(url) for url in urls] == ["news.example", "news.example", "b.co.uk", "127.0.0.1:80", "localhost"]


def test_public_and_private_addresses() -> None:
    private = (
        "127.0.0.1 127.9.9.9 0.0.0.0 10.1.2.3 172.16.0.1 192.168.1.1 169.254.169.254 100.64.0.1 192.0.2.1 198.18.0.1 "
        "224.0.0.1 240.0.0.1 255.255.255.255 ::1 :: "
        "fe80::1 fe80::1%eth0 fc00::1 fec0::1 feff::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 "
        "64:ff9b::a00:1 2002:a00:1:: 2002:7f00:1:: 2001:db8::1"
    ).split()
    assert [address for address in private if is_public(address)] == []
    public = "1.1.1.1 93.184.216.34 2606:4700::1111 ::ffff:8.8.8.8 64:ff9b::808:808".split()
    assert [address for address in public if not is_public(address)] == []


def test_robots_rules() -> None:
    rules = RobotsRules.from_answer(
        "ok", 200, b"\xef\xbb\xbfUser-agent: *\nDisallow: /a\nAllow: /a/b$\nCrawl-delay: 2\nSitemap: http://h/s.xml"
    )
    assert [rules.allows(f"http://h{path}", "Diptych") for path in ("/a", "/a/b", "/a/b/c", "/c")] == [
        False,
        True,
        False,
        True,
    ]
    assert (rules.delay("Diptych"), rules.sitemaps()) == (2.0, ("http://h/s.xml",))
    assert RobotsRules.from_answer("failed_permanent", 301, None).allows("http://h/a", "Diptych"), (
        "endless redirects: no rules"
    )
    assert not RobotsRules.from_answer("failed_transient", 0, None).allows("http://h/a", "Diptych")
    assert not RobotsRules.from_answer("failed_permanent", 200, None).allows("http://h/a", "Diptych"), "an unread body"
    assert RobotsRules.from_answer("ok", 200, b"<html>\xff\0 404 not found</html>").allows("http://h/a", "Diptych")
    for end in (b"\n", b"\r", b"\r\n"):
        lines = (b"User-agent: *", b"Allow: /", b"User-agent: Diptych/9.9 (+me)", b"Disallow: /a")
        named = RobotsRules.from_answer("ok", 200, end.join(lines))
        assert [named.allows(f"http://h{path}", "Diptych") for path in ("/a", "/b")] == [False, True], "any version"
    long = b"User-agent: *\nAllow: /" + b"x" * (512_000 - 34) + b"\nDisallow: /private"
    assert long[512_000 - 1 : 512_000 + 1] == b"/p"
    assert RobotsRules.from_answer("ok", 200, long).allows("http://h/a", "Diptych"), "a rule that was cut is none"


def test_which_directives_forbid() -> None:
    everything = ("noindex", "noimageindex", "noai", "noimageai", "noml")
    assert forbidden(frozenset({"noai", "noarchive"}), everything, image=False) == "noai"
    assert forbidden(frozenset({"noimageai"}), everything, image=False) == ""
    assert forbidden(frozenset({"noimageai"}), everything, image=True) == "noimageai"
    assert forbidden(frozenset({"noai"}), ("noindex",), image=True) == ""
    assert forbidden(frozenset({"none"}), everything, image=False) == "noindex", "none is noindex and nofollow"
    assert forbidden(frozenset({"none"}), ("noai",), image=False) == ""


def test_whom_directives_are_for() -> None:
    assert directives(["googlebot: noindex\nnoai"], "Diptych") == {"noai"}, "two headers, each for itself"
    assert directives(["noai, googlebot: noindex", "diptych: noml"], "Diptych") == {"noai", "noml"}
    dated = "unavailable_after: Friday, 25-Jun-10 15:00:00 UTC, noai"
    assert "noai" in directives([dated], "Diptych"), "a time is no crawler's name"


def test_how_long_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [retry_after(value) for value in ("", "²", "12²", "nonsense", "-5")] == [0.0] * 5
    assert retry_after(" 7 ") == 7.0
    moment = datetime(2094, 11, 2, 8, 48, 49, tzinfo=UTC).timestamp()
    monkeypatch.setattr("diptych.sources.answers.time.time", lambda: moment)
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    time.tzset()
    forms = ("Sat, 02 Nov 2094 08:49:37 GMT", "Tue Nov  2 08:49:37 2094")
    assert [retry_after(form) for form in forms] == [48.0, 48.0], "each form names universal time"
    monkeypatch.undo()
    time.tzset()


def test_the_encoding_of_a_page() -> None:
    html = '<meta charset="%s"><p>café</p>'
    for label in ("undefined", "unicode_escape", "raw_unicode_escape", "utf-7", "hex", "idna", "x-none"):
        assert "café" in decode_page((html % label).encode(), ""), label
        assert "café" in decode_page(b"<p>caf\xe9</p>", f"text/html; charset={label}"), label
    assert decode_page("<p>桥</p>".encode("utf-16-le"), "text/html; charset=utf-16le") == "<p>桥</p>"
    assert decode_page("<p>桥</p>".encode("utf-16-be"), "text/html; charset=UTF-16BE") == "<p>桥</p>"
    assert decode_page(b"<p>plain</p>", "text/html; charset=utf-16") == "<p>plain</p>", "the header is wrong"
    assert decode_page((html % "utf-16").encode(), "") == html % "utf-16"
    assert decode_page("<p>мост</p>".encode("koi8-r"), "text/html; charset=KOI8-R") == "<p>мост</p>"
    assert decode_page("<p>桥</p>".encode("gbk"), "text/html; charset=cp936") == "<p>桥</p>"


RSS = b"""<?xml version="1.0"?><rss version="2.0"><channel><link>http://h/</link><item><link>http://h/1</link></item>
<item><guid>http://h/2</guid></item><item><guid isPermaLink="false">x</guid></item></channel></rss>"""
ATOM = b"""<feed xmlns="http://www.w3.org/2005/Atom"><link href="http://h/"/><entry><link rel="self" href="http://h/s"/>
<link href="http://h/1"/></entry></feed>"""
SITEMAP = b"""<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:i="http://www.google.com/schemas/sitemap-image/1.1">
<url><loc> http://h/1 </loc><i:image><i:loc>http://h/i.jpg</i:loc></i:image></url></urlset>"""
INDEX = b"<sitemapindex><sitemap><loc>http://h/s1.xml</loc></sitemap></sitemapindex>"


def test_sitemaps_and_feeds() -> None:
    assert read_feed(RSS) == Listed(("http://h/1", "http://h/2"))
    assert read_feed(ATOM) == read_feed(SITEMAP) == read_feed(gzip.compress(SITEMAP)) == Listed(("http://h/1",))
    based = b'<feed xml:base="http://h/blog/"><entry xml:base="2024/"><link href="a.html"/></entry>'
    for start, page in ((b"", "http://h/blog/2024/a.html"), (b"/", "http://h/a.html"), (b"//x/", "http://x/a.html")):
        assert read_feed(based.replace(b"2024/", start or b"2024/") + b"</feed>") == Listed((page,))
    assert read_feed(ATOM.replace(b"http://h/1", b"http://[")) == Listed(("http://[",)), "for whoever joins it"
    assert read_feed(INDEX) == Listed(sitemaps=("http://h/s1.xml",))
    assert read_feed(b"\xef\xbb\xbfhttp://h/1\r\nhttp://h/2\n") == Listed(("http://h/1", "http://h/2"))
    for data in (b"", b"<html><body>no", b"hello", b"\x1f\x8bxx", b"<"):
        assert not read_feed(data).readable
    laughs = (
        b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><urlset><url><loc>http://h/&b;</loc></url></urlset>'
    )
    assert b"haha" not in repr(read_feed(laughs)).encode()
    assert "root:" not in repr(
        read_feed(b'<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]><urlset><url><loc>&a;</loc></url></urlset>')
    )


def test_feeds_that_are_not_quite_xml() -> None:
    item = "<rss><channel><item><title>a&nbsp;b &amp; c</title><link>%s</link></item></channel></rss>"
    wanted = Listed(("http://h/a?x=1&y=2",))
    for link in ("x=1&amp;y=2", "x=1&y=2", "<![CDATA[x=1&y=2]]>", "<!-- c&d -->x=1&#38;y=2"):
        link = link.replace("x=1", "http://h/a?x=1")
        assert read_feed((item % link).encode()) == wanted, link
        assert read_feed((item % link).replace("<title>", "<title>\x01").encode()) == wanted, "after a fault"
    declared = '<?xml version="1.0" encoding="utf-16"?>' + item % "http://h/a?x=1&amp;y=2"
    for codec in ("utf-16", "utf-16-le", "utf-16-be"):
        assert read_feed(declared.encode(codec)) == wanted, codec
    assert read_feed((item % "http://h/a?x=1&amp;y=2").encode("utf-8-sig")) == wanted
    media = b'<media:content url="x"/><atom:link/>'
    undeclared = b"<rss><channel><item>%s<link>http://h/1</link></item></channel></rss>" % media
    assert read_feed(undeclared) == Listed(("http://h/1",))
    assert read_feed(b"<urlset><url><loc>http://h/caf&eacute;</loc></url></urlset>") == Listed(("http://h/café",))
    assert not read_feed(b"<![CDATA[" * 200_000).readable, "in linear time"


def test_sniffing() -> None:
    assert looks_like_image(b"\x89PNG\r\n\x1a\n....", "text/html") and looks_like_image(
        b"\xfe\x01\x99\x00broken", "image/jpeg"
    )
    for data in (b"", b"<html>", b"  <?xml version", b"<svg", b"not here", b"%PDF-1"):
        assert not looks_like_image(data, "image/jpeg")
    assert is_page(b"hello", "text/html; charset=x") and is_page(b"<!doctype html>", "application/octet-stream")
    assert not is_page(b"\x89PNG\r\n\x1a\n", "text/html") and not is_page(b"abc", "application/pdf")
    comments = b"<?xml version='1.0'?>\n" + b"<!-- x -->\n" * 100
    assert is_feed(comments + b"<RSS>") and not is_feed(comments + b"<html>"), "in linear time"
