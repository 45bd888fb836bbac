"""Releases of posts: keyphrases (CMKP) with a matching set (TRC), and the image-text relations of CCD, from a seed."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from diptych.sample.document import SampleDocument, SampleImage
from diptych.sample.lexicon import CLASSES
from diptych.sample.releases.drawn import documents_in, pictures_of, put_picture, site_of, split_of, write_truth
from diptych.sample.seeding import rng
from diptych.sample.site import Site
from diptych.sample.truth import TruthImage, truth_of
from diptych.stages.splitting import tokens

__all__ = ["ANNOTATORS", "IMAGES", "post_image", "relation_image", "write_ccd", "write_mkp"]

ANNOTATORS = ("annotator_1", "annotator_2", "annotator_3")
IMAGES = (3, 5)
"""Pictures a document, among which one fits."""
ADDRESS = "https://media.example.org/"
SIZE = 200
"""Numbers of a word vector, as GloVe Twitter has."""
_SLIP = 0.1
_TIED = 20
"""One post in so many gets three different answers."""


def write_mkp(documents: int, seed: int, folder: Path) -> None:
    """``{train,valid,test}_src.txt`` (CMKP's lines), ``trc/`` (tweets and the published labels), ``images/``,
    ``answers/`` (what Baidu's image recognition would say), ``glove.twitter.27B.200d.txt``.
    """
    site = site_of(2 * documents, seed, IMAGES)
    chosen = list(documents_in(site, "en", documents + max(6, documents // 3)))
    posts, matching = chosen[:documents], chosen[documents:]
    write_truth(chosen, folder)
    lines: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    said: list[str] = []
    for place, document in enumerate(posts):
        name = _picture(site, document, post_image(document), folder)
        text = _plain(_post_text(document))
        keyphrases = [_plain(item.text) for item in document.article.keyphrases]
        split = {"val": "valid"}.get(split_of(place), split_of(place))
        lines[split].append(f"{text}<sep>{';'.join(keyphrases)}<sep>{ADDRESS}{name}\n")
        said += [text, *keyphrases]
    for split, found in lines.items():
        (folder / f"{split}_src.txt").write_text("".join(found), encoding="utf-8")
    (folder / "trc").mkdir()
    rows = []
    with open(folder / "trc" / "tweets.jsonl", "w", encoding="utf-8") as tweets:
        for place, document in enumerate(matching):
            image = relation_image(document, place)
            name = _picture(site, document, image, folder)
            text = document.article.summary.text
            tweets.write(_tweet(_number(document), text, (), name))
            truth = _truth(document, image)
            rows.append([_number(document), int(truth.adds), int(truth.relevance == "explicit")])
            said.append(text)
    _csv(folder / "trc" / "text-image-relation.csv", ["tweet_id", "image_adds", "text_is_represented"], rows)
    _vectors(said, seed, folder / "glove.twitter.27B.200d.txt")


def write_ccd(documents: int, seed: int, folder: Path) -> None:
    """``tweets.jsonl`` in the shape of Twitter's API, ``images/``, ``labels.csv`` with three annotators' classes,
    ``glove.twitter.27B.200d.txt``.
    """
    site = site_of(documents, seed, IMAGES)
    posts = list(documents_in(site, "en", documents))
    write_truth(posts, folder)
    rows = []
    with open(folder / "tweets.jsonl", "w", encoding="utf-8") as tweets:
        for place, document in enumerate(posts):
            image = relation_image(document, place)
            name = _picture(site, document, image, folder, answers=False)
            tags = [item.text for item in document.article.keyphrases if item.text.isalpha()][:2]
            tweets.write(_tweet(_number(document), document.article.text, tags, name))
            rows.append([_number(document), *_answers(site, document, image, place)])
    _csv(folder / "labels.csv", ["tweet_id", *ANNOTATORS], rows)
    texts = [text for post in posts for text in (post.article.text, *(k.text for k in post.article.keyphrases))]
    _vectors(texts, seed, folder / "glove.twitter.27B.200d.txt")


def _post_text(document: SampleDocument) -> str:
    """The summary, and of every other post the sentence with a keyphrase: some are present, others absent."""
    article = document.article
    wanted = [item.text.lower() for item in article.keyphrases if item.where == "text"]
    named = [s.text for s in article.sentences if any(phrase in s.text.lower() for phrase in wanted)]
    return " ".join([article.summary.text, *named[: document.index % 2]])


def post_image(document: SampleDocument) -> SampleImage:
    """The picture of a post with keyphrases: one whose banner has a line to read, where there is one."""
    usable = pictures_of(document)
    return next((image for image in usable if image.scene is not None and image.scene.banner is not None), usable[0])


def relation_image(document: SampleDocument, place: int) -> SampleImage:
    """The picture of a post that is judged: the wanted classes go round, so that each occurs."""
    usable = [image for image in pictures_of(document) if image.judgement.relevance is not None]
    wanted = ("explicit", "implicit", "irrelevant", "explicit")[place % 4]
    fitting = [image for image in usable if image.judgement.relevance == wanted]
    return (fitting or usable or pictures_of(document))[0]


def _answers(site: Site, document: SampleDocument, image: SampleImage, place: int) -> list[str]:
    """Three classes; nobody agrees now and then."""
    classes = ["explicit", "implicit", "irrelevant"]
    draw = rng(site.seed, document.index, "relation answers")
    if place % _TIED == _TIED - 1:
        return draw.sample(classes, 3)
    truth = image.judgement.relevance or "irrelevant"
    return [draw.choice(classes) if draw.random() < _SLIP else truth for _ in ANNOTATORS]


def _picture(site: Site, document: SampleDocument, image: SampleImage, folder: Path, *, answers: bool = True) -> str:
    """Write a picture, with ``answers`` also what an image recognition would say of it; its file name."""
    name = f"P{_number(document)}.jpg"
    data = put_picture(site, image, folder / "images" / name)
    if not answers:
        return name
    shown = [item.name for item in _truth(document, image).objects]
    names = list(dict.fromkeys(CLASSES[name].nouns[0] for name in shown))
    result = [{"keyword": n, "score": round(0.95 - 0.1 * k, 2), "root": "sample"} for k, n in enumerate(names)]
    key = hashlib.sha256(data).hexdigest()
    answer = folder / "answers" / key[:2] / f"{key}.json"
    answer.parent.mkdir(parents=True, exist_ok=True)
    answer.write_text(json.dumps({"result_num": len(result), "result": result}), encoding="utf-8")
    return name


def _truth(document: SampleDocument, image: SampleImage) -> TruthImage:
    return truth_of(document).images[document.images.index(image)]


def _number(document: SampleDocument) -> str:
    """An id as posts have them."""
    return str(1_100_000_000_000_000_000 + document.index)


def _plain(text: str) -> str:
    """Lower-case tokens with blanks between them, as the release has its posts."""
    return " ".join(token.lower() for token in tokens(text))


def _tweet(number: str, text: str, tags: Sequence[str], picture: str) -> str:
    marked = " ".join([text, *(f"#{tag}" for tag in tags), "https://t.co/sample"])
    media = [{"media_url_https": f"{ADDRESS}{picture}", "type": "photo"}]
    tweet: dict[str, Any] = {
        "id_str": number, "full_text": marked, "lang": "en", "extended_entities": {"media": media},
    }  # fmt: skip
    return json.dumps(tweet, ensure_ascii=False) + "\n"


def _csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _vectors(texts: Iterable[str], seed: int, path: Path) -> None:
    """Numbers drawn for each word of the texts, in GloVe's format; one word in twenty has none."""
    words = sorted({token.lower() for text in texts for token in tokens(text)})
    with open(path, "w", encoding="utf-8") as file:
        for word in words:
            draw = rng(seed, "vector", word)
            if draw.random() >= 0.05 and " " not in word:
                file.write(f"{word} {' '.join(f'{draw.gauss(0, 0.4):.4f}' for _ in range(SIZE))}\n")
