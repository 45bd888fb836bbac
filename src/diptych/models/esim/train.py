"""Training of ESIM on pairs and its evaluation, beside the cosine of character n-grams on the same pairs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from diptych.exceptions import UsageError
from diptych.models.esim.checkpoint import EsimScorer
from diptych.models.esim.model import Esim, EsimConfig
from diptych.models.esim.pairs import TextPair
from diptych.models.esim.texts import TextReader, alphabet_of
from diptych.stages.relevance_scorers import Ngrams

__all__ = ["Measured", "TrainConfig", "Trained", "best_threshold", "cosines", "measure", "train"]


@dataclass(frozen=True)
class TrainConfig:
    """Adam, batch and clip as in the paper (section 4.1); the epoch with the best dev accuracy is kept."""

    learning_rate: float = 4e-4
    batch: int = 32
    clip: float = 10.0
    epochs: int = 30
    patience: int = 5
    seed: int = 0


@dataclass(frozen=True)
class Measured:
    """Accuracy at ``threshold`` and area under the ROC curve (0.5 is chance; nan when one label is missing)."""

    pairs: int
    accuracy: float
    threshold: float
    auc: float


@dataclass(frozen=True)
class Trained:
    """A model, and what dev said after every epoch."""

    scorer: EsimScorer
    alphabet: str
    epochs: tuple[Measured, ...]
    best: int
    seconds: float


def train(
    pairs: Sequence[TextPair],
    dev: Sequence[TextPair],
    config: EsimConfig | None = None,
    settings: TrainConfig | None = None,
    device: str = "cpu",
    told: Callable[[int, float, Measured], None] = lambda epoch, loss, dev: None,
) -> Trained:
    """The model of the best epoch on ``dev``; the same seed gives the same model on one machine."""
    config, settings, started = config or EsimConfig(), settings or TrainConfig(), time.monotonic()
    if not dev or len({p.same for p in pairs}) < 2:
        raise UsageError(f"training needs pairs of both labels and a dev set, found {len(pairs)} and {len(dev)} pairs")
    torch.manual_seed(settings.seed)
    alphabet = alphabet_of(t for p in pairs for t in (p.first, p.second)) if config.embedding == "characters" else ""
    reader = TextReader(config, alphabet, device)
    model = Esim(config, characters=reader.characters, inputs=reader.inputs).to(device)
    scorer = EsimScorer(model, reader)
    optimiser = torch.optim.Adam(model.parameters(), settings.learning_rate)
    order = np.random.default_rng(settings.seed)
    found: list[Measured] = []
    best, kept = 0, {}
    for epoch in range(settings.epochs):
        losses = [_step(model, reader, optimiser, rows, settings.clip) for rows in _batches(pairs, settings, order)]
        found.append(measure(_scores(scorer, dev), dev))
        told(epoch, float(np.mean(losses)), found[-1])
        if epoch == 0 or found[-1].accuracy > found[best].accuracy:
            best, kept = epoch, {k: v.detach().clone() for k, v in model.state_dict().items()}
        if epoch - best >= settings.patience:
            break
    model.load_state_dict(kept)
    return Trained(scorer, alphabet, tuple(found), best, time.monotonic() - started)


def _batches(pairs: Sequence[TextPair], settings: TrainConfig, order: np.random.Generator) -> list[list[TextPair]]:
    """Shuffled, then sorted by length within each hundred batches, so that a batch has little padding."""
    shuffled = [pairs[n] for n in order.permutation(len(pairs))]
    size, many = settings.batch, 100 * settings.batch
    found = []
    for at in range(0, len(shuffled), many):
        some = sorted(shuffled[at : at + many], key=lambda p: len(p.first) + len(p.second))
        found += [some[n : n + size] for n in range(0, len(some), size)]
    return [found[n] for n in order.permutation(len(found))]


def _step(
    model: Esim, reader: TextReader, optimiser: torch.optim.Optimizer, rows: Sequence[TextPair], clip: float
) -> float:
    batch = reader.batch([p.first for p in rows], [p.second for p in rows], [p.same for p in rows])
    model.train()
    loss = torch.nn.functional.cross_entropy(model(batch), batch.labels)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimiser.step()
    model.eval()
    return float(loss.detach())


def _scores(scorer: EsimScorer, pairs: Sequence[TextPair]) -> np.ndarray:
    return scorer.probabilities([p.first for p in pairs], [p.second for p in pairs])


def cosines(pairs: Sequence[TextPair]) -> np.ndarray:
    """What the scorer ``ngrams`` gives these pairs."""
    ngrams = Ngrams((2, 3))
    return ngrams.scores([(p.first, p.second) for p in pairs])


def best_threshold(scores: np.ndarray, pairs: Sequence[TextPair]) -> float:
    """Where accuracy on these pairs is highest: for scores that are no probabilities."""
    order = np.argsort(scores, kind="stable")
    same = np.array([p.same for p in pairs])[order]
    right = np.concatenate([[same.sum()], same.sum() + np.cumsum(np.where(same, -1, 1))])
    edges = np.concatenate([[-np.inf], scores[order]])  # a pair is the same when its score is above the edge
    return float(edges[int(right.argmax())])


def measure(scores: np.ndarray, pairs: Sequence[TextPair], threshold: float = 0.5) -> Measured:
    """Accuracy of ``score > threshold``, and the share of (same, different) pairs of pairs in the right order."""
    same = np.array([p.same for p in pairs], bool)
    accuracy = float(((scores > threshold) == same).mean()) if len(same) else float("nan")
    ranks = _average_ranks(scores)
    yes, no = int(same.sum()), int((~same).sum())
    auc = float((ranks[same].sum() - yes * (yes + 1) / 2) / (yes * no)) if yes and no else float("nan")
    return Measured(len(pairs), accuracy, threshold, auc)


def _average_ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal scores share the mean of theirs."""
    values, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[place] if len(values) else np.zeros(0)
