"""Rewriting the fetch log without what was forgotten: the one exception from "rows are only ever appended".

Each crawl's file is replaced whole or not at all, under the lock that crawls hold; files without a forgotten row stay.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diptych.exceptions import Conflict
from diptych.storage.fetch_log import FOLDER, SCHEMA, FetchLog, Row, encode_row, read_journal, row_values

__all__ = ["rewrite_log"]

_ROWS = 8192


def rewrite_log(log: FetchLog, change: Callable[[Row], Row | None]) -> int:
    """Put every row through ``change`` (None drops it), oldest crawl first; returns how many rows became others.

    :class:`Conflict` while a crawl runs.
    """
    changed = 0
    with _locked(log):
        journals = log.journals()
        for crawl in log.crawls():
            if crawl in journals:  # rolled, and killed before it was deleted
                journals.pop(crawl).unlink()
            changed += _rewrite_table(log, crawl, change)
        for path in journals.values():
            changed += _rewrite_journal(path, change)
    return changed


@contextmanager
def _locked(log: FetchLog) -> Iterator[None]:
    handle = os.open(log.root.scratch(FOLDER) / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(f"a crawl of {log.root.url} is running; wait for it, or end it") from None
        yield
    finally:
        os.close(handle)


def _rewrite_table(log: FetchLog, crawl: str, change: Callable[[Row], Row | None]) -> int:
    temporary = log.root.scratch(FOLDER) / f".tmp-{crawl}-{secrets.token_hex(4)}.parquet"
    changed = 0
    try:
        with pq.ParquetWriter(temporary, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
            batch: list[dict[str, object]] = []
            for row in log.rows(crawl):
                kept = change(row)
                changed += kept != row
                if kept is not None:
                    batch.append(row_values(kept))
                if len(batch) == _ROWS:
                    writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
                    batch = []
            if batch:
                writer.write_table(pa.Table.from_pylist(batch, SCHEMA))
        if changed:
            log.root.put_file(f"{FOLDER}/{crawl}.parquet", temporary)
    finally:
        temporary.unlink(missing_ok=True)
    return changed


def _rewrite_journal(path: Path, change: Callable[[Row], Row | None]) -> int:
    temporary = path.with_name(f".tmp-{path.name}-{secrets.token_hex(4)}")
    changed = 0
    try:
        with temporary.open("wb") as file:
            for row in read_journal(path):
                kept = change(row)
                changed += kept != row
                if kept is not None:
                    file.write(encode_row(kept))
            file.flush()
            os.fsync(file.fileno())
        if changed:
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return changed
