"""Refresh golden records: ``python tests/golden/update.py [NAME ...] [--new-release]``.

Without ``--new-release`` a record whose stage kept its version number is never overwritten by other values: the
meaning changed, so bump ``version`` first. ``--new-release`` is for another release of a package (torch, Pillow,
PaddleOCR) under an unchanged stage: read the differences it prints, and say in the commit which release it was.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "src")]

import golden_records as records  # noqa: E402
from golden_cases import FIT_CASES, STAGE_CASES  # noqa: E402


def main(arguments: list[str]) -> int:
    """Exit code 1 when a version bump is missing."""
    release = "--new-release" in arguments
    names = [a for a in arguments if not a.startswith("-")] or [*STAGE_CASES, *FIT_CASES]
    failed = 0
    for name in names:
        new = records.compute_stage(name) if name in STAGE_CASES else records.compute_fit(name)
        old = records.load(name)
        found = [] if old is None else records.differences(old["rows"], new["rows"], records.tolerance_of(new))
        if old is not None and old["version"] == new["version"]:
            if not found:
                print(f"{name}: unchanged")
                continue
            print(f"{name}: {len(found)} differences\n  " + "\n  ".join(found[:10]))
            if not release:
                print(f"  bump the version of {name} (now {new['version']}), then run this again")
                failed = 1
                continue
        records.save(name, new)
        print(f"{name}: written, version {new['version']}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
