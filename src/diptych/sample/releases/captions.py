"""Flickr8k, Flickr30k (with the files of Flickr30k Entities) and COCO 2014 with Karpathy's splits, from a seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diptych.sample.caption_set import described
from diptych.sample.document import SampleDocument, SampleImage
from diptych.sample.lexicon import CLASSES
from diptych.sample.releases.drawn import put_picture, site_of, split_of, write_truth
from diptych.sample.site import Site
from diptych.sample.truth import TruthImage, TruthSentence

__all__ = ["write_coco", "write_flickr8k", "write_flickr30k"]

_LICENCE = {"id": 1, "name": "Made by a program; no rights are reserved", "url": "https://example.org/licence"}


@dataclass(frozen=True)
class _Shown:
    """A described picture: its number, its split, what is in it."""

    number: int
    split: str
    image: SampleImage
    truth: TruthImage


def write_flickr8k(documents: int, seed: int, folder: Path) -> None:
    """``images/``, ``Flickr8k.token.txt``, ``dataset_flickr8k.json``."""
    _flickr(documents, seed, folder, "flickr8k", "Flickr8k.token.txt")


def write_flickr30k(documents: int, seed: int, folder: Path) -> None:
    """``images/``, ``results_20130124.token``, ``dataset_flickr30k.json``, ``entities/{Annotations,Sentences}/``."""
    _flickr(documents, seed, folder, "flickr30k", "results_20130124.token")
    site = site_of(documents, seed)
    (folder / "entities" / "Annotations").mkdir(parents=True)
    (folder / "entities" / "Sentences").mkdir()
    for shown in _pictures(site, documents):
        _write_entities(shown, folder / "entities")


def write_coco(documents: int, seed: int, folder: Path) -> None:
    """``{train,val}2014/``, ``annotations/{captions,instances}_{train,val}2014.json``, ``dataset_coco.json``."""
    site = site_of(documents, seed)
    names = sorted(CLASSES)
    parts: dict[str, list[_Shown]] = {"train2014": [], "val2014": []}
    karpathy: list[dict[str, Any]] = []
    for shown in _pictures(site, documents, folder):
        part = "train2014" if shown.split == "train" and shown.number % 2 == 0 else "val2014"
        split = "restval" if part == "val2014" and shown.split == "train" else shown.split
        file = _coco_name(part, shown)
        put_picture(site, shown.image, folder / part / file)
        parts[part].append(shown)
        entry = _karpathy(shown, file, len(karpathy))
        karpathy.append({**entry, "filepath": part, "cocoid": shown.number, "split": split})
    (folder / "annotations").mkdir()
    for part, pictures in parts.items():
        (folder / part).mkdir(exist_ok=True)
        images = [
            {"id": s.number, "file_name": _coco_name(part, s), "width": s.truth.width, "height": s.truth.height,
             "license": 1}
            for s in pictures
        ]  # fmt: skip
        head = {"info": {"description": "a sample made from a seed"}, "licenses": [_LICENCE], "images": images}
        captions = [
            {"image_id": s.number, "id": 10 * s.number + n, "caption": sentence.text}
            for s in pictures
            for n, sentence in enumerate(s.truth.descriptions)
        ]
        boxes = [
            {"image_id": s.number, "id": 100 * s.number + n, "category_id": names.index(item.name) + 1, "iscrowd": 0,
             "bbox": [item.box[0], item.box[1], item.box[2] - item.box[0], item.box[3] - item.box[1]]}
            for s in pictures
            for n, item in enumerate(s.truth.objects)
        ]  # fmt: skip
        categories = [{"id": n, "name": name} for n, name in enumerate(names, 1)]
        _json(folder / "annotations" / f"captions_{part}.json", {**head, "annotations": captions})
        _json(
            folder / "annotations" / f"instances_{part}.json", {**head, "annotations": boxes, "categories": categories}
        )
    _json(folder / "dataset_coco.json", {"images": karpathy, "dataset": "coco"})


def _flickr(documents: int, seed: int, folder: Path, name: str, token_file: str) -> None:
    site = site_of(documents, seed)
    images = []
    with open(folder / token_file, "w", encoding="utf-8") as tokens:
        for shown in _pictures(site, documents, folder):
            file = f"{shown.number}.jpg"
            put_picture(site, shown.image, folder / "images" / file)
            for n, sentence in enumerate(shown.truth.descriptions):
                tokens.write(f"{file}#{n}\t{_tokenised(sentence)}\n")
            images.append(_karpathy(shown, file, len(images)))
    _json(folder / f"dataset_{name}.json", {"images": images, "dataset": name})


def _pictures(site: Site, documents: int, folder: Path | None = None) -> Iterator[_Shown]:
    """The described pictures of the first English documents; with a folder their truth is written there."""
    used: list[SampleDocument] = []
    for document, image, truth, name in described(site):
        if not used or used[-1] is not document:
            if len(used) == documents:
                break
            used.append(document)
        number = 1_000_000_000 + 100 * document.index + int(name.rpartition("-")[2])
        yield _Shown(number, split_of(len(used) - 1), image, truth)
    if folder is not None:
        write_truth(used, folder)


def _karpathy(shown: _Shown, file: str, number: int) -> dict[str, Any]:
    sentences = [
        {"tokens": [t.lower() for t in s.tokens if t.isalnum()], "raw": _tokenised(s), "imgid": number,
         "sentid": 10 * number + n}
        for n, s in enumerate(shown.truth.descriptions)
    ]  # fmt: skip
    return {
        "sentids": [s["sentid"] for s in sentences], "imgid": number, "sentences": sentences, "split": shown.split,
        "filename": file,
    }  # fmt: skip


def _tokenised(sentence: TruthSentence) -> str:
    return " ".join(sentence.tokens)


def _coco_name(part: str, shown: _Shown) -> str:
    return f"COCO_{part}_{shown.number:012d}.jpg"


def _write_entities(shown: _Shown, folder: Path) -> None:
    """The phrases of each sentence marked with the entity they name, and the boxes of each entity.

    An entity is a set of objects that some phrase names; its number is unique in the release.
    """
    truth = shown.truth
    entities: dict[tuple[int, ...], int] = {}
    lines = []
    for sentence in truth.descriptions:
        words = list(sentence.tokens)
        inner = [p for p in sentence.phrases if not p.nested and p.objects]
        for phrase in sorted(inner, key=lambda p: -p.start):
            number = entities.setdefault(tuple(sorted(phrase.objects)), 100 * shown.number + len(entities))
            span = " ".join(words[phrase.start : phrase.end])
            words[phrase.start : phrase.end] = [f"[/EN#{number}/other {span}]"]
        lines.append(" ".join(words) + "\n")
    (folder / "Sentences" / f"{shown.number}.txt").write_text("".join(lines), encoding="utf-8")
    boxes: Mapping[int, Sequence[int]] = {
        n: [number for objects, number in entities.items() if n in objects] for n in range(len(truth.objects))
    }
    objects = "".join(
        "<object>"
        + "".join(f"<name>{number}</name>" for number in boxes[n])
        + "<bndbox>"
        + "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), item.box, strict=True))
        + "</bndbox></object>\n"
        for n, item in enumerate(truth.objects)
        if boxes[n]
    )
    scene = "<object><name>0</name><scene>1</scene><nobndbox>0</nobndbox></object>\n"
    size = f"<size><width>{truth.width}</width><height>{truth.height}</height><depth>3</depth></size>"
    page = f"<annotation>\n<filename>{shown.number}.jpg</filename>\n{size}\n{objects}{scene}</annotation>\n"
    (folder / "Annotations" / f"{shown.number}.xml").write_text(page, encoding="utf-8")


def _json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False) + "\n", encoding="utf-8")
