"""A root that is only read, and a folder over it that takes everything that is written: for dry runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from diptych.storage.root import LocalRoot, Root

__all__ = ["Overlay"]


class Overlay:
    """``under`` as it would be with the files of ``over``; nothing under it is ever written or deleted."""

    def __init__(self, under: Root, over: LocalRoot) -> None:
        self._under, self._over = under, over

    @property
    def url(self) -> str:
        """Where the root below is, for messages."""
        return self._under.url

    def at(self, prefix: str) -> Overlay:
        """The same of a sub-folder."""
        return Overlay(self._under.at(prefix), self._over.at(prefix))

    def _of(self, path: str) -> Root:
        return self._over if self._over.exists(path) else self._under

    def read(self, path: str) -> bytes:
        """The whole file; :class:`NotFound` when absent."""
        return self._of(path).read(path)

    def create(self, path: str, data: bytes) -> bool:
        """Write the file above, only if absent in both."""
        return not self._under.exists(path) and self._over.create(path, data)

    def put(self, path: str, data: bytes, durable: bool = True) -> None:
        """Write a file above."""
        self._over.put(path, data, durable=False)

    def put_file(self, path: str, local: Path) -> None:
        """Move a file in, above."""
        self._over.put_file(path, local)

    def scratch(self, path: str) -> Path:
        """A folder above."""
        return self._over.scratch(path)

    def prepared(self, path: str) -> list[Path]:
        """What stands in either's scratch."""
        return [*self._under.prepared(path), *self._over.prepared(path)]

    def list(self, prefix: str) -> list[str]:
        """Names in either, sorted."""
        return sorted({*self._under.list(prefix), *self._over.list(prefix)})

    def walk(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Paths and sizes in either, sorted."""
        yield from sorted((dict(self._under.walk(prefix)) | dict(self._over.walk(prefix))).items())

    def exists(self, path: str) -> bool:
        """Whether it is in either."""
        return self._over.exists(path) or self._under.exists(path)

    def size(self, path: str) -> int:
        """Bytes of a file; :class:`NotFound` when absent."""
        return self._of(path).size(path)

    def modified(self, path: str) -> float:
        """When the file was last written; :class:`NotFound` when absent."""
        return self._of(path).modified(path)

    def delete(self, path: str) -> None:
        """Remove a file above; what is below stays."""
        self._over.delete(path)

    def sweep(self, prefix: str, older: float) -> list[tuple[str, int]]:
        """Nothing: what is above goes with its folder."""
        return []

    def local(self, path: str, sha256: str | None = None) -> Path:
        """A local readable file with the content."""
        return self._of(path).local(path, sha256)

    def drop_copies(self) -> None:
        """Nothing: a dry run has no copies of its own."""

    def free_bytes(self) -> int | None:
        """Free bytes of the root below."""
        return self._under.free_bytes()

    def sync(self) -> None:
        """Nothing: what is above need not last."""
