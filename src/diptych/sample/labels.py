"""What annotators would say of the sample: votes made from the truth, for the folder that `write` leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from diptych.naming import digest_bytes, pair_key, record_id
from diptych.sample.document import SampleDocument, SampleImage
from diptych.sample.seeding import rng
from diptych.sample.site import Site
from diptych.sample.truth import document_id
from diptych.votes.answers import Vote
from diptych.votes.kinds import KINDS

__all__ = ["SOURCE", "votes_about", "votes_of"]

SOURCE = "sample"
"""Name of the folder source whose records the votes are about."""
ANNOTATORS = {"best_image": 5, "relation": 3, "cmi": 1, "sc": 1}
"""As the papers had them: five choose a picture, three a relation, one the levels."""
_LEVELS = ("cmi", "sc")
SLIP = 0.05
"""How often an annotator among several answers something else."""


def votes_of(site: Site, source: str = SOURCE, levels: float = 1.0) -> Iterator[Vote]:
    """Votes about every document's best picture and every judged pair, one after another.

    ``levels`` is the share of pairs whose CMI and SC somebody was asked for; the pairs are drawn from the seed.
    """
    for document in site.iterate():
        yield from votes_about(site, document, source, levels)


def votes_about(site: Site, document: SampleDocument, source: str = SOURCE, levels: float = 1.0) -> Iterator[Vote]:
    """The votes about one document and its pairs; see :func:`votes_of`."""
    record = record_id(source, document_id(document.index))
    keys: dict[str, str] = {}
    seen: dict[str, int] = {}
    judged = [image for image in document.images if image.keep and image.place == "article"]
    for image in judged:
        key = digest_bytes(site.image_bytes(image))
        keys[image.path], seen[key] = key, seen.get(key, 0) + 1
        item = pair_key(record, key, seen[key])
        asked = rng(site.seed, document.index, "levels", item).random() < levels
        for kind, value in _judgements(image):
            if kind in _LEVELS and not asked:
                continue
            yield from _answers(site, document, kind, item, value, KINDS[kind].values)
    best = document.best
    if best is not None and best.path in keys and len(set(keys.values())) > 1:
        yield from _answers(site, document, "best_image", record, keys[best.path], sorted(set(keys.values())))


def _judgements(image: SampleImage) -> Iterator[tuple[str, str]]:
    judgement = image.judgement
    if judgement.relevance is not None:
        yield "relation", judgement.relevance
    for kind, level in (("cmi", judgement.cmi), ("sc", judgement.sc)):
        if level is not None:
            yield kind, f"{level:g}"


def _answers(site: Site, document: SampleDocument, kind: str, item: str, value: str,
             values: Sequence[str]) -> Iterator[Vote]:  # fmt: skip
    """Each annotator's answer; a lone annotator does not slip."""
    draw = rng(site.seed, document.index, "votes", kind, item)
    count = ANNOTATORS[kind]
    others = [other for other in values if other != value]
    for number in range(count):
        slip = count > 1 and others and draw.random() < SLIP
        yield Vote(kind, item, f"annotator-{number + 1}", draw.choice(others) if slip else value)
