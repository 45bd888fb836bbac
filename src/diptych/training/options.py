"""How a run runs, which is not what it computes: device, processes, precision, limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from diptych.engine.devices import check_devices
from diptych.exceptions import MissingExtra, UsageError
from diptych.machine import cores

__all__ = ["Precision", "RunOptions", "check_machine", "make_fabric"]

OTHERS = 2
"""Most worker processes of a stream that is not trained on: they live as long as the run, and are used a while."""
MOST_READERS = 4
"""Processes of a stream where nobody says how many: with so many one GPU waits for none of the models' batches."""

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True)
class RunOptions:
    """Options of one session of a run; another session may have others."""

    device: str = "cpu"
    """as torch names it; ``cuda`` takes the first ``devices`` of them"""
    devices: int = 1
    """processes, one a device; each has batches of the configured size"""
    precision: Precision = "32-true"
    workers: int | None = None
    """processes of each stream that read ahead; None: see :attr:`readers`"""
    max_hours: float | None = None
    """after so long the session writes a checkpoint and ends"""
    checkpoint_minutes: float = 30.0
    """a checkpoint is written after each epoch, and inside an epoch after so long"""
    tensorboard: bool = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", self.device):
            raise UsageError(f"device is cpu, cuda, cuda:1 or mps, not {self.device!r}")
        if self.devices < 1 or (self.devices > 1 and (":" in self.device or self.device == "mps")):
            raise UsageError(f"{self.devices} devices of {self.device}: name one, or several of cpu or cuda")

    @property
    def readers(self) -> int:
        """``workers``, or where nobody said: none beside a CPU, which they would take time from; beside each GPU the
        cores that this process may use, less the one that trains, but 1 to 4."""
        if self.workers is not None:
            return self.workers
        if not self.device.startswith("cuda"):
            return 0
        return max(1, min(MOST_READERS, cores() // self.devices - 1))

    @property
    def other_readers(self) -> int:
        """The same for what is not trained on, which is soon read: at most ``OTHERS`` where nobody said."""
        return self.readers if self.workers is not None else min(self.readers, OTHERS)


def check_machine(options: RunOptions) -> None:
    """Raise :class:`UsageError` when this machine lacks the device, or has fewer of them (of a CPU: cores) than asked.

    Before a run's folder is made: a run that cannot begin leaves none.
    """
    kind = options.device.partition(":")[0]
    if kind != "cpu":
        check_devices(options.device)
    if options.devices == 1:
        return
    found = cores() if kind == "cpu" else _cuda_devices()
    if options.devices > found:
        unit = "core" if kind == "cpu" else "CUDA device"
        have = f"{found} {unit}{'s' if found > 1 else ''}"
        raise UsageError(f"--devices {options.devices} on {kind}: this machine has {have}, and each process takes one")


def _cuda_devices() -> int:
    import torch

    return torch.cuda.device_count()


def make_fabric(options: RunOptions) -> Any:
    """Lightning Fabric for these options, not launched; several devices are spawned processes with DDP.

    :class:`UsageError` as :func:`check_machine`.
    """
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy

        from diptych.training.one_machine import OneMachine
    except ImportError:
        raise MissingExtra("lightning-fabric", "train") from None
    check_machine(options)
    kind, _, number = options.device.partition(":")
    devices: Any = [int(number)] if number else options.devices
    strategy = "auto"
    if options.devices > 1:
        strategy = DDPStrategy(
            cluster_environment=OneMachine(),
            start_method="spawn",
            find_unused_parameters=True,
            timeout=timedelta(days=7),  # of waiting while the first looks at dev; when one dies, its parent ends them
        )
    return Fabric(accelerator=kind, devices=devices, strategy=strategy, precision=options.precision)
