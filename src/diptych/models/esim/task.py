"""ESIM as a task of the training loop: pairs of texts in memory, judged by accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from diptych.models.esim.measuring import measure
from diptych.models.esim.model import Esim, EsimConfig, PairBatch
from diptych.models.esim.pairs import TextPair
from diptych.models.esim.texts import TextReader
from diptych.training.config import TaskConfig
from diptych.training.phase import Monitor, Optimiser, Phase, Stream
from diptych.training.task import Line, Metrics, Moment, Row, Sample, State, Task

if TYPE_CHECKING:
    from diptych.version import Version

__all__ = ["EsimTask", "EsimTraining", "samples_of"]


class EsimTraining(TaskConfig):
    """Adam, batch and clip as in the paper (section 4.1)."""

    learning_rate: float = 4e-4
    batch: int = 32
    clip: float = 10.0
    epochs: int = 30
    patience: int = 5


def samples_of(pairs: Sequence[TextPair]) -> list[Sample]:
    """Rows of the feed; keys say which pair it is and what it holds, so that a resumed run sees other pairs."""
    return [
        {"key": f"{n}:{pair.first}\t{pair.second}", "first": pair.first, "second": pair.second, "same": pair.same}
        for n, pair in enumerate(pairs)
    ]


class EsimTask(Task):
    """Whether two texts say the same; its rows are given, not read from a version."""

    name = "esim"
    title = "ESIM: enhanced LSTM for natural language inference (ACL 2017)"
    Config = EsimTraining
    config: EsimTraining

    def __init__(self, config: EsimTraining, sizes: EsimConfig, alphabet: str, device: str) -> None:
        super().__init__(config, State())
        self.sizes, self.reader = sizes, TextReader(sizes, alphabet, device)

    @classmethod
    def reads(cls, config: EsimTraining) -> Mapping[str, Stream]:
        """Pairs."""
        return {"pairs": Stream(("first", "second", "same"), "pair", batch_size=config.batch)}

    @classmethod
    def prepare(cls, version: Version, config: EsimTraining) -> State:
        """The alphabet is made of the pairs (``train``); a version has none."""
        return State()

    def build(self) -> nn.Module:
        """The network for what the reader gives."""
        return Esim(self.sizes, characters=self.reader.characters, inputs=self.reader.inputs)

    def phases(self) -> tuple[Phase, ...]:
        """One; the epoch with the best dev accuracy is kept."""
        config = self.config
        optimiser, monitor = Optimiser("adam", config.learning_rate), Monitor("accuracy", higher=True)
        return (Phase("train", self.reads(config), config.epochs, optimiser, monitor=monitor),)

    def scored(self) -> Stream:
        """Pairs."""
        return self.reads(self.config)["pairs"]

    def collate(self, samples: Sequence[Sample], stream: str) -> PairBatch:
        """Ids or vectors of both texts."""
        first, second, same = ([sample[name] for sample in samples] for name in ("first", "second", "same"))
        return replace(self.reader.batch(first, second, same), keys=tuple(str(s["key"]) for s in samples))

    def loss(self, module: Esim, batches: Mapping[str, PairBatch], moment: Moment) -> dict[str, Tensor]:
        """Cross entropy."""
        batch = batches["pairs"]
        return {"pairs": torch.nn.functional.cross_entropy(module(batch), batch.labels)}

    def predict(self, module: Esim, batch: PairBatch) -> Sequence[Row]:
        """The probability that both say the same."""
        shares = module(batch).double().softmax(1)[:, 1].tolist()
        rows = zip(batch.keys, shares, batch.labels.tolist(), strict=True)
        return [{"id": key, "predicted": share, "gold": bool(same)} for key, share, same in rows]

    def evaluate(self, lines: Sequence[Line]) -> Metrics:
        """Accuracy at one half, area under the ROC curve."""
        scores = np.array([float(str(line["predicted"])) for line in lines])
        found = measure(scores, [bool(line["gold"]) for line in lines])
        return {"accuracy": found.accuracy, "auc": found.auc}
