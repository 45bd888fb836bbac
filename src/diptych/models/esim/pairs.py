"""Pairs of texts in LCQMC's format: ``first TAB second TAB 0 or 1``, one pair a line, UTF-8."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from diptych.exceptions import UsageError

__all__ = ["BadLine", "TextPair", "read_pairs", "write_pairs"]

MAX_BYTES = 2 << 30


@dataclass(frozen=True)
class TextPair:
    """Two texts and whether they say the same."""

    first: str
    second: str
    same: bool


@dataclass(frozen=True)
class BadLine:
    """A line that is no pair, counted from 1, and why."""

    line: int
    reason: str


def read_pairs(path: str | Path, most_bad: float = 0.01) -> tuple[list[TextPair], list[BadLine]]:
    """The pairs of a file and the lines that are none; blank lines are skipped.

    :class:`UsageError` when the file cannot be read, has no pair, or more than ``most_bad`` of it is bad.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UsageError(f"{file} has {file.stat().st_size} bytes; a file of pairs has at most {MAX_BYTES}")
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the pairs {file}: {error.strerror}") from error
    pairs: list[TextPair] = []
    bad: list[BadLine] = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        if raw.strip():
            try:
                pairs.append(_pair(raw))
            except ValueError as error:
                bad.append(BadLine(number, str(error)))
    if not pairs or len(bad) > most_bad * (len(pairs) + len(bad)):
        first = f", the first on line {bad[0].line}: {bad[0].reason}" if bad else ""
        raise UsageError(
            f"{file}: expected `first TAB second TAB 0 or 1`; {len(pairs)} lines are, {len(bad)} are not{first}"
        )
    return pairs, bad


def write_pairs(pairs: Iterable[TextPair], path: str | Path) -> int:
    """Write pairs in the same format; tabs and line breaks within a text become spaces. Their number."""
    lines = [f"{' '.join(p.first.split())}\t{' '.join(p.second.split())}\t{int(p.same)}\n" for p in pairs]
    Path(path).write_text("".join(lines), encoding="utf-8", newline="")
    return len(lines)


def _pair(raw: bytes) -> TextPair:
    try:
        cells = raw.decode("utf-8").rstrip("\r").split("\t")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} is not UTF-8") from None
    if len(cells) != 3:
        raise ValueError(f"{len(cells)} cells, expected 3")
    first, second, label = (c.strip() for c in cells)
    if label not in ("0", "1"):
        raise ValueError(f"the label is {label[:20]!r}, expected 0 or 1")
    if not first or not second:
        raise ValueError("an empty text")
    return TextPair(first, second, label == "1")
