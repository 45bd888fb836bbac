"""What annotators are asked, which answers there are, and what an item of each question is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from diptych.exceptions import UsageError
from diptych.metrics.agreement import Level

__all__ = ["KINDS", "VoteKind", "kind_named"]

_RECORD = re.compile(r"[0-9a-f]{32}")
_PAIR = re.compile(r"[0-9a-f]{32}/[0-9a-f]{64}(#[0-9]+)?")
_IMAGE = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class VoteKind:
    """One question; ``values`` is empty where the answer is one of the item's own images (by image key)."""

    name: str
    rows: Literal["document", "pair"]
    """What an item is: its key is a record id or a pair key."""
    question: str
    values: tuple[str, ...]
    level: Level
    """What differences between the values mean to Krippendorff's alpha."""

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers."""
        return self.level == "interval"

    def is_item(self, text: str) -> bool:
        """Whether ``text`` has the form of an item's key."""
        return (_RECORD if self.rows == "document" else _PAIR).fullmatch(text) is not None

    def value(self, text: str) -> str | None:
        """The canonical form of an answer (``.50`` is ``0.5``); None when it is none of the answers."""
        text = text.strip()
        if not self.values:
            return text if _IMAGE.fullmatch(text) else None
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
        VoteKind("best_image", "document", "Which picture shows best what the summary says?", (), "nominal"),
        VoteKind(
            "relation", "pair", "How does the picture relate to the text?",
            ("explicit", "implicit", "irrelevant"), "nominal",
        ),
        VoteKind(
            "cmi", "pair", "How much of what the picture shows does the text name? (0 nothing, 1 everything)",
            ("0", "0.25", "0.5", "0.75", "1"), "interval",
        ),
        VoteKind(
            "sc", "pair", "Do picture and text say the same? (-1 they contradict, 0 neither, 1 they agree)",
            ("-1", "-0.5", "0", "0.5", "1"), "interval",
        ),
    )
}  # fmt: skip
"""Every question by name."""


def kind_named(name: str) -> VoteKind:
    """The question of that name; :class:`UsageError` names those there are."""
    if name not in KINDS:
        raise UsageError(f"no kind of vote {name!r}; there are {', '.join(KINDS)}")
    return KINDS[name]
