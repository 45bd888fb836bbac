"""Cells that are to be killed: ``toy_cells.py FOLDER`` computes four of them, two at a time."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from diptych.study.pool import work


def cell(given: tuple[Path, int]) -> int:
    """Leaves its process id and takes a while."""
    folder, number = given
    (folder / str(number)).write_text(str(os.getpid()))
    time.sleep(3)
    return number


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for found in work(cell, [(place, n) for n in range(4)], 2):
        print(found)
