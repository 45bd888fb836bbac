"""What the text metrics count: words or characters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

__all__ = ["Unit", "characters", "ngrams", "unit_of"]

Unit = Literal["words", "characters"]
"""Words for languages that write spaces, characters for Chinese."""

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def characters(text: str) -> list[str]:
    """Every character that is not white space, lower-cased."""
    return [c for c in text.lower() if not c.isspace()]


def ngrams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    """How often each run of ``n`` tokens occurs."""
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def unit_of(texts: Iterable[str]) -> Unit:
    """Characters when more of the letters are Han characters than not, else words."""
    han = letters = 0
    for text in texts:
        han += len(_HAN.findall(text))
        letters += sum(c.isalpha() for c in text)
    return "characters" if 2 * han > letters else "words"
