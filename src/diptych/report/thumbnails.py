"""Small pictures for the page: decoded and encoded anew, so that no byte and no EXIF of the original is in it."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image

from diptych.exceptions import DiptychError
from diptych.imaging import decode

__all__ = ["Thumbnail", "Thumbnails"]


@dataclass(frozen=True)
class Thumbnail:
    """A JPEG as a data URI; ``full`` is the size of the decoded original, in whose pixels boxes are given."""

    uri: str
    width: int
    height: int
    full: tuple[int, int]


class Thumbnails:
    """Encodes thumbnails and counts their bytes; beyond ``budget`` bytes they are made half as large."""

    def __init__(self, side: int = 320, quality: int = 78, budget: int = 8 << 20) -> None:
        self.side, self.quality, self.budget = side, quality, budget
        self.bytes = 0
        self.count = 0

    def make(self, data: bytes, side: int | None = None) -> Thumbnail | None:
        """The thumbnail of a file, None when nothing can be decoded from it."""
        side = min(side or self.side, self.side)
        if self.bytes > self.budget:
            side = max(64, side // 2)
        try:
            image = decode(data)
        except DiptychError:
            return None
        full = image.size
        image.thumbnail((side, side), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=self.quality, optimize=True)
        self.bytes += buffer.tell()
        self.count += 1
        text = base64.b64encode(buffer.getvalue()).decode("ascii")
        return Thumbnail(f"data:image/jpeg;base64,{text}", *image.size, full)
