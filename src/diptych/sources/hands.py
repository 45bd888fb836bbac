"""Hands: worker processes that do a busy crawl's requests, so that more than one core reads, hashes and stores.

One process is enough for what polite limits allow on a few hosts; hands are started when a crawl turns out to be
limited by its processor. All decisions stay in the crawl's process (lanes, robots.txt, retries, the log), so that
per-host limits hold over all hands together. A hand is a fresh interpreter (``hand.py``); addresses, answers and
secrets go through its socket and nowhere else, and it ends at once when the crawl's process does.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import diptych
from diptych.machine import cores
from diptych.sources.asking import Reply, Request
from diptych.sources.hand import Incoming, Orders, send

__all__ = ["Hands", "usual_count"]

_BUSY = 150.0
"""Requests a second from which on one process is taken to be the limit."""
_ENOUGH = 200
"""Requests that must have come as fast: a short crawl ends before its hands are there."""
_LOOK_AFTER, _LOOK_ANEW = 0.5, 2.0
"""Seconds that are looked at, at least and at most."""
_START = "import sys; sys.path.insert(0, sys.argv[1]); from diptych.sources.hand import main; main(int(sys.argv[2]))"
_LOST = Reply("failed_transient", "worker_lost", "a worker process ended before its answer came")

Then = Callable[[Reply | None], None]
"""Told of a request's reply; None: it was given up, and nothing is known of it."""


class _Hand:
    """One worker process: what it was asked and has not answered."""

    def __init__(self, orders: Orders) -> None:
        ours, theirs = socket.socketpair()
        self.socket = ours
        folder = str(Path(diptych.__file__).parent.parent)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, folder, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # a terminal's Control-C reaches the crawl, which closes the socket
        )
        theirs.close()
        self.waiting: dict[int, Then] = {}
        self.ready = self.closing = False
        self.lock = threading.Lock()
        send(ours, orders.to_dict())

    def read(self, fail: Callable[[BaseException], None]) -> None:
        """Pass on answers until the process ends; runs in a thread of its own."""
        incoming = Incoming(self.socket)
        try:
            while (message := incoming.next()) is not None:
                head, body = message
                number = head.pop("number", None)
                if number is None:
                    self.ready = True  # its greeting: imports are done
                    continue
                with self.lock:
                    then = self.waiting.pop(number)
                then(Reply(**head, body=body))
        except OSError:
            pass  # ended: what it owes is answered below
        except BaseException as error:
            fail(error)
            return
        with self.lock:
            self.ready = False
            lost = list(self.waiting.values())
            self.waiting.clear()
        try:
            for then in lost:
                then(None if self.closing else _LOST)
        except BaseException as error:
            fail(error)


class Hands:
    """Worker processes for one source's requests; none until the crawl is busy, and none where ``most`` is below 2."""

    def __init__(
        self, orders: Orders, most: int, fail: Callable[[BaseException], None], busy: float | None = None
    ) -> None:
        self._orders, self._most, self._fail = orders, most, fail
        self._busy = _BUSY if busy is None else busy
        self._hands: list[_Hand] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._asked = 0
        self._since = time.monotonic()
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether a process is there to take requests."""
        return any(hand.ready for hand in self._hands)

    def take(self, request: Request, then: Then) -> bool:
        """Hand a request over, ``then`` is called with its reply in another thread; False when no hand is there."""
        if self._most < 2:
            return False
        if not self._hands:
            self._look()
        ready = [hand for hand in self._hands if hand.ready]
        if not ready:
            return False
        hand = min(ready, key=lambda hand: len(hand.waiting))
        number = next(self._numbers)
        with hand.lock:
            if not hand.ready:
                return False
            hand.waiting[number] = then
            with contextlib.suppress(OSError):  # it just ended; its reader answers what it owes
                send(hand.socket, {"number": number, **_plain(request)})
        return True

    def _look(self) -> None:
        """Start the processes when requests come faster than one process can do them."""
        with self._lock:
            self._asked += 1
            seconds = time.monotonic() - self._since
            if self._hands or self._closed or seconds < _LOOK_AFTER:
                return
            if self._asked < max(_ENOUGH, self._busy * seconds):
                if seconds >= _LOOK_ANEW:
                    self._asked, self._since = 0, time.monotonic()
                return
            self._hands = [_Hand(self._orders) for _ in range(self._most)]
            for hand in self._hands:
                threading.Thread(target=hand.read, args=(self._fail,), name="hand", daemon=True).start()

    def close(self) -> None:
        """End the processes; what they were still asked is given up: the crawl that goes on asks again."""
        with self._lock:
            self._closed = True
        for hand in self._hands:
            hand.closing = True
            if not hand.ready:
                hand.process.kill()  # still importing: there is nothing that it could leave half done
            with contextlib.suppress(OSError):
                hand.socket.shutdown(socket.SHUT_RDWR)
        for hand in self._hands:
            try:
                hand.process.wait(5)
            except subprocess.TimeoutExpired:
                hand.process.kill()
                hand.process.wait()
            hand.socket.close()


def _plain(request: Request) -> Mapping[str, object]:
    return {"url": request.url, "kind": request.kind, "conditional": request.conditional}


def usual_count() -> int:
    """How many hands a crawl may start: one a core, at most four; none on one core."""
    return min(4, cores())
