"""One worker process of a crawl: takes requests from its socket, answers each, ends when the socket does.

A message is a length, a JSON head and the bytes of a body: nothing that crosses the socket is ever executed.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from diptych.sources.asking import Reply, Request, ask
from diptych.sources.settings import FetchSettings, Secrets
from diptych.sources.transport import Transport
from diptych.storage.blobs import Blobs
from diptych.storage.root import open_root
from diptych.storage.snapshot import Forgotten

__all__ = ["Incoming", "Orders", "main", "send"]

_SIZES = struct.Struct("!II")
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode
_DEFAULTS = {f.name: f.default for f in fields(Reply)}


@dataclass(frozen=True)
class Orders:
    """What a worker needs before its first request: who asks, with what, and where bytes go."""

    home: str
    settings: FetchSettings
    secrets: Secrets
    own_origins: frozenset[str]
    forgotten: frozenset[str]
    threads: int

    def to_dict(self) -> dict[str, object]:
        """As JSON takes it."""
        return {
            "home": self.home,
            "settings": self.settings.model_dump(mode="json"),
            "secrets": asdict(self.secrets) | {"headers": dict(self.secrets.headers)},
            "own_origins": sorted(self.own_origins),
            "forgotten": sorted(self.forgotten),
            "threads": self.threads,
        }

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Orders:
        """What :meth:`to_dict` gave."""
        settings, secrets = FetchSettings.model_validate(raw["settings"]), Secrets(**raw["secrets"])
        origins, forgotten = frozenset(raw["own_origins"]), frozenset(raw["forgotten"])
        return cls(raw["home"], settings, secrets, origins, forgotten, raw["threads"])


def send(to: socket.socket, head: Mapping[str, object], body: bytes = b"") -> None:
    """One message, whole; callers on several threads take turns."""
    data = _ENCODE(head).encode()
    to.sendall(_SIZES.pack(len(data), len(body)) + data + body)


class Incoming:
    """Messages of a socket, one after the other; many small ones are read at once."""

    def __init__(self, source: socket.socket) -> None:
        self._file = source.makefile("rb", buffering=1 << 18)

    def next(self) -> tuple[dict[str, Any], bytes] | None:
        """The next message; None when the other side has closed or died."""
        sizes = self._file.read(_SIZES.size)
        if len(sizes) < _SIZES.size:
            return None
        head, body = _SIZES.unpack(sizes)
        data = self._file.read(head + body)
        return (json.loads(data[:head]), data[head:]) if len(data) == head + body else None


def main(handle: int) -> None:
    """Serve the socket ``handle`` until it is closed."""
    place = socket.socket(fileno=handle)
    incoming = Incoming(place)
    first = incoming.next()
    if first is None:
        return
    orders = Orders.from_dict(first[0])
    transport = Transport(orders.settings, orders.secrets, orders.own_origins)
    blobs, forgotten = Blobs(open_root(orders.home)), Forgotten(orders.forgotten)
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    turn = threading.Lock()

    def work() -> None:
        while True:
            head = waiting.get()
            number = head.pop("number")
            try:
                reply = ask(Request(**head), transport, blobs, forgotten)
                values = {f: v for f in _DEFAULTS if f != "body" and (v := getattr(reply, f)) != _DEFAULTS[f]}
                with turn:
                    send(place, {"number": number, **values}, reply.body)
            except BaseException:
                os._exit(1)  # the crawl asks again what this process owes

    for _ in range(orders.threads):
        threading.Thread(target=work, daemon=True).start()
    with turn, contextlib.suppress(OSError):
        send(place, {"ready": True})
    while (message := incoming.next()) is not None:
        waiting.put(message[0])
    os._exit(0)
