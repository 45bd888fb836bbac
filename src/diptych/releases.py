"""Which packages are there, which releases and which code are running: what manifests and run folders record."""

from __future__ import annotations

import importlib.metadata
import subprocess
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from diptych.exceptions import MissingExtra

__all__ = ["git_commit", "release", "require"]


@cache
def release(package: str) -> str:
    """The installed release of a distribution; empty when it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def require(extra: str, *packages: str) -> None:
    """Raise :class:`MissingExtra` for the first package that is not installed; ``extra`` brings it."""
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtra(package, extra)


@cache
def git_commit() -> str:
    """The commit of the checkout this code runs from; empty when it is installed from a wheel."""
    home = Path(__file__).resolve().parents[2]
    if not (home / ".git").exists():
        return ""
    try:
        run = subprocess.run(["git", "-C", str(home), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""
