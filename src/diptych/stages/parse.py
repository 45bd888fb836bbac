"""The constituency tree of every sentence: Penn brackets, and flat arrays that a model reads without parsing again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
from pydantic import Field

from diptych import weights
from diptych.models.parser.flat import FlatTree, flat_tree, flatten, is_punctuation
from diptych.releases import require
from diptych.stage import Batch, Output, Stage, StageConfig
from diptych.stages.language import LanguageGuesser
from diptych.stages.splitting import encodable, tokens

if TYPE_CHECKING:
    from diptych.models.parser.reading import Parser
    from diptych.models.parser.tree import Tree

__all__ = ["Parse", "ParseConfig"]


class ParseConfig(StageConfig):
    """Which parser reads which language, and how long a sentence may be."""

    models: dict[str, str] = Field(
        {"en": "parser_english"},
        description="language -> parser in the weights cache (diptych parser import); other languages are skipped",
    )
    short: str = Field("en", description="language of Latin text too short to tell; empty: such sentences are skipped")
    max_words: int = Field(80, ge=1, le=1000, description="longer sentences are rejected: too_long")


class Parse(Stage):
    """One row a distinct sentence; ``words`` are those of ``sentences.items`` before any edit of the wording.

    ``bracket`` is what the parser says; the arrays are normalised (see :mod:`diptych.models.parser.flat`). A sentence
    the parser gave no tree for has every word below the root and ``parsed`` false.
    """

    name, version = "parse", 1
    key = "sentence"
    inputs = ("sentence.text",)
    outputs = pa.schema(
        [
            pa.field("language", pa.string()),
            pa.field("words", pa.list_(pa.string())),
            pa.field("bracket", pa.string(), metadata={"doc": "Penn brackets; brackets among the words are escaped"}),
            pa.field("parsed", pa.bool_(), metadata={"doc": "false: no tree, all words below the root"}),
            pa.field("parent", pa.list_(pa.int32()), metadata={"doc": "node 0 is the root, -1 its parent"}),
            pa.field("label", pa.list_(pa.string())),
            pa.field("start", pa.list_(pa.int32()), metadata={"doc": "first of `words`; of a leaf: its word"}),
            pa.field("end", pa.list_(pa.int32()), metadata={"doc": "behind the last of `words`"}),
            pa.field("noun_phrase", pa.list_(pa.bool_()), metadata={"doc": "false at the root"}),
        ]
    )
    Config = ParseConfig
    config: ParseConfig
    packages = ("stanza", "torch", "py3langid")
    accelerator: ClassVar[bool] = True
    batch_size = 512

    def weight_names(self) -> tuple[str, ...]:
        """The parsers of the configuration."""
        return tuple(dict.fromkeys(self.config.models.values()))

    def check(self) -> None:
        """Stanza and the language guesser."""
        require("parse", "stanza")
        require("text", "py3langid")

    def setup(self, device: str) -> None:
        """Load the language guesser and the parsers."""
        from diptych.models.parser.reading import Parser

        self._guesser = LanguageGuesser()
        loaded = {name: Parser(weights.path(name), device) for name in self.weight_names()}
        self._parsers: dict[str, Parser] = {code: loaded[name] for code, name in self.config.models.items()}

    def process(self, batch: Batch) -> Output:
        """All sentences of a language at once; the parser sorts and batches them by length."""
        out = batch.output()
        waiting: dict[str, list[tuple[int, list[str]]]] = {}
        for row, text in enumerate(batch["sentence.text"]):
            words = [encodable(word) for word in tokens(text or "")]
            if all(is_punctuation(word) for word in words):
                out.skip(row, "no_words")
            elif len(words) > self.config.max_words:
                out.reject(row, "too_long", value=float(len(words)), threshold=float(self.config.max_words))
            elif (language := self._language(text or "")) not in self._parsers:
                out.skip(row, "no_model")
            else:
                waiting.setdefault(language, []).append((row, words))
        for language, rows in waiting.items():
            found = _trees(self._parsers[language], [words for _, words in rows])
            for (row, words), tree in zip(rows, found, strict=True):
                flat = flat_tree(words) if tree is None else flatten(tree, words)
                bracket = None if tree is None else tree.bracket()
                out.set(row, language=language, words=words, bracket=bracket, parsed=tree is not None, **_columns(flat))
        return out

    def _language(self, text: str) -> str:
        letters = [c for c in text if c.isalpha()]
        latin = 2 * sum(c < "\u0250" for c in letters) >= len(letters)
        return self._guesser.guess(text, self.config.short if latin else "").code

    def close(self) -> None:
        """Forget the parsers."""
        for parser in vars(self).pop("_parsers", {}).values():
            parser.close()


def _trees(parser: Parser, sentences: Sequence[Sequence[str]]) -> list[Tree | None]:
    """All at once; when that fails one by one, so that one sentence does not take the others with it."""
    import torch

    try:
        found = parser.parse(sentences)
    except (RuntimeError, ValueError, IndexError, KeyError, AssertionError) as error:
        if isinstance(error, torch.OutOfMemoryError | torch.AcceleratorError) or "can't allocate memory" in str(error):
            raise  # which says nothing of the sentences
        if len(sentences) == 1:
            return [None]
        return [_trees(parser, [words])[0] for words in sentences]
    return [
        tree if tree and len(tree.leaves()) == len(words) else None
        for tree, words in zip(found, sentences, strict=True)
    ]


def _columns(flat: FlatTree) -> dict[str, list[int] | list[str] | list[bool]]:
    return {
        "parent": list(flat.parent), "label": list(flat.label), "start": list(flat.start), "end": list(flat.end),
        "noun_phrase": list(flat.noun_phrase),
    }  # fmt: skip
