"""Makes the golden cases importable: the contract test runs on the same rows."""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parents[1] / "golden")
if FOLDER not in sys.path:
    sys.path.append(FOLDER)
