"""Lists: small immutable tables named by the digest of their values (row tables, part lists, fit results, ledgers).

A list's name is the canonical digest of its values, so that equal content is stored once and a later Parquet
writer changes no name. A list that the log has retired may be deleted at any moment, even while it still
exists; the same values written later therefore get a new name, ``<digest>~<number of the retire entry>``.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from diptych.exceptions import Corrupt, NotFound
from diptych.storage.canonical import table_digest
from diptych.storage.log import Log
from diptych.storage.root import Root

__all__ = ["Lists", "list_path"]


def list_path(name: str) -> str:
    """Where a list is, relative to the dataset."""
    return f"lists/{name}.parquet"


class Lists:
    """The content-addressed tables of one dataset."""

    def __init__(self, home: Root, log: Log) -> None:
        self._home = home
        self._log = log

    def put(self, table: pa.Table) -> str:
        """Store a table unless it is there; returns its name. After a lost commit put again: it may be retired now."""
        digest = table_digest(table)
        retired = self._log.retired().lists
        name = digest
        while name in retired:
            name = f"{digest}~{retired[name]}"
        path = list_path(name)
        if not self._home.exists(path):
            self._home.put(path, encode_table(table))
        return name

    def get(self, name: str) -> pa.Table:
        """The table; its values are checked against its name (:class:`Corrupt`, :class:`NotFound`)."""
        path = list_path(name)
        try:
            data = self._home.read(path)
        except NotFound:
            raise NotFound(
                f"list {path} is missing in {self._home.url}; a version that names it cannot be read: "
                "run diptych verify, then diptych build to make what is missing again"
            ) from None
        expected = name.partition("~")[0]
        try:
            table = pq.read_table(io.BytesIO(data))
            found = table_digest(table)
        except MemoryError:
            raise  # Arrow's is an ArrowException, too; the file is whole
        except (pa.ArrowException, OSError, ValueError) as error:
            raise Corrupt(f"list {path} in {self._home.url} is damaged: {error}; {_REMEDY}") from error
        if found != expected:
            raise Corrupt(f"list {path} in {self._home.url}: expected digest {expected}, found {found}; {_REMEDY}")
        return table

    @contextlib.contextmanager
    def or_damaged(self, name: str) -> Iterator[None]:
        """Go on without a list that is missing or damaged: what it says can be found or computed again.

        A damaged file is deleted, so that ``put`` of the same values writes it anew.
        """
        try:
            yield
        except NotFound:
            pass
        except Corrupt:
            self._home.delete(list_path(name))

    def exists(self, name: str) -> bool:
        """Whether the file is there (its content is checked by ``get``)."""
        return self._home.exists(list_path(name))

    def size(self, name: str) -> int:
        """Bytes of the file."""
        return self._home.size(list_path(name))


_REMEDY = "delete the file and run diptych build: it writes the same list again"


def encode_table(table: pa.Table) -> bytes:
    """A table as a Parquet file with checksummed pages and no metadata but its schema."""
    sink = io.BytesIO()
    plain = table.replace_schema_metadata(None)
    pq.write_table(plain, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()
