"""Every sentence of a document's fields and captions, with tokens and offsets into the original text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pyarrow as pa
from pydantic import Field

from diptych.stage import Batch, Output, Stage, StageConfig
from diptych.stages.splitting import SentenceSplitter, paragraphs, tokens

__all__ = ["Sentences", "SentencesConfig"]

FieldName = Literal["title", "text", "summary", "caption"]


class SentencesConfig(StageConfig):
    """Which fields are split."""

    fields: tuple[FieldName, ...] = Field(("title", "text", "summary", "caption"), description="in this order")


ITEM = pa.struct(
    [
        pa.field("field", pa.string(), metadata={"doc": "title, text, summary or caption"}),
        pa.field("paragraph", pa.int32(), metadata={"doc": "of a caption: which accepted pair; else which line"}),
        pa.field("position", pa.int32(), metadata={"doc": "within the paragraph"}),
        pa.field("text", pa.string(), metadata={"doc": "exactly the original between start and end"}),
        pa.field("start", pa.int32(), metadata={"doc": "code points from the beginning of the field or caption"}),
        pa.field("end", pa.int32()),
        pa.field("tokens", pa.list_(pa.string())),
    ]
)


class Sentences(Stage):
    """Splits title, text, summary and the captions of accepted pairs; a line break ends a paragraph.

    A caption may hold several, one a line: ``position`` counts through them, ``paragraph`` stays the pair's.
    """

    name, version = "sentences", 1
    key = "document"
    inputs = ("documents.title", "documents.text", "documents.summary", "documents.language", "pairs.caption")
    outputs = pa.schema([pa.field("items", pa.list_(ITEM))])
    Config = SentencesConfig
    config: SentencesConfig
    packages = ("sentencex",)
    batch_size = 256

    def setup(self, device: str) -> None:
        """Load the splitter."""
        self._splitter = SentenceSplitter()

    def process(self, batch: Batch) -> Output:
        """A document without text has no items and is ok."""
        out = batch.output()
        for row in range(len(batch)):
            language = batch["documents.language"][row] or ""
            items: list[dict[str, object]] = []
            for name in self.config.fields:
                if name == "caption":
                    for index, caption in enumerate(batch["pairs.caption"][row] or ()):
                        found = (item for _, item in self._sentences(caption or "", language))
                        items += (_item(name, index, n, caption, span) for n, span in enumerate(found))
                    continue
                text = batch[f"documents.{name}"][row] or ""
                counts: dict[int, int] = {}
                for line, span in self._sentences(text, language):
                    items.append(_item(name, line, counts.get(line, 0), text, span))
                    counts[line] = counts.get(line, 0) + 1
            out.set(row, items=items)
        return out

    def _sentences(self, text: str, language: str) -> Iterator[tuple[int, tuple[int, int]]]:
        """Line number and span of each sentence."""
        for line, (start, end) in enumerate(paragraphs(text)):
            for a, b in self._splitter.split(text[start:end], language):
                yield line, (start + a, start + b)


def _item(field: str, paragraph: int, position: int, text: str, span: tuple[int, int]) -> dict[str, object]:
    piece = text[span[0] : span[1]]
    return {
        "field": field,
        "paragraph": paragraph,
        "position": position,
        "text": piece,
        "start": span[0],
        "end": span[1],
        "tokens": tokens(piece),
    }
