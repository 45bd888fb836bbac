"""A Stanza model as one safetensors file, and back.

Stanza stores pickles (`.pt`). They are read here with `torch.load(weights_only=True)`, which makes tensors and plain
values and nothing else; what it reads is written as safetensors whose metadata holds, as JSON, everything that is no
tensor. A packed file holds up to five parts: `constituency`, `pos`, `pretrain` (the word vectors) and, in official
models, `forward_charlm` and `backward_charlm`. Stanza itself reads files of its own format only, so `unpack` writes
them to a temporary folder.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diptych.exceptions import MissingExtra, WeightsError

__all__ = ["PARTS", "load_checkpoint", "pack", "read_header", "unpack"]

PARTS = ("constituency", "pos", "pretrain", "forward_charlm", "backward_charlm")
FORMAT = "diptych-stanza-1"


def load_checkpoint(file: Path) -> dict[str, Any]:
    """Read a `.pt` file without executing what it names; :class:`WeightsError` when it holds more than data."""
    import torch

    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise WeightsError(
            f"{file} cannot be read as plain data ({str(error).splitlines()[0]}); files of old Stanza releases hold"
            " Python objects: load and save them once with Stanza 1.12"
        ) from error
    if not isinstance(found, dict):
        raise WeightsError(f"{file}: expected a Stanza model (a dict), found {type(found).__name__}")
    return found


def pack(
    parts: Mapping[str, dict[str, Any]], target: Path, *, language: str, half: bool = False, note: str = ""
) -> None:
    """Write parts as one file; ``half`` stores floats in 16 bits."""
    import torch
    from safetensors.torch import save_file

    unknown = sorted(set(parts) - set(PARTS))
    if unknown or "constituency" not in parts:
        raise WeightsError(f"a parser needs the part constituency and may have {PARTS[1:]}; found {sorted(parts)}")
    tensors: dict[str, torch.Tensor] = {}

    def plain(value: Any, where: str) -> Any:
        if isinstance(value, torch.Tensor):
            kept = value.detach().to("cpu").contiguous().clone()
            name = f"{len(tensors):04d} {where}"
            dtype = str(kept.dtype).removeprefix("torch.")
            tensors[name] = kept.half() if half and kept.dtype == torch.float32 else kept
            return {"tensor": name, "dtype": dtype}
        if isinstance(value, Mapping):
            return {"dict": [[plain(k, where), plain(v, f"{where}.{k}"[:120])] for k, v in value.items()]}
        if isinstance(value, list):
            return [plain(v, where) for v in value]
        if isinstance(value, tuple):
            return {"tuple": [plain(v, where) for v in value]}
        if isinstance(value, set | frozenset):
            return {"set": sorted((plain(v, where) for v in value), key=json.dumps)}
        if value is None or isinstance(value, str | int | float | bool):
            return value
        raise WeightsError(f"{where}: a Stanza model holds plain values, found {type(value).__name__}")

    described = {name: plain(part, name) for name, part in parts.items()}
    metadata = {
        "format": FORMAT,
        "language": language,
        "note": note,
        "parts": json.dumps(described, ensure_ascii=False),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target, metadata=metadata)


def read_header(file: Path) -> dict[str, str]:
    """Metadata of a packed file; :class:`WeightsError` when it is none."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingExtra("safetensors", "vision") from error
    try:
        with safe_open(file, framework="numpy") as opened:
            found = opened.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"{file} is not a packed parser ({error}); make one: diptych parser import {file}"
        ) from error
    if found.get("format") != FORMAT:
        raise WeightsError(
            f"{file}: expected a parser of the format {FORMAT}, found {found.get('format', 'another file')!r};"
            " make one: diptych parser train, or diptych parser import"
        )
    return found


def unpack(file: Path, folder: Path) -> dict[str, Path]:
    """Write each part as the `.pt` file that Stanza reads; the files by part."""
    import torch
    from safetensors.torch import load_file

    header = read_header(file)
    tensors = load_file(file)

    def restored(value: Any) -> Any:
        if isinstance(value, list):
            return [restored(v) for v in value]
        if not isinstance(value, dict):
            return value
        if "tensor" in value:
            return tensors[value["tensor"]].to(getattr(torch, value["dtype"]))
        if "tuple" in value:
            return tuple(restored(v) for v in value["tuple"])
        if "set" in value:
            return {restored(v) for v in value["set"]}
        return {restored(k): restored(v) for k, v in value["dict"]}

    places: dict[str, Path] = {}
    for name, part in json.loads(header["parts"]).items():
        if name not in PARTS:
            raise WeightsError(f"{file} holds an unknown part {name!r}; expected {PARTS}")
        places[name] = folder / f"{name}.pt"
        torch.save(restored(part), places[name])
    return places
