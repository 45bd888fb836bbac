"""What annotators are asked, which answers there are, and what an item of each question is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from diptych.exceptions import UsageError
from diptych.metrics.agreement import Level

__all__ = ["KINDS", "VoteKind", "kind_named", "row_of"]

_RECORD = re.compile(r"[0-9a-f]{32}")
_PAIR = re.compile(r"[0-9a-f]{32}/[0-9a-f]{64}(#[0-9]+)?")
_PHRASE = re.compile(_PAIR.pattern + r"@[0-9a-f]{32}:[0-9]+-[0-9]+")
_IMAGE = re.compile(r"[0-9a-f]{64}")
_BOX = re.compile(r"[0-9]+,[0-9]+,[0-9]+,[0-9]+|none")
_LINK = re.compile(_PHRASE.pattern + "=[0-9]+,[0-9]+,[0-9]+,[0-9]+")


@dataclass(frozen=True)
class VoteKind:
    """One question; ``values`` is empty where each item has answers of its own (``answer``)."""

    name: str
    rows: Literal["document", "pair"]
    """What an item belongs to; its key begins with the record id or the pair key."""
    question: str
    values: tuple[str, ...]
    level: Level
    """What differences between the values mean to Krippendorff's alpha."""
    item: re.Pattern[str]
    """The form of an item's key: the row's, then ``@sentence key:start-end`` (a phrase), then ``=x1,y1,x2,y2``."""
    answer: re.Pattern[str] = _IMAGE
    """The form of an item's own answers: an image key, or a box (whole pixels) or none."""

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers."""
        return self.level == "interval"

    def is_item(self, text: str) -> bool:
        """Whether ``text`` has the form of an item's key."""
        return self.item.fullmatch(text) is not None

    @property
    def about_phrases(self) -> bool:
        """Whether an item is a phrase of a caption."""
        return self.item not in (_RECORD, _PAIR)

    def value(self, text: str) -> str | None:
        """The canonical form of an answer (``.50`` is ``0.5``); None when it is none of the answers."""
        text = text.strip()
        if not self.values:
            return text.lower() if self.answer.fullmatch(text.lower()) else None
        if not self.numeric:
            return text.lower() if text.lower() in self.values else None
        try:
            number = float(text)
        except ValueError:
            return None
        return next((v for v in self.values if float(v) == number), None)


KINDS: Mapping[str, VoteKind] = {
    k.name: k
    for k in (
        VoteKind("best_image", "document", "Which picture shows best what the summary says?", (), "nominal", _RECORD),
        VoteKind(
            "relation", "pair", "How does the picture relate to the text?",
            ("explicit", "implicit", "irrelevant"), "nominal", _PAIR,
        ),
        VoteKind(
            "cmi", "pair", "How much of what the picture shows does the text name? (0 nothing, 1 everything)",
            ("0", "0.25", "0.5", "0.75", "1"), "interval", _PAIR,
        ),
        VoteKind(
            "sc", "pair", "Do picture and text say the same? (-1 they contradict, 0 neither, 1 they agree)",
            ("-1", "-0.5", "0", "0.5", "1"), "interval", _PAIR,
        ),
        VoteKind(
            "region", "pair", "Which numbered region shows what the phrase names?", (), "nominal", _PHRASE, _BOX,
        ),
        VoteKind(
            "region_right", "pair", "Does the region show what the phrase names?", ("yes", "no"), "nominal", _LINK,
        ),
    )
}  # fmt: skip
"""Every question by name."""


def kind_named(name: str) -> VoteKind:
    """The question of that name; :class:`UsageError` names those there are."""
    if name not in KINDS:
        raise UsageError(f"no kind of vote {name!r}; there are {', '.join(KINDS)}")
    return KINDS[name]


def row_of(item: str) -> tuple[str, str]:
    """The record id or pair key an item belongs to, and what stands behind it (a phrase, a phrase with its box)."""
    row, _, about = item.partition("@")
    return row, about
