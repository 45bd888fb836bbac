"""Our networks and preprocessing against the packages that others wrote."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from diptych import weights
from diptych.exceptions import UsageError
from diptych.models.common.backbones import build, feature_shape, preprocessing
from diptych.models.common.efficientnet_lite import EfficientNetLite0
from diptych.stage import Batch
from diptych.stages.backbone import Backbone, BackboneConfig
from diptych.stages.pixels_input import normalised


def test_lite0_equals_the_package(sample_weights: None) -> None:
    package = pytest.importorskip("efficientnet_lite_pytorch")
    state = torch.load(weights.path("efficientnet_lite0"), weights_only=True)
    theirs = package.EfficientNet.from_name("efficientnet-lite0").eval()
    ours = EfficientNetLite0().eval()
    theirs.load_state_dict(state)
    ours.load_state_dict(state)
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        assert torch.allclose(ours.features(x), theirs.extract_features(x), atol=1e-4)
        assert torch.allclose(ours(x), theirs(x), atol=1e-3)


def test_lite0_recognises_a_cat(sample_weights: None) -> None:
    data = pytest.importorskip("skimage.data")
    network = EfficientNetLite0().eval()
    network.load_state_dict(torch.load(weights.path("efficientnet_lite0"), weights_only=True))
    with torch.inference_mode():
        pixels = preprocessing("efficientnet_lite0")(Image.fromarray(data.chelsea()))
        levels = preprocessing("efficientnet_lite0").levels
        best = network(torch.from_numpy(normalised(pixels, levels))[None]).softmax(1).topk(3).indices[0].tolist()
    assert set(best) & {281, 282, 283, 285}  # tabby, tiger, Persian, Egyptian cat


@pytest.mark.parametrize("name", ["resnet18", "inception_v3", "mobilenet_v3_large", "vgg11"])
def test_torchvision_models_are_cut_before_their_pooling(name: str) -> None:
    network = build(name, 7)
    channels, high, wide = feature_shape(name)
    side = preprocessing(name).side
    assert network(torch.zeros(1, 3, side, side)).shape == (1, channels, high, wide)


def test_cutting_changes_nothing() -> None:
    import torchvision

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        whole = torchvision.models.resnet18().eval()
    x = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.allclose(whole.fc(build("resnet18", 3)(x).mean((2, 3))), whole(x), atol=1e-4)


def test_preprocessing_is_torchvisions() -> None:
    import torchvision

    image = Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (300, 256, 3), np.uint8).repeat(2, 0).repeat(2, 1)
    )
    theirs = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()(image).numpy()
    ours = normalised(preprocessing("resnet18")(image), preprocessing("resnet18").levels)
    assert ours.shape == theirs.shape and np.abs(ours - theirs).mean() < 0.05


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet18"])
def test_levels_are_what_arithmetic_on_the_pixels_gives(name: str) -> None:
    how, pixels = preprocessing(name), np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
    scaled = (pixels.astype(np.float32) - np.array(how.mean, np.float32)) / np.array(how.std, np.float32)
    assert normalised(pixels, how.levels).tobytes() == scaled.transpose(2, 0, 1).tobytes()


def test_unknown_models_are_refused() -> None:
    with pytest.raises(UsageError, match="nonsense"):
        feature_shape("nonsense")


@pytest.mark.parametrize("side,cells", [(None, 49), (96, 9), (100, 16)])
def test_random_weights_need_no_file_and_are_reproducible(side: int | None, cells: int) -> None:
    out = io.BytesIO()
    Image.new("RGB", (80, 60), (200, 30, 90)).save(out, "PNG")
    config = BackboneConfig(weights="random:5", grid=True, side=side)
    results = []
    for _ in range(2):
        stage = Backbone(config)
        stage.setup("cpu")
        output = stage.process(Batch(("a",), {"images.bytes": [out.getvalue()]}, stage))
        output.check("backbone")
        results.append(output.values["grid"][0])
        stage.close()
    assert stage.weight_names() == ("random:5",)
    assert results[0].shape == (cells, 1280) and np.array_equal(*results)
