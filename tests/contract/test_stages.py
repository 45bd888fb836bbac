"""What every stage must keep, whatever it computes; run over all stages Diptych ships.

The engine here is the smallest there can be: it cuts rows into batches and joins the outputs.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from diptych import weights
from diptych.exceptions import MissingExtra, WeightsError
from diptych.stage import Batch, Output, Stage, Status, Tensor
from diptych.stages import STAGES

ROOT = Path(__file__).resolve().parents[2]
NEVER_BAD = ("sentences", "bert", "parse", "votes", "pair_votes", "entity_zero_shot")
"""Every text is a text, votes read no column, and without names to look for no picture is looked at."""
NOTHING_ASKED = ("relevance_scores", "entity_zero_shot")
"""By default nothing that needs the packages: n-grams alone, and no names to look for."""
NAMES = [pytest.param(n, marks=[pytest.mark.ocr] if n == "ocr" else []) for n in STAGES]


@pytest.fixture(scope="module", params=NAMES)
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    from golden_records import make_stage

    if request.param in ("backbone", "ocr"):
        try:
            weights.pull("sample")
        except WeightsError as error:
            pytest.skip(f"no sample weights: {error}")
    if request.param == "proposals":
        request.getfixturevalue("opencv")
    made = make_stage(request.param)
    yield made
    made.close()


def rows(stage: Stage) -> tuple[tuple[str, ...], dict[str, list[Any]]]:
    from golden_cases import STAGE_CASES

    case = STAGE_CASES[stage.name]
    return case.keys, {name: list(values) for name, values in case.columns.items()}


def run(stage: Stage, keys: Sequence[str], columns: dict[str, list[Any]], size: int = 1 << 20) -> list[dict[str, Any]]:
    """One dict a row, from batches of ``size`` rows."""
    found: list[dict[str, Any]] = []
    for start in range(0, max(len(keys), 1), size):
        part = {name: values[start : start + size] for name, values in columns.items()}
        output = stage.process(Batch(tuple(keys[start : start + size]), part, stage))
        assert isinstance(output, Output) and output.keys == tuple(keys[start : start + size])
        output.check(stage.name)
        found += [
            {"key": k, "state": output.states[i], **{n: values[i] for n, values in output.values.items()}}
            for i, k in enumerate(output.keys)
        ]
    return found


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Equal, floats within the tolerance: of an array relative to its largest value."""
    if isinstance(a, np.ndarray):
        x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
        return x.shape == y.shape and bool(
            np.abs(x - y).max(initial=0) <= tolerance * max(np.abs(x).max(initial=0), 1e-9)
        )
    if isinstance(a, float) and isinstance(b, float):
        return a == b or abs(a - b) <= tolerance * max(abs(a), abs(b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k], tolerance) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(x, y, tolerance) for x, y in zip(a, b, strict=True))
    return a == b


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """To the last bit: on a processor a row's floats depend on nothing but the row."""
    assert [r["key"] for r in found] == [r["key"] for r in expected]
    for a, b in zip(found, expected, strict=True):
        for name in b:
            assert same(a[name], b[name], 0.0), f"row {b['key']}, {name}: {b[name]!r} became {a[name]!r}"


def test_declarations(stage: Stage) -> None:
    module = sys.modules[type(stage).__module__]
    assert STAGES[stage.name] == f"{module.__name__}:{type(stage).__name__}" and stage.version >= 1
    assert module.__doc__ and type(stage).__doc__ and stage.Config.__doc__
    names = [*stage.output_schema().names, *stage.tensor_schema()]
    assert len(names) == len(set(names)) and not {"key", "status", "code"} & set(names)
    assert all(name.count(".") == 1 for name in stage.inputs) and set(stage.optional) <= set(stage.inputs)
    assert all(isinstance(t, Tensor) for t in stage.tensor_schema().values())
    assert all(weights.is_random(n) or weights.spec(n) for n in stage.weight_names())
    assert all(f.description for f in stage.Config.model_fields.values()), "every setting says what it does"


def test_a_package_that_is_not_there_is_known_before_any_row(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.check()
    monkeypatch.setattr("diptych.releases.find_spec", lambda name: None)
    if set(stage.packages) - {"numpy", "pillow"} and stage.name not in NOTHING_ASKED:
        with pytest.raises(MissingExtra, match=r"not installed; run: pip install 'diptych\["):
            stage.check()
    else:
        stage.check()


def test_golden_rows_have_the_declared_inputs(stage: Stage) -> None:
    keys, columns = rows(stage)
    assert set(columns) == set(stage.inputs) and all(len(v) == len(keys) for v in columns.values())
    states = {r["state"].status for r in run(stage, keys, columns)}
    assert Status.OK in states and not states & {Status.FAILED_TRANSIENT}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_batch_size_changes_nothing(stage: Stage, size: int) -> None:
    keys, columns = rows(stage)
    assert_same(run(stage, keys, columns, size), run(stage, keys, columns))


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(stage: Stage, threads: int) -> None:
    torch = pytest.importorskip("torch")
    keys, columns = rows(stage)
    expected, before = run(stage, keys, columns), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_same(run(stage, keys, columns, 2), expected)
    finally:
        torch.set_num_threads(before)


def test_order_is_kept(stage: Stage) -> None:
    keys, columns = rows(stage)
    order = random.Random(0).sample(range(len(keys)), len(keys))
    shuffled = run(stage, [keys[i] for i in order], {n: [v[i] for i in order] for n, v in columns.items()})
    expected = run(stage, keys, columns)
    assert_same(shuffled, [expected[i] for i in order])


def test_twice_the_same_row_gives_twice_the_same(stage: Stage) -> None:
    keys, columns = rows(stage)
    twice = run(stage, [keys[0]] * 2, {n: [v[0]] * 2 for n, v in columns.items()})
    assert_same(twice[:1], twice[1:])


def test_an_empty_batch(stage: Stage) -> None:
    assert run(stage, (), {n: [] for n in stage.inputs}) == []


def test_nulls_stay_in_their_row(stage: Stage) -> None:
    keys, columns = rows(stage)
    expected = run(stage, keys, columns)
    for name in stage.inputs:
        with_null = {n: ([None, *v[1:]] if n == name else v) for n, v in columns.items()}
        assert_same(run(stage, keys, with_null)[1:], expected[1:])
    nothing = run(stage, keys[:1], dict.fromkeys(stage.inputs, [None]))
    assert len(nothing) == 1


def test_a_bad_row_fails_alone(stage: Stage) -> None:
    from golden_cases import STAGE_CASES

    bad = STAGE_CASES[stage.name].bad
    if bad is None:
        assert stage.name in NEVER_BAD
        return
    keys, columns = rows(stage)
    mixed = run(stage, [keys[0], "bad", *keys[1:]], {n: [v[0], bad.get(n, v[0]), *v[1:]] for n, v in columns.items()})
    state = mixed[1]["state"]
    assert state.status in (Status.REJECTED, Status.FAILED_PERMANENT) and state.code and " " not in state.code
    assert_same(mixed[:1] + mixed[2:], run(stage, keys, columns))


def test_outputs_are_as_declared(stage: Stage) -> None:
    found = run(stage, *rows(stage))
    for field in stage.output_schema():
        column = pa.array([r[field.name] for r in found], field.type)
        assert column.type.equals(field.type)
        back = column.to_pylist()
        stored = run(stage, *rows(stage))
        assert all(same(a, b[field.name], 1e-6) for a, b in zip(back, stored, strict=True))
    for name, spec in stage.tensor_schema().items():
        for row in found:
            if row["state"].status is Status.OK:
                assert row[name].dtype == np.dtype(spec.dtype) and np.isfinite(np.asarray(row[name], np.float64)).all()


def test_rejections_say_why(stage: Stage) -> None:
    for row in run(stage, *rows(stage)):
        state = row["state"]
        assert (state.status is Status.OK) == (state.code == "")
        assert all(v is None or isinstance(v, float) for v in (state.value, state.threshold))


def test_inputs_are_not_changed(stage: Stage) -> None:
    keys, columns = rows(stage)
    before = json.dumps(columns, default=lambda b: b.hex())
    run(stage, keys, columns)
    assert json.dumps(columns, default=lambda b: b.hex()) == before


def test_a_second_process_computes_the_same(stage: Stage) -> None:
    from golden_records import compute_stage, differences

    code = (
        f"import sys, json; sys.path[:0] = {sys.path!r}\nfrom pathlib import Path\nfrom diptych import weights\n"
        f"weights.set_cache({str(weights.cache())!r})\nimport golden_records\n"
        f"sys.stdout.write('RECORD' + json.dumps(golden_records.compute_stage({stage.name!r})))"
    )
    env = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env, cwd=ROOT)
    other = json.loads(done.stdout.partition("RECORD")[2])
    assert differences(compute_stage(stage.name, stage), other, 0.0) == []


def test_closing_twice_is_harmless(stage: Stage) -> None:
    other = type(stage)(stage.config)
    other.close()
    other.setup("cpu")
    other.close()
    other.close()
