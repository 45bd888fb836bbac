"""A hostile server: whatever it does, every address ends with a reason, in time, and the crawl finishes.

``PAGES``, ``BODIES``, ``IMAGES``, ``SITEMAPS``, ``ROBOTS`` and the two redirects inside are the list of misbehaviours;
each stands with the reasons that its address may end with. The file is long because that list is.
"""

from __future__ import annotations

import gzip
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from selectolax.lexbor import LexborHTMLParser

from diptych.sources.bounded import DEPTH, bounded
from diptych.sources.crawl import crawl
from diptych.sources.html import Html
from diptych.sources.pictures import page_pictures
from diptych.sources.registry import open_source
from diptych.storage.fetch_log import Attempt, DocumentRow, FetchLog
from diptych.storage.snapshot import cut_snapshot
from diptych.storage.store import Store

Handler = BaseHTTPRequestHandler
Reply = Callable[[Handler], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
TEXT = b"<p>" + b"The quick brown fox jumps over the lazy dog and says so. " * 8 + b"</p>"
PAGE = b"<html><head><title>T</title></head><body><article>" + TEXT + b"</article></body></html>"
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256))
TOTAL, LIMIT = 1.2, 300_000
PATIENT = {"timeout": 30.0, "total_time": 60.0}
"""For answers that are wrong but whole: a loaded machine may take its time, the reason stays the same."""


def raw(*pieces: bytes, pause: float = 0.0, again: bytes = b"") -> Reply:
    """Bytes as they are; ``again`` is then sent until the other side goes away."""

    def reply(request: Handler) -> None:
        request.close_connection = True
        for piece in pieces:
            request.wfile.write(piece)
            request.wfile.flush()
            time.sleep(pause)
        for _ in range(100_000 if again else 0):
            request.wfile.write(again)
            request.wfile.flush()
            time.sleep(pause)

    return reply


def sized(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> Reply:
    """A whole answer with these header lines."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), b"Connection: close", *headers]
    return raw(b"\r\n".join(lines) + b"\r\n\r\n" + body)


def to(location: bytes, status: bytes = b"302 Found") -> Reply:
    return sized(b"", b"Location: " + location, status=status)


def silent(request: Handler) -> None:
    request.close_connection = True
    time.sleep(3)


def html(body: bytes) -> Reply:
    return sized(b"<html><body>" + body + b"</body></html>", b"Content-Type: text/html")


def bomb(wbits: int) -> bytes:
    packer = zlib.compressobj(9, wbits=wbits)
    return packer.compress(bytes(20_000_000)) + packer.flush()


GZ = b"Content-Encoding: gzip"
PAGES: dict[str, tuple[Reply, str]] = {
    # time
    "silence": (silent, "timeout"),
    "slow status line": (raw(*[bytes([c]) for c in b"HTTP/1.1 200 OK"], pause=0.2), "timeout"),
    "slow headers": (raw(OK, again=b"X: y\r\n", pause=0.1), "timeout"),
    "slow body": (raw(OK + b"Content-Length: 9999\r\n\r\n", again=b"x", pause=0.05), "timeout"),
    "slow chunks": (raw(OK + b"Transfer-Encoding: chunked\r\n\r\n", again=b"1\r\nx\r\n", pause=0.05), "timeout"),
    "continue for ever": (raw(again=b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.01), "timeout"),
    # size
    "endless body": (raw(OK + b"\r\n", again=b"x" * 65_536), "too_large"),
    "endless chunks": (
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\n", again=b"ffff\r\n" + b"x" * 65_535 + b"\r\n"),
        "too_large",
    ),
    "announced too large": (raw(OK + b"Content-Length: 99999999999\r\n\r\n"), "too_large"),
    "gzip bomb": (sized(bomb(31), GZ), "too_large"),
    "deflate bomb": (sized(bomb(15), b"Content-Encoding: deflate"), "too_large"),
    "gzip in gzip bomb": (
        sized(gzip.compress(bomb(31)), b"Content-Encoding: gzip, gzip"),
        "too_large",
    ),
    "a hundred encodings": (sized(b"x", b"Content-Encoding: " + b", ".join([b"gzip"] * 100)), "content_encoding"),
    # framing
    "length too long": (raw(OK + b"Content-Length: 9999\r\n\r\n" + PAGE), "broken_body"),
    "length too short": (raw(OK + b"Content-Length: 9\r\n\r\n" + PAGE), "no_text"),
    "negative length": (raw(OK + b"Content-Length: -5\r\n\r\n" + PAGE), "*"),
    "length in words": (raw(OK + b"Content-Length: many\r\n\r\n" + PAGE), "*"),
    "two lengths": (raw(OK + b"Content-Length: 5\r\nContent-Length: 7\r\n\r\n" + PAGE), "bad_response"),
    "chunk without size": (raw(OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n" + PAGE), "broken_body"),
    "chunk that breaks off": (raw(OK + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n" + PAGE), "broken_body"),
    "chunk of 2**64": (
        raw(OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + PAGE),
        "broken_body",
    ),
    "damaged gzip": (sized(b"\x1f\x8b\x08" + b"rubbish" * 9, GZ), "content_encoding"),
    "gzip that breaks off": (sized(gzip.compress(PAGE)[:-9], GZ), "*"),
    "unknown encoding": (sized(PAGE, b"Content-Encoding: br"), "content_encoding"),
    # heads
    "header flood": (raw(OK, b"".join(b"X-%d: y\r\n" % n for n in range(500)), b"\r\n" + PAGE), "bad_response"),
    "a header of a megabyte": (raw(OK + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n" + PAGE), "bad_response"),
    "headers for ever": (raw(OK, again=b"X-A: " + b"y" * 60_000 + b"\r\n"), "bad_response"),
    "headers in no encoding": (raw(OK + b"X-R\xff: \xfe\xff\r\nETag: \xff\x80\r\n\r\n" + PAGE), "*"),
    "content type in no encoding": (sized(PAGE, b"Content-Type: text/html; charset=\xff\xfe"), "*"),
    "header without a colon": (raw(OK + b"nonsense\r\n folded\r\n\r\n" + PAGE), "*"),
    "no HTTP at all": (raw(b"220 mail.example ESMTP\r\n"), "bad_response"),
    "status in words": (raw(b"HTTP/1.1 fine OK\r\n\r\n" + PAGE), "bad_response"),
    "status 999": (sized(PAGE, status=b"999 No"), "http_999"),
    "nothing": (raw(), "bad_response"),
    "a body without a head": (raw(PAGE), "bad_response"),
    "304 unasked": (sized(b"", b'ETag: "x"', status=b"304 Not Modified"), "http_304"),
    "206 unasked": (sized(PAGE, b"Content-Range: bytes 0-9/99", status=b"206 Partial Content"), "http_206"),
    "202": (sized(PAGE, status=b"202 Accepted"), "http_202"),
    "204": (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "empty"),
    "retry after nonsense": (sized(b"", b"Retry-After: \xe2\x88\x9e soon", status=b"503 Busy"), "http_503"),
    "retry after a date long ago": (sized(b"", b"Retry-After: Mon, 99 Foo 1900", status=b"503 Busy"), "http_503"),
    "an ETag of 60,000 letters": (sized(PAGE, b'ETag: "' + b"e" * 60_000 + b'"'), "*"),
    "an ETag that is code": (sized(PAGE, b'ETag: W/"\x01\x7f\xff'), "*"),
    "a date that is none": (sized(PAGE, b"Last-Modified: the day before\x0b yesterday \xff"), "*"),
    "a robots tag bomb": (sized(PAGE, b"X-Robots-Tag: " + b"a:," * 15_000), "*"),
    # redirects
    "redirect to itself": (to(b"?"), "redirect_loop"),
    "redirect to and fro": (to(b"/fro"), "redirect_loop"),
    "redirects without end": (to(b"/on/1"), "too_many_redirects"),
    "redirect to a file": (to(b"file:///etc/passwd"), "bad_redirect"),
    "redirect to ftp": (to(b"ftp://127.0.0.1/x"), "bad_redirect"),
    "redirect to a script": (to(b"javascript:alert(1)"), "bad_redirect"),
    "redirect to data": (to(b"data:text/html,x"), "bad_redirect"),
    "redirect to nowhere": (sized(b"", status=b"301 Moved"), "bad_redirect"),
    "redirect to half an address": (to(b"http://[::1"), "bad_redirect"),
    "redirect to no port": (to(b"http://127.0.0.1:99999999/"), "bad_redirect"),
    "redirect to a port of nobody": (to(b"http://127.0.0.1:1/"), "robots_unreachable"),
    "redirect in no encoding": (to(b"/\xff\xfe\x80"), "http_404"),
    "redirect with a newline": (to(b"/a\r\n\tb"), "http_404"),
    "redirect of 60,000 letters": (to(b"/" + b"a" * 60_000), "bad_redirect"),
}  # fmt: skip
BODIES: dict[str, tuple[Reply, str]] = {
    "100,000 levels": (html(b"<div>" * 50_000 + TEXT), "* no_text too_large"),
    "levels with false ends": (html(b"<div></i>" * 20_000 + TEXT), "* no_text"),
    "levels around pictures": (html(TEXT + b"<b>" * 2000 + b"<img src=a.jpg>" * 2000), "*"),
    "50,000 attributes": (html(b"<p " + b" ".join(b"a%d=1" % n for n in range(30_000)) + b">x</p>" + TEXT), "*"),
    "an attribute without end": (html(TEXT + b'<a href="' + b"x" * 200_000), "*"),
    "a comment without end": (html(TEXT + b"<!--" + b"-" * 200_000), "*"),
    "a srcset of commas": (html(TEXT + b"<img srcset='" + b"," * 200_000 + b"'>"), "*"),
    "a srcset of spaces": (html(TEXT + b"<img srcset='a" + b" " * 200_000 + b"b c'>"), "*"),
    "a srcset of numbers": (html(TEXT + b"<img srcset='a " + b"1." * 100_000 + b"w'>"), "*"),
    "a title of spaces": (html(b"<title>a" + b" \xc2\xa0" * 60_000 + b"|</title>" + TEXT), "*"),
    "a class of a caption": (html(TEXT + b"<div><img src=a.jpg><i class='" + b"-" * 200_000 + b"'>x</i></div>"), "*"),
    "a doctype of entities": (sized(b'<!DOCTYPE x [<!ENTITY a "' + b"&a;" * 50_000 + b'">]>' + PAGE), "*"),
    "a base that is a script": (html(b'<base href="javascript:x">' + TEXT + b"<a href=y>z</a>"), "*"),
    "charset zip": (sized(PAGE, b"Content-Type: text/html; charset=zip"), "*"),
    "charset of a path": (sized(PAGE, b"Content-Type: text/html; charset=../../etc"), "*"),
    "charset idna": (sized(PAGE + b"\xff", b"Content-Type: text/html; charset=idna"), "*"),
    "zeros": (html(b"\0" * 100_000 + TEXT), "*"),
    "lone surrogates": (html(TEXT + b"<p>\xed\xa0\x80 &#xD800; &#0; &#x110000;</p>"), "*"),
    "20,000 links": (html(TEXT + b"".join(b"<a href=/l%d>x</a>" % n for n in range(10_000))), "* listing"),
    "20,000 tables": (html(b"<table><tr><td>" * 10_000 + TEXT), "* no_text"),
    "a picture": (sized(JPEG, b"Content-Type: text/html"), "not_a_page"),
    "a PDF": (sized(b"%PDF-1.7 x", b"Content-Type: text/html"), "not_a_page"),
}
IMAGES: dict[str, tuple[Reply, str]] = {
    "page for a picture": (sized(PAGE, b"Content-Type: image/jpeg"), "not_an_image"),
    "script for a picture": (sized(b"<svg onload=x>", b"Content-Type: image/svg+xml"), "not_an_image"),
    "picture for ever": (raw(OK + b"\r\n" + JPEG, again=b"x" * 60_000), "too_large"),
    "picture that breaks off": (raw(OK + b"Content-Length: 9999\r\n\r\n" + JPEG), "broken_body"),
    "picture by drops": (raw(OK + b"Content-Length: 9999\r\n\r\n" + JPEG, again=b"x", pause=0.05), "timeout"),
    "no picture": (sized(b"", b"Content-Type: image/png"), "empty"),
}
LAUGHS = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
SITEMAP = b"<sitemapindex><sitemap><loc>%s</loc></sitemap></sitemapindex>"
SITEMAPS: dict[str, tuple[Reply, str]] = {
    "entities": (sized(b"<!DOCTYPE x [" + LAUGHS + b"]><urlset><url><loc>&a11;</loc></url></urlset>"), "*"),
    "file entity": (
        sized(b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><urlset><url><loc>&f;</loc></url></urlset>'),
        "*",
    ),
    "itself": (sized(SITEMAP % b"?"), "*"),
    "next": (sized(SITEMAP % b"/s/1" * 1), "*"),
    "deep": (sized(b"<urlset>" + b"<url>" * 50_000), "*"),
    "gzip inside": (sized(gzip.compress(b"<urlset>" + b" " * 30_000_000)), "*"),
    "no addresses": (sized(b"<urlset><url><loc>javascript:x</loc></url><url><loc>file:///x</loc></url></urlset>"), "*"),
}
ROBOTS: dict[str, tuple[Reply, str]] = {
    "robots redirect loop": (to(b"/robots.txt"), "*"),
    "robots redirect to a file": (to(b"file:///etc/passwd"), "*"),
    "robots for ever": (raw(OK + b"\r\n", again=b"Disallow: /private\n" * 3000), "*"),
    "robots by drops": (raw(OK + b"\r\n", again=b"U", pause=0.05), "robots_unreachable"),
    "robots of rubbish": (sized(b"\xff\xfe\0Disallow\0\0: /" * 5000), "*"),
    "robots that is a page": (sized(PAGE), "*"),
    "robots 500": (sized(b"", status=b"500 No"), "robots_unreachable"),
    "robots gzip bomb": (sized(bomb(31), GZ), "*"),
    "robots of stars": (sized(b"User-agent: *\nDisallow: /" + b"*a" * 40 + b"*b$\n"), "*"),
    "robots that wait for ever": (sized(b"User-agent: *\nCrawl-delay: 1e308\n"), "*"),
    "robots that wait no number": (sized(b"User-agent: *\nCrawl-delay: nan\nRequest-rate: 0/0\n"), "*"),
}


@pytest.fixture
def make() -> Iterator[Callable[[], Any]]:
    """Further servers, each an origin of its own."""
    from tests.unit.sources.conftest import Naughty

    made: list[Naughty] = []

    def one() -> Naughty:
        made.append(Naughty())
        return made[-1]

    yield one
    for server in made:
        server.close()


def run(store: Store, tmp_path: Path, **settings: Any) -> tuple[dict[str, Attempt], dict[str, str], float, Any]:
    """One crawl: settled rows by address, reasons of records by address, seconds, report."""
    fetch = {
        "allow_private": True, "timeout": 0.8, "total_time": TOTAL, "backoff": 0.01, "retries": 1, "per_host": 32,
        "max_page": LIMIT, "max_image": LIMIT, "host_failures": 1000, "max_crawl_delay": 0.05,
        **settings.pop("fetch", {}),
    }  # fmt: skip
    given = {"kind": "web", "name": "w", "contact": "me@example.org", "depth": 0, "min_success": 0, "fetch": fetch}
    source = open_source({**given, **settings}, tmp_path)
    started = time.monotonic()
    report = crawl(store, [source])
    seconds = time.monotonic() - started
    log = FetchLog(store.home)
    rows = list(log.rows(log.crawls()[-1]))
    attempts = {row.url: row for row in rows if isinstance(row, Attempt) and row.settled}
    late = fetch["total_time"] + 2.5
    slow = [(r.url, r.seconds) for r in rows if isinstance(r, Attempt) and r.seconds > late]
    assert not slow, "nothing hangs past its limit"
    documents = {row.url: row.code or "*" for row in rows if isinstance(row, DocumentRow)}
    assert cut_snapshot(store, [source]).rows >= 1
    return attempts, documents, seconds, report


def check(cases: dict[str, tuple[Reply, str]], urls: dict[str, str], found: dict[str, str]) -> None:
    wrong = {name: found.get(urls[name], "no reason") for name, (_, may) in cases.items()}
    wrong = {name: code for name, code in wrong.items() if code not in cases[name][1].split()}
    assert not wrong, wrong


def place(server: Any, cases: dict[str, tuple[Reply, str]], prefix: str, ending: str = "") -> dict[str, str]:
    """Answers under addresses; name -> address."""
    urls = {}
    for n, (name, (reply, _)) in enumerate(cases.items()):
        server.routes[f"/{prefix}{n}{ending}"] = reply
        urls[name] = f"{server.url}/{prefix}{n}{ending}"
    return urls


def test_forty_and_more() -> None:
    assert sum(map(len, (PAGES, BODIES, IMAGES, SITEMAPS, ROBOTS))) >= 40


def test_those_that_keep_us_waiting(store: Store, tmp_path: Path, server: Any) -> None:
    pages, images = ({n: c for n, c in cases.items() if is_slow(c)} for cases in (PAGES, IMAGES))
    urls, pictures = place(server, pages, "p"), place(server, images, "i", ".jpg")
    server.routes["/good"] = html(TEXT + b"".join(b"<img src=%s>" % url.encode() for url in pictures.values()))
    start = [*urls.values(), f"{server.url}/good"]
    attempts, documents, seconds, report = run(store, tmp_path, start=start)
    check(pages, urls, documents)
    check(images, pictures, {url: row.code for url, row in attempts.items()})
    assert documents[f"{server.url}/good"] == "*" and seconds < 25 and report.reasons


def is_slow(case: tuple[Reply, str]) -> bool:
    return "timeout" in case[1]


def test_pages_and_pictures(store: Store, tmp_path: Path, server: Any) -> None:
    pages, images = ({n: c for n, c in cases.items() if not is_slow(c)} for cases in (PAGES, IMAGES))
    urls = place(server, pages, "p")
    for n in range(60):
        server.routes[f"/on/{n}"] = to(b"/on/%d" % (n + 1))
    back = urls["redirect to and fro"].removeprefix(server.url)
    server.routes["/fro"] = to(back.encode())
    itself = urls["redirect to itself"].removeprefix(server.url)
    server.routes[itself] = to(itself.encode())
    pictures = place(server, images, "i", ".jpg")
    server.routes["/good"] = html(TEXT + b"".join(b"<img src=%s>" % url.encode() for url in pictures.values()))
    start = [*urls.values(), f"{server.url}/good"]
    attempts, documents, _, report = run(store, tmp_path, start=start, fetch=PATIENT)
    check(pages, urls, documents)
    check(images, pictures, {url: row.code for url, row in attempts.items()})
    assert documents[f"{server.url}/good"] == "*" and report.reasons
    again = run(store, tmp_path, start=start, fetch=PATIENT)[1]  # now with whatever ETags and dates came
    check(pages, urls, again)


def test_what_pages_hold(store: Store, tmp_path: Path, server: Any) -> None:
    urls = place(server, BODIES, "b")
    started = time.process_time()
    _, documents, seconds, _ = run(store, tmp_path, start=list(urls.values()), fetch=PATIENT)
    check(BODIES, urls, documents)
    assert seconds < 30 and time.process_time() - started < 20


def test_sitemaps(store: Store, tmp_path: Path, server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.sources.web._SITEMAPS", 20)
    urls = place(server, SITEMAPS, "m", ".xml")
    for n in range(100):
        server.routes[f"/s/{n}"] = sized(SITEMAP % (b"/s/%d" % (n + 1)))
    server.routes["/good"] = html(TEXT)
    found = run(store, tmp_path, sitemaps=list(urls.values()), start=[f"{server.url}/good"], fetch=PATIENT)
    assert found[1].pop(f"{server.url}/good") == "*" and found[2] < 10
    assert all(reason.startswith("http_404") and len(url) < 100 for url, reason in found[1].items()), (
        "&a11; as it stands"
    )
    assert set(urls.values()) <= set(found[0]) and sum(path.startswith("/s/") for path in server.asked) <= 20
    assert not any("passwd" in str(row) for row in found[0].values())


def test_robots(store: Store, tmp_path: Path, make: Callable[[], Any]) -> None:
    for slow in (False, True):
        cases = {name: case for name, case in ROBOTS.items() if ("drops" in name) == slow}
        urls = {}
        for name, (reply, _) in cases.items():
            origin = make()
            path = "/" + "a" * 60
            origin.routes |= {"/robots.txt": reply, path: html(TEXT)}
            urls[name] = origin.url + path
        _, documents, seconds, _ = run(store, tmp_path, start=list(urls.values()), fetch={} if slow else PATIENT)
        check(cases, urls, documents)
        assert seconds < 15


def test_ways_inside(store: Store, tmp_path: Path, server: Any, make: Callable[[], Any], monkeypatch: Any) -> None:
    """A public host (played by 127.0.0.1) that sends us to an inner one, by redirect and by name."""
    monkeypatch.setattr("diptych.sources.connections.is_public", lambda peer: peer == "127.0.0.1")
    listening = socket.create_server(("127.0.0.2", 0))
    port = listening.getsockname()[1]
    inner = {"address": b"http://127.0.0.2:%d/" % port, "number": b"http://2130706434:%d/" % port}
    for name, location in inner.items():
        server.routes[f"/{name}"] = to(location)
    busy = make()
    busy.routes |= {f"/{n}": sized(b"", b"Retry-After: 99999999999", status=b"429 No") for n in range(3)}
    start = [*(f"{server.url}/{name}" for name in inner), *(f"{busy.url}/{n}" for n in range(3))]
    _, documents, seconds, _ = run(store, tmp_path, start=start, fetch={"allow_private": False})
    listening.close()
    assert {documents[f"{server.url}/{name}"] for name in inner} == {"private_address"}
    assert {documents[f"{busy.url}/{n}"] for n in range(3)} <= {"http_429", "host_busy", "robots_unreachable"}
    assert seconds < 10


def test_many_pictures_that_share_what_stands_around_them() -> None:
    shown, words = b"".join(b"<img src=a%d>" % n for n in range(500)), b"<p class=x>y</p>" * 20_000
    for around in (b"<div class=thumb>%s%s</div>", b"<figure>%s%s</figure>", b"<section>%s%s</section>"):
        page = Html.parse(around % (shown, words), "text/html", "http://h/")
        started = time.monotonic()
        assert [picture.caption for picture in page_pictures(page)] == [""] * 500
        assert time.monotonic() - started < 10, "each is looked at once"
    long = Html.parse(b"<figure>%s<figcaption>%s</figcaption></figure>" % (shown, b"word " * 100_000), "", "http://h/")
    assert sum(len(picture.caption) for picture in page_pictures(long)) == 0, "what is so long is no caption"


def test_markup_within_bounds_is_left_alone() -> None:
    deep = "<div>" * 3000 + "İ<SCRIPT>'<b>\"</Script>x<p>" + "</div>" * 3000 + "y"
    many = "<a " + " ".join(f"a{n}='>'" for n in range(3000)) + ">z</a>"
    for text in (
        "<p>" * 5000,
        "<br>" * 5000,
        "<!-- " + "<div>" * 5000,
        "<i></i>" * 5000,
        "<a href='" + "x" * 20_000 + "'>",
    ):
        assert bounded(text) == text
    drawing = (
        "<svg viewBox='0 0 9 9'><title>a map</title>" + "<g><path d='M0 0'/><use href=\"#a\" /></g>" * 2000 + "</svg>"
    )
    assert bounded(drawing + "<div>x</div>") == drawing + "<div>x</div>", "a map is not deep"
    for start, tag in (
        ("", "<rt>"),
        ("", "<optgroup>"),
        ("<svg>", "<td>"),
        ("<math>", "<tr>"),
        ("<svg><title>", "<div>"),
        ("<svg><xmp>", "<b>"),
        ("<svg><foreignObject>", "<path/>"),
        ("<svg><div>", "<path/>"),
        ("<svg></svg>", "<path/>"),
        ("<svg>", "<path d=x/>"),
        ("<svg>", "<path d= />"),
    ):
        tree = LexborHTMLParser(bounded(start + tag * 3000 + "x"))
        assert len(tree.css(tag.strip("</>").split()[0])) <= DEPTH, (start, tag)
    for begins in ("<ruby>", "<select>"):
        holds = begins + ("<rt>x" if begins == "<ruby>" else "<optgroup><option>x") * 3000
        assert bounded(holds) == holds, "each ends where the next one begins"
    cut = bounded(deep)
    assert cut.count("<div>") == cut.count("</div>") == DEPTH and "x<p>" in cut and cut.endswith("y")
    assert "'<b>" not in cut, "what a script holds is no text"
    assert bounded(many) == "<a>z</a>"
