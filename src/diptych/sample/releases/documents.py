"""Releases of illustrated documents, from a seed: Chinese news with summaries (HCSCL), and the three sources of the
information gap paper (captions, British news, sections of an encyclopedia) with its label file.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diptych.sample.document import SampleDocument, SampleImage
from diptych.sample.labels import votes_about
from diptych.sample.releases.captions import write_coco
from diptych.sample.releases.drawn import documents_in, put_picture, site_of, write_truth
from diptych.sample.releases.posts import IMAGES, relation_image
from diptych.sample.site import Site
from diptych.sample.truth import document_id
from diptych.votes.answers import write_votes

__all__ = ["BRITISH", "HCSCL_SOURCE", "LABELLED_CAPTIONS", "write_hcscl", "write_information_gap"]

HCSCL_SOURCE = "news"
"""Name of the source in the recipe, which the votes are about."""
LABELLED_CAPTIONS = 4
"""Captioned pictures that the label file gives the highest levels to, as the paper did with 100."""
BRITISH = "Its colour was much favoured by the neighbours at the harbour."
"""A sentence at the end of each news text: four words that become American."""
_INVALID = 7
"""One encyclopedia section in so many is marked invalid."""
_LOST = ("http_404", "http_410", "http_500", "redirect_loop")


def write_hcscl(documents: int, seed: int, folder: Path) -> None:
    """``documents/*.json`` and ``images/``: Chinese news with summaries and ten pictures each, dirt among them;
    ``votes.csv``: five annotators' choices.
    """
    site = site_of(documents, seed, (10, 10), dirt=True)
    news = list(documents_in(site, "zh", documents))
    write_truth(news, folder)
    for document in news:
        shown = [i for i in document.images if i.place == "article" and i.delivery not in _LOST]
        _document(site, document, shown, folder, document.article.text, summary=document.article.summary.text)
    votes = [v for document in news for v in votes_about(site, document, HCSCL_SOURCE) if v.kind == "best_image"]
    write_votes(votes, folder / "votes.csv")


def write_information_gap(documents: int, seed: int, folder: Path) -> None:
    """``coco/`` as :func:`write_coco` leaves it, ``news/`` and ``wiki/`` as folders of documents with one picture
    each, ``labels.csv``: source, id, CMI and SC levels by one annotator, empty where the sample is invalid.
    """
    (folder / "coco").mkdir()
    write_coco(documents, seed, folder / "coco")
    captioned = json.loads((folder / "coco" / "annotations" / "captions_val2014.json").read_text(encoding="utf-8"))
    rows: list[Sequence[object]] = [
        ["labelled_captions", image["id"], 1, 1] for image in captioned["images"][:LABELLED_CAPTIONS]
    ]
    site = site_of(2 * documents, seed + 1, IMAGES)
    pages = list(documents_in(site, "en", 2 * documents))
    write_truth(pages, folder)
    for place, document in enumerate(pages):
        news = place % 2 == 0
        name, image = "news" if news else "wiki", relation_image(document, place // 2)
        text = f"{document.article.text} {BRITISH}" if news else document.article.text
        _document(site, document, [image], folder / name, text)
        judged = image.judgement
        invalid = not news and place % _INVALID == _INVALID - 1
        levels = ("", "") if invalid or judged.sc is None else (f"{judged.cmi:g}", f"{judged.sc:g}")
        rows.append([name, document_id(document.index), *levels])
    with open(folder / "labels.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["source", "id", "cmi", "sc"])
        writer.writerows(rows)


def _document(
    site: Site, document: SampleDocument, images: Sequence[SampleImage], folder: Path, text: str, summary: str = ""
) -> None:
    """One JSON document of the folder layout with its pictures."""
    name = document_id(document.index)
    entries: list[dict[str, Any]] = []
    for image in images:
        file = f"images/{name}/{image.path.rsplit('/', 1)[-1]}"
        put_picture(site, image, folder / file)
        entries.append({"file": file, "url": image.path, "caption": image.caption.text if image.caption else ""})
    content = {
        "id": name, "language": document.language, "title": document.article.title, "text": text, "summary": summary,
        "images": entries,
    }  # fmt: skip
    path = folder / "documents" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
