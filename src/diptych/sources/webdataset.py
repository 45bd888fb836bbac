"""WebDataset tars: files of one key (``000001.jpg``, ``.txt``, ``.json``) next to each other are one record.

Shards are read as streams (also gzipped) and nothing is unpacked to disk: names are labels and no paths, links and
devices are passed over, sizes are bounded. The address of a picture is ``file:<shard>!/<member>``. A shard that breaks
off is reported, and what earlier crawls read from its rest is kept.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from diptych.exceptions import RecipeError
from diptych.records import Document, Found, Picture
from diptych.sources.base import Missed
from diptych.sources.charset import decode_text
from diptych.sources.containers import ContainerConfig, Containers, member_url
from diptych.sources.exported import document_of, is_export, picture_of
from diptych.sources.fetch import Fetcher
from diptych.sources.fields import Wrong, load_json, shown, text_in
from diptych.sources.folder import PICTURES
from diptych.sources.malformed import Malformed
from diptych.sources.official import SplitName, check_split
from diptych.sources.spool import Spool
from diptych.sources.tables import check_texts, extra_json, text_of

__all__ = ["WebDataset", "WebDatasetConfig"]

_TEXTS = (".txt", ".text", ".caption", ".json")
_Sample = list[tuple[str, bytes]]
_LARGEST = 1 << 36
"""Bytes of a member: one that says it has more breaks off."""
_NAMING = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)
_LONGEST_NAME = 1 << 20
_MEMBERS = 8
"""How much of ``max_member`` all members of a key may have together."""


class WebDatasetConfig(ContainerConfig):
    """Settings of a WebDataset source."""

    kind: Literal["webdataset"] = "webdataset"  # pyright: ignore[reportIncompatibleVariableOverride]
    caption: str = Field(default="caption", description="Key of the .json with the caption, where there is no .txt")
    title: str = Field(default="", description="Key of the .json with the document's title")
    split: SplitName = Field(default="", description="Official split of all these records; none when empty")
    language: str = Field(default="", max_length=8, description="ISO 639-1 of all texts")
    max_member: int = Field(default=50_000_000, gt=0, description="Members with more bytes are left out")


class WebDataset(Containers):
    """Pictures and text from tar shards."""

    Config = WebDatasetConfig
    config: WebDatasetConfig  # pyright: ignore[reportIncompatibleVariableOverride]

    endings = (".tar", ".tar.gz", ".tgz")
    torn_by = (OSError, EOFError, tarfile.TarError, zlib.error)

    def check(self) -> None:
        """There are shards."""
        if next(self.names(), None) is None:
            raise RecipeError(f"source {self.name!r}, path: no shard ({', '.join(self.endings)}) in {self.files()}")

    def read_file(
        self, fetcher: Fetcher, name: str, malformed: Malformed, seen: Spool, began: set[str]
    ) -> Iterator[Found | Missed]:
        """One record a key."""
        for key, sample in self._samples(name, malformed):
            record = f"{name}/{key}"
            if seen.get(record):
                malformed.add(self.files() / name, key, "the files of a key next to each other", "it again")
                continue
            seen.fill([(record, "seen")])
            began.add(record)
            if (found := self._found(fetcher, name, key, sample, malformed)) is not None:
                yield found

    def _samples(self, name: str, malformed: Malformed) -> Iterator[tuple[str, _Sample]]:
        """(key, members) as they follow each other; the last sample of a shard that breaks off is not given."""
        path = self.files() / name
        key, sample, room = "", list[tuple[str, bytes]](), 0
        with _open(path) as tar:
            for member in tar:
                if member.size > _LARGEST:  # what is passed over has to be read as well
                    raise tarfile.ReadError(f"{member.name[:80]!r} says that it has {member.size} bytes")
                if member.isdir():
                    continue
                folder, _, file = member.name.rpartition("/")
                stem, dot, ending = file.partition(".")
                own = f"{folder}/{stem}" if folder else stem
                if not member.isfile() or not dot or not stem:
                    expected = "a regular file with a name 'key.ending'"
                    malformed.add(path, repr(member.name[:80]), expected, f"type {member.type!r}")
                    continue
                most = self.config.max_member
                if own != key:
                    if sample:
                        yield key, sample
                    key, sample, room = own, [], _MEMBERS * most
                if member.size > min(most, room):
                    malformed.add(path, member.name, f"at most {most} bytes, a key {_MEMBERS} times that", member.size)
                    continue
                room -= member.size
                handle = tar.extractfile(member)
                data = handle.read() if handle is not None else b""
                if len(data) != member.size:
                    raise tarfile.ReadError(f"{member.name} breaks off")
                sample.append((f".{ending.lower()}", data))
                tar.members = []  # type: ignore[attr-defined]  # of a stream nothing is read again; the list would grow with the shard
        if sample:
            yield key, sample

    def _found(
        self, fetcher: Fetcher, name: str, key: str, sample: _Sample, malformed: Malformed
    ) -> Found | Missed | None:
        path, record = self.files() / name, f"{name}/{key}"
        parts = dict(sample)
        images = [ending for ending in parts if f".{ending.rpartition('.')[2]}" in PICTURES]
        if not images and not any(ending in _TEXTS for ending in parts):
            malformed.add(path, key, "a picture or a text", sorted(parts))
            return None
        text = next((decode_text(parts[e]).strip() for e in _TEXTS[:3] if e in parts), "")
        try:
            more = _object(parts.get(".json"))
            if is_export(more.get("format")):
                record = key
                return self._exported(fetcher, name, key, parts, more)
            check_texts(more, (self.config.title,) if text else (self.config.title, self.config.caption))
        except Wrong as wrong:
            malformed.add_wrong(path, f"{key}.json", wrong)
            return Missed(record, member_url(name, key), "failed_permanent", "malformed")
        except ValueError as error:
            malformed.add(path, f"{key}.json", "a JSON object", error)
            return Missed(record, member_url(name, key), "failed_permanent", "malformed")
        caption = text or text_of(more, self.config.caption)
        named = {self.config.caption, self.config.title}
        extra = extra_json({k: v for k, v in more.items() if k not in named})
        pictures = []
        for ending in images:
            url = member_url(name, f"{key}{ending}")
            fetcher.keep(url, parts[ending])
            pictures.append(Picture(url, caption, extra=extra))
        document = Document(
            title=text_of(more, self.config.title),
            text=caption,
            language=self.config.language,
            extra="" if pictures else extra,
        )
        return Found(f"{name}/{key}", member_url(name, key), document, tuple(pictures), self.config.split)

    def _exported(
        self, fetcher: Fetcher, name: str, key: str, parts: dict[str, bytes], values: dict[str, Any]
    ) -> Found:
        """A record as ``diptych export`` wrote it."""
        here = [(f".{image.get('file')}", image) for image in _images(values) if f".{image.get('file')}" in parts]
        pictures = [picture_of(member_url(name, f"{key}{ending}"), image) for ending, image in here]
        document = document_of(values)
        split = self.config.split if values.get("split") is None else check_split(text_in(values, "split"))
        for ending, _ in here:
            fetcher.keep(member_url(name, f"{key}{ending}"), parts[ending])
        return Found(key, member_url(name, key), document, tuple(pictures), split)


class _Member(tarfile.TarInfo):
    """A header; one that is broken or missing breaks the shard off, where tarfile would take it for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Of a block that is whole."""
        try:
            made = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # type stubs lack it
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a header is damaged or missing ({error})") from None
        if made.type in _NAMING and made.size > _LONGEST_NAME:
            raise tarfile.ReadError(f"a name of {made.size} bytes")
        return made


def _open(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r|*", tarinfo=_Member, errorlevel=2, encoding="utf-8", errors="replace")
    except TypeError:  # what tarfile has to say of a gzip header that breaks off
        raise tarfile.ReadError("the file breaks off in its first bytes") from None


def _images(values: dict[str, Any]) -> list[dict[str, Any]]:
    found = values.get("images")
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(image, dict) for image in found):
        raise Wrong("images", "a list of objects with 'file'", shown(found))
    return found


def _object(data: bytes | None) -> dict[str, Any]:
    value = load_json(data) if data is not None else {}
    if not isinstance(value, dict):
        raise ValueError(f"found {type(value).__name__}")
    return value
