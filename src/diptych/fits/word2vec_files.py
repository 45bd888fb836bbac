"""Published word vectors: GloVe text, word2vec text (first line ``count size``) and word2vec binary.

Nothing is unpickled and nothing is trusted: lines, words and sizes are bounded, numbers must be finite, and a file
that ends early is an error. Only the vectors of the words asked for are kept in memory.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from diptych.exceptions import StageError

__all__ = ["FoundVectors", "read_vectors"]

MAX_SIZE = 4096
MAX_WORDS = 100_000_000
_MAX_WORD = 4096
_SAMPLE = 4096
_MAX_LINE = 1 << 18


@dataclass(frozen=True)
class FoundVectors:
    """Vectors (float32) by word, their length, how many words the file has, how many lines had no vector to read."""

    vectors: dict[str, np.ndarray]
    size: int
    words: int
    unreadable: int


def read_vectors(path: str | Path, words: Collection[str]) -> FoundVectors:
    """The vectors of ``words`` in a file; of a word that stands there twice the first. :class:`StageError` else."""
    file = Path(path)
    wanted = words if isinstance(words, set | frozenset | dict) else set(words)
    with file.open("rb") as source:
        first = source.readline(_MAX_LINE)
        head = _header(first)
        sample = source.read(_SAMPLE)
        source.seek(0 if head is None else len(first))
        if head is not None and (b"\0" in sample or not _is_number_line(_first_line(sample))):
            return _binary(source, *head, wanted, file)
        size = head[1] if head else first.rstrip().count(b" ")
        if not 1 <= size <= MAX_SIZE:
            raise StageError(f"{file}: the first line has {size} numbers; expected 1 to {MAX_SIZE} after a word")
        return _text(source, size, head[0] if head else None, wanted, file)


def _header(line: bytes) -> tuple[int, int] | None:
    """Count and size of word2vec's first line."""
    parts = line.split()
    if len(parts) != 2 or not all(p.isdigit() and len(p) < 12 for p in parts):
        return None
    count, size = int(parts[0]), int(parts[1])
    if count > MAX_WORDS or not 1 <= size <= MAX_SIZE:
        raise StageError(f"{count} words of {size} numbers are announced; at most {MAX_WORDS} of {MAX_SIZE} are read")
    return count, size


def _first_line(sample: bytes) -> bytes:
    """The first line; of a line that the sample cuts what stands before its last field, which may be half a number."""
    line, end, _ = sample.partition(b"\n")
    return line if end or len(sample) < _SAMPLE else line.rpartition(b" ")[0]


def _is_number_line(line: bytes) -> bool:
    try:
        float(line.rsplit(None, 1)[-1])
    except (ValueError, IndexError):
        return False
    return True


def _text(source: BinaryIO, size: int, count: int | None, wanted: Collection[str], file: Path) -> FoundVectors:
    vectors: dict[str, np.ndarray] = {}
    number = unreadable = 0
    while line := source.readline(_MAX_LINE):
        if len(line) == _MAX_LINE and not line.endswith(b"\n"):
            raise StageError(f"{file}: line {number + 1} is longer than {_MAX_LINE} bytes")
        number += 1
        parts = line.strip(b" \r\n").rsplit(b" ", size)  # a word may hold spaces
        try:
            word = parts[0].decode()
            vector = np.array([float(p) for p in parts[1:]], np.float32) if word in wanted else None
            if len(parts) != size + 1 or not word or (vector is not None and not np.isfinite(vector).all()):
                raise ValueError
        except ValueError:
            unreadable += 1
            continue
        if vector is not None:
            vectors.setdefault(word, vector)
    if unreadable * 2 > number or not number:
        raise StageError(f"{file}: {unreadable} of {number} lines are no word with {size} numbers")
    if count is not None and number != count:
        raise StageError(f"{file} announces {count} words and has {number}: it is cut off, or another file")
    return FoundVectors(vectors, size, number, unreadable)


def _binary(source: BinaryIO, count: int, size: int, wanted: Collection[str], file: Path) -> FoundVectors:
    vectors: dict[str, np.ndarray] = {}
    unreadable, buffer, start = 0, b"", 0
    for number in range(count):
        while (space := buffer.find(b" ", start)) < 0 or len(buffer) < space + 1 + 4 * size:
            if space < 0 and len(buffer) - start > _MAX_WORD:
                raise StageError(f"{file}: word {number + 1} is longer than {_MAX_WORD} bytes")
            more = source.read(1 << 20)
            if not more:
                raise StageError(f"{file} ends in word {number + 1} of {count}")
            buffer, start = buffer[start:] + more, 0
        name, start = buffer[start:space].lstrip(b"\n"), space + 1 + 4 * size
        vector = np.frombuffer(buffer, "<f4", size, space + 1)
        try:
            word = name.decode()
        except UnicodeDecodeError:
            unreadable += 1
            continue
        if word in wanted and word not in vectors:
            if np.isfinite(vector).all():
                vectors[word] = vector.astype(np.float32)
            else:
                unreadable += 1
    return FoundVectors(vectors, size, count, unreadable)
