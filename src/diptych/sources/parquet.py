"""Parquet folders as Hugging Face writes them: an image column (struct of ``bytes`` and ``path``) and text columns.

The bytes of each picture become a blob while the file is read; their address is ``file:<file>!/<column>/<row>``. A
picture without bytes is the file that its ``path`` names below the folder. A record is named by ``id`` or by file and
row. A file named ``train-00000-of-00002.parquet`` (or in a folder ``train``) has that split when ``splits`` is on.
A folder that ``diptych export`` wrote (``sources/exported.py``) is read back as the records it was made from, without
settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from diptych.exceptions import RecipeError, SourceError
from diptych.records import Document, Found, Picture
from diptych.sources.base import Missed
from diptych.sources.containers import ContainerConfig, Containers, member_url
from diptych.sources.exported import document_of, is_export, picture_of
from diptych.sources.fetch import Fetcher
from diptych.sources.fields import Wrong, shown, text_in
from diptych.sources.malformed import Malformed
from diptych.sources.official import check_split
from diptych.sources.spool import Spool
from diptych.sources.tables import Row, batch_rows, check_texts, extra_json, text_of
from diptych.sources.urls import file_url

__all__ = ["Parquet", "ParquetConfig", "image_columns"]

_BATCH = 32
_SPLIT = re.compile(r"(?:^|/)(train|validation|valid|val|dev|test)(?=[-_./]|$)")
_DEV = frozenset({"validation", "valid", "val"})
_CAPTIONS = ("caption", "captions", "text", "sentences", "description", "title")


class ParquetConfig(ContainerConfig):
    """Settings of a Parquet source; columns are found by their type and name when not given."""

    kind: Literal["parquet"] = "parquet"  # pyright: ignore[reportIncompatibleVariableOverride]
    images: tuple[str, ...] = Field(default=(), description="Image columns; those that look like one when empty")
    caption: str = Field(default="", description="Column with the caption or a list of them; by name when empty")
    id: str = Field(default="", description="Column with the record's own id; file and row when empty")
    title: str = Field(default="", description="Column with the document's title")
    text: str = Field(default="", description="Column with the document's text; the captions when empty")
    summary: str = Field(default="", description="Column with the document's summary")
    split: str = Field(default="", description="Column with the official split")
    splits: bool = Field(default=False, description="Take official splits from the names of files and folders")
    language: str = Field(default="", max_length=8, description="ISO 639-1 of all texts")


class Parquet(Containers):
    """Pictures and text from Parquet files."""

    Config = ParquetConfig
    config: ParquetConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    endings = (".parquet",)
    torn_by = (OSError, pa.ArrowException, UnicodeDecodeError)

    def check(self) -> None:
        """There are files, and the first has an image column and the columns that the settings name."""
        first = next(self.names(), None)
        if first is None:
            raise RecipeError(f"source {self.name!r}, path: no .parquet file in {self.files()}")
        try:
            schema = pq.read_schema(self.files() / first)
        except self.torn_by as error:
            raise SourceError(f"source {self.name!r}: {self.files() / first} is no Parquet file: {error}") from error
        named = (*self.config.images, self.config.caption, self.config.id, self.config.title, self.config.text)
        missing = sorted({n for n in (*named, self.config.summary, self.config.split) if n} - set(schema.names))
        if missing or not (self.config.images or image_columns(schema)):
            lacks = f"has no column {missing}" if missing else "has no image column (struct of bytes and path)"
            raise SourceError(f"source {self.name!r}: {first} {lacks}; it has {schema.names}")

    def read_file(
        self, fetcher: Fetcher, name: str, malformed: Malformed, seen: Spool, began: set[str]
    ) -> Iterator[Found | Missed]:
        path = self.files() / name
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            images = self.config.images or image_columns(schema)
            caption = self.config.caption or next((c for c in _CAPTIONS if _is_text(schema, c)), "")
            exported = self._is_export(schema)
            first = 0
            for batch in file.iter_batches(_BATCH):
                for number, row in batch_rows(batch, first, path, malformed):
                    record = text_of(row, "id") if exported else text_of(row, self.config.id) or f"{name}:{number}"
                    if self.config.id and not exported:
                        if seen.get(record):
                            malformed.add(path, f"row {number}", "each id once", record)
                            continue
                        seen.fill([(record, "seen")])
                    began.add(record)
                    try:
                        if exported:
                            found = self._exported(fetcher, name, number, row)
                        else:
                            self._check(row, caption)
                            pictures = list(self._pictures(fetcher, name, number, row, images, caption, malformed))
                            found = self._found(record, name, number, row, pictures, {*images, caption})
                    except Wrong as wrong:
                        malformed.add_wrong(path, f"row {number}", wrong)
                        yield Missed(record, member_url(name, str(number)), "failed_permanent", "malformed")
                    else:
                        yield found
                first += batch.num_rows

    def _check(self, row: Row, caption: str) -> None:
        """:class:`Wrong` for a column that holds no text, or a split that is none."""
        config = self.config
        check_texts(row, [caption, config.id, config.title, config.text, config.summary, config.split])
        check_split(text_of(row, config.split), config.split)

    def _is_export(self, schema: pa.Schema) -> bool:
        """Whether the file says itself what its columns mean, and no setting says otherwise."""
        config = self.config
        own = config.images or config.caption or config.id or config.title or config.text or config.summary
        return not own and is_export((schema.metadata or {}).get(b"diptych")) and "images" in schema.names

    def _exported(self, fetcher: Fetcher, name: str, number: int, row: Row) -> Found:
        """A record as ``diptych export`` wrote it."""
        shown_here = [_image(row, position, item) for position, item in enumerate(row["images"] or ())]
        urls = [member_url(name, f"images/{number}/{position}") for position in range(len(shown_here))]
        pictures = [picture_of(url, values) for url, (_, values) in zip(urls, shown_here, strict=True)]
        document, split = document_of(row), check_split(text_in(row, "split"))
        for url, (data, _) in zip(urls, shown_here, strict=True):
            fetcher.keep(url, data)
        return Found(text_of(row, "id"), member_url(name, str(number)), document, tuple(pictures), split)

    def _pictures(
        self,
        fetcher: Fetcher,
        name: str,
        number: int,
        row: Row,
        images: tuple[str, ...],
        caption: str,
        malformed: Malformed,
    ) -> Iterator[Picture]:
        lines = text_of(row, caption)
        for column in images:
            value = row.get(column)
            for position, item in enumerate(value if isinstance(value, list) else [value]):
                if item is None:
                    continue
                data, path = (item.get("bytes"), item.get("path")) if isinstance(item, dict) else (item, None)
                member = f"{column}/{number}" + (f"/{position}" if isinstance(value, list) else "")
                url = member_url(name, member)
                if isinstance(data, bytes):
                    fetcher.keep(url, data)
                elif isinstance(path, str) and path and "://" not in path:
                    folder = name.rpartition("/")[0]
                    beside = f"{folder}/{path}" if folder else path
                    url = file_url(beside if (self.files() / beside).is_file() else path)
                else:
                    expected = f"an image with bytes or the path of a file in {column!r} (addresses: kind urls)"
                    malformed.add(self.files() / name, f"row {number}", expected, item)
                    continue
                yield Picture(url, lines, extra=extra_json({"path": path}) if isinstance(data, bytes) else "")

    def _found(self, record: str, name: str, number: int, row: Row, pictures: list[Picture], used: set[str]) -> Found:
        config = self.config
        named = {config.id, config.title, config.text, config.summary, config.split} | used
        captions = pictures[0].caption if pictures else ""
        document = Document(
            title=text_of(row, config.title),
            text=text_of(row, config.text) or captions,
            summary=text_of(row, config.summary),
            language=config.language,
            extra=extra_json({key: _plain(value) for key, value in row.items() if key not in named}),
        )
        split = text_of(row, config.split)
        if not split and config.splits and (match := _SPLIT.search(name)):
            split = "dev" if match.group(1) in _DEV else match.group(1)
        return Found(record, f"{member_url(name, str(number))}", document, tuple(pictures), split)


def image_columns(schema: pa.Schema) -> tuple[str, ...]:
    """Columns that hold pictures: a struct with ``bytes`` (and ``path``), a list of those, or bytes named so."""
    return tuple(field.name for field in schema if _is_image(field.type, field.name))


def _is_image(kind: pa.DataType, name: str) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_image(kind.value_type, name)
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)) and name in ("image", "jpg", "png", "img")


def _is_text(schema: pa.Schema, column: str) -> bool:
    """Whether the column is there and holds texts, or lists of them."""
    index = schema.get_field_index(column)
    kind = schema.field(index).type if index >= 0 else pa.null()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _image(row: Row, position: int, item: Any) -> tuple[bytes, Row]:
    """Bytes and texts of one picture of an exported row."""
    if not isinstance(item, dict) or not isinstance(item.get("bytes"), bytes):
        raise Wrong(f"images[{position}]", "a picture with bytes", shown(item))
    values: Row = {}
    for key in ("captions", "alt", "extra", "licence"):
        column = row.get(f"image_{key}")
        if not isinstance(column, list) or position >= len(column):
            raise Wrong(f"image_{key}", "one value a picture", shown(column))
        values[key] = column[position]
    return item["bytes"], values


def _plain(value: Any) -> Any:
    return None if isinstance(value, bytes) else value
