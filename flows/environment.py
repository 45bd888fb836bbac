"""What the flows read from the environment: ``DIPTYCH_ROOT``, where a form's empty root points.

A relative root or recipe starts where the worker was started.
"""

from __future__ import annotations

import os

__all__ = ["root_of"]


def root_of(asked: str = "") -> str:
    """The folder or bucket a form asks for; the worker's own when it asks for none."""
    return asked or os.environ.get("DIPTYCH_ROOT", "") or "data"
