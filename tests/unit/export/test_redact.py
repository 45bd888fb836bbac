"""Redacted exports: no address, handle, guessable id or picture metadata anywhere in them; pixels stay as they were."""

from __future__ import annotations

import io
import json
import random
import sys
import tarfile
import time
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from export_world import ADDRESS, HANDLE, MAIL
from PIL import Image
from small_version import Record, SmallVersion, Used, picture

from diptych.exceptions import UsageError
from diptych.export import ExportOptions, write_export
from diptych.export.redact import Redaction, redact_text
from diptych.export.rows import iter_records
from diptych.export.strip import strip_metadata
from diptych.export.write import has_text
from diptych.imaging import ImageRefused, decode
from diptych.records import Document

sys.path.insert(0, str(Path(__file__).parents[1] / "forget"))
from store_search import search


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ask @jane_doe, now", "ask @USER, now"),
        ("问 @张三 和 ＠李四。", "问 @USER 和 @USER。"),
        ("see https://t.co/Ab1?x=2 and www.x.org/a.", "see HTTPURL and HTTPURL"),
        ("see t.co/Ab1 there", "see HTTPURL there"),
        ("见http://x.cn/你。好", "见HTTPURL。好"),
        ("mail jane.doe+x@mail.example.org!", "mail EMAIL!"),
        ("8 @ 5 o'clock, a.b/c and e.g. this", "8 @ 5 o'clock, a.b/c and e.g. this"),
        ("RT @a: @b", "RT @USER: @USER"),
        ("转自@新浪新闻", "转自@USER"),
        ("图片来自@张三丰，详见t.cn/AbC9", "图片来自@USER，详见HTTPURL"),
        ("摄影＠李四。", "摄影＠李四。".replace("＠李四", "@USER")),
        ("RT@jane_doe: via@bob, (@jane). Then", "RT@USER: via@USER, (@USER). Then"),
        (f"@{'x' * 45} and @\u2066jane\u2069", "@USER and @USER\u2069"),
        ("see example.org, news.bbc.co.uk. Or 见weibo.com看", "see HTTPURL, HTTPURL. Or 见HTTPURL看"),
        ("so...example.org and //x.org/a and example.org:80/a", "so...HTTPURL and //HTTPURL and HTTPURL"),
        ("ftp://ex.org/a rtmp://x.y git+ssh://x", "HTTPURL HTTPURL HTTPURL"),
        ("ftp://jane:word@ex.org/a @jane.me/x", "HTTPURL @USER"),
        ("it.me/x but it.me", "HTTPURL but it.me"),
        ("见 例子.com/a 和 新浪.中国。", "见 HTTPURL 和 HTTPURL。"),
        ("jane＠x.org and Müller@x.de", "EMAIL and EMAIL"),
        ("mail " + "a" * 100 + "@x.org", "mail EMAIL"),
        (
            "3.5m 3.5km/h 12.5it/s v1.2.3 No.1/2 U.S.A. i.e. e.g.",
            "3.5m 3.5km/h 12.5it/s v1.2.3 No.1/2 U.S.A. i.e. e.g.",
        ),
        ("report.pdf setup.py main.rs node.js fin.De la", "report.pdf setup.py main.rs node.js fin.De la"),
    ],
)
def test_texts(text: str, expected: str) -> None:
    assert redact_text(text) == expected
    assert redact_text(expected) == expected, "what was redacted stays"


@pytest.mark.parametrize("unit", ["a1b2", "a.", "a-", "a.b@", "@a-", "a@b", "@", "http:", "x.co", "中", "://"])
def test_time_grows_with_the_text_alone(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    start = time.process_time()
    redact_text(text)
    assert time.process_time() - start < 3, "quadratic: minutes"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://creativecommons.org/licenses/by/2.0/", "https://creativecommons.org/licenses/by/2.0/"),
        ("CC BY (http://creativecommons.org/licenses/by/4.0/)", "CC BY (http://creativecommons.org/licenses/by/4.0/)"),
        ("None known: http://flickr.com/commons/usage/", "None known: http://flickr.com/commons/usage/"),
        ("© @jane, https://jane.example/x", "© @USER, HTTPURL"),
        ("https://creativecommons.org/licenses/by/2.0/?by=jane", "HTTPURL"),
        ("https://creativecommons.org/licenses/by/2.0/张三", "HTTPURL"),
        ("https://jane.example/creativecommons.org/licenses/by", "HTTPURL"),
        ("https://flickr.com/commons/usagejane", "HTTPURL"),
    ],
)
def test_addresses_of_licences_stay_in_licences(tmp_path: Path, text: str, expected: str) -> None:
    extra = json.dumps({"licence": text})
    document = Document("T", f"See {text} .", language="en", extra=extra)
    version = SmallVersion(tmp_path / "root", [Record("a", document, [Used(picture(1), extra=extra)])]).version
    (found,) = [Redaction(b"key").record(record) for record in iter_records(version)]
    assert found.licence == found.images[0].licence == found.images[0].extra["licence"] == expected
    assert json.loads(found.document.extra) == {"licence": expected} and "://" not in found.document.text


@pytest.mark.parametrize("kind", ["huggingface", "webdataset", "coco"])
def test_nothing_of_it_is_found(made: SmallVersion, tmp_path: Path, kind: str) -> None:
    options = ExportOptions(kind, stages=("regions", "ocr"), redact=True)  # type: ignore[arg-type]
    open_names = {"handle": HANDLE, "address": ADDRESS, "mail": MAIL, "host": "x.example", "author": "Jane Doe"}
    open_names |= {"exif": "SECRET-EXIF", "text chunk": "SECRET-TEXT", "page": "example.org/r0"}
    needles = {name: text.encode() for name, text in open_names.items()}
    records = list(iter_records(made.version))
    needles |= {f"id {n}": r.original.encode() for n, r in enumerate(records)}
    needles |= {f"key {n}": i.original.encode() for n, i in enumerate(i for r in records for i in r.images)}
    write_export(made.version, tmp_path / "plain", ExportOptions(kind))  # type: ignore[arg-type]
    assert {"handle", "author"} & search(tmp_path / "plain", needles).keys() and "id 0" in search(
        tmp_path / "plain", needles
    )
    report = write_export(made.version, tmp_path / "out", options)
    assert search(tmp_path / "out", needles) == {}
    written = [r for r in records if r.images or kind != "coco"]
    assert report.records == len(written) and report.images == sum(len(r.images) for r in records)
    assert "ocr_lines" in report.left_out and "regions_classes" in report.left_out
    assert json.loads((tmp_path / "out" / "export.json").read_text())["left_out"] == list(report.left_out)


@pytest.mark.parametrize(
    "text",
    [
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.binary(4),
        pa.large_binary(),
        pa.dictionary(pa.int8(), pa.string()),
    ],
)
def test_a_column_that_may_hold_text_is_found_in_any_type(text: pa.DataType) -> None:
    wrapped = [text, pa.list_(text), pa.list_(text, 3), pa.large_list(text), pa.struct([("n", pa.int8()), ("t", text)])]
    assert all(has_text(kind) for kind in [*wrapped, pa.list_(wrapped[-1]), pa.map_(pa.string(), pa.int8())])
    numbers = pa.struct([("n", pa.list_(pa.float16(), 4)), ("b", pa.bool_()), ("t", pa.timestamp("s"))])
    assert not has_text(numbers) and not has_text(pa.large_list(numbers))


def test_ids_are_repeatable_with_a_salt_alone(made: SmallVersion, tmp_path: Path) -> None:
    def ids(name: str, salt: str) -> list[str]:
        write_export(made.version, tmp_path / name, ExportOptions("webdataset", split="train", redact=True, salt=salt))
        with tarfile.open(tmp_path / name / "train-000000.tar") as tar:
            return sorted({member.name.partition(".")[0] for member in tar})

    first = ids("a", "pepper")
    assert first == ids("b", "pepper") and first != ids("c", "other") and ids("d", "") != ids("e", "")
    assert not {r.original for r in iter_records(made.version)} & set(first)
    assert "pepper" not in (tmp_path / "a" / "export.json").read_text()
    with pytest.raises(UsageError, match="--redact"):
        write_export(made.version, tmp_path / "f", ExportOptions(salt="x"))


def encoded(kind: str, orientation: int, **more: object) -> bytes:
    rng = np.random.default_rng(7)
    image = Image.fromarray(rng.integers(0, 255, (9, 16, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = orientation, "SECRET"
    sink = io.BytesIO()
    image.save(sink, kind, exif=exif, **more)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("JPEG", {"comment": b"SECRET", "quality": 80}),
        ("JPEG", {"progressive": True, "comment": b"SECRET", "icc_profile": b"ICC-DATA" * 9}),
        ("PNG", {"icc_profile": b"ICC-DATA" * 9}),
        ("WEBP", {"lossless": True, "xmp": b"SECRET"}),
        ("TIFF", {}),
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_pixels_stay_bit_for_bit(kind: str, more: dict[str, object], orientation: int) -> None:
    data = encoded(kind, orientation, **more)
    assert b"SECRET" in data
    found = strip_metadata(data)
    assert b"SECRET" not in found
    assert np.array_equal(np.asarray(decode(data)), np.asarray(decode(found))), "upright pixels are the same"
    assert strip_metadata(found) == found
    if "icc_profile" in more and kind == "JPEG":
        assert b"ICC-DATA" in found, "a colour profile says how pixels are meant"


def test_what_programs_keep_in_pictures_goes() -> None:
    def chunk(name: bytes) -> bytes:
        body = name + b"SECRET"
        return (6).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    jpeg, png = encoded("JPEG", 1), encoded("PNG", 1)
    small = b"\xff\xe0\0\x19JFIF\0\1\1\0\0\1\0\1\3\1SECRET-09"
    adobe = b"\xff\xee\0\x14Adobe\0\x64\0\0\0\0\1SECRET"
    pictures = [jpeg[:2] + segment + jpeg[2:] for segment in (small, adobe, b"\xff\xee\0\x08SECRET")]
    pictures.append(png[:33] + chunk(b"prVW") + chunk(b"zxIf") + chunk(b"teXt") + png[33:])
    more = {"save_all": True, "append_images": [Image.new("RGB", (16, 9))]}
    for webp in (encoded("WEBP", 1, lossless=True), encoded("WEBP", 1, lossless=True, **more)):
        body = webp[8:] + b"C2PA\6\0\0\0SECRET"
        pictures.append(b"RIFF" + len(body).to_bytes(4, "little") + body)
    sink = io.BytesIO()
    Image.new("RGB", (8, 8)).save(sink, "GIF", save_all=True, append_images=[Image.new("RGB", (8, 8), "red")], loop=0)
    for mark, size in ((b"NETSCAPE2.0", 15), (b"\x21\xf9\4", 7)):
        place = sink.getvalue().index(mark) + size
        pictures.append(sink.getvalue()[:place] + b"\6SECRET" + sink.getvalue()[place:])
    for data in pictures:
        assert b"SECRET" in data
        found = strip_metadata(data)
        assert b"SECRET" not in found and found[:3] == data[:3] and strip_metadata(found) == found
        assert np.array_equal(np.asarray(decode(data)), np.asarray(decode(found)))


def test_gif_and_damaged_pictures() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    sink = io.BytesIO()
    frames[0].save(sink, "GIF", save_all=True, append_images=frames[1:], comment=b"SECRET", loop=0)
    found = strip_metadata(sink.getvalue())
    assert (
        b"SECRET" not in found and getattr(Image.open(io.BytesIO(found)), "n_frames", 0) == 2 and b"NETSCAPE" in found
    )
    whole = picture(3)
    assert strip_metadata(whole + b"SECRET after the end").endswith(b"\xff\xd9")
    chance = random.Random(3)
    for _ in range(200):  # whatever is damaged: a picture without metadata, or an error made on purpose
        torn = bytearray(encoded("JPEG", 1, comment=b"SECRET"))
        for _ in range(3):
            torn[chance.randrange(2, len(torn))] = chance.randrange(256)
        try:
            strip_metadata(bytes(torn[: chance.randrange(20, len(torn))]))
        except ImageRefused:
            continue
