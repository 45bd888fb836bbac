"""Which document carries which dirt: every kind once in each block of 24 documents, at places that the seed decides.

The schedule of a document depends on its block alone, so that a longer site begins with the same documents.
"""

from __future__ import annotations

from dataclasses import dataclass

from diptych.sample.document import PageStyle
from diptych.sample.languages import CHINESE_OF_TEN, language_place
from diptych.sample.seeding import permuted

BLOCK = 24
REJECTED = (
    "animated", "thumbnail", "advertisement_path", "advertisement_size", "exact_duplicate", "recompressed",
    "resized", "crop_small",
    "crop_large", "uniform", "truncated", "corrupt", "not_an_image", "http_404", "http_410", "http_500",
    "redirect_loop", "robots",
    "timeout", "aspect_ratio",
)  # fmt: skip
ACCEPTED = (
    "flaky", "slow", "redirect", "wrong_extension", "cmyk", "png16", "palette", "exif", "grey", "alpha", "webp", "png",
)  # fmt: skip
_PAGES = (
    "flaky", "slow", "redirect", "base_href", "base_href", "no_description", "no_description", "no_description",
    "no_keywords",
)  # fmt: skip
TRAPS = (
    "http_404", "http_410", "http_500", "redirect_loop", "robots", "no_text", "boilerplate",
)  # fmt: skip
EMPTY_PLACE = 20  # position in a block, before the shuffle of dirt, of the page without pictures


@dataclass(frozen=True)
class Share:
    """A document that shows a picture of an earlier one: the same bytes, or a near duplicate."""

    source: int
    change: str | None
    photograph: bool


@dataclass(frozen=True)
class Assignment:
    """The dirt of one document."""

    rejected: tuple[str, ...] = ()
    accepted: str | None = None
    empty: bool = False
    share: Share | None = None
    newsletter: bool = False
    advert: int | None = None


def empty_page(index: int) -> bool:
    """Return whether the document is its block's page without pictures."""
    return index % BLOCK == EMPTY_PLACE


def assignment(seed: int, index: int) -> Assignment:
    """Return what the schedule gives to a document."""
    block, place = divmod(index, BLOCK)
    newsletter, advert = index % 3 == 1, (index // 2 % 4 if index % 2 == 0 else None)
    if place == EMPTY_PLACE:
        return Assignment(empty=True)
    slots = [slot for slot in permuted(seed, block, BLOCK, "dirt") if slot != EMPTY_PLACE]
    good = [slot for slot in permuted(seed, block, BLOCK, "formats") if slot != EMPTY_PLACE]
    rejected = tuple(kind for number, kind in enumerate(REJECTED) if slots[number % len(slots)] == place)
    accepted = next((kind for number, kind in enumerate(ACCEPTED) if good[number] == place), None)
    return Assignment(rejected, accepted, False, _share(index), newsletter, advert)


def _share(index: int) -> Share | None:
    """Return the sharing of a document: two in the first block, one in each later one (about 4 %)."""
    block, place = divmod(index, BLOCK)
    start = block * BLOCK
    if place == 9 and block % 2 == 0:
        return Share(start + 7, None, photograph=True)
    if place == 17 and (block % 2 == 1 or block == 0):
        return Share(start + 12, "recompressed" if block % 4 < 2 else "resized", photograph=False)
    return None


def page_style(seed: int, index: int) -> PageStyle:
    """Return how a document's page is written and served."""
    block, place = divmod(index, BLOCK)
    order = permuted(seed, block, BLOCK, "pages")
    kind = next((name for number, name in enumerate(_PAGES) if order[number] == place), None)
    return PageStyle(
        charset=_charset(seed, index),
        base_href=kind == "base_href",
        description=kind != "no_description",
        keywords=kind != "no_keywords",
        delivery=kind if kind in ("flaky", "slow", "redirect") else "ok",
    )


def _charset(seed: int, index: int) -> str:
    """Return the page's charset: of ten documents one Chinese is in GBK and one English in ISO-8859-1."""
    return {0: "gbk", CHINESE_OF_TEN: "iso-8859-1"}.get(language_place(seed, index), "utf-8")


def traps(block: int) -> tuple[str, ...]:
    """Return the dead or empty pages that the index page of a block links: all in the first block, half of them in
    later ones.
    """
    if block == 0:
        return TRAPS
    return tuple(kind for number, kind in enumerate(TRAPS) if (number + block) % 2 == 0)
