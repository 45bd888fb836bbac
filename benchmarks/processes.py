"""What worker processes bring (``build --processes``): one waits for the interpreter's lock, how far do more go?

``python benchmarks/processes.py --stage backbone --device cuda --precision bfloat16 --images 4800 --counts 1,2,4``
builds a vision stage with so many processes, of ``--images`` pictures for each of them. *Decode* is decoding and
preparing alone in all of them at once, *network* the bare network in this process, *steady* the build's rate between a
tenth and nine tenths of its rows. Pictures, settings and clocks are those of ``extract.py``.

``python benchmarks/processes.py --documents 200 --counts 1,2 --turns 3`` builds the sample's stages from a
folder instead, in turns, start of the processes included: wall and processor seconds of the whole.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from math import inf
from pathlib import Path
from statistics import median
from typing import Any

import extract
import yaml

from diptych.engine.build import build
from diptych.engine.context import BuildOptions, OnRows, Stop
from diptych.engine.crawling import crawl_recipe
from diptych.engine.crew import Crew
from diptych.engine.steps import close
from diptych.sample import Site, write
from diptych.version import open_version

WAIT_S = 300


def decoding(
    name: str, settings: dict[str, Any], files: list[bytes], meet: Path, *, worker: int, on_rows: OnRows, stop: Stop
) -> float:
    """Pictures a second that one of the workers decodes and prepares while all others do."""
    del on_rows, stop
    stage = extract.stage_of(name, settings)
    stage.setup("cpu")
    every = extract.batch_of(stage, files)
    stage.prepare(every.select(range(32)))
    (meet / str(worker)).touch()
    end = time.monotonic() + WAIT_S
    while len(list(meet.iterdir())) < int(meet.name) and time.monotonic() < end:
        time.sleep(0.005)
    return extract.timed(lambda: stage.prepare(every), len(files)).wall


def of_stage(name: str, processes: int, count: int, device: str, precision: str) -> tuple[float, str]:
    """The steady rate, and a line of the table."""
    settings = extract.CONFIG[name] | ({"precision": precision} if "weights" in extract.CONFIG[name] else {})
    files, options = extract.pictures(count * processes), BuildOptions(device=device, processes=processes)
    shards = 1 << (extract.SHARDS * processes - 1).bit_length()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        meet = root / "meet" / str(processes)
        meet.mkdir(parents=True)
        crew = Crew(processes)
        pieces = [(name, settings, files[n::processes], meet) for n in range(processes)]
        decode = sum(crew.call(decoding, pieces, lambda name, rows: None))
        crew.close()
        stage, _, _, passes = extract.warmed(name, settings, files[:count], root, BuildOptions(device=device))
        network = extract.timed(lambda: extract.forward(stage, passes, device), count).wall if passes else inf
        stage.close()
        close()
        snapshot = extract.store_pictures(root, files.__getitem__, len(files))
        build(extract.recipe({}, shards), place, options, snapshot=snapshot)
        clock = extract.Clock(extract.STAGES.get(name, name))
        build(
            extract.recipe({extract.STAGES.get(name, name): settings}, shards),
            place,
            options,
            snapshot=snapshot,
            watcher=clock,
        )
        steady = extract.steady(clock.seen).wall
    share = steady / min(decode, network)
    return steady, f"| {processes} | {decode:.0f} | {network:.0f} | {steady:.1f} | {share:.2f} |"


def of_sample(processes: int, site: Path) -> tuple[float, float, str]:
    """Wall and processor seconds of a build of the sample's stages as the command line does it; its digest."""
    sample = yaml.safe_load((Path(__file__).parents[1] / "datasets" / "sample.yaml").read_text(encoding="utf-8"))
    source = {"kind": "folder", "name": "site", "path": str(site)}
    with tempfile.TemporaryDirectory() as place:
        recipe = Path(place) / "recipe.yaml"
        recipe.write_text(yaml.safe_dump({**sample, "sources": [source], "shards": 16}), encoding="utf-8")
        crawl_recipe(recipe.read_text(encoding="utf-8"), place, place)
        command = [sys.executable, "-m", "diptych", "build", str(recipe), "--root", place, "--no-crawl"]
        before, start = os.times(), time.monotonic()
        subprocess.run([*command, "--processes", str(processes)], check=True, capture_output=True)
        wall, after = time.monotonic() - start, os.times()
        digest = open_version(Path(place) / "sample").manifest.floats_digest
    return wall, sum(after[2:4]) - sum(before[2:4]), digest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stage", default="backbone", choices=tuple(extract.CONFIG))
    parser.add_argument("--images", type=int, default=200, help="of each process")
    parser.add_argument("--documents", type=int, default=0, help="build the sample's stages for so many instead")
    parser.add_argument("--counts", default="1,2", help="numbers of processes")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "float16"))
    options = parser.parse_args()
    counts = [int(n) for n in options.counts.split(",")]
    if options.documents:
        with tempfile.TemporaryDirectory() as place:
            write(Site(options.documents), Path(place) / "site", static=False)
            turns = [{n: of_sample(n, Path(place) / "site") for n in counts} for _ in range(options.turns)]
        assert len({digest for turn in turns for *_, digest in turn.values()}) == 1, "each builds the same"
        print("| processes | wall s | processor s | of the first's wall |\n" + "| --- " * 4 + "|")
        for n in counts:
            walls, used = [turn[n][0] for turn in turns], median(turn[n][1] for turn in turns)
            share = extract.spread([turn[n][0] / turn[counts[0]][0] for turn in turns])
            print(f"| {n} | {extract.spread(walls)} | {used:.1f} | {share} |")
        return
    print(f"{options.stage}, {options.images} pictures for each, {os.cpu_count()} cores, {options.device}")
    print("| processes | decode, all | network alone | steady | of the slower | of the first |\n" + "| --- " * 6 + "|")
    rates: list[float] = []
    for n in counts:
        rate, line = of_stage(options.stage, n, options.images, options.device, options.precision)
        rates.append(rate)
        print(f"{line} {rate / rates[0]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
