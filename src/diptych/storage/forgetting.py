"""What a takedown is about and where it stands: records, their addresses and pictures, versions, exports and runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from diptych.exceptions import NotFound, UsageError
from diptych.naming import record_id, sentence_key
from diptych.sources.urls import BadUrl, canonical_url
from diptych.storage.exports import exports_holding, place_of
from diptych.storage.fetch_log import Attempt, DocumentRow, FetchLog, Row, scope_of
from diptych.storage.log import now
from diptych.storage.manifest import Manifest
from diptych.storage.retire import versions_in_use
from diptych.storage.segment_info import covers
from diptych.storage.segments import read_segment
from diptych.storage.snapshot import Forgotten, read_snapshot
from diptych.storage.store import Store, datasets
from diptych.storage.takedown import Holder, Takedown, new_takedown_id

if TYPE_CHECKING:
    from diptych.storage.segment_info import SegmentRef

__all__ = ["Asked", "find", "holders_of", "kept_snapshots", "segments_of", "sentences_of", "versions_with"]

Address = tuple[str, str]
"""The source (empty for what means the same everywhere) and the address."""
_RECORD, _IMAGE = re.compile(r"[0-9a-f]{32}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Asked:
    """What a person named: record ids (or a source's own ids), addresses, image keys."""

    records: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    images: tuple[str, ...] = ()

    @classmethod
    def of_lines(cls, lines: Iterable[str]) -> Asked:
        """One thing a line, told apart by its form; blank lines and ``#`` comments are left out."""
        values = [line.strip() for line in lines]
        values = [value for value in values if value and not value.startswith("#")]
        images = tuple(v.lower() for v in values if _IMAGE.fullmatch(v.lower()))
        urls = tuple(v for v in values if re.match(r"(https?|file):", v, re.I))
        rest = tuple(v for v in values if v not in urls and v.lower() not in images)
        return cls(rest, urls, images)

    def __add__(self, other: Asked) -> Asked:
        return Asked(self.records + other.records, self.urls + other.urls, self.images + other.images)

    def __bool__(self) -> bool:
        return bool(self.records or self.urls or self.images)


@dataclass
class _Found:
    """What is known so far."""

    records: set[str] = field(default_factory=set)
    addresses: set[Address] = field(default_factory=set)
    images: set[str] = field(default_factory=set)
    pictures: set[Address] = field(default_factory=set)
    """Addresses whose bytes, also those that stood there before, are pictures to forget."""
    documents: set[str] = field(default_factory=set)
    pages: set[str] = field(default_factory=set)


def find(store: Store, asked: Asked, *, reason: str = "", purge: bool = False, keep_shared: bool = False) -> Takedown:
    """The takedown of what was asked for: every address and picture that belongs to it, and where it stands.

    A record brings its addresses (also those that redirect from or to them) and its pictures; a picture its
    addresses. With ``keep_shared`` pictures that other records show stay. An address that nobody knows is
    remembered all the same. :class:`NotFound` for a record id or image key that nothing knows.
    """
    rows = _Rows(store)
    try:
        found = _Found(images={key.lower() for key in asked.images})
        _named(store, asked, rows, found)
        _follow(rows, found)
        if keep_shared:
            _spare_shared(rows, found)
        showed = {(scope_of(row.source, row.url), row.url) for row in rows.attempts() if row.sha256 in found.images}
        touched = {
            row["record"]
            for row in rows
            if row["record"] not in found.records
            and any(
                _image_is(found, row["source"], image)
                or (scope_of(row["source"], image["url"]), image["url"]) in showed
                for image in row["images"] or ()
            )
        }
    finally:
        rows.close()
    hashes = {Forgotten.hash(x) for x in (*found.records, *found.images)}
    hashes |= {Forgotten.named(source, url) for source, url in found.addresses}
    counts = {"records": len(found.records), "images": len(found.images), "addresses": len(found.addresses)}
    takedown = Takedown(
        id=new_takedown_id(),
        created_at=now(),
        reason=reason,
        hashes=tuple(sorted(hashes)),
        purge=purge,
        counts=counts,
        records=tuple(sorted(found.records)),
        touched=tuple(sorted(touched)),
        urls=tuple(sorted({url for _, url in found.addresses})),
        images=tuple(sorted(found.images)),
        documents=tuple(sorted(found.documents)),
    )
    takedown = takedown.model_copy(update={"sentences": tuple(sorted(sentences_of(store, takedown)))})
    return takedown.model_copy(update={"holders": tuple(holders_of(store, takedown))})


def kept_snapshots(store: Store) -> dict[str, list[int]]:
    """Snapshot digest to the versions (not retired) that were built from it."""
    found: dict[str, list[int]] = {}
    for number, manifest in store.log.versions().items():
        found.setdefault(manifest.snapshot, []).append(number)
    return found


class _Rows:
    """Every record as each kept version and each crawl has it; can be gone through again, holds nothing in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._log = FetchLog(store.home)
        self._index = self._log.index(unfinished=True)

    def close(self) -> None:
        """Drop the index."""
        self._index.close()

    def attempts(self) -> Iterator[Attempt]:
        """All requests ever made."""
        yield from (row for row in self._log_rows() if isinstance(row, Attempt))

    def _log_rows(self) -> Iterator[Row]:
        for crawl in [*self._log.crawls(), *self._log.unfinished()]:
            yield from self._log.rows(crawl)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """record, source, source_id, url, content, images (url and key); of the log also page."""
        names = ["record", "source", "source_id", "url", "content", "images"]
        for digest in kept_snapshots(self._store):
            yield from read_snapshot(self._store, digest).iter_rows(names)
        for row in self._log_rows():
            if isinstance(row, DocumentRow):
                urls = [image[0] for image in json.loads(row.images or "[]")]
                yield {
                    **{name: getattr(row, name) for name in ("record", "source", "source_id", "url", "page")},
                    "content": row.document or None,
                    "images": [{"url": url, "key": self._key(row.source, url)} for url in urls],
                }

    def _key(self, source: str, url: str) -> str | None:
        state = self._index.url(source, url)
        return state.sha256 or None if state is not None else None


def _named(store: Store, asked: Asked, rows: _Rows, found: _Found) -> None:
    """The records that were named, by whatever name; addresses and images that are no record's."""
    for name in asked.records:
        hits = {r["record"] for r in rows if name in (r["record"], r["source_id"])}
        if not hits and not _RECORD.fullmatch(name):
            raise NotFound(f"dataset {store.name} knows no record {name!r}: expected a record id or a source's own id")
        found.records |= hits or {name}
    for name in asked.urls:
        url = name
        if not name.startswith("file:"):
            try:
                url = canonical_url(name)
            except BadUrl as error:
                raise UsageError(f"--url {name}: {error}") from None
        sources = {r["source"] for r in rows}
        ids = {record_id(source, url): source for source in sources}
        found.records |= {r["record"] for r in rows if r["url"] == url or r["record"] in ids}
        scopes = {scope_of(r["source"], url) for r in rows if r["url"] == url or _shows(r, url)}
        found.addresses |= {(scope, url) for scope in scopes} or {(scope_of(s, url), url) for s in sources or {""}}
        found.images |= {i["key"] for r in rows for i in r["images"] or () if i["url"] == url and i["key"]}
        found.pictures |= {(scope_of(r["source"], url), url) for r in rows if _shows(r, url)}
    for key in found.images:
        if not _IMAGE.fullmatch(key):
            raise UsageError(f"--image {key}: expected an image key (64 hexadecimal digits) or a picture file")


def _shows(row: dict[str, Any], url: str) -> bool:
    return any(image["url"] == url for image in row["images"] or ())


def _image_is(found: _Found, source: str, image: dict[str, Any]) -> bool:
    return image["key"] in found.images or (scope_of(source, image["url"]), image["url"]) in found.addresses


def _follow(rows: _Rows, found: _Found) -> None:
    """Everything that belongs to the records and images: texts, addresses, pictures, redirects."""
    pictures: set[Address] = set()
    for row in rows:
        if row["record"] not in found.records:
            continue
        source = row["source"]
        urls = (url for url in (row["url"], row["source_id"]) if url and _is_address(url))
        found.addresses |= {(scope_of(source, url), url) for url in urls}
        pictures |= {(scope_of(source, i["url"]), i["url"]) for i in row["images"] or ()}
        found.images |= {i["key"] for i in row["images"] or () if i["key"]}
        if row["content"]:
            found.documents.add(row["content"])
        if row.get("page"):
            found.pages.add(row["page"])
    found.addresses |= pictures
    for row in rows:
        here = {(scope_of(row["source"], i["url"]), i["url"]): i["key"] for i in row["images"] or ()}
        found.addresses |= {address for address, key in here.items() if key in found.images}
        if row["record"] not in found.records:  # what others show or were read from means them, too
            pictures -= here.keys()
            found.pages.discard(row.get("page"))
    found.pictures |= pictures
    _redirects(rows, found)


def _redirects(rows: _Rows, found: _Found) -> None:
    """Old bytes of their pictures, files that a record alone was read from, addresses that only lead to theirs."""
    finals: set[Address] = set()
    leading: set[Address] = set()
    for row in rows.attempts():
        address, final = (scope_of(row.source, row.url), row.url), (scope_of(row.source, row.final_url), row.final_url)
        if row.sha256 and row.sha256 in found.pages:
            found.addresses.add(address)
        if address in found.pictures and row.sha256:
            found.images.add(row.sha256)
        if row.final_url and final != address:
            if address in found.addresses:
                finals.add(final)
            if final in found.addresses:
                leading.add(address)
    for (
        row
    ) in rows.attempts():  # a page that other addresses lead to, or that was asked for itself, is not theirs alone
        address, final = (scope_of(row.source, row.url), row.url), (scope_of(row.source, row.final_url), row.final_url)
        if address not in found.addresses:
            finals -= {address, final}
    for row in rows:
        if row["record"] not in found.records:
            leading.discard((scope_of(row["source"], row["url"]), row["url"]))
    found.addresses |= finals | leading


def _is_address(value: str) -> bool:
    return value.startswith(("http://", "https://", "file:"))


def _spare_shared(rows: _Rows, found: _Found) -> None:
    """Take out pictures (and their addresses) that records show which are not to be forgotten."""
    shared = {
        (i["key"], scope_of(r["source"], i["url"]), i["url"])
        for r in rows
        if r["record"] not in found.records
        for i in r["images"] or ()
        if _image_is(found, r["source"], i)
    }
    found.images -= {key for key, _, _ in shared}
    found.addresses -= {(scope, url) for _, scope, url in shared}
    found.addresses |= {
        (scope_of(r["source"], r["url"]), r["url"])
        for r in rows
        if r["record"] in found.records and _is_address(r["url"])
    }


def segments_of(store: Store, manifests: Iterable[Manifest]) -> Iterator[tuple[str, str, SegmentRef]]:
    """(stage, kind of row, segment) of these versions, each segment once."""
    seen: set[str] = set()
    for manifest in manifests:
        for entry in manifest.stages:
            for part in store.parts(entry):
                for ref in part.segments:
                    if ref.path not in seen:
                        seen.add(ref.path)
                        yield entry.name, entry.rows or "document", ref


def sentences_of(store: Store, takedown: Takedown) -> set[str]:
    """Row keys of the sentences of the forgotten and touched records, as any kept segment has them."""
    records = {*takedown.records, *takedown.touched}
    found: set[str] = set()
    for stage, _, ref in segments_of(store, store.log.versions().values()):
        if stage != "sentences" or not covers(store, ref.path, records):
            continue
        table = read_segment(store, ref).table(["key", "items"])
        for key, items in zip(table["key"].to_pylist(), table["items"].to_pylist(), strict=True):
            if key in records:
                found |= {sentence_key(item["text"]) for item in items or ()}
    return found


def holders_of(store: Store, takedown: Takedown) -> list[Holder]:
    """Versions, runs, exports and other datasets that contain any of it now."""
    forgotten = Forgotten(takedown.hashes)
    versions = versions_with(store, forgotten)
    tags: dict[int, list[str]] = {}
    for name, number in store.log.tags().items():
        tags.setdefault(number, []).append(name)
    found = [Holder(kind="version", name=f"{store.name}@{n}", text=", ".join(tags.get(n, ()))) for n in versions]
    runs = versions_in_use(store)
    found += [
        Holder(kind="run", name=run, text=f"made from {store.name}@{version}")
        for version in versions
        for run in runs.get(version, ())
    ]
    found += [Holder(kind="export", name=e.id, text=place_of(e)) for e in exports_holding(store, takedown.hashes)]
    for name in datasets(store.root):
        if name != store.name:
            other = Store(store.root, name)
            if numbers := versions_with(other, forgotten):
                text = f"versions {', '.join(map(str, numbers))}; forget it there, too"
                found.append(Holder(kind="dataset", name=name, text=text))
    return found


def versions_with(store: Store, forgotten: Forgotten) -> list[int]:
    """Kept versions whose snapshot names a forgotten record, address or image."""
    found: list[int] = []
    for digest, numbers in kept_snapshots(store).items():
        for row in read_snapshot(store, digest).iter_rows(["record", "source", "url", "images"]):
            if (
                row["record"] in forgotten
                or forgotten.address(row["source"], row["url"] or "")
                or any(
                    forgotten.address(row["source"], i["url"]) or (i["key"] and i["key"] in forgotten)
                    for i in row["images"] or ()
                )
            ):
                found += numbers
                break
    return sorted(found)
