"""Purging: the bytes of what was forgotten leave the store.

Nothing may run beside it. The order makes a kill between any two steps harmless: each step finds by itself what is
left to do, and what later steps need to know is deleted last (by gc).

1. the fetch log is rewritten without its rows; pages that only mention its addresses lose those;
2. what still mentions it is looked for, to be named;
3. segments that hold dead rows of it are merged without them, in a new version;
4. every other version that contains it, or such a segment, is retired;
5. gc deletes; the takedown is finished: nothing stands in the clear any more. It is not while a version that is tagged
   or that a run used contains it: the next purge, with ``force`` or without that tag, goes on.
"""

from __future__ import annotations

import csv
import html
import io
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from diptych.engine.commit import commit_rewritten
from diptych.exceptions import Conflict, DiptychError
from diptych.naming import split_pair_key
from diptych.records import Document
from diptych.sources.unlink import GZIP, unlink
from diptych.storage.alive import SignOfLife
from diptych.storage.compact import compact_part
from diptych.storage.fetch_log import Attempt, DocumentRow, FetchLog, Row
from diptych.storage.fetch_rewrite import rewrite_log
from diptych.storage.forgetting import segments_of, versions_with
from diptych.storage.gc import GcReport, gc
from diptych.storage.manifest import Manifest, StageEntry
from diptych.storage.overrides import FILE as OVERRIDES
from diptych.storage.parts import read_chunk, stage_totals, write_chunk
from diptych.storage.retire import retire
from diptych.storage.segment_info import covers
from diptych.storage.segments import read_segment
from diptych.storage.snapshot import Forgotten, read_forgotten
from diptych.storage.store import Store
from diptych.storage.takedown import Holder, Takedown, due, save

__all__ = ["PurgeReport", "purge"]

_TRIES = 5
_PAGES = ("page", "sitemap", "api")
_QUOTE, _TITLE = 40, 12
"""Characters from which on a paragraph, or a title, is looked for elsewhere."""


@dataclass(frozen=True)
class PurgeReport:
    """What a purge did, and what contains it still."""

    log_rows: int
    """Rows of the fetch log that were dropped or changed."""
    version: int | None
    """The version with its segments merged; None when none had to be."""
    retired: tuple[int, ...]
    left: tuple[Holder, ...]
    collected: GcReport

    @property
    def finished(self) -> bool:
        """Whether no version contains it any more; else the takedown stays due."""
        return all(holder.kind != "version" for holder in self.left)


def purge(store: Store, *, force: bool = False) -> PurgeReport:
    """Delete the bytes of every takedown that is due; it stays due while a protected version contains any of them.

    Raises :class:`Conflict` while a build or crawl runs, and when the latest version still contains it.
    """
    with SignOfLife(store, f"forget-{secrets.token_hex(6)}", "gc") as sign:
        if running := sign.others("build", "crawl", "compact", "import"):
            raise Conflict(
                f"dataset {store.name}: a {running[0].kind} is running (process {running[0].pid}, {running[0].host}); "
                f"nothing was deleted. When it has ended run: diptych forget {store.name} --purge"
            )
        forgotten = read_forgotten(store)
        takedowns = [t.model_copy(update={"purge": True}) for t in due(store)]
        for takedown in takedowns:
            save(store, takedown)
        rows = rewrite_log(FetchLog(store.home), _Rewriting(store, forgotten, takedowns).row)
        _rewrite_overrides(store, forgotten, takedowns)
        mentions = list(_mentions(store, forgotten, takedowns))
        version, retired, left = _versions(store, forgotten, takedowns, force)
        left += [h for t in takedowns for h in t.holders if h.kind in ("run", "export", "dataset")] + mentions
        collected = gc(store)
        store.home.drop_copies()
        report = PurgeReport(rows, version, retired, tuple(dict.fromkeys(left)), collected)
        if report.finished:
            for takedown in takedowns:
                save(store, takedown.finished())
    return report


class _Rewriting:
    """The fetch log's rows without what was forgotten."""

    def __init__(self, store: Store, forgotten: Forgotten, takedowns: Sequence[Takedown]) -> None:
        self._store, self._forgotten = store, forgotten
        self._ends = {end for t in takedowns for url in t.urls for end in _ends(url)}
        self._moved: dict[str, tuple[str, int]] = {}
        self._same: set[str] = set()

    def row(self, row: Row) -> Row | None:
        """The row to keep."""
        if isinstance(row, Attempt):
            return self._attempt(row)
        return self._document(row) if isinstance(row, DocumentRow) else row

    def _attempt(self, row: Attempt) -> Attempt | None:
        mine = self._forgotten.address
        if (
            mine(row.source, row.url)
            or mine(row.source, row.final_url)
            or (row.sha256 and row.sha256 in self._forgotten)
        ):
            return None
        if row.kind in _PAGES and row.sha256:
            sha256, size = self._page(row.sha256, row.final_url or row.url, row.bytes)
            row = replace(row, sha256=sha256, bytes=size)
        if "://" in row.text:
            words = (_word(word, self._forgotten) for word in row.text.split(" "))
            row = replace(row, text=" ".join(words))
        return row

    def _document(self, row: DocumentRow) -> DocumentRow | None:
        if row.record in self._forgotten or self._forgotten.address(row.source, row.url):
            return None
        if row.images:
            images = json.loads(row.images)
            kept = [image for image in images if not self._forgotten.address(row.source, image[0])]
            if kept != images:
                text = json.dumps(kept, ensure_ascii=False, separators=(",", ":")) if kept else ""
                row = replace(row, images=text)
        if row.page and not row.url.startswith("file:"):
            row = replace(row, page=self._page(row.page, row.url, 0)[0])
        return row

    def _page(self, sha256: str, url: str, size: int) -> tuple[str, int]:
        """The page without forgotten addresses: its SHA-256 and size."""
        if sha256 in self._moved:
            return self._moved[sha256]
        if sha256 in self._same:
            return sha256, size
        try:
            body = self._store.blobs.get(sha256)
        except DiptychError:  # gone or damaged: nothing to clean
            return sha256, size
        if body[:2] == GZIP or any(end in body for end in self._ends):
            cleaned = unlink(body, url, lambda found: found in self._forgotten)
            if cleaned is not body:
                self._moved[sha256] = (self._store.blobs.put(cleaned), len(cleaned))
                return self._moved[sha256]
        self._same.add(sha256)
        return sha256, size


def _word(word: str, forgotten: Forgotten) -> str:
    return "(forgotten)" if word.rstrip(".,;:") in forgotten else word


def _ends(url: str) -> Iterator[bytes]:
    """What every spelling of an address in a page contains: the last piece of its path, or of its query."""
    parts = urlsplit(url)
    end = parts.path.rstrip("/").rpartition("/")[2] or parts.query.partition("&")[0] or parts.netloc
    for spelled in {end, unquote(end)}:
        yield spelled.encode("utf-8", "surrogateescape")


def _rewrite_overrides(store: Store, forgotten: Forgotten, takedowns: Sequence[Takedown]) -> None:
    """Decisions about what is no more leave ``overrides.csv``."""
    if not store.home.exists(OVERRIDES):
        return
    names = {name for t in takedowns for name in (*t.records, *t.images, *t.urls)}
    rows = list(csv.reader(io.StringIO(store.home.read(OVERRIDES).decode("utf-8-sig"), newline="")))
    column = rows[0].index("key") if rows and "key" in rows[0] else 0
    kept = [r for r in rows if len(r) <= column or not (r[column].strip() in names or r[column].strip() in forgotten)]
    if kept != rows:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(kept)
        store.home.put(OVERRIDES, text.getvalue().encode())


def _mentions(store: Store, forgotten: Forgotten, takedowns: Sequence[Takedown]) -> Iterator[Holder]:
    """Pages and other records that quote its title or a paragraph, or have its address in their text."""
    quotes = list(_quotes(store, takedowns))
    if not quotes:
        return
    log = FetchLog(store.home)
    seen: set[tuple[str, str]] = set()
    for crawl in [*log.crawls(), *log.unfinished()]:
        for row in log.rows(crawl):
            if isinstance(row, Attempt) and row.sha256 and row.kind in (*_PAGES, "file"):
                kind, name, sha256 = "page", row.url, row.sha256
            elif isinstance(row, DocumentRow) and row.document:
                kind, name, sha256 = "record", row.record, row.document
            else:
                continue
            if (kind, sha256) in seen:
                continue
            seen.add((kind, sha256))
            try:
                body = store.blobs.get(sha256)
            except DiptychError:
                continue
            text = _text_of(kind, body)
            found = next((what for what, quote in quotes if quote in text), None)
            if found:
                where = f"{row.url}: " if kind == "record" else ""
                yield Holder(kind=kind, name=name, text=f"{where}holds {found} of it; forget it, too, if it has to go")


def _quotes(store: Store, takedowns: Sequence[Takedown]) -> Iterator[tuple[str, str]]:
    for takedown in takedowns:
        for url in takedown.urls:
            yield "an address", url
        for sha256 in takedown.documents:
            try:
                document = Document.from_bytes(store.blobs.get(sha256))
            except DiptychError:
                continue
            if len(document.title) >= _TITLE:
                yield "the title", document.title
            for text in (document.text, document.summary):
                yield from (("a paragraph", line) for line in text.splitlines() if len(line) >= _QUOTE)


def _text_of(kind: str, body: bytes) -> str:
    if kind == "record":
        document = Document.from_bytes(body)
        return "\n".join((document.title, document.text, document.summary, document.extra))
    return html.unescape(body.decode("utf-8", "replace"))


def _versions(
    store: Store, forgotten: Forgotten, takedowns: Sequence[Takedown], force: bool
) -> tuple[int | None, tuple[int, ...], list[Holder]]:
    """Merge segments with dead rows of it, retire other versions with them; what stays, and why."""
    for _ in range(_TRIES):
        head = store.log.head()
        kept = store.log.versions()
        if not kept:
            return None, (), []
        latest = kept[max(kept)]
        holding = versions_with(store, forgotten)
        if latest.version in holding:
            raise Conflict(
                f"version {latest.version} of {store.name} still contains what was forgotten; run diptych build, "
                f"then diptych forget {store.name} --purge"
            )
        tainted = _tainted(store, kept, latest, takedowns)
        stages, changed = _merged(store, latest, tainted)
        partials = _partials(store, kept, takedowns)
        fits = tuple(f.model_copy(update={"partials": ()}) if partials & set(f.partials) else f for f in latest.fits)
        number = None
        if changed or fits != latest.fits:
            try:
                number = commit_rewritten(store, latest, stages, head, fits)
            except Conflict:
                continue
        names = tainted | partials
        old = [v for v, m in kept.items() if v in holding or _names(store, m, names)]
        plan = retire(store, versions=old, force=force, reason="forgotten") if old else None
        left = [
            Holder(kind="version", name=f"{store.name}@{v}", text=why)
            for v, why in (plan.protected if plan else {}).items()
        ]
        words = "its words were counted; make it again with"
        left += [
            Holder(kind="fit", name=f.name, text=f"{words} diptych refit {store.name} {f.name}")
            for f in latest.fits
            if f.pinned and any(t.records for t in takedowns)
        ]
        return number, plan.versions if plan else (), left
    raise Conflict(f"dataset {store.name}: lost {_TRIES} races for the next log entry; run it again")


def _tainted(
    store: Store, kept: Mapping[int, Manifest], latest: Manifest, takedowns: Sequence[Takedown]
) -> frozenset[str]:
    """Segments of kept versions with a row of it that the latest version does not use.

    Which records showed a picture, perhaps only a retired version knew: every segment with dead rows is looked at.
    """
    records = {r for t in takedowns for r in (*t.records, *t.touched)}
    images = {key for t in takedowns for key in t.images}
    sentences = {key for t in takedowns for key in t.sentences}
    parts = (part for manifest in kept.values() for entry in manifest.stages for part in store.parts(entry))
    dead = {ref.path for part in parts if part.dead for ref in part.segments} if images else set()
    rows: dict[str, set[int]] = {}
    for _, kind, ref in segments_of(store, kept.values()):
        anywhere = kind in ("image", "pair") and ref.path in dead
        if not anywhere and not covers(store, ref.path, records):
            continue
        keys = read_segment(store, ref).table(["key"])["key"].to_pylist()
        found = {n for n, key in enumerate(keys) if _is_its(kind, key, records, images, sentences)}
        if found:
            rows[ref.path] = found
    for entry in latest.stages:
        for part in store.parts(entry):
            if any(ref.path in rows for ref in part.segments):
                table = store.lists.get(part.rows).select(["segment", "row"]).to_pydict()
                for segment, row in zip(table["segment"], table["row"], strict=True):
                    rows.get(part.segments[segment].path, set()).discard(row)
    return frozenset(path for path, left in rows.items() if left)


def _is_its(kind: str, key: str, records: set[str], images: set[str], sentences: set[str]) -> bool:
    if kind == "document":
        return key in records
    if kind == "image":
        return key in images
    if kind == "sentence":
        return key in sentences
    record, image = split_pair_key(key)
    return record in records or image in images


def _merged(store: Store, manifest: Manifest, tainted: frozenset[str]) -> tuple[tuple[StageEntry, ...], bool]:
    """The version's stages with the parts merged that name such a segment."""
    build = f"forget-{secrets.token_hex(8)}"
    entries: list[StageEntry] = []
    changed = False
    for stage in manifest.stages:
        chunks, parts = [], []
        for chunk in stage.chunks:
            old = read_chunk(store, chunk)
            new = tuple(
                compact_part(store, stage, part, manifest.shards, build)
                if any(ref.path in tainted for ref in part.segments)
                else part
                for part in old
            )
            changed = changed or new != old
            chunks.append(write_chunk(store, new) if new != old else chunk)
            parts.extend(new)
        entries.append(stage.model_copy(update={"chunks": tuple(chunks), "bytes": stage_totals(parts).bytes}))
    return tuple(entries), changed


def _partials(store: Store, kept: Mapping[int, Manifest], takedowns: Sequence[Takedown]) -> frozenset[str]:
    """Lists of partial tables of fits in which rows of it stand by key (a pinned fit keeps those it was made from)."""
    its = {name for t in takedowns for name in (*t.records, *t.images)}
    found: set[str] = set()
    for chunk in {chunk for m in kept.values() for f in m.fits for chunk in f.partials}:
        for table in store.lists.get(chunk)["table"].to_pylist():
            names = store.lists.get(table)
            if "key" in names.schema.names and any(
                k in its or split_pair_key(k)[0] in its for k in names["key"].to_pylist()
            ):
                found.add(chunk)
                break
    return frozenset(found)


def _names(store: Store, manifest: Manifest, names: frozenset[str]) -> bool:
    """Whether a version names one of these segments or lists."""
    if any(chunk in names for fit in manifest.fits for chunk in fit.partials):
        return True
    return any(ref.path in names for e in manifest.stages for p in store.parts(e) for ref in p.segments)
