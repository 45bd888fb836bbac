"""Records with everything that an export has to carry; the version's maker stands beside the report's tests."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from PIL import Image, PngImagePlugin

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from small_version import Record, Used, picture

from diptych.records import Document

HANDLE, ADDRESS, MAIL = "@jane_doe", "https://secret.example/me?id=7", "jane@secret.example"


def png(seed: int) -> bytes:
    """A PNG with a text chunk."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", f"SECRET-TEXT-{seed}")
    sink = io.BytesIO()
    Image.new("RGB", (40, 30), (seed % 255, 9, 99)).save(sink, "PNG", pnginfo=info)
    return sink.getvalue()


def records() -> list[Record]:
    """Several pictures a record, several captions a picture, licences, boxes, hostile texts, splits."""
    boxes = {
        "boxes": [[1, 2, 30, 40], [5, 5, 10, 10]],
        "classes": ["cat", "dog"],
        "crowd": [0, 1],
        "licence": "CC BY 4.0",
    }
    found = [
        Record(
            f"r{n}",
            Document(
                f"Title {n}",
                f"First line {n}.\nSecond \u6865 line.",
                "A summary.",
                "zh" if n % 3 else "en",
                ("bridge",),
            ),
            [
                Used(
                    picture(n),
                    f"Caption one of {n}.\nCaption two.",
                    f"https://x.example/{n}.jpg",
                    extra=json.dumps(boxes),
                ),
                Used(
                    png(n),
                    "",
                    f"https://x.example/{n}.png",
                    extra='{"author": "Jane Doe", "url": "https://x.example/u"}',
                ),
            ],
            split=split,
        )
        for n, split in enumerate(["train"] * 4 + ["dev", "test"])
    ]
    found.append(Record("text-only", Document("Alone", "No picture at all.", language="en"), []))
    hostile = (
        f"---\nlicense: mit\n# <script>alert(1)</script> | [x](javascript:1) ```\nwrites {HANDLE} at {ADDRESS}, {MAIL}"
    )
    found.append(
        Record("hostile", Document("<b>`T`</b> | x", hostile, language="en"), [Used(picture(50), f"by {HANDLE}")])
    )
    found.append(
        Record(
            "refused", Document("No", "Too short.", language="en"), [Used(picture(60))], rule="clean_text.short_text"
        )
    )
    found.append(Record("thumb", Document("T", "Text.", language="en"), [Used(picture(70), rule="clean.thumbnail")]))
    return found
