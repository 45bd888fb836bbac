"""The folder of an export: written beside its final name, renamed when it is whole; nothing is ever left there half.

``export.json`` lists every file with its size and SHA-256, what was exported and how. The folder's own name appears
last; a killed export leaves ``.<name>.part-...`` beside it, which the next export to that name removes.
"""

from __future__ import annotations

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

__all__ = ["MANIFEST", "Target"]

MANIFEST = "export.json"


class Target:
    """``with Target(path) as target:`` gives ``target.folder`` to write into; :meth:`finish` makes it appear."""

    def __init__(self, path: Path) -> None:
        """:class:`UsageError` when something is there already that is no empty folder."""
        self.path = Path(os.path.abspath(path))
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UsageError(f"--to {path}: it exists and is not an empty folder; name a new one, or remove it")
        self.folder = self.path.parent / f".{self.path.name}.part-{secrets.token_hex(6)}"
        self._finished = False

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for old in self.path.parent.glob(f".{self.path.name}.part-*"):
            shutil.rmtree(old, ignore_errors=True)
        self.folder.mkdir()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._finished:
            shutil.rmtree(self.folder, ignore_errors=True)

    def files(self) -> list[dict[str, Any]]:
        """Path, size and SHA-256 of every file but the manifest, sorted by path."""
        found = []
        for path in sorted(p for p in self.folder.rglob("*") if p.is_file() and p.name != MANIFEST):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            name = path.relative_to(self.folder).as_posix()
            found.append({"path": name, "bytes": path.stat().st_size, "sha256": digest})
        return found

    def finish(self, about: Mapping[str, Any]) -> str:
        """Write the manifest, make all durable, give the folder its name; returns the manifest's SHA-256."""
        text = json.dumps({**about, "files": self.files()}, ensure_ascii=False, indent=1) + "\n"
        (self.folder / MANIFEST).write_text(text, encoding="utf-8")
        for path in sorted(self.folder.rglob("*"), reverse=True):
            _sync(path)
        _sync(self.folder)
        os.replace(self.folder, self.path)  # an empty folder of that name is replaced, a filled one refuses
        self._finished = True
        _sync(self.path.parent)
        return hashlib.sha256(text.encode()).hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
