"""What the processes of one run must agree on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from diptych.training.checkpoint import random_state
from diptych.training.config import Plain

__all__ = ["random_states", "same_on_all"]

AGREE_EVERY = 10
"""Steps between two agreements: each one makes the processes wait for each other."""
_ROOM = 1 << 17
"""Bytes for one process's random state as JSON."""


def random_states(fabric: Any) -> list[dict[str, Plain]]:
    """The random generators of every process, in order of rank."""
    if fabric.world_size == 1:
        return [random_state()]
    import torch

    data = json.dumps(random_state()).encode()
    padded = torch.zeros(_ROOM, dtype=torch.uint8)
    padded[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    mine = padded.to(fabric.device)
    gathered = [torch.empty_like(mine) for _ in range(fabric.world_size)]
    torch.distributed.all_gather(gathered, mine)
    return [json.loads(bytes(row.cpu().numpy()).rstrip(b"\0")) for row in gathered]


def same_on_all(fabric: Any, step: int, ask: Callable[[], str]) -> str:
    """The answer of whichever process has one, on all of them; asked every few steps when there are several."""
    if fabric.world_size == 1:
        return ask()
    if step % AGREE_EVERY:
        return ""
    import torch

    mine = ask()
    some = fabric.all_reduce(torch.tensor(float(bool(mine)), device=fabric.device), reduce_op="sum")
    return (mine or "another process was told to") if float(some) else ""
