"""Read a committed version: ``diptych.open("data/sample")``. Nothing of the pipeline is imported for that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from diptych.exceptions import NotFound
from diptych.records import Document
from diptych.storage.diff import VersionDiff, diff
from diptych.storage.lookup import Lineage, lineage
from diptych.storage.manifest import Manifest, StageEntry
from diptych.storage.part_reader import PartReader
from diptych.storage.snapshot import Snapshot, read_snapshot
from diptych.storage.store import Store, open_store
from diptych.storage.verify import VerifyReport, verify

if TYPE_CHECKING:
    from diptych.storage.reader import Loader

__all__ = ["Version", "open_version"]


def open_version(path: str | Path, version: int | str = "latest") -> Version:
    """The version of the dataset in a folder or bucket folder; ``version`` is a number, a tag or ``latest``.

    Raises :class:`~diptych.exceptions.NotFound` naming the datasets or versions there are.
    """
    root, _, name = str(path).rstrip("/").rpartition("/")
    store = open_store(root or ".", name, must_exist=True)
    return Version(store, store.log.manifest(version))


class Version:
    """One committed version; all of it is read-only and lazy."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.store = store
        self.manifest = manifest

    def __repr__(self) -> str:
        stages = ", ".join(s.name for s in self.manifest.stages)
        return f"<{self.manifest.dataset}@{self.manifest.version}: {stages}>"

    @property
    def number(self) -> int:
        """The version's number."""
        return self.manifest.version

    @property
    def stages(self) -> tuple[str, ...]:
        """Names of the stages, in the order they ran."""
        return tuple(s.name for s in self.manifest.stages)

    @cached_property
    def snapshot(self) -> Snapshot:
        """What the version was built from: one row a record."""
        return read_snapshot(self.store, self.manifest.snapshot)

    def _entry(self, stage: str) -> StageEntry:
        try:
            return self.manifest.stage(stage)
        except KeyError as error:
            raise NotFound(f"{error.args[0]}; add `{stage}: {{}}` under stages in the recipe and build") from None

    def parts(self, stage: str) -> Iterator[PartReader]:
        """The stage's parts, in shard order."""
        for part in self.store.parts(self._entry(stage)):
            yield PartReader(self.store, part)

    def table(self, stage: str, columns: Sequence[str] | None = None, *, state: bool = True) -> pa.Table:
        """One stage over all shards, in row order: ``key``, outcome (with ``state``) and the stage's columns.

        ``documents`` gives the records with their text, ``images`` every image of every record with its outcome.
        A keyed fit's name gives its result.
        """
        if stage == "documents":
            return self._documents()
        if stage == "images":
            return self._images()
        for fit in self.manifest.fits:
            if fit.name == stage:
                return self.store.lists.get(fit.result)
        entry = self._entry(stage)
        schema = entry.arrow_schema()
        tables = [p.table(columns, with_state=state) for p in self.parts(stage) if p.rows.num_rows]
        if tables:
            return pa.concat_tables(tables)
        return pa.schema([pa.field("key", pa.string()), *schema]).empty_table()

    def tensor(self, name: str, key: str) -> np.ndarray | None:
        """The memory-mapped tensor ``stage.name`` of one row; None when the row is not ok."""
        stage, _, column = name.partition(".")
        entry = self._entry(stage)
        if column not in entry.tensors:
            raise NotFound(f"stage {stage} has no tensor {column!r}; it has {', '.join(entry.tensors) or 'none'}")
        for part in self.parts(stage):
            if key in part.index:
                return part.tensor(column)[part.index[key]]
        raise NotFound(f"stage {stage} of {self!r} has no row {key!r}")

    def document(self, record: str) -> Document:
        """The text of one record."""
        row = self.snapshot.known(record)
        if row["content"] is None:
            raise NotFound(f"record {record} has no content: its outcome is {row['outcome']}")
        return Document.from_bytes(self.store.blobs.get(row["content"]))

    def blob(self, key: str) -> bytes:
        """The bytes of an image, as fetched."""
        return self.store.blobs.get(key)

    def lineage(self, key: str) -> Lineage:
        """Where every value of one record comes from; ``key`` is a record id, URL, file name or image key."""
        return lineage(self.store, self.manifest, key)

    def diff(self, other: int | str) -> VersionDiff:
        """What changed since an older version of the same dataset."""
        return diff(self.store, other, self.number)

    def verify(self) -> VerifyReport:
        """Check every file, hash, count and digest."""
        return verify(self.store, self.number)

    def loader(self, split: str | None = "train", **settings: Any) -> Loader:
        """Batches for training; the arguments are those of :class:`~diptych.storage.reader.Loader`."""
        from diptych.storage.reader import Loader

        return Loader(self, split=split, **settings)

    def files(self, stage: str) -> list[str]:
        """Paths of the stage's files, relative to the dataset."""
        refs = {s.path: s for p in self.store.parts(self._entry(stage)) for s in p.segments}
        return [f"{ref.path}/{f.name}" for ref in refs.values() for f in ref.files]

    def _documents(self) -> pa.Table:
        rows = []
        names = ("record", "source", "subset", "source_id", "url", "outcome", "split")
        for row in self.snapshot.iter_rows([*names, "content"]):
            base = {n: row[n] for n in names}
            text = Document.from_bytes(self.store.blobs.get(row["content"])) if row["content"] else Document()
            rows.append({**base, **{n: getattr(text, n) for n in Document.__dataclass_fields__}})
        return pa.Table.from_pylist(rows)

    def _images(self) -> pa.Table:
        rows = []
        for row in self.snapshot.iter_rows(["record", "images"]):
            rows += [{"record": row["record"], "position": n, **image} for n, image in enumerate(row["images"] or ())]
        return pa.Table.from_pylist(rows)
