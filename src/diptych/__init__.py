"""Diptych builds image-text datasets and fits models on them.

>>> import diptych
>>> version = diptych.open("data/sample")        # doctest: +SKIP
>>> version.table("ocr").to_pandas()             # doctest: +SKIP
"""

from __future__ import annotations

from diptych.exceptions import DiptychError
from diptych.version import Version
from diptych.version import open_version as open

__all__ = ["DiptychError", "Version", "open"]
