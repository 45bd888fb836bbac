"""What a stage or fit publishes about itself: columns, tensors, settings, as plain JSON.

``make schemas`` writes one file each, ``schemas/<name>.v<version>.json``; a test fails when file and code differ.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

import pyarrow as pa

from diptych.fit import Fit
from diptych.fits import FITS
from diptych.stage import Stage
from diptych.stages import STAGES

__all__ = ["all_schemas", "fit_schema", "load_fit", "load_stage", "stage_schema"]


def load_stage(name: str) -> type[Stage]:
    """The class of a stage Diptych ships."""
    return _load(STAGES[name])


def load_fit(name: str) -> type[Fit]:
    """The class of a fit Diptych ships."""
    return _load(FITS[name])


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def stage_schema(stage: type[Stage]) -> dict[str, Any]:
    """The contract of a stage with its default settings."""
    made = stage()
    return {
        "kind": "stage",
        "name": stage.name,
        "version": stage.version,
        "summary": _summary(stage),
        "key": stage.key,
        "inputs": list(stage.inputs),
        "optional": list(stage.optional),
        "fetched": stage.fetched,
        "gate": stage.gate,
        "columns": _columns(made.output_schema()),
        "tensors": [{"name": n, "dtype": t.dtype, "shape": list(t.shape)} for n, t in made.tensor_schema().items()],
        "tolerance": stage.tolerance,
        "weights": list(made.weight_names()),
        "packages": list(stage.packages),
        "config": _config(stage.Config.model_json_schema()),
    }


def fit_schema(fit: type[Fit]) -> dict[str, Any]:
    """The contract of a fit."""
    return {
        "kind": "fit",
        "name": fit.name,
        "version": fit.version,
        "summary": _summary(fit),
        "rows": fit.rows,
        "key": fit.key,
        "inputs": list(fit.inputs),
        "on": fit.on,
        "refit": fit.refit,
        "ledger": fit.ledger,
        "columns": _columns(fit.outputs),
        "packages": list(fit.packages),
        "config": _config(fit.Config.model_json_schema()),
    }


def all_schemas() -> dict[str, str]:
    """File name and text of every schema."""
    made = [stage_schema(load_stage(n)) for n in STAGES] + [fit_schema(load_fit(n)) for n in FITS]
    return {
        f"{m['name']}.v{m['version']}.json": json.dumps(m, indent=1, ensure_ascii=False, sort_keys=False) + "\n"
        for m in made
    }


def _summary(work: type[Stage] | type[Fit]) -> str:
    return (work.__doc__ or "").strip().partition("\n")[0]


def _columns(schema: pa.Schema) -> list[dict[str, Any]]:
    return [_column(schema.field(n)) for n in schema.names]


def _column(field: pa.Field) -> dict[str, Any]:
    found: dict[str, Any] = {"name": field.name, "type": _type(field.type)}
    doc = (field.metadata or {}).get(b"doc")
    return found | ({"doc": doc.decode()} if doc else {})


def _type(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return {"list": _type(kind.value_type)}
    if pa.types.is_struct(kind):
        return {"struct": [_column(kind.field(i)) for i in range(kind.num_fields)]}
    return str(kind)


def _config(schema: dict[str, Any]) -> dict[str, Any]:
    """A model's JSON schema without the titles that pydantic derives from names."""
    return {k: v for k, v in _untitled(schema).items() if k in ("properties", "required", "$defs")}


def _untitled(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _untitled(v) for k, v in value.items() if not (k == "title" and isinstance(v, str))}
    return [_untitled(v) for v in value] if isinstance(value, list) else value
