"""An ESIM checkpoint: one safetensors file whose header holds the settings and the alphabet; and scoring with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from diptych.exceptions import UsageError
from diptych.models.common.alone import is_processor, side_by_side
from diptych.models.esim.model import Esim, EsimConfig, PairBatch
from diptych.models.esim.texts import TextReader
from diptych.stages.relevance_scorers import TextPairs, says_something

__all__ = ["EsimScorer", "header", "load_scorer", "save"]

_FORMAT = "diptych-esim-1"
_BATCH = 128


class EsimScorer:
    """The probability that two texts say the same."""

    def __init__(self, model: Esim, reader: TextReader) -> None:
        self.model, self.reader = model.eval(), reader

    def probabilities(self, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
        """Of each pair, float64 (pairs,); on a processor each is seen alone, else with others of about its length."""

        def seen(batch: PairBatch) -> np.ndarray:
            with torch.inference_mode():
                return self.model(batch.to(self.reader.device)).double().softmax(1)[:, 1].cpu().numpy()

        processor = is_processor(self.reader.device)
        order = sorted(range(len(first)), key=lambda n: (len(first[n]), len(second[n]), n))
        found = np.zeros(len(first))
        for at in range(0, len(order), _BATCH):
            rows = order[at : at + _BATCH]
            groups = [[n] for n in rows] if processor else [rows]
            batches = [self.reader.batch([first[n] for n in g], [second[n] for n in g]) for g in groups]
            found[rows] = np.concatenate(side_by_side(seen, batches) if processor else [seen(b) for b in batches])
        return found

    def scores(self, pairs: TextPairs) -> np.ndarray:
        """Probabilities; a pair with a text without a letter or digit scores 0."""
        told = np.array([says_something(a) and says_something(b) for a, b in pairs], bool)
        return np.where(told, self.probabilities([a for a, _ in pairs], [b for _, b in pairs]), 0.0)


def save(model: Esim, config: EsimConfig, alphabet: str, languages: Sequence[str], path: Path) -> None:
    """Write a checkpoint; ``languages`` are those of the pairs it was trained on."""
    from safetensors.torch import save_file

    about = {
        "format": _FORMAT,
        "config": json.dumps(asdict(config)),
        "alphabet": alphabet,
        "languages": ",".join(languages),
    }
    save_file({k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}, path, about)


def load_scorer(path: Path | str, device: str = "cpu") -> tuple[EsimScorer, tuple[str, ...]]:
    """The scorer of a checkpoint and its languages; :class:`UsageError` when the file is none."""
    from safetensors.torch import load_file

    config, alphabet, languages = header(path)
    reader = TextReader(config, alphabet, device)
    model = Esim(config, characters=reader.characters, inputs=reader.inputs)
    try:
        model.load_state_dict(load_file(path))
    except RuntimeError as error:
        raise UsageError(f"{path} is no ESIM checkpoint of Diptych: {error}") from error
    return EsimScorer(model.to(device), reader), languages


def header(path: Path | str) -> tuple[EsimConfig, str, tuple[str, ...]]:
    """Settings, alphabet and languages of a checkpoint, without reading its weights."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            about = file.metadata() or {}
        if about.get("format") != _FORMAT:
            raise ValueError(f"its header says {about.get('format')!r}, expected {_FORMAT!r}")
        languages = tuple(name for name in about["languages"].split(",") if name)
        return EsimConfig(**json.loads(about["config"])), about["alphabet"], languages
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is no ESIM checkpoint of Diptych: {error}") from error
