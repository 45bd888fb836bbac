"""The SVM baseline of Table 3: two linear multiclass SVMs on the article embeddings of the frozen autoencoder (G8).

Crammer and Singer's hinge loss on standardised embeddings; the weight decay is the best of a grid by accuracy in
five-fold cross-validation on the training pairs (footnote 9).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diptych.exceptions import MissingExtra, UsageError
from diptych.models.gap.batch import GapBatch

__all__ = ["DECAYS", "LinearHeads", "best_svm"]

DECAYS = tuple(10.0**power for power in range(-6, 2))
"""lambda of mean hinge + lambda / 2 |w|^2."""
_FOLDS = 5
_STEPS = 2000


class LinearHeads(nn.Module):
    """Scores of CMI and SC from standardised article embeddings; the weights are set, not trained by gradients."""

    mean_A: Tensor
    scale_A: Tensor
    cmi_CA: Tensor
    sc_CA: Tensor
    biases_2C: Tensor

    def __init__(self, article: int, levels: tuple[int, int]) -> None:
        super().__init__()
        for name, shape in (("mean_A", (article,)), ("cmi_CA", (levels[0], article)), ("sc_CA", (levels[1], article))):
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("scale_A", torch.ones(article))
        self.register_buffer("biases_2C", torch.zeros(2, max(levels)))

    def forward(self, article_BA: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, levels) of CMI and of SC."""
        x = (article_BA.float() - self.mean_A) / self.scale_A
        cmi, sc = self.biases_2C
        return x @ self.cmi_CA.T + cmi[: len(self.cmi_CA)], x @ self.sc_CA.T + sc[: len(self.sc_CA)]

    def fit(self, encoder: nn.Module, batches: Iterable[GapBatch]) -> dict[str, float]:
        """Set the weights from labelled pairs; the weight decay chosen for each."""
        rows, labels = [], []
        for batch in batches:
            assert batch.cmi_B is not None and batch.sc_B is not None
            rows.append(encoder(batch).float().cpu().numpy())
            labels.append(np.stack([batch.cmi_B.cpu().numpy(), batch.sc_B.cpu().numpy()]))
        if not rows:
            raise UsageError("the baseline svm needs labelled pairs in train; there is none")
        x_NA, y_2N = np.concatenate(rows).astype(np.float64), np.concatenate(labels, 1)
        mean, scale = x_NA.mean(0), x_NA.std(0)
        scale[scale < 1e-8] = 1.0
        self.mean_A.copy_(torch.from_numpy(mean))
        self.scale_A.copy_(torch.from_numpy(scale))
        chosen = {}
        for number, (name, target_CA) in enumerate((("cmi", self.cmi_CA), ("sc", self.sc_CA))):
            known = y_2N[number] >= 0
            weights, biases, chosen[name] = best_svm((x_NA[known] - mean) / scale, y_2N[number][known], len(target_CA))
            target_CA.copy_(torch.from_numpy(weights))
            self.biases_2C[number, : len(biases)] = torch.from_numpy(biases).to(self.biases_2C)
        return chosen


def best_svm(x_NA: np.ndarray, y_N: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Weights (levels, A), biases (levels,) and the weight decay that cross-validation chose; equal ones: the largest.

    A level that no pair has is never predicted; with one level alone it always is.
    """
    weights, biases = np.zeros((levels, x_NA.shape[1])), np.full(levels, -1e9)
    found = np.unique(y_N)
    if len(found) < 2:
        biases[found] = 0.0
        return weights, biases, DECAYS[-1]
    folds = np.random.default_rng(0).permutation(len(y_N)) % min(_FOLDS, len(y_N))
    scores = {decay: np.mean([_fold(x_NA, y_N, folds == f, decay) for f in np.unique(folds)]) for decay in DECAYS}
    decay = max(DECAYS, key=lambda d: (scores[d], d))
    machine = _fitted(x_NA, y_N, decay)
    if len(found) == 2:  # one row of weights tells two classes apart
        weights[found[1]], biases[found[1]], biases[found[0]] = machine.coef_[0], machine.intercept_[0], 0.0
    else:
        weights[machine.classes_], biases[machine.classes_] = machine.coef_, machine.intercept_
    return weights, biases, decay


def _fold(x_NA: np.ndarray, y_N: np.ndarray, held_N: np.ndarray, decay: float) -> float:
    """Accuracy on the held-out rows."""
    if len(np.unique(y_N[~held_N])) < 2:
        return float((y_N[held_N] == y_N[~held_N][0]).mean())
    return float((_fitted(x_NA[~held_N], y_N[~held_N], decay).predict(x_NA[held_N]) == y_N[held_N]).mean())


def _fitted(x_NA: np.ndarray, y_N: np.ndarray, decay: float) -> Any:
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.svm import LinearSVC
    except ImportError:
        raise MissingExtra("scikit-learn", "train") from None
    import warnings

    machine = LinearSVC(C=1 / (decay * len(y_N)), multi_class="crammer_singer", random_state=0, max_iter=_STEPS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # at the smallest decays it ends after so many steps
        return machine.fit(x_NA, y_N)
