"""``diptych boxes``: the boxes that a stage finds, against a COCO-format file of annotated ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml
from pydantic import ValidationError

from diptych.commands.console import JsonFlag, emit
from diptych.engine.devices import one_device
from diptych.exceptions import UsageError
from diptych.imaging import ImageRefused, misplaced
from diptych.metrics.boxes import Boxes, Precision, Recall, average_precision, proposal_recall
from diptych.naming import digest_bytes
from diptych.recipe import explain
from diptych.sources.json_stream import stream_arrays
from diptych.stage import Batch, Stage, Status

__all__ = ["Measured", "boxes_command", "measure"]


@dataclass(frozen=True)
class Measured:
    """What a stage's boxes are worth on annotated pictures."""

    pictures: int
    failed: int
    left_out: int
    """Pictures besides, whose boxes are of another size or of a file that EXIF turns."""
    recalls: tuple[Recall, ...]
    precision: Precision | None
    """None for a stage without classes."""


@dataclass(frozen=True)
class _Picture:
    file: Path
    true: Boxes
    size: tuple[int, int] | None


def boxes_command(
    images: Annotated[Path, typer.Argument(help="folder with the pictures")],
    instances: Annotated[Path, typer.Argument(help="instances_*.json in COCO's format")],
    stage: Annotated[str, typer.Option(help="regions or proposals")] = "regions",
    settings: Annotated[list[str] | None, typer.Option("--set", help="setting=value of the stage, repeatable")] = None,
    counts: Annotated[list[int] | None, typer.Option("--count", help="boxes that recall is given for")] = None,
    threshold: Annotated[float, typer.Option(min=0.0, max=1.0, help="IoU for recall")] = 0.5,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first so many pictures")] = None,
    device: Annotated[str, typer.Option(help="as torch names it")] = "cpu",
    as_json: JsonFlag = False,
) -> None:
    """Recall of the first boxes; of a detector's also average precision as COCO defines it."""
    from diptych.stages.schema import load_stage

    if stage not in ("regions", "proposals"):
        raise UsageError(f"expected regions or proposals, found {stage!r}")
    cls = load_stage(stage)
    chosen = {"mode": "threshold", "score_threshold": 0.05, "once": False} if stage == "regions" else {}
    try:
        made = cls(cls.Config.model_validate({**chosen, **_settings(settings or [])}))
    except ValidationError as error:
        raise explain(error, "", cls.Config, f"--set of {stage} is wrong") from error
    found = measure(made, images, instances, counts or [19, 36, 100], threshold, limit, one_device(device))
    emit(asdict(found), as_json, lambda: typer.echo(_text(found)))


def measure(
    stage: Stage,
    images: Path,
    instances: Path,
    counts: Sequence[int],
    threshold: float = 0.5,
    limit: int | None = None,
    device: str = "cpu",
) -> Measured:
    """Run the stage over the annotated pictures of a folder; a picture that fails has no boxes.

    One whose annotated boxes lie elsewhere in the decoded picture is left out and counted.
    """
    given = list(_pictures(images, instances))[:limit]
    if not given:
        raise UsageError(f"{instances}: no picture of it lies in {images}")
    reasons = [_misplaced(p) for p in given]
    pictures = [p for p, why in zip(given, reasons, strict=True) if not why]
    if not pictures:
        raise UsageError(f"{instances}: no picture can be measured; {given[0].file}: {reasons[0]}")
    stage.check()
    stage.setup(device)
    found: list[Boxes] = []
    failed = 0
    try:
        for start in range(0, len(pictures), stage.batch_size):
            data = [p.file.read_bytes() for p in pictures[start : start + stage.batch_size]]
            output = stage.process(Batch(tuple(map(digest_bytes, data)), {"images.bytes": data}, stage))
            for row, state in enumerate(output.states):
                failed += state.status is not Status.OK
                found.append(_found(output.values, row))
    finally:
        stage.close()
    true = [p.true for p in pictures]
    scored = "scores" in stage.output_schema().names
    recalls = proposal_recall(found, true, counts, threshold)
    left_out = len(given) - len(pictures)
    return Measured(len(pictures), failed, left_out, tuple(recalls), average_precision(found, true) if scored else None)


def _found(values: Mapping[str, Any], row: int) -> Boxes:
    boxes = np.asarray(values["boxes"][row] or [], np.float64).reshape(-1, 4)
    names, scores = (tuple(values.get(n, {row: ()})[row] or ()) for n in ("class_names", "scores"))
    return Boxes(boxes, names, scores)


def _misplaced(picture: _Picture) -> str:
    """Why its annotated boxes lie elsewhere; of a picture without any, or that cannot be read, nothing."""
    if not len(picture.true.boxes) and not len(picture.true.crowds):
        return ""
    try:
        return misplaced(picture.file.read_bytes(), picture.size)
    except ImageRefused:  # the stage says so
        return ""


def _pictures(images: Path, instances: Path) -> Iterator[_Picture]:
    """The annotated pictures that lie in the folder, in the file's order."""
    files: dict[int, tuple[str, tuple[int, int] | None]] = {}
    boxes: dict[tuple[int, bool], list[tuple[list[float], int]]] = {}
    names: dict[int, str] = {}
    for key, index, item in stream_arrays(instances, frozenset({"images", "annotations", "categories"})):
        try:
            if key == "images":
                wide, high = item.get("width"), item.get("height")
                known = isinstance(wide, int) and isinstance(high, int)
                files[item["id"]] = str(item["file_name"]), (wide, high) if known else None
            elif key == "categories":
                names[item["id"]] = str(item["name"])
            else:
                x, y, wide, high = map(float, item["bbox"])
                mine = boxes.setdefault((item["image_id"], bool(item.get("iscrowd"))), [])
                mine.append(([x, y, x + wide, y + high], item["category_id"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{instances}: {key}[{index}] is not as COCO has it: {error!r} in {str(item)[:120]}"
            ) from error
    for number, (name, size) in files.items():
        if (images / name).is_file():
            (single, classes), (crowds, crowd_classes) = (
                _split(boxes.get((number, c), []), names) for c in (False, True)
            )
            yield _Picture(images / name, Boxes(single, classes, (), crowds, crowd_classes), size)


def _split(given: list[tuple[list[float], int]], names: Mapping[int, str]) -> tuple[np.ndarray, tuple[str, ...]]:
    return np.array([b for b, _ in given]).reshape(-1, 4), tuple(names.get(c, str(c)) for _, c in given)


def _settings(given: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"--set expects setting=value, found {text!r}")
        try:
            found[name] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError) as error:
            raise UsageError(f"--set {text}: the value is no YAML") from error
    return found


def _text(found: Measured) -> str:
    lines = [f"{found.pictures} pictures, {found.recalls[0].annotated} annotated boxes, {found.failed} pictures failed"]
    if found.left_out:
        lines.append(f"{found.left_out} more left out: their boxes are of another size, or of a file that EXIF turns")
    lines += [f"recall of the first {r.count} boxes at IoU {r.threshold}: {r.recall:.3f}" for r in found.recalls]
    if found.precision:
        p = found.precision
        lines.append(f"AP {p.ap:.3f}   AP50 {p.ap50:.3f}   AP75 {p.ap75:.3f}   over {p.classes} classes")
    return "\n".join(lines)
