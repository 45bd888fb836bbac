"""Pictures without their metadata: EXIF, XMP, IPTC, comments and text chunks go, pixels stay bit for bit.

JPEG, PNG, WebP and GIF are cut at their segments, of which those stay that say how pixels are shown: no small copy of
the picture, nothing that a program keeps there for itself. Nothing is encoded again. Of EXIF the orientation alone is
written back where it turns the picture. Colour profiles stay. A picture of any other format (TIFF, BMP, AVIF), or one
whose segments cannot be followed, is decoded as everywhere and written as PNG, which changes no pixel either.
"""

from __future__ import annotations

import io
import struct

from PIL import Image, UnidentifiedImageError

from diptych.exceptions import DiptychError
from diptych.imaging import decode

__all__ = ["strip_metadata"]

_ORIENTATION = 0x0112
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT = {
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"bKGD", b"hIST", b"pHYs",
    b"cHRM", b"gAMA", b"iCCP", b"sRGB", b"sBIT", b"cICP", b"mDCV", b"cLLI",
}  # fmt: skip
_WEBP_KEPT = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"}
_EXIF_FLAG, _XMP_FLAG = 0x08, 0x04


def strip_metadata(data: bytes) -> bytes:
    """The same pixels without metadata; :class:`~diptych.imaging.ImageRefused` when they cannot be decoded."""
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:8] == _PNG:
            return _png(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp(data)
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return _gif(data)
    except (ValueError, IndexError, struct.error, RecursionError):
        pass
    sink = io.BytesIO()
    decode(data).save(sink, "PNG")
    return sink.getvalue()


def _orientation(data: bytes) -> int:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return int(image.getexif().get(_ORIENTATION, 1) or 1)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, DiptychError):
        return 1


def _tiff(orientation: int) -> bytes:
    """An EXIF block that holds the orientation and nothing else."""
    return b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, _ORIENTATION, 3, 1, orientation, 0, 0)


def _jpeg(data: bytes) -> bytes:
    out = [data[:2]]
    if (turned := _orientation(data)) in range(2, 9):
        body = b"Exif\0\0" + _tiff(turned)
        out.append(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    place = 2
    while True:
        if data[place] != 0xFF:
            raise ValueError("no marker")
        while data[place + 1] == 0xFF:
            place += 1
        marker = data[place + 1]
        if marker == 0xDA:
            out.append(_scans(data[place:]))
            return b"".join(out)
        length = struct.unpack_from(">H", data, place + 2)[0]
        segment = data[place : place + 2 + length]
        if len(segment) != 2 + length:
            raise ValueError("torn segment")
        if marker == 0xE0 and segment[4:9] == b"JFIF\0" and length >= 16:
            out.append(b"\xff\xe0\0\x10" + segment[4:16] + b"\0\0")  # without the small picture behind it
        elif marker == 0xEE and segment[4:9] == b"Adobe" and length >= 14:
            out.append(b"\xff\xee\0\x0e" + segment[4:16])  # it says how colours are coded
        elif (marker == 0xE2 and segment[4:15] == b"ICC_PROFILE") or not (marker == 0xFE or 0xE0 <= marker <= 0xEF):
            out.append(segment)
        place += 2 + length


def _scans(data: bytes) -> bytes:
    """From the first scan to the end mark; comments between scans and what follows the end go."""
    out, place = [], 0
    while True:
        marker = data[place + 1]
        length = struct.unpack_from(">H", data, place + 2)[0]
        end = place + 2 + length
        if marker == 0xDA:
            while True:
                end = data.find(b"\xff", end)
                if end < 0:
                    return b"".join(out) + data[place:]
                if data[end + 1] == 0 or 0xD0 <= data[end + 1] <= 0xD7:
                    end += 2
                elif data[end + 1] == 0xFF:
                    end += 1
                else:
                    break
        if marker != 0xFE and not 0xE0 <= marker <= 0xEF:
            out.append(data[place:end])
        if data[end + 1] == 0xD9:
            return b"".join(out) + data[end : end + 2]
        place = end


def _png(data: bytes) -> bytes:
    out, place = [data[:8]], 8
    turned = _orientation(data)
    while True:
        length, kind = struct.unpack_from(">I4s", data, place)
        chunk = data[place : place + 12 + length]
        if len(chunk) != 12 + length:
            raise ValueError("torn chunk")
        if kind in _PNG_KEPT:
            if kind == b"IDAT" and turned in range(2, 9):
                body = b"eXIf" + _tiff(turned)
                out.append(struct.pack(">I", len(body) - 4) + body + struct.pack(">I", _crc(body)))
                turned = 1
            out.append(chunk)
        if kind == b"IEND":
            return b"".join(out)
        place += 12 + length


def _crc(data: bytes) -> int:
    import zlib

    return zlib.crc32(data)


def _webp(data: bytes) -> bytes:
    turned = _orientation(data)
    if turned in range(2, 9):
        raise ValueError("a turned WebP is written as PNG")
    body = b"WEBP" + _chunks(data, 12, min(len(data), 8 + struct.unpack_from("<I", data, 4)[0]))
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _chunks(data: bytes, place: int, end: int) -> bytes:
    """The chunks of a WebP file, or of a frame in it, that are kept."""
    out = []
    while place + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, place)
        chunk = data[place : place + 8 + length + length % 2]
        if len(chunk) < 8 + length:
            raise ValueError("torn chunk")
        if kind == b"VP8X":
            chunk = chunk[:8] + bytes([chunk[8] & ~(_EXIF_FLAG | _XMP_FLAG)]) + chunk[9:]
        elif kind == b"ANMF":
            frame = chunk[8:24] + _chunks(chunk, 24, 8 + length)
            chunk = kind + struct.pack("<I", len(frame)) + frame
        if kind in _WEBP_KEPT:
            out.append(chunk)
        place += 8 + length + length % 2
    return b"".join(out)


def _gif(data: bytes) -> bytes:
    flags = data[10]
    place = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    out = [data[:place]]
    while True:
        start, kind = place, data[place]
        if kind == 0x3B:
            return b"".join(out) + b";"
        if kind == 0x2C:
            local = data[place + 9]
            place += 10 + (3 << ((local & 7) + 1) if local & 0x80 else 0) + 1
        elif kind == 0x21:
            place += 2
        else:
            raise ValueError("no block")
        label = data[start + 1]
        while data[place]:
            place += 1 + data[place]
        place += 1
        block = data[start:place]
        loops = label == 0xFF and block[3:14] in (b"NETSCAPE2.0", b"ANIMEXTS1.0")
        if kind == 0x2C:
            out.append(block)
        elif label == 0xF9 and block[2] == 4:
            out.append(block[:7] + b"\0")  # further blocks of data would be somebody's own
        elif loops and block[14] == 3:
            out.append(block[:18] + b"\0")
