"""What the releases share: documents in one language, their splits, their pictures on disk, their truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from diptych.sample.document import SampleDocument, SampleImage
from diptych.sample.site import Site
from diptych.sample.truth import truth_of

__all__ = ["SPLITS", "documents_in", "put_picture", "site_of", "split_of", "write_truth"]

SPLITS = ("train", "train", "train", "train", "val", "test")
"""Official split of the document at each place, round and round."""


def site_of(documents: int, seed: int, images: tuple[int, int] = (1, 4), *, dirt: bool = False) -> Site:
    """A site that surely has so many documents in each language (three of ten are Chinese)."""
    return Site(20 * documents + 40, seed, images, dirt)


def documents_in(site: Site, language: str, count: int) -> Iterator[SampleDocument]:
    """The first documents in a language that have a kept picture."""
    fitting = (d for d in site.iterate() if d.language == language and any(_usable(i) for i in d.kept))
    return islice(fitting, count)


def split_of(place: int) -> str:
    """train, val or test."""
    return SPLITS[place % len(SPLITS)]


def pictures_of(document: SampleDocument) -> list[SampleImage]:
    """Kept JPEG pictures of the article itself."""
    return [image for image in document.kept if _usable(image)]


def put_picture(site: Site, image: SampleImage, path: Path) -> bytes:
    """Write a picture; its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = site.image_bytes(image)
    path.write_bytes(data)
    return data


def write_truth(documents: Iterable[SampleDocument], folder: Path) -> None:
    """``truth.jsonl``: the truth of the documents, in order."""
    with open(folder / "truth.jsonl", "w", encoding="utf-8") as file:
        file.writelines(truth_of(document).json() + "\n" for document in documents)


def _usable(image: SampleImage) -> bool:
    return image.keep and image.place == "article" and image.delivery == "ok" and image.plan.encoding == "jpeg"
