"""A small real task on the reader's small version: which of seven levels a picture has, from eight numbers.

Two phases (the first with a second stream of instances), dropout, a memory that is computed between epochs, a trained
ablation and an untrained baseline: everything that the loop does for a model, in a second.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Timer
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from diptych.metrics.classes import class_scores
from diptych.training.config import TaskConfig, ours, reading
from diptych.training.phase import Monitor, Optimiser, Phase, Schedule, Stream
from diptych.training.task import Line, Metrics, Moment, PaperTable, Sample, State, Task, Variant

if TYPE_CHECKING:
    from diptych.version import Version

IMAGES = Stream(("features.pooled", "features.level"), rows="image", batch_size=4, least=2)
PHRASES = Stream(("documents.keyphrases", "documents.title"), each="documents.keyphrases", batch_size=3)
KILL = "TOY_KILL_AT"
"""Environment variable: after so many steps the process sends itself SIGTERM."""
KILL_ALL = "TOY_KILL_ALL"
"""Environment variable: it sends SIGTERM to its whole group instead, after so many seconds."""
COLLATE_S = "TOY_COLLATE_S"
"""Environment variable: seconds that a batch takes to be made."""
_steps = 0


class ToyConfig(TaskConfig):
    width: int = 16
    dropout: float = ours(0.2, "silent")
    weights: str = reading("found", "equal", "classes that are seldom found weigh more")
    warm: int = 2
    epochs: int = 4
    lr: float = 0.05
    patience: int = 3


@dataclass(frozen=True)
class ToyBatch:
    features_B8: Tensor
    labels_B: Tensor
    keys: tuple[str, ...]

    def to(self, device: torch.device | str) -> Self:
        return type(self)(self.features_B8.to(device), self.labels_B.to(device), self.keys)

    def __len__(self) -> int:
        return len(self.keys)


@dataclass(frozen=True)
class PhraseBatch:
    lengths_B: Tensor

    def to(self, device: torch.device | str) -> Self:
        return type(self)(self.lengths_B.to(device))

    def __len__(self) -> int:
        return len(self.lengths_B)


class Network(nn.Module):
    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.hidden = nn.Linear(8, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, classes)
        self.length = nn.Parameter(torch.zeros(()))

    def classify(self, features_B8: Tensor) -> Tensor:
        return self.out(self.dropout(torch.relu(self.norm(self.hidden(features_B8)))))


def most_common(task: Task, train: Iterable[Sample], samples: Iterable[Sample], seed: int) -> list[Line]:
    levels = Counter(level_of(s) for s in train)
    best = min(levels, key=lambda level: (-levels[level], level))
    return [{"id": s["key"], "predicted": best, "gold": level_of(s)} for s in samples]


class ToyTask(Task):
    name = "toy"
    title = "levels of pictures"
    Config = ToyConfig
    presets = {"paper": {}, "debug": {"width": 4, "epochs": 2}}
    ablations = {"equal": Variant({"weights": "equal"}, "all classes weigh the same")}
    baselines = {"most_common": most_common, "narrow": Variant({"width": 1})}
    paper = PaperTable(
        "Table 9", "other pictures", {"accuracy": "Acc"}, {"full": {"accuracy": 81.2}, "equal": {"accuracy": 7.0}},
        notes=("Table 8 prints 81.3",),
    )  # fmt: skip
    interval_samples = 50
    recipe_lines = {"features": "features: {use: 'world:Features'}"}
    config: ToyConfig

    @classmethod
    def reads(cls, config: ToyConfig) -> Mapping[str, Stream]:
        return {"images": IMAGES, "phrases": PHRASES}

    @classmethod
    def tables(cls, config: ToyConfig) -> tuple[str, ...]:
        return ("common",)

    @classmethod
    def prepare(cls, version: Version, config: ToyConfig) -> State:
        words = version.table("common")["word"].to_pylist()
        return State({"scale": np.full(8, 0.1, np.float32)}, {"words": words, "classes": 7})

    def build(self) -> nn.Module:
        return Network(self.config.width, 7, self.config.dropout)

    def phases(self) -> tuple[Phase, ...]:
        warm = Phase(
            "warm", {"images": IMAGES, "phrases": PHRASES}, self.config.warm, Optimiser("adam", self.config.lr),
            before=True,
        )  # fmt: skip
        sgd = Optimiser("sgd", self.config.lr, momentum=0.9)
        main = Phase(
            "main", {"images": IMAGES}, self.config.epochs, sgd, Schedule("stall", 0.5), Monitor("accuracy", True),
            frozen=("length",),
        )  # fmt: skip
        return warm, main

    def scored(self) -> Stream:
        return IMAGES

    def collate(self, samples: Sequence[Sample], stream: str) -> ToyBatch | PhraseBatch:
        time.sleep(float(os.environ.get(COLLATE_S, "0")))
        if stream == "phrases":
            chosen = [s["documents.keyphrases"][s["choice"]] for s in samples]
            return PhraseBatch(torch.tensor([float(len(word)) for word in chosen]))
        features = np.stack([s["features.pooled"] for s in samples]).astype(np.float32) * self.state.arrays["scale"]
        labels = torch.tensor([-100 if s["features.level"] is None else int(level_of(s)) for s in samples])
        return ToyBatch(torch.from_numpy(features), labels, tuple(s["key"] for s in samples))

    def loss(self, module: Any, batches: Mapping[str, Any], moment: Moment) -> dict[str, Tensor]:
        global _steps
        if module.training and os.environ.get(KILL):
            _steps += 1
            if _steps == int(os.environ[KILL]):
                if KILL_ALL in os.environ:
                    Timer(float(os.environ[KILL_ALL]), os.killpg, (0, signal.SIGTERM)).start()
                else:
                    os.kill(os.getpid(), signal.SIGTERM)
        batch = batches["images"]
        features = batch.features_B8
        weights = torch.from_numpy(moment.memory["weights"]).to(features.device) if moment.memory else None
        entropy = nn.functional.cross_entropy(
            module.classify(features), batch.labels_B, weights, reduction="sum", ignore_index=-100
        )
        terms = {"class": entropy / len(batch)}
        if "phrases" in batches:
            terms["phrase"] = 0.01 * (module.length - batches["phrases"].lengths_B).square().mean()
        return terms

    def predict(self, module: Any, batch: ToyBatch) -> list[dict[str, Any]]:
        guesses = module.classify(batch.features_B8).argmax(1).tolist()
        golds = batch.labels_B.tolist()
        return [
            {"id": key, "predicted": str(guess), "gold": str(gold)}
            for key, guess, gold in zip(batch.keys, guesses, golds, strict=True)
        ]

    def finish(self, rows: Sequence[Mapping[str, Any]]) -> Sequence[Line]:
        return [row for row in rows if row["gold"] != "-100"]

    def evaluate(self, lines: Sequence[Line]) -> Metrics:
        scores = class_scores([str(x["predicted"]) for x in lines], [str(x["gold"]) for x in lines])
        return {"accuracy": scores.accuracy, "weighted_f1": scores.weighted_f1}

    def fitted(self, before: Mapping[str, Metrics], epochs: Sequence[Mapping[str, Any]]) -> Metrics:
        return {
            "warm_loss_before": before["warm"]["loss.class"],
            "warm_epochs": sum(e["phase"] == "warm" for e in epochs),
        }

    def before_epoch(self, module: Any, batches: Iterable[Any], moment: Moment) -> Mapping[str, np.ndarray] | None:
        if moment.phase != "main" or moment.epoch % 2 or self.config.weights == "equal":
            return None
        found = torch.cat([module.classify(batch.features_B8).argmax(1) for batch in batches])
        return {"weights": (1 / (1 + torch.bincount(found, minlength=7).float())).sqrt().cpu().numpy()}


def level_of(sample: Sample) -> str:
    return "-100" if sample["features.level"] is None else str(round(sample["features.level"] * 8))
