"""COCO's files: ``annotations/captions_<split>.json``, ``instances_<split>.json``, ``images/<split>/...``.

One COCO image is one accepted picture of a record; it says ``record``, ``image_key``, ``url``, ``licence`` besides
COCO's own keys. Ids are the source's own where every source is a COCO file; others count from 1 in the order of the
export, beginning above the largest own one. Categories and licences are numbered over the whole version, and every
file has the whole list: an id means the same in each, also in an export of one split. ``instances_*`` holds the boxes
that annotators drew (crowds too), ``regions_*`` those of the stage ``regions`` with their ``score``, both xywh in
pixels of the file as it lies there (EXIF orientation not applied to annotated boxes, applied to regions). Annotated
boxes that are not four numbers are left out and counted. Files are written entry by entry: memory does not grow with
the split, but for ids that were used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeGuard

from diptych.export.picture_names import ending_of
from diptych.export.rows import ExportImage, ExportRecord
from diptych.export.values import split_name
from diptych.imaging import probe

__all__ = ["Coco"]

_LARGEST = 1e9
"""Coordinates beyond this are no pixels of any picture."""
_COUNTED = re.compile(r'\{"id":(?:\d+,"image_id":)?-(\d+)')
"""The start of a spooled entry whose picture has no id of its own; see :meth:`Coco._id`."""


class _Tables:
    """The lists that all files of an export share: names to numbers, from 1 in the order in which they are met."""

    def __init__(self) -> None:
        self.categories: dict[str, dict[str, int]] = {"instances": {}, "regions": {}}
        self.licences: dict[str, int] = {}
        self.left_out = 0
        """Annotated boxes that are not four numbers."""

    def category(self, kind: str, name: str) -> int:
        """The number of a category of annotated boxes, or of regions."""
        return _number(self.categories[kind], name)

    def licence(self, name: str) -> int:
        """The number of a licence."""
        return _number(self.licences, name)

    def meet(self, image: ExportImage) -> None:
        """Number what a picture names that is not written itself."""
        if image.licence:
            self.licence(image.licence)
        for box, name in _named_boxes(image):
            if _is_box(box):
                self.category("instances", name)
        for name in _region_names(image):
            self.category("regions", name)


class Coco:
    """Writes pictures and annotation files of every split, or of one; it is to be given the records of all."""

    def __init__(
        self, folder: Path, about: Mapping[str, Any], *, own_ids: bool, regions: bool, split: str | None = None
    ) -> None:
        self.folder, self._about, self._split = folder, about, split
        self._own_ids, self._regions = own_ids, regions
        self._splits: dict[str, _Split] = {}
        self._tables = _Tables()
        self._used: set[int] = set()
        self._counted = 0

    @property
    def left_out(self) -> int:
        """How many boxes of the sources' metadata were no boxes."""
        return self._tables.left_out

    def add(self, record: ExportRecord) -> bool:
        """The pictures of one record; one without any, or of another split, is not part of a COCO file."""
        split = split_name(record.split)
        if self._split not in (None, record.split):
            for image in record.images:
                self._tables.meet(image)
            return False
        for image in record.images:
            if split not in self._splits:
                self._splits[split] = _Split(self.folder, split, self._regions, self._tables)
            self._splits[split].add(record, image, self._id(image.extra.get("id")))
        return bool(record.images)

    def close(self) -> dict[str, list[str]]:
        """Split to its annotation files, relative to the export's folder."""
        above = max(self._used, default=0)
        return {name: split.close(self._about, above) for name, split in self._splits.items()}

    def _id(self, own: object) -> int:
        """The picture's own id, else a negative one: it becomes -id above the largest own id, known when all came."""
        if self._own_ids and _is_id(own) and own not in self._used:
            self._used.add(own)
            return own
        self._counted += 1
        return -self._counted


class _Split:
    """One split: its pictures, and three annotation files that share images, categories and licences."""

    def __init__(self, folder: Path, name: str, regions: bool, tables: _Tables) -> None:
        self._folder, self._name, self._tables = folder, name, tables
        self._pictures = folder / "images" / name
        self._annotations = folder / "annotations"
        self._pictures.mkdir(parents=True)
        self._annotations.mkdir(exist_ok=True)
        kinds: list[str] = ["captions", "instances", *(["regions"] if regions else [])]
        self._images = self._spool("images")
        self._spools = {kind: self._spool(kind) for kind in kinds}
        self._counts: dict[str, int] = dict.fromkeys(kinds, 0)
        self._first = True

    def _spool(self, kind: str) -> TextIO:
        return (self._annotations / f".{kind}-{self._name}").open("w+", encoding="utf-8")

    def add(self, record: ExportRecord, image: ExportImage, number: int) -> None:
        data = image.read()
        file = f"{image.key}.{ending_of(data)}"
        path = self._pictures / file
        if not path.exists():
            path.write_bytes(data)
        facts = probe(data)
        width, height = facts.width, facts.height
        if facts.orientation >= 5:  # the file lies on its side
            width, height = height, width
        entry: dict[str, Any] = {
            "id": number, "file_name": file, "width": width, "height": height, "record": record.id,
            "image_key": image.key, "url": image.url, "page": record.url, "title": record.document.title,
            "date_captured": image.fetched_at, "language": record.language,
        }  # fmt: skip
        if image.licence:
            entry["license"] = self._tables.licence(image.licence)
            entry["licence"] = image.licence
        entry |= {k: image.extra[k] for k in ("coco_url", "flickr_url", "date_captured") if k in image.extra}
        self._images.write(_entry({k: v for k, v in entry.items() if v != ""}, self._first))
        self._first = False
        for caption in image.captions:
            self._annotate("captions", {"image_id": number, "caption": caption})
        self._boxes(number, image)
        if "regions" in self._spools:
            self._region_boxes(number, image)

    def _boxes(self, number: int, image: ExportImage) -> None:
        """What the source's metadata call ``boxes``; a source that is no COCO file may mean anything by that."""
        if not isinstance(image.extra.get("boxes") or [], list):
            self._tables.left_out += 1
        crowd = _listed(image.extra.get("crowd"))
        for n, (box, name) in enumerate(_named_boxes(image)):
            if not _is_box(box):
                self._tables.left_out += 1
                continue
            entry = self._box("instances", number, box, name)
            self._annotate("instances", entry | {"iscrowd": int(n < len(crowd) and crowd[n] == 1)})

    def _region_boxes(self, number: int, image: ExportImage) -> None:
        stages = image.stages
        boxes, scores = stages.get("regions_boxes"), stages.get("regions_scores") or []
        if boxes is None:
            return
        attributes = stages.get("regions_attributes") or [None] * len(boxes)
        for n, (box, name) in enumerate(zip(boxes, _region_names(image), strict=True)):
            entry = self._box("regions", number, box, name)
            entry["iscrowd"] = 0
            if n < len(scores):
                entry["score"] = round(float(scores[n]), 6)
            if n < len(attributes) and attributes[n]:
                entry["attribute"] = str(attributes[n])
            self._annotate("regions", entry)

    def _box(self, kind: str, number: int, box: Sequence[float], name: str) -> dict[str, Any]:
        left, top, right, bottom = (float(v) for v in box)
        width, height = round(right - left, 3), round(bottom - top, 3)
        return {
            "image_id": number, "category_id": self._tables.category(kind, name), "segmentation": [],
            "bbox": [round(left, 3), round(top, 3), width, height], "area": round(width * height, 3),
        }  # fmt: skip

    def _annotate(self, kind: str, entry: dict[str, Any]) -> None:
        self._counts[kind] += 1
        self._spools[kind].write(_entry({"id": self._counts[kind], **entry}, self._counts[kind] == 1))

    def close(self, about: Mapping[str, Any], above: int) -> list[str]:
        files = []
        licences = [{"id": n, "name": name, "url": ""} for name, n in self._tables.licences.items()]
        for kind, spool in self._spools.items():
            if kind == "instances" and not self._counts[kind]:
                continue
            name = f"annotations/{kind}_{self._name}.json"
            with (self._folder / name).open("w", encoding="utf-8") as out:
                out.write('{"info":' + _dump(about) + ',"licenses":' + _dump(licences) + ',"images":[')
                _copy(self._images, out, above)
                out.write('\n],"annotations":[')
                _copy(spool, out, above)
                out.write("\n]")
                if kind != "captions":
                    known = self._tables.categories[kind]
                    categories = [{"id": n, "name": label, "supercategory": ""} for label, n in known.items()]
                    out.write(',"categories":' + _dump(categories))
                out.write("}\n")
            files.append(name)
        for spool in (self._images, *self._spools.values()):
            spool.close()
            Path(spool.name).unlink()
        return files


def _named_boxes(image: ExportImage) -> list[tuple[Any, str]]:
    """What the source's metadata call ``boxes``, each with its class's name, empty without one."""
    names = _listed(image.extra.get("classes"))
    boxes = _listed(image.extra.get("boxes"))
    return [(box, str(names[n]) if n < len(names) else "") for n, box in enumerate(boxes)]


def _region_names(image: ExportImage) -> list[str]:
    """The class of each region: its name, its number where the stage has no names, empty without either."""
    stages = image.stages
    boxes = stages.get("regions_boxes")
    names = stages.get("regions_class_names") or [str(c) for c in stages.get("regions_classes") or []]
    return [] if boxes is None else [str(names[n]) if n < len(names) else "" for n in range(len(boxes))]


def _copy(spool: TextIO, out: TextIO, above: int) -> None:
    """The spooled entries, one a line, with the final ids of pictures."""
    spool.seek(0)
    for line in spool:
        found = _COUNTED.match(line)
        out.write(
            line if found is None else f"{line[: found.start(1) - 1]}{above + int(found[1])}{line[found.end() :]}"
        )


def _number(known: dict[str, int], name: str) -> int:
    return known.setdefault(name, len(known) + 1)


def _is_id(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_box(value: object) -> bool:
    """Whether it is a list of four finite numbers."""
    return isinstance(value, list) and len(value) == 4 and all(_is_coordinate(number) for number in value)


def _is_coordinate(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _entry(value: Mapping[str, Any], first: bool) -> str:
    return ("\n" if first else ",\n") + _dump(value)


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
