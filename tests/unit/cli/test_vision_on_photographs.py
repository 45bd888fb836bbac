"""Every vision stage over COCO photographs with captions and boxes, in one build."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

import diptych

STAGES = {
    "clean": {"min_side": 64},
    "clean_text": {},
    "pixels": {"side": 64},
    "backbone": {"model": "resnet18", "weights": "random:0", "side": 64},
    "grid": {"weights": "random:0", "side": 64, "fc7": False},
    "inception": {"weights": "random:0", "side": 96},
    "regions": {
        "model": "fasterrcnn_resnet50_fpn", "weights": "random:0", "proposals": 60, "min_side": 128, "max_side": 256,
        "mode": "fixed", "count": 36,
    },
    "scene_graph": {},
    "proposals": {"strategy": "single", "count": 19},
    "fc7": {"weights": "random:0", "side": 32, "boxes": "both"},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.data("DIPTYCH_COCO")
@pytest.mark.usefixtures("opencv")
def test_every_vision_stage_runs(tmp_path: Path) -> None:
    folder = Path(os.environ["DIPTYCH_COCO"])
    captions = next(folder.glob("annotations/captions_*.json"))
    instances = next(folder.glob("annotations/instances_*.json"))
    images = folder / instances.stem.removeprefix("instances_")
    source = {"kind": "coco", "name": "photos", "captions": str(captions), "instances": str(instances)}
    recipe = {"name": "coco", "sources": [source | {"images": str(images), "limit": 80}], "shards": 2, "stages": STAGES}
    (tmp_path / "coco.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    command = [sys.executable, "-m", "diptych.cli", "build", "coco.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stdout + done.stderr
    version = diptych.open(tmp_path / "data" / "coco")
    for name in STAGES:
        statuses = version.table(name).column("status").to_pylist()
        assert set(statuses) == {"ok"} and len(statuses) >= 70, (name, statuses)
    table = version.table("fc7").to_pydict()
    assert {k for kinds in table["kinds"] for k in kinds} == {"picture", "proposal", "annotated"}
    if len(table["kinds"]) == 80:
        assert sum(kinds.count("annotated") for kinds in table["kinds"]) == 731
    key = table["key"][0]
    features = version.tensor("fc7.features", key)
    assert features.shape == (len(table["boxes"][0]), 4096) and np.isfinite(features).all()
    assert version.tensor("regions.features", version.table("regions").to_pydict()["key"][0]).shape[1] == 1024
