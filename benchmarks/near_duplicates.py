"""The indexes of near duplicates, of perceptual hashes and of texts: time, peak memory and recall as they grow.

Random 64-bit hashes, and a copy of one in a hundred with 1 to 8 bits flipped; random MinHash signatures, and a copy of
one in a hundred with 25 of 125 places changed (80 % of all word triples in common). A copy is found when the index
returns its pair. ``python benchmarks/near_duplicates.py [--millions 0.1 0.3 1 3 10] [--texts 0.1 0.3 1]``; each size
runs in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

import numpy as np

from diptych.fits.hash_index import near_pairs
from diptych.fits.near_duplicate_texts import alike
from diptych.stages.minhash import PLACES

DISTANCE = 8


def planted(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct hashes in which row ``originals[n]`` was copied to row ``copies[n]`` with up to eight bits flipped."""
    chance = np.random.default_rng(count)
    copied = count // 100
    originals = chance.integers(0, 1 << 64, count - copied, np.uint64)
    flips = np.zeros(copied, np.uint64)
    for n in range(copied):
        bits = chance.choice(64, chance.integers(1, DISTANCE + 1), replace=False)
        flips[n] = np.bitwise_or.reduce(np.uint64(1) << bits.astype(np.uint64))
    hashes = np.concatenate([originals, originals[:copied] ^ flips])
    return hashes, np.arange(copied), np.arange(count - copied, count)


def planted_texts(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As :func:`planted`, of signatures."""
    chance = np.random.default_rng(count)
    copied = count // 100
    signatures = chance.integers(0, 1 << 32, (count, PLACES), np.uint32)
    places = np.argsort(chance.random((copied, PLACES)), axis=1)[:, PLACES // 5 :]
    rows = np.arange(copied)[:, None]
    signatures[count - copied + rows, places] = signatures[rows, places]
    return signatures, np.arange(copied), np.arange(count - copied, count)


def run(kind: str, count: int) -> tuple[float, float, float, int]:
    """Processor seconds (other work on the machine leaves them alone), peak GiB with the data, recall, other pairs."""
    data, originals, copies = planted(count) if kind == "hashes" else planted_texts(count)
    start = time.process_time()
    if kind == "hashes":
        first, second, _ = near_pairs(data, DISTANCE)
    else:
        first, second = np.array(sorted(set(alike(data, 0.7))), np.int64).reshape(-1, 2).T
    seconds = time.process_time() - start
    found = np.isin(originals * count + copies, first * count + second)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    return seconds, peak, float(found.mean()), len(first) - int(found.sum())


def main() -> None:
    """Print a table for each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=float, nargs="*", default=[0.1, 0.3, 1, 3, 10])
    parser.add_argument("--texts", type=float, nargs="*", default=[0.1, 0.3, 1])
    options = parser.parse_args()
    for kind, sizes in {"hashes": options.millions, "texts": options.texts}.items():
        print(f"| {kind} | CPU seconds | microseconds each | peak memory, GiB | recall of copies | other pairs |")
        print("| --- | --- | --- | --- | --- | --- |", flush=True)
        for millions in sizes:
            count = round(millions * 1e6)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, peak, recall, others = pool.apply(run, (kind, count))
            each = 1e6 * seconds / count
            print(f"| {count:,} | {seconds:.1f} | {each:.1f} | {peak:.2f} | {recall:.4f} | {others:,} |", flush=True)


if __name__ == "__main__":
    main()
