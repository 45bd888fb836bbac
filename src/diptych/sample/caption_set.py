"""A caption set as Flickr30k and COCO are: a record a picture, five captions, boxes with the phrases that name them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from diptych.sample.document import SampleDocument, SampleImage
from diptych.sample.site import Site
from diptych.sample.truth import TruthImage, document_id, truth_of

__all__ = ["described", "write_captions"]


def write_captions(site: Site, folder: str | Path) -> int:
    """Write every described picture of the site's English documents as the folder source reads it; their number.

    A picture's entry has ``boxes`` (xyxy, pixels) and, for each box, ``phrases`` of the captions that name what is in
    it. The last file written is ``done.json``, outside of the documents.
    """
    root = Path(folder)
    (root / "documents").mkdir(parents=True, exist_ok=True)
    (root / "images").mkdir(exist_ok=True)
    count = 0
    for document, image, truth, name in described(site):
        (root / "images" / f"{name}.jpg").write_bytes(site.image_bytes(image))
        entry = {
            "file": f"images/{name}.jpg",
            "caption": "\n".join(sentence.text for sentence in truth.descriptions),
            "boxes": [item.box for item in truth.objects],
            "phrases": _phrases(truth),
        }
        record = {"id": name, "language": document.language, "text": "", "images": [entry]}
        text = json.dumps(record, ensure_ascii=False, indent=1) + "\n"
        (root / "documents" / f"{name}.json").write_text(text, encoding="utf-8")
        count += 1
    (root / "done.json").write_text(json.dumps({"pictures": count}) + "\n", encoding="utf-8")
    return count


def described(site: Site) -> Iterator[tuple[SampleDocument, SampleImage, TruthImage, str]]:
    """The described pictures of the site's English documents, each with its truth and a name of its own."""
    for document in site.iterate():
        if document.language != "en":
            continue
        for number, (image, truth) in enumerate(zip(document.images, truth_of(document).images, strict=True)):
            if truth.keep and truth.descriptions and truth.objects and image.plan.encoding == "jpeg":
                yield document, image, truth, f"{document_id(document.index)}-{number}"


def _phrases(truth: TruthImage) -> list[list[str]]:
    found: list[list[str]] = [[] for _ in truth.objects]
    for sentence in truth.descriptions:
        for phrase in sentence.phrases:
            for place in phrase.objects:
                found[place].append(phrase.text)
    return [list(dict.fromkeys(texts)) for texts in found]
