"""Fonts for banners: DejaVu from matplotlib for English, Noto Sans SC (OFL) from the package pylopdf-fonts-zh-cn
for Chinese.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import ImageFont

LATIN_FACES = ("DejaVuSans-Bold.ttf", "DejaVuSans.ttf", "DejaVuSerif-Bold.ttf")
CJK_PACKAGE = "pylopdf_fonts_zh_cn"
CJK_FACES = ("NotoSansSC-Regular.otf",)


def font_path(language: str, face: int = 0) -> Path:
    """Return the font file for a language (`en` or `zh`); raise ImportError saying which package to install."""
    faces = CJK_FACES if language == "zh" else LATIN_FACES
    package = CJK_PACKAGE if language == "zh" else "matplotlib"
    try:
        root = resources.files(package)
    except ModuleNotFoundError as error:
        name = "pylopdf-fonts-zh-cn" if language == "zh" else "matplotlib"
        raise ImportError(
            f"the sample site draws {language!r} banners with a font of {name}: run `pip install {name}`"
        ) from error
    folder = root if language == "zh" else root / "mpl-data" / "fonts" / "ttf"
    path = Path(str(folder / faces[face % len(faces)]))
    if not path.is_file():
        raise FileNotFoundError(f"the sample site expected the font {path}; reinstall the package {package}")
    return path


@lru_cache(maxsize=128)
def font(language: str, size: int, face: int = 0) -> ImageFont.FreeTypeFont:
    """Return a font of one size; the basic layout engine, so that every machine places glyphs alike."""
    from PIL import ImageFont

    return ImageFont.truetype(str(font_path(language, face)), size, layout_engine=ImageFont.Layout.BASIC)


def text_box(text: str, language: str, size: int, face: int = 0) -> tuple[int, int, int, int]:
    """Return the ink box of a line drawn at (0, 0), xyxy."""
    left, top, right, bottom = font(language, size, face).getbbox(text)
    return int(left), int(top), int(right), int(bottom)
