"""The stage contract: rows in, the same rows out, in the same order, with declared columns.

A stage is one module with one subclass of :class:`Stage`, one line in ``stages/__init__.py``, one generated
schema and one golden file. Its author writes ``process``; keys, hashes, reuse, sharding, retries and files
are the engine's.

An input is named ``producer.column``. Producers are earlier stages and fits, and the engine's own tables:

=================  ==============================================================================
``images``         ``bytes`` (the file as fetched)
``documents``      ``title text summary language keyphrases extra source subset url split``
``pairs``          ``caption alt url position extra`` of one document's use of one image
``sentences``      also a stage; ``sentence.text`` is the text of a row of key ``sentence``
=================  ==============================================================================

A row may read producers of its own key; a pair also those of its document and its image; a document also
those of its pairs, images and sentences, as lists in order (only rows that are ok). A pair reads its
document's sentences as such a list. Anything else is refused when the recipe is read.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from diptych.exceptions import StageError
from diptych.naming import Key
from diptych.settings import Settings

__all__ = ["Batch", "Output", "RowState", "Stage", "StageConfig", "Status", "Tensor"]


class Status(StrEnum):
    """What became of a row."""

    OK = "ok"
    REJECTED = "rejected"
    SKIPPED = "skipped"
    FAILED_TRANSIENT = "failed_transient"
    FAILED_PERMANENT = "failed_permanent"

    @property
    def failed(self) -> bool:
        """Whether the row counts against the recipe's limit."""
        return self in (Status.FAILED_TRANSIENT, Status.FAILED_PERMANENT)


class StageConfig(Settings):
    """Base of every stage's settings: frozen, unknown keys refused; each field enters the stage key."""

    places: ClassVar[tuple[str, ...]] = ()
    """Fields that say where a file is; its content enters the stage key by another field, the place does not."""


@dataclass(frozen=True)
class Tensor:
    """A tensor output: ``Tensor("float16", (49, 512))``; a leading ``None`` makes it ragged, rows per key vary."""

    dtype: str
    shape: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if any(n is None for n in self.shape[1:]):
            raise StageError(f"only the first dimension of a tensor may vary, got {self.shape}")
        np.dtype(self.dtype)

    @property
    def ragged(self) -> bool:
        """Whether the number of rows varies by key."""
        return bool(self.shape) and self.shape[0] is None

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one stored row: without the ragged dimension."""
        return tuple(int(n) for n in (self.shape[1:] if self.ragged else self.shape) if n is not None)


@dataclass(frozen=True)
class RowState:
    """Status of one output row; ``value`` and ``threshold`` say by how much a rule rejected it."""

    status: Status = Status.OK
    code: str = ""
    text: str = ""
    value: float | None = None
    threshold: float | None = None


OK = RowState()


@dataclass(frozen=True)
class Batch:
    """Some rows with the declared inputs, one sequence a column, one value a row."""

    keys: tuple[str, ...]
    columns: Mapping[str, Sequence[Any]]
    stage: Stage
    kept: tuple[bool, ...] = ()
    """Of a gate: rows that a person decided to keep. They need every value whatever the rules say; empty: none."""
    prepared: Sequence[Any] | None = None
    """What ``prepare`` made of each row; None when it was not called."""

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, name: str) -> Sequence[Any]:
        return self.columns[name]

    def select(self, rows: Sequence[int]) -> Batch:
        """The batch of some of these rows, in the order given."""
        columns = {name: [values[i] for i in rows] for name, values in self.columns.items()}
        kept = tuple(self.kept[i] for i in rows) if self.kept else ()
        prepared = None if self.prepared is None else [self.prepared[i] for i in rows]
        return Batch(tuple(self.keys[i] for i in rows), columns, self.stage, kept, prepared)

    def ready(self) -> Sequence[Any]:
        """What ``prepare`` makes of each row: made while another batch was computed, or else now."""
        return self.prepared if self.prepared is not None else self.stage.prepare(self)

    def output(self) -> Output:
        """An empty output for exactly these rows."""
        return Output(self.keys, self.stage.output_schema(), self.stage.tensor_schema())


@dataclass
class Output:
    """The values and states of a batch's rows; every ok row has every column and tensor."""

    keys: tuple[str, ...]
    schema: pa.Schema
    tensors: Mapping[str, Tensor]
    values: dict[str, list[Any]] = field(init=False)
    states: list[RowState] = field(init=False)
    _given: list[set[str]] = field(init=False)

    def __post_init__(self) -> None:
        names = [*self.schema.names, *self.tensors]
        self.values = {name: [None] * len(self.keys) for name in names}
        self.states = [OK] * len(self.keys)
        self._given = [set() for _ in self.keys]

    def set(self, row: int, **values: Any) -> None:
        """Values of one row: columns as plain Python, tensors as arrays; None is a null and counts as given."""
        for name, value in values.items():
            if name not in self.values:
                raise StageError(f"output {name!r} is not declared; declared are {sorted(self.values)}")
            self.values[name][row] = value
            self._given[row].add(name)

    def set_column(self, name: str, values: Sequence[Any] | np.ndarray) -> None:
        """Values of all rows of one column or tensor."""
        if len(values) != len(self.keys):
            raise StageError(f"output {name!r}: {len(values)} values for {len(self.keys)} rows")
        for row, value in enumerate(values):
            self.set(row, **{name: value})

    def take(self, start: int, other: Output) -> None:
        """Values and states of ``other`` for the rows from ``start`` on."""
        end = start + len(other.keys)
        for name, values in other.values.items():
            self.values[name][start:end] = values
        self.states[start:end] = other.states
        self._given[start:end] = other._given

    def reject(self, row: int, rule: str, *, value: float | None = None, threshold: float | None = None) -> None:
        """A rule refuses the row: its name, the value it saw and the threshold it compared with."""
        self.states[row] = RowState(Status.REJECTED, rule, "", value, threshold)

    def keep(self, kept: Sequence[bool]) -> None:
        """Rows that a person keeps are ok although a rule rejected them (if they have every value); it is named."""
        for row, keeps in enumerate(kept):
            state = self.states[row]
            if keeps and state.status is Status.REJECTED and len(self._given[row]) == len(self.values):
                self.states[row] = replace(state, status=Status.OK, code=f"overridden:{state.code}")

    def fail(self, row: int, code: str, text: str, *, transient: bool = False) -> None:
        """The row could not be computed; ``code`` enters the digest, ``text`` does not."""
        status = Status.FAILED_TRANSIENT if transient else Status.FAILED_PERMANENT
        self.states[row] = RowState(status, code, text)

    def skip(self, row: int, code: str) -> None:
        """The row has nothing to compute (no text, say)."""
        self.states[row] = RowState(Status.SKIPPED, code)

    def check(self, stage: str) -> None:
        """Raise :class:`StageError` when an ok row lacks a value or a tensor has another shape or dtype."""
        for row, state in enumerate(self.states):
            if state.status is Status.OK and len(self._given[row]) < len(self.values):
                missing = sorted(set(self.values) - self._given[row])
                raise StageError(f"stage {stage}, row {self.keys[row]}: ok, but {missing} not set")
        for name, spec in self.tensors.items():
            for row, value in enumerate(self.values[name]):
                if value is None:
                    continue
                array = np.asarray(value)
                shape = array.shape[1:] if spec.ragged else array.shape
                if shape != spec.row_shape or array.dtype != np.dtype(spec.dtype):
                    raise StageError(
                        f"stage {stage}, row {self.keys[row]}, tensor {name}: expected {spec.dtype} {spec.shape}, "
                        f"found {array.dtype} {array.shape}"
                    )


class Stage(ABC):
    """A row-preserving computation; subclasses declare class attributes and write ``process``."""

    name: ClassVar[str]
    version: ClassVar[int]
    key: ClassVar[Key]
    inputs: ClassVar[tuple[str, ...]]
    outputs: ClassVar[pa.Schema]
    tensors: ClassVar[Mapping[str, Tensor]] = {}
    Config: ClassVar[type[StageConfig]] = StageConfig
    weights: ClassVar[tuple[str, ...]] = ()
    packages: ClassVar[tuple[str, ...]] = ()
    fetched: ClassVar[bool] = False
    """True for the cleaning stages: they see every fetched row, the others only accepted ones."""
    gate: ClassVar[bool] = False
    """True when a row this stage does not pass is not accepted by later stages."""
    optional: ClassVar[tuple[str, ...]] = ()
    """Inputs whose row may be not ok (the value is then None) without this row being skipped."""
    accelerator: ClassVar[bool] = False
    batch_size: ClassVar[int] = 32
    """Rows at once to begin with; an accelerator gets more while that pays."""
    accelerator_batch_size: ClassVar[int | None] = None
    """What an accelerator begins with, where it is not ``batch_size``."""
    overlaps: ClassVar[bool] = False
    """Whether two threads may be in ``process`` at once: one makes rows while the accelerator computes the other."""
    tolerance: ClassVar[float] = 0.0
    """Largest relative difference of floats between devices, and between batch sizes of an accelerator.

    On a processor a row's floats depend on nothing but the row (``models/common/alone.py``).
    """

    def __init__(self, config: StageConfig | None = None) -> None:
        self.config = config if config is not None else self.Config()
        self.fits: Mapping[str, pa.Table] = {}
        """Results of the unkeyed fits among its inputs, set by the engine before ``setup``."""
        self.compiled = False
        """Whether ``setup`` should compile its network (a run's option), set by the engine before ``setup``."""

    def output_schema(self) -> pa.Schema:
        """Columns of the output; a stage whose columns depend on its settings overrides this."""
        return self.outputs

    def tensor_schema(self) -> Mapping[str, Tensor]:
        """Tensors of the output; a stage whose shapes depend on its settings overrides this."""
        return self.tensors

    def weight_names(self) -> tuple[str, ...]:
        """Names in the weights registry that this configuration needs."""
        return self.weights

    def check(self) -> None:  # noqa: B027 - optional to override
        """Raise now what would stop every row: a package that is not there, settings that no network has.

        Asked before a crawl begins, and before ``setup``.
        """

    def setup(self, device: str) -> None:  # noqa: B027 - optional to override
        """Load what ``process`` needs (heavy imports, weights), once per process; ``device`` as torch names it."""

    def prepare(self, batch: Batch) -> Sequence[Any]:
        """One value a row that ``process`` then finds in ``batch.ready()``: pictures decoded and resized, say.

        Called after ``setup``, in another thread, while ``process`` works on the batch before; several threads may be
        in it at once, each with a batch of another shard.
        """
        raise NotImplementedError(f"stage {self.name} prepares nothing")

    @abstractmethod
    def process(self, batch: Batch) -> Output:
        """Compute the batch; must not depend on which rows stand beside each other."""

    def close(self) -> None:  # noqa: B027 - optional to override
        """Release what ``setup`` took (worker processes, sessions)."""
