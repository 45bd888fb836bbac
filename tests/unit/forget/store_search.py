"""A search through every file of a folder: raw bytes, and the values inside Parquet files."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def contents(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file's name and bytes; of a Parquet file also all its values, decompressed."""
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name, data = str(path.relative_to(root)), path.read_bytes()
        yield name, data
        if data[:2] == b"\x1f\x8b":
            yield name, gzip.decompress(data)
        if data[:4] == b"PAR1" and data[-4:] == b"PAR1":
            sink = pa.BufferOutputStream()
            table = pq.read_table(path)
            with pa.ipc.new_stream(sink, table.schema) as stream:
                stream.write_table(table)
            yield name, sink.getvalue().to_pybytes()


def search(root: Path, needles: dict[str, bytes]) -> dict[str, list[str]]:
    """What was found: needle's name to the files that contain it."""
    found: dict[str, list[str]] = {}
    for file, data in contents(root):
        for name, needle in needles.items():
            if needle in data and file not in found.get(name, []):
                found.setdefault(name, []).append(file)
    return found
