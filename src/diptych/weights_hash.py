"""The SHA-256 of weights' files: read once a process, and written beside a file whose publisher prints none."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

__all__ = ["hashed", "noted", "settled", "sha256_of", "write_note"]

_SETTLED = 2.0
"""Seconds without a change after which a file counts as written; file systems tell times of up to 2 s apart as one."""
_Mark = tuple[int, ...]
_SEEN: dict[Path, tuple[_Mark, str]] = {}


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def hashed(file: Path) -> str:
    """SHA-256 of a file; it is read again when another file, or another content, has come to its place."""
    with open(file, "rb") as handle:  # what is open stays what it is when a pull puts another file there
        mark = _mark(os.fstat(handle.fileno()))
        seen, found = _SEEN.get(file, ((), ""))
        if seen == mark:
            return found
        found = hashlib.file_digest(handle, "sha256").hexdigest()
        after = os.fstat(handle.fileno())
    if _mark(after) == mark and settled(after):
        _SEEN[file] = mark, found
    return found


def settled(found: os.stat_result) -> bool:
    """Whether nobody has written to a file in the last seconds."""
    return abs(time.time() - found.st_mtime) > _SETTLED


def noted(file: Path) -> str:
    """The hash written beside a file when it came; empty when there is none."""
    try:
        return _note_of(file).read_text().strip()
    except FileNotFoundError:
        return ""


def write_note(file: Path, sha256: str) -> None:
    """Write the hash beside a file, whole or not at all; ``OSError`` where nothing can be written."""
    part = file.with_name(f".{file.name}.sha256.{os.getpid()}")
    part.write_text(sha256 + "\n")
    os.replace(part, _note_of(file))


def _note_of(file: Path) -> Path:
    return file.with_name(file.name + ".sha256")


def _mark(found: os.stat_result) -> _Mark:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
