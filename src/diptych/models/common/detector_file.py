"""Reading detectors' checkpoints, whatever wrote them; nothing in them is executed.

``.pkl`` is detectron2's model zoo (arrays), ``.pth`` a torch state dict, plain or under "model", ``.safetensors`` our
own. A safetensors file may describe itself: its metadata key ``diptych`` is JSON with ``architecture``, ``classes``
(names in order, the background not among them), ``attributes`` and whatever else its loader needs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diptych.exceptions import WeightsError
from diptych.models.common.array_pickle import load_arrays
from diptych.models.common.state_file import read_state

__all__ = ["METADATA", "DetectorFile", "read_detector", "write_detector"]

METADATA = "diptych"


@dataclass(frozen=True)
class DetectorFile:
    """Tensors by name, and what a safetensors file says about itself."""

    state: dict[str, Tensor]
    architecture: str = ""
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The description's other entries: plain JSON values, read by the loader that wrote them."""


def read_detector(file: Path) -> DetectorFile:
    """The file's content; :class:`WeightsError` when it is none of the three kinds."""
    if file.suffix == ".safetensors":
        return _safetensors(file)
    if file.suffix == ".pkl":
        return DetectorFile({name: torch.from_numpy(array) for name, array in load_arrays(file).items()})
    return DetectorFile(read_state(file))


def _safetensors(file: Path) -> DetectorFile:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            state = {name: opened.get_tensor(name) for name in opened.keys()}
            raw = json.loads((opened.metadata() or {}).get(METADATA, "{}"))
            described = dict(raw)
            names = [tuple(map(str, described.pop(n, ()))) for n in ("classes", "attributes")]
            return DetectorFile(state, str(described.pop("architecture", "")), names[0], names[1], described)
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise WeightsError(f"{file} is no safetensors file with a description of a detector: {error}") from error


def write_detector(file: Path, content: DetectorFile) -> None:
    """As safetensors with the description."""
    from safetensors.torch import save_file

    described = {
        "architecture": content.architecture,
        "classes": list(content.classes),
        "attributes": list(content.attributes),
        **content.settings,
    }
    state = {name: tensor.contiguous() for name, tensor in content.state.items()}
    save_file(state, str(file), {METADATA: json.dumps(described, ensure_ascii=False, sort_keys=True)})
