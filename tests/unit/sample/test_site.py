"""The site as a whole: determinism, growth, changes, dirt, pages, and that nothing is held in memory."""

from __future__ import annotations

import gc
import hashlib
import json
import tracemalloc
from collections import Counter

import pytest

from diptych.sample import Site, write
from diptych.sample.schedule import ACCEPTED, REJECTED, TRAPS

REASONS = {
    "undecodable", "animated", "thumbnail", "aspect_ratio", "advertisement", "uniform", "exact_duplicate",
    "near_duplicate",
    "recurring", "http_404", "http_410", "http_500", "redirect_loop", "robots", "timeout", "not_an_image",
}  # fmt: skip


def digest(site: Site, start: int = 0, stop: int | None = None) -> str:
    total = hashlib.sha256()
    for document in site.iterate(start, stop):
        total.update(site.respond(document.path).body)
        total.update(site.truth(document.index).json().encode())
        for image in document.images:
            total.update(site.image_bytes(image))
    return total.hexdigest()


def test_equal_seeds_give_equal_bytes_and_others_do_not():
    assert digest(Site(5, seed=7)) == digest(Site(5, seed=7))
    assert digest(Site(5, seed=7)) != digest(Site(5, seed=8))


def test_a_longer_site_begins_with_the_same_documents():
    assert digest(Site(24), 18, 24) == digest(Site(25), 18, 24) == digest(Site(1000), 18, 24)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_24_documents_have_every_kind_of_dirt(seed):
    site = Site(24, seed)
    images = [image for document in site.iterate() for image in document.images]
    assert {image.reason for image in images if not image.keep} == REASONS
    assert {image.reason for image in images if image.keep} == {None}
    assert set(REJECTED) <= {image.role for image in images}
    odd = {image.delivery for image in images if image.keep} | {image.plan.encoding for image in images if image.keep}
    assert set(ACCEPTED) - {"wrong_extension"} <= odd
    assert any(image.path.endswith(".png") and image.plan.encoding == "jpeg" for image in images if image.keep)
    assert {trap.kind for trap in site.traps()} == set(TRAPS)
    assert any(not document.kept for document in site.iterate()), "a page without pictures"
    assert any(image.shared_with for image in images)
    styles = [document.style for document in site.iterate()]
    assert {style.charset for style in styles} == {"utf-8", "gbk", "iso-8859-1"}
    assert {style.delivery for style in styles} == {"ok", "flaky", "slow", "redirect"}
    assert any(style.base_href for style in styles) and not all(style.description for style in styles)


def test_600_documents_have_ten_of_every_kind_in_proportion():
    counts: Counter[str] = Counter()
    kept = 0
    for document in Site(600).iterate():
        counts.update(image.role for image in document.images if not image.keep)
        counts.update(image.plan.encoding for image in document.kept)
        counts.update(image.delivery for image in document.kept)
        kept += len(document.kept)
    for kind in (
        *REJECTED,
        "recurring",
        "flaky",
        "slow",
        "redirect",
        "cmyk",
        "png16",
        "palette",
        "exif",
        "grey",
        "alpha",
        "webp",
    ):
        assert 10 <= counts[kind] <= kept, (kind, counts[kind])


def test_without_dirt_everything_is_kept():
    site = Site(30, dirt=False)
    assert all(image.keep for document in site.iterate() for image in document.images)
    assert not list(site.traps())


def test_ten_candidates_a_document():
    site = Site(6, images_per_document=(10, 10), dirt=False)
    assert {len(document.kept) for document in site.iterate()} == {10}


def test_changes_touch_what_they_name_and_nothing_else():
    site = Site(24, seed=1)
    captioned = next(
        document.index
        for document in site.iterate()
        if len({image.caption.text for image in document.kept if image.caption}) > 1
    )
    others = [index for index in range(24) if index != captioned]
    first, second, third, fourth = others[:4]
    changed = site.with_changes(
        {captioned: "move_caption", first: "edit_word", second: "edit_text", third: "add_image", fourth: "remove"}
    )
    for index in others[4:]:
        assert changed.truth(index) == site.truth(index)
    before, after = site.truth(captioned), changed.truth(captioned)
    assert before.text == after.text
    assert sorted(i.caption.text for i in before.images if i.caption) == sorted(
        i.caption.text for i in after.images if i.caption
    )
    assert [i.caption for i in before.images] != [i.caption for i in after.images]
    words = [
        (a, b) for a, b in zip(site.truth(first).text.split(), changed.truth(first).text.split(), strict=True) if a != b
    ]
    assert len(words) == 1
    assert sum(a != b for a, b in zip(site.truth(second).sentences, changed.truth(second).sentences, strict=True)) == 1
    assert len(changed.truth(third).images) == len(site.truth(third).images) + 1
    assert changed.respond(site.document(fourth).path).status == 410
    assert len(list(changed.iterate())) == 23
    assert changed.document(first).published > site.document(first).published
    assert site.document(fourth).path.encode() not in changed.respond("/").body


def test_edit_word_works_on_every_document_and_keeps_trees_true():
    for index in range(40):
        site = Site(40)
        old, new = site.truth(index), site.with_changes({index: "edit_word"}).truth(index)
        assert old.text != new.text and len(old.sentences) == len(new.sentences)
        for sentence in new.sentences:
            assert sentence.tree is None or [leaf for leaf in sentence.tokens if leaf in sentence.text] == list(
                sentence.tokens
            )


def test_wrong_arguments_say_what_to_do():
    with pytest.raises(ValueError, match="images_per_document"):
        Site(3, images_per_document=(4, 2))
    with pytest.raises(ValueError, match="unknown change"):
        Site(3).with_changes({0: "explode"})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="no document 9"):
        Site(3).with_changes({9: "remove"})
    with pytest.raises(IndexError):
        Site(3).document(3)


def test_pages_carry_what_the_truth_says():
    site = Site(24)
    for document in site.iterate():
        page = site.respond(document.path)
        text = page.body.decode(document.style.charset)
        assert f'<html lang="{document.language}">' in text
        assert f"charset={document.style.charset}" in page.headers["Content-Type"]
        assert ('name="description"' in text) == document.style.description
        assert text.count("<img") == len(document.images)
        for image in document.images:
            assert image.path.lstrip("/") in text
            if image.caption is not None and image.caption.text.isascii():
                assert image.caption.text.replace("'", "&#x27;") in text


def test_everything_the_site_links_is_answered():
    site = Site(30)
    for path in ("/", "/page/2.html", "/robots.txt", "/sitemap.xml", "/feed.xml", "/about.html", "/contact.html"):
        assert site.respond(path).status == 200
    statuses = {"http_404": 404, "http_410": 410, "http_500": 500, "redirect": 302, "redirect_loop": 302}
    for document in site.iterate():
        for image in document.images:
            response = site.respond(image.path)
            assert response.status == statuses.get(image.delivery, 200), image.path
            if image.delivery == "redirect":
                assert site.respond(response.headers["Location"]).body == site.image_bytes(image)
            if image.delivery == "redirect_loop":
                assert site.respond(response.headers["Location"]).headers["Location"] == image.path
    for trap in site.traps():
        assert site.respond(trap.path).status == {**statuses, "redirect_loop": 302}.get(trap.kind, 200)
    assert site.respond("/nothing").status == 404


def test_written_folder_holds_documents_pictures_and_truth(tmp_path):
    site = Site(6)
    written = write(site, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    assert written.documents == len(lines) == 6
    for line in lines:
        document = json.loads((tmp_path / "documents" / f"{line['id']}.json").read_text(encoding="utf-8"))
        assert document["title"] == line["title"] and document["summary"] == line["summary"]["text"]
        for image in document["images"]:
            assert (tmp_path / image["file"]).stat().st_size > 0
        assert (tmp_path / "static" / line["path"].lstrip("/")).is_file()
    assert (tmp_path / "static" / "index.html").is_file()
    assert not (tmp_path / "static" / "nothing").exists()


def test_a_large_site_costs_no_memory():
    site = Site(100_000, seed=4)
    assert site.truth(99_999).index == 99_999
    assert b"</urlset>" in Site(300, seed=4).respond("/sitemap.xml").body
    list(site.articles(0, 200))
    tracemalloc.start()
    try:
        list(site.articles(200, 350))
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(len(article.text) > 0 for article in site.articles(0, 3000)) == 3000
    assert held < 2 * 2**20
