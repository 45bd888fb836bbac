"""The fetch log: what was asked for, what came back, and which documents were read from it.

While a crawl runs its rows go to a journal ``raw/fetches/<crawl>.jsonl``: one JSON object a line, one
``write`` a row, so that a killed process loses only what was in flight, with an fsync every second for a
machine that loses power. At the crawl's end the journal becomes ``<crawl>.parquet``. A journal that a killed
crawl left is continued by the next one, under the same crawl id: nothing that it settled is asked for again.

Three kinds of rows stand in one table (``row``): ``attempt`` (one request, or one look at a file), ``document``
(what a source read, or failed to) and ``mark`` (the start, the end, a source done). A crawl id starts with a
number that only grows, so that names sort in the order the crawls were begun. One crawl per dataset runs at
a time, held by a lock that dies with the process. Of a dataset in a bucket, journal and lock are the crawling
machine's (``Root.scratch``): only there a killed crawl is seen and goes on.

What the rows add up to per URL and per record is in :class:`LogIndex` (``LogIndex.apply``): a private
on-disk SQLite table that lives as long as it is open, so that memory stays flat however long the log is.

This file is longer than most because the row, its two encodings and its meaning belong side by side.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diptych.exceptions import Conflict, Corrupt, NotFound, StoreError
from diptych.storage.parquet import opened
from diptych.storage.root import Root

__all__ = ["Attempt", "DocumentRow", "FetchLog", "LogIndex", "Mark", "RecordState", "Row", "UrlState", "scope_of"]

FOLDER = "raw/fetches"
_AGAIN = "move the file away and crawl again (what it fetched is fetched once more)"
GOOD = ("ok", "not_modified")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request with its redirects, or one look at a file; ``settled`` when no retry follows in this crawl."""

    crawl: str
    source: str
    kind: str
    """page, image, robots, sitemap, file or api."""
    url: str
    outcome: str
    """ok, not_modified, gone, refused, failed_transient or failed_permanent."""
    final_url: str = ""
    attempt: int = 1
    started_at: float = 0.0
    """Seconds since 1970."""
    seconds: float = 0.0
    code: str = ""
    status: int = 0
    bytes: int = 0
    sha256: str = ""
    etag: str = ""
    """For local files ``<size>-<mtime_ns>-<inode>``."""
    last_modified: str = ""
    content_type: str = ""
    text: str = ""
    """What went wrong, or, of a good answer, its X-Robots-Tag."""
    settled: bool = True


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """What a source read as one record in one crawl; ``document`` is empty unless the outcome is ok."""

    crawl: str
    source: str
    subset: str
    record: str
    source_id: str
    url: str
    outcome: str
    """As an attempt's, or ``left``: the source itself says that the record is no longer part of it."""
    code: str = ""
    document: str = ""
    images: str = ""
    """JSON list of [url, caption, alt, extra] in document order."""
    split: str = ""
    extractor: str = ""
    page: str = ""
    """SHA-256 of the bytes the document was read from, where it has such a page or file."""


@dataclass(frozen=True, slots=True)
class Mark:
    """``start`` (text: JSON of the mode), ``source`` (that source was read to its end) or ``end``."""

    crawl: str
    mark: str
    source: str = ""
    started_at: float = 0.0
    text: str = ""


Row = Attempt | DocumentRow | Mark
_KINDS: dict[str, type[Row]] = {"attempt": Attempt, "document": DocumentRow, "mark": Mark}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
_FIELDS = {name: {f.name for f in fields(kind)} for name, kind in _KINDS.items()}
_DEFAULTS = {kind: [(f.name, f.default) for f in fields(kind)] for kind in _KINDS.values()}
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
SCHEMA = pa.schema(
    {"row": pa.string()} | {f.name: _TYPES[str(f.type)] for kind in _KINDS.values() for f in fields(kind)}
)


@dataclass(frozen=True, slots=True)
class UrlState:
    """What the log knows of one URL: its last good answer and how it went since."""

    sha256: str
    bytes: int
    etag: str
    last_modified: str
    final_url: str
    content_type: str
    note: str
    good_at: float
    outcome: str
    code: str
    status: int
    gone: int
    """Crawls in a row that answered 404 or 410; a failure of another kind neither counts nor ends the row."""
    crawl: str


@dataclass(frozen=True, slots=True)
class RecordState:
    """What the log knows of one record; ``document`` to ``page`` are those of its last good reading."""

    record: str
    source: str
    subset: str
    source_id: str
    url: str
    document: str
    images: str
    split: str
    extractor: str
    page: str
    outcome: str
    code: str
    gone: int
    crawl: str


def scope_of(source: str, url: str) -> str:
    """``file:`` addresses are relative to their source's folder; all others mean the same everywhere."""
    return source if url.startswith("file:") else ""


def _columns(kind: type) -> str:
    return ", ".join(f.name for f in fields(kind))


_URL_UPSERT = f"""
INSERT INTO urls (scope, url, {_columns(UrlState)}) VALUES ({", ".join("?" * 15)})
ON CONFLICT (scope, url) DO UPDATE SET
  sha256 = iif(excluded.outcome = 'ok', excluded.sha256, sha256),
  bytes = iif(excluded.outcome = 'ok', excluded.bytes, bytes),
  etag = iif(excluded.outcome = 'ok' OR (excluded.outcome = 'not_modified' AND excluded.etag <> ''),
    excluded.etag, etag),
  last_modified = iif(excluded.outcome = 'ok' OR (excluded.outcome = 'not_modified' AND excluded.last_modified <> ''),
    excluded.last_modified, last_modified),
  final_url = iif(excluded.outcome = 'ok', excluded.final_url, final_url),
  content_type = iif(excluded.outcome = 'ok', excluded.content_type, content_type),
  note = iif(excluded.outcome = 'ok', excluded.note, note),
  good_at = iif(excluded.outcome = 'ok', excluded.good_at, good_at),
  gone = CASE WHEN excluded.outcome IN ('ok', 'not_modified') THEN 0
    WHEN excluded.outcome = 'gone' AND crawl <> excluded.crawl THEN gone + 1 ELSE gone END,
  outcome = excluded.outcome, code = excluded.code, status = excluded.status, crawl = excluded.crawl"""

_RECORD_UPSERT = f"""
INSERT INTO records ({_columns(RecordState)}) VALUES ({", ".join("?" * 14)})
ON CONFLICT (record) DO UPDATE SET
  document = iif(excluded.outcome = 'ok', excluded.document, document),
  images = iif(excluded.outcome = 'ok', excluded.images, images),
  split = iif(excluded.outcome = 'ok', excluded.split, split),
  extractor = iif(excluded.outcome = 'ok', excluded.extractor, extractor),
  page = iif(excluded.outcome = 'ok', excluded.page, page),
  gone = CASE WHEN excluded.outcome = 'ok' THEN 0
    WHEN excluded.outcome IN ('gone', 'refused') AND crawl <> excluded.crawl THEN gone + 1 ELSE gone END,
  subset = excluded.subset, url = excluded.url, outcome = excluded.outcome, code = excluded.code,
  crawl = excluded.crawl"""


_URL = f"SELECT {_columns(UrlState)} FROM urls WHERE scope = ? AND url = ?"
_RECORD = f"SELECT {_columns(RecordState)} FROM records WHERE record = ?"


class LogIndex:
    """The state of every URL and record after the rows applied so far; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(
            f"CREATE TABLE urls (scope, url, {_columns(UrlState)}, PRIMARY KEY (scope, url)) WITHOUT ROWID"
        )
        self._db.execute(f"CREATE TABLE records ({_columns(RecordState)}, PRIMARY KEY (record)) WITHOUT ROWID")
        self._db.execute("CREATE INDEX by_source ON records (source, source_id)")
        self._db.execute("CREATE TABLE sources (source PRIMARY KEY, crawl)")
        self._db.execute("BEGIN")  # never committed: the table is this object's alone, and a statement costs less in it

    def apply(self, rows: Iterable[Row]) -> None:
        """Take rows in, in the order they were written."""
        with self._lock:
            for row in rows:
                self._apply(row)

    def _apply(self, row: Row) -> None:
        if isinstance(row, Attempt):
            if not row.settled:
                return
            good = row.outcome == "ok"
            note = row.text if row.outcome in GOOD else ""
            values = (
                *(scope_of(row.source, row.url), row.url, row.sha256 if good else "", row.bytes if good else 0),
                *(row.etag if row.outcome in GOOD else "", row.last_modified if row.outcome in GOOD else ""),
                *(row.final_url, row.content_type, note, row.started_at if good else 0.0, row.outcome, row.code),
                *(row.status, int(row.outcome == "gone"), row.crawl),
            )
            self._db.execute(_URL_UPSERT, values)
        elif isinstance(row, DocumentRow):
            gone = int(row.outcome in ("gone", "refused"))
            values = (
                *(row.record, row.source, row.subset, row.source_id, row.url, row.document, row.images, row.split),
                *(row.extractor, row.page, row.outcome, row.code, gone, row.crawl),
            )
            self._db.execute(_RECORD_UPSERT, values)
        elif row.mark == "source":
            self._db.execute("INSERT OR REPLACE INTO sources VALUES (?, ?)", (row.source, row.crawl))

    def url(self, source: str, url: str) -> UrlState | None:
        """The state of a URL (of a local file: in its source), None when it was never settled."""
        with self._lock:
            found = self._db.execute(_URL, (scope_of(source, url), url)).fetchone()
        return UrlState(*found) if found else None

    def record(self, record: str) -> RecordState | None:
        """The state of a record, None when no source ever named it."""
        with self._lock:
            found = self._db.execute(_RECORD, (record,)).fetchone()
        return RecordState(*found) if found else None

    def records(self, source: str | None = None) -> Iterator[RecordState]:
        """All records (of one source), sorted by record id; rows may be applied meanwhile."""
        last = ""
        where = "record > ?" if source is None else "record > ? AND source = ?"
        query = f"SELECT {_columns(RecordState)} FROM records WHERE {where} ORDER BY record LIMIT 1000"
        while True:
            with self._lock:
                page = self._db.execute(query, (last,) if source is None else (last, source)).fetchall()
            yield from (RecordState(*found) for found in page)
            if len(page) < 1000:
                return
            last = page[-1][0]

    def done_crawl(self, source: str) -> str:
        """The last crawl that read the source to its end; empty when none did."""
        with self._lock:
            found = self._db.execute("SELECT crawl FROM sources WHERE source = ?", (source,)).fetchone()
        return found[0] if found else ""

    def close(self) -> None:
        """Drop the table."""
        with self._lock:
            self._db.close()


class Journal:
    """The open journal of a running crawl: every row is applied to the index and handed to the system at once."""

    def __init__(self, log: FetchLog, crawl: str, path: Path, lock: int, index: LogIndex) -> None:
        self.crawl = crawl
        self.index = index
        self._log = log
        self._path = path
        self._lock_handle = lock
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._dirty = False
        self._syncer = threading.Thread(target=self._sync, name="fetch-log-sync", daemon=True)
        self._syncer.start()

    def write(self, row: Row) -> None:
        """Append one row; it survives this process from here on, and a power cut one second later."""
        line = encode_row(row)
        with self._guard:
            if self._handle < 0:
                raise StoreError(f"crawl {self.crawl} has ended; a late answer for it is dropped")
            start = os.fstat(self._handle).st_size
            try:
                view = memoryview(line)
                while view:
                    view = view[os.write(self._handle, view) :]
            except OSError:  # a full disk: no half line may stand before the next row
                os.ftruncate(self._handle, start)
                raise
            self._dirty = True
            self.index.apply((row,))

    def _sync(self) -> None:
        while not self._stop.wait(1.0):
            self._flush()

    def _flush(self) -> None:
        with self._guard:
            dirty, self._dirty = self._dirty, False
        if dirty:  # outside the lock: rows may be written meanwhile
            os.fsync(self._handle)

    def finish(self, text: str = "") -> None:
        """Write the end mark and turn the journal into Parquet."""
        self.write(Mark(self.crawl, "end", started_at=time.time(), text=text))
        self._close_file()
        self._log.roll(self.crawl, self._path)
        self._unlock()

    def leave(self) -> None:
        """Close without an end, or after an end that was interrupted: the next crawl continues this one."""
        self._close_file()
        self._unlock()

    def _unlock(self) -> None:
        handle, self._lock_handle = self._lock_handle, -1
        if handle >= 0:
            os.close(handle)

    def _close_file(self) -> None:
        if self._handle < 0:
            return
        self._stop.set()
        self._syncer.join()
        self._flush()
        with self._guard:
            os.close(self._handle)
            self._handle = -1


class FetchLog:
    """The fetch log of one dataset, ``root`` being the dataset's folder."""

    def __init__(self, root: Root) -> None:
        self.root = root

    def crawls(self) -> list[str]:
        """Ids of the finished crawls, oldest first."""
        return [name.removesuffix(".parquet") for name in self.root.list(FOLDER) if name.endswith(".parquet")]

    def journals(self) -> dict[str, Path]:
        """Crawl id to journal, in order of the ids; of a bucket's log those on this machine."""
        return {path.stem: path for path in self.root.prepared(FOLDER) if path.suffix == ".jsonl"}

    def unfinished(self) -> list[str]:
        """Ids of crawls of which only a journal exists, on this machine: running, or killed."""
        done = set(self.crawls())
        return [crawl for crawl in self.journals() if crawl not in done]

    def rows(self, crawl: str) -> Iterator[Row]:
        """The rows of one crawl in the order they were written."""
        if self.root.exists(f"{FOLDER}/{crawl}.parquet"):
            with opened(self.root, f"{FOLDER}/{crawl}.parquet", _AGAIN) as file:
                for batch in file.iter_batches(batch_size=4096):
                    yield from [_from_values(values) for values in batch.to_pylist()]
            return
        path = self.journals().get(crawl)
        if path is None:
            raise NotFound(f"no crawl {crawl} in {self.root.url}; there are {self.crawls()[-5:]}")
        yield from read_journal(path)

    def index(self, *, unfinished: bool = False) -> LogIndex:
        """The state after all finished crawls; with ``unfinished`` also what a killed or running one has so far."""
        index = LogIndex()
        for crawl in self.crawls():
            index.apply(self.rows(crawl))
        for crawl in self.unfinished():
            if unfinished or any(isinstance(row, Mark) and row.mark == "end" for row in self.rows(crawl)):
                index.apply(self.rows(crawl))
        return index

    def begin(self, mode: str = "") -> Journal:
        """Begin a crawl, or continue one of the same mode that was killed; :class:`Conflict` while another runs."""
        folder = self.root.scratch(FOLDER)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise Conflict(f"another crawl of {self.root.url} is running; wait for it, or end it") from None
        try:
            for crawl, path in self.journals().items():  # killed between rolling a journal and deleting it
                rolled = f"{FOLDER}/{crawl}.parquet"
                if self.root.exists(rolled):
                    if self._whole(rolled):
                        path.unlink()
                    else:
                        self.root.delete(rolled)
            resumed, last = "", self._last()
            for crawl in self.unfinished():
                path = folder / f"{crawl}.jsonl"
                _drop_torn_tail(path)
                if path.stat().st_size == 0:  # killed before its first row
                    path.unlink()
                    continue
                marks = [row for row in read_journal(path) if isinstance(row, Mark)]
                same = any(mark.mark == "start" and mark.text == mode for mark in marks)
                newest = _number(crawl) > last  # of a bucket's log another machine may have written a later crawl
                if same and newest and not resumed and not any(mark.mark == "end" for mark in marks):
                    resumed = crawl
                else:
                    self.roll(crawl, path)
            index = LogIndex()
            for crawl in self.crawls():
                index.apply(self.rows(crawl))
            if resumed:
                path = folder / f"{resumed}.jsonl"
                index.apply(read_journal(path))
                return Journal(self, resumed, path, lock, index)
            crawl = f"{self._last() + 1:06d}-{secrets.token_hex(3)}"
            journal = Journal(self, crawl, folder / f"{crawl}.jsonl", lock, index)
            journal.write(Mark(crawl, "start", started_at=time.time(), text=mode))
            return journal
        except BaseException:
            os.close(lock)
            raise

    def _last(self) -> int:
        """The number of the last finished crawl."""
        return max(map(_number, self.crawls()), default=0)

    def _whole(self, rolled: str) -> bool:
        """Whether a journal's Parquet file can be opened: its journal is not deleted for a torn one."""
        try:
            with opened(self.root, rolled, _AGAIN):
                return True
        except Corrupt:
            return False

    def roll(self, crawl: str, path: Path) -> None:
        """Turn a journal into the crawl's Parquet file, in bounded memory, and delete it."""
        temporary = path.with_name(f".tmp-{crawl}-{secrets.token_hex(4)}.parquet")
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
            batch: list[dict[str, object]] = []
            for row in read_journal(path):
                batch.append(row_values(row))
                if len(batch) == 8192:
                    writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
                    batch = []
            if batch:
                writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
        self.root.put_file(f"{FOLDER}/{crawl}.parquet", temporary)
        path.unlink(missing_ok=True)


def _number(crawl: str) -> int:
    return int(crawl.partition("-")[0])


def row_values(row: Row) -> dict[str, object]:
    """A row as columns; ``dataclasses.asdict`` copies every string and takes longer than writing them."""
    kind = type(row)
    return {"row": _NAMES[kind], **{name: getattr(row, name) for name, _ in _DEFAULTS[kind]}}


def encode_row(row: Row) -> bytes:
    """One line of a journal: the row's kind and every field that has not its default."""
    values: dict[str, object] = {"row": _NAMES[type(row)]}
    for name, default in _DEFAULTS[type(row)]:
        value = getattr(row, name)
        if value != default:
            values[name] = value
    return _ENCODE(values).encode("utf-8", "replace") + b"\n"


def _from_values(values: dict[str, object]) -> Row:
    kind = str(values.get("row"))
    known = _FIELDS[kind]
    return _KINDS[kind](**{k: v for k, v in values.items() if k in known and v is not None})  # type: ignore[arg-type]


def read_journal(path: Path) -> Iterator[Row]:
    """The rows of a journal up to a torn end; :class:`Corrupt` when a torn line stands before good ones."""
    torn = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            row = _decode(line)
            if row is None:
                torn = torn or number
            elif torn:
                raise Corrupt(
                    f"{path}, line {torn}: expected one JSON object, found damage in the middle of the journal; "
                    f"{_AGAIN}"
                )
            else:
                yield row


def _decode(line: bytes) -> Row | None:
    if not line.endswith(b"\n"):
        return None
    try:
        values = json.loads(line)
        return _from_values(values)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _drop_torn_tail(path: Path) -> None:
    """Cut off what a killed writer left after the last whole row, so that new rows follow a line's end."""
    good = 0
    with path.open("rb") as file:
        for line in file:
            if _decode(line) is None:
                break
            good += len(line)
        rest = file.read()
    if good < path.stat().st_size and not any(_decode(line + b"\n") for line in rest.split(b"\n")):
        os.truncate(path, good)
