"""Stored values as a person reads them: bounded text, arrays as shape and norm, bytes as size and hash."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import numpy as np

__all__ = ["average", "bytes_text", "cut", "json_for_script", "number", "safe_link", "value_text"]

LIMIT = 3000
"""Characters of one value on the page; ``diptych show`` prints the whole."""


def value_text(value: Any, limit: int = LIMIT) -> str:
    """A stored value as text, cut (with a note) above ``limit`` characters."""
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, str | bytes):
        text = value if isinstance(value, str) else str(_plain(value))
    else:
        text = json.dumps(_plain(value), ensure_ascii=False, separators=(", ", ": "))
    return cut(text, limit)


def cut(text: str, limit: int) -> str:
    """The text, or its beginning with a note when it is longer than ``limit`` characters."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text):,} characters in all)"


def _array(value: np.ndarray) -> str:
    shape = " × ".join(map(str, value.shape)) or "scalar"
    if not value.size:
        return f"{value.dtype}, {shape}, empty"
    flat = value.astype(np.float64).ravel()
    head = ", ".join(f"{v:.4g}" for v in flat[:8])
    norm = float(np.linalg.norm(flat))
    more = ", …" if flat.size > 8 else ""
    return f"{value.dtype}, {shape}, norm {norm:.4g}, {flat.min():.4g} to {flat.max():.4g}; begins [{head}{more}]"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"{len(value):,} bytes, SHA-256 {hashlib.sha256(value).hexdigest()[:16]}…"
    if isinstance(value, np.ndarray):
        return _array(value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | bool) or value is None else str(value)


def number(value: float | int | None) -> str:
    """A number in a table: whole ones with separators, others with three significant digits, nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    if not math.isfinite(value):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 999.5 else f"{value:.3g}"


def average(value: float | None) -> str:
    """A mean in a column of means: two decimals below 10, one below 100, else none."""
    if value is None:
        return "–"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def bytes_text(size: int) -> str:
    """A size in units of 1,000: ``1.2 MB``."""
    value, unit = float(size), "bytes"
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return (
        f"{int(value):,} bytes" if unit == "bytes" else f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"
    )


def safe_link(url: str) -> str | None:
    """The address when it may become a link (http and https with a host), else None: show it as text."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    plain = not any(c.isspace() or ord(c) < 32 or c in "\"'<>\\" for c in url)
    plain = plain and len(url) <= 2000
    return url if parts.scheme in ("http", "https") and parts.hostname and plain else None


def json_for_script(value: Any) -> str:
    """JSON that may stand inside a script element: no ``<``, ``>``, ``&``, U+2028 or U+2029 is left bare."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
