"""The inputs of the golden records and of the contract test: a few rows a stage, made here, the same bytes everywhere.

Pictures are written by an encoder of our own (PNG, not compressed), because other encoders' bytes differ by release.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diptych.naming import digest_bytes, pair_key, record_id
from diptych.stages.minhash import signature
from diptych.stages.perceptual import phash, thumbnail, window_hashes

__all__ = ["FIT_CASES", "STAGE_CASES", "Case", "FitCase"]


@dataclass(frozen=True)
class Case:
    """Rows of one stage under one configuration."""

    keys: tuple[str, ...]
    columns: Mapping[str, Sequence[Any]]
    config: Mapping[str, Any] = field(default_factory=dict)
    bad: Mapping[str, Any] | None = None
    """A row that must not be ok, and must not disturb the others."""


@dataclass(frozen=True)
class FitCase:
    """Rows of one fit, and the previous result its ledger continues."""

    keys: tuple[str, ...]
    columns: Mapping[str, Sequence[Any]]
    previous: Mapping[str, Sequence[Any]] | None = None


def png(image: Image.Image) -> bytes:
    """An RGB picture as PNG with stored (uncompressed) blocks."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pixels = np.asarray(image.convert("RGB"))
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")


def textured(seed: int, width: int = 240, height: int = 180) -> Image.Image:
    """Soft blobs of colour, computed without any library's resampling."""
    y, x = np.mgrid[:height, :width]
    planes = []
    for channel in range(3):
        a, b, c = 3 + seed % 5 + channel, 2 + seed % 7, 40 * channel + 17 * seed
        planes.append(((x * a + c) ** 2 // 97 + (y * b + c) ** 2 // 61 + (x * y) // 83) % 256)
    smooth = np.stack(planes, -1)
    return Image.fromarray(np.abs(smooth - 128).astype(np.uint8) + 64)


def banner(lines: Sequence[str]) -> Image.Image:
    """Dark text on a light picture."""
    image = Image.fromarray(200 + np.asarray(textured(1, 320, 200)) // 6)
    draw = ImageDraw.Draw(image)
    for n, line in enumerate(lines):
        draw.text((30, 40 + 60 * n), line, font=ImageFont.load_default(28), fill=(10, 10, 40))
    return image


PICTURES = tuple(png(textured(seed, 200 + 20 * seed, 160 + 10 * seed)) for seed in range(5))
BANNERS = (png(banner(["Harvest festival", "Monday 14:30"])), png(Image.new("RGB", (120, 90), (9, 9, 9))), PICTURES[0])
EN = (
    "Dr. Smith opened the new bridge on Monday. \u201cIt's done!\u201d he said.\n"
    "Thousands of people walked across in the rain."
)
ZH = "市长星期一为新桥剪彩。成千上万的人冒雨走过了河！\n他说：“完成了。”这座桥长3.5公里。"
DE = "Der Bürgermeister eröffnete am Montag die neue Brücke, und Tausende gingen im Regen über den Fluss."


def _images(data: Sequence[bytes | None]) -> tuple[tuple[str, ...], dict[str, Sequence[Any]]]:
    return tuple(digest_bytes(d or b"") for d in data), {"images.bytes": data}


def _documents(*rows: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    names = ("title", "text", "summary", "language")
    return {f"documents.{n}": [r.get(n, "") for r in rows] for n in names}


_R = [record_id("golden", str(n)) for n in range(8)]
_TEXTS = (
    {"title": "A bridge", "text": EN, "summary": "The bridge is open.", "language": "en"},
    {"title": "新桥", "text": ZH, "language": "zh"},
    {"text": DE},
    {},
    {"title": "Odd", "text": "\u202eא ב. 😀 e\u0301! 1,000.5 kg; don't? U.S. a@b.com...", "language": "en"},
)
_PAIRS = (
    (pair_key(_R[0], "a" * 64), "https://news.example/photos/1.jpg", "A bridge.", None, None, False),
    (pair_key(_R[0], "a" * 64, 2), "https://news.example/photos/1.jpg", "Again", None, None, False),
    (pair_key(_R[0], "b" * 64), "https://cdn.doubleclick.net/1.gif", "", None, None, False),
    (pair_key(_R[1], "c" * 64), "file:///photos/2.jpg", "桥", "a" * 64, 3, False),
    (pair_key(_R[1], "d" * 64), "", None, None, None, True),
)
_BOXES = [[0.0, 0, 50, 80], [10, 30, 90, 100], [12, 5, 40, 50], [20, 40, 88.5, 99], [200, 9, 240, 80], [30, 0, 80, 80]]
_CAPTIONS = (["A bridge.\nThe same bridge", "Rain"], ["桥。"], [], [], None)

STAGE_CASES: dict[str, Case] = {
    "clean": Case(
        *_images([*PICTURES, png(textured(2, 300, 250)), png(Image.new("RGB", (100, 90), (1, 2, 3))), b"<html>"]),
        bad={"images.bytes": PICTURES[0][:3000]},
    ),
    "clean_text": Case(
        tuple(_R[:5]), _documents(*_TEXTS), bad={f"documents.{n}": " " for n in ("title", "text", "summary")}
    ),
    "clean_pairs": Case(
        tuple(p[0] for p in _PAIRS),
        {
            "documents.url": ["https://news.example/1"] * len(_PAIRS),
            "pairs.url": [p[1] for p in _PAIRS],
            "pairs.caption": [p[2] for p in _PAIRS],
            "clean.width": [400, 400, 200, 300, 120],
            "clean.height": [300, 300, 200, 200, 90],
            "near_duplicates.group": [p[0].partition("/")[2][:64] for p in _PAIRS],
            "near_duplicates.duplicate_of": [p[3] for p in _PAIRS],
            "near_duplicates.distance": [p[4] for p in _PAIRS],
            "near_duplicates.recurring": [p[5] for p in _PAIRS],
        },
        bad={"pairs.url": "https://ads.doubleclick.net/x.gif"},
    ),
    "clean_documents": Case(
        tuple(_R[:3]),
        {
            "near_duplicate_texts.group": [_R[0], _R[0], _R[2]],
            "near_duplicate_texts.duplicate_of": [None, _R[0], None],
            "near_duplicate_texts.similarity": [None, 0.9, None],
        },
        bad={
            "near_duplicate_texts.group": _R[0],
            "near_duplicate_texts.duplicate_of": _R[2],
            "near_duplicate_texts.similarity": 0.8,
        },
    ),
    "sentences": Case(
        tuple(_R[:5]),
        {
            **_documents(*_TEXTS),
            "documents.keyphrases": [["bridge"], [], [], [], None],
            "documents.source": ["news", "news", "posts", "posts", "posts"],
            "documents.subset": ["", "", "", "uk", "uk"],
            "pairs.caption": [*_CAPTIONS[:4], ["Grey #Harbour by @ann, see www.a.uk/grey."]],
        },
        {"hashtags": "keyphrases", "mentions": "strip", "addresses": "strip", "british": ["uk"]},
    ),
    "backbone": Case(*_images(PICTURES), {"side": 64, "grid": True}, bad={"images.bytes": b"GIF89a broken"}),
    "ocr": Case(("text", "blank", "texture"), {"images.bytes": BANNERS}, bad={"images.bytes": b"\x89PNG broken"}),
    "pixels": Case(*_images(PICTURES[:3]), {"side": 24}, bad={"images.bytes": b"GIF89a broken"}),
    "grid": Case(*_images(PICTURES[:3]), {"side": 64, "weights": "random:0"}, bad={"images.bytes": b"GIF89a broken"}),
    "inception": Case(
        *_images(PICTURES[:3]), {"side": 96, "weights": "random:0"}, bad={"images.bytes": b"GIF89a broken"}
    ),
    "regions": Case(
        *_images(PICTURES[:3]),
        {
            "model": "fasterrcnn_resnet50_fpn",
            "weights": "random:0",
            "mode": "fixed",
            "count": 4,
            "proposals": 20,
            "min_side": 64,
            "max_side": 96,
        },
        bad={"images.bytes": b"GIF89a broken"},
    ),
    "proposals": Case(
        *_images([*PICTURES[:2], png(Image.new("RGB", (90, 60), (9, 9, 9)))]),
        {"strategy": "single", "side": 64, "count": 5},
        bad={"images.bytes": b"GIF89a broken"},
    ),
    "fc7": Case(
        tuple(pair_key(_R[n], digest_bytes(PICTURES[n])) for n in range(3)),
        {
            "images.bytes": PICTURES[:3],
            "proposals.boxes": [[[5.0, 6, 80, 90], [0, 0, 30, 30], [1, 1, 9, 9]], [], [[100.5, 20, 100.5, 60]]],
            "pairs.extra": ['{"boxes":[[10,20,60,50],[0,0,9,9]],"classes":["cat","crowd"],"crowd":[0,1]}', "", ""],
        },
        {"weights": "random:0", "side": 32, "boxes": "both", "count": 2},
        bad={"pairs.extra": '{"boxes": [[1, 2]]}'},
    ),
    "scene_graph": Case(
        ("scene", "none", "one"),
        {"regions.boxes": [_BOXES, [], _BOXES[:1]]},
        bad={"regions.boxes": [[1.0, 2.0]]},
    ),
}

_ITEMS = [{"field": "text", "text": "The bridge is open."}, {"field": "summary", "text": "A red bridge opened."}]
_WORDS = (
    {"title": "Bridge", "text": "The bridge is open.", "summary": "A red bridge opened.", "language": "en"},
    {"title": "新桥", "text": "市长剪彩。", "language": "zh"},
    {"language": "en"},
)
_SCORED = {
    "votes.results": [
        [{"kind": "best_image", "value": "b" * 64, "tied": False, "values": ["a" * 64, "b" * 64], "counts": [1, 2]}],
        [
            {
                "kind": "best_image",
                "value": None,
                "tied": True,
                "values": ["a" * 64, "b" * 64, "c" * 64],
                "counts": [1, 2, 2],
            }
        ],
        [],
    ],
    "relevance.image": [["a" * 64, "b" * 64], [c * 64 for c in "abcd"], []],
    "relevance.rank": [[1, 2], [4, 2, 1, 3], []],
    "relevance.position": [[0, 2], [0, 1, 2, 3], []],
}
STAGE_CASES |= {
    "relevance_scores": Case(
        tuple(_R[:3]),
        {
            **_documents(*_WORDS),
            "sentences.items": [_ITEMS, [{"field": "title", "text": "新桥"}], []],
            "pairs.caption": [["A red bridge", "", "Rain\nThe red bridge opened"], ["雨", "新的桥"], ["x"]],
            "pairs.position": [[0, 1, 3], [0, 1], [0]],
        },
        {"against": ["summary", "title", "text"]},
        bad={"pairs.position": [5]},
    ),
    "relevance": Case(
        tuple(p[0] for p in _PAIRS[:4]),
        {
            "pairs.position": [0, 1, 2, 0],
            "relevance_scores.positions": [[0, 1, 2]] * 3 + [[0]],
            "relevance_scores.scores": [[0.25, 0.5, 0.0]] * 3 + [[1.0]],
            "relevance_scores.ranks": [[2, 1, 3]] * 3 + [[1]],
        },
        bad={"pairs.position": 7},
    ),
    "bert": Case(
        ("english", "long", "chinese", "odd", "empty"),
        {"sentence.text": ["The old bridge isn't open.", "a red car " * 9, "新桥在市中心。", "a\0b \ufffd😀 אבג", ""]},
        {"model": "random:0", "max_pieces": 40, "overlap": 8},
    ),
    "parse": Case(
        ("caption", "long", "chinese", "odd", "empty", "fragment"),
        {
            "sentence.text": [
                "A man in a red shirt is riding a horse on the beach.",
                "a red car " * 9,
                "新桥在市中心。",
                "A (small) dog\0 \ufffd😀 on a bench",
                "",
                "Two dogs and a cat",
            ]
        },
        {"max_words": 20},
    ),
    "votes": Case(tuple(_R[:4]), {}, {"file": "tests/golden/votes.csv"}),
    "pair_votes": Case(tuple(p[0] for p in _PAIRS[:4]), {}, {"file": "tests/golden/votes.csv", "min_annotators": 2}),
    "best_image": Case(tuple(_R[:3]), _SCORED, bad={"relevance.rank": [1, 2, 3]}),
    "entities": Case(
        *_images(PICTURES[:3]),
        {"answers": "tests/golden/entities", "token_variable": "NO_TOKEN_NEEDED", "top": 2, "min_score": 0.25},
        bad={"images.bytes": b"<html>"},
    ),
    "entity_zero_shot": Case(*_images(PICTURES[:2])),
    "entity_labels": Case(
        ("scene", "none", "one"),
        {
            "regions.class_names": [["cat", "car", "cat", "N/A"], [], ["dog"]],
            "regions.scores": [[0.5, 0.75, 0.875, 0.9], [], [0.25]],
        },
        bad={"regions.scores": [0.5] * 9},
    ),
}


def _near() -> FitCase:
    shown = [textured(1), textured(1).resize((120, 90)), textured(2), textured(3)]
    places = [(0, 0), (0, 1), (0, 2), (1, 1), (2, 3), *((n, 3) for n in range(3, 8))]
    images = [shown[i] for _, i in places]
    return FitCase(
        tuple(pair_key(_R[r], digest_bytes(shown[i].tobytes())) for r, i in places),
        {
            "clean.phash": [phash(i) for i in images],
            "clean.window_hashes": [window_hashes(i) for i in images],
            "clean.bytes": [1000] * len(images),
            "clean.width": [i.width for i in images],
            "clean.height": [i.height for i in images],
            "clean.thumbnail": [thumbnail(i) for i in images],
        },
    )


_FIELDS = [
    [{"field": "text", "tokens": ["The", "cat", "the", "red", "cat"] * 6}, {"field": "caption", "tokens": ["桥"]}],
    [],
    [{"field": "summary", "tokens": ["red", "."] * 5}],
]
FIT_CASES: dict[str, FitCase] = {
    "near_duplicates": _near(),
    "near_duplicate_texts": FitCase(
        tuple(_R[:4]),
        {
            "clean_text.minhash": [signature(f"{EN} {end}".split()) for end in ("", "Again", "")] + [signature(["a"])],
            "clean_text.words": [21, 22, 21, 1],
            "clean_text.characters": [120, 126, 120, 1],
        },
    ),
    "splits": FitCase(
        tuple(_R[:6]),
        {
            "near_duplicates.key": [["0/a"], ["1/c", "1/b"], ["2/b"], ["3/logo"], ["4/logo"], []],
            "near_duplicates.group": [["a"], ["a", "b"], ["b"], ["logo"], ["logo"], []],
            "near_duplicates.recurring": [[False], [False, False], [False], [True], [True], []],
            "documents.split": ["", "", "", "", "", "val"],
        },
        {
            "key": sorted([_R[0], _R[2], _R[7]]),
            "group": sorted([_R[0], _R[2], _R[7]]),
            "split": ["train", "test", "dev"],
            "official": [False, False, False],
            "pictures": [[], [], ["b"]],
        },
    ),
    "word_counts": FitCase(
        tuple(_R[:3]),
        {"sentences.items": [[{"tokens": ["The", "cat", "the"]}, {"tokens": ["桥"]}], [], [{"tokens": ["cat", "."]}]]},
    ),
    **{name: FitCase(tuple(_R[:3]), {"sentences.items": _FIELDS}) for name in ("vocabulary", "vectors", "word2vec")},
}
