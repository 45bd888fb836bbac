"""What one picture file is made of: a specification small enough to plan a whole site without drawing anything."""

from __future__ import annotations

from dataclasses import dataclass, replace

from diptych.sample.photographs import Window
from diptych.sample.scene import Banner, Scene


@dataclass(frozen=True)
class Picture:
    """`kind`: scene, photograph, advertisement, newsletter, logo, placeholder, strip, animation.

    `noise` seeds its texture; `width` and `height` are those of the decoded, upright picture before `change`.
    """

    kind: str
    noise: tuple[object, ...]
    width: int
    height: int
    scene: Scene | None = None
    window: Window | None = None


@dataclass(frozen=True)
class FilePlan:
    """A picture, what was done to it (`change`), and how it is stored (`encoding`, `quality`)."""

    picture: Picture
    encoding: str = "jpeg"
    change: str | None = None
    quality: int = 88


EXTENSIONS = {
    "jpeg": "jpg", "png": "png", "webp": "webp", "animated": "gif", "cmyk": "jpg", "png16": "png", "palette": "png",
    "exif": "jpg",
    "grey": "jpg", "alpha": "png", "truncated": "jpg", "corrupt": "jpg", "html": "jpg", "wrong_extension": "png",
}  # fmt: skip
CONTENT_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}


def resized_scene(scene: Scene, scale: float) -> Scene:
    """Return the scene as it looks in a copy of another size (the same rounding as the copy's pixels)."""
    width, height = round(scene.width * scale), round(scene.height * scale)
    x, y = width / scene.width, height / scene.height

    def scaled(box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        return round(box[0] * x), round(box[1] * y), round(box[2] * x), round(box[3] * y)

    banner: Banner | None = None
    if scene.banner is not None:
        banner = replace(scene.banner, box=scaled(scene.banner.box), size=max(1, round(scene.banner.size * scale)))
    return replace(
        scene,
        width=width,
        height=height,
        banner=banner,
        objects=tuple(replace(o, box=scaled(o.box)) for o in scene.objects),
    )


def resize_scale(noise: tuple[object, ...]) -> float:
    """Return the scale of a resized copy: 0.6 to 0.85, decided by the picture."""
    return 0.6 + (sum(map(ord, "".join(map(str, noise)))) % 26) / 100
