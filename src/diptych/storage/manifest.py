"""The manifest of a version: all that is needed to open it, and where each value came from.

It lies inside its log entry and stays small: part lists, row tables and fit results are named by digest.
Opening a version imports nothing: schemas, tensors and settings stand here as data. Changing a model here
changes the file format; ``schemas/`` holds the generated contract.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, JsonValue

from diptych.naming import Key, digest_settings
from diptych.stage import Tensor
from diptych.storage.rows import Counts

__all__ = [
    "Code",
    "Digests",
    "FitEntry",
    "Manifest",
    "Schema",
    "StageEntry",
    "TensorEntry",
    "WeightsEntry",
    "manifest_digests",
    "successor",
    "tensor_entries",
]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class WeightsEntry(_Model):
    """Weights that were used: registry name and hash; ``random`` when they were never trained."""

    name: str
    sha256: str
    random: bool = False


class TensorEntry(_Model):
    """A tensor output; a leading None in the shape means ragged."""

    dtype: str
    shape: tuple[int | None, ...]


class Schema(_Model):
    """Columns of a stage: for people, and serialised as Arrow IPC in base64."""

    text: str
    arrow: str

    @classmethod
    def of(cls, schema: pa.Schema) -> Schema:
        """The entry of an Arrow schema (its metadata is left out)."""
        plain = schema.remove_metadata()
        return cls(text=str(plain), arrow=base64.b64encode(plain.serialize().to_pybytes()).decode())

    def to_arrow(self) -> pa.Schema:
        """The Arrow schema."""
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.arrow)))


class StageEntry(_Model):
    """What one stage contributes to a version; ``chunks`` are its part lists, in shard order."""

    name: str
    key: str
    """The stage key (a digest), not the kind of row."""
    version: int
    rows: Key | None = None
    """Which rows it has: document, image, pair or sentence."""
    gate: bool | None = None
    """Whether a row it does not pass is not accepted by later stages; None in manifests that do not say."""
    config: JsonValue = None
    reads: tuple[str, ...] = ()
    chunks: tuple[str, ...]
    counts: Counts
    bytes: int
    input: str
    exact: str
    floats: str
    columns: Schema
    tensors: dict[str, TensorEntry] = {}
    packages: dict[str, str] = {}
    weights: tuple[WeightsEntry, ...] = ()

    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema of the output columns."""
        return self.columns.to_arrow()

    def tensor_specs(self) -> dict[str, Tensor]:
        """The declared tensors."""
        return {name: Tensor(t.dtype, t.shape) for name, t in self.tensors.items()}


def tensor_entries(tensors: Mapping[str, Tensor]) -> dict[str, TensorEntry]:
    """Tensor declarations as manifest entries."""
    return {name: TensorEntry(dtype=t.dtype, shape=t.shape) for name, t in tensors.items()}


class FitEntry(_Model):
    """A fit: its result is a list; ``exact`` is the result's digest without floats (``table_digest(t, False)``)."""

    name: str
    key: str
    version: int
    config: JsonValue = None
    reads: tuple[str, ...] = ()
    result: str
    exact: str = ""
    rows: int = 0
    pinned: bool = False
    keyed: bool = False
    ledger: bool = False
    partials: tuple[str, ...] = ()
    """Lists that hold the shards' contributions."""
    packages: dict[str, str] = {}


class Code(_Model):
    """Which diptych wrote the version; ``commit`` is empty outside a git checkout."""

    version: str
    commit: str = ""


class Manifest(_Model):
    """One version of a dataset."""

    format: Literal[1] = 1
    version: int
    parent: int | None
    commit_id: str
    created_at: str
    dataset: str
    snapshot: str
    shards: int
    stages: tuple[StageEntry, ...]
    fits: tuple[FitEntry, ...] = ()
    recipe: str
    code: Code
    packages: dict[str, str] = {}
    weights: tuple[WeightsEntry, ...] = ()
    statistics: dict[str, JsonValue] = {}
    input_digest: str
    exact_digest: str
    floats_digest: str
    accepted_failures: float | None = None

    def stage(self, name: str) -> StageEntry:
        """The entry of a stage; KeyError names those there are."""
        for entry in self.stages:
            if entry.name == name:
                return entry
        raise KeyError(f"version {self.version} has no stage {name!r}; it has {[s.name for s in self.stages]}")

    def lists(self) -> Iterable[str]:
        """Names of the lists this manifest names itself (chunks name row tables in turn)."""
        for stage in self.stages:
            yield from stage.chunks
        for fit in self.fits:
            yield fit.result
            yield from fit.partials


def successor(
    parent: Manifest,
    *,
    version: int,
    commit_id: str,
    created_at: str,
    stages: Iterable[StageEntry],
    fits: tuple[FitEntry, ...] | None = None,
) -> Manifest:
    """The manifest of a version with other part lists (compaction) and all else as in ``parent``."""
    stages = tuple(stages)
    digests = manifest_digests(parent.snapshot, stages, parent.fits)
    return parent.model_copy(
        update={
            "version": version,
            "parent": parent.version,
            "commit_id": commit_id,
            "created_at": created_at,
            "stages": stages,
            "fits": parent.fits if fits is None else fits,
            "input_digest": digests.input,
            "exact_digest": digests.exact,
            "floats_digest": digests.floats,
        }
    )


class Digests(_Model):
    """The digests of a version, 64 hexadecimal digits each."""

    input: str
    exact: str
    floats: str


def manifest_digests(snapshot: str, stages: Iterable[StageEntry], fits: Iterable[FitEntry] = ()) -> Digests:
    """Digests of a version from its entries; the order of the entries does not matter.

    None of them covers clocks, version numbers, parents, build ids, paths or error texts. The input digest
    covers snapshot, stage keys, input hashes and statuses, and the keys of the fits.
    """
    stages = sorted(stages, key=lambda s: s.name)
    fits = sorted(fits, key=lambda f: f.name)
    inputs = digest_settings(
        {
            "snapshot": snapshot,
            "stages": [[s.name, s.key, s.input] for s in stages],
            "fits": [[f.name, f.key] for f in fits],
        }
    )
    exact = {"stages": [[s.name, s.exact] for s in stages], "fits": [[f.name, f.exact] for f in fits]}
    floats = {
        "stages": [[s.name, s.exact, s.floats] for s in stages],
        "fits": [[f.name, f.result.partition("~")[0]] for f in fits],
    }
    return Digests(input=inputs, exact=digest_settings(exact), floats=digest_settings(floats))
