"""Questions about phrases: which region of a picture a caption's noun phrase names, and whether such a pair is right.

Phrases are the noun phrases of the stage ``parse``, the first five of a sentence; regions the eight surest of the stage
``regions`` (Niu et al. 2017, section 4.3: one to five phrases, one to eight regions). An item's key names the sentence
by its text, so that an answer never moves to another caption. Pairs to be judged are those that people linked before
(``pair_votes.regions``), else regions whose class name stands in the phrase.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diptych.exceptions import UsageError
from diptych.naming import sentence_key, split_pair_key
from diptych.version import Version

__all__ = ["NONE", "PHRASES", "REGIONS", "Phrase", "numbered", "phrases_of"]

NONE = "none"
PHRASES, REGIONS = 5, 8
_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#000075")


@dataclass(frozen=True)
class Phrase:
    """A noun phrase of a pair's caption, the regions it may name, and those that are to be judged."""

    item: str
    text: str
    sentence: str
    boxes: tuple[str, ...]
    """``x1,y1,x2,y2`` in whole pixels, the surest first."""
    linked: tuple[str, ...]


def phrases_of(version: Version, pairs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Phrase]:
    """The phrases of these pairs (by record, in document order); :class:`UsageError` when a stage is missing."""
    missing = {"sentences", "parse", "regions"} - set(version.stages)
    if missing:
        lines = ", ".join(f"`{name}: {{}}`" for name in sorted(missing))
        raise UsageError(f"questions about phrases need noun phrases and regions; add {lines} under stages and build")
    parsed = _rows(version, "parse", "words", "start", "end", "noun_phrase")
    regions = _rows(version, "regions", "boxes", "class_names")
    linked = _rows(version, "pair_votes", "regions") if "pair_votes" in version.stages else {}
    sentences = _rows(version, "sentences", "items")
    for record, rows in pairs.items():
        items = (sentences.get(record) or {}).get("items") or ()
        for number, pair in enumerate(rows):
            found = regions.get(split_pair_key(pair["key"])[1])
            if not found or not found["boxes"]:
                continue
            boxes = [(_box(b), n) for b, n in zip(found["boxes"], found["class_names"], strict=True)][:REGIONS]
            before = (linked.get(pair["key"]) or {}).get("regions") or ()
            for item in items:
                if item["field"] == "caption" and item["paragraph"] == number:
                    yield from _phrases(pair["key"], item["text"], parsed, boxes, before)


def _phrases(
    pair: str,
    sentence: str,
    parsed: Mapping[str, Mapping[str, Any]],
    boxes: Sequence[tuple[str, str]],
    before: Sequence[Mapping[str, Any]],
) -> Iterator[Phrase]:
    key = sentence_key(sentence)
    tree = parsed.get(key)
    if tree is None:
        return
    places, at = [], 0
    for word in tree["words"]:
        start = sentence.index(word, at)
        at = start + len(word)
        places.append((start, at))
    columns = zip(tree["start"], tree["end"], tree["noun_phrase"], strict=True)
    spans = list(dict.fromkeys((a, b) for a, b, phrase in columns if phrase and a < b))[:PHRASES]
    for first, last in spans:
        start, end = places[first][0], places[last - 1][1]
        text = sentence[start:end]
        words = set(text.lower().split())
        told = [_box(b["box"]) for b in before if (b["sentence"], b["start"], b["end"]) == (key, start, end)]
        alike = [box for box, name in boxes if name and set(name.lower().split()) <= words]
        shown = tuple(dict.fromkeys(box for box, _ in boxes))
        linked = tuple(dict.fromkeys(told or alike))
        yield Phrase(f"{pair}@{key}:{start}-{end}", text, sentence, shown, linked)


def numbered(data: bytes, boxes: Sequence[str]) -> bytes:
    """The picture as JPEG with each box drawn and numbered from 1; a single box has no number."""
    from PIL import ImageDraw

    from diptych.imaging import decode

    image = decode(data).convert("RGB")
    draw = ImageDraw.Draw(image)
    width = max(2, min(image.size) // 150)
    size = max(12, min(image.size) // 18)
    for number, box in enumerate(boxes, 1):
        x1, y1, x2, y2 = map(int, box.split(","))
        colour = _COLOURS[(number - 1) % len(_COLOURS)]
        draw.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=colour, width=width)
        if len(boxes) > 1:
            draw.rectangle((x1, y1, x1 + size, y1 + size), fill=colour)
            draw.text((x1 + size / 2, y1 + size / 2), str(number), fill="white", anchor="mm", font_size=size * 0.8)
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=90)
    return sink.getvalue()


def _box(box: Sequence[float]) -> str:
    return ",".join(str(max(0, round(v))) for v in box)


def _rows(version: Version, stage: str, *columns: str) -> dict[str, dict[str, Any]]:
    """The ok rows of a stage by key."""
    table = version.table(stage, list(columns))
    return {r["key"]: r for r in table.to_pylist() if r["status"] == "ok"}
