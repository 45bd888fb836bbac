"""Who may be asked when: a pool of threads over one lane per host, each with its own parallelism and pace.

A thread never waits for a host: jobs wait in their host's lane, and a thread takes the next job whose host has
a free place, so that one slow or strict host holds up nobody else.
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

Job = Callable[[], bool]
"""One step of a task; True when it goes on elsewhere and :meth:`Lanes.done` tells its end."""


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

    def submit(self, lane: Lane, job: Job, after: float = 0.0) -> None:
        """Queue a job; with ``after`` not before that many seconds (a retry, which then goes first)."""
        with self._changed:
            if after > 0:
                heapq.heappush(self._later, (time.monotonic() + after, next(self._count), lane, job))
            else:
                lane.pending.append(job)
                self._offer(lane)
            self._changed.notify()

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
        """A job that went on elsewhere has ended: its place is free."""
        with self._changed:
            lane.active -= 1
            self._room += 1
            self._offer(lane)
            self._changed.notify()

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

    def _offer(self, lane: Lane) -> None:
        if lane.pending and lane.active < lane.parallel and not lane.offered:
            lane.offered = True
            heapq.heappush(self._offers, (max(lane.ready_at, time.monotonic()), next(self._count), lane))
            self._changed.notify()

    def _take(self) -> tuple[Lane, Job] | None:
        """The next job that may start; None when stopped. Called with the lock held."""
        while not self._stopped:
            now = time.monotonic()
            while self._later and self._later[0][0] <= now:
                _, _, lane, later = heapq.heappop(self._later)
                if later is None:
                    lane.active -= 1
                else:
                    lane.pending.appendleft(later)
                self._offer(lane)
            if self._room and self._offers and self._offers[0][0] <= now:
                _, _, lane = heapq.heappop(self._offers)
                lane.offered = False
                if lane.ready_at > now or lane.active >= lane.parallel:
                    self._offer(lane)  # paused, or made stricter, since it was offered
                    continue
                job = lane.pending.popleft()
                lane.active += 1
                self._room -= 1
                lane.ready_at = now + lane.delay
                self._offer(lane)
                return lane, job
            heaps = (self._offers, self._later) if self._room else (self._later,)
            ends = [heap[0][0] for heap in heaps if heap]
            self._changed.wait(min(ends) - now if ends else None)
        return None

    def _work(self) -> None:
        while True:
            with self._changed:
                taken = self._take()
            if taken is None:
                return
            lane, job = taken
            try:
                elsewhere = job()
            except BaseException as error:
                self.fail(error)
                return
            if not elsewhere:
                self.done(lane)
