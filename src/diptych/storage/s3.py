"""Object storage as a root: conditional puts for ``create``, and a bounded local cache for reading.

``create`` is one ``PutObject`` with ``If-None-Match: *``; the service must honour it (Amazon S3, MinIO, Ceph
and others do; ``diptych doctor`` tries it). An object is complete or absent by nature, so ``put`` needs no
temporary name. Files that are mapped (segments, lists) are copied whole into the cache; a copy is named by its
SHA-256, checked once, where the caller knows it, and by the object's ETag where not. Credentials and endpoint
come from where botocore looks (``AWS_*``, profiles), or from ``options``.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from diptych.exceptions import Corrupt, MissingExtra, NotFound, StoreError, Unreachable
from diptych.storage.root import TEMPORARY, check_path, fsync_file

__all__ = ["CACHE_BYTES", "S3Root", "default_cache"]

CACHE_BYTES = 20 << 30
"""Default bound of the local cache; files used within the last minute stay even above it."""
_YOUNG = 60.0
_UNWRITTEN = 24 * 3600.0
"""Seconds for which a file of a segment may stay as it is while its build computes the next rows."""
_CLIENTS = ("aiobotocore", "aiohttp", "botocore")
"""Packages whose errors tell of the service, or of the way to it."""
_AWAY = {
    "ClientConnectionError", "ClientPayloadError", "ConnectionError", "HTTPClientError", "IncompleteReadError",
    "ResponseParserError", "TimeoutError", "gaierror",
}  # fmt: skip
"""Classes, by name, of errors of the way to the service: no answer, half of one, or that of something between."""
_BUSY = {
    "IncompleteBody", "InternalError", "OperationAborted", "RequestLimitExceeded", "RequestTimeout",
    "ServiceUnavailable", "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests",
    "TooManyRequestsException",
}  # fmt: skip
_BUSY_STATUS = {429, 500, 502, 503, 504}
"""Codes and HTTP statuses with which a service says that the same request may go well later."""
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
"""Errors that only this machine's disk has."""


def default_cache() -> Path:
    """``~/.cache/diptych/objects``."""
    return Path.home() / ".cache" / "diptych" / "objects"


class S3Root:
    """A prefix of a bucket."""

    def __init__(
        self,
        url: str,
        *,
        options: Mapping[str, Any] | None = None,
        cache: Path | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self._bucket, _, prefix = url.removeprefix("s3://").strip("/").partition("/")
        if not self._bucket:
            raise StoreError(f"no bucket in {url!r}; expected s3://bucket/prefix")
        self._prefix = check_path(prefix)
        self._options = dict(options or {})
        self._cache = cache or default_cache()
        self._limit = cache_bytes
        self._copied = cache_bytes  # so that the first copy of a process looks at the cache's size
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"S3Root({self.url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self.url, self._options, self._cache, self._limit)

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @cached_property
    def _fs(self) -> Any:
        try:
            import s3fs
        except ImportError:
            raise MissingExtra("s3fs", "s3") from None
        return s3fs.S3FileSystem(use_listings_cache=False, **self._options)

    def at(self, prefix: str) -> S3Root:
        """A longer prefix of the same bucket, with the same cache."""
        return _restore(f"{self.url}/{check_path(prefix)}", self._options, self._cache, self._limit)

    def _key(self, path: str) -> str:
        return "/".join(p for p in (self._prefix, check_path(path)) if p)

    def _full(self, path: str) -> str:
        return "/".join(p for p in (self._bucket, self._key(path)) if p)

    def _missing(self, path: str) -> NotFound:
        return NotFound(f"no file {path} in {self.url}")

    @contextmanager
    def _asking(self, path: str, *, writing: bool = False) -> Iterator[None]:
        """What the service or the way to it refuses becomes a :class:`StoreError` that says so."""
        try:
            yield
        except Exception as error:
            code = _code(error)
            if isinstance(error, FileNotFoundError | IsADirectoryError) and not writing and code != "NoSuchBucket":
                raise self._missing(path) from None
            if not isinstance(error, OSError) and type(error).__module__.partition(".")[0] not in _CLIENTS:
                raise
            if getattr(error, "filename", None) or getattr(error, "errno", None) in _DISK:
                raise  # a file of this machine
            what = "write" if writing else "read"
            why = str(error).strip() or type(error).__name__
            kind, advice = _advice(error, code)
            raise kind(f"cannot {what} {path or 'files'} in {self.url}: {why}; {advice}") from error

    def read(self, path: str) -> bytes:
        """The whole object; :class:`NotFound` when absent."""
        with self._asking(path):
            return self._fs.cat_file(self._full(path))

    def create(self, path: str, data: bytes) -> bool:
        """``PutObject`` with ``If-None-Match: *``; False when the object exists already."""
        with self._asking(path, writing=True):
            return self._create(path, data)

    def _create(self, path: str, data: bytes) -> bool:
        for attempt in range(8):
            try:
                self._fs.call_s3("put_object", Bucket=self._bucket, Key=self._key(path), Body=data, IfNoneMatch="*")
            except OSError as error:
                code = _code(error)
                if isinstance(error, FileExistsError) or code in ("PreconditionFailed", "412"):
                    return False
                if code not in ("ConditionalRequestConflict", "409"):
                    raise
                time.sleep(random.random() * 0.05 * 2**attempt)  # another put was under way: look again
            else:
                return True
        raise Unreachable(f"{self.url}/{path}: eight conditional puts met others under way; try again")

    def put(self, path: str, data: bytes, durable: bool = True) -> None:
        """Write an object; always durable."""
        with self._asking(path, writing=True):
            self._fs.pipe_file(self._full(path), data)

    def put_file(self, path: str, local: Path) -> None:
        """Upload a local file (in parts when it is large) and remove it."""
        with self._asking(path, writing=True):
            self._fs.put_file(str(local), self._full(path))
        local.unlink()
        with suppress(OSError):
            local.parent.rmdir()

    def scratch(self, path: str) -> Path:
        """A local folder that belongs to this path of this root, outside the cache."""
        folder = self._scratch / check_path(path)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def _scratch(self) -> Path:
        return self._cache.parent / "scratch" / _name(self.url)

    def prepared(self, path: str) -> list[Path]:
        """What stands in that folder, sorted; what other machines prepare cannot be seen."""
        return sorted((self._scratch / check_path(path)).glob("*"))

    def list(self, prefix: str) -> list[str]:
        """Names directly below ``prefix``, sorted."""
        base = self._full(prefix)
        try:
            with self._asking(prefix):
                names = self._fs.ls(base, detail=False, refresh=True)
        except NotFound:
            return []
        below = (name.removeprefix(f"{base}/").strip("/") for name in names if name.startswith(f"{base}/"))
        return sorted({name for name in below if name})

    def walk(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Paths and sizes of all objects below ``prefix``, sorted."""
        start = len(self._full("")) + 1
        with self._asking(prefix):
            found = self._fs.find(self._full(prefix), detail=True)
        for name, info in sorted(found.items()):
            if info["type"] == "file" and not name.endswith("/") and name != self._full(prefix):
                yield name[start:], int(info["size"])

    def _info(self, path: str) -> dict[str, Any]:
        with self._asking(path):
            info = self._fs.info(self._full(path))
        if info["type"] != "file":
            raise self._missing(path)
        return info

    def exists(self, path: str) -> bool:
        """Whether the object, or any below that prefix, exists."""
        with self._asking(path):
            return bool(self._fs.exists(self._full(path)))

    def size(self, path: str) -> int:
        """Bytes of an object; :class:`NotFound` when absent."""
        return int(self._info(path)["size"])

    def modified(self, path: str) -> float:
        """When the object was written, by the service's clock."""
        return self._info(path)["LastModified"].timestamp()

    def delete(self, path: str) -> None:
        """Remove an object; a missing one is fine."""
        with self._asking(path, writing=True):
            self._fs.call_s3("delete_object", Bucket=self._bucket, Key=self._key(path))

    def sweep(self, prefix: str, older: float) -> list[tuple[str, int]]:
        """Remove temporary files, and those of segments, from this machine's scratch; journals stay.

        What crashed writers left on other machines cannot be seen, nor can unfinished uploads: a lifecycle rule of
        the bucket ends those.
        """
        swept = []
        for file in sorted((self._scratch / check_path(prefix)).rglob("*")):
            path = file.relative_to(self._scratch).as_posix()
            of_segment = path.startswith("parts/")
            patience = max(older, _UNWRITTEN) if of_segment and older else older
            with suppress(FileNotFoundError):  # its writer has just moved it
                status = file.stat()
                left = (of_segment or file.name.startswith(TEMPORARY)) and status.st_mtime <= time.time() - patience
                if left and file.is_file():
                    file.unlink()
                    swept.append((path, status.st_size))
                    with suppress(OSError):
                        file.parent.rmdir()
        return swept

    def free_bytes(self) -> int | None:
        """No limit is known."""
        return None

    def sync(self) -> None:
        """Nothing: an answered put is durable."""

    def local(self, path: str, sha256: str | None = None) -> Path:
        """A copy in the cache; :class:`Corrupt` when what was copied has not the SHA-256 the caller expects."""
        name = sha256 or _name(f"{self.url}/{path} {self._info(path).get('ETag')}")
        target = self._cache / name[:2] / name
        with suppress(OSError):
            os.utime(target)  # the time of its last use
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f".tmp-{secrets.token_hex(8)}"
        try:
            with self._asking(path):
                self._fs.get_file(self._full(path), str(temporary))
            if sha256 is not None:
                with temporary.open("rb") as handle:
                    found = hashlib.file_digest(handle, "sha256").hexdigest()
                if found != sha256:
                    raise Corrupt(f"{self.url}/{path}: expected SHA-256 {sha256}, found {found}; run diptych verify")
            size = temporary.stat().st_size
            fsync_file(temporary)  # a copy that a power cut shortened would be served for good
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        self._evict(size)
        return target

    def drop_copies(self) -> None:
        """Empty this machine's cache; who reads from a copy just now keeps it open."""
        for file in self._cache.glob("*/*"):
            file.unlink(missing_ok=True)

    def _evict(self, copied: int) -> None:
        """Remove the copies used longest ago when the cache is above its bound; looks again every twentieth of it."""
        with self._lock:
            self._copied += copied
            if self._copied < self._limit // 20:
                return
            self._copied = 0
        files: list[tuple[float, int, Path]] = []
        for file in self._cache.glob("*/*"):
            with suppress(OSError):
                status = file.stat()
                files.append((status.st_mtime, status.st_size, file))
        total = sum(size for _, size, _ in files)
        for used, size, file in sorted(files):
            if total <= self._limit or used > time.time() - _YOUNG:
                return
            file.unlink(missing_ok=True)
            total -= size


def _restore(url: str, options: Mapping[str, Any], cache: Path, limit: int) -> S3Root:
    return S3Root(url, options=options, cache=cache, cache_bytes=limit)


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _advice(error: Exception, code: str) -> tuple[type[StoreError], str]:
    """What to do; :class:`Unreachable` where the same may go well later."""
    if code == "NoSuchBucket":
        return StoreError, "make the bucket, or name another root"
    if isinstance(error, PermissionError) or "Credential" in type(error).__name__:
        return StoreError, "give credentials that may do so (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)"
    if code in _BUSY or _status(error, code) in _BUSY_STATUS:
        return Unreachable, "the service is busy or fails: run the same command again later"
    kind = Unreachable if not code and _AWAY & {c.__name__ for c in type(error).__mro__} else StoreError
    return kind, "look at AWS_ENDPOINT_URL, AWS_DEFAULT_REGION and the service, then run the same command again"


def _response(error: BaseException) -> Mapping[str, Any]:
    """The service's answer behind an error that s3fs translated; empty where there was none."""
    found = getattr(error, "response", None) or getattr(error.__cause__, "response", None)
    return found if isinstance(found, Mapping) else {}


def _code(error: BaseException) -> str:
    """The service's error code."""
    return str(_response(error).get("Error", {}).get("Code", ""))


def _status(error: BaseException, code: str) -> int:
    """The answer's HTTP status, 0 where there is none; to a HEAD, which has no body, the code is the status."""
    said = _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(code) if code.isdigit() else int(said or 0)
