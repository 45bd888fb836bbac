"""``write_export``: one pass over the accepted records into one format, a card, Croissant metadata, a manifest."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol, cast

import pyarrow as pa

from diptych.exceptions import StoreError, UsageError
from diptych.export.arrays import H5, Npz
from diptych.export.card import Contents, card
from diptych.export.coco import Coco
from diptych.export.croissant import write_croissant
from diptych.export.huggingface import HuggingFace
from diptych.export.licences import recipe_sources
from diptych.export.redact import Redaction, kept_columns
from diptych.export.rows import ExportRecord, StageColumn, iter_records, splits_of, stage_columns
from diptych.export.target import Target
from diptych.export.values import FORMAT, split_name
from diptych.export.webdataset import WebDataset
from diptych.imaging import ImageRefused
from diptych.storage.exports import ExportRecord as Recorded
from diptych.storage.exports import check_writable, drop_export, record_export
from diptych.storage.log import now
from diptych.version import Version

__all__ = ["FORMATS", "ExportOptions", "ExportReport", "Format", "has_text", "write_export"]

Format = Literal["huggingface", "webdataset", "coco", "npz", "h5"]
FORMATS: tuple[Format, ...] = ("huggingface", "webdataset", "coco", "npz", "h5")


@dataclass(frozen=True)
class ExportOptions:
    """What is exported and how."""

    format: Format = "huggingface"
    split: str | None = None
    stages: tuple[str, ...] = ()
    """Stages whose columns and tensors go along."""
    rows: Literal["records", "pairs"] = "records"
    redact: bool = False
    salt: str = ""
    """Makes the ids of redacted records repeatable; empty: a random one, thrown away."""


@dataclass(frozen=True)
class ExportReport:
    """A finished export."""

    place: Path
    id: str
    records: int
    images: int
    bytes: int
    left_out: tuple[str, ...]
    """Stage columns that a redacted export may not carry."""


class Writer(Protocol):
    """One format."""

    def add(self, record: ExportRecord) -> bool:
        """Write one record; whether anything of it stands in the files."""
        ...

    def close(self) -> Mapping[str, list[str]]:
        """End all files; split to its files."""
        ...


def write_export(
    version: Version, to: str | Path, options: ExportOptions | None = None, *, told: Callable[[int], None] | None = None
) -> ExportReport:
    """Note in the dataset what will stand at ``to``, then let a version's accepted records appear there.

    ``told`` is given the number of records now and then. Raises :class:`UsageError` for a target that is not empty, an
    unknown split or stage, :class:`StoreError` for a dataset that nothing can be noted in. Whatever stops it: nothing
    stands at ``to``, or the dataset knows of it.
    """
    options = _checked(version, options or ExportOptions())
    columns = stage_columns(version, options.stages)
    types = _types(version, columns)
    left_out: list[str] = []
    if options.redact:
        texts = {c.label: has_text(types[c.label]) for c in columns}
        columns, left_out = kept_columns(columns, texts)
    redaction = (
        Redaction(options.salt.encode() if options.salt else secrets.token_bytes(32)) if options.redact else None
    )
    target = Target(Path(to))
    check_writable(version.store)
    with target:
        writer = _writer(target.folder, version, options, columns, types)
        contents = Contents(format=options.format, rows=options.rows, redacted=options.redact)
        members: set[str] = set()
        wanted = None if options.format == "coco" else options.split  # categories are numbered over all splits
        for number, record in enumerate(iter_records(version, split=wanted, columns=columns), 1):
            try:
                shown = redaction.record(record) if redaction is not None else record
                written = writer.add(shown)
            except ImageRefused as error:
                raise UsageError(
                    f"record {record.original}: one of its pictures cannot be decoded ({error}), which {options.format}"
                    f"{' --redact' * options.redact} has to; add the stage clean to the recipe, which leaves such "
                    "pictures out, or name it in overrides.csv, and build"
                ) from error
            if written:
                members |= {record.original, *(i.original for i in record.images)}
                contents.count(shown)
            if told is not None and number % 100 == 0:
                told(number)
        contents.files = {split: list(files) for split, files in sorted(writer.close().items())}
        contents.boxes_left_out = writer.left_out if isinstance(writer, Coco) else 0
        (target.folder / "README.md").write_text(card(version, contents), encoding="utf-8")
        files = target.files()
        write_croissant(target.folder, version, contents, files, columns, types)
        sha256 = target.seal(_about(version, options, contents, left_out))
        recorded = _recorded(version, options, contents, target.path, sha256)
        _publish(version, target, recorded, members)
    size = sum(f["bytes"] for f in files)
    return ExportReport(target.path, recorded.id, contents.records, contents.images, size, tuple(left_out))


def _recorded(version: Version, options: ExportOptions, contents: Contents, place: Path, sha256: str) -> Recorded:
    return Recorded(
        id=f"{now().replace(':', '').replace('-', '')}-{secrets.token_hex(4)}",
        version=version.number,
        created_at=now(),
        place=str(place),
        format=options.format,
        redacted=options.redact,
        records=contents.records,
        images=contents.images,
        manifest_sha256=sha256,
    )


def _publish(version: Version, target: Target, recorded: Recorded, members: set[str]) -> None:
    """First the note, then the folder: a kill in between leaves a note of nothing, never a folder nobody knows of."""
    try:
        record_export(version.store, recorded, members)
        target.publish()
    except BaseException:
        if not target.stands:
            with suppress(OSError, StoreError):  # a note of what is not there does no harm
                drop_export(version.store, recorded.id)
        raise


def _checked(version: Version, options: ExportOptions) -> ExportOptions:
    """The options with the split's name in the version; it may be given as it is called in the exported files."""
    if options.format not in FORMATS:
        raise UsageError(f"--format {options.format}: known are {', '.join(FORMATS)}")
    if options.salt and not options.redact:
        raise UsageError("--salt belongs to --redact")
    known = sorted(set(splits_of(version).values()))
    if options.split is None or options.split in known:
        return options
    called = {split_name(split): split for split in known}
    if options.split not in called:
        names = [s if s == split_name(s) else f"{s} (in files: {split_name(s)})" for s in known]
        raise UsageError(f"--split {options.split}: version {version.number} has {', '.join(names) or 'no splits'}")
    return replace(options, split=called[options.split])


def _writer(
    folder: Path,
    version: Version,
    options: ExportOptions,
    columns: Sequence[StageColumn],
    types: dict[str, pa.DataType],
) -> Writer:
    if options.format == "huggingface":
        return HuggingFace(folder, options.rows, columns, types)
    if options.format == "webdataset":
        return WebDataset(folder, options.rows)
    if options.format == "npz":
        return Npz(folder, columns)
    if options.format == "h5":
        return H5(folder, columns)
    kinds = {s.get("kind") for s in recipe_sources(version.manifest.recipe).values()}
    own = kinds == {"coco"}
    about = {"description": f"{version.manifest.dataset} version {version.number}", "version": str(version.number)}
    regions = any(c.stage == "regions" for c in columns)
    return Coco(folder, about, own_ids=own and not options.redact, regions=regions, split=options.split)


def _types(version: Version, columns: Sequence[StageColumn]) -> dict[str, pa.DataType]:
    """Arrow types by label; tensors are nested lists of float32 (or their own kind of numbers)."""
    found: dict[str, pa.DataType] = {}
    for column in columns:
        entry = version.manifest.stage(column.stage)
        if column.row_shape is None:
            found[column.label] = entry.arrow_schema().field(column.name).type
            continue
        dtype = entry.tensors[column.name].dtype
        kind: pa.DataType = pa.float32() if dtype == "float16" else cast(Any, pa.from_numpy_dtype(dtype))
        for _ in column.row_shape:
            kind = pa.list_(kind)
        found[column.label] = kind
    return found


def has_text(kind: pa.DataType) -> bool:
    """Whether values of a type may hold text or bytes: all that are not numbers, times and truth values throughout."""
    if kind.num_fields:
        return any(has_text(kind.field(n).type) for n in range(kind.num_fields))
    types = pa.types
    plain = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return not (plain or types.is_boolean(kind) or types.is_temporal(kind) or types.is_null(kind))


def _about(version: Version, options: ExportOptions, contents: Contents, left_out: Sequence[str]) -> dict[str, Any]:
    manifest = version.manifest
    settings = asdict(options) | {"salt": "given" if options.salt else "random, not kept" if options.redact else ""}
    return {
        "export": FORMAT,
        "dataset": manifest.dataset,
        "version": manifest.version,
        "input_digest": manifest.input_digest,
        "exact_digest": manifest.exact_digest,
        "floats_digest": manifest.floats_digest,
        "options": settings,
        "records": contents.records,
        "images": contents.images,
        "splits": {split_name(s): n for s, n in sorted(Counter(contents.splits).items())},
        "licences": dict(sorted(contents.licences.items())),
        "text_licences": dict(sorted(contents.text_licences.items())),
        "boxes_left_out": contents.boxes_left_out,
        "left_out": list(left_out),
    }
