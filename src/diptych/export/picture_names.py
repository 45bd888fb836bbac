"""Endings of picture files, by their first bytes."""

from __future__ import annotations

__all__ = ["ending_of"]

_SIGNATURES = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
)


def ending_of(data: bytes) -> str:
    """``jpg``, ``png``, ``webp``, ...; ``jpg`` for what is none of them."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return "avif"
    return next((ending for start, ending in _SIGNATURES if data.startswith(start)), "jpg")
