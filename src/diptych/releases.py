"""Which packages are there, which releases and which code are running: what manifests and run folders record."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diptych.exceptions import MissingExtra

__all__ = ["git_commit", "load", "release", "require"]


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


def load(module: str, package: str, extra: str) -> Any:
    """A module; :class:`MissingExtra` when its ``package`` is not installed, or lacks a library of the system."""
    if find_spec(module) is None:
        raise MissingExtra(package, extra)
    path = list(sys.path)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(str(error.name), extra) from error
    except ImportError as error:
        sys.path[:] = path  # cv2 leaves its folder there, whose typing would hide Python's
        raise MissingExtra(package, extra, str(error)) from error


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
