"""Networks' tensors from files that others wrote: nothing in them is executed, and what does not fit is named."""

from __future__ import annotations

import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from diptych.exceptions import WeightsError

__all__ = ["fill_network", "read_state", "size_of"]

LINES, LINE = 4, 200
"""How many of torch's lines about what does not fit an error repeats, and how many letters of each."""


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file or of a torch state dict, plain or under "model", by name; on the CPU.

    :class:`WeightsError` for everything else, a torch file that is larger unpacked included.
    """
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return _whole(file, load_file(file))
        except (SafetensorError, OSError, ValueError) as error:
            raise WeightsError(f"{file} is no safetensors file: {error}") from error
    try:
        _refuse_packed(file)
        raw = torch.load(file, map_location="cpu", weights_only=True)
    except (WeightsError, MemoryError):
        raise
    except Exception as error:  # torch raises pickle's errors, those of its zip reader and its own
        raise WeightsError(
            f"{file} is refused: expected a torch file with nothing but tensors, found {_said(error)}"
        ) from error
    inner = raw.get("model", raw) if isinstance(raw, Mapping) else None
    found = {str(k): v for k, v in inner.items() if isinstance(v, Tensor)} if isinstance(inner, Mapping) else {}
    if not found:
        raise WeightsError(f"{file} holds {type(raw).__name__}, expected a dictionary of tensors")
    return _whole(file, found)


def _said(error: Exception) -> str:
    """What was wrong, without torch's advice to read the file with code and all."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named:
        return f"a name, {named[1]}, which is never executed"
    lines = [s.strip() for s in str(error).splitlines() if s.strip() and "weights_only" not in s]
    return ": ".join([type(error).__name__, *(s[:300] for s in lines[:1])])


def _whole(file: Path, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, all of whose numbers are in the file: one number can claim to be a terabyte of them."""
    for name, tensor in state.items():
        there = tensor.layout == torch.strided and not tensor.is_meta
        if not there or tensor.numel() * tensor.itemsize > tensor.untyped_storage().nbytes():
            raise WeightsError(f"{file} is refused: the numbers of {name} are not in it")
    return state


def _refuse_packed(file: Path) -> None:
    """torch stores without compressing; what unpacks to more than its file was made to fill the memory."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as opened:
            whole = sum(entry.file_size for entry in opened.infolist())
        if whole > file.stat().st_size:
            raise WeightsError(f"{file} is refused: it has {file.stat().st_size} bytes and unpacks to {whole}")


def size_of(key: str, state: Mapping[str, Tensor], file: Path | str) -> int:
    """How many numbers the vector ``key`` has; :class:`WeightsError` when there is none."""
    found = state.get(key)
    if found is None or found.ndim != 1 or not len(found):
        what = "no such tensor" if found is None else f"shape {tuple(found.shape)}"
        raise WeightsError(
            f"{file} is not of this `model`: expected a vector {key}, found {what}; choose the one it was trained as"
        )
    return len(found)


def fill_network(
    network: nn.Module, state: Mapping[str, Tensor], file: Path | str, kind: str, *, assign: bool = False
) -> None:
    """Load all tensors; :class:`WeightsError` names those that are missing, too many or of another shape.

    ``kind`` says what was expected of ``file``. ``assign`` takes the tensors themselves: for networks on "meta".
    """
    expected = network.state_dict()
    for name, tensor in state.items():
        if name in expected and tensor.dtype.is_floating_point != expected[name].dtype.is_floating_point:
            raise WeightsError(
                f"{file} is no {kind}: {name} holds {tensor.dtype}, expected {expected[name].dtype}; "
                "name the weights that this model was trained as"
            )
    given = OrderedDict((k, v.to(expected[k].dtype) if k in expected else v) for k, v in state.items())
    version = getattr(expected, "_metadata", {}).get("", {})
    given._metadata = OrderedDict({"": version})  # type: ignore[attr-defined]  # MNASNet asks which layout it is
    try:
        network.load_state_dict(given, assign=assign)
    except RuntimeError as error:
        found = [line.strip()[:LINE] for line in str(error).splitlines()[1:]]
        raise WeightsError(
            f"{file} is no {kind}: {'; '.join(found[:LINES])}; name the weights that this model was trained as"
        ) from error
