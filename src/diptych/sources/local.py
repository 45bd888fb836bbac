"""Local files through the fetch log: read once, and again only when they changed.

A file counts as unchanged when its size, modification time and inode are the logged ones and it was at least
two seconds old when it was read: what was written in the same instant could have changed unseen, as git knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diptych.sources.sniff import looks_like_image
from diptych.sources.urls import BadUrl, path_of
from diptych.storage.fetch_log import UrlState

__all__ = ["Looked", "LocalFiles"]

_RACY_SECONDS = 2.0


@dataclass(frozen=True)
class Looked:
    """One look at a file: its bytes and fingerprint, or why there are none."""

    outcome: str
    code: str = ""
    text: str = ""
    data: bytes = b""
    fingerprint: str = ""


class LocalFiles:
    """The files below one folder, by ``file:`` address; symbolic links are followed, '..' is refused."""

    def __init__(self, folder: Path, max_bytes: int = 200_000_000) -> None:
        self.folder = folder
        self.max_bytes = max_bytes

    def unchanged(self, url: str, known: UrlState | None) -> bool:
        """Whether the logged bytes are still the file's."""
        if known is None or not known.sha256:
            return False
        try:
            status = (self.folder / path_of(url)).stat()
        except (OSError, BadUrl):
            return False
        old_enough = status.st_mtime <= known.good_at - _RACY_SECONDS
        return old_enough and known.etag == _fingerprint(status.st_size, status.st_mtime_ns, status.st_ino)

    def read(self, url: str, kind: str) -> Looked:
        """The file's bytes; a file that is absent is gone, one that cannot be read may heal."""
        try:
            path = self.folder / path_of(url)
            if not path.is_file():
                return Looked("gone", "missing", f"no file {path}")
            with path.open("rb") as file:
                status = path.stat()
                if status.st_size > self.max_bytes:
                    return Looked("failed_permanent", "too_large", f"{status.st_size} bytes")
                data = file.read(self.max_bytes + 1)
        except BadUrl as error:
            return Looked("failed_permanent", "bad_path", str(error))
        except OSError as error:
            return Looked("failed_transient", "unreadable", str(error))
        if not data:
            return Looked("failed_permanent", "empty")
        if kind == "image" and not looks_like_image(data, "image/*"):
            return Looked("failed_permanent", "not_an_image")
        return Looked("ok", data=data, fingerprint=_fingerprint(status.st_size, status.st_mtime_ns, status.st_ino))


def _fingerprint(size: int, mtime_ns: int, inode: int) -> str:
    return f"{size}-{mtime_ns}-{inode}"
