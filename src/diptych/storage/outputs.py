"""What to say when a file cannot be written, of a store or outside of any; text files outside, whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from pathlib import Path

from diptych.exceptions import DiptychError, NoSpace, StoreError, UsageError

__all__ = ["refused", "unwritable", "write_text"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EROFS, errno.EACCES, errno.EPERM)


def write_text(path: Path, text: str, option: str = "--to") -> None:
    """Write a text file and the folders above it; it appears complete or not at all.

    :class:`UsageError` when a folder of that name is there or nothing may be written, :class:`NoSpace` on a full disk.
    """
    if path.is_dir():
        raise UsageError(f"{option} {path}: it is a folder, expected a file's name; name one in it, or another place")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise unwritable(option, path, error) from error


def unwritable(option: str, path: Path, error: OSError) -> DiptychError:
    """The error that names the target which an option of a command gave, what was found there and what to do."""
    number = _number(error)
    why = os.strerror(number) if number else str(error)
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    elsewhere = f"nothing was written; name another place with {option}"
    if number in _FULL:
        free = shutil.disk_usage(folder).free
        return NoSpace(f"{option} {path}: {why} ({free:,} bytes are free under {folder}); {elsewhere}, or free space")
    if number in _FORBIDDEN:
        return UsageError(f"{option} {path}: {folder} cannot be written ({why}); {elsewhere}, or make it writable")
    if number in (errno.ENOTDIR, errno.EEXIST):
        return UsageError(f"{option} {path}: a part of this path is a file, expected folders; {elsewhere}")
    return DiptychError(f"{option} {path}: {why}; {elsewhere}")


def refused(error: BaseException, path: str, size: int) -> StoreError | None:
    """The error that says which file of a store could not be written and what to do; None for other errors."""
    if not isinstance(error, OSError):
        return None
    if error.errno in _FULL:
        return NoSpace(
            f"no space for {path} ({size:,} bytes); free space on that disk. A few kilobytes are enough for "
            "`diptych retire` and `diptych gc`, which then give up older versions"
        )
    if error.errno in _FORBIDDEN:
        return StoreError(
            f"{path} cannot be written ({os.strerror(error.errno)}): expected a folder that this user may write; make "
            "it writable, or name another root with --root"
        )
    return None


def _number(error: OSError) -> int:
    """The system's number of an error, also where a library has put it into words only."""
    if error.errno:
        return error.errno
    found = re.search(r"errno\s*=?\s*(\d+)", str(error), re.I)
    return int(found[1]) if found else 0
