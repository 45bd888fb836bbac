"""The sample site: documents, pages and pictures, each computed when it is asked for from (seed, index) alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import IO

from diptych.sample import changes as changing
from diptych.sample.article import Article
from diptych.sample.changes import CHANGES, Change
from diptych.sample.document import SampleDocument, SampleImage
from diptych.sample.planning import Layout, plan, write_article
from diptych.sample.rendering import encode
from diptych.sample.response import Response
from diptych.sample.schedule import BLOCK, traps
from diptych.sample.story import facts
from diptych.sample.truth import Truth, truth_of


@dataclass(frozen=True)
class Trap:
    """A page that is linked but is no document: dead, empty or closed to robots."""

    path: str
    kind: str


@dataclass(frozen=True)
class Site:
    """A deterministic news site of `documents` articles.

    `images_per_document` bounds the drawn and photographed pictures a document (use (10, 10) for the papers'
    candidate sets);
    `dirt=False` leaves out everything a cleaner would reject. `changes` come from `with_changes`. Nothing is held
    in memory: a site of
    100,000 documents costs as much as one of ten, and its first documents are the same byte for byte.
    """

    documents: int = 24
    seed: int = 0
    images_per_document: tuple[int, int] = (1, 4)
    dirt: bool = True
    changes: tuple[tuple[int, Change], ...] = ()
    _by_index: Mapping[int, tuple[Change, ...]] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        low, high = self.images_per_document
        if self.documents < 0:
            raise ValueError(f"a sample site cannot have {self.documents} documents; give 0 or more")
        if not 0 <= low <= high <= 10:
            raise ValueError(
                f"images_per_document must be two rising numbers from 0 to 10, got {self.images_per_document}"
            )
        found: dict[int, tuple[Change, ...]] = {}
        for index, change in self.changes:
            if change not in CHANGES:
                raise ValueError(f"unknown change {change!r}; allowed: {', '.join(CHANGES)}")
            if not 0 <= index < self.documents:
                raise ValueError(f"no document {index} on a site of {self.documents}; changes name documents from 0")
            found[index] = (*found.get(index, ()), change)
        object.__setattr__(self, "_by_index", found)

    @property
    def layout(self) -> Layout:
        """Return what decides every document."""
        return Layout(self.seed, self.images_per_document, self.dirt)

    def with_changes(self, changes: Mapping[int, Change]) -> Site:
        """Return the site after these changes, on top of the ones it has."""
        return replace(self, changes=(*self.changes, *changes.items()))

    def removed(self, index: int) -> bool:
        """Return whether a document was removed (its page answers 410)."""
        return "remove" in self._by_index.get(index, ())

    def document(self, index: int) -> SampleDocument:
        """Return a document as it stands now; IndexError outside the site or when it was removed."""
        if not 0 <= index < self.documents:
            raise IndexError(f"no document {index} on a site of {self.documents}")
        if self.removed(index):
            raise IndexError(f"document {index} was removed from the site")
        return _document(self.layout, index, self._by_index.get(index, ()))

    def iterate(self, start: int = 0, stop: int | None = None) -> Iterator[SampleDocument]:
        """Yield the documents that were not removed, one at a time."""
        for index in range(start, min(self.documents, self.documents if stop is None else stop)):
            if not self.removed(index):
                yield self.document(index)

    def articles(self, start: int = 0, stop: int | None = None) -> Iterator[Article]:
        """Yield the words of the documents without planning pictures: for large corpora of text."""
        for index in range(start, min(self.documents, self.documents if stop is None else stop)):
            if not self.removed(index):
                if self._by_index.get(index):
                    yield self.document(index).article
                else:
                    yield write_article(self.seed, facts(self.seed, index))

    def image_bytes(self, image: SampleImage) -> bytes:
        """Return the bytes of a picture's file."""
        return encode(self.seed, image.plan)

    def truth(self, index: int) -> Truth:
        """Return everything that is true of a document."""
        return truth_of(self.document(index))

    def truths(self) -> Iterator[Truth]:
        """Yield the truth of every document."""
        for document in self.iterate():
            yield truth_of(document)

    def write_truth(self, target: str | Path | IO[str]) -> int:
        """Write the truth as JSON lines to a path or an open file; return the number of documents."""
        if isinstance(target, str | Path):
            with open(target, "w", encoding="utf-8") as file:
                return self.write_truth(file)
        count = 0
        for truth in self.truths():
            target.write(truth.json() + "\n")
            count += 1
        return count

    @property
    def blocks(self) -> int:
        """Return the number of index pages (24 documents each)."""
        return max(1, -(-self.documents // BLOCK))

    def traps(self, block: int | None = None) -> Iterator[Trap]:
        """Yield the linked pages that are no documents, of one index page or of all."""
        if not self.dirt:
            return
        for number in range(self.blocks) if block is None else (block,):
            for kind in traps(number):
                yield Trap(f"{'/private' if kind == 'robots' else ''}/archive/{number:04d}-{kind}.html", kind)

    def respond(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        """Return the answer to a GET of a path; pure: faults that need memory (flaky, slow) are marked for the
        server.
        """
        from diptych.sample.routes import respond

        return respond(self, path, headers or {})


@lru_cache(maxsize=96)
def _document(layout: Layout, index: int, changes: tuple[Change, ...]) -> SampleDocument:
    document = plan(layout, index)
    for change in changes:
        document = changing.apply(layout, document, change)
    return document
