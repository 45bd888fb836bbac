"""Signs of life: ``builds/<id>.json`` says that a build, a crawl or a gc is running.

They only spare work and bytes; which rows a version may name is decided by the log. One thing does rest on
them: names that mean content (blobs, snapshots) come back when the same content is fetched again, so gc deletes
those only while nothing else runs. Both sides first write their sign and then look for the other's; at least
one of them sees the other and waits or steps back.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from diptych.exceptions import Conflict, NotFound, StoreError

if TYPE_CHECKING:
    from diptych.storage.store import Store

__all__ = ["GRACE", "STALE", "Sign", "SignOfLife", "alive", "bury"]

GRACE = 7 * 24 * 3600.0
"""Seconds for which gc spares what no version names yet."""
STALE = 15 * 60.0
"""Seconds without a refresh after which a process on another machine counts as dead."""

Kind = Literal["build", "crawl", "gc", "compact", "import"]


@dataclass(frozen=True)
class Sign:
    """One running process."""

    id: str
    kind: Kind
    host: str
    pid: int
    started: float
    refreshed: float
    """Seconds since 1970, on the clock of the process itself."""

    @property
    def machine(self) -> str:
        """The name of the host."""
        return self.host.partition("/")[0]


def _here() -> str:
    """The machine since it was started, and the process namespace that a pid belongs to.

    Machines may share a name (clones, ``localhost``), and every machine calls its first namespace the same.
    """
    here = platform.node()
    with contextlib.suppress(OSError):
        here += "/" + Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        here += "/" + os.readlink("/proc/self/ns/pid")
    return here


def _path(name: str) -> str:
    return f"builds/{name}.json"


def alive(store: Store, *, stale: float = STALE) -> list[Sign]:
    """Signs of running processes: their process exists (same machine), or they were refreshed of late."""
    found = []
    for file in store.home.list("builds"):
        name = file.removesuffix(".json")
        try:
            data = store.home.read(_path(name))
            modified = store.home.modified(_path(name))
        except NotFound:
            continue  # ended since the listing
        try:
            sign = Sign(**json.loads(data))
        except (ValueError, TypeError):
            sign = Sign(name, "build", "", 0, modified, modified)  # unreadable: judged by its age alone
        if _is_alive(sign, modified, stale):
            found.append(sign)
    return found


def _is_alive(sign: Sign, modified: float, stale: float) -> bool:
    if sign.host == _here():
        try:
            os.kill(sign.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True
    return time.time() - max(sign.refreshed, modified) < stale


def bury(store: Store, before: float) -> int:
    """Remove signs of dead processes last written before that time; returns how many."""
    living = {sign.id for sign in alive(store)}
    dead = []
    for file in store.home.list("builds"):
        with contextlib.suppress(NotFound):
            if file.removesuffix(".json") not in living and store.home.modified(f"builds/{file}") <= before:
                dead.append(file)
    for file in dead:
        store.home.delete(f"builds/{file}")
    return len(dead)


class SignOfLife:
    """Writes the sign on entry, refreshes it in the background, removes it on exit.

    ``with SignOfLife(store, build_id, "build"):`` goes around everything from cutting or choosing the snapshot to
    the commit, so that gc cannot take a snapshot or blob away in between. :class:`Conflict` when a gc does not
    end within ``patience`` seconds.
    """

    def __init__(
        self, store: Store, name: str, kind: Kind = "build", *, every: float = 30.0, patience: float = 300.0
    ) -> None:
        if not name or "/" in name:
            raise StoreError(f"not an id: {name!r}")
        self._store = store
        self._every = every
        self._patience = patience
        now = time.time()
        self._sign = Sign(name, kind, _here(), os.getpid(), now, now)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self) -> None:
        """Write or refresh the sign."""
        value = asdict(self._sign) | {"refreshed": time.time()}
        self._store.home.put(_path(self._sign.id), json.dumps(value).encode(), durable=False)

    def remove(self) -> None:
        """Take the sign away."""
        self._store.home.delete(_path(self._sign.id))

    def others(self, *kinds: Kind) -> list[Sign]:
        """Running processes of these kinds other than this one."""
        return [s for s in alive(self._store) if s.id != self._sign.id and s.kind in kinds]

    def __enter__(self) -> Self:
        self.write()
        if self._sign.kind != "gc":
            self._wait_for_gc()
        self._thread = threading.Thread(target=self._refresh, name=f"alive-{self._sign.id}", daemon=True)
        self._thread.start()
        return self

    def _wait_for_gc(self) -> None:
        until = time.monotonic() + self._patience
        while running := self.others("gc"):
            if time.monotonic() > until:
                self.remove()
                where = f"process {running[0].pid} on {running[0].machine}"
                raise Conflict(f"dataset {self._store.name}: gc is deleting ({where}); try again when it has ended")
            time.sleep(min(0.2, self._every))

    def _refresh(self) -> None:
        while not self._stop.wait(self._every):
            with contextlib.suppress(OSError, StoreError):  # a missed refresh is made up by the next one
                self.write()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.remove()
