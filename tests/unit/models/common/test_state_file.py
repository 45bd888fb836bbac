"""Weights of other people: read without executing anything, refused with the reason where they do not fit."""

from __future__ import annotations

import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from diptych.exceptions import WeightsError
from diptych.models.common.backbones import build
from diptych.models.common.classifiers import inception, vgg
from diptych.models.common.detector_list import Sizes
from diptych.models.common.detectors_torchvision import load_v1
from diptych.models.common.state_file import fill_network, read_state, size_of

LOADERS: dict[str, Callable[[Path], Any]] = {
    "backbone": lambda file: build("resnet18", file),
    "grid": lambda file: vgg("vgg16", file, fc7=False),
    "inception": inception,
    "regions": lambda file: load_v1(file, Sizes(64, 96, 12)),
}


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("echo executed > executed",)


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_what_is_no_file_of_tensors(
    load: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good = tmp_path / "good.pth"
    torch.save({"w": torch.zeros(1000)}, good)
    (tmp_path / "folder.pth").mkdir()
    (tmp_path / "cut.pth").write_bytes(good.read_bytes()[:-600])
    (tmp_path / "empty.pth").touch()
    (tmp_path / "noise.pth").write_bytes(b"\x80\x02noise" * 50)
    torch.save({"w": Evil()}, tmp_path / "malicious.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "noise.safetensors").write_bytes(b"\xff" * 64)
    for name in ("folder.pth", "cut.pth", "empty.pth", "noise.pth", "malicious.pth", "list.pth", "noise.safetensors"):
        with pytest.raises(WeightsError, match=rf"{name} (is refused|holds list|is no safetensors)"):
            load(tmp_path / name)
    assert not (tmp_path / "executed").exists()
    with pytest.raises(WeightsError, match=r"found a name, posix.system, which is never executed$"):
        load(tmp_path / "malicious.pth")


@pytest.mark.parametrize("load", LOADERS.values(), ids=LOADERS)
def test_another_network(load: Callable[[Path], Any], tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"w": torch.zeros(3), "roi_heads.box_predictor.cls_score.bias": torch.zeros(5)}, file)
    with pytest.raises(WeightsError, match=r"other.safetensors is no [\s\S]*; name the weights that"):
        load(file)


def test_a_file_that_unpacks_to_more(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1_000_000)}, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(tmp_path / "bomb.pth", "w", 8) as bomb:
        for entry in plain.namelist():
            bomb.writestr(entry, plain.read(entry))
    assert len(read_state(tmp_path / "plain.pth")["w"]) == 1_000_000
    with pytest.raises(WeightsError, match=r"has \d+ bytes and unpacks to 40\d+"):
        read_state(tmp_path / "bomb.pth")


@pytest.mark.parametrize("tensor", [torch.zeros(1).expand(1 << 40), torch.zeros(3, device="meta")], ids=str)
def test_numbers_that_are_not_in_the_file(tensor: torch.Tensor, tmp_path: Path) -> None:
    torch.save({"w": tensor}, tmp_path / "few.pth")
    with pytest.raises(WeightsError, match="few.pth is refused: the numbers of w are not in it"):
        read_state(tmp_path / "few.pth")


def test_layouts_of_older_releases_still_load(tmp_path: Path) -> None:
    """Published files lack counters of batches, and torchvision renamed layers of its detectors."""
    torch.manual_seed(1)
    network = torchvision.models.resnet18(weights=None)
    old = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(OrderedDict(old), tmp_path / "resnet18.pth")
    picture = torch.rand(1, 3, 64, 64)
    named = nn.Sequential(*list(network.eval().children())[:-2])
    with torch.inference_mode():
        assert torch.allclose(build("resnet18", tmp_path / "resnet18.pth")(picture), named(picture), atol=1e-4)
    detector = torchvision.models.detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=5)
    state = {k.replace("conv.0.0.", "conv."): v.half() for k, v in detector.state_dict().items()}
    for n in range(4):
        for part in ("inner", "layer"):
            for kind in ("weight", "bias"):
                prefix = f"backbone.fpn.{part}_blocks.{n}"
                state[f"{prefix}.{kind}"] = state.pop(f"{prefix}.0.{kind}")
    torch.save(state, tmp_path / "v1.pth")
    loaded: Any = load_v1(tmp_path / "v1.pth", Sizes(64, 96, 12)).network
    kept = loaded.network.rpn.head.conv[0][0].weight
    assert kept.dtype == torch.float32 and torch.allclose(kept, detector.rpn.head.conv[0][0].weight, atol=1e-3)  # type: ignore[union-attr,index]


def test_what_does_not_fit_is_named() -> None:
    network = nn.Linear(2, 3)
    with pytest.raises(WeightsError, match=r"f is no line: Missing key\(s\) in state_dict: \"bias\".*size mismatch"):
        fill_network(network, {"weight": torch.zeros(3, 1)}, "f", "line")
    with pytest.raises(WeightsError, match="f is no line: bias holds torch.int64, expected torch.float32"):
        fill_network(network, {**network.state_dict(), "bias": torch.zeros(3, dtype=torch.int64)}, "f", "line")
    with pytest.raises(WeightsError, match=r"expected a vector b, found shape \(\)"):
        size_of("b", {"b": torch.tensor(1.0)}, "f")
