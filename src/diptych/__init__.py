"""Diptych builds image-text datasets and fits models on them.

>>> import diptych
>>> version = diptych.open("data/sample")        # doctest: +SKIP
>>> version.table("ocr").to_pandas()             # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from diptych.exceptions import DiptychError

if TYPE_CHECKING:
    from diptych.version import Version
    from diptych.version import open_version as open

__all__ = ["DiptychError", "Version", "open"]


def __getattr__(name: str) -> object:
    """``Version`` and ``open`` when they are asked for: the command line is to start before pyarrow is loaded."""
    if name not in ("Version", "open"):
        raise AttributeError(f"module 'diptych' has no attribute {name!r}")
    from diptych import version

    return version.Version if name == "Version" else version.open_version
