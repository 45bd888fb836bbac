"""A snapshot: the content-addressed table a build starts from, one row a record, cut from the fetch log.

A row says what a record's content is and what became of it, never when or after how many attempts, so that
the same content gives the same digest whatever the network did. The file is ``snapshots/<digest>.parquet``,
sorted by record id in row groups of 4,096, so that a shard (a contiguous range of ids) reads little of it.

Outcomes: ``ok`` (there is content), ``gone`` (404, 410 or a temporary redirect in ``gone_after`` crawls in a row,
or it never was there), ``failed:<code>`` (there never was content, or its publisher withdrew permission).
A page or image that fails today and was good before is ``ok`` with its last good bytes.

What a person decided (``overrides.csv``) stands beside the row or image it is about, in a column ``override`` that only
snapshots cut with such decisions have. ``drop`` is done here: the outcome is ``dropped`` and there are no bytes.
``keep`` is for the engine, which knows the rules. Rows without a decision are encoded as ever: their digests stand.

The file is a little long because what a row says, how it is encoded and how it is read belong side by side.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import os
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from diptych.exceptions import Corrupt, NotFound, UsageError
from diptych.naming import digest_bytes
from diptych.storage.fetch_log import FetchLog, LogIndex, RecordState, scope_of
from diptych.storage.overrides import Overrides
from diptych.storage.parquet import SNAPSHOT_ADVICE, opened
from diptych.storage.store import Store

__all__ = [
    "Forgotten",
    "Shrink",
    "Snapshot",
    "SourceLike",
    "cut_snapshot",
    "read_forgotten",
    "read_snapshot",
    "replace_records",
    "shrink",
    "without_forgotten",
]

GROUP = 4096
FORGOTTEN = "raw/forgotten.parquet"
IMAGE = pa.struct(
    {name: pa.string() for name in ("url", "key", "caption", "alt", "extra", "outcome")},
)
SCHEMA = pa.schema(
    {
        **{name: pa.string() for name in ("record", "source", "subset", "source_id", "url", "content")},
        **{name: pa.string() for name in ("outcome", "split")},
        "images": pa.list_(IMAGE),
    }
)
OVERRIDE = pa.struct({name: pa.string() for name in ("decision", "reason", "who")})
OVERRIDDEN = pa.schema(
    [
        *(SCHEMA.field(n) for n in range(len(SCHEMA) - 1)),
        pa.field("images", pa.list_(pa.struct([*IMAGE, pa.field("override", OVERRIDE)]))),
        pa.field("override", OVERRIDE),
    ]
)
"""The schema of a snapshot with decisions."""


class SourceLike(Protocol):
    """What a cut needs of a source."""

    @property
    def name(self) -> str: ...
    @property
    def subset(self) -> str: ...

    complete: ClassVar[bool]
    """Whether what a finished crawl of it did not yield is no longer part of it (a folder; not a site)."""


class Forgotten:
    """Hashes of what must never come back: record ids, URLs and image keys."""

    def __init__(self, hashes: Collection[str] = ()) -> None:
        self.hashes = frozenset(hashes)

    def __contains__(self, value: str) -> bool:
        return bool(self.hashes) and self.hash(value) in self.hashes

    def address(self, source: str, url: str) -> bool:
        """Whether an address is forgotten; a ``file:`` address means a file of its source alone."""
        return bool(self.hashes) and self.named(source, url) in self.hashes

    @classmethod
    def named(cls, source: str, url: str) -> str:
        """The hash of an address."""
        scope = scope_of(source, url)
        return cls.hash(f"{scope} {url}" if scope else url)

    @staticmethod
    def hash(value: str) -> str:
        """SHA-256 of the record id, URL or image key."""
        return digest_bytes(value.encode("utf-8", "surrogatepass"))


def read_forgotten(store: Store) -> Forgotten:
    """The hashes in ``raw/forgotten.parquet`` (its column ``hash``); none when there is no such file."""
    if not store.home.exists(FORGOTTEN):
        return Forgotten()
    with opened(store.home, FORGOTTEN, "restore it from a backup: it says what never comes back") as file:
        return Forgotten(file.read(["hash"]).column("hash").to_pylist())


@dataclass(frozen=True)
class Snapshot:
    """A written snapshot; ``records`` counts those with content, ``rows`` all."""

    store: Store
    digest: str
    records: int
    rows: int

    def shard(self, shard: int, shards: int, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of one shard, sorted by record; reads only the row groups that its range touches."""
        if shards < 1 or shards & (shards - 1) or not 0 <= shard < shards:
            raise UsageError(f"shard {shard} of {shards}: the count must be a power of two, the number below it")
        low, high = (f"{n * (1 << 32) // shards:08x}" for n in (shard, shard + 1))
        return self._range(low, "g" if shard + 1 == shards else high, columns)

    def record(self, record: str) -> dict[str, Any] | None:
        """One row as plain Python, None when the snapshot does not name the record."""
        rows = self._range(record, record + "\0", None).to_pylist()
        return rows[0] if rows else None

    def known(self, record: str) -> dict[str, Any]:
        """One row as plain Python; :class:`NotFound` when the snapshot does not name the record."""
        row = self.record(record)
        if row is None:
            raise NotFound(f"snapshot {self.digest} has no record {record!r}")
        return row

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows; with ``images`` pyarrow refuses more than 2 GiB of any one of their texts."""
        with self._opened() as file:
            return file.read(list(columns) if columns else None)

    def iter_batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All rows, some thousand at a time; ``images.key`` as a column: ``images`` with their keys alone."""
        with self._opened() as file:
            yield from file.iter_batches(GROUP, columns=_leaves(columns))

    def iter_rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """All rows one after the other, in bounded memory; ``columns`` as for :meth:`iter_batches`."""
        with self._opened() as file:
            for batch in file.iter_batches(GROUP, columns=_leaves(columns)):
                yield from batch.to_pylist()

    def image_keys(self) -> Iterator[str]:
        """Keys of all images that have bytes, once per use."""
        for row in self.iter_rows(["images.key"]):
            yield from (image["key"] for image in row["images"] if image["key"] is not None)

    def outcomes(self) -> tuple[Counter[str], Counter[str]]:
        """How many records and how many images have each outcome."""
        records, images = Counter[str](), Counter[str]()
        for batch in self.iter_batches(["outcome", "images.outcome"]):
            records.update(batch["outcome"].to_pylist())
            images.update(pc.list_flatten(batch["images"]).field("outcome").to_pylist())
        return records, images

    def _range(self, low: str, high: str, columns: Sequence[str] | None) -> pa.Table:
        """Rows with ``low <= record < high``."""
        wanted = list(columns) if columns else None
        tables = []
        with self._opened() as file:
            for group in range(file.num_row_groups):
                statistics = file.metadata.row_group(group).column(0).statistics
                if statistics.max < low or statistics.min >= high:
                    continue
                names = file.read_row_group(group, ["record"]).column("record").to_pylist()
                first = next((i for i, name in enumerate(names) if name >= low), len(names))
                last = next((i for i, name in enumerate(names) if name >= high), len(names))
                if last > first:
                    tables.append(file.read_row_group(group, wanted).slice(first, last - first))
            schema = OVERRIDDEN if "override" in file.schema_arrow.names else SCHEMA
        if tables:
            return pa.concat_tables(tables)
        return schema.empty_table().select(wanted) if wanted else schema.empty_table()

    @property
    def overridden(self) -> bool:
        """Whether the file has the column ``override``."""
        with self._opened() as file:
            return "override" in file.schema_arrow.names

    def _opened(self) -> AbstractContextManager[pq.ParquetFile]:
        return opened(self.store.home, _path(self.digest), SNAPSHOT_ADVICE)


@dataclass(frozen=True)
class Shrink:
    """How many of the parent's records with content a new snapshot no longer has."""

    share: float
    dropped: tuple[str, ...]
    """Record ids, sorted."""


def _path(digest: str) -> str:
    return f"snapshots/{digest}.parquet"


def _leaves(columns: Sequence[str] | None) -> list[str] | None:
    """As Parquet names them: pyarrow passes over a name that it does not know."""
    return [c.replace("images.", "images.list.element.") for c in columns] if columns else None


def read_snapshot(store: Store, digest: str) -> Snapshot:
    """The snapshot of that digest; :class:`NotFound` when it was never cut or was collected."""
    if not store.home.exists(_path(digest)):
        raise NotFound(f"no snapshot {digest} in {store.home.url}; it was never cut, or gc removed it")
    with opened(store.home, _path(digest), SNAPSHOT_ADVICE) as file:
        counts = json.loads(file.metadata.metadata[b"diptych"])
        return Snapshot(store, digest, counts["records"], counts["rows"])


def cut_snapshot(
    store: Store,
    sources: Sequence[SourceLike],
    *,
    gone_after: int = 3,
    forgotten: Forgotten | None = None,
    unfinished: bool = False,
    overrides: Overrides | None = None,
) -> Snapshot:
    """Write the snapshot of these sources as the finished crawls left them, and return it.

    ``unfinished`` also counts what a killed or running crawl has so far; ``overrides`` are a person's
    decisions. Raises :class:`Corrupt` when a blob
    the snapshot would name is missing, and :class:`NotFound` when no crawl ever read these sources.
    """
    forgotten = read_forgotten(store) if forgotten is None else forgotten
    index = FetchLog(store.home).index(unfinished=unfinished)
    try:
        overrides = overrides or Overrides()
        cut = _Cut(store, index, {source.name: source for source in sources}, gone_after, forgotten, overrides)
        return _write(store, cut.checked_rows(), bool(overrides))
    finally:
        index.close()


class _Cut:
    """The rows of a snapshot, sorted by record id."""

    def __init__(
        self,
        store: Store,
        index: LogIndex,
        sources: dict[str, SourceLike],
        gone_after: int,
        forgotten: Forgotten,
        overrides: Overrides,
    ) -> None:
        self.store, self.index, self.sources = store, index, sources
        self.gone_after, self.forgotten, self.overrides = gone_after, forgotten, overrides
        self.done = {name: index.done_crawl(name) for name in sources}
        self.missing: list[str] = []
        for address in overrides.addresses:
            for name in sources:
                state = index.url(name, address)
                if state is not None and state.sha256:
                    overrides.point(address, state.sha256)
        self._checked: set[str] = set()

    def rows(self) -> Iterator[dict[str, Any]]:
        for state in self.index.records():
            source = self.sources.get(state.source)
            if source is None or self._left(state, source) or state.record in self.forgotten:
                continue
            if self.forgotten.address(state.source, state.url):
                continue
            yield self._row(state, source)

    def checked_rows(self) -> Iterator[dict[str, Any]]:
        """The rows; at the end :class:`Corrupt` when a blob they name is missing, :class:`NotFound` without a crawl."""
        count = 0
        for row in self.rows():
            count += 1
            yield row
        if self.missing:
            shown = ", ".join(self.missing[:5])
            raise Corrupt(
                f"{len(self.missing)} blobs that the fetch log names are missing or torn in {self.store.home.url}: "
                f"{shown}; run 'diptych crawl RECIPE --refresh' to fetch them again"
            )
        if not count and not any(self.done.values()):
            raise NotFound(
                f"no finished crawl of {sorted(self.sources)} in {self.store.home.url}; "
                "run 'diptych crawl RECIPE' first"
            )

    def _left(self, state: RecordState, source: SourceLike) -> bool:
        vanished = source.complete and self.done[state.source] != "" and state.crawl < self.done[state.source]
        return state.outcome == "left" or vanished

    def _row(self, state: RecordState, source: SourceLike) -> dict[str, Any]:
        withdrawn = state.gone >= self.gone_after
        override = self.overrides.of(state.record, state.url)
        dropped = override is not None and override.decision == "drop"
        has = bool(state.document) and not withdrawn and not dropped
        if dropped:
            outcome = "dropped"
        elif has:
            outcome = "ok"
            self._check(state.document, f"the document of {state.url}")
        elif state.outcome == "gone":
            outcome = "gone"
        else:
            outcome = f"failed:{state.code or state.outcome}"
            if withdrawn and state.outcome != "refused":
                outcome = "gone"
        images = json.loads(state.images) if has and state.images else []
        return {
            "record": state.record,
            "source": state.source,
            "subset": source.subset,
            "source_id": state.source_id,
            "url": state.url,
            "content": state.document if has else None,
            "outcome": outcome,
            "split": state.split or None,
            "images": [made for image in images if (made := self._image(state.source, *image)) is not None],
            **({"override": override.to_dict()} if override else {}),
        }

    def _image(self, source: str, url: str, caption: str, alt: str, extra: str) -> dict[str, Any] | None:
        """One image of a row; None when it is forgotten: its address and caption are not kept either."""
        key: str | None = None
        state = self.index.url(source, url)
        override = self.overrides.of(url, state.sha256 if state is not None else None)
        if self.forgotten.address(source, url) or (
            state is not None and (state.code == "forgotten" or (state.sha256 and state.sha256 in self.forgotten))
        ):
            return None
        if override is not None and override.decision == "drop":
            outcome = "dropped"
        elif state is None:
            outcome = "failed:not_fetched"
        elif state.outcome == "gone" and (not state.sha256 or state.gone >= self._patience(url)):
            outcome = "gone"
        elif state.sha256 and state.outcome != "refused":
            outcome, key = "ok", state.sha256
            self._check(key, f"the image {url}", state.bytes)
        else:
            outcome = f"failed:{state.code or state.outcome}"
        image = {"url": url, "key": key, "caption": caption, "alt": alt, "extra": extra, "outcome": outcome}
        return {**image, "override": override.to_dict()} if override else image

    def _patience(self, url: str) -> int:
        return 1 if url.startswith("file:") else self.gone_after

    def _check(self, sha256: str, what: str, size: int | None = None) -> None:
        """Note a blob that is absent, or (after a power failure) shorter than what was fetched."""
        if sha256 in self._checked:
            return
        self._checked.add(sha256)
        try:
            found = self.store.blobs.size(sha256)
        except NotFound:
            self.missing.append(f"{sha256} ({what}: absent)")
            return
        if size is not None and found != size:
            self.missing.append(f"{sha256} ({what}: {found} bytes instead of {size})")


def row_bytes(row: dict[str, Any]) -> bytes:
    """The canonical encoding of one row: the digest is the SHA-256 over all of them, each length-prefixed.

    Decisions follow at the end, in rows that have any.
    """
    values = [row[name] for name in SCHEMA.names[:-1]]
    values.append([[image[field.name] for field in IMAGE] for image in row["images"]])
    decisions = [_decision(row), [_decision(image) for image in row["images"]]]
    if decisions[0] or any(decisions[1]):
        values.append(decisions)
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _decision(holder: dict[str, Any]) -> list[str] | None:
    found = holder.get("override")
    return [found[field.name] for field in OVERRIDE] if found else None


def _write(store: Store, found: Iterable[dict[str, Any]], overridden: bool = False) -> Snapshot:
    schema = OVERRIDDEN if overridden else SCHEMA
    hasher = hashlib.sha256(b"diptych snapshot 1\n")
    rows = records = 0
    temporary = store.home.scratch("snapshots") / f".tmp-{os.getpid()}-{secrets.token_hex(8)}"
    try:
        statistics: Any = ["record"]  # of the other columns they would cost and serve nothing
        with pq.ParquetWriter(
            temporary, schema, compression="zstd", write_statistics=statistics, write_page_checksum=True
        ) as writer:
            for group in _groups(found):
                for row in group:
                    encoded = row_bytes(row)
                    hasher.update(len(encoded).to_bytes(8, "little"))
                    hasher.update(encoded)
                    records += row["outcome"] == "ok"
                rows += len(group)
                writer.write_table(pa.Table.from_pylist(group, schema), row_group_size=GROUP)
            counts = json.dumps({"records": records, "rows": rows})
            writer.add_key_value_metadata({"diptych": counts})
        digest = hasher.hexdigest()
        if not store.home.exists(_path(digest)):
            store.home.put_file(_path(digest), temporary)
    finally:
        temporary.unlink(missing_ok=True)
    return Snapshot(store, digest, records, rows)


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for row in rows:
        group.append(row)
        if len(group) == GROUP:
            yield group
            group = []
    if group:
        yield group


def replace_records(store: Store, parent: str, new: str, records: Collection[str]) -> Snapshot:
    """The parent snapshot with the rows of these records taken from ``new``; a record that ``new`` lacks leaves."""
    wanted = frozenset(records)
    old, now = read_snapshot(store, parent), read_snapshot(store, new)
    kept = (row for row in old.iter_rows() if row["record"] not in wanted)
    taken = (row for row in now.iter_rows() if row["record"] in wanted)
    rows = heapq.merge(kept, taken, key=lambda row: row["record"])
    return _write(store, rows, old.overridden or now.overridden)


def without_forgotten(store: Store, parent: str, forgotten: Forgotten) -> Snapshot:
    """The parent snapshot without forgotten records and images."""
    old = read_snapshot(store, parent)

    def rows() -> Iterator[dict[str, Any]]:
        for row in old.iter_rows():
            if row["record"] in forgotten or forgotten.address(row["source"], row["url"] or ""):
                continue
            images = [
                i
                for i in row["images"] or ()
                if not forgotten.address(row["source"], i["url"]) and not (i["key"] and i["key"] in forgotten)
            ]
            yield row | {"images": images}

    return _write(store, rows(), old.overridden)


def shrink(parent: Snapshot, new: Snapshot) -> Shrink:
    """Which of the parent's records with content the new snapshot has no content of."""
    kept = _with_content(new)
    mine = next(kept, None)
    dropped = []
    for record in _with_content(parent):
        while mine is not None and mine < record:
            mine = next(kept, None)
        if mine != record:
            dropped.append(record)
    return Shrink(len(dropped) / parent.records if parent.records else 0.0, tuple(dropped))


def _with_content(snapshot: Snapshot) -> Iterator[str]:
    rows = snapshot.iter_rows(["record", "outcome"])
    return (row["record"] for row in rows if row["outcome"] == "ok")
