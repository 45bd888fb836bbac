"""Which documents have a text worth keeping, and normalised facts about it.

=================  ================================================  =======================
rule               value                                             threshold
=================  ================================================  =======================
``empty_text``     characters in title, text and summary             1
``short_text``     characters (Chinese characters count double)      ``min_characters``
``long_text``      characters of the text                            ``max_characters``
``language``       the classifier's confidence (the text names it)   ``min_confidence``
``boilerplate``    share of the text in boilerplate lines            ``max_boilerplate``
=================  ================================================  =======================

A dataset whose documents have captions only (COCO) sets ``min_characters: 0``, which also allows no text.
"""

from __future__ import annotations

import re
from typing import ClassVar

import pyarrow as pa
from pydantic import Field

from diptych.releases import require
from diptych.stage import Batch, Output, RowState, Stage, StageConfig, Status
from diptych.stages.language import HAN, LanguageGuess, LanguageGuesser, normalised
from diptych.stages.minhash import signature

__all__ = ["CleanText", "CleanTextConfig", "boilerplate_share"]

_BOILERPLATE = re.compile(
    r"""\b(cookies?\ (policy|settings|consent|preferences)|(we|this\ (web)?site)\ uses?\ cookies|accept\ (all\ )?cookies
    |all\ rights\ reserved|terms\ (of\ (use|service)|and\ conditions)|privacy\ policy|(sign|log)\ (in|up)\ to
    |subscribe\ (now|to\ (our|the))|newsletter
    |(please\ )?(enable|turn\ on)\ javascript|javascript\ is\ (disabled|required)
    |page\ not\ found|404\ error|access\ denied|click\ here\ to|share\ (this\ )?(on|via)\ (facebook|twitter|x)\b
    |follow\ us\ on|skip\ to\ (main\ )?content|lorem\ ipsum|advertisement\s*$|sponsored\ content|powered\ by\ wordpress)
    |版权所有|保留所有权利|隐私政策|使用条款|服务条款|请启用\s*javascript|登录后|立即注册|点击这里|关注我们|扫码关注|转载请注明|未经授权
    |免责声明|页面不存在|返回首页""",
    re.IGNORECASE | re.VERBOSE,
)
_LINE_LIMIT = 240  # a long paragraph that mentions a cookie policy is an article about it
_WORD = re.compile(rf"[{HAN}]|[^\W\d_{HAN}]+(?:['\u2019-][^\W\d_{HAN}]+)*|\d+(?:[.,]\d+)*")
_HAN = re.compile(f"[{HAN}]")


class CleanTextConfig(StageConfig):
    """Thresholds of the rules; None (or an empty list) switches a rule off."""

    min_characters: int = Field(40, ge=0, description="least characters of title, text and summary together")
    max_characters: int | None = Field(1_000_000, ge=1, description="longest text")
    languages: tuple[str, ...] = Field(("en", "zh"), description="allowed languages, ISO 639; empty allows all")
    min_confidence: float = Field(0.5, ge=0, le=1, description="below it the declared language is believed")
    max_boilerplate: float | None = Field(0.5, gt=0, le=1, description="largest share of boilerplate lines")


class CleanText(Stage):
    """Applies the text rules to every fetched document."""

    name, version = "clean_text", 2
    key = "document"
    inputs = ("documents.title", "documents.text", "documents.summary", "documents.language")
    outputs = pa.schema(
        [
            pa.field("language", pa.string(), metadata={"doc": "ISO 639; empty when nothing can be said"}),
            pa.field("confidence", pa.float64(), metadata={"doc": "0 when the declared language was believed"}),
            pa.field("characters", pa.int64(), metadata={"doc": "of title, text and summary, normalised"}),
            pa.field("words", pa.int64(), metadata={"doc": "a Chinese character counts as one"}),
            pa.field("paragraphs", pa.int32(), metadata={"doc": "non-empty lines of the text"}),
            pa.field("boilerplate", pa.float64(), metadata={"doc": "share of the text in boilerplate lines"}),
            pa.field("minhash", pa.binary(), metadata={"doc": "of lower-case words in threes: 125 uint32"}),
        ]
    )
    Config = CleanTextConfig
    config: CleanTextConfig
    packages = ("py3langid",)
    fetched: ClassVar[bool] = True
    gate: ClassVar[bool] = True
    batch_size = 256

    def check(self) -> None:
        """The language guesser."""
        require("text", "py3langid")

    def setup(self, device: str) -> None:
        """Load the language classifier."""
        self._guesser = LanguageGuesser()

    def process(self, batch: Batch) -> Output:
        """Facts for every row; the first rule that fires gives the reason."""
        out = batch.output()
        for row in range(len(batch)):
            title, text, summary = (_normal(batch[f"documents.{n}"][row]) for n in ("title", "text", "summary"))
            whole = "\n".join(part for part in (title, text, summary) if part)
            guess = self._language(whole, batch["documents.language"][row] or "")
            share = boilerplate_share(text)
            words = _WORD.findall(whole.lower())
            out.set(
                row,
                language=guess.code,
                confidence=guess.confidence,
                characters=len(whole),
                words=len(words),
                paragraphs=sum(1 for line in text.split("\n") if line),
                boilerplate=share,
                minhash=signature(words),
            )
            state = self._judge(whole, text, guess, share)
            if state is not None:
                out.states[row] = state
        return out

    def _language(self, text: str, declared: str) -> LanguageGuess:
        guess = self._guesser.guess(text, declared)
        if declared and guess.confidence < self.config.min_confidence:
            return LanguageGuess(declared.lower().partition("-")[0].partition("_")[0], 0.0)
        return guess

    def _judge(self, whole: str, text: str, guess: LanguageGuess, share: float) -> RowState | None:
        config = self.config
        length = len(whole) + len(_HAN.findall(whole))
        if config.min_characters and not whole:
            return RowState(Status.REJECTED, "empty_text", "no title, text or summary", 0.0, 1.0)
        if length < config.min_characters:
            return RowState(Status.REJECTED, "short_text", "", float(length), float(config.min_characters))
        if config.max_characters is not None and len(text) > config.max_characters:
            return RowState(Status.REJECTED, "long_text", "", float(len(text)), float(config.max_characters))
        if whole and config.languages and guess.code and guess.code not in config.languages:
            allowed = ", ".join(config.languages)
            return RowState(
                Status.REJECTED,
                "language",
                f"{guess.code} is not among {allowed}",
                guess.confidence,
                config.min_confidence,
            )
        if config.max_boilerplate is not None and share > config.max_boilerplate:
            return RowState(Status.REJECTED, "boilerplate", "", share, config.max_boilerplate)
        return None


def boilerplate_share(text: str) -> float:
    """The share of characters in short lines that say what every page says, or that the text said before."""
    total = bad = 0
    seen: set[str] = set()
    for line in text.split("\n"):
        if not line:
            continue
        total += len(line)
        if line in seen or (len(line) <= _LINE_LIMIT and _BOILERPLATE.search(line)):
            bad += len(line)
        seen.add(line)
    return round(bad / total, 6) if total else 0.0


def _normal(text: str | None) -> str:
    """NFC, runs of blanks as one space, lines trimmed."""
    lines = normalised("NFC", text or "").splitlines()
    return "\n".join(line for line in (" ".join(raw.split()) for raw in lines) if line)
