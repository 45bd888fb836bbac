"""Image search over HTTP: for each document of a file one query, its first pictures with their captions.

``commons`` is Wikimedia Commons' API (``action=query``, ``generator=search``, ``prop=imageinfo``), which needs no key.
``json`` is any endpoint that answers ``GET endpoint?q=...&count=...`` with a list of objects; which keys hold the list,
the address and the caption is configured, and a key goes into a header, read from the environment by name. The
endpoint is asked politely (one request at a time, Retry-After, back-off) but not by robots.txt, which is for pages; the
pictures are fetched like all others.
"""

from __future__ import annotations

import html
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from pydantic import Field, field_validator, model_validator

from diptych.exceptions import RecipeError
from diptych.records import Document, Found, Picture
from diptych.sources.answers import Fetched
from diptych.sources.base import Missed, Read, Source, SourceConfig
from diptych.sources.fetch import Fetcher
from diptych.sources.fields import Wrong, load_json
from diptych.sources.malformed import Malformed
from diptych.sources.official import check_split
from diptych.sources.settings import FetchSettings, RemoteConfig
from diptych.sources.spool import Spool
from diptych.sources.tables import Row, check_texts, column_names, extra_json, read_rows, text_of
from diptych.sources.urls import BadUrl, canonical_url

__all__ = ["Search", "SearchConfig", "SearchFailed", "read_commons", "read_json"]

_COMMONS = "https://commons.wikimedia.org/w/api.php"
_WINDOW = 16
_EXTRACTOR = "search 1"
_HEALS = frozenset({"maxlag", "ratelimited", "readonly"})


class SearchConfig(RemoteConfig):
    """Settings of an image search."""

    kind: Literal["search"] = "search"  # pyright: ignore[reportIncompatibleVariableOverride]
    queries: str = Field(description="The documents: .csv, .tsv, .jsonl or .parquet, relative to the recipe")
    provider: Literal["commons", "json"] = Field(
        default="commons", description="Wikimedia Commons, or any endpoint that answers in JSON"
    )
    endpoint: str = Field(default="", description="Address of the API; Wikimedia Commons' when empty")
    count: int = Field(default=10, ge=1, le=50, description="Pictures for each document")
    id: str = Field(default="id", min_length=1, description="Column with the document's own id")
    query: str = Field(default="query", min_length=1, description="Column with the words to search for")
    title: str = Field(default="title", description="Column with the document's title")
    text: str = Field(default="text", description="Column with the document's text")
    summary: str = Field(default="summary", description="Column with its summary")
    split: str = Field(default="", description="Column with the official split")
    language: str = Field(default="", max_length=8, description="ISO 639-1 of all documents")
    width: int = Field(
        default=1024, ge=0, le=8192, description="commons: pictures scaled to this width; 0 takes originals"
    )
    parameters: dict[str, str] = Field(default={}, description="json: further query parameters; never a key")
    query_parameter: str = Field(default="q", description="json: parameter with the words")
    count_parameter: str = Field(default="count", description="json: parameter with the count; none when empty")
    results_path: str = Field(default="results", description="json: path of the list, names joined by dots")
    url_path: str = Field(default="url", description="json: path of the picture's address in an item")
    caption_path: str = Field(default="title", description="json: path of its caption in an item")
    key_from: str = Field(default="", description="Environment variable with the key; never stored")
    key_header: str = Field(default="X-Api-Key", description="Header that carries the key")
    max_malformed: int = Field(default=100, ge=0, description="More malformed rows than this end the crawl")

    @field_validator("endpoint")
    @classmethod
    def _address(cls, url: str) -> str:
        try:
            return canonical_url(url) if url else url
        except BadUrl as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _asks_somewhere(self) -> SearchConfig:
        if self.provider == "json" and not self.endpoint:
            raise ValueError("provider json needs an 'endpoint'")
        return self


class SearchFailed(Exception):
    """An answer that is no list of results: a code, and whether asking again can help."""

    def __init__(self, code: str, transient: bool = False) -> None:
        super().__init__(code)
        self.code, self.transient = code, transient


class Search(Source):
    """Pictures that an image search finds for the documents of a file."""

    Config = SearchConfig
    config: SearchConfig

    def __init__(self, config: SourceConfig, folder: Path = Path()) -> None:
        super().__init__(config, folder)
        self.malformed: list[str] = []
        """Rows of the queries that were left out: file, line, what is wrong."""

    def fetch_settings(self) -> FetchSettings:
        """The politeness settings, with the key's header."""
        settings = self.config.fetch_settings()
        if self.config.key_from:
            headers = {**settings.headers_from, self.config.key_header: self.config.key_from}
            settings = settings.model_copy(update={"headers_from": headers})
        return settings

    def own_urls(self) -> tuple[str, ...]:
        """The endpoint alone may see the key."""
        return (self.config.endpoint or _COMMONS,)

    def check(self) -> None:
        """The file of documents exists and has an id and a query."""
        path = self.path(self.config.queries, "queries")
        columns = column_names(path, Malformed(self.name, self.config.max_malformed))
        missing = sorted({self.config.id, self.config.query} - columns)
        if missing:
            raise RecipeError(f"source {self.name!r}, queries: {path} has no column {missing}, but {sorted(columns)}")

    def crawl(self, fetcher: Fetcher) -> Iterator[Found | Missed]:
        """One record a document, in the order of the file."""
        malformed = Malformed(self.name, self.config.max_malformed)
        self.malformed = malformed.lines
        waiting: deque[tuple[Row, str, Future[Fetched]]] = deque()
        for row, url in self._questions(malformed):
            waiting.append((row, url, fetcher.submit(url, "api")))
            if len(waiting) >= _WINDOW:
                row, url, future = waiting.popleft()
                yield self._found(row, url, fetcher.result(future))
        for row, url, future in waiting:
            yield self._found(row, url, fetcher.result(future))

    def _questions(self, malformed: Malformed) -> Iterator[tuple[Row, str]]:
        path = self.path(self.config.queries, "queries")
        config = self.config
        texts = (config.id, config.query, config.title, config.text, config.summary, config.split)
        with Spool() as seen:
            for number, row in read_rows(path, malformed):
                try:
                    check_texts(row, texts)
                    check_split(text_of(row, config.split), config.split)
                except Wrong as wrong:
                    malformed.add_wrong(path, f"line {number}", wrong)
                    continue
                name, query = text_of(row, self.config.id), " ".join(text_of(row, self.config.query).split())
                if not name or not query or seen.get(name):
                    expected = f"an {self.config.id!r} that occurs once and a {self.config.query!r}"
                    malformed.add(path, f"line {number}", expected, row)
                    continue
                try:
                    url = self._url(query)
                except BadUrl as error:
                    malformed.add(path, f"line {number}", f"words that an address can hold in {config.query!r}", error)
                    continue
                seen.fill([(name, "seen")])
                yield row, url

    def _url(self, query: str) -> str:
        config = self.config
        if config.provider == "commons":
            parameters = {
                "action": "query", "format": "json", "formatversion": "2", "maxlag": "5",
                "generator": "search", "gsrnamespace": "6", "gsrlimit": str(config.count),
                "gsrsearch": f"{query} filetype:bitmap",
                "prop": "imageinfo", "iiprop": "url|size|mime|extmetadata",
                "iiextmetadatafilter": "ImageDescription|LicenseShortName|LicenseUrl|Artist",
            }  # fmt: skip
            if config.width:
                parameters["iiurlwidth"] = str(config.width)
        else:
            parameters = {config.query_parameter: query, **config.parameters}
            if config.count_parameter:
                parameters[config.count_parameter] = str(config.count)
        endpoint = config.endpoint or _COMMONS
        return canonical_url(f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}")

    def _found(self, row: Row, url: str, fetched: Fetched) -> Found | Missed:
        config, name = self.config, text_of(row, self.config.id)
        if not fetched.ok or fetched.data is None:
            outcome = "failed_permanent" if fetched.outcome == "gone" else fetched.outcome
            return Missed(name, url, outcome, fetched.code)  # an endpoint that moved is no deleted document
        try:
            value = load_json(fetched.data)
            if config.provider == "commons":
                pictures = read_commons(value)
            else:
                pictures = read_json(value, config.results_path, config.url_path, config.caption_path)
        except ValueError:
            return Missed(name, url, "failed_permanent", "search_malformed")
        except SearchFailed as error:
            return Missed(name, url, "failed_transient" if error.transient else "failed_permanent", error.code)
        own = {config.id, config.query, config.title, config.text, config.summary, config.split}
        document = Document(
            title=text_of(row, config.title),
            text=text_of(row, config.text),
            summary=text_of(row, config.summary),
            language=config.language,
            extra=extra_json({"query": row.get(config.query), **{k: v for k, v in row.items() if k not in own}}),
        )
        split = text_of(row, config.split)
        return Read(name, url, document, pictures[: config.count], split, page=fetched.key, extractor=_EXTRACTOR)


def read_commons(value: Any) -> tuple[Picture, ...]:
    """Pictures of an answer of MediaWiki's API (either format version), the best match first."""
    if not isinstance(value, dict):
        raise SearchFailed("search_malformed")
    error = value.get("error")
    if isinstance(error, dict):
        code = str(error.get("code", "unknown"))
        raise SearchFailed(f"search_{re.sub(r'[^a-z0-9]+', '_', code.lower())[:40]}", code in _HEALS)
    query = value.get("query")
    pages = query.get("pages", []) if isinstance(query, dict) else []
    found = [page for page in _values(pages) if isinstance(page, dict)]
    found.sort(key=lambda page: page["index"] if isinstance(page.get("index"), int) else 1 << 30)
    pictures: dict[str, Picture] = {}
    for page in found:
        info = next((item for item in _values(page.get("imageinfo")) if isinstance(item, dict)), {})
        url = _address(info.get("thumburl") or info.get("url"))
        if url is None or not str(info.get("mime", "image/")).startswith("image/"):
            continue
        title = re.sub(r"\.\w{2,5}$", "", str(page.get("title", "")).partition(":")[2]).replace("_", " ")
        caption = _words(_metadata(info, "ImageDescription")) or title
        extra = {
            "page": info.get("descriptionurl"), "original": info.get("url"), "title": page.get("title"),
            "licence": _words(_metadata(info, "LicenseShortName")), "author": _words(_metadata(info, "Artist")),
            "width": info.get("width"), "height": info.get("height"),
        }  # fmt: skip
        pictures.setdefault(url, Picture(url, caption, extra=extra_json(extra)))
    return tuple(pictures.values())


def read_json(value: Any, results: str, url: str, caption: str) -> tuple[Picture, ...]:
    """Pictures of a plain answer; items without an address are passed over, what else they hold is kept."""
    items = _at(value, results)
    if not isinstance(items, list):
        raise SearchFailed("search_malformed")
    pictures: dict[str, Picture] = {}
    for item in items:
        if (address := _address(_at(item, url))) is not None:
            words = _at(item, caption)
            rest = {k: v for k, v in item.items() if k not in (url, caption)} if isinstance(item, dict) else {}
            text = _words(words) if isinstance(words, str) else ""
            pictures.setdefault(address, Picture(address, text, extra=extra_json(rest)))
    return tuple(pictures.values())


def _values(value: Any) -> list[Any]:
    """The items of a list or an object; none of anything else."""
    return list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []


def _at(value: Any, path: str) -> Any:
    for name in path.split(".") if path else ():
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _address(value: object) -> str | None:
    try:
        return canonical_url(value) if isinstance(value, str) else None
    except BadUrl:
        return None


def _metadata(info: dict[str, Any], name: str) -> str:
    found = _at(info, f"extmetadata.{name}.value")
    return found if isinstance(found, str) else ""


def _words(markup: str) -> str:
    """The text of a short piece of HTML."""
    return " ".join(html.unescape(re.sub(r"<[^<>]{0,2000}>", " ", markup)).split())
