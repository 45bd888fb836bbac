"""decode() on generated files: every colour mode, orientation, truncation, bombs, things that are no image."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

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


def test_floats_and_cmyk() -> None:
    levels = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    assert decode_array(saved(Image.fromarray(levels), "TIFF"))[..., 0].max() == 255
    cmyk = decode_array(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert cmyk[..., 0].min() > 240 and cmyk[..., 1:].max() < 15


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(photo(), "JPEG", exif=exif, quality=95)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(decode_array(data), np.asarray(expected))
    assert (probe(data).width, probe(data).height) == expected.size


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


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [11_000, 40_000, 1_000_000])
def test_a_bomb_is_refused_before_decoding(side: int) -> None:
    assert refused(bomb(side, side)) == "too_large"


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
    broken = good[0][:400] + b"\xff\xd9"  # ends as a whole file does: whoever decodes it, nothing raises
    assert len(decode_on("cpu", [good[0], broken])) == 2 and decode_on("cpu", []) == []
