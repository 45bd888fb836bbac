"""A training step at the papers' sizes: its time, what reading costs beside it, peak memory.

``python benchmarks/training.py`` measures all five models, each in a process of its own, on two versions that it makes
first (``--folder``; see ``paper_sizes``): random features and random words of the papers' shapes, few documents.
``--model mkp`` measures one; ``--model M --dataset D@V --root DATA [--preset sample]`` one on a version of yours.

Steps alternate: one on a batch that the reader's worker processes have read from the version, one on a batch that
stands in memory, pinned where it goes to a GPU, as a reader that costs nothing would hand it over. *Ratio* is the time
of the second over that of the first, median of the pairs (1.00: reading costs nothing); a machine that others use slows
both. *CPU* is the processor time of all threads of the process that trains; *reading* that of a row read and collated
in the same process, and *without a worker* what the ratio would then be. Losses, gradients, clipping and the
optimiser's step count; dev passes and checkpoints do not. Vocabularies are as large as the papers'.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from paper_sizes.documents import make_version

from diptych.models.registry import find_task
from diptych.storage.packing import pack
from diptych.storage.store import open_store
from diptych.training.feed import Feed
from diptych.training.loop import make_optimiser
from diptych.training.needs import check_needs
from diptych.training.options import RunOptions, make_fabric
from diptych.training.phase import Phase
from diptych.training.task import Moment, State
from diptych.training.train import Order, settings_of
from diptych.version import Version

DATASETS = {"hcscl": "news", "gap": "news", "mkp": "posts", "ananet": "posts", "hmlstm": "posts"}
DOCUMENTS = {"news": 36, "posts": 130}
SETTINGS: Mapping[str, Mapping[str, Any]] = {"hcscl": {"output_vectors": "random"}}
"""What the paper preset needs weights for, which no step's time depends on."""
WORDS = {"hcscl": 21_128, "mkp": 45_000, "gap": 12_591}
CLASSES = {"mkp": 4_261}
HELD = 8
"""Batches that stand in memory: of several shapes, as those that are read."""


@dataclass(frozen=True)
class Took:
    """One step: seconds on the clock, of these waiting for the batch; processor seconds of all threads; rows."""

    wall: float
    waited: float
    cpu: float
    rows: int


class LongFeed(Feed):
    """An epoch goes over the few documents again and again, so that it has as many steps as a real one has before the
    workers must be told of the next.
    """

    def _order(self) -> np.ndarray:
        once = super()._order()
        return np.tile(once, 1 + 100 * self.batch_size // len(once))


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

    def remember(self, batches: list[Any]) -> None:
        """What the task computes before an epoch (HM-LSTM's matching), here of these batches."""
        import torch

        self.module.eval()
        for epoch in range(self.phase.epochs):
            moment = Moment(self.phase.name, epoch)
            with torch.no_grad():
                found = self.task.before_epoch(self.module, (b.to(self.device) for b in batches), moment)
            if found is not None:
                self.moment = Moment(self.phase.name, epoch, found)
                break
        self.module.train()

    def __call__(self, source: Iterator[dict[str, Any]]) -> Took:
        import torch

        begin, cpu = time.perf_counter(), time.process_time()
        batches = next(source)
        waited = time.perf_counter() - begin
        with self.fabric.autocast():
            terms = self.task.loss(self.module, {n: b.to(self.device) for n, b in batches.items()}, self.moment)
        self.optimiser.zero_grad()
        self.fabric.backward(sum(terms.values()))
        if self.task.config.clip:
            self.fabric.clip_gradients(
                self.module, self.optimiser, max_norm=self.task.config.clip, error_if_nonfinite=False
            )
        self.optimiser.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        rows = len(next(iter(batches.values())))
        return Took(time.perf_counter() - begin, waited, time.process_time() - cpu, rows)


def together(feeds: Mapping[str, Feed]) -> Iterator[dict[str, Any]]:
    """One batch of each stream, for ever."""
    around = {name: feed.forever() for name, feed in feeds.items()}
    while True:
        yield {name: next(feed) for name, feed in around.items()}


def reading(version: Version, task: Any, phase: Phase, steps: int) -> float:
    """Processor seconds to read and collate a step's batches in this process, a row of the first stream."""
    feeds = {name: Feed(version, task, name, stream) for name, stream in phase.streams.items()}
    source = together(feeds)
    next(source)
    begin = time.process_time()
    rows = sum(len(next(iter(next(source).values()))) for _ in range(steps))
    seconds = time.process_time() - begin
    for feed in feeds.values():
        feed.close()
    return seconds / rows


def filled(state: State, model: str) -> State:
    """A state whose vocabularies are as large as the paper's; what is added never occurs."""
    values, arrays = dict(state.values), dict(state.arrays)
    for key, sizes in (("words", WORDS), ("classes", CLASSES)):
        known: Any = values.get(key, ())
        values[key] = [*known, *(f"{key} {n}" for n in range(len(known), sizes.get(model, 0)))]
    more = len(values["words"]) - len(state.values["words"])  # type: ignore[arg-type]
    if "has_vector" in arrays:
        arrays["has_vector"] = np.concatenate([arrays["has_vector"], np.zeros(more, np.bool_)])
    elif "vectors" in arrays and more:
        chance = np.random.default_rng(0).normal(size=(more, arrays["vectors"].shape[1])).astype(np.float32)
        arrays["vectors"] = np.concatenate([arrays["vectors"], chance])
    return State(arrays, values)


def measure(version: Version, given: argparse.Namespace, settings: Mapping[str, Any]) -> None:
    """Print what one model's phases take."""
    import torch

    kind = find_task(given.model)
    config = settings_of(kind, Order(given.model, given.preset, settings))
    check_needs(version, kind, config)
    fabric = make_fabric(RunOptions(given.device, precision=given.precision))
    torch.manual_seed(0)
    state = kind.prepare(version, config)
    task = kind(config, filled(state, given.model) if given.preset == "paper" else state)
    module = task.build().to(fabric.device)
    parameters = sum(p.numel() for p in module.parameters())
    threads = f", {torch.get_num_threads()} threads" if given.device == "cpu" else ""
    print(f"{kind.name} {given.preset}: {parameters:,} parameters, {given.device} {given.precision}{threads}")
    for phase in task.phases():
        each = reading(version, task, phase, min(4, given.steps))
        pinned = fabric.device.type == "cuda"  # as the loop does it
        whole = {n: replace(s, least=s.batch_size) for n, s in phase.streams.items()}
        feeds = {n: LongFeed(version, task, n, s, workers=given.workers, pin_memory=pinned) for n, s in whole.items()}
        kept_feeds = {n: LongFeed(version, task, n, s) for n, s in whole.items()}
        stepper, read = Stepper(fabric, task, module, phase), together(feeds)
        held = list(itertools.islice(together(kept_feeds), min(HELD, given.steps)))
        if pinned:
            held = [{name: pack(batch).pin_memory().unpack() for name, batch in step.items()} for step in held]
        stepper.remember([next(iter(b.values())) for b in held])
        kept = itertools.cycle(held)
        stepper(kept)
        next(read)  # the workers have started
        pairs = [(stepper(read), stepper(kept)) for _ in range(given.steps)]
        cpu = statistics.median(k.cpu / k.rows for _, k in pairs)
        wall = statistics.median(k.wall for _, k in pairs)
        ratio = statistics.median((k.wall / k.rows) / (r.wall / r.rows) for r, k in pairs)
        waited = statistics.median(r.waited for r, _ in pairs)
        size = max(k.rows for _, k in pairs)
        megabytes = sum(pack(batch).size for batch in held[0].values()) / 1e6
        print(
            f"  phase {phase.name}: batch {size}, {1000 * wall:.1f} ms a step on the clock, "
            f"{1000 * cpu * size:.1f} ms CPU ({1 / cpu:.1f} samples a CPU second), {megabytes:.1f} MB\n"
            f"    reading {1000 * each:.2f} ms CPU a sample, {each / cpu:.1%} of the step's: without a worker "
            f"{1 / (1 + each / cpu):.3f}; ratio with {given.workers} a stream {ratio:.3f} over {given.steps} pairs, "
            f"{1000 * waited:.1f} ms of a step waited for the batch"
        )
        for feed in (*feeds.values(), *kept_feeds.values()):
            feed.close()
    if fabric.device.type == "cuda":
        print(f"  peak memory {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB on the device")
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB of the process")


def main() -> None:
    """One model, or all of them one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="one of the five, or module:Class; all five when left out")
    parser.add_argument("--dataset", help="D@V under --root; a version of the papers' sizes when left out")
    parser.add_argument("--root", default="data")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/diptych-paper-sizes"), help="where these are made")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--set", action="append", default=[], metavar="K=V")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="32-true")
    parser.add_argument("--workers", type=int, help="of each stream; as in training, but at least 1, when left out")
    parser.add_argument("--steps", type=int, default=4, help="pairs of steps")
    given = parser.parse_args()
    if given.model is None:
        for name, count in DOCUMENTS.items():
            make_version(given.folder, name, count)
        for model in DATASETS:
            subprocess.run([sys.executable, __file__, "--model", model, *sys.argv[1:]], check=True)
        return
    if given.workers is None:
        given.workers = max(1, RunOptions(given.device).readers)
    settings = {k: yaml.safe_load(v) for k, _, v in (text.partition("=") for text in given.set)}
    if given.dataset is None:
        if given.model not in DATASETS:
            parser.error(f"--model {given.model} needs --dataset D@V")
        name = DATASETS[given.model]
        version = make_version(given.folder, name, DOCUMENTS[name])
        settings = {**SETTINGS.get(given.model, {}), **settings}
    else:
        dataset, _, number = given.dataset.partition("@")
        store = open_store(given.root, dataset, must_exist=True)
        version = Version(store, store.log.manifest(int(number) if number.isdecimal() else number or "latest"))
    measure(version, given, settings)


if __name__ == "__main__":
    main()
