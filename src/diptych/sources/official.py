"""The names that sources may give the official split of a record, in any case of their letters."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from diptych.sources.fields import Wrong

__all__ = ["ALLOWED_SPLITS", "SplitName", "check_split", "known_split"]

_OFFICIAL = {
    "train": "train", "training": "train", "restval": "train",
    "dev": "dev", "val": "dev", "valid": "dev", "validation": "dev",
    "test": "test", "testing": "test",
}  # fmt: skip

ALLOWED_SPLITS = ", ".join(sorted(_OFFICIAL))
"""For people."""


def known_split(name: str) -> str | None:
    """train, dev or test for what a source calls it, None for any other name."""
    return _OFFICIAL.get(name.strip().lower())


def check_split(name: str, where: str = "split") -> str:
    """The name as it is given, when it is empty or that of a split; else :class:`Wrong` with the allowed ones."""
    if name.strip() and known_split(name) is None:
        raise Wrong(where, f"an official split ({ALLOWED_SPLITS}) or nothing", repr(name[:60]))
    return name.strip()


SplitName = Annotated[str, AfterValidator(check_split)]
"""A setting that names the official split of all records of a source."""
