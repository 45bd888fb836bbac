"""Multinomial logistic regression on a version's features, against always saying the commonest label.

Fitted on train by full-batch L-BFGS from zero (the problem is convex: no random start), its weight decay chosen on
dev, measured on dev and test. Labels are text: the value of a field, the first item of a list, or what a regular
expression's first group finds in it. Holds the features of a split in memory.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from diptych.exceptions import UsageError
from diptych.naming import Key
from diptych.storage.log import now
from diptych.storage.reader import Loader
from diptych.training.run import Run, write_run

if TYPE_CHECKING:
    from diptych.version import Version

__all__ = ["ProbeConfig", "ProbeReport", "fit_probe"]

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class ProbeConfig:
    """What is read and how it is fitted."""

    feature: str = "backbone.pooled"
    label: str = "documents.language"
    pattern: str = ""
    """When given, the label is the first group of this expression in the field's text."""
    rows: Key = "pair"
    decays: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
    iterations: int = 200
    seed: int = 0
    """Order in which rows are read; the fit itself draws nothing."""


@dataclass(frozen=True)
class ProbeReport:
    """Accuracy by split, the majority baseline's, rows; where the run stands, relative to the dataset."""

    config: ProbeConfig
    accuracy: dict[str, float | None]
    majority: dict[str, float | None]
    rows: dict[str, int]
    path: str

    def __str__(self) -> str:
        scores = "; ".join(
            f"{split} {self.accuracy[split]:.3f} (majority {self.majority[split]:.3f}, {self.rows[split]} rows)"
            for split in SPLITS
            if self.rows[split]
        )
        return f"{self.config.label} from {self.config.feature}: accuracy {scores}; {self.path}"


@dataclass(frozen=True)
class _Data:
    keys: list[str]
    features: np.ndarray
    """float32 (rows, channels)"""
    labels: list[str]


def fit_probe(version: Version, config: ProbeConfig | None = None) -> ProbeReport:
    """Fit, measure, write ``runs/probe/<run id>/``; :class:`UsageError` when train has no labelled row."""
    import torch

    config, started = config or ProbeConfig(), now()
    torch.manual_seed(config.seed)
    data = {split: _read(version, config, split) for split in SPLITS}
    train = data["train"]
    if not train.keys:
        raise UsageError(f"no row of the train split has {config.feature} and a label in {config.label}")
    classes = sorted(set(train.labels))
    mean, spread = train.features.mean(0), train.features.std(0) + 1e-6
    chosen = {s: torch.from_numpy((d.features - mean) / spread) for s, d in data.items()}
    target = torch.tensor([classes.index(label) for label in train.labels])
    best: tuple[float, float, torch.Tensor] | None = None
    for decay in sorted(config.decays, reverse=True):
        weights = _fit(chosen["train"], target, len(classes), decay, config.iterations)
        judge = "dev" if data["dev"].keys else "train"
        score = _accuracy(_predict(chosen[judge], weights, classes), data[judge].labels) or 0.0
        if best is None or score > best[0]:
            best = (score, decay, weights)
    assert best is not None
    commonest = min(Counter(train.labels).items(), key=lambda item: (-item[1], item[0]))[0]
    predicted = {s: _predict(chosen[s], best[2], classes) for s in SPLITS}
    accuracy = {s: _accuracy(predicted[s], data[s].labels) for s in SPLITS}
    majority = {s: _accuracy([commonest] * len(data[s].keys), data[s].labels) for s in SPLITS}
    rows = {s: len(data[s].keys) for s in SPLITS}
    lines = [
        {"id": key, "split": s, "predicted": guess, "gold": gold}
        for s in ("dev", "test")
        for key, guess, gold in zip(data[s].keys, predicted[s], data[s].labels, strict=True)
    ]
    run = Run(
        model="probe",
        config=asdict(config) | {"decays": list(config.decays)},
        metrics={"accuracy": dict(accuracy), "majority": dict(majority), "rows": dict(rows), "decay": best[1],
                 "classes": list(classes)},
        weights={"weight": best[2].numpy(), "mean": mean, "spread": spread},
        predictions=lines,
        seed=config.seed,
        reads=(config.feature, config.label),
        started=started,
    )  # fmt: skip
    return ProbeReport(config, accuracy, majority, rows, write_run(version, run))


def _read(version: Version, config: ProbeConfig, split: str) -> _Data:
    keys: list[str] = []
    labels: list[str] = []
    features: list[np.ndarray] = []
    fields = [config.feature, config.label]
    with Loader(
        version, fields, rows=config.rows, split=split, batch_size=256, seed=config.seed, collate=list
    ) as loader:
        for batch in loader:
            for sample in batch:
                label = _label(sample[config.label], config.pattern)
                if label:
                    keys.append(sample["key"])
                    labels.append(label)
                    features.append(np.asarray(sample[config.feature], np.float32))
    return _Data(keys, np.stack(features) if features else np.zeros((0, 1), np.float32), labels)


def _label(value: Any, pattern: str) -> str:
    if isinstance(value, list):
        value = value[0] if value else None
    text = "" if value is None else str(value)
    if not pattern:
        return text
    found = re.search(pattern, text)
    return found[1] if found else ""


def _fit(features: Any, target: Any, classes: int, decay: float, iterations: int) -> Any:
    """float32 (channels + 1, classes): the last row is the bias, which does not decay."""
    import torch

    weights = torch.zeros(features.shape[1] + 1, classes, requires_grad=True)
    search = torch.optim.LBFGS([weights], max_iter=iterations, line_search_fn="strong_wolfe")

    def loss() -> Any:
        search.zero_grad()
        value = torch.nn.functional.cross_entropy(_logits(features, weights), target)
        value = value + decay * weights[:-1].square().sum() / 2
        value.backward()
        return value

    search.step(loss)
    return weights.detach()


def _logits(features: Any, weights: Any) -> Any:
    return features @ weights[:-1] + weights[-1]


def _predict(features: Any, weights: Any, classes: list[str]) -> list[str]:
    if not len(features):
        return []
    return [classes[i] for i in _logits(features, weights).argmax(1).tolist()]


def _accuracy(predicted: list[str], gold: list[str]) -> float | None:
    return sum(p == g for p, g in zip(predicted, gold, strict=True)) / len(gold) if gold else None
