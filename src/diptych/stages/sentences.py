"""Every sentence of a document's fields and captions, with tokens and offsets into the original text.

Wording is changed in the tokens alone (:mod:`diptych.stages.wording`): ``text`` stays what the source says, ``edits``
names every change with its rule.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field, model_validator

from diptych.releases import require
from diptych.settings import unreadable
from diptych.stage import Batch, Output, Stage
from diptych.stages.splitting import SentenceSplitter, encodable, paragraphs, tokens
from diptych.stages.splitting_stanza import StanzaSplitter, tokenizer_files
from diptych.stages.wording import Edit, WordingConfig, edited, edits, hashtags

__all__ = ["Sentences", "SentencesConfig"]

FieldName = Literal["title", "text", "summary", "caption"]


class SentencesConfig(WordingConfig):
    """Which fields are split, and what is changed in their wording."""

    places: ClassVar[tuple[str, ...]] = ("folder",)

    fields: tuple[FieldName, ...] = Field(("title", "text", "summary", "caption"), description="in this order")
    folder: str | None = Field(
        None, description="a Stanza resources folder: its tokenizers say where sentences end; None: rules do"
    )
    folder_sha256: str | None = Field(None, description="of its tokenizers; filled in when the recipe is read")

    @model_validator(mode="before")
    @classmethod
    def _folder_is_content(cls, raw: Any) -> Any:
        """Changed tokenizers are a changed setting."""
        if not isinstance(raw, dict) or raw.get("folder") is None:
            return raw
        found = tokenizer_files(Path(raw["folder"]))
        if not found:
            expected = "expected <language>/tokenize/<package>.pt below it, found none"
            raise unreadable("folder", raw["folder"], expected)
        hasher = hashlib.sha256()
        for language in sorted(found):
            hasher.update(f"{language}\0{hashlib.sha256(found[language].read_bytes()).hexdigest()}\n".encode())
        if raw.get("folder_sha256") not in (None, hasher.hexdigest()):
            raise ValueError(f"the tokenizers in {raw['folder']} changed since the recipe was read")
        return {**raw, "folder_sha256": hasher.hexdigest()}


ITEM = pa.struct(
    [
        pa.field("field", pa.string(), metadata={"doc": "title, text, summary or caption"}),
        pa.field("paragraph", pa.int32(), metadata={"doc": "of a caption: which accepted pair; else which line"}),
        pa.field("position", pa.int32(), metadata={"doc": "within the paragraph"}),
        pa.field("text", pa.string(), metadata={"doc": "exactly the original between start and end"}),
        pa.field("start", pa.int32(), metadata={"doc": "code points from the beginning of the field or caption"}),
        pa.field("end", pa.int32()),
        pa.field("tokens", pa.list_(pa.string()), metadata={"doc": "of the edited words"}),
    ]
)
EDIT = pa.struct(
    [
        pa.field("field", pa.string()),
        pa.field("pair", pa.int32(), metadata={"doc": "of a caption: which accepted pair; else null"}),
        pa.field("start", pa.int32(), metadata={"doc": "code points from the beginning of the field or caption"}),
        pa.field("end", pa.int32()),
        pa.field("original", pa.string(), metadata={"doc": "exactly what stands between start and end"}),
        pa.field("text", pa.string(), metadata={"doc": "what the tokens have instead"}),
        pa.field("rule", pa.string(), metadata={"doc": "hashtag, mention, address or spelling"}),
    ]
)


class Sentences(Stage):
    """Splits title, text, summary and the captions of accepted pairs; a line break ends a paragraph.

    A caption may hold several, one a line: ``position`` counts through them, ``paragraph`` stays the pair's. A
    sentence of which no word is left is left out.
    """

    name, version = "sentences", 2
    key = "document"
    inputs = (
        "documents.title",
        "documents.text",
        "documents.summary",
        "documents.language",
        "documents.keyphrases",
        "documents.source",
        "documents.subset",
        "pairs.caption",
    )
    outputs = pa.schema(
        [
            pa.field("items", pa.list_(ITEM)),
            pa.field("edits", pa.list_(EDIT)),
            pa.field("keyphrases", pa.list_(pa.string()), metadata={"doc": "the document's, and hashtags moved there"}),
        ]
    )
    Config = SentencesConfig
    config: SentencesConfig
    packages = ("sentencex", "breame")
    batch_size = 256

    def check(self) -> None:
        """The splitters, and the table of spellings."""
        require("text", *self.packages)
        if self.config.folder is not None:
            require("parse", "stanza")

    def setup(self, device: str) -> None:
        """Load the splitter."""
        folder = self.config.folder
        self._splitter = SentenceSplitter() if folder is None else StanzaSplitter(Path(folder))

    def process(self, batch: Batch) -> Output:
        """A document without text has no items and is ok."""
        out = batch.output()
        for row in range(len(batch)):
            language = batch["documents.language"][row] or ""
            british = not {batch["documents.source"][row], batch["documents.subset"][row]}.isdisjoint(
                self.config.british
            )
            items: list[dict[str, Any]] = []
            changes: list[dict[str, Any]] = []
            phrases = dict.fromkeys(batch["documents.keyphrases"][row] or ())
            for name, pair, text in self._texts(batch, row):
                found = edits(text, self.config, british)
                changes += [
                    {"field": name, "pair": pair, "original": text[e.start : e.end], **asdict(e)} for e in found
                ]
                if self.config.hashtags == "keyphrases":
                    phrases |= dict.fromkeys(hashtags(text, found))
                items += self._items(name, pair, text, language, found)
            out.set(row, items=items, edits=changes, keyphrases=list(phrases))
        return out

    def _texts(self, batch: Batch, row: int) -> Iterator[tuple[str, int | None, str]]:
        """The fields and captions to split: name, which pair of a caption, text."""
        for name in self.config.fields:
            if name == "caption":
                for pair, caption in enumerate(batch["pairs.caption"][row] or ()):
                    yield name, pair, encodable(caption or "")
            else:
                yield name, None, encodable(batch[f"documents.{name}"][row] or "")

    def _items(
        self, name: str, pair: int | None, text: str, language: str, changes: Sequence[Edit]
    ) -> Iterator[dict[str, Any]]:
        counts: Counter[int] = Counter()
        for line, (start, end) in enumerate(paragraphs(text)):
            paragraph = line if pair is None else pair
            for a, b in self._splitter.split(text[start:end], language):
                a, b = start + a, start + b
                words = tokens(edited(text, a, b, changes))
                if not words and changes:
                    continue
                yield {
                    "field": name,
                    "paragraph": paragraph,
                    "position": counts[paragraph],
                    "text": text[a:b],
                    "start": a,
                    "end": b,
                    "tokens": words,
                }
                counts[paragraph] += 1
