"""H-LSTM over a batch of trees: level by level against recursion node by node, forward and backward.

``OMP_NUM_THREADS=2 python benchmarks/tree.py [--hidden 512 128] [--trees 64] [--repeat 5] [--cpu]``; random trees of 8
to 17 words (captions). The recursion is the one that the tests compare with. ``--cpu`` measures seconds of CPU on one
thread, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from diptych.models.common.trees import plan_trees
from diptych.models.hmlstm.cell import HierarchicalLSTM


def reference() -> ModuleType:
    """``tests/unit/models/hmlstm/recursive.py``, which is no package."""
    path = Path(__file__).parent.parent / "tests" / "unit" / "models" / "hmlstm" / "recursive.py"
    spec = importlib.util.spec_from_file_location("recursive", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def timed(step: Callable[[], Tensor], cell: torch.nn.Module, repeat: int, clock: Callable[[], float]) -> list[float]:
    """Seconds of forward and backward; the first of them, which warms up, is left out."""
    found = []
    for _ in range(repeat + 1):
        cell.zero_grad()
        start = clock()
        step().square().sum().backward()
        found.append(clock() - start)
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden", type=int, nargs="+", default=[512, 128])
    parser.add_argument("--trees", type=int, default=64)
    parser.add_argument("--words", type=int, default=300)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--cpu", action="store_true")
    given = parser.parse_args()
    clock = time.process_time if given.cpu else time.perf_counter
    if given.cpu:
        torch.set_num_threads(1)
    twin, draw = reference(), np.random.default_rng(0)
    trees = [twin.random_tree(draw, int(draw.integers(8, 18))) for _ in range(given.trees)]
    start = clock()
    plan = plan_trees(trees)
    print(f"{len(trees)} trees, {plan.nodes} nodes, {len(plan.levels)} levels; "
          f"plan {1000 * (clock() - start):.1f} ms; {torch.get_num_threads()} threads")  # fmt: skip
    vectors = torch.randn(50, given.words, generator=torch.Generator().manual_seed(0))
    leaves_LE = vectors[plan.word_L]
    for hidden in given.hidden:
        torch.manual_seed(0)
        cell = HierarchicalLSTM(given.words, hidden)
        batched = timed(lambda cell=cell: cell(plan, leaves_LE)[plan.place_N], cell, 3 * given.repeat, clock)
        nodes = timed(
            lambda cell=cell: torch.cat([twin.recursive(cell, tree, vectors[tree.word]) for tree in trees]),
            cell,
            given.repeat,
            clock,
        )
        median, least = (f(nodes) / f(batched) for f in (statistics.median, min))
        print(f"{hidden:4} units: batched {1000 * statistics.median(batched):.1f} ms, recursive "
              f"{1000 * statistics.median(nodes):.0f} ms: {median:.1f}x (fastest of each: {least:.1f}x)")  # fmt: skip


if __name__ == "__main__":
    main()
