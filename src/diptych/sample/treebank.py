"""A treebank from the site's grammar, for training and checking a constituency parser."""

from __future__ import annotations

from collections.abc import Iterator

from diptych.sample.article import Sentence
from diptych.sample.site import Site


def treebank(count: int, seed: int = 0, *, captions: float = 0.5) -> Iterator[Sentence]:
    """Yield `count` different English sentences with trees; about the share `captions` describes pictures, the rest
    is news.

    Use another seed for held-out sentences: what both draw is then equal by chance only.
    """
    seen: set[str] = set()
    told, shown = 0, 0
    for document in Site(documents=10_000_000, seed=seed, dirt=False).iterate():
        if document.language != "en":
            continue
        news = [*document.article.sentences, document.article.summary]
        pictures = [
            sentence
            for image in document.images
            for sentence in (*image.descriptions, *([image.caption] if image.caption else []))
        ]
        for sentence, picture in [(item, False) for item in news] + [(item, True) for item in pictures]:
            if told + shown == count:
                return
            behind = shown <= captions * (told + shown)
            if sentence.text in seen or sentence.tree is None or picture is not behind:
                continue
            seen.add(sentence.text)
            shown, told = shown + picture, told + (not picture)
            yield sentence
