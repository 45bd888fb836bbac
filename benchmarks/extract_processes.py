"""Several processes on one accelerator: one waits for the interpreter's lock; how far do more go?

``python benchmarks/extract_processes.py --stage backbone --device cuda --precision bfloat16 --images 4800 --counts
1,2,4`` builds the stage in so many processes at once, as a Ray cluster does with a ``gpu_share`` below 1: each has the
network, and a dataset of ``--images`` pictures, of its own. Decoding alone runs in all of them at once too, the network
alone in one of them. *Steady* is the rate of all together between a tenth and nine tenths of all rows. Pictures,
settings and clocks are those of ``extract.py``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
from pathlib import Path
from typing import Any

import extract

from diptych.engine.build import build
from diptych.engine.context import BuildOptions
from diptych.engine.steps import close

TIMEOUT = 900


def child(name: str, count: int, device: str, precision: str, meet: Any, answers: Any) -> None:
    """One of the processes: decodes, computes and builds when all others do."""
    settings = extract.CONFIG[name] | ({"precision": precision} if name != "pause" else {})
    options = BuildOptions(device=device)
    files = extract.pictures(count)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        snapshot = extract.store_pictures(root, files.__getitem__, count)
        build(extract.recipe({}, 4), place, options, snapshot=snapshot)
        stage, every, _, passes = extract.warmed(name, settings, files, root, options)
        first = meet.wait(TIMEOUT) == 0
        decode = extract.timed(lambda: stage.prepare(every), count)
        meet.wait(TIMEOUT)
        network = extract.timed(lambda: extract.forward(stage, passes, device), count) if first else None
        meet.wait(TIMEOUT)
        clock = extract.Clock(name)
        build(extract.recipe({name: settings}, extract.SHARDS), place, options, snapshot=snapshot, watcher=clock)
        close()
    answers.put((decode.wall, network and network.wall, clock.seen))


def merged(each: list[list[tuple[float, float, int]]]) -> list[tuple[float, float, int]]:
    """What all clocks saw, as one clock: rows and processor seconds of all processes."""
    steps = []
    for seen in each:
        before = (0.0, seen[0][1], 0)
        for now in seen:
            steps.append((now[0], now[1] - before[1], now[2] - before[2]))
            before = now
    found, used, rows = [], 0.0, 0
    for when, seconds, more in sorted(steps):
        used, rows = used + seconds, rows + more
        found.append((when, used, rows))
    return found


def measure(name: str, processes: int, count: int, device: str, precision: str) -> str:
    """A line of the table."""
    context = multiprocessing.get_context("spawn")
    meet, answers = context.Barrier(processes), context.Queue()
    children = [
        context.Process(target=child, args=(name, count, device, precision, meet, answers)) for _ in range(processes)
    ]
    for process in children:
        process.start()
    found = [answers.get(timeout=TIMEOUT) for _ in children]
    for process in children:
        process.join()
    decode = sum(rate for rate, _, _ in found)
    network = next(rate for _, rate, _ in found if rate)
    steady = extract.steady(merged([seen for _, _, seen in found]))
    return f"| {processes} | {decode:.0f} | {network:.0f} | {steady} | {steady.wall / min(decode, network):.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", default="backbone", choices=tuple(extract.CONFIG))
    parser.add_argument("--images", type=int, default=200, help="of each process")
    parser.add_argument("--counts", default="1,2", help="numbers of processes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "float16"))
    options = parser.parse_args()
    print(f"{options.stage}, {options.images} pictures each, {os.cpu_count()} cores, {options.device}")
    print("| processes | decode, all | network alone | steady, all | of the slower |")
    print("| --- " * 5 + "|")
    for number in map(int, options.counts.split(",")):
        print(measure(options.stage, number, options.images, options.device, options.precision), flush=True)


if __name__ == "__main__":
    main()
