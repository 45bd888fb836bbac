"""From a plan to bytes: drawing, changing and encoding pictures. The same plan always gives the same bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np

from diptych.sample import banners, photographs
from diptych.sample.backgrounds import background
from diptych.sample.drawing import draw_object
from diptych.sample.fonts import font, text_box
from diptych.sample.picture import FilePlan, Picture, resize_scale
from diptych.sample.seeding import array_rng, rng

if TYPE_CHECKING:
    from PIL import Image

_SLOGANS = (
    ("SUMMER SALE", "50% OFF TODAY"), ("FLY NOW", "from 29 euros"), ("BEST PHONE PLAN", "3 months free"),
    ("HOTEL DEALS", "book and save"), ("NEW SNEAKERS", "shop the look"), ("CASH LOANS", "apply online"),
)  # fmt: skip
_AD_COLOURS = ((214, 40, 64), (24, 120, 200), (250, 170, 20), (20, 150, 120), (120, 40, 170), (30, 30, 40))
_PLACEHOLDERS = ((204, 204, 204), (238, 238, 238), (32, 32, 32), (190, 200, 210), (255, 255, 255))


def render(seed: int, picture: Picture) -> Image.Image:
    """Return the upright RGB picture of a specification."""
    from PIL import Image

    if picture.kind == "scene":
        return _scene(seed, picture)
    if picture.kind == "photograph":
        assert picture.window is not None
        image = Image.fromarray(photographs.pixels(picture.window, max(picture.width, picture.height)))
        return image if image.size == (picture.width, picture.height) else image.resize((picture.width, picture.height))
    if picture.kind == "placeholder":
        noise = array_rng(seed, *picture.noise)
        base = np.array(_PLACEHOLDERS[int(noise.integers(len(_PLACEHOLDERS)))]) + noise.integers(-2, 3)
        pixels = base + noise.integers(0, 2, (picture.height, picture.width, 1))
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if picture.kind == "strip":
        noise = array_rng(seed, *picture.noise)
        return Image.fromarray(background(noise, picture.width, picture.height, 0))
    return _poster(seed, picture)


def _scene(seed: int, picture: Picture) -> Image.Image:
    from PIL import Image

    scene = picture.scene
    assert scene is not None
    image = Image.fromarray(background(array_rng(seed, *picture.noise), scene.width, scene.height, scene.background))
    for shown in scene.objects:
        x0, y0, x1, y1 = shown.box
        patch = draw_object(shown.name, shown.colour, x1 - x0, y1 - y0, shown.variant, shown.flipped)
        image.paste(patch, (x0, y0), patch)
    if scene.banner is not None:
        banners.paint(image, scene.banner)
    return image


def _poster(seed: int, picture: Picture) -> Image.Image:
    """Draw an advertisement, the newsletter picture or the logo: lines of text on colour."""
    from PIL import Image, ImageDraw

    width, height = picture.width, picture.height
    noise = array_rng(seed, *picture.noise)
    campaign = (
        int(noise.integers(6)) if not picture.noise or not isinstance(picture.noise[-1], int) else picture.noise[-1] % 6
    )
    lines = {"logo": ("THE DIPTYCH",), "newsletter": ("Our newsletter", "every morning", "Subscribe now")}.get(
        picture.kind, _SLOGANS[campaign]
    )
    colour = np.array((36, 60, 96) if picture.kind != "advertisement" else _AD_COLOURS[campaign], dtype=np.float32)
    ramp = np.linspace(0.75, 1.15, width, dtype=np.float32)[None, :, None]
    field = np.clip(np.broadcast_to(colour * ramp, (height, width, 3)) + noise.normal(0, 3, (height, width, 1)), 0, 255)
    image = Image.fromarray(field.astype(np.uint8))
    pen = ImageDraw.Draw(image)
    if height >= 120:
        pen.ellipse(
            (width * 0.62, height * 0.5, width * 1.05, height * 1.1),
            fill=tuple(int(v) for v in np.clip(colour * 1.5, 0, 255)),
        )
    room = height / (len(lines) + (0.6 if height > 100 else 0.2))
    for number, line in enumerate(lines if height >= 60 else lines[:1]):
        size = int(min(room * 0.62, 40))
        while text_box(line, "en", size)[2] > width * 0.92 and size > 9:
            size -= 1
        top = room * ((0.3 if height > 100 else 0.08) + number)
        pen.text((width * 0.05, top), line, font=font("en", size), fill=(252, 250, 240))
    return image


def _changed(seed: int, image: Image.Image, plan: FilePlan) -> Image.Image:
    from PIL import Image

    draw = rng(seed, "change", plan.change, *plan.picture.noise)
    width, height = image.size
    if plan.change == "resized":
        scale = resize_scale(plan.picture.noise)
        return image.resize((round(width * scale), round(height * scale)), Image.Resampling.LANCZOS)
    if plan.change in ("crop_small", "crop_large"):
        low, high = (0.01, 0.02) if plan.change == "crop_small" else (0.05, 0.1)
        left, top, right, bottom = (draw.uniform(low, high) for _ in range(4))
        return image.crop(
            (int(width * left), int(height * top), width - int(width * right), height - int(height * bottom))
        )
    if plan.change == "thumbnail":
        scale = draw.choice((56, 64, 80, 96)) / max(width, height)
        return image.resize((round(width * scale), round(height * scale)), Image.Resampling.BOX)
    return image


def encode(seed: int, plan: FilePlan) -> bytes:
    """Return the file's bytes, damaged or odd as the plan says."""
    if plan.encoding == "html":
        return b"<!DOCTYPE html><html><head><title>Sign in</title></head><body><h1>Please sign in</h1></body></html>\n"
    if plan.encoding == "corrupt":
        return b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + array_rng(
            seed, *plan.picture.noise
        ).bytes(6000)
    if plan.encoding == "animated":
        return _animation(seed, plan.picture)
    image = _changed(seed, render(seed, plan.picture), plan)
    quality = 42 if plan.change == "recompressed" else plan.quality
    out = io.BytesIO()
    _save(image, plan, quality, out)
    data = out.getvalue()
    return data[: len(data) * 45 // 100] if plan.encoding == "truncated" else data


def _save(image: Image.Image, plan: FilePlan, quality: int, out: io.BytesIO) -> None:
    from PIL import Image, ImageDraw

    encoding = plan.encoding
    if encoding == "png":
        image.save(out, "PNG", compress_level=4)
    elif encoding == "webp":
        image.save(out, "WEBP", quality=quality, method=2)
    elif encoding == "cmyk":
        image.convert("CMYK").save(out, "JPEG", quality=92)
    elif encoding == "grey":
        image.convert("L").save(out, "JPEG", quality=quality)
    elif encoding == "palette":
        image.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(out, "PNG")
    elif encoding == "png16":
        wide = np.asarray(image.convert("L"), dtype=np.uint16) * np.uint16(257)
        Image.fromarray(wide).save(out, "PNG", compress_level=4)
    elif encoding == "alpha":
        mask = Image.new("L", image.size, 0)
        ImageDraw.Draw(mask).rounded_rectangle((0, 0, image.width - 1, image.height - 1), 18, fill=255)
        image.putalpha(mask)
        image.save(out, "PNG", compress_level=4)
    elif encoding == "exif":
        orientation = (3, 6, 8)[sum(map(ord, str(plan.picture.noise))) % 3]
        stored = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[
            orientation
        ]
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.transpose(stored).save(out, "JPEG", quality=quality, exif=exif)
    else:
        image.save(out, "JPEG", quality=quality)


def _animation(seed: int, picture: Picture) -> bytes:
    """Return an animated GIF: something rolls over a textured ground."""
    from PIL import Image

    ground = Image.fromarray(background(array_rng(seed, *picture.noise), picture.width, picture.height, 3))
    draw = rng(seed, *picture.noise)
    name, colour = draw.choice(("ball", "car", "balloon", "dog")), draw.choice(("red", "blue", "orange", "black"))
    frames = []
    for step in range(6):
        frame = ground.copy()
        patch = draw_object(name, colour, 90, 60, 1, False)
        frame.paste(patch, (20 + step * (picture.width - 130) // 5, picture.height // 2), patch)
        frames.append(frame.quantize(64))
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=120, loop=0)
    return out.getvalue()
