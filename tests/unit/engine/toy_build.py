"""A toy build as a process of its own, to be killed: ``toy_build.py ROOT SNAPSHOT [SLEEP]``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import toy

from diptych.engine.build import build
from diptych.engine.context import BuildOptions

if __name__ == "__main__":
    root, snapshot = sys.argv[1:3]
    pause = float(sys.argv[3]) if len(sys.argv) > 3 else 0.0
    plain = toy.Toy.process

    def slow(self: toy.Toy, batch: toy.Batch) -> toy.Output:
        time.sleep(pause)
        return plain(self, batch)

    toy.Toy.process = slow  # type: ignore[method-assign]
    report = build(toy.RECIPE, root, BuildOptions(batch_size=2), snapshot=snapshot)
    print(report.committed.version, report.computed, flush=True)
