"""Lists of values by key, on disk: what a file states in any order, read back one key at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from types import TracebackType

from diptych.records import clean_surrogates

__all__ = ["Spool"]


class Spool:
    """A private temporary table of (key, value) in the order of writing; memory stays flat."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE items (key, number INTEGER, value, PRIMARY KEY (key, number)) WITHOUT ROWID")
        self._count = 0
        self._counted = False

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def fill(self, items: Iterable[tuple[str, str]]) -> int:
        """Add values; returns how many."""
        before = self._count
        self._db.execute("BEGIN")
        for key, value in items:
            self._count += 1
            self._db.execute(
                "INSERT INTO items VALUES (?, ?, ?)", (clean_surrogates(key), self._count, clean_surrogates(value))
            )
        self._db.execute("COMMIT")
        return self._count - before

    def times(self, key: str) -> int:
        """How often this was asked of the key, this time included."""
        if not self._counted:
            self._db.execute("CREATE TABLE asked (key PRIMARY KEY, times INTEGER) WITHOUT ROWID")
            self._db.execute("BEGIN")  # never committed, as nobody else reads it: a statement costs less in it
            self._counted = True
        query = "INSERT INTO asked VALUES (?, 1) ON CONFLICT (key) DO UPDATE SET times = times + 1 RETURNING times"
        (found,) = self._db.execute(query, (clean_surrogates(key),)).fetchall()
        return int(found[0])

    def get(self, key: str) -> list[str]:
        """The values of a key in the order they were written."""
        rows = self._db.execute("SELECT value FROM items WHERE key = ? ORDER BY number", (clean_surrogates(key),))
        return [value for (value,) in rows]

    def values(self, key: str) -> Iterator[str]:
        """The values of a key one after the other; others may be read meanwhile."""
        last = 0
        while True:
            query = "SELECT number, value FROM items WHERE key = ? AND number > ? ORDER BY number LIMIT 1000"
            page = self._db.execute(query, (key, last)).fetchall()
            yield from (value for _, value in page)
            if len(page) < 1000:
                return
            last = page[-1][0]

    def keys(self) -> Iterator[str]:
        """All keys that are not empty, sorted by their bytes."""
        last = ""
        while True:
            query = "SELECT DISTINCT key FROM items WHERE key > ? ORDER BY key LIMIT 1000"
            page = self._db.execute(query, (last,)).fetchall()
            yield from (key for (key,) in page)
            if len(page) < 1000:
                return
            last = page[-1][0]
