"""What a task says about its training: which rows, in which phases, by which optimiser, judged by what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from diptych.naming import Key

__all__ = ["Monitor", "Optimiser", "Phase", "Schedule", "Stream"]


@dataclass(frozen=True)
class Stream:
    """Which rows of a version are read, and which fields of them (``stage.column``; see ``version.loader``)."""

    fields: tuple[str, ...]
    rows: Key = "document"
    where: tuple[str, ...] = ()
    """comparisons that narrow the rows, as ``documents.subset == 'matching'``"""
    says: str = ""
    """an entry that a document's ``extra`` must have, as ``image_adds``: ``where`` cannot look into it"""
    missing: Literal["drop", "none"] = "drop"
    """what becomes of a row that reads a row which is not ok: it is left out, or its value is None"""
    batch_size: int = 16
    least: int = 1
    """smaller batches are not trained on (2 where batch norm needs it)"""
    each: str = ""
    """One of ``fields``, a list (or a text: its lines): a row is an instance for each of its items, and the sample's
    ``"choice"`` says for which (a post for each of its keyphrases). In an epoch every instance is seen once; two of one
    row stand far apart (all rows' first, then all rows' second choice), so that a batch hardly ever has two of one
    row."""
    apart: bool = False
    """rows are pairs: a step has no two of one picture, as far as other pictures are left to take their place"""


@dataclass(frozen=True)
class Optimiser:
    """A torch optimiser and its settings."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.0
    """of sgd"""


@dataclass(frozen=True)
class Schedule:
    """The learning rate is multiplied by ``factor`` every so many epochs, or when the dev value stalls; else constant.

    ``Schedule("every", 0.8, 6)``: after each six epochs. ``Schedule("stall", 0.5)``: after each epoch that is not
    better than the best before it (``epochs`` in a row).
    """

    kind: Literal["constant", "every", "stall"] = "constant"
    factor: float = 1.0
    epochs: int = 1


@dataclass(frozen=True)
class Monitor:
    """The dev value that stalls, stops and chooses the epoch.

    ``loss`` is the sum of the loss's terms, ``loss.NAME`` one of them: means over dev rows. Any other name is a metric
    of :meth:`Task.evaluate`; then dev is predicted after each epoch.
    """

    name: str = "loss"
    higher: bool = False


@dataclass(frozen=True)
class Phase:
    """One training, from fresh optimiser state to the best epoch's weights; the next phase starts from these.

    Each step takes one batch of each stream. The first stream makes the epoch; the others go round. A stream's name is
    what :meth:`Task.collate` and :meth:`Task.loss` know it by.
    """

    name: str
    streams: Mapping[str, Stream]
    epochs: int
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    monitor: Monitor = field(default_factory=Monitor)
    frozen: tuple[str, ...] = ()
    """Beginnings of the names of parameters that this phase does not train; what ``build`` has frozen no phase does."""
    keep: Literal["best", "last"] = "best"
    """Which epoch's weights the phase hands on; a phase that keeps the last never stops early and needs no dev rows."""
    before: bool = False
    """Whether the dev values are measured before the first epoch, too (see :meth:`Task.fitted`)."""
