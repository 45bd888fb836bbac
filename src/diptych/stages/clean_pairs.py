"""Which uses of an image by a document are kept: no advertisements, duplicates or recurring pictures.

=====================  =======================================  ===========
rule                   value                                    threshold
=====================  =======================================  ===========
``advertisement``      -  (the text is the filter's line)       -
``exact_duplicate``    the how-manieth use of the same bytes    1
``near_duplicate``     Hamming distance to the kept picture     -
``recurring``          -                                        -
=====================  =======================================  ===========
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pyarrow as pa
from pydantic import Field, model_validator

from diptych.settings import unreadable
from diptych.stage import Batch, Output, RowState, Stage, StageConfig, Status
from diptych.stages.filter_list import FilterList, own_filters

__all__ = ["CleanPairs", "CleanPairsConfig"]


class CleanPairsConfig(StageConfig):
    """Which rules apply, and the filter lists of the advertisement rule."""

    places: ClassVar[tuple[str, ...]] = ("filter_list",)

    advertisement: bool = Field(True, description="refuse addresses that a filter list blocks")
    own_list: bool = Field(True, description="use the short list that Diptych ships")
    filter_list: str | None = Field(None, description="path of a further list in Adblock Plus syntax")
    filter_list_sha256: str | None = Field(None, description="of that file; filled in when the recipe is read")
    exact_duplicate: bool = Field(True, description="refuse the same bytes a second time in one document")
    near_duplicate: bool = Field(True, description="refuse a picture that a better one in the document resembles")
    recurring: bool = Field(True, description="refuse pictures that stand in many documents")

    @model_validator(mode="before")
    @classmethod
    def _file_is_content(cls, raw: Any) -> Any:
        """A changed file is a changed setting: its hash stands beside its path."""
        if not isinstance(raw, dict) or raw.get("filter_list") is None:
            return raw
        try:
            found = hashlib.sha256(Path(raw["filter_list"]).read_bytes()).hexdigest()
        except OSError as error:
            raise unreadable("filter_list", raw["filter_list"], error.strerror) from error
        expected = raw.get("filter_list_sha256")
        if expected not in (None, found):
            raise ValueError(f"filter_list: {raw['filter_list']} has SHA-256 {found}, expected {expected}")
        return {**raw, "filter_list_sha256": found}


class CleanPairs(Stage):
    """Decides on each document's use of each image; needs no pixels."""

    name, version = "clean_pairs", 3
    key = "pair"
    inputs = (
        "documents.url",
        "pairs.url",
        "pairs.caption",
        "clean.width",
        "clean.height",
        "near_duplicates.group",
        "near_duplicates.duplicate_of",
        "near_duplicates.distance",
        "near_duplicates.recurring",
    )
    outputs = pa.schema(
        [
            pa.field("host", pa.string(), metadata={"doc": "of the picture's address; empty for a local file"}),
            pa.field("caption_characters", pa.int32()),
            pa.field("area", pa.int64(), metadata={"doc": "pixels"}),
            pa.field("group", pa.string(), metadata={"doc": "near-duplicate group: its smallest image key"}),
        ]
    )
    Config = CleanPairsConfig
    config: CleanPairsConfig
    fetched: ClassVar[bool] = True
    gate: ClassVar[bool] = True
    batch_size = 1024

    def setup(self, device: str) -> None:
        """Read the filter lists."""
        texts = [own_filters()] if self.config.own_list else []
        if self.config.filter_list is not None:
            texts.append(Path(self.config.filter_list).read_text(encoding="utf-8", errors="replace"))
        self._filters = FilterList(texts)

    def process(self, batch: Batch) -> Output:
        """Facts for every row; the first rule that fires gives the reason."""
        out = batch.output()
        for row, key in enumerate(batch.keys):
            url, caption = batch["pairs.url"][row] or "", batch["pairs.caption"][row] or ""
            area = (batch["clean.width"][row] or 0) * (batch["clean.height"][row] or 0)
            group = batch["near_duplicates.group"][row]
            out.set(row, host=_host(url), caption_characters=len(caption.strip()), area=area, group=group)
            state = self._judge(key, url, batch, row)
            if state is not None:
                out.states[row] = state
        return out

    def _judge(self, key: str, url: str, batch: Batch, row: int) -> RowState | None:
        config = self.config
        page = batch["documents.url"][row] or ""
        line = self._filters.match(url, page) if config.advertisement else None
        if line is not None:
            return RowState(Status.REJECTED, "advertisement", f"{url} is blocked by {line}")
        occurrence = int(key.rpartition("#")[2]) if "#" in key else 1
        if config.exact_duplicate and occurrence > 1:
            return RowState(Status.REJECTED, "exact_duplicate", "same bytes again", float(occurrence), 1.0)
        better = batch["near_duplicates.duplicate_of"][row]
        if config.near_duplicate and better is not None:
            distance = batch["near_duplicates.distance"][row]
            value = None if distance is None else float(distance)
            return RowState(Status.REJECTED, "near_duplicate", f"resembles {better}", value)
        if config.recurring and batch["near_duplicates.recurring"][row]:
            return RowState(Status.REJECTED, "recurring", "stands in many documents")
        return None


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
