"""Computing, writing and comparing golden records: what each stage and fit gives for the inputs of golden_cases."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from golden_cases import FIT_CASES, STAGE_CASES

from diptych.stage import Batch, Output, Stage
from diptych.stages.schema import load_fit, load_stage

FOLDER = Path(__file__).resolve().parent


def make_stage(name: str) -> Stage:
    """The stage of the golden case, set up on the CPU."""
    cls = load_stage(name)
    stage = cls(cls.Config(**STAGE_CASES[name].config))
    stage.setup("cpu")
    return stage


def compute_stage(name: str, stage: Stage | None = None) -> dict[str, Any]:
    """The golden record of a stage as JSON would give it back."""
    made = stage or make_stage(name)
    case = STAGE_CASES[name]
    try:
        output = made.process(Batch(case.keys, case.columns, made))
    finally:
        if stage is None:
            made.close()
    output.check(name)
    record = {"stage": name, "version": made.version, "config": dict(case.config), "rows": rows_of(output)}
    return json.loads(json.dumps(record))


def compute_fit(name: str) -> dict[str, Any]:
    """The golden record of a fit."""
    cls, case = load_fit(name), FIT_CASES[name]
    fit = cls()
    previous = None if case.previous is None else pa.table(dict(case.previous), schema=fit.outputs)
    result = fit.merge([fit.partial(case.keys, case.columns)], previous)
    return json.loads(json.dumps({"fit": name, "version": fit.version, "rows": result.to_pylist()}))


def rows_of(output: Output) -> list[dict[str, Any]]:
    """One plain dict a row."""
    found = []
    for row, key in enumerate(output.keys):
        state = output.states[row]
        values = {n: plain(output.values[n][row]) for n in output.schema.names}
        tensors = {n: _summary(output.values[n][row]) for n in output.tensors}
        why = {"status": str(state.status), "code": state.code, "value": state.value, "threshold": state.threshold}
        found.append({"key": key, **why, "columns": values, "tensors": tensors})
    return found


def plain(value: Any) -> Any:
    """Bytes as their hash, everything else as JSON has it."""
    if isinstance(value, bytes):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def _summary(value: Any) -> Any:
    """Shape, mean, largest and some values of a tensor."""
    if value is None:
        return None
    array = np.asarray(value, np.float64)
    some = array.reshape(-1)[:: max(1, array.size // 16)][:16]
    return {
        "shape": list(array.shape),
        "dtype": str(value.dtype),
        "mean": float(array.mean()) if array.size else None,
        "max": float(array.max()) if array.size else None,
        "some": [float(x) for x in some],
    }


def differences(old: Any, new: Any, tolerance: float, where: str = "") -> list[str]:
    """Places where two records differ by more than ``tolerance`` (relative, and absolute below one)."""
    if isinstance(old, float | int) and isinstance(new, float | int) and not isinstance(old, bool):
        exact = isinstance(old, int) and isinstance(new, int)
        same = old == new if exact else math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance)
        return [] if same else [f"{where}: {old} -> {new}"]
    if isinstance(old, dict) and isinstance(new, dict):
        names = sorted({*old, *new})
        return [d for n in names for d in differences(old.get(n), new.get(n), tolerance, f"{where}.{n}")]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            d
            for n, pair in enumerate(zip(old, new, strict=True))
            for d in differences(*pair, tolerance, f"{where}[{n}]")
        ]
    return [] if old == new else [f"{where}: {old!r} -> {new!r}"]


def tolerance_of(record: dict[str, Any]) -> float:
    """What may differ between machines: a little more than the stage states, coordinates by a pixel."""
    if "fit" in record:
        return 1e-4 if record["fit"] == "word2vec" else 0.0
    networks = dict.fromkeys(("backbone", "bert", "fc7", "grid", "inception"), 0.02)
    return {"ocr": 1.5, "regions": 0.05, **networks}.get(record["stage"], 1e-9)


def load(name: str) -> dict[str, Any] | None:
    """The committed record."""
    file = FOLDER / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def save(name: str, record: dict[str, Any]) -> None:
    """Replace the committed record."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")
