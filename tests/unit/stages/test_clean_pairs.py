"""Filter lists and the rules on a document's use of an image."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from diptych.naming import pair_key
from diptych.stage import Batch, RowState, Status
from diptych.stages.clean_pairs import CleanPairs, CleanPairsConfig
from diptych.stages.filter_list import FilterList, own_filters


@pytest.mark.parametrize(
    ("line", "url", "blocked"),
    [
        ("||ads.example^", "https://ads.example/x.png", True),
        ("||ads.example^", "https://cdn.ads.example:8080/x.png", True),
        ("||ads.example^", "https://badads.example/x.png", False),
        ("||ads.example^", "https://news.example/?u=ads.example", False),
        ("||news.example/promo/", "https://www.news.example/promo/1.jpg", True),
        ("||news.example/promo/", "https://www.news.example/a/promo/1.jpg", False),
        ("/banners/*", "http://a.example/img/banners/1.gif", True),
        ("/banners/*", "http://a.example/img/mybanners/1.gif", False),
        ("-300x250.", "http://a.example/pic-300x250.jpg", True),
        ("/ad^", "http://a.example/ad?x", True),
        ("/ad^", "http://a.example/ad", True),
        ("/ad^", "http://a.example/adder", False),
        ("|http://a.", "http://a.example/x", True),
        ("|http://a.", "https://b.example/?http://a.", False),
        (".gif|", "http://a.example/x.gif", True),
        (".gif|", "http://a.example/x.gif?y", False),
        ("/img/*/ad-", "http://a.example/img/2024/ad-1.png", True),
        (r"/ad[0-9]{3}\./", "http://a.example/ad123.png", True),
        (r"/ad\D\W/", "http://a.example/AD-/1.png", True),
        (r"/ad\D\W/", "http://a.example/ad1a.png", False),
        ("||ads.", "http://ads.a.example/1.png", True),
        ("||a.exam", "http://b.A.example/1.png", True),
        ("||a.exam", "http://ba.example/1.png", False),
        ("/Promo/*$match-case", "http://a.example/Promo/x.png", True),
        ("/Promo/*$match-case", "http://a.example/promo/x.png", False),
        ("||A.example^$match-case", "http://a.example/x.png", True),
        ("/promo/*$image", "http://a.example/promo/x.png", True),
        ("/promo/*$script", "http://a.example/promo/x.png", False),
        ("/promo/*$popup", "http://a.example/promo/x.png", False),
        ("/promo/*$popup,image", "http://a.example/promo/x.png", True),
        ("||a.example^$third-party", "http://a.example/x.png", True),
        ("||a.example^$image,~third-party", "http://a.example/x.png", False),
        ("a.example##.banner", "http://a.example/banner", False),
        ("! /banner/", "http://a.example/banner/", False),
        ("/BANNERS/*", "http://A.example/Banners/1.gif", True),
        ("*", "http://a.example/", False),
        ("/(/", "http://a.example/(", False),
    ],
)
def test_filter_syntax(line: str, url: str, blocked: bool) -> None:
    assert (FilterList([line]).match(url) is not None) is blocked


@pytest.mark.parametrize(
    ("url", "page", "elsewhere"),
    [
        ("https://cdn.news.example/x.png", "https://www.news.example/1", False),
        ("https://cdn.news.co.uk/x.png", "https://www.other.co.uk/1", True),
        ("https://cdn.news.co.uk/x.png", "https://news.co.uk/1", False),
        ("https://ads.example/x.png", "https://www.news.example/1", True),
        ("http://10.0.0.1/x.png", "http://10.0.0.2/", True),
        ("https://ads.example/x.png", "file:a.json", True),
        ("https://ads.example/x.png", "", True),
    ],
)
def test_some_filters_are_for_pictures_of_other_sites(url: str, page: str, elsewhere: bool) -> None:
    for option, blocked in (("3p", elsewhere), ("~third-party", not elsewhere), ("first-party", not elsewhere)):
        assert (FilterList([f"/x.png${option}"]).match(url, page) is not None) is blocked, option
        assert FilterList([f"/x.png\n@@/x.png${option}"]).match(url, page) == (None if blocked else "/x.png")


def test_exceptions_take_back() -> None:
    filters = FilterList(["||ads.example^\n@@||ads.example/press/*"])
    assert filters.match("https://ads.example/x.png") == "||ads.example^"
    assert filters.match("https://ads.example/press/x.png") is None


def test_a_long_list_is_fast() -> None:
    filters = FilterList(["\n".join(f"||host{n}.example^\n/path{n}/thing-{n}." for n in range(20_000))])
    assert filters.match("https://cdn.host777.example/a/b/c.png") == "||host777.example^"
    assert all(filters.match(f"https://news.example/photos/{n}.jpg") is None for n in range(2000))


def test_own_list_blocks_the_usual_and_nothing_else() -> None:
    filters = FilterList([own_filters()])
    for url in ("https://ad.doubleclick.net/x.gif", "http://x.example/ads/1.png", "http://ads2.x.example/1.png"):
        assert filters.match(url)
    for url in (
        "http://x.example/uploads/1.png",
        "http://heads.example/1.png",
        "file:///data/a.jpg",
        "",
        "http://[bad",
    ):
        assert filters.match(url) is None


def test_a_changed_list_needs_a_new_version() -> None:
    """When this fails: bump the version of clean_pairs, then note the new hash."""
    digest = hashlib.sha256(own_filters().encode()).hexdigest()
    assert (CleanPairs.version, digest[:16]) == (3, "ff40a8d715f6e8b4")


def run(key: str, url: str = "", better: str | None = None, recurs: bool = False, **config: Any) -> RowState:
    stage = CleanPairs(CleanPairsConfig(**config))
    stage.setup("cpu")
    columns = {
        "documents.url": "", "pairs.url": url, "pairs.caption": "a caption", "clean.width": 400, "clean.height": 300,
        "near_duplicates.group": "g", "near_duplicates.duplicate_of": better,
        "near_duplicates.distance": None if better is None else 3, "near_duplicates.recurring": recurs,
    }  # fmt: skip
    out = stage.process(Batch((key,), {name: [value] for name, value in columns.items()}, stage))
    out.check("clean_pairs")
    assert out.values["area"] == [120_000] and out.values["caption_characters"] == [9]
    return out.states[0]


def test_each_rule() -> None:
    first, second = pair_key("r", "i"), pair_key("r", "i", 2)
    assert run(first).status is Status.OK
    assert run(first, "https://x.doubleclick.net/1.png").code == "advertisement"
    again = run(second)
    assert (again.code, again.value, again.threshold) == ("exact_duplicate", 2.0, 1.0)
    near = run(first, better="other")
    assert (near.code, near.value) == ("near_duplicate", 3.0)
    assert run(first, recurs=True).code == "recurring"


def test_each_rule_can_be_switched_off() -> None:
    second = pair_key("r", "i", 2)
    off = {"advertisement": False, "exact_duplicate": False, "near_duplicate": False, "recurring": False}
    assert run(second, "https://x.doubleclick.net/1.png", "other", True, **off).status is Status.OK
    assert run(pair_key("r", "i"), "https://x.doubleclick.net/1.png", own_list=False).status is Status.OK


def test_a_users_list_is_read_and_its_content_is_a_setting(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("||evil.example^\n")
    config = CleanPairsConfig(filter_list=str(file))
    assert run(pair_key("r", "i"), "http://evil.example/1.png", filter_list=str(file)).code == "advertisement"
    assert CleanPairsConfig(**config.model_dump()) == config
    file.write_text("||other.example^\n")
    assert CleanPairsConfig(filter_list=str(file)) != config
    with pytest.raises(ValidationError, match="SHA-256"):
        CleanPairsConfig(**config.model_dump())
    with pytest.raises(ValidationError, match="cannot read"):
        CleanPairsConfig(filter_list=str(tmp_path / "absent"))
