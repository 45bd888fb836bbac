"""A root: the folder of a file system or bucket that datasets live in, with one atomic create-if-absent.

Everything the store promises about crashes and races rests on three operations here: ``create`` (exactly one
of many callers succeeds, and what becomes visible is complete), ``put`` (complete or absent, for names that
nobody else uses) and ``delete``. Paths are relative and '/'-separated.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from diptych.exceptions import NotFound, StoreError, UsageError
from diptych.storage.outputs import refused

__all__ = ["TEMPORARY", "LocalRoot", "Root", "check_path", "fsync_file", "has_atomic_create", "open_root"]

TEMPORARY = ".tmp-"
_TRIES = 100
"""How often a folder is made again that a delete beside us prunes, for it is empty."""


class Root(Protocol):
    """What the store needs of a file system or bucket."""

    @property
    def url(self) -> str:
        """Where it is, for messages and for :func:`open_root`."""
        ...

    def at(self, prefix: str) -> Root:
        """The same storage with ``prefix`` as its root."""
        ...

    def read(self, path: str) -> bytes:
        """The whole file; :class:`NotFound` when absent."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Write the file only if absent, atomically and durably; False when it exists already."""
        ...

    def put(self, path: str, data: bytes, durable: bool = True) -> None:
        """Write a file under a name nobody else uses (or a content-addressed one); complete or absent."""
        ...

    def put_file(self, path: str, local: Path) -> None:
        """Move a local file in, durably."""
        ...

    def scratch(self, path: str) -> Path:
        """A local folder to prepare the files of the folder ``path`` in, before ``put_file``."""
        ...

    def prepared(self, path: str) -> list[Path]:
        """What stands in ``scratch(path)`` on this machine, sorted; nothing is created."""
        ...

    def list(self, prefix: str) -> list[str]:
        """Names directly below ``prefix``, sorted; empty when absent."""
        ...

    def walk(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Paths and sizes of all files below ``prefix``, sorted."""
        ...

    def exists(self, path: str) -> bool:
        """Whether the file (or non-empty folder) exists."""
        ...

    def size(self, path: str) -> int:
        """Bytes of a file; :class:`NotFound` when absent."""
        ...

    def modified(self, path: str) -> float:
        """When the file was last written, in seconds since 1970; :class:`NotFound` when absent."""
        ...

    def delete(self, path: str) -> None:
        """Remove a file; a missing one is fine; parents that become empty go too."""
        ...

    def sweep(self, prefix: str, older: float) -> list[tuple[str, int]]:
        """Remove temporary files that crashed writers left more than ``older`` seconds ago; paths and sizes."""
        ...

    def local(self, path: str, sha256: str | None = None) -> Path:
        """A local readable file with the content; copies are checked against ``sha256`` when given."""
        ...

    def drop_copies(self) -> None:
        """Remove local copies that were made for reading, of whatever root."""
        ...

    def free_bytes(self) -> int | None:
        """Bytes that can still be written, None when unlimited."""
        ...

    def sync(self) -> None:
        """Make everything that was put with ``durable=False`` durable."""
        ...


def check_path(path: str) -> str:
    """``path`` itself; :class:`StoreError` when it is absolute, empty-named or climbs out of the root."""
    parts = path.split("/")
    if path and any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise StoreError(f"not a path inside a store: {path!r} (expected names separated by single '/')")
    return path


class LocalRoot:
    """A folder of a local file system; needs hard links, which every usual one has."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        self._text = str(self.folder).rstrip("/")

    def __repr__(self) -> str:
        return f"LocalRoot({str(self.folder)!r})"

    @property
    def url(self) -> str:
        """The folder's absolute path."""
        return str(self.folder)

    def at(self, prefix: str) -> LocalRoot:
        """The root of a sub-folder."""
        return LocalRoot(self._path(prefix))

    def _path(self, path: str) -> Path:
        return self.folder / check_path(path) if path else self.folder

    def read(self, path: str) -> bytes:
        """The whole file; :class:`NotFound` when absent."""
        try:
            return self._path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise NotFound(f"no file {path} in {self.url}") from None

    def create(self, path: str, data: bytes) -> bool:
        """Temporary file in the same folder, fsync, hard link to the final name, fsync of the folder."""
        final = self._path(path)
        if final.exists():
            return False
        temporary = self._write_temporary(str(final), data, durable=True)
        try:
            os.link(temporary, final)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
                raise StoreError(
                    f"{self.url}: this file system has no hard links, so two writers could overwrite each other; "
                    "put the store on another file system or on object storage"
                ) from error
            raise
        finally:
            _unlink(temporary)
        _fsync_folder(final.parent)
        return True

    def put(self, path: str, data: bytes, durable: bool = True) -> None:
        """Temporary file in the same folder, rename; with fsync of both unless ``durable`` is False."""
        final = f"{self._text}/{check_path(path)}"  # plain text: a crawl comes here twice a picture
        temporary = self._write_temporary(final, data, durable)
        os.replace(temporary, final)
        if durable:
            _fsync_folder(Path(final).parent)

    def put_file(self, path: str, local: Path) -> None:
        """Fsync and rename (or copy, from another file system); a file already in place is only synced."""
        final = self._path(path)
        fsync_file(local)  # before it has its name: a power cut leaves a whole file there or none
        if local != final:
            _ensure_folder(final.parent)
            try:
                os.replace(local, final)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                temporary = final.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
                shutil.copyfile(local, temporary)
                fsync_file(temporary)
                os.replace(temporary, final)
                local.unlink()
        _fsync_folder(final.parent)

    def scratch(self, path: str) -> Path:
        """The folder itself, created: files are prepared in place and ``put_file`` copies nothing."""
        folder = self._path(path)
        _ensure_folder(folder)
        return folder

    def prepared(self, path: str) -> list[Path]:
        """What stands in the folder, sorted."""
        return sorted(self._path(path).glob("*"))

    def list(self, prefix: str) -> list[str]:
        """Names directly below ``prefix``, sorted, without writers' temporary files."""
        try:
            names = os.listdir(self._path(prefix))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(name for name in names if not name.startswith(TEMPORARY))

    def walk(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Paths and sizes of all files below ``prefix``, sorted, without writers' temporary files."""
        for path, status in self._files(prefix):
            if not path.rpartition("/")[2].startswith(TEMPORARY):
                yield path, status.st_size

    def _files(self, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
        try:
            entries = sorted(os.scandir(self._path(prefix)), key=lambda e: e.name)
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            path = f"{prefix}/{entry.name}" if prefix else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._files(path)
                continue
            try:
                status = entry.stat()
            except FileNotFoundError:
                continue  # deleted since the listing
            yield path, status

    def exists(self, path: str) -> bool:
        """Whether the file or folder exists."""
        return self._path(path).exists()

    def size(self, path: str) -> int:
        """Bytes of a file; :class:`NotFound` when absent."""
        return self._stat(path).st_size

    def modified(self, path: str) -> float:
        """Modification time of a file; :class:`NotFound` when absent."""
        return self._stat(path).st_mtime

    def _stat(self, path: str) -> os.stat_result:
        try:
            return os.stat(f"{self._text}/{check_path(path)}" if path else self.folder)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"no file {path} in {self.url}") from None

    def delete(self, path: str) -> None:
        """Remove a file and the parents that become empty, up to the root."""
        file = self._path(path)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            file.unlink()
        for parent in file.parents:
            if parent == self.folder or self.folder not in parent.parents:
                return
            try:
                parent.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                return  # not empty

    def sweep(self, prefix: str, older: float) -> list[tuple[str, int]]:
        """Remove temporary files older than ``older`` seconds."""
        limit = time.time() - older
        stale = [
            (path, status.st_size)
            for path, status in self._files(prefix)
            if path.rpartition("/")[2].startswith(TEMPORARY) and status.st_mtime <= limit
        ]
        for path, _ in stale:
            self.delete(path)
        return stale

    def local(self, path: str, sha256: str | None = None) -> Path:
        """The file itself; ``sha256`` is not checked here, for nothing was copied."""
        file = self._path(path)
        if not file.is_file():
            raise NotFound(f"no file {path} in {self.url}")
        return file

    def drop_copies(self) -> None:
        """Nothing: files are read in place."""

    def free_bytes(self) -> int | None:
        """Free bytes of the file system."""
        folder = self.folder
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def sync(self) -> None:
        """Flush the operating system's buffers."""
        os.sync()

    def _write_temporary(self, final: str, data: bytes, durable: bool) -> str:
        folder, _, name = final.rpartition("/")
        temporary = f"{folder}/{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"
        try:
            handle = _create(temporary, durable)
            try:
                written = os.write(handle, data)
                while written < len(data):
                    written += os.write(handle, memoryview(data)[written:])
                if durable:
                    os.fsync(handle)
            finally:
                os.close(handle)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            explained = refused(error, f"{folder}/{name}", len(data))
            if explained is not None:
                raise explained from error
            raise
        return temporary


def _unlink(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _create(path: str, durable: bool) -> int:
    for _ in range(_TRIES):
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileNotFoundError:
            _ensure_folder(Path(path).parent, durable)  # absent, or pruned by a delete just now
    raise StoreError(f"{Path(path).parent} is deleted again and again while a file is written there")


def _ensure_folder(folder: Path, durable: bool = True) -> None:
    """Create a folder and its parents; each new name is made durable in its parent, the last only where asked."""
    for attempt in range(_TRIES):
        try:
            if folder.is_dir():
                return
            _ensure_folder(folder.parent)
            folder.mkdir(exist_ok=True)
            if durable:
                _fsync_folder(folder.parent)
            return
        except (FileNotFoundError, FileExistsError):  # pruned before, or just after, it was made
            if attempt + 1 == _TRIES:
                raise


def fsync_file(path: Path) -> None:
    """Have a file's bytes on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _fsync_folder(path: Path) -> None:
    try:
        fsync_file(path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.EACCES, errno.EISDIR, errno.ENOENT):
            raise  # some systems cannot sync folders; others can, and then a failure matters


def has_atomic_create(root: Root) -> bool:
    """Whether ``create`` refuses a name that exists already (some S3-compatible services ignore the condition)."""
    path = f"probe-{secrets.token_hex(8)}"
    try:
        return root.create(path, b"1") and not root.create(path, b"2") and root.read(path) == b"1"
    finally:
        root.delete(path)


def open_root(url_or_path: str | Path) -> Root:
    """The root at a local path, ``file://`` URL or ``s3://bucket/prefix``; :class:`UsageError` for an empty name."""
    text = str(url_or_path)
    if not text.removeprefix("file://").strip():
        raise UsageError(
            f"the root is empty ({text!r}): expected a folder or s3://bucket/folder; name it with --root "
            "or DIPTYCH_ROOT (. is the working folder), or leave it out"
        )
    if text.startswith("s3://"):
        from diptych.storage.s3 import S3Root

        return S3Root(text)
    if text.startswith("file://"):
        return LocalRoot(text.removeprefix("file://"))
    if "://" in text:
        scheme = text.partition("://")[0]
        raise UsageError(f"cannot open {text!r}: stores live in folders, file:// and s3://, not {scheme}://")
    return LocalRoot(Path(text).expanduser())
