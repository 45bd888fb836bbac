"""Karpathy's caption files (``dataset_flickr8k.json``, ``dataset_flickr30k.json``, ``dataset_coco.json``).

``{"images": [{"filename", "split", "sentences": [{"raw"}], "cocoid"}], "dataset"}``, where ``val`` is dev and
``restval`` (the part of COCO's val that is in no split) is train. Read one image at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from diptych.sources.json_stream import stream_arrays
from diptych.sources.malformed import Malformed
from diptych.sources.tables import extra_json

__all__ = ["KarpathyImage", "karpathy_images"]

_SPLITS = {"train": "train", "restval": "train", "val": "dev", "dev": "dev", "test": "test"}


@dataclass(frozen=True)
class KarpathyImage:
    """One image: its file, its split (train, dev or test), its captions, its COCO id (empty elsewhere)."""

    filename: str
    split: str
    sentences: tuple[str, ...]
    cocoid: str


def karpathy_images(path: Path, malformed: Malformed) -> Iterator[KarpathyImage]:
    """The images of a file, in order; entries of another shape go to ``malformed``."""
    for _, index, item in stream_arrays(path, frozenset({"images"})):
        raw = item if isinstance(item, dict) else {}
        name, split, found = raw.get("filename"), raw.get("split"), raw.get("sentences", [])
        texts = [s.get("raw") for s in found if isinstance(s, dict)] if isinstance(found, list) else [None]
        lines = tuple(" ".join(text.split()) for text in texts if isinstance(text, str))
        known = _SPLITS.get(split) if isinstance(split, str) else None
        if not isinstance(name, str) or known is None or len(lines) != len(texts):
            expected = "an object with 'filename', 'split' and 'sentences' with 'raw'"
            malformed.add(path, f"images[{index}]", expected, extra_json(raw) if raw else item)
            continue
        number = raw.get("cocoid")
        yield KarpathyImage(name, known, lines, "" if number is None else str(number))
