"""What a vision stage costs beside its network: a build's images/s over those of the bare network, and its memory.

``python benchmarks/extract.py [--stages backbone,grid] [--images 200] [--device cuda]`` times, for each stage,
decoding alone, the network alone on pictures that are decoded already, the network *fed* by a thread that decodes ahead
of it, one picture at a time as the field's scripts do it (open, resize, forward, one file), and the stage in a build;
then all of them in one build. ``--turns 5`` does so five times in turns: a busy machine's single rates say little.
``--memory 100000`` sends that many pictures through decoding, batching and writing with a constant network, and
``--memory-stage backbone --memory 2000`` through a real one. Random weights, which cost the same as trained ones.
The stage ``pause`` stands for an accelerator that does not share the processor. Processor time is of all threads.
``fpn`` and ``c4`` are ``regions`` by ResNet-50 FPN and by bottom-up attention's ResNet-101 C4, ``fc7`` sees whole
pictures; ``pixels`` and ``proposals`` have no network.

*rest* is a build that neither decodes nor has a network: it reads the files, and writes rows that were made before.
Where all three only wait for the interpreter's lock (a GPU beside many cores), decoding and the rest take turns, and
*of both in turn* is the steady rate over 1 / (1 / decode + 1 / rest).

"steady" is what a long build costs: the rate while the middle eight tenths of the rows are computed, ends of shards
included. What remains of the whole time is fixed: the first plan and batch, the last segment. One file, because every
way of running a stage is timed on the same pictures with the same clocks.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from math import inf
from pathlib import Path
from queue import Queue
from statistics import median
from threading import Lock, Thread
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from PIL import Image

from diptych.engine.build import Silent, build
from diptych.engine.context import BuildOptions, Progress
from diptych.engine.steps import close
from diptych.fit import Fit
from diptych.models.common.alone import is_processor, side_by_side
from diptych.naming import record_id
from diptych.records import Document
from diptych.sample import Site
from diptych.stage import Batch, Output, Stage, StageConfig, Tensor
from diptych.stages.pixels_input import accepted, decoded
from diptych.stages.schema import load_stage
from diptych.storage.snapshot import _write
from diptych.storage.store import Store, open_store

HERE = "extract"
SHARDS = 8
DRAWN = 400
CONFIG: dict[str, dict[str, Any]] = {
    "backbone": {"weights": "random:0", "grid": True},
    "inception": {"weights": "random:0"},
    "grid": {"weights": "random:0"},
    "pause": {"use": "extract:Pause"},
    "regions": {"model": "fasterrcnn_efficientnet_lite0", "weights": "random:0", "mode": "fixed"},
    "fpn": {"model": "fasterrcnn_resnet50_fpn", "weights": "random:0", "mode": "fixed"},
    "c4": {"model": "bottom_up_attention", "weights": "random:0", "mode": "fixed"},
    "fc7": {"weights": "random:0", "boxes": "annotated"},
    "pixels": {"side": 300},
    "proposals": {"nms_threshold": 0.4},
}
STAGES = {"fpn": "regions", "c4": "regions"}
"""The stage of each name that is not one itself: regions by other detectors."""


class Gate(Stage):
    """Accepts every picture, so that nothing but the measured stage is computed."""

    name, version, key, fetched, gate = "gate", 1, "image", True, True
    inputs = ("images.bytes",)
    outputs = pa.schema([("size", pa.int64())])
    batch_size: ClassVar[int] = 512

    def process(self, batch: Batch) -> Output:
        out = batch.output()
        for row, data in enumerate(batch["images.bytes"]):
            out.set(row, size=len(data))
        return out


class Constant(Stage):
    """Decodes and resizes as the others do, and gives the same 2048 numbers for every picture."""

    name, version, key = "constant", 1, "image"
    inputs = ("images.bytes",)
    outputs = pa.schema([("width", pa.int32())])
    tensors: ClassVar = {"pooled": Tensor("float16", (2048,))}
    accelerator: ClassVar[bool] = True

    def prepare(self, batch: Batch) -> Sequence[Any]:
        return decoded(batch["images.bytes"], lambda image: np.asarray(image.resize((224, 224))))

    def process(self, batch: Batch) -> Output:
        out = batch.output()
        good = accepted(out, batch.ready())
        pixels = np.stack(list(good.values()))  # the batch a network would take
        for row in good:
            out.set(row, width=pixels.shape[2], pooled=np.ones(2048, np.float16))
        return out


class ReplayConfig(StageConfig):
    """Whose rows; a part of the stage key."""

    of: str


class Replay(Stage):
    """Rows of another stage that were made before, in place of its decoding and its network."""

    name, version, key = "replay", 1, "image"
    inputs = ("images.bytes",)
    accelerator: ClassVar[bool] = True
    overlaps: ClassVar[bool] = True
    Config = ReplayConfig
    made: ClassVar[Output]

    @classmethod
    def take(cls, made: Output, batch_size: int) -> None:
        """Say which rows."""
        cls.made, cls.outputs, cls.tensors, cls.batch_size = made, made.schema, made.tensors, batch_size

    def process(self, batch: Batch) -> Output:
        out, rows = batch.output(), len(self.made.keys)
        for row in range(len(batch)):
            out.set(row, **{name: values[row % rows] for name, values in self.made.values.items()})
        return out


class PauseConfig(StageConfig):
    """How fast the accelerator is."""

    seconds: float = 0.02


class Pause(Constant):
    """As ``constant``, on an accelerator that takes so long a picture and leaves the processor alone meanwhile."""

    name = "pause"
    overlaps: ClassVar[bool] = True
    Config = PauseConfig
    config: PauseConfig
    device = Lock()

    def process(self, batch: Batch) -> Output:
        with self.device:
            time.sleep(self.config.seconds * len(batch))
        return super().process(batch)


class Train(Fit):
    """Every document is for training; no near duplicates are looked for."""

    name, version, rows, fetched = "splits", 1, "document", True
    inputs = ("documents.split",)
    outputs = pa.schema([("key", pa.string()), ("split", pa.string())])
    on, key, refit, ledger = "all", "document", "always", True

    def partial(self, keys: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> pa.Table:
        return pa.table({"key": pa.array(keys, pa.string())})

    def merge(self, partials: Sequence[pa.Table], previous: pa.Table | None) -> pa.Table:
        names = sorted({k for p in partials for k in p["key"].to_pylist()})
        return pa.table({"key": pa.array(names, pa.string()), "split": pa.array(["train"] * len(names), pa.string())})


# pictures and builds --------------------------------------------------------------------------------------


def pictures(count: int) -> list[bytes]:
    """Pictures of the sample site, as it serves them; after ``DRAWN`` the same again, each a file of its own."""
    site, found = Site(min(count, DRAWN), seed=77, dirt=False), []
    for document in site.iterate():
        found += [site.image_bytes(image) for image in document.images]
        if len(found) >= min(count, DRAWN):
            break
    return [found[n % DRAWN] + (n // DRAWN).to_bytes(4, "little") * (n >= DRAWN) for n in range(count)]


def store_pictures(root: Path, files: Callable[[int], bytes], count: int) -> str:
    """A dataset of these pictures, ten a document; its snapshot."""
    store = open_store(str(root), HERE)
    rows = [_record(store, n, [files(i) for i in range(n, min(n + 10, count))]) for n in range(0, count, 10)]
    return _write(store, iter(sorted(rows, key=lambda r: r["record"]))).digest


def _record(store: Store, number: int, files: list[bytes]) -> dict[str, Any]:
    empty = {"caption": "", "alt": "", "extra": "", "outcome": "ok"}
    images = [{"url": f"file:{number + n}", "key": store.blobs.put(d), **empty} for n, d in enumerate(files)]
    return {
        "record": record_id(HERE, str(number)), "source": HERE, "subset": HERE, "source_id": str(number),
        "url": f"file:{number}", "content": store.blobs.put(Document(title="", text="x").to_bytes()), "outcome": "ok",
        "split": None, "images": images,
    }  # fmt: skip


def recipe(stages: dict[str, dict[str, Any]], shards: int) -> str:
    settings = {"gate": {"use": "extract:Gate"}, **stages}
    return json.dumps(
        {
            "name": HERE, "sources": [{"kind": "folder", "name": HERE, "path": "."}], "shards": shards,
            "stages": settings, "fits": {"splits": {"use": "extract:Train"}},
        }
    )  # fmt: skip


@dataclass(frozen=True)
class Rate:
    """Pictures a second, and processor milliseconds a picture."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.wall:.1f} ({self.cpu:.1f} ms)"


def timed(function: Callable[[], object], count: int) -> Rate:
    start, used = time.perf_counter(), time.process_time()
    function()
    return Rate(count / (time.perf_counter() - start), 1e3 * (time.process_time() - used) / count)


# throughput -----------------------------------------------------------------------------------------------


def calls(stage: Any, prepared: Sequence[Any], device: str) -> list[Callable[[], object]]:
    """The network's forward passes for these inputs, which are put on the device."""
    import torch

    size = 1 if is_processor(device) else stage.accelerator_batch_size or stage.batch_size
    if stage.name == "pause":
        return [lambda: time.sleep(stage.config.seconds * len(prepared))]
    if stage.name in ("pixels", "proposals"):
        return []
    if stage.name == "fc7":
        prepared = [pixels for crops in prepared for pixels in crops.pixels]
    if stage.name != "regions":
        placed = [stage.on_device(prepared[n : n + size]) for n in range(0, len(prepared), size)]
        return [lambda t=t: stage._network(t) for t in placed]
    groups: dict[Any, list[Any]] = {}
    for *_, made in prepared:
        groups.setdefault(made.pixels.shape, []).append(made)
    batches = [g[n : n + size] for g in groups.values() for n in range(0, len(g), size)]
    tensors = [torch.stack([m.pixels for m in b]).to(device) for b in batches]
    sizes = [[m.size for m in b] for b in batches]
    score = stage._detector.network.score
    return [lambda t=t, s=s: score(t, s) for t, s in zip(tensors, sizes, strict=True)]


def forward(stage: Any, passes: list[Callable[[], object]], device: str) -> None:
    """These passes at the stage's precision."""
    import torch

    from diptych.models.common.precision import inference

    def once(call: Callable[[], object]) -> None:
        with inference(device, getattr(stage.config, "precision", "float32")):
            call()

    if is_processor(device):
        side_by_side(once, passes)
    else:
        for call in passes:
            once(call)
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def fed(stage: Any, files: list[bytes], device: str) -> Rate:
    """A bare loop of the network on what another thread decodes ahead of it; nothing is stored."""
    waiting: Queue[Sequence[Any]] = Queue(2)
    size = stage.batch_size if is_processor(device) else stage.accelerator_batch_size or stage.batch_size
    parts = [files[n : n + size] for n in range(0, len(files), size)]

    def decode() -> None:
        for part in parts:
            waiting.put(stage.prepare(batch_of(stage, part)))

    def loop() -> None:
        ahead = Thread(target=decode)
        ahead.start()
        for _ in parts:
            forward(stage, calls(stage, waiting.get(), device), device)
        ahead.join()

    return timed(loop, len(files))


def one_by_one(stage: Stage, files: list[bytes], folder: Path) -> Rate:
    """A loop over single pictures that writes a file each."""

    def loop() -> None:
        for n, data in enumerate(files):
            out = stage.process(batch_of(stage, [data]))
            np.savez(folder / f"{n}.npz", **{name: out.values[name][0] for name in out.tensors})

    stage.process(batch_of(stage, files[:1]))
    return timed(loop, len(files))


def measure(names: list[str], count: int, device: str, precision: str, turns: int) -> None:
    files = pictures(count)
    size = sum(map(len, files)) / len(files) / 1e3
    print(f"{len(files)} pictures of {size:.0f} kB, {os.cpu_count()} cores, {device}, {precision}")
    head = ("stage", "decode", "network", "fed", "one by one", "rest", "steady", "fixed", "of the slower", "of fed",
            "over one by one", "of both in turn", "CPU: of both")  # fmt: skip
    print(f"| {' | '.join(head)} |")
    print("| --- " * len(head) + "|")
    settings = {n: CONFIG[n] | ({"precision": precision} if "weights" in CONFIG[n] else {}) for n in names}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        snapshot = store_pictures(root, files.__getitem__, len(files))
        options = BuildOptions(device=device)
        build(recipe({}, 4), str(root), options, snapshot=snapshot)
        for name in names:
            cells = one_stage(name, settings[name], files, root, snapshot, options, turns)
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
        if len(names) > 1 and not set(names) & set(STAGES):
            together(root, names, settings, snapshot, options, turns)


def one_stage(
    name: str,
    settings: dict[str, Any],
    files: list[bytes],
    root: Path,
    snapshot: str,
    options: BuildOptions,
    turns: int,
) -> list[str]:
    """The cells of one stage's line: medians of the turns, and medians of each turn's ratios."""
    stage, every, prepared, passes = warmed(name, settings, files, root, options)
    some = batch_of(stage, files[:16])
    replay = import_module(HERE).Replay  # not this program's own: recipes name the module's
    replay.take(stage.process(replace(some, prepared=prepared[:16])), stage.batch_size)
    rates, ratios, fixed = [], [], []
    for turn in range(turns):
        decode = timed(lambda: stage.prepare(every), len(files))
        network = timed(lambda: forward(stage, passes, options.device), len(files)) if passes else Rate(inf, 0)
        beside = fed(stage, files, options.device)
        single = one_by_one(stage, files[: max(8, min(200, len(files) // 4))], root)
        elsewhere = replace(options, device="pause")  # not the processor, so that two batches are on their way
        again = {"replay": {"use": "extract:Replay", "of": f"{name} {turn}"}}
        others, _ = in_build("replay", again, root, snapshot, elsewhere)
        changed = {STAGES.get(name, name): settings | different(name, turn)}
        steady, whole = in_build(
            STAGES.get(name, name), changed, root, snapshot, elsewhere if name == "pause" else options
        )
        rates.append((decode, network, beside, single, others, steady))
        both = steady.cpu / (decode.cpu + network.cpu) if name != "pause" else float("nan")
        slower, in_turn = min(decode.wall, network.wall), steady.wall * (1 / decode.wall + 1 / others.wall)
        ratios.append((steady.wall / slower, steady.wall / beside.wall, steady.wall / single.wall, in_turn, both))
        fixed.append(whole)
    stage.close()
    cells = [
        str(Rate(median(r.wall for r in column), median(r.cpu for r in column))) for column in zip(*rates, strict=True)
    ]
    shares = [spread(column) for column in zip(*ratios, strict=True)]
    return [*cells, f"{median(fixed):.2f} s", *shares]


def stage_of(name: str, settings: dict[str, Any]) -> Any:
    """The stage with these settings, not set up."""
    work = Pause if name == "pause" else load_stage(STAGES.get(name, name))
    return work(work.Config(**{k: v for k, v in settings.items() if k != "use"}))


def batch_of(stage: Any, files: list[bytes]) -> Batch:
    """These files, without annotated boxes."""
    columns = {"images.bytes": files, "pairs.extra": [""] * len(files)}
    return Batch(tuple(map(str, range(len(files)))), {name: columns[name] for name in stage.inputs}, stage)


def warmed(
    name: str, settings: dict[str, Any], files: list[bytes], root: Path, options: BuildOptions
) -> tuple[Any, Batch, list[Any], list[Callable[[], object]]]:
    """The stage on its device, all files as a batch, what it prepares of them, and its forward passes, done once."""
    stage = stage_of(name, settings)
    stage.setup(options.device)
    every = batch_of(stage, files)
    prepared: list[Any] = list(stage.prepare(every))
    warm = store_pictures(root / "warm", files.__getitem__, 10)  # loads the weights, which a long build does once
    build(recipe({STAGES.get(name, name): settings}, 1), str(root / "warm"), options, snapshot=warm)
    passes = calls(stage, prepared, options.device)
    forward(stage, passes, options.device)  # a GPU chooses its kernels at the first batch of a shape
    return stage, every, prepared, passes


def in_build(
    name: str, stages: dict[str, dict[str, Any]], root: Path, snapshot: str, options: BuildOptions
) -> tuple[Rate, float]:
    """A stage's steady rate in a build, and the seconds that it does not account for."""
    clock = Clock(name)
    build(recipe(stages, SHARDS), str(root), options, snapshot=snapshot, watcher=clock)
    close()
    return clock.steady()


def different(name: str, turn: int) -> dict[str, Any]:
    """A setting that costs the same, so that no row is reused."""
    if "weights" in CONFIG[name]:
        return {"weights": f"random:{turn}"}
    setting = {"pause": "seconds", "pixels": "side", "proposals": "nms_threshold"}[name]
    value = CONFIG[name][setting]
    return {setting: value + turn if setting == "side" else value * (1 + turn / 1000)}


def spread(values: Sequence[float]) -> str:
    """The median, and of several the least and the largest."""
    several = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
    return f"{median(values):.2f}{several}"


def together(
    root: Path, names: list[str], settings: dict[str, Any], snapshot: str, options: BuildOptions, turns: int
) -> None:
    """All stages side by side."""
    from diptych.stages.pool import _PICTURES

    again = {n: settings[n] | different(n, turns) for n in names}
    before, start = _PICTURES.decoded, time.perf_counter()
    report = build(recipe(again, 4), str(root), options, snapshot=snapshot)
    rows = sum(report.progress[n].computed for n in names)
    print(
        f"\n{' + '.join(names)} in one build: {rows} rows in {time.perf_counter() - start:.1f} s,"
        f" {_PICTURES.decoded - before} full decodings"
    )


class Clock(Silent):
    """When which rows of a stage were there."""

    def __init__(self, name: str) -> None:
        self.name, self.lock = name, Lock()
        self.seen: list[tuple[float, float, int]] = []
        self.began = self.ended = 0.0

    def started(self, name: str, groups: int) -> None:
        """A stage or fit begins."""
        if name == self.name:
            self.began = time.perf_counter()

    def rows(self, name: str, count: int) -> None:
        """Called after each batch, by several threads."""
        if name == self.name:
            with self.lock:
                done = count + (self.seen[-1][2] if self.seen else 0)
                self.seen.append((time.perf_counter(), time.process_time(), done))

    def finished(self, progress: Progress) -> None:
        """A stage or fit has ended."""
        if progress.name == self.name:
            self.ended = time.perf_counter()

    def steady(self) -> tuple[Rate, float]:
        """The steady rate, and the seconds that it does not account for."""
        rate = steady(self.seen)
        return rate, self.ended - self.began - self.seen[-1][2] / rate.wall


def steady(seen: Sequence[tuple[float, float, int]]) -> Rate:
    """The rate between a tenth and nine tenths of the rows: seconds, processor seconds and rows after each batch."""
    total = seen[-1][2]
    first = next(s for s in seen if s[2] >= total / 10)
    last = next(s for s in seen if s[2] >= total * 9 / 10)
    count = last[2] - first[2]
    return Rate(count / (last[0] - first[0]), 1e3 * (last[1] - first[1]) / count)


# memory ---------------------------------------------------------------------------------------------------


class Watch(Silent):
    """Resident memory of the process, twenty times while one stage is computed."""

    def __init__(self, name: str, count: int) -> None:
        self.name, self.every, self.done = name, count / 20, 0
        self.seen: list[tuple[int, int]] = [(0, resident())]

    def rows(self, name: str, count: int) -> None:
        """Called after each batch of a stage."""
        if name == self.name:
            self.done += count
            if self.done - self.seen[-1][0] >= self.every:
                self.seen.append((self.done, resident()))


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(name: str, count: int, device: str) -> None:
    base = pictures(100) if name != "constant" else [_small(n) for n in range(100)]
    settings, name = {"use": "extract:Constant"} if name == "constant" else CONFIG[name], STAGES.get(name, name)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        print(f"writing {count} pictures", flush=True)
        snapshot = store_pictures(root, lambda n: base[n % 100] + n.to_bytes(4, "little"), count)
        shards = 1 << max(2, (count // 2000).bit_length())
        build(recipe({}, shards), str(root), BuildOptions(device=device), snapshot=snapshot)
        watch = Watch(name, count)
        start = time.perf_counter()
        report = build(
            recipe({name: settings}, shards), str(root), BuildOptions(device=device), snapshot=snapshot, watcher=watch
        )
        seconds = time.perf_counter() - start
        done = report.progress[name]
    tenth = next((b for r, b in watch.seen if r >= count / 10), watch.seen[-1][1])
    print(
        f"{name}: {done.computed} pictures in {seconds:.0f} s ({done.computed / seconds:.0f}/s),"
        f" {done.bytes_written / max(1, done.computed) / 1e3:.1f} kB written a picture; resident"
        f" {tenth / 1e6:.0f} MB after a tenth, {watch.seen[-1][1] / 1e6:.0f} MB at the end,"
        f" at most {max(b for _, b in watch.seen) / 1e6:.0f} MB"
    )


def _small(seed: int) -> bytes:
    file = io.BytesIO()
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC).save(file, "JPEG", quality=80)
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", default="backbone,regions,inception,grid,pause", help=f"of {', '.join(CONFIG)}")
    parser.add_argument("--images", type=int, default=200, help="at least 10")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--turns", type=int, default=1, help="measure so many times in turns, and print medians")
    parser.add_argument("--memory", type=int, default=0, help="send so many pictures through a build instead")
    parser.add_argument("--memory-stage", default="constant", help="constant, or a stage's name")
    parser.add_argument("--pause", type=float, default=20, help="milliseconds a picture of the stage `pause`")
    options = parser.parse_args()
    if options.images < 10:
        parser.error(f"--images {options.images}: the networks are warmed on 10")
    CONFIG["pause"]["seconds"] = options.pause / 1e3
    if options.memory:
        memory(options.memory_stage, options.memory, options.device)
    else:
        measure(options.stages.split(","), options.images, options.device, options.precision, options.turns)


if __name__ == "__main__":
    main()
