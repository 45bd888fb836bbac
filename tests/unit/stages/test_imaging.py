"""decode() on generated files: every colour mode, orientation, truncation, bombs, things that are no image."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo

from diptych.imaging import ImageRefused, decode, decode_array, probe
from diptych.stages.decoders import DECODER_LEVELS, decode_on


def photo(width: int = 64, height: int = 48) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def refused(data: bytes, **options: object) -> str:
    with pytest.raises(ImageRefused) as caught:
        decode(data, **options)  # type: ignore[arg-type]
    return caught.value.code


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM"])
def test_every_format_gives_upright_rgb(kind: str) -> None:
    image = decode(saved(photo(), kind))
    assert (image.mode, image.size) == ("RGB", (64, 48))
    assert probe(saved(photo(), kind)).format == kind


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA"])
def test_modes_are_converted(mode: str) -> None:
    array = decode_array(saved(photo().convert(mode), "PNG"))
    assert array.shape == (48, 64, 3) and array.dtype == np.uint8


def test_alpha_is_flattened_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert (decode_array(saved(clear, "PNG")) == 255).all()
    palette = Image.new("P", (4, 4), 3)
    palette.putpalette([0, 0, 0] * 256)
    assert (decode_array(saved(palette, "PNG", transparency=3)) == 255).all()


def test_sixteen_bits_keep_their_high_byte() -> None:
    levels = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(
            decode_array(saved(Image.fromarray(levels), kind))[..., 0], (levels >> 8).astype(np.uint8)
        )


@pytest.mark.parametrize(
    "values",
    [[0, 255, 256, 65535], [0, 65536, 2**31 - 1, 1 << 30], [-(2**31), -1, 70_000, 5], [-300, 0, 40_000, 65535]],
    ids=str,
)
def test_whole_numbers_are_shifted_as_if_they_were_int64(values: list[int]) -> None:
    deep = np.array(values, np.int64).reshape(2, 2)
    expected = np.clip(deep >> (23 if deep.max() > 65535 else 8), 0, 255)
    found = [decode_array(saved(Image.fromarray(deep.astype(np.int32)), "TIFF"))]
    if values[0] == 0 and deep.max() <= 65535:
        found += [decode_array(saved(Image.fromarray(deep.astype(np.uint16)), kind)) for kind in ("PNG", "TIFF")]
        found.append(decode_array(b"P5 2 2 65535\n" + deep.astype(">u2").tobytes()))
    for array in found:
        assert np.array_equal(array, np.repeat(expected[..., None], 3, axis=-1))


def test_sixteen_bits_take_no_more_memory_than_they_need() -> None:
    data = saved(Image.fromarray(np.zeros((1000, 1000), np.uint16)), "PNG")
    tracemalloc.start()
    decode(data)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 8_000_000


def test_floats_and_cmyk() -> None:
    levels = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    assert decode_array(saved(Image.fromarray(levels), "TIFF"))[..., 0].max() == 255
    cmyk = decode_array(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert cmyk[..., 0].min() > 240 and cmyk[..., 1:].max() < 15


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def behind_the_pixels(png: bytes, kind: bytes) -> bytes:
    """The file with its chunk of that kind moved to its end."""
    start = png.index(kind) - 4
    end = start + 12 + int.from_bytes(png[start : start + 4], "big")
    return png[:start] + png[end:-12] + png[start:end] + png[-12:]


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def xmp(orientation: int) -> str:
    return f'<rdf:Description tiff:Orientation="{orientation}"/>'


def png_with_xmp(image: Image.Image, orientation: int) -> bytes:
    info = PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp(orientation))
    return saved(image, "PNG", pnginfo=info)


TURNED: dict[str, Callable[[Image.Image, int], bytes]] = {
    "JPEG": lambda image, o: saved(image, "JPEG", exif=exif(o), quality=95),
    "MPO": lambda image, o: saved(image, "MPO", exif=exif(o), quality=95, save_all=True, append_images=[photo()]),
    "PNG": lambda image, o: saved(image, "PNG", exif=exif(o)),
    "PNG, EXIF behind": lambda image, o: behind_the_pixels(saved(image, "PNG", exif=exif(o)), b"eXIf"),
    "PNG, XMP": png_with_xmp,
    "PNG, XMP behind": lambda image, o: behind_the_pixels(png_with_xmp(image, o), b"iTXt"),
    "animated PNG": lambda image, o: saved(image, "PNG", exif=exif(o), save_all=True, append_images=[photo()]),
    "WEBP": lambda image, o: saved(image, "WEBP", exif=exif(o), quality=95),
    "AVIF": lambda image, o: saved(image, "AVIF", exif=exif(o), quality=95),
    "TIFF": lambda image, o: saved(image, "TIFF", tiffinfo={0x0112: o}),
    "TIFF, packed": lambda image, o: saved(image, "TIFF", tiffinfo={0x0112: o}, compression="tiff_lzw"),
    "TIFF, two pages": lambda image, o: saved(
        image, "TIFF", tiffinfo={0x0112: o}, save_all=True, append_images=[photo()]
    ),
    "TIFF, XMP": lambda image, o: saved(image, "TIFF", tiffinfo={700: xmp(o).encode()}),
}
UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}  # fmt: skip
"""What EXIF means by each number, in NumPy."""


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", TURNED)
def test_orientation_is_applied(kind: str, orientation: int) -> None:
    data = TURNED[kind](photo(), orientation)
    expected = UPRIGHT[orientation](np.asarray(photo(), np.int16))
    found = decode_array(data)
    assert found.shape == expected.shape and np.abs(found - expected).mean() < 3
    assert (probe(data).height, probe(data).width) == expected.shape[:2] and probe(data).orientation == orientation


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", TURNED)
def test_orientation_is_applied_to_what_is_decoded_at_a_scale(kind: str, orientation: int) -> None:
    small = decode(TURNED[kind](photo(640, 480), orientation), at_least=60)
    full = Image.fromarray(np.ascontiguousarray(UPRIGHT[orientation](np.asarray(photo(640, 480)))))
    assert min(small.size) >= 60 and small.width * full.height == small.height * full.width
    assert (small.width < full.width) == (kind in ("JPEG", "MPO"))
    one, two = (np.asarray(i.resize((12, 12), Image.Resampling.BOX), np.int16)[..., :2] for i in (small, full))
    assert np.abs(one - two).mean() < 4


def test_broken_exif_is_ignored() -> None:
    assert decode(saved(photo(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")).size == (64, 48)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    rng = np.random.default_rng(0)
    data = saved(Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)), kind)
    assert refused(data[: int(len(data) * share)]) == "undecodable"


def test_png_without_its_end_is_truncated() -> None:
    assert refused(saved(photo(), "PNG")[:-12]) == "undecodable"


@pytest.mark.parametrize("data", [b"", b"<!doctype html><html>", b"\0" * 64, b"plain text", b"%PDF-1.4"])
def test_what_is_no_image(data: bytes) -> None:
    assert refused(data) == "not_an_image"


def test_a_header_alone_is_undecodable() -> None:
    assert refused(b"\xff\xd8\xff\xe0\0\x10JFIF") == "undecodable"
    assert refused(b"\x89PNG\r\n\x1a\n" + b"x" * 40) == "undecodable"


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_animation_is_detected(kind: str) -> None:
    frames = [photo(), photo().rotate(180)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    facts = probe(data)
    assert (facts.frames, facts.animated) == (2, True)
    assert refused(data, allow_animated=False) == "animated"
    assert decode(data).size == (64, 48)


def test_two_pages_do_not_move() -> None:
    data = saved(photo(), "TIFF", save_all=True, append_images=[photo()])
    assert probe(data).frames == 2 and not probe(data).animated


def pages(count: int) -> bytes:
    """A TIFF with so many pages of one pixel."""
    fields = ((256, 3, 1), (257, 3, 1), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 3, 1), (279, 4, 1))
    made = b"II*\0" + struct.pack("<IH", 10, 0)
    for n in range(count):
        following = len(made) + 2 + 12 * len(fields) + 4 if n < count - 1 else 0
        made += struct.pack("<H", len(fields)) + b"".join(struct.pack("<HHII", t, k, 1, v) for t, k, v in fields)
        made += struct.pack("<I", following)
    return made


@pytest.mark.parametrize(("count", "found"), [(1, 1), (2, 2), (999, 999), (1000, 1000), (1001, 1000), (3000, 1000)])
def test_pages_are_counted_up_to_a_thousand(count: int, found: int) -> None:
    data = pages(count)
    assert probe(data).frames == found and not probe(data).animated
    assert decode(data, allow_animated=False).size == (1, 1)


def bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [11_000, 40_000, 1_000_000])
def test_a_bomb_is_refused_before_decoding(side: int) -> None:
    assert refused(bomb(side, side)) == "too_large"


FILES: dict[str, bytes] = {
    **{kind: saved(photo(), kind) for kind in ("JPEG", "PNG", "WEBP", "AVIF", "BMP", "TIFF", "GIF", "PPM")},
    **{f"turned {kind}": made(photo(), 6) for kind, made in TURNED.items()},
    **{f"moving {k}": saved(photo(), k, save_all=True, append_images=[photo(), photo()]) for k in ("GIF", "WEBP")},
}


@pytest.mark.parametrize("kind", FILES)
def test_no_probe_and_no_refusal_decodes(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data, decoded = FILES[kind], []

    def load(*_: object) -> None:
        decoded.append(kind)

    monkeypatch.setattr(type(Image.open(io.BytesIO(data))), "load", load)
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    facts = probe(data)
    assert (facts.width, facts.height) == ((48, 64) if kind.startswith("turned") else (64, 48))
    assert refused(data, max_pixels=64 * 48 - 1) == "too_large" and not decoded


def test_chunks_of_a_png_that_run_over_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = behind_the_pixels(saved(photo(), "PNG", exif=exif(6)), b"eXIf")
    for end in range(9, len(whole)):
        try:
            facts = probe(whole[:end])
        except ImageRefused as error:
            assert error.code == "undecodable"
        else:
            assert {facts.width, facts.height} == {64, 48}
    late = whole.index(b"eXIf")
    huge = whole[: late - 4] + b"\xff\xff\xff\xff" + whole[late:]
    assert (probe(huge).width, probe(huge).height) == (64, 48)


def test_the_bound_is_configurable() -> None:
    data = saved(photo(), "PNG")
    with pytest.raises(ImageRefused) as caught:
        decode(data, 64 * 48 - 1)
    assert (caught.value.code, caught.value.value, caught.value.limit) == ("too_large", 64 * 48, 64 * 48 - 1)
    assert decode(data, 64 * 48).size == (64, 48)


def test_one_pixel() -> None:
    assert decode_array(saved(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")).tolist() == [[[1, 2, 3]]]


def test_scaled_decoding_keeps_the_view_and_the_bound() -> None:
    big = photo(1600, 1200)
    small = decode(saved(big, "JPEG", quality=95), at_least=128)
    assert min(small.size) >= 128 and small.width < 800
    reference = np.asarray(big.resize((64, 48), Image.Resampling.BOX), np.int16)
    assert np.abs(np.asarray(small.resize((64, 48), Image.Resampling.BOX), np.int16) - reference).mean() < 4


def test_the_device_decodes_whole_upright_jpeg_files_and_leaves_the_rest_to_pillow() -> None:
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)).resize((83, 61))

    turned = Image.Exif()
    turned[0x0112] = 6
    good = [saved(smooth, "JPEG"), saved(smooth.convert("L"), "JPEG"), saved(smooth, "JPEG", progressive=True)]
    left = [
        saved(smooth, "JPEG", exif=turned), saved(smooth.convert("CMYK"), "JPEG"), saved(smooth, "PNG"),
        good[0][:900], b"", None,
    ]  # fmt: skip
    found = decode_on("cpu", [*good, *left])
    assert [image is None for image in found] == [False] * 3 + [True] * 6
    for data, image in zip(good, found, strict=False):
        assert image is not None and image.size == (83, 61)
        assert np.abs(np.asarray(image, np.int16) - decode_array(data)).mean() <= DECODER_LEVELS
    assert decode_on("cpu", []) == []


def test_a_file_that_the_device_refuses_changes_none_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)).resize((83, 61))
    one, two = saved(smooth, "JPEG"), saved(smooth.transpose(Image.Transpose.ROTATE_180), "JPEG", quality=60)
    table = one.index(b"\xff\xc4") + 5
    bad = one[:table] + b"\xff" * 16 + one[table + 16 :]  # more codes than there can be; it ends as a whole file does
    alone = [decode_on("cpu", [data])[0] for data in (one, bad, two)]
    together = decode_on("cpu", [one, bad, two])
    assert [image is None for image in together] == [image is None for image in alone] == [False, True, False]
    assert [image and image.tobytes() for image in together] == [image and image.tobytes() for image in alone]
    decoders = pytest.importorskip("torchvision.io")
    torch = pytest.importorskip("torch")
    for error in (torch.OutOfMemoryError("of a GPU"), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 B")):

        def raising(*_: object, error: RuntimeError = error, **__: object) -> None:
            raise error

        monkeypatch.setattr(decoders, "decode_jpeg", raising)
        with pytest.raises(type(error), match=str(error)[:9]):
            decode_on("cpu", [one, two])
