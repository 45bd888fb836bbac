"""The fields a reader is asked for: names resolved against a version's manifest, before any value is read.

A field is named ``producer.column`` as a stage names its inputs, and joined by the same rules: a row reads
producers of its own key; a pair those of its document and its image; a document those of its pairs, images
and sentences, as lists. Every producer also has the column ``key``: the keys of the rows that were read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from diptych.exceptions import NotFound, UsageError
from diptych.naming import Key
from diptych.stage import Tensor
from diptych.storage.manifest import FitEntry, Manifest
from diptych.storage.store import Store

__all__ = ["TABLES", "Field", "Spec", "resolve_fields"]

_TEXT = pa.string()
TABLES: Mapping[str, tuple[Key, Mapping[str, pa.DataType]]] = {
    "images": ("image", {"bytes": pa.binary()}),
    "documents": (
        "document",
        {
            **dict.fromkeys(("title", "text", "summary", "language"), _TEXT),
            "keyphrases": pa.list_(_TEXT),
            **dict.fromkeys(("extra", "source", "subset", "url", "split"), _TEXT),
        },
    ),
    "pairs": ("pair", {**dict.fromkeys(("caption", "alt", "url", "extra"), _TEXT), "position": pa.int32()}),
    "sentence": ("sentence", {"text": _TEXT}),
}
"""The engine's own tables: row key, and columns with their types."""

_SINGLE: Mapping[Key, frozenset[Key]] = {
    "image": frozenset({"image"}),
    "sentence": frozenset({"sentence"}),
    "pair": frozenset({"pair", "document", "image"}),
    "document": frozenset({"document"}),
}
_LISTS: Mapping[Key, frozenset[Key]] = {
    "image": frozenset(),
    "sentence": frozenset(),
    "pair": frozenset({"sentence"}),
    "document": frozenset({"pair", "image", "sentence"}),
}


@dataclass(frozen=True)
class Spec:
    """How values of a field are laid out in a batch: ``depth`` ragged levels around leaves of one shape.

    ``dtype`` is a NumPy name, or None for what stays Python (text, bytes, structs). ``optional`` values may be None.
    """

    depth: int
    shape: tuple[int, ...]
    dtype: str | None
    optional: bool = False


@dataclass(frozen=True)
class Field:
    """One column or tensor of one producer, seen from the rows of a reader."""

    name: str
    producer: str
    column: str
    kind: Literal["table", "stage", "fit"]
    key: Key
    """The key of the producer's rows."""
    listed: bool
    """Whether a row reads a list of them."""
    tensor: Tensor | None
    type: pa.DataType | None
    """Arrow type of a column, None of a tensor."""

    def spec(self, optional: bool) -> Spec:
        """Its layout in a batch."""
        depth = int(self.listed)
        if self.tensor is not None:
            depth += self.tensor.ragged
            return Spec(depth, self.tensor.row_shape, self.tensor.dtype, optional and not self.listed)
        kind = self.type
        while kind is not None and _is_list(kind):
            depth += 1
            kind = kind.value_type
        return Spec(depth, (), _numpy_name(kind), True)


def resolve_fields(store: Store, manifest: Manifest, rows: Key, names: Iterable[str]) -> tuple[Field, ...]:
    """The fields of those names; :class:`NotFound` names what is missing and the recipe line that adds it."""
    if rows not in _SINGLE:
        raise UsageError(f"rows are document, pair, image or sentence, not {rows!r}")
    names = list(names)
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise UsageError(f"a field is asked for twice: {', '.join(twice)}")
    found = tuple(_field(store, manifest, rows, name) for name in names)
    if any(f.key == "sentence" for f in found) or rows == "sentence":
        _need_stage(manifest, "sentences", "whose sentences are the rows")
    return found


def _field(store: Store, manifest: Manifest, rows: Key, name: str) -> Field:
    producer, dot, column = name.partition(".")
    if not dot or not column:
        raise UsageError(f"a field is named `producer.column` (backbone.pooled, documents.title), not {name!r}")
    stage = next((s for s in manifest.stages if s.name == producer), None)
    fit = next((f for f in manifest.fits if f.name == producer), None)
    tensor: Tensor | None = None
    kind: Literal["table", "stage", "fit"]
    if producer in TABLES:
        kind, (key, columns) = "table", TABLES[producer]
    elif stage is not None:
        kind, key = "stage", stage.rows or "document"
        columns = {f.name: f.type for f in stage.arrow_schema()}
        tensor = stage.tensor_specs().get(column)
        columns |= dict.fromkeys(stage.tensors, pa.null())
    elif fit is not None:
        kind = "fit"
        key, columns = _fit(store, fit, name)
    else:
        _need_stage(manifest, producer, f"that the field {name} reads")
        raise AssertionError
    if column != "key" and column not in columns:
        have = ", ".join(sorted({*columns, "key"}))
        raise NotFound(f"version {manifest.version}: {producer} has no {column!r} (field {name}); it has {have}")
    if key not in _SINGLE[rows] | _LISTS[rows]:
        raise UsageError(
            f"a row of key {rows} cannot read {name}, whose rows have key {key}; it reads rows of key "
            f"{', '.join(sorted(_SINGLE[rows] | _LISTS[rows]))}"
        )
    arrow = None if tensor is not None else columns.get(column, _TEXT)
    return Field(name, producer, column, kind, key, key in _LISTS[rows], tensor, arrow)


def _need_stage(manifest: Manifest, name: str, why: str) -> None:
    if any(s.name == name for s in manifest.stages):
        return
    have = ", ".join([s.name for s in manifest.stages] + [f.name for f in manifest.fits]) or "none"
    raise NotFound(
        f"version {manifest.version} of {manifest.dataset} has no stage {name!r} {why}; it has {have}. "
        f"Add the line `{name}: {{}}` under `stages:` in the recipe and run `diptych build`"
    )


def _fit(store: Store, fit: FitEntry, name: str) -> tuple[Key, dict[str, pa.DataType]]:
    if not fit.keyed:
        raise UsageError(
            f"{name}: {fit.name} is one result for the whole corpus, not a value of each row; "
            f"read it with version.table({fit.name!r})"
        )
    table = store.lists.get(fit.result)
    columns = {f.name: f.type for f in table.schema if f.name != "key"}
    first = table["key"][0].as_py() if table.num_rows else ""
    key: Key = "pair" if "/" in first else "image" if len(first) == 64 else "document"
    return key, columns


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _numpy_name(kind: pa.DataType | None) -> str | None:
    if kind is None:
        return None
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.dtype(kind.to_pandas_dtype()).name
    return None
