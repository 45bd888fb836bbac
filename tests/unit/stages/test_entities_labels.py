"""Entities from the names of regions."""

from __future__ import annotations

from typing import Any

from diptych.stage import Batch
from diptych.stages.entities import Entities
from diptych.stages.entities_labels import EntityLabels, EntityLabelsConfig


def run(names: Any, scores: Any, **config: Any) -> Any:
    stage = EntityLabels(EntityLabelsConfig(**config))
    out = stage.process(Batch(("a",), {"regions.class_names": [names], "regions.scores": [scores]}, stage))
    out.check("entity_labels")
    return out.states[0].code or list(zip(out.values["names"][0], out.values["scores"][0], strict=True))


def test_each_class_once_by_its_best_score() -> None:
    names, scores = ["cat", "car", "cat", "N/A", None, "dog"], [0.5, 0.75, 0.875, 0.9, 0.9, 0.25]
    assert run(names, scores) == [("cat", 0.875), ("car", 0.75)]
    assert run(names, scores, top=1) == [("cat", 0.875)]
    assert run(names, scores, min_score=0.0)[2] == ("dog", 0.25)
    assert run(["b", "a"], [0.5, 0.5]) == [("a", 0.5), ("b", 0.5)]
    assert run([], []) == run(None, None) == []
    assert run(["a"], []) == "unequal_lists"
    assert EntityLabels.outputs is Entities.outputs
