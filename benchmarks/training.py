"""A training step: its time, the reader's share of it, and peak memory.

``python benchmarks/training.py --model toy:ToyTask --dataset world@1 --root DATA [--preset paper] [--device cuda]``

*Reader*: steps as the loop takes them, batches read from the version by worker processes. *Tensors*: the same steps on
batches of the same version that stand in memory. Their ratio is what reading costs (1.00: nothing). Losses, gradients,
clipping and the optimiser's step count; dev passes and checkpoints do not.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import statistics
import time
from collections.abc import Iterator
from typing import Any

import yaml

from diptych.models.registry import find_task
from diptych.storage.store import open_store
from diptych.training.feed import Feed
from diptych.training.loop import make_optimiser
from diptych.training.needs import check_needs
from diptych.training.options import RunOptions, make_fabric
from diptych.training.phase import Phase
from diptych.training.task import Moment
from diptych.training.train import Order, settings_of
from diptych.version import Version


class Stepper:
    """One phase's step on one device."""

    def __init__(self, fabric: Any, task: Any, module: Any, phase: Phase) -> None:
        self.fabric, self.task, self.module, self.phase = fabric, task, module, phase
        self.device = fabric.device
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(not name.startswith(phase.frozen))
        self.optimiser = make_optimiser(phase, [p for p in module.parameters() if p.requires_grad])
        self.moment = Moment(phase.name)
        module.train()

    def __call__(self, batches: dict[str, Any]) -> int:
        with self.fabric.autocast():
            terms = self.task.loss(self.module, {n: b.to(self.device) for n, b in batches.items()}, self.moment)
        self.optimiser.zero_grad()
        self.fabric.backward(sum(terms.values()))
        if self.task.config.clip:
            self.fabric.clip_gradients(
                self.module, self.optimiser, max_norm=self.task.config.clip, error_if_nonfinite=False
            )
        self.optimiser.step()
        return len(next(iter(batches.values())))


def timed(step: Stepper, batches: Iterator[dict[str, Any]], steps: int) -> tuple[float, float]:
    """Samples a second over all steps, and the median seconds of a step, waiting for its batch included."""
    import torch

    rows, seconds = 0, []
    begin = last = time.perf_counter()
    for given in itertools.islice(batches, steps):
        rows += step(given)
        if step.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        seconds.append(now - last)
        last = now
    return rows / (last - begin), statistics.median(seconds)


def together(feeds: dict[str, Iterator[Any]]) -> Iterator[dict[str, Any]]:
    while True:
        yield {name: next(feed) for name, feed in feeds.items()}


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dataset", required=True, help="D@V")
    parser.add_argument("--root", default="data")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--set", action="append", default=[], metavar="K=V")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3, help="each way is timed so often in turn; the median counts")
    given = parser.parse_args()

    dataset, _, number = given.dataset.partition("@")
    store = open_store(given.root, dataset, must_exist=True)
    version = Version(store, store.log.manifest(int(number) if number.isdecimal() else number or "latest"))
    kind = find_task(given.model)
    settings = {k: yaml.safe_load(v) for k, _, v in (text.partition("=") for text in given.set)}
    config = settings_of(kind, Order(given.model, given.preset, settings))
    check_needs(version, kind, config)
    fabric = make_fabric(RunOptions(given.device, precision=given.precision))
    torch.manual_seed(0)
    task = kind(config, kind.prepare(version, config))
    module = task.build().to(fabric.device)
    parameters = sum(p.numel() for p in module.parameters())
    print(f"{kind.name} {given.preset} on {given.dataset}, {given.device} {given.precision}, {parameters:,} parameters")
    for phase in task.phases():
        feeds = {
            name: Feed(version, task, name, stream, workers=given.workers) for name, stream in phase.streams.items()
        }
        step = Stepper(fabric, task, module, phase)
        reading = together({name: feed.forever() for name, feed in feeds.items()})
        held = list(itertools.islice(reading, min(8, given.steps)))
        for batches in held[:3]:
            step(batches)
        found = [
            (timed(step, reading, given.steps), timed(step, itertools.cycle(held), given.steps))
            for _ in range(given.rounds)
        ]
        read, kept = (statistics.median(f[n][0] for f in found) for n in (0, 1))
        seconds = statistics.median(f[1][1] for f in found)
        rows = len(next(iter(held[0].values())))
        print(
            f"phase {phase.name}: batch {rows}, {1000 * seconds:.1f} ms a step; {read:.1f} samples/s with the reader "
            f"({given.workers} workers), {kept:.1f} on tensors: ratio {read / kept:.3f}"
        )
        for feed in feeds.values():
            feed.close()
    if fabric.device.type == "cuda":
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB on the device")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB of this process")


if __name__ == "__main__":
    main()
