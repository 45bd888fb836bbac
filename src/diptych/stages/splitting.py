"""Sentences and tokens with offsets, offline, for English and Chinese.

English boundaries are sentencex's (Wikimedia, MIT), corrected where they are known to be wrong; Chinese ones
are our own, because sentencex does not end a sentence before a digit or at a semicolon. A line break always
ends a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from diptych.exceptions import MissingExtra
from diptych.stages.language import HAN, mostly_han

__all__ = ["Span", "SentenceSplitter", "encodable", "paragraphs", "tokens"]

Span = tuple[int, int]

_ZH_END = re.compile(rf"(?:[。！？；!?;…]|\.{{3,}}|(?<=[{HAN}])\.(?=\s))+[”’」』）】》\"')\]]*")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'“‘])(?:approx|est|dept|univ|assn|bros|inc|ltd|co|corp|gov|sen|rep|gen|col|lt|sgt|capt|cmdr|adm|maj"
    r"|rev|hon|pres|prof|dr|mr|mrs|ms|st|mt|ft|no|nos|vol|vols|pp?|fig|figs|eq|eqs|sec|secs|ch|ed|eds|cf|vs|viz|al|etc"
    r"|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|e\.g|i\.e|a\.k\.a)\.\s*$",
    re.IGNORECASE,
)
_ENDS_SENTENCE_TOO = re.compile(r"\b(?:inc|ltd|co|corp|etc|al|jr|sr|st)\.\s*$", re.IGNORECASE)
_SMALL_START = re.compile(r"[\"'“‘(\[]*[a-z0-9%$€£]")
_LETTER_START = re.compile(r"[\"'“‘(\[]*[a-z]")
_QUOTED_END = re.compile(r"[.!?…][\"'”’]\s*$")
_LOWER_START = re.compile(r"[a-z]")
_REACH = 40
"""Characters on each side of a boundary that decide about it: more than any abbreviation has."""
_MARKS = "[\u0300-\u036f]"
_INVISIBLE = "\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff"
_BLANKS = "".join(c for c in map(chr, range(0xFFFF)) if c.isspace() or re.match(f"[{_INVISIBLE}]", c))
# Names of hosts and mailboxes have the lengths that DNS and SMTP allow: text without breaks is read in linear time.
_TOKEN = re.compile(
    rf"""(?P<han>[{HAN}])
    |(?P<url>https?://[^\s{HAN}]+|[\w.+-]{{1,64}}@[\w-]+\.[\w.-]*\w)
    |(?P<number>\d+(?:[.,:/]\d+)*(?:%|[A-Za-z]+)?)
    |(?P<acronym>(?:[A-Za-z]\.){{2,}}|(?<![\w.])[A-Z]\.(?=\s+[A-Z])|(?<!\w)(?:Mrs?|Ms|Dr|Prof|St|Jr|Sr|Inc|Ltd|Co|Corp|vs
        |etc|Rev|Gen|Sen|Rep|Gov|Capt|Lt|Col|Sgt|Hon|Jan|Feb|Mar|Apr|Aug|Sept?|Oct|Nov|Dec|approx|Figs?|pp)\.)
    |(?P<host>[A-Za-z][\w-]{{0,62}}(?:\.[\w-]{{1,63}}){{0,20}}\.(?:com|org|net|edu|gov|cn|uk|de|io|info)\b(?:/[^\s{HAN}]*[\w/])?)
    |(?P<word>(?:[^\W\d_{HAN}]{_MARKS}*)+\d*(?:[-'\u2019](?:[^\W_{HAN}]{_MARKS}*)+)*)
    |(?P<hashtag>[#@]\w+)
    |(?P<dots>\.{{2,}}|…+|-{{2,}}|—+)
    |(?P<other>[^\s{_INVISIBLE}])""",
    re.VERBOSE,
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTRACTION = re.compile(r"^(.+?)(n['\u2019]t|['\u2019](?:s|re|ve|ll|d|m))$", re.IGNORECASE)


def encodable(text: str) -> str:
    """The text with lone surrogates, which no file can hold, as U+FFFD; as many code points as before."""
    return _SURROGATE.sub("\ufffd", text)


def paragraphs(text: str) -> Iterator[Span]:
    """Where the non-blank lines of ``text`` begin and end, without blanks at their ends."""
    for found in re.finditer(r"[^\r\n\u2028\u2029\x0b\x0c\x85]+", text):
        span = _trimmed(text, found.start(), found.end())
        if span[0] < span[1]:
            yield span


def tokens(text: str) -> list[str]:
    """Words, numbers and punctuation; contractions split as the Penn Treebank does; one token a Chinese character.

    Every token is a substring, in order: ``don't`` gives ``do``, ``n't``; Latin letters and digits within
    Chinese text stay whole.
    """
    found: list[str] = []
    for match in _TOKEN.finditer(text):
        piece = match[0]
        parts = _CONTRACTION.match(piece) if match.lastgroup == "word" else None
        found.extend((parts[1], parts[2]) if parts else (piece,))
    return found


class SentenceSplitter:
    """Sentences of one paragraph, as offsets into it."""

    def __init__(self) -> None:
        try:
            from sentencex import get_sentence_boundaries  # pyright: ignore[reportAttributeAccessIssue] - compiled
        except ImportError as error:
            raise MissingExtra("sentencex", "text") from error
        self._boundaries: Callable[[str, str], list[dict[str, object]]] = get_sentence_boundaries

    def split(self, text: str, language: str = "") -> list[Span]:
        """Spans in order, blanks between them left out; the script decides between Chinese and the rest."""
        chinese = mostly_han(text)
        cuts = _chinese_cuts(text) if chinese else self._other_cuts(text, language if language != "zh" else "en")
        edges = [0, *cuts, len(text)]
        spans = (_trimmed(text, a, b) for a, b in zip(edges, edges[1:], strict=False))
        return [span for span in spans if span[0] < span[1]]

    def _other_cuts(self, text: str, language: str) -> list[int]:
        found = self._boundaries(language or "en", encodable(text))
        starts = [int(str(item["start_index"])) for item in found[1:]]
        cuts: list[int] = []
        for start in starts:
            end = after = start
            while end and text[end - 1].isspace():
                end -= 1
            while after < len(text) and text[after].isspace():
                after += 1
            begin = max(cuts[-1] if cuts else 0, end - _REACH)
            if not _continues(text[begin:end], text[after : after + _REACH]):
                cuts.append(start)
        return cuts


def _continues(before: str, after: str) -> bool:
    """Whether the sentence goes on although a boundary was proposed."""
    if not after:
        return True
    if _QUOTED_END.search(before):  # "Never!" he cried.
        return bool(_LOWER_START.match(after))
    if _ABBREVIATION.search(before):
        return bool((_LETTER_START if _ENDS_SENTENCE_TOO.search(before) else _SMALL_START).match(after))
    return False


def _chinese_cuts(text: str) -> list[int]:
    return [
        found.end()
        for found in _ZH_END.finditer(text)
        if not (
            found[0][-1] in "!?;"
            and found.end() < len(text)
            and text[found.end()].isascii()
            and text[found.end()] != " "
        )
    ]


def _trimmed(text: str, start: int, end: int) -> Span:
    """The span without blanks and invisible marks (direction, zero width) at its ends."""
    piece = text[start:end]
    inner = piece.strip(_BLANKS)
    begin = start + len(piece) - len(piece.lstrip(_BLANKS)) if inner else start
    return begin, begin + len(inner)
