"""Who may be asked when: a pool of threads over one lane per host, each with its own parallelism and pace.

A thread never waits for a host: jobs wait in their host's lane, and a thread takes the next job whose host has
a free place, so that one slow or strict host holds up nobody else. A job that only hands its request on is run at
once by whoever queued it or freed its place (``quick``): waking a thread for it would cost more than the job.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Lane", "Lanes"]

Job = Callable[[bool], bool | None]
"""One step of a task; True when it goes on elsewhere and :meth:`Lanes.done` tells its end, False when it ended.

Called with True it must be quick: None says that it would have to wait, did nothing, and needs a thread.
"""


@dataclass
class Lane:
    """One host: what waits for it, how many are with it, when the next may start."""

    host: str
    parallel: int
    delay: float = 0.0
    ready_at: float = 0.0
    active: int = 0
    offered: bool = False
    closed: str = ""
    """Why the host is asked no more in this crawl (host_down, host_busy); empty while it is."""
    failures: int = 0
    pending: deque[Job] = field(default_factory=deque)


class Lanes:
    """``threads`` workers over all lanes, and as many jobs under way; the first job that raises stops everything."""

    def __init__(self, threads: int) -> None:
        self._changed = threading.Condition()
        self._lanes: dict[str, Lane] = {}
        self._offers: list[tuple[float, int, Lane]] = []
        self._later: list[tuple[float, int, Lane, Job | None]] = []
        self._begun: deque[tuple[Lane, Job]] = deque()
        """Jobs that have their place and need a thread."""
        self._runs = threading.local()
        self._count = itertools.count()
        self._stopped = False
        self._room = threads
        self.error: BaseException | None = None
        self._threads = [threading.Thread(target=self._work, name=f"fetch-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def lane(self, host: str, parallel: int, delay: float = 0.0) -> Lane:
        """The host's lane; of two sources' wishes the stricter holds."""
        with self._changed:
            lane = self._lanes.get(host)
            if lane is None:
                lane = self._lanes[host] = Lane(host, parallel, delay)
            lane.parallel = min(lane.parallel, parallel)
            lane.delay = max(lane.delay, delay)
            return lane

    def submit(self, lane: Lane, job: Job, after: float = 0.0, quick: bool = False) -> None:
        """Queue a job; with ``after`` not before that many seconds (a retry, which then goes first).

        ``quick`` says that it will hardly need a thread, so that it may be run here.
        """
        with self._changed:
            if after > 0:
                heapq.heappush(self._later, (time.monotonic() + after, next(self._count), lane, job))
                self._changed.notify()
                return
            lane.pending.append(job)
            self._offer(lane, not quick)
        if quick:
            self._run_quick()

    def hold(self, lane: Lane, seconds: float) -> None:
        """Keep one of the host's places taken: a request that was given up may still keep the host busy."""
        with self._changed:
            lane.active += 1
            heapq.heappush(self._later, (time.monotonic() + seconds, next(self._count), lane, None))
            self._changed.notify()

    def pause(self, lane: Lane, seconds: float) -> None:
        """No request to the host before that many seconds from now."""
        with self._changed:
            lane.ready_at = max(lane.ready_at, time.monotonic() + seconds)

    def pace(self, lane: Lane, delay: float) -> None:
        """The host asked for ``delay`` seconds between requests: one at a time from now on."""
        with self._changed:
            if delay > lane.delay:
                lane.delay = delay
                lane.ready_at = max(lane.ready_at, time.monotonic() + delay)
            lane.parallel = 1

    def done(self, lane: Lane) -> None:
        """A job that went on elsewhere has ended: its place is free, and the next one's first step is taken here."""
        self._free(lane)
        self._run_quick()

    def fail(self, error: BaseException) -> None:
        """Stop everything; the caller of the crawl is told at his next wait."""
        with self._changed:
            self.error = self.error or error
            self._stopped = True
            self._changed.notify_all()

    def close(self, patience: float | None = None) -> None:
        """Stop; waiting jobs are dropped, running ones are waited for, at most ``patience`` seconds."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        ends = None if patience is None else time.monotonic() + patience
        for thread in self._threads:
            thread.join(None if ends is None else max(0.0, ends - time.monotonic()))

    def _free(self, lane: Lane) -> None:
        with self._changed:
            lane.active -= 1
            self._room += 1
            self._offer(lane, False)  # who calls takes the next job

    def _offer(self, lane: Lane, wake: bool = True) -> None:
        if lane.pending and lane.active < lane.parallel and not lane.offered:
            lane.offered = True
            heapq.heappush(self._offers, (max(lane.ready_at, time.monotonic()), next(self._count), lane))
            if wake:
                self._changed.notify()

    def _next(self) -> tuple[Lane, Job] | None:
        """The next job that may start now. Called with the lock held."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            _, _, lane, later = heapq.heappop(self._later)
            if later is None:
                lane.active -= 1
            else:
                lane.pending.appendleft(later)
            self._offer(lane)
        while self._room and self._offers and self._offers[0][0] <= now and not self._stopped:
            _, _, lane = heapq.heappop(self._offers)
            lane.offered = False
            if lane.ready_at > now or lane.active >= lane.parallel:
                self._offer(lane)  # paused, or made stricter, since it was offered
                continue
            job = lane.pending.popleft()
            lane.active += 1
            self._room -= 1
            lane.ready_at = now + lane.delay
            self._offer(lane, False)
            return lane, job
        return None

    def _take(self) -> tuple[Lane, Job] | None:
        """The next job, waited for; None when stopped. Called with the lock held."""
        while not self._stopped:
            taken = self._begun.popleft() if self._begun else self._next()
            if taken is not None:
                if self._begun or (self._offers and self._room):
                    self._changed.notify()  # there is more to do
                return taken
            heaps = (self._offers, self._later) if self._room else (self._later,)
            ends = [heap[0][0] for heap in heaps if heap]
            self._changed.wait(max(0.0, min(ends) - time.monotonic()) if ends else None)
        return None

    def _work(self) -> None:
        while True:
            with self._changed:
                taken = self._take()
            if taken is None:
                return
            self._run(*taken, False)

    def _run_quick(self) -> None:
        """Run what may start now, as long as it needs no thread."""
        if getattr(self._runs, "quick", False):
            return  # a job that is run below queued another one: the loop comes to it
        self._runs.quick = True
        try:
            while True:
                with self._changed:
                    taken = self._next()
                    if taken is None:
                        if self._offers and self._room:
                            self._changed.notify()  # a thread waits for its moment
                        return
                self._run(*taken, True)
        finally:
            self._runs.quick = False

    def _run(self, lane: Lane, job: Job, quick: bool) -> None:
        try:
            elsewhere = job(quick)
        except BaseException as error:
            self.fail(error)
            return
        if elsewhere is None:
            with self._changed:
                self._begun.append((lane, job))
                self._changed.notify()
        elif not elsewhere:
            self._free(lane)
