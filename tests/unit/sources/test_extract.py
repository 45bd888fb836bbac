"""Pages as they are found: charsets, base addresses, lazy images, captions, directives."""

from __future__ import annotations

import pytest

from diptych.records import Picture
from diptych.sources.charset import decode_page
from diptych.sources.extract import Extracted, extract
from diptych.sources.html import Html
from diptych.sources.language import detect_language, language_tag

URL = "http://news.example/2024/story.html"
TEXT = (
    "A crane lifted the old bridge out of the river on Monday, and the whole town stood on the bank to watch it go. "
    * 3
)


def html(body: str, head: str = "", **more: str) -> Html:
    page = f"<!doctype html><html lang='en'><head><meta charset=utf-8>{head}</head><body>{body}</body></html>"
    return Html.parse(page.encode(), more.get("content_type", "text/html"), URL)


def read(body: str, head: str = "") -> Extracted:
    return extract(html(body, head))


def images(body: str, head: str = "") -> list[tuple[str, str]]:
    return [(p.url, p.caption) for p in read(body, head).pictures]


def test_the_article_without_what_stands_around_it() -> None:
    found = read(
        f"<header><nav><a href=/>Home</a></nav></header><main><article><h1>The <em>bridge</em></h1><time>Monday</time>"
        f"<p>{TEXT}</p><figure><img src=a.jpg><figcaption>A crane</figcaption></figure>"
        "<h2>What next</h2><p>One&nbsp;more<br>line.</p>"
        f"<ul><li>first<li>second</ul><aside>Read this too</aside>"
        "<div class='share-buttons'>Tweet</div><script>var x</script>"
        f"</article></main><footer><p>{TEXT}</p></footer>",
        "<title>The bridge - The News</title><meta name=description content='A bridge  is\ngone.'>"
        "<meta name=keywords content='bridge, crane,bridge'>",
    )
    document = found.document
    assert document.title == "The bridge"
    assert document.text.split("\n") == [TEXT.strip(), "What next", "One more", "line.", "first", "second"]
    assert (document.summary, document.keyphrases, document.language) == (
        "A bridge is gone.",
        ("bridge", "crane"),
        "en",
    )
    assert (found.reason, found.pictures) == ("", (Picture("http://news.example/2024/a.jpg", "A crane"),))


def test_a_page_without_an_article_element() -> None:
    found = read(
        f"<div id=menu><a href=/a>One</a> <a href=/b>Two</a></div><div id=text><p>{TEXT}</p><p>{TEXT}</p></div>",
        "<title>Bridge | News</title>",
    )
    assert "crane lifted" in found.document.text and "Two" not in found.document.text
    assert (found.document.title, found.reason) == ("Bridge", "")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("<main><p>Short.</p></main>", "no_text"),
        ("", "no_text"),
        (
            "<div id=root></div><script src=app.js></script><noscript>Please enable JavaScript</noscript>",
            "needs_javascript",
        ),
        (
            "<main>" + "".join(f"<li><a href=/{n}>A headline of a story number {n}</a>" for n in range(30)) + "</main>",
            "listing",
        ),
        (
            "".join(f"<article><h2><a href=/{n}>Story {n}</a></h2><p>{TEXT[:90]}</p></article>" for n in range(9)),
            "listing",
        ),
    ],
)
def test_pages_that_are_no_documents(body: str, reason: str) -> None:
    assert read(body).reason == reason


def test_comments_that_are_articles_themselves() -> None:
    comments = "".join(f"<article class=c><p>I saw it too, and I say {n}.</p></article>" for n in range(3))
    found = read(f"<article><p>{TEXT}</p><section class='comments'>{comments}</section></article>")
    assert found.document.text == TEXT.strip()


def test_where_an_image_is() -> None:
    assert images("<img src=a.jpg><img src=' /b.jpg '><img src=//cdn.example/c.jpg><img src='d.jpg#x'>") == [
        ("http://news.example/2024/a.jpg", ""),
        ("http://news.example/b.jpg", ""),
        ("http://cdn.example/c.jpg", ""),
        ("http://news.example/2024/d.jpg", ""),
    ]
    blank = "data:image/gif;base64,R0lG"
    for markup in (
        f"<img src='{blank}' data-src=/x.jpg>",
        f"<img src='{blank}' data-srcset='/s.jpg 100w, /x.jpg 900w'>",
        "<img src=/spinner.gif data-original=/x.jpg>",
        "<img src=/s.jpg srcset='/s.jpg 100w, /x.jpg 640w, /m.jpg 320w'>",
        "<img src=/s.jpg srcset='/s.jpg, /x.jpg 2x'>",
        "<picture><source srcset='/s.webp 1x, /x.jpg 3x'><img src=/s.jpg></picture>",
        f"<img src='{blank}' srcset='/x.jpg'>",
        "<noscript><img src=/x.jpg></noscript>",
        "<img data-src=/x.jpg><noscript><img src=/x.jpg></noscript>",
        "<amp-img src=/x.jpg></amp-img>",
        "<picture><source type=image/svg+xml srcset=/s.svg><img src=/x.jpg></picture>",
        "<picture><source type='image/JXL ' srcset=/s.jxl><source srcset=/x.jpg><img src=/s.jpg></picture>",
        "<img src='\\x.jpg'>",
    ):
        assert images(markup) == [("http://news.example/x.jpg", "")], markup
    assert images(f"<img src='{blank}'><img><img src=''><img src='javascript:1'><img src='http://[bad/'>") == []
    assert images("<img src='/a,b.jpg' srcset='/a,b.jpg 1x, /c,d.jpg 2x'>") == [("http://news.example/c,d.jpg", "")]


def test_base_and_canonical_addresses() -> None:
    assert images("<img src=a.jpg>", "<base href='http://static.example/pics/'><base href=/no/>") == [
        ("http://static.example/pics/a.jpg", "")
    ]
    for base in ("javascript:0", "/" + "a" * 100_000 + "/"):  # the latter would stand before each reference
        assert images("<img src=a.jpg>", f"<base href='{base}'>") == [("http://news.example/2024/a.jpg", "")]


def test_captions_by_trust() -> None:
    assert (
        images("<figure><a><img src=a alt='An alt'></a><figcaption>A <b>fig</b>\ncaption</figcaption></figure>")[0][1]
        == "A fig caption"
    )
    assert images("<figure><img src=a alt='An alt'><figcaption> </figcaption></figure>")[0][1] == "An alt"
    parts = "<figcaption><p>H<sub>2</sub>O.</p><p>By<br>night.</p><div class=credit>Ann</div></figcaption>"
    assert images(f"<figure><img src=a>{parts}</figure>")[0][1] == "H2O. By night. Ann"
    assert read(f"<article><h1>Bridge<br>opens</h1>{TEXT}</article>").document.title == "Bridge opens"
    assert images("<div><img src=a></div><p class='wp-caption-text'>Near</p>")[0][1] == "Near"
    assert images("<div><img src=a><small>Small print</small></div>")[0][1] == "Small print"
    assert images("<div><img src=a> words between <p class=caption>Far</p></div>")[0][1] == ""
    assert images("<div><img src=a><img src=b></div><p class=caption>Whose?</p>") == [
        ("http://news.example/2024/a", ""),
        ("http://news.example/2024/b", ""),
    ]
    two = read("<img src=a alt=''><figure><img src=a><figcaption>Later</figcaption></figure>").pictures
    assert [p.caption for p in two] == ["Later"], "one mention with a caption is enough"


def test_directives_of_header_and_meta() -> None:
    page = html(
        "",
        "<meta name=robots content='noindex, NoFollow'><meta name=diptych content=noai>"
        "<meta name=otherbot content=noml>",
    )
    assert page.directives("", "Diptych") == {"noindex", "nofollow", "noai"}
    plain = html("")
    assert plain.directives("otherbot: noai, noindex", "Diptych") == frozenset()
    assert plain.directives("diptych: noimageai", "Diptych") == {"noimageai"}
    assert plain.directives("unavailable_after: 25 Jun 2030, noai", "Diptych") >= {"noai"}


CHINESE = "中国的新闻，今天有一座桥。"


@pytest.mark.parametrize(
    ("data", "content_type", "text"),
    [
        (f"<meta charset=gb2312>{CHINESE}".encode("gbk"), "", CHINESE),
        (CHINESE.encode("gbk"), "text/html; charset=GBK", CHINESE),
        (CHINESE.encode("gb18030"), "text/html", CHINESE),
        (f"<meta charset=gbk>{CHINESE}".encode(), "", CHINESE),
        (CHINESE.encode(), "text/html; charset=iso-8859-1", CHINESE),
        (b"\xef\xbb\xbf" + CHINESE.encode(), "text/html; charset=gbk", CHINESE),
        (b"\xff\xfe" + CHINESE.encode("utf-16-le"), "", CHINESE),
        ("naïve “quotes”".encode("cp1252"), "text/html; charset=ISO-8859-1", "naïve “quotes”"),
        ("naïve".encode("latin-1"), "", "naïve"),
        ("naïve".encode("latin-1"), "text/html; charset=utf-8", "naïve"),
        ("日本語の新聞".encode("shift_jis"), "text/html; charset=Shift_JIS", "日本語の新聞"),
        (b"plain", "text/html; charset=made-up", "plain"),
        (b"<meta charset=utf-16>plain", "", "plain"),
        (b"<meta charset=base64>plain", "", "plain"),
        ("Schöne Grüße".encode() + b"\xa0", "text/html; charset=utf-8", "Schöne Grüße"),
        ("Schöne Grüße".encode() + b"\xa0", "", "Schöne Grüße"),
        (f"<meta charset=gb2312>{CHINESE}".encode("gbk") + b"\xb0<p>", "text/html; charset=utf-8", CHINESE),
    ],
)
def test_charset_troubles(data: bytes, content_type: str, text: str) -> None:
    assert text in decode_page(data, content_type)


def test_languages() -> None:
    texts = {
        "en": TEXT,
        "zh": CHINESE * 3,
        "ja": "これは日本語の文章です。橋があります。",
        "de": "Der Kran hat die alte Brücke aus dem Fluss gehoben und die ganze Stadt ist auf den Beinen.",
        "fr": "La grue a soulevé le vieux pont de la rivière et toute la ville est venue pour voir le spectacle.",
        "ru": "Кран поднял старый мост из реки.",
        "": "12 345 !!",
    }
    assert {language: detect_language(text) for language, text in texts.items()} == {
        language: language for language in texts
    }
    assert [language_tag(tag) for tag in ("zh-Hans-CN", "EN_us", "", "x-klingon", "eng")] == ["zh", "en", "", "", ""]


def test_odd_markup_ends() -> None:
    deep = "<div>" * 5000 + TEXT + "</div>" * 5000
    assert "crane" in extract(html(f"<article>{deep}</article>")).document.text
    for data in (b"", b"\0\0\0", b"<", b"<html", b"<!--", b"\xff" * 500, b"<table><p><table>" * 300):
        extract(Html.parse(data, "text/html", URL))


def test_captions_of_markup_older_than_figure() -> None:
    docbook = (
        "<div class=figure><p class=title><strong>Figure 1. Views</strong></p><div class=figure-contents>"
        "<div class=mediaobject><img src=a alt='Both views'><div class=caption><p>As grid</p></div></div>"
        "<div class=mediaobject><img src=b alt='Both views'></div></div></div>"
        "<div class=figure><p class=title>Figure 2. Alone</p><div class=mediaobject><img src=c></div></div>"
    )
    assert [caption for _, caption in images(docbook)] == ["As grid", "Both views", "Figure 2. Alone"]
    wiki = "<div class=thumbinner><img src=a alt=Heron><div class=thumbcaption>Grey</div></div>"
    assert images(f"<div class='thumb tright'>{wiki}</div>")[0][1] == "Grey"
    shared = "<div class=figure><img src=a><img src=b alt=B><p class=caption>Left and right</p></div>"
    assert [caption for _, caption in images(shared)] == ["Left and right"] * 2


def test_words_in_spans_stay_whatever_their_class() -> None:
    body = f"<div><p>Go to <span class=guimenu>File</span> → <span class=guimenuitem>Open</span>. {TEXT}</p></div>"
    assert "Go to File → Open." in read(f"<h3>T</h3>{body}{body.replace('Go', 'Then go')}").document.text
