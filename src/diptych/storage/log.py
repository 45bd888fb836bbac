"""The one ordered log of a dataset: commit, retire and tag entries in ``log/1.json``, ``log/2.json``, ...

Creating an entry *is* the commit: the file is created only if absent, complete and durable. A writer says
after which entry it planned; when that is no longer the last one it has lost the race (:class:`Conflict`)
and plans again. Each entry carries a random commit id, so that a writer whose answer was lost recognises its
own. Entry numbers count all entries, version numbers only commits. File format: one JSON object whose first
member is the SHA-256 of the bytes of the second, ``entry``.
"""

from __future__ import annotations

import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from diptych.exceptions import Conflict, Corrupt, NotFound, StoreError
from diptych.storage.manifest import Manifest
from diptych.storage.root import Root

__all__ = ["CommitEntry", "Entry", "Log", "RetireEntry", "Retired", "TagEntry", "new_commit_id", "now"]


def new_commit_id() -> str:
    """A random name for one attempt to write one entry."""
    return secrets.token_hex(16)


def now() -> str:
    """The present time, UTC, ISO 8601, whole seconds."""
    return datetime.fromtimestamp(int(time.time()), UTC).isoformat().replace("+00:00", "Z")


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CommitEntry(_Entry):
    """A new version."""

    kind: Literal["commit"] = "commit"
    manifest: Manifest

    @property
    def commit_id(self) -> str:
        """The manifest's commit id."""
        return self.manifest.commit_id


class RetireEntry(_Entry):
    """Versions that are no more, and what will be deleted; nothing is deleted that no entry names."""

    kind: Literal["retire"] = "retire"
    commit_id: str = Field(default_factory=new_commit_id)
    created_at: str = Field(default_factory=now)
    versions: tuple[int, ...] = ()
    segments: tuple[str, ...] = ()
    """Paths relative to the dataset."""
    lists: tuple[str, ...] = ()
    """Names in ``lists/``."""
    snapshots: tuple[str, ...] = ()
    """Digests in ``snapshots/``."""
    blobs: tuple[str, ...] = ()
    """SHA-256 of blobs."""
    reason: str = ""


class TagEntry(_Entry):
    """A name for a version; ``version`` None removes the name."""

    kind: Literal["tag"] = "tag"
    commit_id: str = Field(default_factory=new_commit_id)
    created_at: str = Field(default_factory=now)
    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")
    version: int | None


Entry = CommitEntry | RetireEntry | TagEntry
_ADAPTER: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])


@dataclass(frozen=True)
class Retired:
    """Everything retire entries have named so far; the number is that of the latest entry that did."""

    versions: dict[int, int] = field(default_factory=dict)
    segments: dict[str, int] = field(default_factory=dict)
    lists: dict[str, int] = field(default_factory=dict)
    snapshots: dict[str, int] = field(default_factory=dict)
    blobs: dict[str, int] = field(default_factory=dict)


class Log:
    """Reads and appends entries; what was read once is kept, for an entry never changes."""

    def __init__(self, home: Root, dataset: str) -> None:
        self._home = home
        self._dataset = dataset
        self._known: list[Entry] = []
        self._lock = threading.Lock()
        self._retired = (0, Retired())

    def head(self) -> int:
        """The number of the last entry, 0 when there is none."""
        numbers = sorted(int(m[1]) for n in self._home.list("log") if (m := re.fullmatch(r"(\d+)\.json", n)))
        if numbers != list(range(1, len(numbers) + 1)):
            gap = next(i for i, n in enumerate(numbers, 1) if i != n)
            raise Corrupt(
                f"{self._where(gap)} is missing although log/{numbers[-1]}.json exists; restore it from a copy"
            )
        return len(numbers)

    def entries(self) -> list[tuple[int, Entry]]:
        """All entries with their numbers, oldest first."""
        return list(enumerate(self._read_all(), 1))

    def entry(self, number: int) -> Entry:
        """One entry; :class:`NotFound` when there is none of that number, :class:`Corrupt` when it is damaged."""
        if 1 <= number <= len(self._known):
            return self._known[number - 1]
        path = f"log/{number}.json"
        try:
            data = self._home.read(path)
        except NotFound:
            raise NotFound(
                f"dataset {self._dataset} has no log entry {number}; the last one is {self.head()}"
            ) from None
        return decode_entry(data, self._where(number))

    def append(self, entry: Entry, *, after: int) -> int:
        """Write entry ``after + 1``; returns its number.

        ``after`` is the head that the writer saw *before* it planned. :class:`Conflict` when another entry has
        that number; not when the entry there carries our own commit id (our answer was lost, the entry was not).
        """
        number = after + 1
        if after > 0 and not self._home.exists(f"log/{after}.json"):
            raise StoreError(f"{self._where(number)} cannot be written: there is no entry {after} before it")
        if isinstance(entry, CommitEntry):
            self._check_version(entry.manifest, after)
        if not self._home.create(f"log/{number}.json", encode_entry(entry)):
            found = self.entry(number)
            if found.commit_id != entry.commit_id:
                raise Conflict(
                    f"{self._where(number)} was written by someone else ({found.kind}) while this {entry.kind} was "
                    "planned; plan again on the new state"
                )
        return number

    def _check_version(self, manifest: Manifest, after: int) -> None:
        expected = 1 + sum(isinstance(e, CommitEntry) for e in self._read_all()[:after])
        if manifest.version != expected or manifest.dataset != self._dataset:
            raise StoreError(
                f"{self._where(after + 1)}: expected version {expected} of {self._dataset}, "
                f"found {manifest.version} of {manifest.dataset}"
            )

    def next_version(self, after: int | None = None) -> int:
        """The number the next commit gets (planned after entry ``after``, by default the head)."""
        entries = self._read_all()
        return 1 + sum(isinstance(e, CommitEntry) for e in (entries if after is None else entries[:after]))

    def commits(self) -> dict[int, Manifest]:
        """All versions ever committed, retired ones too, oldest first."""
        found = [e.manifest for e in self._read_all() if isinstance(e, CommitEntry)]
        return {manifest.version: manifest for manifest in found}

    def versions(self) -> dict[int, Manifest]:
        """The versions that exist (committed and not retired), oldest first."""
        retired = self.retired().versions
        return {number: manifest for number, manifest in self.commits().items() if number not in retired}

    def tags(self) -> dict[str, int]:
        """Name to version."""
        found: dict[str, int] = {}
        for entry in self._read_all():
            if isinstance(entry, TagEntry):
                found.pop(entry.name, None)
                if entry.version is not None:
                    found[entry.name] = entry.version
        return found

    def retired(self) -> Retired:
        """What retire entries have named."""
        seen, known = self._retired
        entries = self._read_all()
        fresh = [(n, e) for n, e in enumerate(entries, 1) if n > seen and isinstance(e, RetireEntry)]
        if fresh:
            merged = {kind: dict(getattr(known, kind)) for kind in Retired.__dataclass_fields__}
            for number, entry in fresh:
                for kind, names in merged.items():
                    names.update(dict.fromkeys(getattr(entry, kind), number))
            known = Retired(**merged)
        self._retired = (len(entries), known)
        return known

    def manifest(self, version: int | str = "latest") -> Manifest:
        """The version of that number, tag, or the highest; :class:`NotFound` names what exists."""
        versions = self.versions()
        number = self._resolve(version, versions)
        if number in versions:
            return versions[number]
        retired = self.retired().versions
        why = f"was retired by log entry {retired[number]}" if number in retired else "does not exist"
        raise NotFound(f"version {version} of dataset {self._dataset} {why}; {self._existing(versions)}")

    def _resolve(self, version: int | str, versions: dict[int, Manifest]) -> int:
        if isinstance(version, int) or version.isdecimal():
            return int(version)
        if version == "latest":
            if not versions:
                raise NotFound(f"dataset {self._dataset} in {self._home.url} has no version; run diptych build")
            return max(versions)
        tags = self.tags()
        if version not in tags:
            raise NotFound(f"dataset {self._dataset} has no tag {version!r}; {self._existing(versions)}")
        return tags[version]

    def _existing(self, versions: dict[int, Manifest]) -> str:
        numbers = [str(n) for n in versions]
        shown = ", ".join(numbers if len(numbers) <= 12 else [*numbers[:3], "...", *numbers[-6:]])
        tags = ", ".join(f"{name} -> {number}" for name, number in sorted(self.tags().items()))
        return f"versions: {shown or 'none'}; tags: {tags or 'none'}"

    def tag(self, name: str, version: int | None) -> int:
        """Give a version a name, or take the name away; returns the entry's number."""
        if name == "latest":
            raise StoreError("'latest' always means the highest version and cannot be a tag")
        try:
            entry = TagEntry(name=name, version=version)
        except ValidationError:
            raise StoreError(f"not a tag: {name!r} (a letter, then letters, digits, '_', '.', '-')") from None
        for _ in range(20):
            after = self.head()
            if version is not None:
                self.manifest(version)
            elif name not in self.tags():
                raise NotFound(f"dataset {self._dataset} has no tag {name!r}; {self._existing(self.versions())}")
            try:
                return self.append(entry, after=after)
            except Conflict:
                continue
        raise Conflict(f"tag {name!r}: lost twenty races for the next log entry; try again")

    def _read_all(self) -> list[Entry]:
        head = self.head()
        with self._lock:
            while len(self._known) < head:
                self._known.append(self.entry(len(self._known) + 1))
            return self._known[:head]

    def _where(self, number: int) -> str:
        return f"log/{number}.json of dataset {self._dataset} in {self._home.url}"


_PREFIX, _MIDDLE, _END = b'{"sha256":"', b'","entry":', b"}\n"


def encode_entry(entry: Entry) -> bytes:
    """The bytes of an entry's file."""
    body = entry.model_dump_json(indent=1).encode()
    return _PREFIX + sha256(body).hexdigest().encode() + _MIDDLE + body + _END


def decode_entry(data: bytes, where: str) -> Entry:
    """The entry in a file's bytes; :class:`Corrupt` naming ``where`` when they are not what was written."""
    start = len(_PREFIX) + 64 + len(_MIDDLE)
    body = data[start : -len(_END)]
    framed = data.startswith(_PREFIX) and data[start - len(_MIDDLE) : start] == _MIDDLE and data.endswith(_END)
    if not framed or sha256(body).hexdigest().encode() != data[len(_PREFIX) : len(_PREFIX) + 64]:
        raise Corrupt(f"{where} is damaged: its content has not the SHA-256 it states; restore it from a copy")
    try:
        return _ADAPTER.validate_json(body)
    except ValidationError as error:
        raise Corrupt(f"{where} is not an entry this release of diptych can read: {error}") from error
