"""A reader's index on disk: written once when a reader opens, memory-mapped by every process that reads.

A folder of its own in the temporary folder (``TMPDIR``) holds, for the rows and the fields asked for, columns as
uncompressed Arrow files (Parquet has no random access) and positions as plain arrays. Tensors, images and texts
of documents are not copied: their places are. So the index of any number of rows costs a process no memory, and
what a worker process is given is the folder's name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

__all__ = ["ArraySpool", "TableSpool", "new_folder", "open_array", "open_table", "remove_folder"]

_FLUSH_BYTES = 8 << 20
_PREFIX, _LOCK = "diptych-reader-", "lock"


def new_folder() -> tuple[Path, int]:
    """An empty folder and the descriptor of its lock; folders that killed processes left behind are removed first."""
    for other in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError):
            handle = os.open(other, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its process or a worker lives
                shutil.rmtree(other.parent, ignore_errors=True)
            finally:
                os.close(handle)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    handle = os.open(folder / f".{_LOCK}", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_SH)
    os.rename(folder / f".{_LOCK}", folder / _LOCK)  # seen by others only when it is held
    return folder, handle


def remove_folder(folder: Path, lock: int, process: int) -> None:
    """Remove a folder in the process that made it; a forked worker must not remove what its parent reads."""
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(lock)


class TableSpool:
    """Appends tables to one Arrow file; an empty one still has the schema."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema.remove_metadata()
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, self._schema)
        self._waiting: list[pa.Table] = []
        self._bytes = 0
        self.rows = 0

    def append(self, table: pa.Table) -> None:
        """Add the rows of a table that has the schema's columns."""
        if table.num_rows == 0:
            return
        plain = table.select(self._schema.names).cast(self._schema)
        self._waiting.append(plain)
        self._bytes += plain.nbytes
        self.rows += table.num_rows
        if self._bytes >= _FLUSH_BYTES:
            self._flush()

    def append_columns(self, columns: dict[str, list[Any]]) -> None:
        """Add rows given as Python values."""
        arrays = [pa.array(columns[field.name], field.type) for field in self._schema]
        self.append(pa.table(arrays, schema=self._schema))

    def _flush(self) -> None:
        if self._waiting:
            for batch in pa.concat_tables(self._waiting).combine_chunks().to_batches():
                self._writer.write_batch(batch)
            self._waiting, self._bytes = [], 0

    def close(self) -> None:
        """Complete the file."""
        self._flush()
        self._writer.close()
        self._sink.close()


def open_table(path: Path) -> pa.Table:
    """The file memory-mapped: nothing is read before a value is."""
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


class ArraySpool:
    """Appends to a flat file of numbers."""

    def __init__(self, path: Path, dtype: str = "<i8") -> None:
        self._dtype = np.dtype(dtype)
        self._file = path.open("wb")

    def append(self, values: Any) -> None:
        """Add values."""
        np.ascontiguousarray(values, self._dtype).tofile(self._file)

    def close(self) -> None:
        """Complete the file."""
        self._file.close()


def open_array(path: Path, width: int = 1, dtype: str = "<i8") -> np.ndarray:
    """The file memory-mapped, as rows of ``width`` numbers (flat when 1)."""
    size = path.stat().st_size // np.dtype(dtype).itemsize
    if size == 0:  # an empty file cannot be mapped
        return np.zeros(0 if width == 1 else (0, width), dtype)
    flat = np.memmap(path, dtype, "r", shape=(size,)).view(np.ndarray)  # slicing a memmap is slow
    return flat if width == 1 else flat.reshape(-1, width)
