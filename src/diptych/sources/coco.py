"""COCO captions: one record an image, its text the captions, its annotated boxes kept beside it.

Reads ``captions_*.json`` and, when given, ``instances_*.json`` element by element, so that train2017 (118,287
images, 860,001 boxes) fits any machine. A picture's ``extra`` is JSON: ``licence``, ``width``, ``height``,
``boxes`` (xyxy, pixels), ``classes`` (names), ``crowd`` (flags), ``annotations`` (ids). Karpathy's
``dataset_coco.json`` gives official splits by image id. With ``per: caption`` each caption is a record of its own
(``<image id>#<number>``); with ``per: subset`` a record's text is a random non-empty subset of its captions, drawn by
``seed`` and image id.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from diptych.exceptions import RecipeError, SourceError
from diptych.records import Document, Found, Picture
from diptych.sources.base import Missed, Source, SourceConfig
from diptych.sources.fetch import Fetcher
from diptych.sources.json_stream import stream_arrays
from diptych.sources.karpathy import karpathy_images
from diptych.sources.malformed import Malformed
from diptych.sources.official import SplitName
from diptych.sources.spool import Spool
from diptych.sources.urls import file_url

__all__ = ["Coco", "CocoConfig"]

_FAR = 1e9
"""Pixels: no box lies there, nor at infinity."""


class CocoConfig(SourceConfig):
    """Settings of a COCO source; paths are relative to the recipe."""

    kind: Literal["coco"] = "coco"  # pyright: ignore[reportIncompatibleVariableOverride]
    captions: str = Field(description="captions_*.json")
    instances: str = Field(default="", description="instances_*.json with boxes; none when empty")
    images: str = Field(description="The folder with the image files")
    split: SplitName = Field(default="", description="The official split of all these records; none when empty")
    karpathy: str = Field(default="", description="dataset_coco.json: its splits by image id win over 'split'")
    per: Literal["image", "caption", "subset"] = Field(
        default="image", description="A record an image with all captions, one a caption, or an image with some of them"
    )
    seed: int = Field(default=0, description="Of per: subset")
    language: str = Field(default="en", max_length=8, description="ISO 639-1 of all texts")
    limit: int = Field(default=0, ge=0, description="Only the first images of the file; 0 takes all")
    max_malformed: int = Field(default=100, ge=0, description="More malformed entries than this end the crawl")


class Coco(Source):
    """Images with captions in the COCO format."""

    Config = CocoConfig
    config: CocoConfig

    def __init__(self, config: SourceConfig, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.malformed: list[str] = []
        """Entries that were left out: file, array, index and what is wrong."""

    def files(self) -> Path:
        """``file:`` addresses are relative to the image folder."""
        return self.path(self.config.images, "images")

    def check(self) -> None:
        """Files and folder exist, and the captions file begins as one."""
        if not self.files().is_dir():
            raise RecipeError(f"source {self.name!r}, images: expected a folder, found a file: {self.files()}")
        for key in ("captions", "instances", "karpathy"):
            value = getattr(self.config, key)
            if value and not self.path(value, key).is_file():
                raise RecipeError(f"source {self.name!r}, {key}: expected a file, found a folder: {value}")
        captions = self.path(self.config.captions, "captions")
        first = next(stream_arrays(captions, frozenset({"annotations", "images"})), None)
        if first is None:
            raise SourceError(
                f"source {self.name!r}: {captions} has no 'images' and 'annotations'; is it a captions file?"
            )

    def crawl(self, fetcher: Fetcher) -> Iterator[Found | Missed]:
        """One record an image, in the order of the captions file; malformed entries are counted and named."""
        malformed = Malformed(self.name, self.config.max_malformed)
        self.malformed = malformed.lines
        with Spool() as captions, Spool() as boxes, Spool() as images, Spool() as splits:
            licences: dict[Any, str] = {}
            classes: dict[Any, str] = {}
            captions.fill(self._captions(images, licences, malformed))
            if self.config.instances:
                boxes.fill(self._boxes(classes, malformed))
            if self.config.karpathy:
                listed = karpathy_images(self.path(self.config.karpathy, "karpathy"), malformed)
                splits.fill((item.cocoid, item.split) for item in listed)
            for image, lines in self._images(captions, images, malformed):
                key = str(image["id"])
                extra = _extra(image, boxes.get(key), licences, classes, bool(self.config.instances))
                split = next(iter(splits.get(key)), self.config.split)
                yield from self._records(image, lines, extra, split)

    def _captions(self, images: Spool, licences: dict[Any, str], malformed: Malformed) -> Iterator[tuple[str, str]]:
        path = self.path(self.config.captions, "captions")
        for key, index, item in stream_arrays(path, frozenset({"images", "annotations", "licenses"})):
            if key == "licenses":
                if isinstance(item, dict) and _is_id(item.get("id")):
                    licences[item["id"]] = str(item.get("name") or item.get("url") or "")
            elif key == "images":
                if _is_image(item):
                    images.fill([("", json.dumps(item))])
                else:
                    malformed.add(path, f"images[{index}]", "an object with 'id' and 'file_name'", item)
            elif isinstance(item, dict) and isinstance(item.get("caption"), str) and _is_id(item.get("image_id")):
                yield str(item["image_id"]), " ".join(item["caption"].split())
            else:
                malformed.add(path, f"annotations[{index}]", "an object with 'image_id' and 'caption'", item)

    def _boxes(self, classes: dict[Any, str], malformed: Malformed) -> Iterator[tuple[str, str]]:
        path = self.path(self.config.instances, "instances")
        for key, index, item in stream_arrays(path, frozenset({"annotations", "categories"})):
            if key == "categories":
                if isinstance(item, dict) and _is_id(item.get("id")):
                    classes[item["id"]] = str(item.get("name", ""))
            elif isinstance(item, dict) and _is_id(item.get("image_id")) and _is_box(item.get("bbox")):
                category = item.get("category_id")
                if category is not None and not _is_id(category):
                    malformed.add(path, f"annotations[{index}]", "a number or text in 'category_id'", category)
                    continue
                kept = [item["bbox"], category, int(bool(item.get("iscrowd"))), item.get("id")]
                yield str(item["image_id"]), json.dumps(kept)
            else:
                malformed.add(
                    path, f"annotations[{index}]", "an object with 'image_id' and 'bbox' [x, y, width, height]", item
                )

    def _images(
        self, captions: Spool, images: Spool, malformed: Malformed
    ) -> Iterator[tuple[dict[str, Any], list[str]]]:
        """Each image of the file once, with its captions."""
        seen: set[str] = set()
        for number, text in enumerate(images.values("")):
            if self.config.limit and number >= self.config.limit:
                return
            image = json.loads(text)
            key = str(image["id"])
            if key in seen:
                malformed.add(self.path(self.config.captions, "captions"), f"image {key}", "each image id once", image)
                continue
            seen.add(key)
            yield image, captions.get(key)

    def _records(self, image: dict[str, Any], lines: list[str], extra: str, split: str) -> Iterator[Found]:
        """The records of an image: one, or one a caption."""
        key, url = str(image["id"]), file_url(str(image["file_name"]))
        if self.config.per == "subset" and lines:
            draw = random.Random(f"{self.config.seed} {key}")
            chosen = sorted(draw.sample(range(len(lines)), draw.randint(1, len(lines))))
            lines = [lines[n] for n in chosen]
        several = self.config.per == "caption"
        for number, text in enumerate(lines if several else ["\n".join(lines)]):
            document = Document(text=text, language=self.config.language)
            name = f"{key}#{number}" if several else key
            yield Found(name, url, document, (Picture(url, text, extra=extra),), split)


def _is_image(item: Any) -> bool:
    named = isinstance(item, dict) and isinstance(item.get("file_name"), str) and bool(item["file_name"])
    return named and _is_id(item.get("id"))


def _is_id(value: Any) -> bool:
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < _FAR for n in box)
        and box[2] >= 0
        and box[3] >= 0
    )


def _extra(
    image: dict[str, Any], boxes: list[str], licences: dict[Any, str], classes: dict[Any, str], annotated: bool
) -> str:
    extra: dict[str, Any] = {"id": image["id"]}
    for key in ("width", "height", "coco_url", "flickr_url", "date_captured"):
        if image.get(key) is not None:
            extra[key] = image[key]
    if _is_id(image.get("license")) and image["license"] in licences:
        extra["licence"] = licences[image["license"]]
    if annotated:
        items = [json.loads(box) for box in boxes]
        extra["boxes"] = [[round(x, 2), round(y, 2), round(x + w, 2), round(y + h, 2)] for (x, y, w, h), *_ in items]
        extra["classes"] = [classes.get(category, str(category)) for _, category, _, _ in items]
        extra["crowd"] = [crowd for _, _, crowd, _ in items]
        extra["annotations"] = [number for *_, number in items]
    return json.dumps(extra, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
