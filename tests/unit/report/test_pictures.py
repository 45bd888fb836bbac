"""Pictures for places that show no HTML: sample pictures with boxes, curves of a training."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_version import SmallVersion, usual

from diptych.report.curves import draw_curves
from diptych.report.gallery import draw_layers, gallery
from diptych.report.shapes import Layer, Shape
from diptych.report.version_card import version_card


def test_gallery_draws_what_stages_found_and_is_bounded(tmp_path: Path) -> None:
    version = SmallVersion(tmp_path, usual()).version
    found = gallery(version, 4)
    assert len(found) == 4 and len({p.record for p in found}) == 4
    assert any(p.layers for p in found)
    assert all(max(Image.open(io.BytesIO(p.png)).size) <= 320 for p in found)
    assert len(gallery(version, 4, budget=len(found[0].png))) == 1


def test_boxes_are_drawn_where_they_are_after_scaling() -> None:
    layer = Layer("regions.box", (Shape(((100, 100), (500, 100), (500, 500), (100, 500))),))
    plain = Image.new("RGB", (640, 640), "white")
    drawn = np.asarray(Image.open(io.BytesIO(draw_layers(plain, (layer,)))).convert("RGB")).astype(int)
    assert drawn.shape == (320, 320, 3)
    coloured = np.argwhere(drawn.sum(-1) < 700)
    assert set(coloured.min(0).tolist()) <= {49, 50} and 249 <= coloured.max() <= 251


def test_curves_have_a_panel_for_each_value_and_none_without_epochs() -> None:
    epochs = [
        {"phase": "fit", "epoch": n, "lr": 0.1, "train": {"loss": 3 - n}, "dev": {"accuracy": n / 3, "f1": None}}
        for n in range(3)
    ]
    found = draw_curves({"a": epochs, "b": epochs[:2]})
    assert found is not None and Image.open(io.BytesIO(found)).size[0] > 800
    assert draw_curves({"a": []}) is None


def test_the_card_says_first_what_to_know(tmp_path: Path) -> None:
    version = SmallVersion(tmp_path, usual(), random_weights=True, accepted_failures=0.02).version
    lines = [line for line in version_card(version).splitlines() if line]
    assert lines[0] == f"# {version.manifest.dataset}@{version.number}"
    assert "Random weights" in lines[1] and "2 % of all" in lines[2]
    assert "accepted pairs" in version_card(version)


def test_a_large_card_says_it_too_and_nothing_that_did_not_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = SmallVersion(tmp_path, usual(), accepted_failures=0.0)
    manifest = small.version.manifest.model_copy(update={"recipe": "name: small\nsample_of: hcscl\n"})
    monkeypatch.setattr("diptych.report.version_card.COUNTED", 0)
    text = version_card(type(small.version)(small.store, manifest))
    assert "**Sample build of hcscl: generated data" in text and "accepted pairs" not in text
    assert "failed" not in text.split("| stage |")[0]
