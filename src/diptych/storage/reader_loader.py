"""The training stream: batches in a seeded order that resumes exactly where it stopped.

``state_dict()`` says how many rows of which epoch *all ranks* have been handed, and never counts what worker
processes have read ahead. It can be loaded by a loader with another batch size, number of workers or ranks.
Each ``for`` loop goes on where the stream stands and ends with the epoch; the next loop is the next epoch::

    while loader.epoch < epochs:
        for batch in loader:
            ...                          # state_dict() here: everything up to and with this batch is done

With several ranks every process opens a loader of its own, with its ``rank`` and the same other settings, and loops in
lock step (see ``reader_order`` for the last step of an epoch).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from diptych.exceptions import UsageError
from diptych.naming import Key
from diptych.storage.reader_order import Step, epoch_order, steps, steps_left
from diptych.storage.reader_records import Records, Sample

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from diptych.storage.blocks import Blocks
    from diptych.version import Version

__all__ = ["Loader"]

FORMAT = 1


class Loader:
    """Batches of a version's rows; iterate it once an epoch.

    ``fields``, ``rows``, ``split``, ``where``, ``missing`` and ``verify`` are those of
    :class:`~diptych.storage.reader_records.Records`. ``batch_size`` is one rank's. ``workers`` processes read ahead,
    batches keep their order; 0 reads in this process. ``float_dtype`` casts floats (``"float32"``). ``collate``
    replaces the padding collate function; ``collate=list`` gives the samples themselves. ``start_method`` (fork,
    spawn, forkserver) and ``pin_memory`` are torch's; batches of any kind are pinned. With either of them a batch
    must be one that can be pickled, and what is kept of it keeps the memory of all of it (``packing``).
    """

    def __init__(
        self,
        version: Version,
        fields: Sequence[str],
        *,
        rows: Key = "pair",
        split: str | None = "train",
        batch_size: int = 16,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        where: str | Sequence[str] | None = None,
        missing: Literal["drop", "none"] = "drop",
        verify: bool = False,
        float_dtype: str | None = None,
        collate: Callable[[list[Sample]], Any] | None = None,
        pin_memory: bool = False,
        start_method: str | None = None,
    ) -> None:
        if batch_size < 1 or workers < 0:
            raise UsageError(f"batch_size must be at least 1 and workers at least 0, found {batch_size} and {workers}")
        if not 0 <= rank < world:
            raise UsageError(f"rank must be from 0 to world - 1, found rank {rank} of world {world}")
        self.records = self._open(version, fields, rows=rows, split=split, where=where, missing=missing, verify=verify)
        self.batch_size, self.workers, self.rank, self.world = batch_size, workers, rank, world
        self.drop_last, self.shuffle = drop_last, shuffle
        self._seed, self._epoch, self._consumed = int(seed), 0, 0
        self._collate = collate if collate is not None else self.records.collate(float_dtype)
        self._pin_memory, self._start_method = pin_memory, start_method
        self._loop = 0
        self._plan: list[list[int]] = []
        self._processes: DataLoader[Any] | None = None
        self._blocks: Blocks | None = None

    def _open(self, version: Version, fields: Sequence[str], **settings: Any) -> Records:
        return Records(version, fields, **settings)

    def __repr__(self) -> str:
        return f"<{len(self)} batches of {self.batch_size} from {self.records!r}, epoch {self._epoch}>"

    def __len__(self) -> int:
        """Batches of one whole epoch on this rank."""
        return self._left(0)

    @property
    def steps_left(self) -> int:
        """Batches left of the epoch at hand."""
        return self._left(self._consumed)

    def _left(self, consumed: int) -> int:
        count = len(self.records)
        return steps_left(count, consumed, batch_size=self.batch_size, world=self.world, drop_last=self.drop_last)

    @property
    def epoch(self) -> int:
        """The epoch at hand, from 0; it advances when a loop comes to its end."""
        return self._epoch

    @property
    def dropped(self) -> Mapping[str, int]:
        """Producer to rows left out because its row was not ok."""
        return self.records.dropped

    def set_epoch(self, epoch: int) -> None:
        """Stand at the beginning of an epoch."""
        self._loop += 1
        self._epoch, self._consumed = epoch, 0

    def state_dict(self) -> dict[str, int | str | bool]:
        """Where the stream stands, as plain JSON values; the same on every rank after the same step."""
        return {
            "format": FORMAT,
            "seed": self._seed,
            "shuffle": self.shuffle,
            "epoch": self._epoch,
            "consumed": self._consumed,
            "rows": len(self.records),
            "digest": self.records.digest,
        }

    def load_state_dict(self, state: Mapping[str, int | str | bool]) -> None:
        """Go on from a state; the seed is taken from it, and :class:`UsageError` says when its rows were others."""
        here = self.state_dict()
        for name in ("format", "shuffle", "rows", "digest"):
            if state.get(name) != here[name]:
                raise UsageError(
                    f"this state is of another stream: its {name} is {state.get(name)!r}, here it is {here[name]!r}; "
                    "open the same version with the same rows, split, where and fields"
                )
        self._loop += 1
        self._seed, self._epoch, self._consumed = (int(state[n]) for n in ("seed", "epoch", "consumed"))

    def __iter__(self) -> Iterator[Any]:
        self._loop += 1
        return self._run(self._loop)

    def _run(self, loop: int) -> Iterator[Any]:
        self._check(loop)
        plan = steps(
            self._order(),
            self._consumed,
            batch_size=self.batch_size,
            rank=self.rank,
            world=self.world,
            drop_last=self.drop_last,
        )
        for batch, consumed in self._read(plan):
            self._check(loop)
            self._consumed = consumed
            yield batch
            self._check(loop)
        self._epoch, self._consumed = self._epoch + 1, 0

    def _order(self) -> np.ndarray:
        """The rows of the epoch at hand, in order."""
        count = len(self.records)
        return epoch_order(self._seed, self._epoch, count) if self.shuffle else np.arange(count)

    def _check(self, loop: int) -> None:
        if loop != self._loop:
            raise UsageError("another loop over this loader has begun, or its state was set; this one cannot go on")

    def _read(self, plan: Iterator[Step]) -> Iterator[tuple[Any, int]]:
        if self.workers == 0 and not self._pin_memory:
            for step in plan:
                yield self._collate(self.records.__getitems__(step.rows.tolist())), step.consumed
            return
        whole = list(plan)
        self._plan = [step.rows.tolist() for step in whole]
        for packed, step in zip(self._loader(), whole, strict=True):
            yield packed.unpack(), step.consumed

    def _loader(self) -> DataLoader[Any]:
        """The worker processes, started once; each epoch they are given the plan anew."""
        if self._processes is None:
            import torch
            from torch.utils.data import DataLoader

            from diptych.storage.blocks import Blocks
            from diptych.storage.packing import Packing

            context = multiprocessing.get_context(self._start_method)
            if self.workers and self._pin_memory and torch.cuda.is_available():
                self._blocks = Blocks(context, self.workers)
            self._processes = DataLoader(
                self.records,  # type: ignore[arg-type] - torch needs only len and [i]
                batch_sampler=_Plan(self),
                num_workers=self.workers,
                collate_fn=Packing(self._collate, self._blocks),
                pin_memory=self._pin_memory,
                persistent_workers=self.workers > 0,
                multiprocessing_context=context if self.workers else None,
                generator=torch.Generator(),  # else each epoch would draw from the global one
            )
        return self._processes

    def close(self) -> None:
        """End the worker processes and remove the reader's index."""
        self._loop += 1
        self._processes = self._blocks = None
        self.records.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Plan:
    """The batch sampler: whatever batches the loader has planned when an epoch starts."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._loader._plan)

    def __len__(self) -> int:
        return len(self._loader._plan)
