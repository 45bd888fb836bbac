"""Registering a parser: a packed file as it is, or the files of an official Stanza model converted to one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from diptych import weights
from diptych.exceptions import UsageError
from diptych.models.parser.packed import PARTS, load_checkpoint, pack, read_header

__all__ = ["import_parser"]


def import_parser(place: Path, name: str, language: str | None = None) -> weights.WeightSpec:
    """Put a parser into the weights cache as ``name``.

    ``place`` is a packed file, or a folder as Stanza lays one out: ``constituency/*.pt`` with ``pos/*.pt``,
    ``pretrain/*.pt`` and ``{forward,backward}_charlm/*.pt`` (or the same as ``constituency.pt``, ...). Where a folder
    holds several models of a kind, :class:`UsageError` names them.
    """
    if place.is_file():
        read_header(place)
        return weights.import_file(place, name)
    if not place.is_dir():
        raise UsageError(f"no file or folder {place}")
    files = {part: file for part in PARTS if (file := _only(place, part)) is not None}
    if "constituency" not in files:
        raise UsageError(
            f"{place}: expected constituency/*.pt or constituency.pt, as Stanza lays out a language's folder"
        )
    with tempfile.TemporaryDirectory() as folder:
        packed = Path(folder) / f"{name}.safetensors"
        parts = {part: load_checkpoint(file) for part, file in files.items()}
        pack(parts, packed, language=language or place.resolve().name, note=f"Stanza: {files['constituency'].stem}")
        return weights.import_file(packed, name)


def _only(place: Path, part: str) -> Path | None:
    found = [p for p in (place / f"{part}.pt", *sorted((place / part).glob("*.pt"))) if p.is_file()]
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise UsageError(f"{place / part} holds several models: {names}; keep the one that belongs to the parser")
    return found[0] if found else None
