"""The names of things: record ids, row keys, shard numbers and canonical digests of settings.

Every name is a pure function of content or of a source's own id, so that two machines agree on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Literal

__all__ = [
    "HASH_BYTES",
    "Key",
    "digest_bytes",
    "digest_settings",
    "pair_key",
    "record_id",
    "row_hash",
    "sentence_key",
    "shard_name",
    "shard_of",
    "split_pair_key",
]

Key = Literal["document", "image", "pair", "sentence"]
HASH_BYTES = 16
"""Length of a row hash (BLAKE2b-128)."""


def digest_bytes(data: bytes) -> str:
    """SHA-256 of ``data`` in hexadecimal: the name of a blob and the key of an image."""
    return hashlib.sha256(data).hexdigest()


def digest_settings(value: object) -> str:
    """SHA-256 of the canonical JSON (sorted keys, no spaces, UTF-8) of plain settings."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return digest_bytes(text.encode("utf-8"))


def record_id(source: str, source_id: str) -> str:
    """32 hex digits from a source's name and the source's own id; content never enters."""
    return hashlib.sha256(f"{len(source)}:{source}{source_id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def sentence_key(text: str) -> str:
    """32 hex digits of a sentence's text; the same words give the same row."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def pair_key(record: str, image: str, occurrence: int = 1) -> str:
    """``record/image``; the second time one document shows the same bytes it is ``record/image#2``."""
    return f"{record}/{image}" if occurrence == 1 else f"{record}/{image}#{occurrence}"


def split_pair_key(key: str) -> tuple[str, str]:
    """The record id and the image key of a pair key."""
    record, _, image = key.partition("/")
    return record, image.partition("#")[0]


def shard_of(record: str, shards: int) -> int:
    """The shard of a record: a contiguous range of its hash; ``shards`` is a power of two."""
    return int(record[:8], 16) * shards >> 32


def shard_name(shard: int) -> str:
    """The folder of a shard: ``shard-00007``."""
    return f"shard-{shard:05d}"


def row_hash(parts: Iterable[bytes | str] | Mapping[str, str]) -> bytes:
    """BLAKE2b-128 over length-prefixed parts: input hashes and digests of rows."""
    items = [x for pair in sorted(parts.items()) for x in pair] if isinstance(parts, Mapping) else parts
    hasher = hashlib.blake2b(digest_size=HASH_BYTES)
    for part in items:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.digest()
