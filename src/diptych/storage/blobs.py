"""Blobs: fetched bytes, written once under their SHA-256 at ``raw/blobs/ab/<sha256>``.

A blob becomes visible whole or not at all. Single blobs are not synced to the disk (a crawl writes millions);
:meth:`Blobs.sync` does it for all at once, and what a power failure truncates is seen when it is read.
"""

from __future__ import annotations

import re

from diptych.exceptions import Corrupt, NotFound, StoreError
from diptych.naming import digest_bytes
from diptych.storage.root import Root

__all__ = ["Blobs", "blob_path"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


def blob_path(sha256: str) -> str:
    """Where a blob is, relative to the dataset."""
    if not _SHA256.fullmatch(sha256):
        raise StoreError(f"not a blob's name: {sha256!r} (expected 64 hexadecimal digits)")
    return f"raw/blobs/{sha256[:2]}/{sha256}"


class Blobs:
    """The fetched bytes of one dataset."""

    def __init__(self, home: Root) -> None:
        self._home = home

    def put(self, data: bytes, sha256: str = "") -> str:
        """Store bytes unless they are there whole; returns their SHA-256 (computed unless the caller did)."""
        sha256 = sha256 or digest_bytes(data)
        path = blob_path(sha256)
        try:
            if self._home.size(path) == len(data):
                return sha256
        except NotFound:
            pass
        self._home.put(path, data, durable=False)
        return sha256

    def get(self, sha256: str) -> bytes:
        """The bytes; :class:`NotFound` when absent, :class:`Corrupt` when their SHA-256 is another."""
        path = blob_path(sha256)
        try:
            data = self._home.read(path)
        except NotFound:
            raise NotFound(f"blob {path} is missing in {self._home.url}; {_REMEDY}") from None
        found = digest_bytes(data)
        if found != sha256:
            raise Corrupt(
                f"blob {path} in {self._home.url}: expected SHA-256 {sha256}, found {found} "
                f"({len(data)} bytes); delete it and {_REMEDY}"
            )
        return data

    def has(self, sha256: str) -> bool:
        """Whether the file is there."""
        return self._home.exists(blob_path(sha256))

    def size(self, sha256: str) -> int:
        """Bytes of a blob; :class:`NotFound` when absent."""
        try:
            return self._home.size(blob_path(sha256))
        except NotFound:
            raise NotFound(f"blob {blob_path(sha256)} is missing in {self._home.url}; {_REMEDY}") from None

    def sync(self) -> None:
        """Make all blobs put so far survive a power failure; a crawl calls it before it records them."""
        self._home.sync()


_REMEDY = "run diptych crawl --refresh to fetch it again"
