"""Files outside the store: whole or not at all, errors with the target's name."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from diptych.exceptions import DiptychError, NoSpace, UsageError
from diptych.storage.outputs import unwritable, write_text


def test_a_file_appears_whole_and_replaces_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a" / "page.html"
    write_text(target, "one")
    write_text(target, "two")

    def full(*arguments: object, **named: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(NoSpace, match=rf"--to {target}: No space left on device \([\d,]+ bytes are free under"):
        write_text(target, "three")
    assert target.read_text() == "two" and [p.name for p in target.parent.iterdir()] == ["page.html"]


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--to {tmp_path}: it is a folder, expected a file's name"):
        write_text(tmp_path, "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="a part of this path is a file, expected folders; nothing was written"):
        write_text(tmp_path / "file" / "page.html", "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            OSError("Can't write (file write failed: errno = 28, error message = 'x')"),
            NoSpace,
            "No space left on device",
        ),
        (PermissionError(errno.EACCES, "Permission denied"), UsageError, "cannot be written (Permission denied)"),
        (OSError("a library's own words"), DiptychError, "a library's own words"),
    ],
)
def test_errors_of_libraries_are_understood(
    tmp_path: Path, error: OSError, kind: type[DiptychError], said: str
) -> None:
    found = unwritable("--to", tmp_path / "not" / "there", error)
    assert type(found) is kind and said in str(found) and f"--to {tmp_path}/not/there: " in str(found)
