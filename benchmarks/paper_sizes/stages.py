"""The stages that models read, under their own names, with random values of the papers' shapes in place of networks.

What a step and a reader cost depends on shapes and numbers of bytes, not on values.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from diptych.models.common.text_encoder import word_spans
from diptych.stage import Batch, Output, Stage, Tensor
from diptych.stages.bert import Bert
from diptych.stages.entities import COLUMNS
from diptych.stages.fc7 import Fc7
from diptych.stages.grid import Grid
from diptych.stages.inception import Inception
from diptych.stages.ocr import Ocr
from diptych.stages.regions import Regions
from diptych.stages.votes import PairVotes
from diptych.stages.votes_best_image import BestImage

__all__ = [
    "Best",
    "Entities",
    "Labels",
    "PaperBert",
    "PaperFc7",
    "PaperGrid",
    "PaperInception",
    "PaperOcr",
    "PaperRegions",
]

SIDE = (480, 360)
OBJECTS = 36
"""AnANet's regions an image; HCSCL's paper counts 7.25 objects an image."""


def draw(key: str) -> np.random.Generator:
    """Numbers that only the row's key decides."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big"))


def features(key: str, *shape: int) -> np.ndarray:
    """float16, as after a ReLU."""
    return np.abs(draw(key).standard_normal(shape, np.float32)).astype(np.float16)


def boxes(key: str, count: int) -> np.ndarray:
    """xyxy in the picture."""
    corners = draw(key).uniform(0, 1, (count, 2, 2)).astype(np.float32) * np.array(SIDE, np.float32)
    return np.concatenate([corners.min(1), corners.max(1) + 1], 1)


class _Plain(Stage):
    """One row of random values a row."""

    inputs = ("images.bytes",)
    batch_size = 64

    @abstractmethod
    def values(self, key: str) -> Mapping[str, Any]:
        """The row's columns and tensors."""

    def process(self, batch: Batch) -> Output:
        """As the key decides."""
        out = batch.output()
        for row, key in enumerate(batch.keys):
            out.set(row, **self.values(key))
        return out


class PaperGrid(_Plain):
    """VGG19's last pooling: 49 x 512."""

    name, version, key = "grid", 1, "image"
    outputs = Grid.outputs
    tensors: ClassVar = {"grid": Tensor("float16", (49, 512))}

    def values(self, key: str) -> Mapping[str, Any]:
        """A grid."""
        return {"norm": 1.0, "grid": features(key, 49, 512)}


class PaperInception(_Plain):
    """InceptionV3's pooled vector: 2048."""

    name, version, key = "inception", 1, "image"
    outputs = Inception.outputs
    tensors = Inception.tensors

    def values(self, key: str) -> Mapping[str, Any]:
        """A vector."""
        return {"norm": 1.0, "pooled": features(key, 2048)}


class PaperRegions(_Plain):
    """36 objects of 2048 numbers."""

    name, version, key = "regions", 1, "image"
    outputs = Regions.outputs
    tensors: ClassVar = {"features": Tensor("float16", (None, 2048))}

    def values(self, key: str) -> Mapping[str, Any]:
        """Objects, the best first."""
        scores = np.sort(draw(key).uniform(0.55, 1, OBJECTS).astype(np.float32))[::-1]
        named = draw(key).integers(0, 400, OBJECTS)
        return {
            "width": SIDE[0], "height": SIDE[1], "boxes": boxes(key, OBJECTS).tolist(),
            "classes": named.tolist(), "class_names": [f"object {n}" for n in named], "scores": scores.tolist(),
            "attributes": [f"attribute {n}" for n in named], "attribute_scores": scores.tolist(),
            "features": features(key, OBJECTS, 2048),
        }  # fmt: skip


class PaperFc7(_Plain):
    """The whole picture and 19 proposals of 4096 numbers."""

    name, version, key = "fc7", 1, "pair"
    outputs = Fc7.outputs
    tensors = Fc7.tensors

    def values(self, key: str) -> Mapping[str, Any]:
        """The first box is the picture."""
        found = [[0.0, 0.0, *map(float, SIDE)], *boxes(key, 19).tolist()]
        kinds = ["picture", *["proposal"] * 19]
        return {"width": SIDE[0], "height": SIDE[1], "boxes": found, "kinds": kinds, "names": [""] * 20,
                "features": features(key, 20, 4096)}  # fmt: skip


class PaperOcr(_Plain):
    """Five words in every third picture (31 % of the released posts have any)."""

    name, version, key = "ocr", 1, "image"
    outputs = Ocr.outputs

    def values(self, key: str) -> Mapping[str, Any]:
        """One line or none."""
        text = " ".join(f"word{n}" for n in draw(key).integers(0, 500, 5)) if int(key[:4], 16) % 3 == 0 else ""
        line = {"text": text, "confidence": 0.9, "polygon": [0.0] * 8}
        known = {"lines": [line] if text else [], "text": text}
        return {f.name: known.get(f.name) for f in self.outputs}


class Entities(_Plain):
    """Five names."""

    name, version, key = "entities", 1, "image"
    outputs = COLUMNS

    def values(self, key: str) -> Mapping[str, Any]:
        """Names by score."""
        named = [f"word{n}" for n in draw(key).integers(0, 500, 5)]
        return {"names": named, "scores": [0.9] * 5, "roots": [""] * 5}


class PaperBert(Bert):
    """768 numbers a word."""

    inputs = ("sentence.text",)

    def tensor_schema(self) -> Mapping[str, Tensor]:
        """As BERT-base."""
        return {"tokens": Tensor("float16", (None, 768)), "sentence": Tensor("float16", (768,))}

    def weight_names(self) -> tuple[str, ...]:
        """None."""
        return ()

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def process(self, batch: Batch) -> Output:
        """A vector for each word."""
        out = batch.output()
        for row, text in enumerate(batch["sentence.text"]):
            words = [text[a:b] for a, b in word_spans(text)]
            made = features(text, len(words) + 1, 768)
            out.set(row, words=words, pieces=len(words), tokens=made[1:], sentence=made[0])
        return out


class Labels(PairVotes):
    """Three people were asked of every pair."""

    inputs = ("pairs.caption",)

    def setup(self, device: str) -> None:
        """No file of votes."""

    def process(self, batch: Batch) -> Output:
        """Every label, drawn."""
        out = batch.output()
        for row, key in enumerate(batch.keys):
            chance = draw(key)
            relation = ("irrelevant", "implicit", "explicit")[chance.integers(3)]
            cmi, sc = float(chance.integers(5)) / 4, float(chance.integers(5)) / 2 - 1
            out.set(row, results=[], relation=relation, cmi=cmi, sc=sc, regions=[])
        return out


class Best(BestImage):
    """The first of the candidates won."""

    def process(self, batch: Batch) -> Output:
        """As without votes, and then the first."""
        out = super().process(batch)
        for row, images in enumerate(out.values["images"]):
            out.values["choice"][row] = 0 if images else None
        return out
