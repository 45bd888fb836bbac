"""One step of a build over many groups of shards: in this process, two a device at once, or by worker processes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event

from diptych.engine.context import BuildContext, Done, Kind, OnRows, Progress, Stop
from diptych.engine.crew import crew_of
from diptych.engine.devices import device_names
from diptych.engine.steps import LANES, lanes_of, run_fit_group, run_group, stage_places
from diptych.engine.waiting import results
from diptych.exceptions import NothingCommitted
from diptych.storage.parts import groups

__all__ = ["run_step"]


def run_step(
    kind: Kind,
    context: BuildContext,
    names: Sequence[str],
    numbers: Sequence[int],
    done: Mapping[str, Done],
    on_rows: OnRows = lambda name, n: None,
    stop: Stop | None = None,
) -> list[Progress]:
    """A fit's partials, or stages of one wave, over some groups of shards.

    Once ``stop`` is set this process ends at its next batch with :class:`~diptych.exceptions.NothingCommitted`; worker
    processes do when their crew is closed.
    """
    crew = crew_of(context.build)
    if crew is None and context.options.processes > 1 and not context.options.dry:
        raise NothingCommitted("the build ended before this was computed")  # a task that waited for its turn
    if crew is None:
        stop = stop or Event()
        found = _step(kind, context, names, numbers, done, on_rows=on_rows, stop=stop)
        if stop.is_set():
            raise NothingCommitted("the build ended before this was computed")  # rows are missing
        return found
    started = time.monotonic()
    workers = min(crew.processes, len(groups(context.shards)))
    pieces = [(kind, context, names, some, done, workers) for some in _pieces(numbers, workers)]
    found = [progress for made in crew.call(_by_worker, pieces, on_rows, workers) for progress in made]
    return _side_by_side(found, time.monotonic() - started)


def _by_worker(
    kind: Kind,
    context: BuildContext,
    names: Sequence[str],
    numbers: Sequence[int],
    done: Mapping[str, Done],
    workers: int,
    *,
    worker: int,
    on_rows: OnRows,
    stop: Stop,
) -> list[Progress]:
    """What one worker does: as this process would, on its share of the devices."""
    options = replace(context.options, device=_share(context.options.device, worker, workers))
    return _step(kind, replace(context, options=options), names, numbers, done, on_rows=on_rows, stop=stop)


def _share(device: str, worker: int, workers: int) -> str:
    """A worker's devices: where there are fewer than workers, several use the same."""
    devices = device_names(device)
    return ",".join(devices[worker::workers]) or devices[worker % len(devices)]


def _pieces(numbers: Sequence[int], workers: int) -> Iterator[Sequence[int]]:
    """Neighbouring groups for one worker, first many and then few: none of them waits long for the last one."""
    least, left = min(LANES, -(-len(numbers) // workers)), list(numbers)
    while left:
        size = max(least, len(left) // (2 * workers))
        yield left[:size]
        left = left[size:]


def _step(
    kind: Kind,
    context: BuildContext,
    names: Sequence[str],
    numbers: Sequence[int],
    done: Mapping[str, Done],
    *,
    on_rows: OnRows,
    stop: Stop,
) -> list[Progress]:
    """While one group keeps a device busy, the next is planned and the one before is written to its end."""
    if kind == "fit":
        return [run_fit_group(context, names[0], number, done) for number in numbers if not stop.is_set()]
    lanes = min(len(numbers), lanes_of(stage_places(context, names)))
    if lanes < 2:
        some = (n for n in numbers if not stop.is_set())
        return [p for n in some for p in run_group(context, names, n, done, on_rows, stop=stop)]
    started = time.monotonic()

    def one(number: int) -> list[Progress]:
        try:
            return run_group(context, names, number, done, on_rows, lanes=1, stop=stop)
        except BaseException:
            stop.set()  # the others end at their next batch
            raise

    with ThreadPoolExecutor(lanes, thread_name_prefix="groups") as threads:
        waiting = [threads.submit(one, number) for number in numbers]
        try:
            found = [p for made in results(waiting) for p in made]
        except BaseException:  # Ctrl-C, too
            stop.set()
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return _side_by_side(found, time.monotonic() - started)


def _side_by_side(found: Sequence[Progress], seconds: float) -> list[Progress]:
    """Progress of groups that ran at the same time: what each took of the clock's seconds."""
    share = seconds / (sum(p.seconds for p in found) or 1.0)
    return [replace(p, seconds=share * p.seconds) for p in found]
