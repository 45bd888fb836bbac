"""The detectors that the stage ``regions`` knows, by name; nothing heavy is imported before one is used.

A detector of one's own is one line in :data:`DETECTORS`: the function that loads it takes the weights (a file, or a
seed) and :class:`Sizes`, and returns a :class:`~diptych.models.common.detectors.Loaded`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DETECTORS", "DetectorEntry", "Sizes"]


@dataclass(frozen=True)
class Sizes:
    """What a stage's settings change about a detector: pixels of its input, boxes between its two steps."""

    min_side: int
    max_side: int
    proposals: int


@dataclass(frozen=True)
class DetectorEntry:
    """One detector: where its loader is, the width of its features, and the settings it was made for."""

    load: str
    """``module:function`` of (weights: Path | int, sizes: Sizes, lists: Sequence[Path]) -> Loaded."""
    features: int
    weights: tuple[str, ...]
    """Names in the weights registry: the checkpoint, then the lists of class and attribute names, if any."""
    sizes: Sizes = Sizes(800, 1333, 1000)
    attributes: bool = False


_TORCHVISION = "diptych.models.common.detectors_torchvision:load"
_ZOO = "diptych.models.common.rcnn_load:load"
_GENOME = ("vg_objects", "vg_attributes")

DETECTORS: dict[str, DetectorEntry] = {
    "fasterrcnn_resnet50_fpn_v2": DetectorEntry(f"{_TORCHVISION}_v2", 1024, ("fasterrcnn_resnet50_fpn_v2",)),
    "fasterrcnn_resnet50_fpn": DetectorEntry(f"{_TORCHVISION}_v1", 1024, ("fasterrcnn_resnet50_fpn",)),
    "r50_fpn": DetectorEntry(f"{_ZOO}_r50_fpn", 1024, ("d2_r50_fpn",)),
    "r101_fpn": DetectorEntry(f"{_ZOO}_r101_fpn", 1024, ("d2_r101_fpn",)),
    "r50_c4": DetectorEntry(f"{_ZOO}_r50_c4", 2048, ("d2_r50_c4",)),
    "r101_c4": DetectorEntry(f"{_ZOO}_r101_c4", 2048, ("d2_r101_c4",)),
    "bottom_up_attention": DetectorEntry(
        f"{_ZOO}_bottom_up", 2048, ("bottom_up_attention", *_GENOME), Sizes(600, 1000, 300), attributes=True
    ),
    "bottom_up_attention_d2": DetectorEntry(
        f"{_ZOO}_bottom_up_d2", 2048, ("bottom_up_attention_d2", *_GENOME), Sizes(600, 1000, 1000), attributes=True
    ),
    "fasterrcnn_efficientnet_lite0": DetectorEntry(
        "diptych.models.detector.network:load", 256, ("sample_detector", "efficientnet_lite0"), Sizes(320, 320, 100),
        attributes=True,
    ),
}  # fmt: skip
"""By the name that ``regions.model`` takes. torchvision's; detectron2's model zoo (COCO); Visual Genome's; our own."""
