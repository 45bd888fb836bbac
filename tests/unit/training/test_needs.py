"""What a version lacks, for all five models: said before any work, with recipe lines that are right.

And rows that a later phase would want: said before the first step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import toy_task
import yaml

from diptych.exceptions import NotFound, UsageError
from diptych.fits import FITS
from diptych.models.registry import MODELS, find_task
from diptych.stages import STAGES
from diptych.stages.schema import load_fit, load_stage
from diptych.storage.reader_fields import TABLES
from diptych.training.needs import check_needs, fields_read
from diptych.training.options import RunOptions
from diptych.training.phase import Phase, Stream
from diptych.training.train import Order, settings_of, start_run, train
from diptych.version import Version


def version_with(names: set[str]) -> Any:
    """A version that knows its stages and fits, and nothing that work could be begun with."""
    stages = [SimpleNamespace(name=n) for n in sorted(names & set(STAGES))]
    fits = [SimpleNamespace(name=n) for n in sorted(names & set(FITS))]
    return SimpleNamespace(store=None, manifest=SimpleNamespace(dataset="d", version=3, stages=stages, fits=fits))


def producers(model: str, preset: str) -> list[str]:
    kind = find_task(model)
    names = (field.partition(".")[0] for field in fields_read(kind, settings_of(kind, Order(model, preset))))
    return [name for name in dict.fromkeys(names) if name not in TABLES]


CASES = [
    pytest.param(model, preset, name, id=f"{model}-{preset}-{name}")
    for model in MODELS
    for preset in find_task(model).presets
    for name in producers(model, preset)
]
"""Each model's presets, and each stage or fit that one of them reads."""


@pytest.mark.parametrize(("model", "preset", "name"), CASES)
def test_the_stage_that_is_missing_and_its_line(model: str, preset: str, name: str) -> None:
    kind = find_task(model)
    with pytest.raises(NotFound) as caught:
        check_needs(version_with(set(producers(model, preset)) - {name}), kind, settings_of(kind, Order(model, preset)))
    text = str(caught.value)
    assert f"model {model} cannot be fitted on d@3: it has no {name} (" in text and "diptych build" in text
    (line,) = [x for x in text.splitlines() if x.startswith("  ")]
    place = "fits" if name in FITS else "stages"
    assert f"# under {place}; read as {name}" in line
    added = yaml.safe_load(line)
    assert list(added) == [name]
    kind_of_it = load_fit(name) if name in FITS else load_stage(name)
    assert set(added[name]) <= set(kind_of_it.Config.model_fields)
    if name in STAGES and not set(added[name] or ()) & set(kind_of_it.Config.places):
        made = load_stage(name)(load_stage(name).Config(**added[name]))
        read = {field.partition(".")[2] for field in fields_read(kind, settings_of(kind, Order(model, preset)))
                if field.startswith(f"{name}.")}  # fmt: skip
        assert read - {"key"} <= {*made.output_schema().names, *made.tensor_schema()}, "the line gives what is read"


def test_the_line_of_a_stage_that_lacks_a_column() -> None:
    kind = find_task("mkp")
    version = version_with(set(producers("mkp", "sample")))
    for entry in version.manifest.stages:
        made = load_stage(entry.name)()
        entry.rows, entry.tensors, entry.arrow_schema = made.key, list(made.tensor_schema()), made.output_schema
        entry.tensor_specs = made.tensor_schema
    with pytest.raises(NotFound) as caught:
        check_needs(version, kind, settings_of(kind, Order("mkp", "sample")))
    text = str(caught.value)
    assert "backbone has no 'grid' (field backbone.grid)" in text
    assert "\n  backbone: {grid: true}\n" in text and "diptych build" in text


@pytest.mark.parametrize("model", list(MODELS))
def test_it_is_said_before_any_run_is_begun(model: str) -> None:
    with pytest.raises(NotFound, match=f"model {model} cannot be fitted on d@3: it has no"):
        start_run(version_with(set()), Order(model, "debug"))  # anything but its manifest would be an error


class Late(toy_task.ToyTask):
    name = "late"
    title_of_all = ""

    @classmethod
    def reads(cls, config: Any) -> Mapping[str, Stream]:
        few = replace(toy_task.PHRASES, where=(f"documents.title == '{cls.title_of_all}'",))
        return {**super().reads(config), "few": few}

    def phases(self) -> tuple[Phase, ...]:
        warm, main = super().phases()
        return warm, replace(main, streams={"few": self.reads(self.config)["few"]})


@pytest.mark.parametrize("trained", [False, True])
def test_a_later_phase_without_rows_ends_the_run_before_its_first_step(
    version: Version, monkeypatch: pytest.MonkeyPatch, trained: bool
) -> None:
    monkeypatch.setattr(toy_task, "Late", Late, raising=False)
    if trained:
        with version.loader("train", fields=toy_task.PHRASES.fields, rows="document", collate=list) as loader:
            titles = [s["documents.title"] for some in loader for s in some if s["documents.keyphrases"]]
        monkeypatch.setattr(Late, "title_of_all", titles[0])
    said: list[str] = []
    message = "stream few: the version has no row of dev" if trained else "few of phase main has 0 rows of train"
    with pytest.raises(UsageError, match=message):
        train(version, Order("toy_task:Late", "debug"), RunOptions(tensorboard=False), said.append)
    assert not any("epoch" in line for line in said)
