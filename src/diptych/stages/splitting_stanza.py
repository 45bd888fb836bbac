"""Sentence boundaries by Stanza's tokenizer models, where the user has them.

Only boundaries are Stanza's. Tokens stay those of :func:`diptych.stages.splitting.tokens`, because the stages ``bert``
and ``parse`` and the models count words by that rule. A language without a model is split by our rules.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from diptych.releases import require
from diptych.stages.splitting import SentenceSplitter, Span, encodable

__all__ = ["StanzaSplitter", "tokenizer_files"]


def tokenizer_files(folder: Path) -> dict[str, Path]:
    """Language to model file of a Stanza resources folder: ``<folder>/<language>/tokenize/<package>.pt``.

    The first package by name is taken where a language has several.
    """
    found = sorted(folder.glob("*/tokenize/*.pt"), reverse=True)
    return {path.parts[-3]: path for path in found}


class StanzaSplitter:
    """As :class:`~diptych.stages.splitting.SentenceSplitter`, for the languages of a folder; loads lazily."""

    def __init__(self, folder: Path) -> None:
        require("parse", "stanza")
        self._files = tokenizer_files(folder)
        self._rules = SentenceSplitter()
        self._pipelines: dict[str, Any] = {}

    def split(self, text: str, language: str = "") -> list[Span]:
        """Spans in order, blanks between them left out."""
        name = {"zh": "zh-hans"}.get(language, language)
        name = name if name in self._files else language
        if name not in self._files or not text.strip():
            return self._rules.split(text, language)
        document = self._pipeline(name)(encodable(text))
        spans = [(s.tokens[0].start_char, s.tokens[-1].end_char) for s in document.sentences if s.tokens]
        return [(int(a), int(b)) for a, b in spans if a < b]

    def _pipeline(self, language: str) -> Any:
        if language not in self._pipelines:
            import stanza

            with tempfile.TemporaryDirectory() as folder:  # Stanza wants a list of resources, even for a named file
                resources = {language: {"lang_name": language, "packages": {}, "tokenize": {}}}
                (Path(folder) / "resources.json").write_text(json.dumps(resources), encoding="utf-8")
                self._pipelines[language] = stanza.Pipeline(
                    language, dir=folder, processors="tokenize", use_gpu=False, verbose=False,
                    download_method=None,  # pyright: ignore[reportArgumentType] - its documented way of no network
                    tokenize_model_path=str(self._files[language]), allow_unknown_language=True,
                )  # fmt: skip
        return self._pipelines[language]
