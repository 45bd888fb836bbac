"""The batches of a stream: the reader's resumable loader, over instances, for a task's collate function.

An instance is a row, or one item of a row's list (``Stream.each``). In an epoch all rows' first choices come in a
seeded order, then all rows' second choices in another one, and so on; which item is a row's first choice goes round
from epoch to epoch. All of it is a pure function of seed, epoch and rows.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from diptych.exceptions import UsageError
from diptych.naming import split_pair_key
from diptych.records import json_object
from diptych.stages.splitting import paragraphs
from diptych.storage.reader_loader import Loader
from diptych.storage.reader_order import Step, epoch_order
from diptych.storage.reader_records import Records, Sample
from diptych.training.phase import Stream
from diptych.training.readers import begin_reader, start_fork_server
from diptych.training.task import Batch, Task

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from diptych.version import Version

__all__ = ["CHOICE", "EXTRA", "Feed", "Given", "Instances", "alike", "apart", "entry_of", "instance_order"]

CHOICE = "choice"
"""The sample's entry that says for which item of its list it stands."""
EXTRA = "documents.extra"
"""What ``Stream.says`` looks into."""
_NEAR = 64
"""Steps before and after a step in which a place is looked for for one picture too many."""


def instance_order(counts: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The order (int64) in which an epoch sees the instances; those of row 0 come first in their numbering."""
    starts = np.cumsum(counts) - counts
    most = int(counts.max(initial=0))
    passes = []
    for number in range(most):
        rows = np.flatnonzero(counts > number)
        rows = rows[epoch_order(seed, epoch * most + number, len(rows))]
        passes.append(starts[rows] + (number + epoch) % counts[rows])
    return np.concatenate([np.zeros(0, np.int64), *passes]).astype(np.int64)


def apart(order: np.ndarray, pictures: np.ndarray, batch: int) -> np.ndarray:
    """The order with no two instances of one picture in a batch, as far as swaps with near batches allow that.

    ``pictures`` holds each instance's picture (int64). An order that is so already is left as it is.
    """
    found = order.tolist()
    starts = range(0, len(found), batch)
    shown = [Counter(pictures[order[start : start + batch]].tolist()) for start in starts]
    for here, start in enumerate(starts):
        for place in range(start, min(start + batch, len(found))):
            picture = int(pictures[found[place]])
            if shown[here][picture] == 1:
                continue
            for there in _around(here, len(shown)):
                if picture in shown[there]:
                    continue
                free = range(starts[there], min(starts[there] + batch, len(found)))
                other = next((n for n in free if int(pictures[found[n]]) not in shown[here]), None)
                if other is not None:
                    theirs = int(pictures[found[other]])
                    found[place], found[other] = found[other], found[place]
                    shown[here][picture] -= 1
                    shown[here][theirs] += 1
                    del shown[there][theirs]
                    shown[there][picture] += 1
                    break
    return np.array(found, np.int64)


def _around(here: int, count: int) -> Iterator[int]:
    """The next steps, then those before."""
    yield from range(here + 1, min(here + 1 + _NEAR, count))
    yield from range(here - 1, max(here - 1 - _NEAR, -1), -1)


@dataclass(frozen=True)
class Given:
    """Rows in memory in place of a version's, by split (pairs of texts, which no stage makes); each has a ``key``.

    With ``lengths`` (by split) batches are made of rows of about the same length, so that they have little padding.
    """

    splits: Mapping[str, Sequence[Sample]]
    lengths: Mapping[str, np.ndarray] = field(default_factory=dict)

    def rows(self, split: str | None) -> GivenRows:
        """The rows of a split; None: of all."""
        chosen = list(self.splits) if split is None else [split]
        return GivenRows([row for name in chosen for row in self.splits.get(name, ())], self.lengths.get(split or ""))


class GivenRows:
    """What :class:`Instances` needs of a reader."""

    dropped: Mapping[str, int] = MappingProxyType({})

    def __init__(self, rows: Sequence[Sample], lengths: np.ndarray | None) -> None:
        self._rows, self.lengths = rows, lengths
        self.digest = hashlib.sha256("\n".join(str(row["key"]) for row in rows).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        return self._rows[index]

    def key(self, index: int) -> str:
        """The row's key."""
        return str(self._rows[index]["key"])

    def value(self, index: int, name: str) -> Any:
        """One field."""
        return self._rows[index][name]

    def close(self) -> None:
        """Nothing to remove."""


def alike(order: np.ndarray, lengths: np.ndarray, batch: int, seed: int, epoch: int) -> np.ndarray:
    """The order with each hundred batches sorted by length, and these batches in a seeded order of their own."""
    parts = []
    for at in range(0, len(order), 100 * batch):
        some = order[at : at + 100 * batch]
        some = some[np.argsort(lengths[some], kind="stable")]
        parts += [some[n : n + batch] for n in range(0, len(some), batch)]
    whole, short = parts[: len(order) // batch], parts[len(order) // batch :]  # a short batch stays the last
    shuffled = [whole[n] for n in epoch_order(seed + 1, epoch, len(whole))]
    return np.concatenate([np.zeros(0, np.int64), *shuffled, *short]).astype(np.int64)


def entry_of(extra: str | None, name: str) -> Any:
    """An entry of a record's ``extra``; None when it has none, or holds no JSON object."""
    return json_object(extra).get(name)


class Instances:
    """Rows of a reader as instances, those of ``keys`` only when given; a dataset for torch, without torch.

    With ``says`` only rows whose ``extra`` has this entry (see :class:`~diptych.training.phase.Stream`).
    """

    def __init__(self, records: Records | GivenRows, each: str, keys: Collection[str] | None, says: str = "") -> None:
        self._records = records
        rows = np.arange(len(records))
        self.dropped: Mapping[str, int] = records.dropped
        if says:
            rows = np.array([i for i in rows if entry_of(records.value(int(i), EXTRA), says) is not None], np.int64)
            lost = len(records) - len(rows)
            self.dropped = {**records.dropped, **({says: lost} if lost else {})}
        if keys is not None:
            rows = np.array([i for i in rows if records.key(int(i)) in keys], np.int64)
        self.counts = np.ones(len(rows), np.int64)
        """instances of each row"""
        if each:
            self.counts = np.array([_items(records.value(int(i), each)) for i in rows], np.int64)
        self._rows = np.repeat(rows, self.counts)
        self._choices = np.arange(len(self._rows)) - np.repeat(np.cumsum(self.counts) - self.counts, self.counts)
        self._each = each
        whole = not each and keys is None and not says
        parts = f"{records.digest}:{each}:".encode() + self._rows.astype("<i8").tobytes()
        self.digest = records.digest if whole else hashlib.sha256(parts).hexdigest()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        sample = self._records[int(self._rows[index])]
        return {**sample, CHOICE: int(self._choices[index])} if self._each else sample

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Several samples; torch's DataLoader asks for a batch so."""
        return [self[i] for i in indices]

    def pictures(self) -> np.ndarray:
        """int64, equal for instances (of pairs) that have the same picture."""
        keys = [split_pair_key(self._records.key(row))[1] for row in self._rows.tolist()]
        return np.unique(keys, return_inverse=True)[1].reshape(-1).astype(np.int64)

    def close(self) -> None:
        """Remove the reader's index."""
        self._records.close()


def _items(value: str | Sequence[Any] | None) -> int:
    """Of a list its items, of a text its lines that are not blank."""
    return sum(1 for _ in paragraphs(value)) if isinstance(value, str) else len(value or ())


@dataclass
class _Collate:
    task: Task
    stream: str

    def __call__(self, samples: list[Sample]) -> Batch | None:
        return self.task.collate(samples, self.stream) if samples else None


class Feed(Loader):
    """The batches of one stream of one split; iterate it once an epoch, or :meth:`forever`."""

    records: Instances  # type: ignore[assignment] - the loader needs len, items, digest and close

    def __init__(
        self,
        version: Version | Given,
        task: Task,
        name: str,
        stream: Stream,
        *,
        split: str | None = "train",
        shuffle: bool = True,
        seed: int = 0,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        keys: Collection[str] | None = None,
        pin_memory: bool = False,
    ) -> None:
        if stream.each and stream.each not in stream.fields:
            raise UsageError(f"stream {name}: each is {stream.each!r}, which is none of its fields")
        if stream.says and EXTRA not in stream.fields:
            raise UsageError(f"stream {name}: says is {stream.says!r}, but {EXTRA} is none of its fields")
        # not fork: a fork of a process with threads (Prefect's, CUDA's) hangs or dies; spawn imports torch anew in each
        # worker
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        if workers and method == "forkserver":
            start_fork_server(["torch", "diptych.training.feed"])
        super().__init__(
            version,  # type: ignore[arg-type] - _open takes both
            stream.fields,
            rows=stream.rows,
            split=split,
            where=stream.where or None,
            missing=stream.missing,
            batch_size=stream.batch_size,
            seed=seed,
            shuffle=shuffle,
            workers=workers,
            rank=rank,
            world=world,
            collate=_Collate(task, name),
            pin_memory=pin_memory,
            start_method=method,
        )
        self.name, self.split = name, split
        self._apart = stream.apart
        self._least = max(1, stream.least) if shuffle else 1
        self.lengths: np.ndarray | None = getattr(self.records, "lengths", None)
        self.records = Instances(self.records, stream.each, keys, stream.says)  # type: ignore[arg-type]
        if self._apart:  # another order: no checkpoint of the one goes on with the other
            self.records.digest = hashlib.sha256(f"{self.records.digest}:apart".encode()).hexdigest()

    def _open(self, version: Version | Given, fields: Sequence[str], **settings: Any) -> Any:
        if isinstance(version, Given):
            return version.rows(settings["split"])
        return super()._open(version, fields, **settings)

    def _loader(self) -> DataLoader[Any]:
        found = super()._loader()
        found.worker_init_fn = begin_reader
        return found

    def _order(self) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self.records))
        order = instance_order(self.records.counts, self._seed, self._epoch)
        width = self.batch_size * self.world
        if self._apart:
            return apart(order, self.records.pictures(), width)
        if self.lengths is None:
            return order
        return alike(order, self.lengths, width, self._seed, self._epoch)

    def _read(self, plan: Iterator[Step]) -> Iterator[tuple[Any, int]]:
        yield from super()._read(self._enough(plan))

    def _enough(self, plan: Iterator[Step]) -> Iterator[Step]:
        """Without the steps in which some rank's share is smaller than ``least``: the same on every rank."""
        done = self._consumed
        for step in plan:
            if (step.consumed - done) // self.world >= self._least:
                yield step
            done = step.consumed

    def _left(self, consumed: int) -> int:
        whole, rest = divmod(max(0, len(self.records) - consumed), self.batch_size * self.world)
        return whole + (rest // self.world >= self._least)

    def forever(self) -> Iterator[Any]:
        """Epoch after epoch, on from where the stream stands."""
        if not len(self):
            raise UsageError(
                f"stream {self.name}: {len(self.records)} rows of {self.split} are fewer than a batch needs "
                f"({self._least} for each of {self.world} processes)"
            )
        while True:
            yield from self
