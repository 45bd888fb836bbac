"""Our detectors and the adapter against detectron2's own Python code, with equal random weights."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diptych.models.common.detector_list import Sizes
from diptych.models.common.detectors import Detector, Loaded
from diptych.models.common.rcnn_load import SPECS, build
from diptych.models.common.selection import Selection
from diptych.stage import Batch, Output
from diptych.stages.regions import Regions, RegionsConfig

sys.path.append(str(Path(__file__).parent))
from detectron2_oracle import MOST, SMALL, THRESHOLD, VARIANTS, configured, expected, importable, picture

pytestmark = [pytest.mark.slow, pytest.mark.data("DIPTYCH_DETECTRON2"), pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def folder() -> Path:
    found = os.environ["DIPTYCH_DETECTRON2"]
    importable(found)
    return Path(found)


@pytest.mark.parametrize(("size", "nms"), [((640, 480), 0.5), ((300, 500), 0.5), ((320, 200), 0.3)], ids=str)
@pytest.mark.parametrize("name", list(SPECS))
def test_equal_weights_give_detectron2s_regions(name: str, size: tuple[int, int], nms: float, folder: Path) -> None:
    """At a third of the full input size; the architectures are complete: 101 layers, 1,600 classes.

    0.3 is bottom-up attention's own threshold; random weights give boxes of one class that it tells from 0.5.
    """
    spec, sizes = SPECS[name], Sizes(256, 400, 100)
    network = build(spec, 7, sizes)
    image = picture(*size, seed=2)
    theirs = expected(spec, network, sizes, image, folder, nms)
    selection = Selection("threshold", THRESHOLD, most=MOST, nms=nms, once=False)
    names = tuple(str(n) for n in range(spec.classes + 1))
    ours = Detector(Loaded(network, names, names[: spec.attribute_classes]), selection)([image])[0]
    assert len(theirs.labels) == MOST and ours.finite
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_allclose(ours.boxes, theirs.boxes, rtol=1e-4, atol=1e-4 * max(size))
    np.testing.assert_allclose(ours.scores, theirs.scores, rtol=1e-4)
    assert np.abs(ours.features - theirs.features).max() <= 1e-4 * np.abs(theirs.features).max()
    if spec.attributes:
        np.testing.assert_array_equal(ours.attributes, theirs.attributes)
        np.testing.assert_allclose(ours.attribute_scores, theirs.attribute_scores, rtol=1e-4)


@pytest.mark.parametrize("name", ["r50_fpn", "r101_fpn", "r50_c4", "bottom_up_attention", "bottom_up_attention_d2"])
def test_the_adapter_gives_the_built_in_detectors_rows(name: str, folder: Path) -> None:
    made: dict[str, Output] = {}
    data = [b"<html>", *(png(picture(*size, seed=n)) for n, size in enumerate([(200, 150), (150, 200), (90, 60)]))]
    for backend in ("builtin", "detectron2"):
        config = {"model": name, "weights": "random:3", "proposals": 60, "min_side": 128, "max_side": 200}
        stage = Regions(RegionsConfig.model_validate({**config, "backend": backend, "mode": "fixed", "count": 10}))
        stage.setup("cpu")
        made[backend] = stage.process(Batch(tuple("abcd"), {"images.bytes": data}, stage))
        made[backend].check("regions")
        stage.close()
    ours, theirs = made["builtin"], made["detectron2"]
    assert [s.code for s in ours.states] == [s.code for s in theirs.states] == ["not_an_image", "", "", ""]
    for row in (1, 2, 3):
        for column in ("classes", "class_names", "attributes", "width", "height"):
            assert ours.values[column][row] == theirs.values[column][row], column
        for column in ("boxes", "scores", "features"):
            a, b = (np.asarray(o.values[column][row], np.float64) for o in (ours, theirs))
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max())


def test_the_adapters_configuration_is_the_model_zoos(folder: Path) -> None:
    from diptych.models.common.detectors_detectron2 import configuration

    for name in ("r50_fpn", "r101_fpn", "r50_c4", "r101_c4"):
        sizes = Sizes(800, 1333, 1000)
        ours, theirs = configuration(SPECS[name], sizes), configured(SPECS[name], sizes, folder)
        theirs.MODEL.ROI_HEADS.SCORE_THRESH_TEST = ours.MODEL.ROI_HEADS.SCORE_THRESH_TEST
        theirs.TEST.DETECTIONS_PER_IMAGE = ours.TEST.DETECTIONS_PER_IMAGE
        differing = list(_differences(ours.MODEL, theirs.MODEL, "MODEL"))
        assert not [d for d in differing if not re.search("WEIGHTS|TRAIN|MASK_HEAD", d)], (name, differing)


def test_the_committed_figures_are_its_own(folder: Path) -> None:
    import json

    from detectron2_oracle import FIGURES, figures

    stored = json.loads(FIGURES.read_text())
    for name, spec in VARIANTS.items():
        made = figures(expected(spec, build(spec, 5, SMALL), SMALL, picture(200, 130), folder))
        assert made.keys() == stored[name].keys()
        for key, value in made.items():
            np.testing.assert_allclose(value, stored[name][key], rtol=1e-4, atol=1e-3)


def _differences(ours: Any, theirs: Any, where: str) -> Any:
    for key, value in ours.items():
        if hasattr(value, "items"):
            yield from _differences(value, theirs[key], f"{where}.{key}")
        elif value != theirs[key]:
            yield f"{where}.{key}: {value} != {theirs[key]}"


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
