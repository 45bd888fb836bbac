"""Writing a site to a folder: as static files, and as the folder source reads documents. Streams; holds one
document at a time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from diptych.sample.dirt import AD_SIZES, LOGO, NEWSLETTER, advert
from diptych.sample.document import SampleDocument, SampleImage
from diptych.sample.labels import votes_of
from diptych.sample.pages import index_path
from diptych.sample.site import Site
from diptych.sample.truth import document_id, truth_of
from diptych.votes.answers import write_votes


@dataclass(frozen=True)
class Written:
    """How much was written."""

    documents: int
    images: int
    bytes: int


def write(site: Site, folder: str | Path, *, static: bool = True, levels: float = 1.0) -> Written:
    """Write a site below `folder` and return how much that was.

    `documents/<id>.json` and `images/<id>/<file>` are the folder source's layout (pictures that a server would not
    deliver are left out, and
    so are those of the page's frame); `truth.jsonl` has a line a document, its image paths also as `files` in the
    JSON documents;
    `votes.csv` holds what annotators said, about the records of a folder source named `sample`, on the levels of
    CMI and SC for the share `levels` of the pairs;
    `static/` (unless `static=False`) holds pages and pictures under their URL paths, with redirects and errors
    listed in `faults.jsonl`.
    """
    root = Path(folder)
    (root / "documents").mkdir(parents=True, exist_ok=True)
    counted = [0, 0, 0]

    def put(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        counted[2] += len(data)

    with (
        open(root / "truth.jsonl", "w", encoding="utf-8") as truth,
        open(root / "faults.jsonl", "w", encoding="utf-8") as faults,
    ):
        for document in site.iterate():
            truth.write(truth_of(document).json() + "\n")
            counted[0] += 1
            for image in document.images:
                if image.delivery in ("http_404", "http_410", "http_500", "redirect_loop"):
                    faults.write(json.dumps({"path": image.path, "kind": image.delivery}) + "\n")
                    continue
                own = image.path not in _COMMON and image.place == "article"
                if not (own or (image is NEWSLETTER)):
                    continue
                data = site.image_bytes(image)
                counted[1] += 1
                put(root / folder_path(document, image), data)
                if static and own:
                    put(root / "static" / image.path.removeprefix("/go").lstrip("/"), data)
            put(root / "documents" / f"{document_id(document.index)}.json", _folder_document(document))
            if static:
                put(root / "static" / document.path.lstrip("/"), site.respond(document.path).body)
                moved = [document.requested, *(image.path for image in document.images)]
                faults.writelines(_redirection(path) for path in moved if path.startswith("/go/"))
        if static:
            _write_frame(site, root / "static", put, faults.write)
    write_votes(votes_of(site, levels=levels), root / "votes.csv")
    return Written(*counted)


_ADVERTS = tuple(advert(number) for number in range(len(AD_SIZES)))
_COMMON = frozenset(image.path for image in (LOGO, NEWSLETTER, *_ADVERTS))


def folder_path(document: SampleDocument, image: SampleImage) -> str:
    """Return where the folder layout keeps a picture, relative to the folder."""
    return f"images/{document_id(document.index)}/{image.path.rsplit('/', 1)[-1]}"


def _redirection(path: str) -> str:
    return json.dumps({"path": path, "kind": "redirect", "to": path.removeprefix("/go")}) + "\n"


def _folder_document(document: SampleDocument) -> bytes:
    article = document.article
    shown = [
        i
        for i in document.images
        if i.place == "article" and i.delivery not in ("http_404", "http_410", "http_500", "redirect_loop")
    ]
    content = {
        "id": document_id(document.index),
        "language": document.language,
        "title": article.title,
        "text": article.text,
        "summary": article.summary.text,
        "keyphrases": [item.text for item in article.keyphrases],
        "topic": document.facts.topic,
        "published": document.published,
        "image_adds": int(any(image.adds for image in truth_of(document).images)),
        "url": document.path,
        "images": [
            {
                "file": folder_path(document, image),
                "url": image.path,
                "caption": image.caption.text if image.caption else "",
                "captions": [sentence.text for sentence in image.descriptions],
            }
            for image in shown
        ],
    }
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def _write_frame(site: Site, root: Path, put: Callable[[Path, bytes], None], note: Callable[[str], object]) -> None:
    """Write what belongs to no document: index, feed, sitemap, robots.txt, the site's own pictures, the traps."""
    for image in (LOGO, NEWSLETTER, *_ADVERTS):
        put(root / image.path.lstrip("/"), site.image_bytes(image))
    for path in ("/robots.txt", "/feed.xml", "/sitemap.xml", "/about.html", "/contact.html"):
        put(root / path.lstrip("/"), site.respond(path).body)
    for number in range(1, site.blocks + 1):
        path = index_path(number)
        put(root / ("index.html" if number == 1 else path.lstrip("/")), site.respond(path).body)
    for trap in site.traps():
        response = site.respond(trap.path)
        if response.status == 200:
            put(root / trap.path.lstrip("/"), response.body)
        else:
            note(json.dumps({"path": trap.path, "kind": trap.kind}) + "\n")
