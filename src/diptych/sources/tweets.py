"""Posts as JSON lines: text with hashtags and media, in the two published shapes of Twitter's API, or plain keys.

``{"id_str", "full_text" or "text", "lang", "entities"/"extended_entities": {"media": [{"media_url_https"}]}}``,
``{"data": {"id", "text", "attachments"}, "includes": {"media": [{"media_key", "url"}]}}``, or ``{"id", "text",
"images": [address or file]}``. Hashtags become keyphrases and leave the text, and so do the links to the media.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from diptych.exceptions import RecipeError
from diptych.records import Document, Found, Picture
from diptych.sources.base import Missed, Source, SourceConfig
from diptych.sources.fetch import Fetcher
from diptych.sources.fields import text_in
from diptych.sources.language import language_tag
from diptych.sources.malformed import Malformed
from diptych.sources.official import check_split
from diptych.sources.settings import FetchSettings, RemoteConfig
from diptych.sources.spool import Spool
from diptych.sources.tables import extra_json, read_rows, table_format
from diptych.sources.urls import BadUrl, canonical_url, file_url

__all__ = ["Tweets", "TweetsConfig", "split_hashtags"]

_HASHTAG = re.compile(r"(?<![\w&/])[#\uff03](\w*[^\W\d_]\w*)")
_MENTION = re.compile(
    r"(?<![a-z0-9_.+-])(?P<mail>[a-z0-9_.+-]++@[a-z0-9-]++(?:\.[a-z0-9-]++)+)|[@\uff20]\w+", re.IGNORECASE
)
"""A mention, whatever stands before it (``RT@ann``, Chinese without spaces); or a mail address, which is none."""
_LINK = re.compile(r"https?://\S+")
_OWN = frozenset(
    "id id_str text full_text lang language entities extended_entities images media data includes split".split()
)


class TweetsConfig(RemoteConfig):
    """Settings of a source of posts."""

    kind: Literal["tweets"] = "tweets"  # pyright: ignore[reportIncompatibleVariableOverride]
    path: str = Field(description="A .jsonl file (also .gz), relative to the recipe")
    images: str = Field(default="", description="Folder of media that the file names by path; none when empty")
    pictures: Literal["fetch", "folder", "none"] = Field(
        default="fetch", description="From their addresses; from 'images', by the address's last part; or left out"
    )
    mentions: Literal["keep", "remove", "replace"] = Field(default="replace", description="'replace' writes @user")
    links: Literal["keep", "remove"] = Field(default="remove", description="Addresses in the text")
    max_malformed: int = Field(default=100, ge=0, description="More malformed lines than this end the crawl")


class Tweets(Source):
    """Short posts with pictures."""

    Config = TweetsConfig
    config: TweetsConfig

    def __init__(self, config: SourceConfig, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.malformed: list[str] = []
        """Lines that were left out: file, line, what is wrong."""

    def fetch_settings(self) -> FetchSettings:
        """The politeness settings."""
        return self.config.fetch_settings()

    def files(self) -> Path | None:
        """The media folder, where there is one."""
        return self.path(self.config.images, "images") if self.config.images else None

    def check(self) -> None:
        """The file exists and is named as JSON lines."""
        path = self.path(self.config.path, "path")
        if not path.is_file() or table_format(path) != "jsonl":
            raise RecipeError(f"source {self.name!r}, path: expected a .jsonl file, found {path}")
        if self.config.pictures == "folder" and not self.config.images:
            raise RecipeError(f"source {self.name!r}, images: `pictures: folder` needs the folder")

    def crawl(self, fetcher: Fetcher) -> Iterator[Found | Missed]:
        """One record a post, in the order of the file; of a repeated id the first."""
        malformed = Malformed(self.name, self.config.max_malformed)
        self.malformed = malformed.lines
        path = self.path(self.config.path, "path")
        with Spool() as seen:
            for number, row in read_rows(path, malformed):
                try:
                    found = self._found(row)
                except ValueError as error:
                    malformed.add(path, f"line {number}", "a post with an id and a text", error)
                    continue
                if seen.get(found.source_id):
                    malformed.add(path, f"line {number}", "each id once", found.source_id)
                    continue
                seen.fill([(found.source_id, "seen")])
                yield found

    def _found(self, row: dict[str, Any]) -> Found:
        """The record of one line; ``ValueError`` says what it lacks."""
        inner = row.get("data")
        post = inner if isinstance(inner, dict) else row
        name = post.get("id_str") or post.get("id")
        text = post.get("full_text") or post.get("text")
        if not isinstance(name, str | int) or isinstance(name, bool) or not isinstance(text, str):
            raise ValueError(f"id {name!r}, text {str(text)[:40]!r}")
        text, tags = split_hashtags(html.unescape(text))
        if self.config.mentions != "keep":
            anybody = "@user" if self.config.mentions == "replace" else ""
            text = _MENTION.sub(lambda found: found["mail"] or anybody, text)
        if self.config.links == "remove":
            text = _LINK.sub("", text)
        text = "\n".join(line for part in text.splitlines() if (line := " ".join(part.split())))
        language = str(post.get("lang") or post.get("language") or "")
        extra = extra_json({key: value for key, value in post.items() if key not in _OWN})
        document = Document(
            text=text, language="" if language == "und" else language_tag(language), keyphrases=tags, extra=extra
        )
        shown = () if self.config.pictures == "none" else _media(row, post)
        urls = dict.fromkeys(self._address(url) for url in shown)
        pictures = tuple(Picture(url, text) for url in urls)
        return Found(str(name), f"post:{name}", document, pictures, check_split(text_in(post, "split")))

    def _address(self, url: str) -> str:
        if re.match(r"https?:", url, re.I):
            try:
                address = canonical_url(url)
                return address if self.config.pictures == "fetch" else file_url(address.rsplit("/", 1)[-1])
            except BadUrl as error:
                raise ValueError(str(error)) from None
        if not self.config.images or ":" in url.partition("/")[0]:
            raise ValueError(f"media {url!r} is no http(s) address (and 'images' names no folder)")
        return file_url(url)


def split_hashtags(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without its hashtags, and them without '#': each once whatever its case, in order."""
    tags: dict[str, str] = {}
    for tag in _HASHTAG.findall(text):
        tags.setdefault(tag.casefold(), tag)
    return _HASHTAG.sub("", text), tuple(tags.values())


def _media(row: dict[str, Any], post: dict[str, Any]) -> Iterator[str]:
    """Addresses of a post's pictures (of a video: its preview), in order."""
    for item in _objects(post, "images") + _objects(post, "media"):
        yield from _first(item, "url", "media_url_https", "media_url", "file", "preview_image_url")
    entities = post.get("extended_entities") or post.get("entities")
    for item in _objects(entities, "media"):
        yield from _first(item, "media_url_https", "media_url")
    attachments = post.get("attachments")
    keys = attachments.get("media_keys") if isinstance(attachments, dict) else None
    listed = (item for item in _objects(row.get("includes"), "media") if isinstance(item, dict))
    included = {key: item for item in listed if isinstance(key := item.get("media_key"), str)}
    for key in keys if isinstance(keys, list) else ():
        if isinstance(key, str) and key in included:
            yield from _first(included[key], "url", "preview_image_url")


def _objects(holder: object, key: str) -> list[Any]:
    found = holder.get(key) if isinstance(holder, dict) else None
    return found if isinstance(found, list) else []


def _first(item: object, *keys: str) -> Iterator[str]:
    if isinstance(item, str):
        yield item
    elif isinstance(item, dict):
        yield from [value for key in keys if isinstance(value := item.get(key), str) and value][:1]
