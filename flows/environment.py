"""What the flows read from the environment: ``DIPTYCH_ROOT``, where a form's empty root points.

A relative root or recipe starts where the worker was started.
"""

from __future__ import annotations

import os

from diptych.exceptions import UsageError
from diptych.storage.root import LocalRoot, open_root

__all__ = ["root_of", "root_to_write"]


def root_of(asked: str = "") -> str:
    """The folder or bucket a form asks for; the worker's own when it asks for none."""
    return asked or os.environ.get("DIPTYCH_ROOT", "") or "data"


def root_to_write(asked: str = "") -> str:
    """The same, where it is a folder made; :class:`UsageError` when it cannot be made, or nothing may be written."""
    root = root_of(asked)
    place = open_root(root)
    if not isinstance(place, LocalRoot):
        return root
    why = ""
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or str(error)
    if why or not os.access(place.folder, os.W_OK | os.X_OK):
        raise UsageError(
            f"root {root}: expected a folder that can be made and written, found {place.folder}: "
            f"{why or 'not writable'}; name another in the form, or in the worker's DIPTYCH_ROOT"
        )
    return root
