"""Which language a text is in: py3langid where there is enough text, the script where there is not."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from diptych.exceptions import MissingExtra

__all__ = ["HAN", "LanguageGuess", "LanguageGuesser", "mostly_han", "normalised"]

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
"""Character-class body of Chinese characters."""

_HAN = re.compile(f"[{HAN}]")
_KANA = re.compile("[\u3040-\u30ff]")
_MARKS = re.compile(r"[^\w\s\x00-\x7f]{128}")
"""So many combining marks (or other signs, which do not mind) stand behind no letter."""
_ENOUGH_LETTERS = 24
_ENOUGH_HAN = 6
_LOOK_AT = 5000
_FOLD: dict[str, str] = {"wuu": "zh", "yue": "zh", "no": "nb", "zxx": "", "und": ""}


@dataclass(frozen=True)
class LanguageGuess:
    """ISO 639 code (empty when nothing can be said) and the classifier's probability."""

    code: str
    confidence: float


def mostly_han(text: str) -> bool:
    """Whether Chinese characters are at least as many as a third of all letters, and kana are few."""
    han = len(_HAN.findall(text))
    if not han:
        return False
    letters = sum(c.isalpha() for c in text)
    return 3 * han >= letters and 10 * len(_KANA.findall(text)) <= han


def normalised(form: Literal["NFC", "NFKC"], text: str) -> str:
    """``unicodedata.normalize``, whose time grows with the square of a run of marks, in pieces where a run is long."""
    cuts = [0, *(found.end() for found in _MARKS.finditer(text)), len(text)]
    return "".join(unicodedata.normalize(form, text[a:b]) for a, b in pairwise(cuts))


class LanguageGuesser:
    """The classifier of py3langid (139 languages), loaded once; Wu and Cantonese count as Chinese."""

    def __init__(self) -> None:
        try:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier
        except ImportError as error:
            raise MissingExtra("py3langid", "text") from error
        self._identifier: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def guess(self, text: str, declared: str = "") -> LanguageGuess:
        """The language of ``text``; a short text is what it is declared to be, else what its script says."""
        sample = text[:_LOOK_AT]
        declared = declared.lower().partition("-")[0].partition("_")[0]
        han = len(_HAN.findall(sample))
        letters = sum(c.isalpha() for c in sample)
        if letters == 0:
            return LanguageGuess(declared, 0.0)
        if letters < _ENOUGH_LETTERS and han < _ENOUGH_HAN:
            return LanguageGuess(declared or ("zh" if mostly_han(sample) else ""), 0.0)
        code, confidence = self._identifier.classify(sample)
        return LanguageGuess(_FOLD.get(str(code), str(code)), round(float(confidence), 3))
