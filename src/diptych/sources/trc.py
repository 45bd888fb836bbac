"""The text-image relationship set (Vempala and Preotiuc-Pietro 2019, TRC), with which MM-MKP learns matching.

What is published is a CSV with ``tweet_id,image_adds,text_is_represented`` (0 or 1); the posts themselves are yours,
as the source ``tweets`` reads them. A record is a labelled post; both labels stand in its ``extra``. A labelled post
that your file lacks (most often: deleted since) is a record that is gone. The first rows of the labels are train, the
rest dev.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from pydantic import Field

from diptych.exceptions import RecipeError, SourceError
from diptych.records import Found
from diptych.sources.base import Missed
from diptych.sources.fetch import Fetcher
from diptych.sources.malformed import Malformed
from diptych.sources.spool import Spool
from diptych.sources.tables import column_names, extra_json, read_rows, text_of
from diptych.sources.tweets import Tweets, TweetsConfig

__all__ = ["Trc", "TrcConfig"]

_LABELS = ("image_adds", "text_is_represented")


class TrcConfig(TweetsConfig):
    """Settings of the labelled posts; those of ``tweets`` are about ``path``, the posts."""

    kind: Literal["trc"] = "trc"  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleVariableOverride]
    labels: str = Field(description="The published CSV, relative to the recipe")
    train_rows: int = Field(default=3576, ge=0, description="First rows of the labels that are train; the rest is dev")


class Trc(Tweets):
    """Posts of which people said whether the picture adds to the text, and whether the text is seen in it."""

    Config = TrcConfig
    config: TrcConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    def check(self) -> None:
        """Both files exist; the labels have their columns."""
        super().check()
        path = self.path(self.config.labels, "labels")
        if not path.is_file():
            raise RecipeError(f"source {self.name!r}, labels: expected a file, found a folder: {path}")
        columns = column_names(path, Malformed(self.name, self.config.max_malformed))
        if missing := sorted({"tweet_id", *_LABELS} - columns):
            raise SourceError(f"source {self.name!r}: {path} has no column {missing}; it has {sorted(columns)}")

    def crawl(self, fetcher: Fetcher) -> Iterator[Found | Missed]:
        """The labelled posts in the order of the file of posts; then the labelled ones that are not in it."""
        malformed = Malformed(self.name, self.config.max_malformed)
        with Spool() as labels, Spool() as met:
            labels.fill(self._labels(malformed))
            for found in super().crawl(fetcher):
                row = next(iter(labels.get(found.source_id)), "")
                if isinstance(found, Found) and row:
                    met.fill([(found.source_id, "met")])
                    yield self._labelled(found, row)
            self.malformed[:0] = malformed.lines
            for name in labels.keys():
                if not met.get(name):
                    yield Missed(name, f"post:{name}", "gone", "no_post")

    def _labels(self, malformed: Malformed) -> Iterator[tuple[str, str]]:
        """(tweet id, split and both labels) of each good row."""
        path = self.path(self.config.labels, "labels")
        with Spool() as seen:
            for place, (number, row) in enumerate(read_rows(path, malformed)):
                name, values = text_of(row, "tweet_id"), [text_of(row, label) for label in _LABELS]
                if not name.isdigit() or not all(value in ("0", "1") for value in values):
                    malformed.add(path, f"line {number}", "a tweet id and two labels, each 0 or 1", row)
                elif seen.get(name):
                    malformed.add(path, f"line {number}", "each tweet once", name)
                else:
                    seen.fill([(name, "seen")])
                    yield name, " ".join(["train" if place < self.config.train_rows else "dev", *values])

    def _labelled(self, found: Found, row: str) -> Found:
        split, *values = row.split()
        extra = extra_json({name: int(value) for name, value in zip(_LABELS, values, strict=True)})
        # a hashtag of these posts is a word of theirs, no keyphrase of the task
        return replace(found, document=replace(found.document, extra=extra, keyphrases=()), split=split)
