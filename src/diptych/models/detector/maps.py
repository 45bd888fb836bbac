"""The frozen backbone's maps of every training picture, computed once and kept in a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.models.detection import FasterRCNN

from diptych.models.common.detectors_torchvision import TorchvisionNetwork
from diptych.models.detector.examples import Example, pixels
from diptych.models.detector.network import STRIDES, Backbone

__all__ = ["Kept", "keep_maps"]


@dataclass(frozen=True)
class Kept:
    """A picture as training sees it: where its maps are, sizes (H, W) with and without padding, objects in pixels of
    the network's input.
    """

    file: Path
    padded: tuple[int, int]
    size: tuple[int, int]
    boxes: Tensor
    labels: Tensor
    attributes: Tensor

    def maps(self) -> list[Tensor]:
        """The maps (C, h, w), float32."""
        found = load_file(self.file)
        return [found[str(stride)].float() for stride in STRIDES]


def keep_maps(
    network: FasterRCNN, examples: tuple[Example, ...], folder: Path, device: str, said: Callable[[int, int], None]
) -> list[Kept]:
    """Maps of all examples, in ``folder``; those that are there already are taken. ``said(done, all)`` after each.

    A picture that cannot be decoded, has another size than its entry says or is too narrow is a :class:`UsageError`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network.eval().to(device)
    fits = TorchvisionNetwork(network).fits
    found = []
    for n, example in enumerate(examples):
        file = folder / f"{n:06d}.safetensors"
        if not file.is_file():
            part = file.with_suffix(".part")
            save_file(_maps(network, pixels(example, fits), device), part)
            part.replace(file)
        found.append(_kept(example, file))
        said(n + 1, len(examples))
    return found


@torch.inference_mode()
def _maps(network: FasterRCNN, pixels_hwc: np.ndarray, device: str) -> dict[str, Tensor]:
    resize: Any = network.transform
    backbone: Any = network.backbone
    assert isinstance(backbone, Backbone)
    picture = torch.from_numpy(pixels_hwc.copy()).to(device).permute(2, 0, 1).contiguous()
    images = resize([picture.float().div(255)])[0]
    maps = backbone.bottom(images.tensors)
    named = {str(stride): m[0].half().contiguous().cpu() for stride, m in zip(STRIDES, maps, strict=True)}
    return {**named, "size": torch.tensor([images.image_sizes[0], images.tensors.shape[-2:]])}


def _kept(example: Example, file: Path) -> Kept:
    with safe_open(file, "pt") as opened:
        size, padded = ((int(high), int(wide)) for high, wide in opened.get_tensor("size"))
    scale = torch.tensor([size[1] / example.width, size[0] / example.height] * 2)
    boxes = torch.from_numpy(example.boxes) * scale
    return Kept(file, padded, size, boxes, torch.from_numpy(example.labels), torch.from_numpy(example.attributes))
