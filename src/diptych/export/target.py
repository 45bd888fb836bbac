"""The folder of an export: written beside its final name, renamed when it is whole; nothing is ever left there half.

``export.json`` lists every file with its size and SHA-256, what was exported and how. The folder's own name appears
last; a killed export leaves ``.<name>.part-...`` beside it, which the next export to that name removes.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from diptych.exceptions import UsageError
from diptych.storage.outputs import unwritable

__all__ = ["MANIFEST", "Target"]

MANIFEST = "export.json"


class Target:
    """``with Target(path) as target:`` gives ``target.folder`` to write into.

    :meth:`seal` ends the files, :meth:`publish` makes the folder appear; between the two it is noted where it will be.
    """

    def __init__(self, path: Path) -> None:
        """:class:`UsageError` when something is there already that is no empty folder."""
        self.path = Path(os.path.realpath(path))  # a folder cannot take the place of a link
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UsageError(f"--to {path}: it exists and is not an empty folder; name a new one, or remove it")
        self.folder = self.path.parent / f".{self.path.name}.part-{secrets.token_hex(6)}"
        self._finished = False

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for old in self.path.parent.glob(f".{glob.escape(self.path.name)}.part-*"):
                shutil.rmtree(old, ignore_errors=True)
            self.folder.mkdir()
        except OSError as error:
            raise unwritable("--to", self.path, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._finished:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(error, OSError) and self._is_mine(error):
            raise unwritable("--to", self.path, error) from error

    def _is_mine(self, error: OSError) -> bool:
        """Whether a file of this export could not be written; libraries that write files seldom name them."""
        return error.filename is None or str(error.filename).startswith((str(self.folder), str(self.path)))

    @property
    def stands(self) -> bool:
        """Whether the finished folder is there."""
        return (self.path / MANIFEST).exists()

    def files(self) -> list[dict[str, Any]]:
        """Path, size and SHA-256 of every file but the manifest, sorted by path."""
        found = []
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file() and p.name != MANIFEST):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            name = path.relative_to(self.folder).as_posix()
            found.append({"path": name, "bytes": path.stat().st_size, "sha256": digest})
        return found

    def seal(self, about: Mapping[str, Any]) -> str:
        """Write the manifest and make all durable; returns the manifest's SHA-256."""
        text = json.dumps({**about, "files": self.files()}, ensure_ascii=False, indent=1) + "\n"
        (self.folder / MANIFEST).write_text(text, encoding="utf-8")
        for path in sorted(self.folder.rglob("*"), reverse=True):
            _sync(path)
        _sync(self.folder)
        return hashlib.sha256(text.encode()).hexdigest()

    def publish(self) -> None:
        """Give the sealed folder its name."""
        os.replace(self.folder, self.path)  # an empty folder of that name is replaced, a filled one refuses
        self._finished = True
        _sync(self.path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
