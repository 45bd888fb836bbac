"""The contract of a model: what it reads, how it is fitted, what it says, how that is judged. The loop does the rest.

A model is one subclass of :class:`Task` (``models/<name>/task.py``), one line in ``models/registry.py``, and its
network, an ordinary ``nn.Module``. The loop (``training/loop.py``) owns seeds, devices, precision, order of rows,
schedules, checkpoints, resuming, several processes, and the run folder. In the order in which they are called:

====================  ================================================================================================
``Config``            settings; the ``paper`` preset is the defaults
``reads``, ``tables`` checked before any work: a version without them is an error that names the recipe's line
``prepare``           once a run: vocabularies, class lists, vectors, as arrays and JSON, copied into the run folder
``Task(config, s)``   from then on there is an object with ``config`` and ``state``
``build``             the network; draws from torch's generator, which the loop has seeded
``phases``            what is trained, in order
``before_epoch``      what is computed from the whole training set with the network as it stands (matching)
``collate``           samples to a batch, in worker processes: a pure function, draws nothing
``loss``              named terms, already weighted; their sum is minimised
``items``             how many items each term is the mean of, where these are not the rows
``after_training``    what is set in the network from the whole training set once it is fitted (an SVM's weights)
``watched``           values of dev that are logged and not minimised
``predict``           one row of output a sample, of the ``scored`` stream's dev and test rows
``finish``            all rows of a split to the lines of predictions.jsonl (ranks among all candidates)
``looks``             for people: what was looked at in each picture
``evaluate``          metrics from these lines alone
``fitted``            figures from the log of the training
====================  ================================================================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np

from diptych.naming import split_pair_key
from diptych.storage.reader_records import Sample
from diptych.training.config import Plain, TaskConfig
from diptych.training.look import Look
from diptych.training.phase import Phase, Stream

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from diptych.version import Version

__all__ = ["Baseline", "Batch", "Line", "Metrics", "Moment", "PaperTable", "Sample", "State", "Task", "Variant"]

Line = Mapping[str, Plain]
"""One line of predictions.jsonl: ``id``, ``predicted``, ``gold`` (as ``diptych score`` reads), and what else helps."""
Metrics = Mapping[str, float]
"""Shares in [0, 1] where a metric is a share; nan where it is not defined (written as null)."""
Row = Mapping[str, Any]
"""What ``predict`` gives for one sample: plain values and arrays that ``finish`` needs."""


class Batch(Protocol):
    """A model's batch: a frozen dataclass of tensors."""

    def __len__(self) -> int:
        """How many samples."""
        ...

    def to(self, device: torch.device | str) -> Self:
        """The same on a device."""
        ...


@dataclass(frozen=True)
class State:
    """What a fitted model must remember of its training data besides weights: vocabularies, classes, vectors."""

    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    values: Mapping[str, Plain] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """Arrays go to worker processes as torch tensors, whose memory they share, however many workers there are."""
        import torch

        if "_shared" not in self.__dict__:
            shared = {name: torch.from_numpy(np.array(array)) for name, array in self.arrays.items()}
            object.__setattr__(self, "_shared", shared)
        return {"arrays": self.__dict__["_shared"], "values": self.values}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        object.__setattr__(self, "arrays", {name: tensor.numpy() for name, tensor in state["arrays"].items()})
        object.__setattr__(self, "values", state["values"])


@dataclass(frozen=True)
class Moment:
    """When a loss is asked for: phase, epoch of the phase (from 0), and what ``before_epoch`` found last."""

    phase: str
    epoch: int = 0
    memory: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Variant:
    """An ablation, or a baseline that is trained: settings that differ from the full model's, and what they mean."""

    settings: Mapping[str, Plain]
    meaning: str = ""


Baseline = Callable[["Task", Iterable[Sample], Iterable[Sample], int], Sequence[Line]]
"""A baseline that is not trained by the loop: (task, train samples, samples to predict, seed) to lines."""


@dataclass(frozen=True)
class PaperTable:
    """A results table as the paper prints it; our row is printed beside it, marked as other data."""

    source: str
    """as "Table 2"; several are joined"""
    data: str
    """what it was measured on"""
    columns: Mapping[str, str]
    """our metric's name to the column's"""
    rows: Mapping[str, Mapping[str, float]]
    """``full``, the name of an ablation or baseline of ours, or any other system's name: metric to figure as printed"""
    scale: float = 100.0
    """what our figures are multiplied by to compare; 1 where the paper prints shares"""
    unscaled: Sequence[str] = ()
    """metrics that are no shares: compared as they are (median ranks)"""
    notes: Sequence[str] = ()
    """where the paper's own figures do not agree"""

    def factor(self, metric: str) -> float:
        """What our figure of a metric is multiplied by to compare."""
        return 1.0 if metric in self.unscaled else self.scale


class Task(ABC):
    """One model's part of training; everything class-level is known without data."""

    name: ClassVar[str]
    title: ClassVar[str] = ""
    """one line: model, paper, year"""
    Config: ClassVar[type[TaskConfig]]
    presets: ClassVar[Mapping[str, Mapping[str, Plain]]] = {"paper": {}}
    """Settings by preset: ``paper`` (none), ``debug`` (seconds), ``sample`` (a run of two minutes on two cores)."""
    ablations: ClassVar[Mapping[str, Variant]] = {}
    baselines: ClassVar[Mapping[str, Variant | Baseline]] = {}
    paper: ClassVar[PaperTable | None] = None
    interval_samples: ClassVar[int] = 0
    """Bootstrap samples behind the 95 % intervals that a run's table prints for few test rows; 0 prints none."""
    recipe_lines: ClassVar[Mapping[str, str]] = {}
    """The line that the recipe needs for a stage or fit, where ``NAME: {}`` does not do."""

    def __init__(self, config: TaskConfig, state: State) -> None:
        self.config = config
        self.state = state

    @classmethod
    @abstractmethod
    def reads(cls, config: Any) -> Mapping[str, Stream]:
        """Every stream that this configuration reads, by name; ``phases`` and ``scored`` take theirs from here."""

    @classmethod
    def tables(cls, config: Any) -> tuple[str, ...]:
        """Unkeyed fits that ``prepare`` reads by ``version.table`` (``vectors``, ``word_counts``)."""
        return ()

    @classmethod
    @abstractmethod
    def prepare(cls, version: Version, config: Any) -> State:
        """What is computed from the train split before the first step; the same every time.

        Checks here that the version's tensors have the sizes that the configuration asserts.
        """

    @abstractmethod
    def build(self) -> nn.Module:
        """The network with fresh weights."""

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """The trainings, in order."""

    @abstractmethod
    def scored(self) -> Stream:
        """The rows of dev and test that predictions are made for; ``each`` is not used."""

    def asked(self) -> Stream:
        """The rows that predictions can be made for, also where nobody said what is true: ``scored`` without labels."""
        return self.scored()

    @abstractmethod
    def collate(self, samples: Sequence[Sample], stream: str) -> Batch:
        """A batch of one stream's samples (``"scored"``: of the scored stream); called in worker processes."""

    @abstractmethod
    def loss(self, module: Any, batches: Mapping[str, Any], moment: Moment) -> dict[str, Tensor]:
        """The terms, scalars, already weighted; ``batches`` by stream. Each is a mean over its own items.

        On dev a further stream of the phase that has no row there is not among the batches.
        """

    def items(self, batches: Mapping[str, Any], moment: Moment) -> Mapping[str, int]:
        """How many items each term of ``loss`` is the mean of (tokens, known classes): what its epoch's mean is over.

        A term that is not named here is a mean over the rows of the first stream. The batches are on the CPU.
        """
        return {}

    def watched(self, module: Any, batches: Mapping[str, Any], moment: Moment) -> Mapping[str, Tensor]:
        """What is logged of dev beside the loss and not minimised: a tensor of one value an item, by name.

        In eval mode, without gradients; its mean over all items is in the epoch's dev values.
        """
        return {}

    @abstractmethod
    def predict(self, module: Any, batch: Any) -> Sequence[Row]:
        """One row a sample, in order, with ``id``; called in eval mode without gradients.

        With mixed precision activations are bfloat16, which NumPy has not: ``.float()`` before ``.numpy()``.
        """

    def finish(self, rows: Sequence[Row]) -> Sequence[Line]:
        """The lines of a whole split from its rows: what needs all of them, without arrays."""
        return rows

    def after_training(self, module: Any, batches: Iterable[Any]) -> None:  # noqa: B027 - optional to override
        """What is set in the network once the last phase is done, from the ``scored`` rows of train.

        In order, in eval mode, without gradients. The batches are read only when they are asked for.
        """

    def look_fields(self) -> tuple[str, ...]:
        """Fields that ``looks`` reads beside those of ``asked``."""
        return ()

    def looks(self, module: Any, samples: Sequence[Sample], batch: Any) -> Sequence[Sequence[Look]]:
        """For each sample its pictures with what was looked at in them; in eval mode without gradients.

        Of a pair without further say: its picture. A task whose rows are documents says its own.
        """
        return [[Look(split_pair_key(str(s["key"]))[1])] for s in samples] if self.asked().rows == "pair" else ()

    @abstractmethod
    def evaluate(self, lines: Sequence[Line]) -> Metrics:
        """The metrics of a split from its lines alone."""

    def fitted(self, before: Mapping[str, Metrics], epochs: Sequence[Mapping[str, Any]]) -> Metrics:
        """What the log of the training says that belongs beside the results, as a perplexity and its change.

        ``before`` has the dev values of each phase that has them measured before its first epoch (``Phase.before``),
        ``epochs`` are those of metrics.json: ``phase``, ``epoch``, ``train``, ``dev``.
        Not asked where nothing was fitted.
        """
        return {}

    def before_epoch(self, module: Any, batches: Iterable[Any], moment: Moment) -> Mapping[str, np.ndarray] | None:
        """Computed from all training batches (first stream, in eval mode, in order, without gradients) if it is time.

        None keeps the memory as it is. What is returned stands in ``moment.memory`` until the next time and in the
        checkpoint. The batches are read only when they are asked for.
        """
        return None
