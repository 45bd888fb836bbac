"""Changes of wording that leave the text as it is: hashtags, mentions and addresses left out, spelling made American.

A change is an :class:`Edit` of a span of the original text, so that offsets into it hold; tokens are made from the
edited words. What reads ``sentences.items`` (vocabularies, word vectors) sees the edits; ``bert`` and ``parse`` have a
row a distinct sentence, as the source has it, and their words are those before any edit.

Rules, and what an edit's ``text`` then is:

=============  ====================================================================
``hashtag``    empty; the words without ``#`` where ``hashtags: words`` keeps them
``mention``    empty
``address``    empty (http, https, www)
``spelling``   the American spelling, in documents of the named sources alone
=============  ====================================================================
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from diptych.stage import StageConfig
from diptych.stages.language import HAN
from diptych.stages.spelling import american

__all__ = ["Edit", "WordingConfig", "edited", "edits", "hashtags"]

_ADDRESS = re.compile(r"\b(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)\]'’]", re.IGNORECASE)
_HASHTAG = re.compile(r"(?<![\w&/])[#\uff03](\w*[^\W\d_]\w*)")
_MENTION = re.compile(rf"(?:(?<![\w.@\uff20])|(?<=[{HAN}\u3040-\u30ff]))[@\uff20]\w{{1,50}}")
"""After a blank or punctuation, or right behind Chinese or Japanese text."""
_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]+\.[\w.-]*\w")
_WORD = re.compile(r"[A-Za-z]{3,}")


class WordingConfig(StageConfig):
    """What becomes of hashtags, mentions, addresses and British spelling; nothing changes by default."""

    hashtags: Literal["keep", "strip", "words", "keyphrases"] = Field(
        "keep", description="strip leaves them out, words leaves out the # alone, keyphrases moves them there"
    )
    mentions: Literal["keep", "strip"] = Field("keep", description="@names in the text")
    addresses: Literal["keep", "strip"] = Field("keep", description="web addresses in the text")
    british: tuple[str, ...] = Field(default=(), description="sources or subsets whose spelling is made American")


@dataclass(frozen=True)
class Edit:
    """``text`` in place of what stands between ``start`` and ``end``; ``rule`` says why."""

    start: int
    end: int
    text: str
    rule: str


def edits(text: str, config: WordingConfig, british: bool = False) -> list[Edit]:
    """The changes of one text, in order, none inside another."""
    found: list[Edit] = []
    taken = bytearray(len(text))
    for match, edit in _marks(text, config):
        start, end = match.span()
        if not any(taken[start:end]):
            taken[start:end] = b"\1" * (end - start)
            if edit is not None:
                found.append(edit)
    if british:
        for match in _WORD.finditer(text):
            word = american(match[0])
            if word is not None and not taken[match.start()]:
                found.append(Edit(*match.span(), word, "spelling"))
    return sorted(found, key=lambda edit: edit.start)


def _marks(text: str, config: WordingConfig) -> Iterator[tuple[re.Match[str], Edit | None]]:
    """What is no word of the text's language, with its edit; addresses first, for they may hold the others."""
    for match in _ADDRESS.finditer(text):
        yield match, Edit(*match.span(), "", "address") if config.addresses == "strip" else None
    for match in _MAIL.finditer(text):
        yield match, None
    for match in _HASHTAG.finditer(text):
        words = match[1] if config.hashtags == "words" else ""
        yield match, None if config.hashtags == "keep" else Edit(*match.span(), words, "hashtag")
    for match in _MENTION.finditer(text):
        yield match, Edit(*match.span(), "", "mention") if config.mentions == "strip" else None


def edited(text: str, start: int, end: int, changes: Sequence[Edit]) -> str:
    """What stands between ``start`` and ``end`` after the changes there; ``changes`` are in order."""
    parts, at = [], start
    first = bisect_right(changes, start, key=lambda edit: edit.end)
    for edit in changes[first : bisect_left(changes, end, key=lambda edit: edit.start)]:
        # one that a sentence boundary cuts: its text stands in the first
        parts += [text[at : max(start, edit.start)], edit.text if start <= edit.start else ""]
        at = min(end, edit.end)
    return "".join([*parts, text[at:end]])


def hashtags(text: str, changes: Sequence[Edit]) -> list[str]:
    """The hashtags that were taken out, without ``#``."""
    return [text[edit.start + 1 : edit.end] for edit in changes if edit.rule == "hashtag"]
