"""Settings, schemas and fits: what enters a stage key, what is published, what may not depend on shards."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import ValidationError

from diptych.fits import FITS
from diptych.naming import digest_settings
from diptych.stage import StageConfig
from diptych.stages import STAGES
from diptych.stages.schema import all_schemas, load_fit, load_stage

ROOT = Path(__file__).resolve().parents[2]
CANDIDATES: tuple[Any, ...] = (
    True, False, 1, 2, 3, 65, 96, 0.25, 0.5, 0.75, (), ("en",), ("title",), ((1, 2),), "x", "random:1", "stretch",
    "min", "paddle", "resnet18", "minilm", "whole", "none", (1,), str(ROOT / "pyproject.toml"), "vgg16", "center",
    "fixed", "fasterrcnn_resnet50_fpn", "bfloat16", "detectron2", "first", "strip", "{} there",
    {"en": "minilm"}, "single", "annotated",
    "regions", "device", 1200, ({"file": str(ROOT / "pyproject.toml"), "columns": {"cmi": ("cmi",)}},),
)  # fmt: skip
DERIVED = {"models_sha256", "folder_sha256", "names_sha256", "checkpoint_sha256", "filter_list_sha256", "file_sha256"}
"""Filled in from files, never set by hand."""


def load(name: str) -> Any:
    return load_stage(name) if name in STAGES else load_fit(name)


def digest(work: Any, config: StageConfig, **other: Any) -> str:
    return digest_settings(
        {"name": work.name, "version": work.version, "config": config.model_dump(mode="json")} | other
    )


def changed(config: type[StageConfig], field: str) -> StageConfig | None:
    """The default settings with one field different, if one field can be."""
    default = config()
    for value in CANDIDATES:
        others = {"dev": 0.1, "test": round(0.9 - value, 6)} if field == "train" and isinstance(value, float) else {}
        try:
            made = config(**{field: value, **others})
        except (ValidationError, TypeError):
            continue
        if getattr(made, field) != getattr(default, field):
            return made
    return None


@pytest.mark.parametrize("name", [*STAGES, *FITS])
def test_every_setting_enters_the_fingerprint(name: str) -> None:
    work = load(name)
    default = digest(work, work.Config())
    assert default == digest(work, work.Config()) != digest(work, work.Config(), version=work.version + 1)
    for field in work.Config.model_fields:
        if field in DERIVED | {"dev", "test", "detection_dir", "recognition_dir", "folder", "names_file", "checkpoint"}:
            continue
        made = changed(work.Config, field)
        assert made is not None, f"no candidate changes {name}.{field}; add one"
        assert digest(work, made) != default, field


@pytest.mark.parametrize("name", [*STAGES, *FITS])
def test_settings_travel_as_json_and_refuse_the_unknown(name: str) -> None:
    config = load(name).Config
    assert config.model_validate_json(config().model_dump_json()) == config()
    assert config(**config().model_dump()) == config()
    with pytest.raises(ValidationError, match="Extra inputs"):
        config(no_such_setting=1)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(config(), next(iter(config.model_fields)), None)


READ = [(n, f) for n in (*STAGES, *FITS) for f in load(n).Config.places if (n, f) != ("entities", "answers")]
"""Settings that name a file or folder to be read."""


@pytest.mark.parametrize(("name", "field"), READ)
def test_a_path_that_cannot_be_read_is_named_whole(name: str, field: str, tmp_path: Path) -> None:
    with chdir(tmp_path), pytest.raises(ValidationError) as caught:
        load(name).Config(**{field: "no/such"})
    text = str(caught.value)
    assert f"{field}: cannot read {tmp_path.resolve() / 'no/such'}: " in text
    assert "start where the command or the worker was started" in text


def test_published_schemas_equal_the_code() -> None:
    for file, text in all_schemas().items():
        path = ROOT / "schemas" / file
        assert path.is_file(), f"schemas/{file} is missing; run: make schemas"
        assert path.read_text(encoding="utf-8") == text, f"schemas/{file} differs from the code; run: make schemas"
        json.loads(text)


def test_importing_stages_loads_nothing_heavy() -> None:
    modules = [place.partition(":")[0] for place in (*STAGES.values(), *FITS.values())]
    heavy = ("torch", "torchvision", "paddleocr", "paddlex", "onnxruntime", "sentencex", "py3langid", "cv2")
    code = f"import sys\nsys.path[:0] = {sys.path!r}\nfor m in {modules!r}: __import__(m)\n"
    code += f"print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", FITS)
def test_fits_do_not_depend_on_shards_or_order(name: str) -> None:
    from golden_cases import FIT_CASES

    if name == "word2vec":
        pytest.importorskip("gensim")
    case, fit = FIT_CASES[name], load_fit(name)()
    previous = None if case.previous is None else pa.table(dict(case.previous), schema=fit.outputs)

    def result(order: list[int], shards: int) -> pa.Table:
        parts = []
        for shard in range(shards):
            mine = [i for i in order if int(case.keys[i][:8], 16) * shards >> 32 == shard]
            columns = {n: [values[i] for i in mine] for n, values in case.columns.items()}
            parts.append(fit.partial([case.keys[i] for i in mine], columns))
        return fit.merge(parts, previous)

    everything = list(range(len(case.keys)))
    expected = result(everything, 1)
    assert expected.schema.equals(fit.outputs) and expected.num_rows
    if fit.key is not None:
        keys = expected["key"].to_pylist()
        assert keys == sorted(set(keys)) and set(case.keys) <= set(keys)
    for shards in (1, 2, 4, 16):
        for seed in range(3):
            assert result(random.Random(seed).sample(everything, len(everything)), shards).equals(expected)
    assert set(case.columns) == set(fit.inputs)
    empty = fit.merge([fit.partial([], {n: [] for n in fit.inputs})], None)
    assert empty.num_rows == 0 and empty.schema.equals(fit.outputs)


@pytest.mark.parametrize("name", FITS)
def test_fits_declare_themselves(name: str) -> None:
    fit = load_fit(name)
    module = sys.modules[fit.__module__]
    assert FITS[name] == f"{module.__name__}:{fit.__name__}" and fit.name == name and module.__doc__ and fit.__doc__
    assert (fit.outputs.names[0] == "key") == (fit.key is not None)
    assert fit.on == "train" or name in ("near_duplicates", "near_duplicate_texts", "splits")
    assert all(f.description for f in fit.Config.model_fields.values()), "every setting says what it does"
