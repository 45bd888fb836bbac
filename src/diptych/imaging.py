"""The one way from bytes to pixels: format sniffed, size bounded before decoding, upright, eight-bit RGB.

Boxes, polygons and grids of every stage are in pixels of what :func:`decode` returns. Colour profiles are
not applied; CMYK is converted by Pillow's plain formula; alpha is flattened on white.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from diptych.exceptions import DiptychError

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Code",
    "ImageFacts",
    "ImageRefused",
    "decode",
    "decode_array",
    "misplaced",
    "plain_jpeg",
    "probe",
]

Code = Literal["not_an_image", "undecodable", "too_large", "animated"]

MAX_PIXELS = 100_000_000
"""No picture above this is ever decoded (300 MB as RGB); the clean stage's own limit is lower."""

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "PPM")
"""What is opened; others (EPS, which starts Ghostscript, PSD, ICO, ...) are not."""

_MULTI_PAGE = ("TIFF", "MPO")  # several pictures in one file, but nothing that moves
_MOST_PAGES = 1000
"""Pages of a TIFF are counted no further: Pillow's time for it grows with the square of their number."""
_SIGNATURES = (
    b"\xff\xd8\xff", b"\x89PNG", b"GIF87a", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"\0\0\1\0", b"8BPS",
    b"\0\0\0\x0cjP  ", b"qoif", b"P1", b"P2", b"P3", b"P4", b"P5", b"P6",
)  # fmt: skip
_ORIENTATION, _WIDTH, _HEIGHT = 0x0112, 0x0100, 0x0101
_PNG_HEADER = (b"IHDR", b"eXIf", b"tEXt", b"zTXt", b"iTXt", b"IEND")
"""Chunks of a PNG that are no pixels and may tell the orientation, in EXIF or XMP."""


class ImageRefused(DiptychError):
    """Bytes that give no picture; ``code`` says why, ``value`` and ``limit`` by how much."""

    def __init__(self, code: Code, text: str, value: float | None = None, limit: float | None = None) -> None:
        super().__init__(f"{code}: {text}")
        self.code: Code = code
        self.value = value
        self.limit = limit


@dataclass(frozen=True)
class ImageFacts:
    """What a file's header says; width and height are those of the upright picture, in pixels.

    ``frames`` counts a TIFF's pages, up to 1,000; ``orientation`` is EXIF's number, 1 where the file is upright.
    """

    format: str
    mode: str
    width: int
    height: int
    frames: int
    animated: bool
    orientation: int = 1


def probe(data: bytes) -> ImageFacts:
    """Facts from the header, without decoding a pixel; :class:`ImageRefused` when there is none."""
    with _open(data) as image:
        return _facts(image, data)


def misplaced(data: bytes, size: tuple[int, int] | None = None) -> str:
    """Why boxes drawn in this file, of (width, height) where that is known, lie elsewhere in the decoded picture.

    Empty when they do not. :class:`ImageRefused` when there is no header.
    """
    facts = probe(data)
    if facts.orientation != 1:
        return (
            f"boxes are in pixels of the file, which its EXIF orientation {facts.orientation} turns; store the picture"
            " upright, with its boxes"
        )
    if size not in (None, (facts.width, facts.height)):
        return f"boxes were drawn in a picture of {size[0]}x{size[1]}, this one has {facts.width}x{facts.height} pixels"
    return ""


def plain_jpeg(data: bytes) -> ImageFacts | None:
    """Facts of a whole, upright JPEG file in grey or YCbCr within bounds, which any decoder shows alike; else None."""
    try:
        with _open(data) as image:
            facts = _facts(image, data)
            ycc = image.mode == "L" or (image.mode == "RGB" and image.info.get("adobe_transform", 1) == 1)
            plain = image.format == "JPEG" and ycc and _orientation(image) == 1
    except ImageRefused:
        return None
    whole = data.rstrip(b"\0").endswith(b"\xff\xd9")
    return facts if plain and whole and facts.width * facts.height <= MAX_PIXELS else None


def decode(
    data: bytes, max_pixels: int = MAX_PIXELS, *, allow_animated: bool = True, at_least: int | None = None
) -> Image.Image:
    """The picture as an upright RGB image; of an animation the first frame.

    ``at_least`` permits a smaller picture of the same view whose shorter side is no less than that many
    pixels: JPEG files are then decoded at 1/2, 1/4 or 1/8 scale, which is several times faster.
    """
    with _open(data) as image:
        facts = _facts(image, data)
        if facts.animated and not allow_animated:
            raise ImageRefused("animated", f"{facts.frames} frames", facts.frames, 1)
        pixels = image.width * image.height
        if pixels > max_pixels:
            raise ImageRefused("too_large", f"{image.width}x{image.height} pixels", pixels, max_pixels)
        return _pixels(image, data, at_least)


def decode_array(data: bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The picture as uint8 of shape (height, width, 3)."""
    return np.asarray(decode(data, max_pixels))


def _open(data: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own bound is checked before anything is decoded
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise ImageRefused("too_large", str(error), None, MAX_PIXELS) from error
    except MemoryError:
        raise
    except Exception as error:  # plugins raise whatever their parsers stumble on
        if _looks_like_image(data):
            raise ImageRefused("undecodable", f"broken or unsupported file: {_short(error)}") from error
        head = bytes(data[:16])
        raise ImageRefused("not_an_image", f"{len(data)} bytes beginning {head!r}") from error


def _looks_like_image(data: bytes) -> bool:
    riff = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    return data.startswith(_SIGNATURES) or riff or data[4:12] in (b"ftypavif", b"ftypheic", b"ftypmif1")


def _facts(image: Image.Image, data: bytes) -> ImageFacts:
    try:
        frames = _pages(image) if isinstance(image, TiffImageFile) else int(getattr(image, "n_frames", 1))
    except MemoryError:
        raise
    except Exception as error:
        raise ImageRefused("undecodable", f"frames cannot be counted: {_short(error)}") from error
    width, height = _stored_size(image)
    orientation = _orientation(_header(image, data))
    if orientation >= 5:
        width, height = height, width
    kind = image.format or ""
    moves = frames > 1 and kind not in _MULTI_PAGE
    return ImageFacts("JPEG" if kind == "MPO" else kind, image.mode, width, height, frames, moves, orientation)


def _pages(image: TiffImageFile) -> int:
    """How many pages a TIFF has, ``_MOST_PAGES`` at most; the first one is the open one again."""
    found = 1
    try:
        while found < _MOST_PAGES:
            image.seek(found)
            found += 1
    except EOFError:  # how Pillow says that there is no such page
        pass
    image.seek(0)
    return found


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height before the picture is turned; Pillow's size of a TIFF is that after it."""
    if isinstance(image, TiffImageFile):
        return image.tag_v2[_WIDTH], image.tag_v2[_HEIGHT]
    return image.size


def _header(image: Image.Image, data: bytes) -> Image.Image:
    """What tells the orientation: of a PNG a copy without pixels, because EXIF and XMP may stand behind them."""
    if image.format != "PNG" or "exif" in image.info:
        return image
    try:
        return _open(_without_pixels(data))
    except ImageRefused:
        return image


def _without_pixels(data: bytes) -> bytes:
    """A PNG's signature and those of its chunks that ``_PNG_HEADER`` names."""
    kept, start = [data[:8]], 8
    while start + 12 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if data[start + 4 : start + 8] in _PNG_HEADER:
            kept.append(data[start:end])
        start = end
    return b"".join(kept)


def _orientation(image: Image.Image) -> int:
    try:
        value = Image.Image.getexif(image).get(_ORIENTATION, 1)  # a PNG's own getexif decodes it
    except Exception:  # a broken EXIF block says nothing about the pixels
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _pixels(image: Image.Image, data: bytes, at_least: int | None) -> Image.Image:
    try:
        if at_least is not None and image.format in ("JPEG", "MPO"):
            image.draft("RGB" if image.mode == "YCbCr" else image.mode, _draft_size(image.size, at_least))
        image.load()
        if image.format == "PNG" and b"IEND" not in data[-64:] and b"IEND" not in data:
            raise OSError("PNG file is truncated: no IEND chunk")
        return _turned(_to_rgb(image), _orientation(image))  # of a TIFF that Pillow turned, none is left
    except MemoryError:
        raise
    except Exception as error:
        raise ImageRefused("undecodable", _short(error)) from error


def _draft_size(size: tuple[int, int], at_least: int) -> tuple[int, int]:
    scale = min(1.0, at_least / max(1, min(size)))
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return _deep_to_rgb(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    if image.mode == "RGB":
        return image if image.format == "JPEG" else image.copy()  # others may hold on to the file's bytes
    return image.convert("RGB")


def _deep_to_rgb(image: Image.Image) -> Image.Image:
    """Grey of more than eight bits: the high byte of 16 bits, floats of 0..1 or 0..255."""
    return Image.fromarray(_high_bytes(np.asarray(image), image.mode)).convert("RGB")


def _high_bytes(grey: np.ndarray, mode: str) -> np.ndarray:
    """uint8; whole numbers are shifted as they are, since as int64 a picture of 16 bits took 27 bytes a pixel."""
    if mode == "F":
        finite = np.nan_to_num(grey, nan=0.0, posinf=255.0, neginf=0.0)
        scaled = finite * 255.0 if finite.size and float(finite.max()) <= 1.0 else finite
        return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    wide = mode == "I" and grey.size and int(grey.max()) > 65535
    high = grey >> (23 if wide else 8)
    return np.clip(high, 0, 255, out=high).astype(np.uint8)


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    method = _TURNS.get(orientation)
    return image if method is None else image.transpose(method)


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
