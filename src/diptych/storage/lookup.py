"""One record of a version, whole: where it was found, what was fetched, every row of every stage and where it stands.

Nothing is imported to look a record up: keys, columns and codes come from the manifest and the parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from diptych.exceptions import NotFound
from diptych.naming import sentence_key, shard_of, split_pair_key
from diptych.records import Document
from diptych.storage.fetch_log import Attempt, FetchLog
from diptych.storage.manifest import Manifest
from diptych.storage.snapshot import Snapshot, read_snapshot
from diptych.storage.store import Store

__all__ = ["Lineage", "RowLineage", "find_records", "lineage", "record_rows"]


@dataclass(frozen=True)
class RowLineage:
    """One row of one stage: its outcome, its values, and the segment, code and weights it came from."""

    stage: str
    key: str
    status: str
    code: str
    text: str
    value: float | None
    """What the rule that rejected the row saw."""
    threshold: float | None
    """What it compared with."""
    values: Mapping[str, Any]
    segment: str
    stage_version: int
    stage_key: str
    weights: tuple[str, ...]


@dataclass(frozen=True)
class Lineage:
    """Everything a version knows of one record."""

    dataset: str
    version: int
    record: str
    shard: int
    snapshot: Mapping[str, Any]
    fetches: tuple[Mapping[str, Any], ...]
    """The last good fetch of the record's page and of each of its images."""
    document: Document | None
    fits: Mapping[str, Mapping[str, Any]]
    rows: tuple[RowLineage, ...]


def find_records(store: Store, manifest: Manifest, key: str) -> tuple[str, ...]:
    """Record ids that a record id, URL, source id, file name or image key names; :class:`NotFound` when none."""
    snapshot = read_snapshot(store, manifest.snapshot)
    hits: list[str] = []
    for name in ("record", "source_id", "url"):
        for batch in snapshot.iter_batches(["record", name]):
            hits += batch.filter(pc.equal(batch[name], key))["record"].to_pylist()
        if hits:
            return tuple(hits)
    for row in snapshot.iter_rows(["record", "url", "source_id", "images.url", "images.key"]):
        images = row["images"] or ()
        names = [row["url"], row["source_id"], *(i["url"] for i in images)]
        if any(i["key"] == key for i in images) or any(_named(n, key) for n in names if n):
            hits.append(row["record"])
    hits = hits or _dropped(store, snapshot, key)
    if not hits:
        raise NotFound(
            f"version {manifest.version} of {manifest.dataset} has no record {key!r}: expected a record id, the URL or "
            f"file name of a document or image, or an image key (SHA-256){_asked_for(store, key)}"
        )
    return tuple(hits)


def _named(address: str, key: str) -> bool:
    """Whether ``key`` is an address, the path of a ``file:`` address or the last part of either."""
    path = unquote(address.removeprefix("file:")) if address.startswith("file:") else address
    return key in (address, path, path.rsplit("/", 1)[-1])


def _dropped(store: Store, snapshot: Snapshot, image: str) -> list[str]:
    """Records a picture of which was dropped by a person (the snapshot keeps its address alone), by its key."""
    index = FetchLog(store.home).index(unfinished=True)
    try:
        return [
            row["record"]
            for row in snapshot.iter_rows(["record", "source", "images.url", "images.outcome"])
            for found in row["images"] or ()
            if found["outcome"] == "dropped"
            and (state := index.url(row["source"], found["url"])) is not None
            and state.sha256 == image
        ]
    finally:
        index.close()


def _asked_for(store: Store, key: str) -> str:
    """What became of an address that a crawl asked for and that is no record's."""
    log = FetchLog(store.home)
    found = ""
    for crawl in [*log.crawls(), *log.unfinished()]:
        for row in log.rows(crawl):
            if isinstance(row, Attempt) and row.url == key:
                found = f"{row.outcome} {row.code}".strip()
    return f". A crawl asked for this address and made no record of it: {found}" if found else ""


def record_rows(store: Store, manifest: Manifest, record: str) -> dict[str, tuple[str, ...]]:
    """The row keys of one record by kind (document, image, pair, sentence)."""
    row = read_snapshot(store, manifest.snapshot).known(record)
    images = tuple(dict.fromkeys(i["key"] for i in (row["images"] or ()) if i["key"]))
    pairs: dict[str, None] = {}
    sentences: dict[str, None] = {}
    shard = shard_of(record, manifest.shards)
    for entry in manifest.stages:
        if entry.rows == "pair":
            reader = store.part(manifest, entry.name, shard)
            keys = reader.rows["key"].to_pylist()
            pairs.update(dict.fromkeys(k for k in keys if split_pair_key(k)[0] == record))
        if entry.name == "sentences":
            reader = store.part(manifest, entry.name, shard)
            if record not in reader.rows["key"].to_pylist():
                continue  # its text was rejected
            values: dict[str, Any] = dict(reader.row(record))
            sentences.update(dict.fromkeys(sentence_key(i["text"]) for i in values.get("items") or ()))
    return {"document": (record,), "image": images, "pair": tuple(pairs), "sentence": tuple(sentences)}


def lineage(store: Store, manifest: Manifest, key: str) -> Lineage:
    """What the version knows of the first record that ``key`` names."""
    record = find_records(store, manifest, key)[0]
    snapshot = read_snapshot(store, manifest.snapshot).known(record)
    shard = shard_of(record, manifest.shards)
    keys = record_rows(store, manifest, record)
    rows = []
    for entry in manifest.stages:
        reader = store.part(manifest, entry.name, shard)
        present = set(reader.rows["key"].to_pylist())
        for row in keys[entry.rows or "document"]:
            if row not in present:
                continue
            raw: dict[str, Any] = dict(reader.row(row))
            rows.append(
                RowLineage(
                    stage=entry.name,
                    key=row,
                    status=raw.pop("status"),
                    code=raw.pop("code") or "",
                    text=raw.pop("error") or "",
                    value=raw.pop("value"),
                    threshold=raw.pop("threshold"),
                    segment=raw.pop("segment", ""),
                    values={n: v for n, v in raw.items() if n in entry.arrow_schema().names or n in entry.tensors},
                    stage_version=entry.version,
                    stage_key=entry.key,
                    weights=tuple(w.name for w in entry.weights),
                )
            )
    document = Document.from_bytes(store.blobs.get(snapshot["content"])) if snapshot["content"] else None
    return Lineage(
        dataset=manifest.dataset,
        version=manifest.version,
        record=record,
        shard=shard,
        snapshot=snapshot,
        fetches=_fetches(store, snapshot),
        document=document,
        fits=_fits(store, manifest, keys),
        rows=tuple(rows),
    )


def _fits(store: Store, manifest: Manifest, keys: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    wanted = {k for rows in keys.values() for k in rows}
    for fit in manifest.fits:
        if fit.keyed:
            table = store.lists.get(fit.result)
            own = table.filter(pc.is_in(table["key"], value_set=pa.array(sorted(wanted), pa.string())))
            found[fit.name] = {row.pop("key"): row for row in own.to_pylist()}
    return found


def _fetches(store: Store, snapshot: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """What the fetch log knows of the record's page and of each of its images."""
    found = []
    index = FetchLog(store.home).index(unfinished=True)
    try:
        for url in dict.fromkeys((snapshot["url"], *(i["url"] for i in snapshot["images"] or ()))):
            state = index.url(snapshot["source"], url)
            if state is not None:
                when = datetime.fromtimestamp(int(state.good_at), UTC).isoformat() if state.good_at else ""
                found.append({"url": url, **asdict(state), "fetched_at": when})
    finally:
        index.close()
    return tuple(found)
