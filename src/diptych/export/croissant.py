"""Croissant metadata (https://docs.mlcommons.org/croissant, format 1.0): ``croissant.json`` in the export's folder.

Every file stands there with its SHA-256, of thousands the folders they lie in. An export for Hugging Face also has a
record set over its Parquet files, which ``mlcroissant`` iterates from the folder itself, without a network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from diptych.export.card import UNKNOWN, Contents
from diptych.export.huggingface import schema_of
from diptych.export.licences import spdx_name
from diptych.export.rows import StageColumn
from diptych.version import Version

__all__ = ["FILE", "write_croissant"]

FILE = "croissant.json"
_CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/", "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet", "format": "cr:format",
    "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key",
    "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "samplingRate": "cr:samplingRate", "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source",
    "subField": "cr:subField", "transform": "cr:transform", "containedIn": "cr:containedIn",
}  # fmt: skip
_ENCODINGS = {
    ".parquet": "application/x-parquet", ".tar": "application/x-tar", ".json": "application/json",
    ".md": "text/markdown", ".h5": "application/x-hdf5", ".npz": "application/zip",
    ".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif",
}  # fmt: skip
_LISTED = 2000
"""More files than this are described by patterns alone; ``export.json`` has them all."""


def write_croissant(
    folder: Path,
    version: Version,
    contents: Contents,
    files: Sequence[Mapping[str, Any]],
    columns: Sequence[StageColumn],
    types: dict[str, pa.DataType],
) -> None:
    """Write ``croissant.json``; ``files`` have path, bytes and SHA-256."""
    manifest = version.manifest
    value: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": manifest.dataset,
        "description": f"{manifest.dataset} version {manifest.version}: {contents.records} records, "
        f"{contents.images} pictures. README.md is its card.",
        "version": f"{manifest.version}.0.0",
        "datePublished": manifest.created_at,
        "license": _licence(contents.all_licences),
        "url": "README.md",
        "citeAs": f"{manifest.dataset}, version {manifest.version}, content digest {manifest.exact_digest}",
        "distribution": _distribution(files, contents),
    }
    if contents.format == "huggingface" and contents.files:
        value["recordSet"] = [_record_set(contents.rows, schema_of(contents.rows, columns, types))]
    text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")


def _licence(licences: Sequence[str]) -> str:
    """One licence by its address, several by their names; that some state none is said, too."""
    stated = sorted(name for name in licences if name != UNKNOWN)
    if not stated:
        return "not stated by the sources"
    if UNKNOWN in licences:
        return "; ".join([*stated[:20], "not stated for the rest"])
    name = spdx_name(stated[0]) if len(stated) == 1 else None
    return f"https://spdx.org/licenses/{name}.html" if name else "; ".join(stated[:20])


def _distribution(files: Sequence[Mapping[str, Any]], contents: Contents) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in files if len(files) <= _LISTED else [f for f in files if "/" not in f["path"]]:
        suffix = Path(file["path"]).suffix
        found.append(
            {
                "@type": "cr:FileObject",
                "@id": file["path"],
                "name": file["path"],
                "contentUrl": file["path"],
                "contentSize": f"{file['bytes']} B",
                "encodingFormat": _ENCODINGS.get(suffix, "application/octet-stream"),
                "sha256": file["sha256"],
            }
        )
    sets: dict[str, tuple[str, str]] = {}
    if contents.format == "huggingface" and contents.files:
        sets[f"{contents.rows}-parquet"] = (f"{contents.rows}/*.parquet", f"All Parquet files of {contents.rows}.")
    elif len(files) > _LISTED:
        folders = {(path.parent.as_posix(), path.suffix) for file in files if (path := Path(file["path"])).parent.name}
        patterns = sorted(f"{folder}/*{suffix}" for folder, suffix in folders)
        sets |= {pattern: (pattern, "Files of one folder; export.json lists them.") for pattern in patterns}
    for name, (pattern, text) in sets.items():
        found.append(
            {
                "@type": "cr:FileSet",
                "@id": name,
                "name": name,
                "description": text,
                "encodingFormat": _ENCODINGS.get(Path(pattern).suffix, "application/octet-stream"),
                "includes": pattern,
            }
        )
    return found


def _record_set(rows: str, schema: pa.Schema) -> dict[str, Any]:
    fields = [_field(rows, field) for field in schema if field.name in ("image", "images") or not _nested(field.type)]
    return {
        "@type": "cr:RecordSet",
        "@id": rows,
        "name": rows,
        "description": "One row a record." if rows == "records" else "One row a picture of a record.",
        "field": fields,
    }


def _field(rows: str, field: pa.Field) -> dict[str, Any]:
    kind, repeated = field.type, False
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind, repeated = kind.value_type, True
    value: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{rows}/{field.name}",
        "name": field.name,
        "dataType": _data_type(kind),
        "source": {"fileSet": {"@id": f"{rows}-parquet"}, "extract": {"column": field.name}},
    }
    if field.name in ("image", "images"):
        value["source"]["transform"] = {"jsonPath": "bytes"}
        value["dataType"] = "sc:ImageObject"
    if repeated:
        value["repeated"] = True
    return value


def _nested(kind: pa.DataType) -> bool:
    """Whether a column holds structs, for which Croissant has no type of value."""
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    return pa.types.is_struct(kind)


def _data_type(kind: pa.DataType) -> str:
    if pa.types.is_floating(kind):
        return "sc:Float"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    return "sc:Boolean" if pa.types.is_boolean(kind) else "sc:Text"
