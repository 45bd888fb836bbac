"""Our networks and preprocessing against the packages that others wrote."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from torch import Tensor

from diptych import weights
from diptych.exceptions import UsageError
from diptych.models.common.backbones import _weights_of, build, feature_shape, preprocessing
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


CLASSIFIERS = torchvision.models.list_models(torchvision.models)
FAMILIES = (
    "alexnet", "densenet121", "efficientnet_b0", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf",
    "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "vit_b_32",
    *(pytest.param(name, marks=pytest.mark.slow) for name in (
        "convnext_tiny", "efficientnet_v2_s", "googlenet", "inception_v3", "maxvit_t", "regnet_x_400mf",
        "resnext50_32x4d", "swin_t", "swin_v2_t", "vgg11", "vgg11_bn", "wide_resnet50_2",
    )),
)  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_features_are_what_torchvisions_head_sees(name: str, tmp_path: Path) -> None:
    """Of every family, from a file as torchvision publishes it: the input of the pooling, or of the classifier."""
    heads = {"googlenet": True, "inception_v3": True}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        arguments = {"aux_logits": True, "init_weights": False, "transform_input": True} if name in heads else {}
        whole = torchvision.models.get_model(name, weights=None, **arguments).eval()
        side = preprocessing(name).side
        x = torch.rand(2, 3, side, side)
    state = {re.sub(r"(denselayer\d+\.(norm|conv))([12])", r"\1.\3", k): v for k, v in whole.state_dict().items()}
    torch.save(state, tmp_path / "published.pth")

    seen: list[Tensor] = []
    parts = dict(whole.named_children())
    head = next(parts[part] for part in ("avgpool", "classifier", "heads", "fc") if part in parts)
    head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.inference_mode():
        whole(x)
        made = build(name, tmp_path / "published.pth")(x)
    (expected,), (maps, token) = seen, made if isinstance(made, tuple) else (made, None)
    assert maps.shape[1:] == feature_shape(name)
    assert expected.abs().max() > 0
    found = maps if expected.ndim == 4 else maps.mean((2, 3)) if token is None else token
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_is_registered_as_it_is_published(name: str) -> None:
    published, entry = _weights_of(name), weights.spec(name)
    assert entry.urls == (published.url,)
    assert entry.sha256_prefix and published.url.endswith(f"-{entry.sha256_prefix}.pth")
    assert ("SWAG" in published.name) == ("NC" in entry.licence)


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_has_a_map(name: str) -> None:
    assert all(size > 0 for size in feature_shape(name))


def test_vision_transformers_keep_their_class_token_and_the_patches() -> None:
    out = io.BytesIO()
    Image.effect_noise((80, 60), 90).convert("RGB").save(out, "PNG")
    stage = Backbone(BackboneConfig(model="vit_b_32", weights="random:5", grid=True))
    stage.setup("cpu")
    batch = Batch(("a", "b"), {"images.bytes": [out.getvalue()] * 2}, stage)
    output = stage.process(batch)
    output.check("backbone")
    pixels = [preprocessing("vit_b_32")(Image.open(io.BytesIO(out.getvalue())))]
    with torch.inference_mode():
        maps, token = build("vit_b_32", 5)(stage.on_device(pixels))
    assert np.allclose(output.values["pooled"][1], token[0], atol=2e-3)
    assert np.allclose(output.values["grid"][1].T.reshape(768, 7, 7), maps[0], atol=5e-3)
    stage.close()


@pytest.mark.parametrize("name,side", [("maxvit_t", 96), ("vit_b_16", 256), ("inception_v3", 64), ("alexnet", 32)])
def test_a_side_that_a_network_cannot_take_is_refused(name: str, side: int, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=f"{name} takes no pictures of {side} x {side} pixels; leave `side` out"):
        feature_shape(name, side)
    assert capfd.readouterr() == ("", "")


def test_preprocessing_is_torchvisions() -> None:
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
