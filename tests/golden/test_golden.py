"""Outputs change only with a version: every stage and fit against its committed record."""

from __future__ import annotations

import pytest

from diptych import weights
from diptych.exceptions import WeightsError
from diptych.fits import FITS
from diptych.stages import STAGES

HOW = "bump the version and run: python tests/golden/update.py"
NAMES = [pytest.param(n, marks=[pytest.mark.ocr] if n == "ocr" else []) for n in (*STAGES, *FITS)]


@pytest.mark.parametrize("name", NAMES)
def test_output_is_as_recorded(name: str, request: pytest.FixtureRequest) -> None:
    import golden_records as records

    if name in ("ocr", "backbone"):
        try:
            weights.pull("sample")
        except WeightsError as error:
            pytest.skip(f"no sample weights: {error}")
    if name == "word2vec":
        pytest.importorskip("gensim")
    if name == "proposals":
        request.getfixturevalue("opencv")
    new = records.compute_stage(name) if name in STAGES else records.compute_fit(name)
    old = records.load(name)
    assert old is not None, f"{name} has no golden record; {HOW} {name}"
    assert old["version"] == new["version"], (
        f"the golden record of {name} is of version {old['version']}; run update.py"
    )
    assert old.get("config") == new.get("config")
    found = records.differences(old["rows"], new["rows"], records.tolerance_of(new))
    assert not found, f"{name} gives other values under version {new['version']}; {HOW} {name}\n" + "\n".join(
        found[:20]
    )


def test_a_forgotten_bump_is_noticed() -> None:
    import golden_records as records

    old = {"version": 1, "rows": [{"columns": {"a": 1, "b": [1.0, 2.0], "c": "x"}}]}
    for change in (
        {"a": 2, "b": [1.0, 2.0], "c": "x"},
        {"a": 1, "b": [1.0], "c": "x"},
        {"a": 1, "b": [1.0, 2.1], "c": "x"},
    ):
        assert len(records.differences(old["rows"], [{"columns": change}], 1e-9)) == 1
    assert not records.differences(old["rows"], [{"columns": {"a": 1, "b": [1.0 + 1e-12, 2.0], "c": "x"}}], 1e-9)
    assert records.differences([{"a": None}], [{"a": 0.0}], 1.0) and records.differences([True], [False], 1.0)
