"""A small language detector for pages that do not say theirs: by script, then by the commonest words."""

from __future__ import annotations

import re

__all__ = ["detect_language", "language_tag"]

_SCRIPTS: tuple[tuple[str, str], ...] = (
    ("ja", r"[\u3040-\u30ff]"),
    ("ko", r"[\uac00-\ud7af]"),
    ("zh", r"[\u4e00-\u9fff]"),
    ("ru", r"[\u0400-\u04ff]"),
    ("el", r"[\u0370-\u03ff]"),
    ("ar", r"[\u0600-\u06ff]"),
    ("he", r"[\u0590-\u05ff]"),
    ("hi", r"[\u0900-\u097f]"),
    ("th", r"[\u0e00-\u0e7f]"),
)
_WORDS: dict[str, frozenset[str]] = {
    "en": frozenset("the of and to in is that was for it with on as at by are be this from have not which".split()),
    "de": frozenset("der die und das den von zu mit ist nicht ein eine dem im auf für sich auch des werden".split()),
    "fr": frozenset("le la les de des et un une est en que qui dans pour pas sur au du il elle avec".split()),
    "es": frozenset("el la los las de y en que es un una por con para del se no su al lo como".split()),
    "it": frozenset("il la di che e un una per in non con del della le si dei sono da gli anche".split()),
    "pt": frozenset("o a os as de que e do da em um uma para com não no na por mais se dos".split()),
    "nl": frozenset("de het een en van in is dat op te zijn met voor niet aan er door ook bij".split()),
    "sv": frozenset("och att det som en på är av för med den till inte ett om har de var".split()),
    "pl": frozenset("i w na z do się nie to że jest o jak po za od co przez dla".split()),
}


def language_tag(tag: str) -> str:
    """ISO 639-1 of a language tag: ``zh-Hans-CN`` is zh; empty when it is none."""
    primary = re.split(r"[-_]", tag.strip().lower())[0]
    return primary if re.fullmatch(r"[a-z]{2}", primary) else ""


def detect_language(text: str) -> str:
    """ISO 639-1 of a text, empty when too little speaks for any."""
    sample = text[:5000]
    letters = sum(char.isalpha() for char in sample)
    if not letters:
        return ""
    for language, pattern in _SCRIPTS:
        share = len(re.findall(pattern, sample)) / letters
        if share > (0.1 if language in ("ja", "ko") else 0.3):
            return language
    words = re.findall(r"[^\W\d_]+", sample.lower())
    scores = {language: sum(word in common for word in words) for language, common in _WORDS.items()}
    best = max(scores, key=lambda language: scores[language])
    others = max(score for language, score in scores.items() if language != best)
    return best if scores[best] >= max(3, 0.05 * len(words)) and scores[best] > others else ""
