"""VGG and InceptionV3 of torchvision as feature extractors that give the reference's numbers, bit for bit.

Weights are torchvision's state dicts, or drawn from a seed: convolutions and linear layers as He et al. (2015), so
that activations keep their size, biases 0, batch normalisation the identity.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import torch
import torchvision
from torch import Tensor, nn

from diptych.models.common.state_file import fill_network, read_state

__all__ = ["Vgg", "draw", "inception", "vgg"]


class Vgg(nn.Module):
    """(N, 3, H, W) -> the map after the last max-pool (N, 512, H/32, W/32) and, with the classifier, fc7 (N, 4096).

    fc7 is the second fully connected layer after its ReLU; the map is pooled to 7x7 before, which at 224 changes
    nothing.
    """

    def __init__(self, network: nn.Module, fc7: bool) -> None:
        super().__init__()
        assert isinstance(network, torchvision.models.VGG)
        self.features = network.features
        self.avgpool = network.avgpool
        self.classifier = network.classifier[:5] if fc7 else None

    def forward(self, x_nchw: Tensor) -> tuple[Tensor, Tensor | None]:
        grid = self.features(x_nchw)
        if self.classifier is None:
            return grid, None
        return grid, self.classifier(torch.flatten(self.avgpool(grid), 1))


def vgg(name: Literal["vgg19", "vgg16"], weights: Path | int, *, fc7: bool) -> Vgg:
    """In eval mode on the CPU, from a state-dict file or from a seed; 80 MB, with ``fc7`` 560 MB."""
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None, init_weights=False)
        made = Vgg(network, fc7)
    _fill(made, weights, {"classifier.6.", *(() if fc7 else ("classifier.",))}, name)
    return made.eval().requires_grad_(False)


def inception(weights: Path | int) -> nn.Module:
    """(N, 3, H, W) -> (N, 2048): InceptionV3 before its last layer, ImageNet's normalisation as input."""
    with torch.device("meta"):
        network = torchvision.models.get_model(
            "inception_v3", weights=None, init_weights=False, transform_input=True, aux_logits=True
        )
        assert isinstance(network, torchvision.models.Inception3)
        network.AuxLogits = None
        network.fc = nn.Identity()  # type: ignore[assignment]
    _fill(network, weights, {"fc.", "AuxLogits."}, "inception_v3")
    return network.eval().requires_grad_(False)


def _fill(network: nn.Module, weights: Path | int, unused: set[str], kind: str) -> None:
    """Tensors for a network made on the device "meta"."""
    if isinstance(weights, int):
        network.to_empty(device="cpu")
        draw(network, weights)
        return
    state = read_state(weights)
    wanted = {k: v for k, v in state.items() if not k.startswith(tuple(unused))}
    for key in set(network.state_dict()) - set(wanted):  # files older than PyTorch 0.4.1 do not have this counter
        if key.endswith("num_batches_tracked"):
            wanted[key] = torch.tensor(0)
    fill_network(network, wanted, weights, kind, assign=True)


def draw(network: nn.Module, seed: int) -> None:
    """Random weights in place, layer by layer in the network's order; the same on every machine and release."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = math.prod(module.weight.shape[1:])
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_in), generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
