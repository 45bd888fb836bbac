"""Random access to the rows of a committed version, for training: ``Records(version, fields)[17]``.

Opening joins the rows asked for in one pass over the shards (seconds for 100,000 rows) and keeps the result
in a folder of the temporary folder, memory-mapped, which goes when the reader does. After that a row costs a
few reads: nothing is loaded whole, and worker processes are handed the folder's name.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from diptych.exceptions import UsageError
from diptych.naming import Key
from diptych.storage.collate import Collate
from diptych.storage.reader_fields import Spec, resolve_fields
from diptych.storage.reader_index import check_split, write_index
from diptych.storage.reader_spool import new_folder, open_array, remove_folder
from diptych.storage.reader_values import Values

if TYPE_CHECKING:
    from diptych.version import Version

__all__ = ["Records", "Sample"]

Sample = dict[str, Any]
"""``key`` and each field by its full name; tensors are read-only arrays, all else is plain Python."""


class Records:
    """The rows of a kind with the fields asked for, by position; a map-style dataset for torch, without torch.

    ``rows`` is pair, document, image or sentence; ``split`` train, dev, test or None for all. An image or sentence
    that several records share is one row, in the most protected of their splits (test before dev before train).
    ``where`` narrows the rows: comparisons as in a recipe's ``only`` (``"relevance.rank <= 3"``), all of which must
    hold.
    ``missing="drop"`` leaves a row out when a row it reads is not ok, counted by producer in ``dropped``; ``"none"``
    keeps it with the value None. Lists always hold the ok rows only, and may be empty. ``verify`` checks the SHA-256
    of every segment of the stages read, once.

    Raises :class:`~diptych.exceptions.NotFound` when a field's stage is not in the version, before anything is read.
    """

    def __init__(
        self,
        version: Version,
        fields: Sequence[str],
        *,
        rows: Key = "pair",
        split: str | None = None,
        where: str | Sequence[str] | None = None,
        missing: Literal["drop", "none"] = "drop",
        verify: bool = False,
    ) -> None:
        if isinstance(fields, str):
            raise UsageError(f"fields is a list of names, not the text {fields!r}")
        if missing not in ("drop", "none"):
            raise UsageError(f"missing is 'drop' or 'none', not {missing!r}")
        check_split(split)
        selections = _selections(where)
        hidden = [s.column for s in selections if s.column not in fields]
        every = resolve_fields(version.store, version.manifest, rows, [*fields, *dict.fromkeys(hidden)])
        self.rows: Key = rows
        self.fields = tuple(fields)
        self.specs: Mapping[str, Spec] = {f.name: f.spec(missing == "none") for f in every if f.name in self.fields}
        """How each field is laid out in a batch."""
        tensors = [f.name for f in every if f.tensor is not None and any(s.column == f.name for s in selections)]
        if tensors:
            raise UsageError(f"where compares columns, and {', '.join(tensors)} is a tensor")
        folder, lock = new_folder()
        self._close = weakref.finalize(self, remove_folder, folder, lock, os.getpid())
        try:
            index = write_index(
                folder,
                version.store,
                version.manifest,
                every,
                rows,
                optional=frozenset(f.name for f in every if missing == "none" or f.name not in self.fields),
                split=split,
                where=(lambda values, row: all(s.keeps(values.value(s.column, row)) for s in selections))
                if selections
                else None,
                verify=verify,
            )
            index.rows.astype("<i8").tofile(folder / "chosen")
        except BaseException:
            self._close()
            raise
        self.dropped: Mapping[str, int] = index.dropped
        """Producer to the number of rows left out because its row was not ok (the first such producer counts)."""
        self.digest = index.digest
        """SHA-256 of the rows' keys in order."""
        self._values = Values(folder, version.store.root.url, version.store.name, every)
        self._count = len(index.rows)
        self._rows: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_close"} | {"_rows": None}

    def __repr__(self) -> str:
        return f"<{self._count} rows of key {self.rows}: {', '.join(self.fields)}>"

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        row = self._row(index)
        read = self._values.value
        return {"key": self._values.keys[row].as_py(), **{name: read(name, row) for name in self.fields}}

    def __getitems__(self, indices: Sequence[int]) -> list[Sample]:
        """Several samples; torch's DataLoader asks for a batch so."""
        return [self[i] for i in indices]

    def __iter__(self) -> Iterator[Sample]:
        return (self[i] for i in range(self._count))

    def value(self, index: int, field: str) -> Any:
        """One field of the row at a position."""
        return self._values.value(field, self._row(index))

    def key(self, index: int) -> str:
        """The row key at a position."""
        return self._values.keys[self._row(index)].as_py()

    def keys(self) -> list[str]:
        """All row keys, in order."""
        return [self.key(i) for i in range(self._count)]

    def collate(self, float_dtype: str | None = None) -> Collate:
        """The function that makes a batch of samples (see ``diptych.storage.collate``)."""
        return Collate(self.specs, float_dtype)

    def _row(self, index: int) -> int:
        place = int(index)
        if not -self._count <= place < self._count:
            raise IndexError(f"row {place} of {self._count}")
        rows = self._rows
        if rows is None:
            rows = self._rows = open_array(self._values.folder / "chosen")
        return int(rows[place])

    def close(self) -> None:
        """Remove the index now; nothing can be read afterwards."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _selections(where: str | Sequence[str] | None) -> list[Any]:
    from diptych.selection import parse_selection

    texts: Sequence[str] = [where] if isinstance(where, str) else where or []
    return [parse_selection(text, "where") for text in texts]
