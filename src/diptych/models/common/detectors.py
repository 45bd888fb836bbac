"""What a detector is here, and how it finds regions: one driver for every network.

A network turns a picture into its input and inputs of one size into scored proposals (:class:`Network`). The driver
sees each picture alone on a processor, elsewhere only with others of the same padded size, because padding changes
what lies beside it; selects regions as the papers do; and gives boxes back in the picture's own pixels, each with the
feature it was classified by.

A detector is named in ``detector_list.py``. Its weights are a torch state dict, a model-zoo pickle of arrays or
safetensors (:mod:`~diptych.models.common.detector_file`).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from diptych.models.common.alone import is_processor, side_by_side
from diptych.models.common.detector_list import DETECTORS, Sizes
from diptych.models.common.precision import Precision, compile_network, inference, placed, to_device
from diptych.models.common.selection import Selection, select, select_there

__all__ = ["Detector", "Found", "Input", "Loaded", "Network", "Scored", "finite_pictures", "load_detector"]


AT_ONCE = 8
"""Pictures in one forward pass, or a quarter of what a stage hands over, so that those of one padded size fill it."""


_FEW_CLASSES = 40
"""Up to so many the processor chooses sooner than a device that it must wait for. Fixed for a network, so that a
picture's regions do not depend on its neighbours.
"""


@dataclass(frozen=True)
class Found:
    """Regions of one picture, best first: boxes (K, 4) xyxy in its pixels, labels, scores, features (K, C)."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    features: np.ndarray
    finite: bool
    """False when the network gave NaN or infinity anywhere; the regions are then worth nothing."""
    attributes: np.ndarray | None = None
    """(K,) the best attribute of each region; None without attribute head."""
    attribute_scores: np.ndarray | None = None


@dataclass(frozen=True)
class Input:
    """A picture as a network takes it: float32 (3, H, W), of which ``size`` (h, w) is picture and the rest padding."""

    pixels: Tensor
    size: tuple[int, int]


@dataclass(frozen=True)
class Scored:
    """What a network says about the proposals of one picture; the background is left out.

    ``boxes`` (P, C, 4), or (P, 1, 4) for all classes, in pixels of the input and clipped to the picture; ``scores``
    (P, C); ``features`` (P, F); ``attributes`` (P, A) probabilities, None without attribute head. All float32.
    """

    boxes: Tensor
    scores: Tensor
    features: Tensor
    attributes: Tensor | None = None
    finite: bool = True
    """False when a map of the picture holds NaN or infinity: its proposals may all have been dropped for that."""


class Network(Protocol):
    """What the driver asks of a network, an ``nn.Module`` in eval mode."""

    def fits(self, width: int, height: int) -> bool:
        """Whether a picture still has a pixel on its shorter side when resized for the network."""
        ...

    def prepare(self, picture: np.ndarray) -> Input:
        """Of a uint8 RGB picture (H, W, 3), on the CPU."""
        ...

    def score(self, images_nchw: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Scored]:
        """Of inputs stacked to one tensor on the network's device."""
        ...


@dataclass(frozen=True)
class Loaded:
    """A network with the names of its classes and attributes (none: it has no attribute head)."""

    network: nn.Module
    names: tuple[str, ...]
    """By label; ``names[0]`` is the background, which no region has."""
    attributes: tuple[str, ...] = ()


def load_detector(name: str, weights: Path | int, sizes: Sizes | None = None, lists: Sequence[Path] = ()) -> Loaded:
    """The detector of that name on the CPU, from a file or a seed; ``lists`` are files of names of its classes."""
    entry = DETECTORS[name]
    module, _, function = entry.load.partition(":")
    return getattr(importlib.import_module(module), function)(weights, sizes or entry.sizes, lists)


def finite_pictures(maps: Sequence[Tensor]) -> list[bool]:
    """Of each picture whether all its maps (N, C, h, w) are finite."""
    return torch.stack([torch.isfinite(m).flatten(1).all(dim=1) for m in maps]).all(dim=0).tolist()


class Detector:
    """Finds regions in pictures with a network."""

    def __init__(
        self,
        loaded: Loaded,
        selection: Selection,
        device: str = "cpu",
        precision: Precision = "float32",
        *,
        compiled: bool = False,
    ) -> None:
        self.module = placed(loaded.network, device, precision)
        self._compiled = compiled
        if compiled:  # the part whose work does not depend on the number of boxes
            compile_network(next(m for name, m in self.module.named_modules() if name.endswith("backbone")))
        self.network: Network = self.module  # type: ignore[assignment]  # an nn.Module with the two methods
        self.names, self.attributes = loaded.names, loaded.attributes
        self.selection = selection
        self.device = device
        self.precision: Precision = precision

    def __call__(self, pictures: Sequence[np.ndarray]) -> list[Found]:
        """Regions of each uint8 RGB picture (H, W, 3), in their order."""
        return self.find([self.network.prepare(p) for p in pictures], [p.shape[:2] for p in pictures])

    def find(self, ready: Sequence[Input], originals: Sequence[tuple[int, ...]]) -> list[Found]:
        """The same for pictures of (height, width) that ``network.prepare`` made; no batch mixes padded sizes."""

        def look(rows: Sequence[int]) -> list[Found]:
            with inference(self.device, self.precision):
                images = to_device(torch.stack([ready[n].pixels for n in rows]), self.device)
                scored = self.network.score(images, [ready[n].size for n in rows])
            with torch.inference_mode():
                return self._regions(scored, [ready[n].size for n in rows], [originals[n] for n in rows])

        if is_processor(self.device):
            rows = [[n] for n in range(len(ready))]
            return [found for [found] in side_by_side(look, rows, most=1 if self._compiled else None)]
        groups: dict[tuple[int, ...], list[int]] = {}
        for n, made in enumerate(ready):
            groups.setdefault(tuple(made.pixels.shape), []).append(n)
        most = max(AT_ONCE, len(ready) // 4)
        chunks = [rows[n : n + most] for rows in groups.values() for n in range(0, len(rows), most)]
        found = {n: regions for rows in chunks for n, regions in zip(rows, look(rows), strict=True)}
        return [found[n] for n in range(len(ready))]

    def _regions(
        self, scored: Sequence[Scored], sizes: Sequence[Sequence[int]], originals: Sequence[Sequence[int]]
    ) -> list[Found]:
        """Regions of the pictures of one forward pass; what is chosen leaves the device once for all of them."""
        boxes, scores = torch.cat([s.boxes for s in scored]), torch.cat([s.scores for s in scored])
        features = torch.cat([s.features for s in scored])
        shares = [s.attributes for s in scored if s.attributes is not None]
        attributes = torch.cat(shares) if shares else None
        given = [boxes, scores, features, *([] if attributes is None else [attributes])]
        fine_P = torch.stack([torch.isfinite(t).flatten(1).all(dim=1) for t in given]).all(dim=0).cpu().numpy()
        counts = [len(s.scores) for s in scored]
        ends = np.cumsum(counts)
        if scores.shape[1] <= _FEW_CLASSES:
            parts = (np.split(t.cpu().numpy(), ends[:-1]) for t in (boxes, scores))
            chosen = [select(b, s, self.selection) for b, s in zip(*parts, strict=True)]
        else:
            chosen = [select_there(s.boxes, s.scores, self.selection) for s in scored]
        rows = np.concatenate([one.rows + end - n for one, n, end in zip(chosen, counts, ends, strict=True)])
        taken = torch.from_numpy(rows).to(features.device)
        values = [features[taken].cpu().numpy()]
        if attributes is not None:
            best = attributes[taken].max(dim=1)
            values += [best.indices.cpu().numpy(), best.values.cpu().numpy()]
        last = np.cumsum([len(one.rows) for one in chosen])[:-1]
        each = zip(*(np.split(v, last) for v in values), strict=True)
        found = []
        for n, (one, fine, mine) in enumerate(zip(chosen, np.split(fine_P, ends[:-1]), each, strict=True)):
            high, wide = (o / i for o, i in zip(originals[n], sizes[n], strict=True))
            places = one.boxes * np.array([wide, high, wide, high], np.float32)
            finite = scored[n].finite and bool(fine.all())
            found.append(Found(places, one.classes + 1, one.scores, mine[0], finite, *mine[1:]))
        return found
