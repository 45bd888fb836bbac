"""Tasks for annotators, made from a version: Label Studio's JSON with its labelling page, or a table to fill in.

Pictures are written beside the tasks as ``images/<image key>.<format>``, those of questions about phrases with their
regions drawn and numbered; ``image_prefix`` is what stands before
that name in the tasks (Label Studio's local files, or the address of a web server). Names of annotators are
only in their answers, never in a version.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

from diptych.exceptions import UsageError
from diptych.naming import digest_bytes, split_pair_key
from diptych.storage.outputs import unwritable, write_text
from diptych.version import Version
from diptych.votes.answers import FORMULA, KnownItems, import_votes
from diptych.votes.kinds import KINDS, VoteKind, kind_named
from diptych.votes.phrases import NONE, REGIONS, Phrase, numbered, phrases_of

__all__ = ["CANDIDATES", "Exported", "export_tasks", "known_items", "label_page", "no_formula"]

CANDIDATES = 3
"""Pictures of a document among which one is chosen: the most relevant, else the first."""
_TEXTS = ("title", "summary", "text")


@dataclass(frozen=True)
class Exported:
    """How many tasks were written, how many documents had nothing to choose from (fewer than two pictures, no phrase
    with a region), and the files.
    """

    tasks: int
    left_out: int
    files: tuple[Path, ...]


@dataclass(frozen=True)
class _Task:
    item: str
    texts: Mapping[str, str]
    images: tuple[str, ...]
    captions: tuple[str, ...]
    choices: tuple[str, ...] = ()
    """What a numbered answer stands for: image keys or boxes."""
    boxes: tuple[str, ...] = ()
    """What is drawn into the picture."""

    @property
    def pictures(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Image key and boxes of each picture."""
        return tuple((image, self.boxes) for image in self.images)


def export_tasks(
    version: Version,
    kind: str,
    path: str | Path,
    format: Literal["label-studio", "csv"] = "label-studio",
    *,
    split: str | None = None,
    limit: int | None = None,
    image_prefix: str = "/data/local-files/?d=images/",
) -> Exported:
    """Write the tasks of one question to ``path``, in the order of the version's rows.

    ``label-studio`` also writes the labelling page beside it (``.xml``); ``csv`` has the empty columns annotator
    and value. ``split`` and ``limit`` narrow the tasks. :class:`UsageError` where nothing can be written, and for a
    table into which somebody has written answers. Each file appears whole or not at all.
    """
    question = kind_named(kind)
    if format not in ("label-studio", "csv"):
        raise UsageError(f"no format {format!r} for votes; there are label-studio, csv")
    tasks, left_out = _tasks(version, question, split)
    tasks = tasks[:limit]
    file = Path(path)
    if format == "csv" and (answers := _answers_in(file)):
        raise UsageError(f"--to {file}: {answers} answers stand in it; `diptych votes import` them, or name a new file")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable("--to", file, error) from error
    names, files = {}, []
    for image, boxes in dict.fromkeys(p for task in tasks for p in task.pictures):
        target = _write_image(version.blob(image), image, boxes, file.parent / "images")
        names[image, boxes] = image_prefix + target.name
        files.append(target)
    if format == "csv":
        write_text(file, "\ufeff" + _csv(tasks, question))
    else:
        data = [_label_studio(number, task, question, names) for number, task in enumerate(tasks, 1)]
        write_text(file, json.dumps(data, ensure_ascii=False, indent=1) + "\n")
        page = file.with_suffix(".xml")
        write_text(page, label_page(kind))
        files.append(page)
    return Exported(len(tasks), left_out, (file, *files))


def _answers_in(file: Path) -> int:
    """How many answers people wrote into a table that was exported before."""
    try:
        return len(import_votes(file).votes) if file.is_file() else 0
    except UsageError:  # another file
        return 0


def known_items(version: Version) -> KnownItems:
    """What votes on this version may be about: for ``import_votes``."""
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, kind in KINDS.items():
        if kind.about_phrases:
            there = {"sentences", "parse", "regions"} <= set(version.stages)
            tasks = _phrase_tasks(version, kind, None)[0] if there else []
            found[name] = {task.item: task.choices for task in tasks}
        elif kind.values:
            found[name] = {task.item: () for task in _tasks(version, kind, None)[0]}
        else:
            found[name] = {r: tuple(split_pair_key(p["key"])[1] for p in ps) for r, ps in _pairs(version, None).items()}
    return found


def label_page(kind: str) -> str:
    """The labelling interface of Label Studio for one question."""
    question = kind_named(kind)
    count, choices = _pictures(question), question.values
    if not choices:
        answers = REGIONS if question.about_phrases else CANDIDATES
        choices = (*(str(n) for n in range(1, answers + 1)), *([NONE] if question.about_phrases else []))
    lines = ["<View>", '  <Header value="$title"/>', '  <Text name="summary" value="$summary"/>']
    lines.append('  <Text name="text" value="$text"/>')
    for n in range(1, count + 1):
        lines.append(f'  <Image name="image{n}" value="$image{n}"/>')
        lines.append(f'  <Text name="caption{n}" value="$caption{n}"/>')
    if question.about_phrases:
        lines.append('  <Text name="sentence" value="$sentence"/>')
        lines.append('  <Header value="$phrase"/>')
    lines.append(f"  <Header value={quoteattr(question.question)}/>")
    lines.append('  <Choices name="vote" toName="image1" choice="single-radio" required="true">')
    lines += [f"    <Choice value={quoteattr(choice)}/>" for choice in choices]
    return "\n".join([*lines, "  </Choices>", "</View>"]) + "\n"


def _pairs(version: Version, split: str | None) -> dict[str, list[dict[str, Any]]]:
    """The accepted pairs of each record, the most relevant first where the version ranks them."""
    from diptych.storage.reader_records import Records

    ranked = "relevance" in version.stages
    names = [f"documents.{n}" for n in _TEXTS] + ["pairs.caption", "pairs.position"]
    rows = Records(version, [*names, *(["relevance.rank"] if ranked else [])], rows="pair", split=split, missing="none")
    found: dict[str, list[dict[str, Any]]] = {}
    for n in range(len(rows)):
        found.setdefault(split_pair_key(rows[n]["key"])[0], []).append(rows[n])
    if ranked:
        for pairs in found.values():
            pairs.sort(key=lambda p: (p["relevance.rank"] is None, p["relevance.rank"] or 0, p["pairs.position"]))
    return found


def _pictures(kind: VoteKind) -> int:
    """How many pictures a task shows."""
    return CANDIDATES if kind.rows == "document" else 1


def _phrase_tasks(version: Version, kind: VoteKind, split: str | None) -> tuple[list[_Task], int]:
    pairs = _pairs(version, split)
    ordered = {r: sorted(ps, key=lambda p: p["pairs.position"]) for r, ps in pairs.items()}
    texts = {r: {n: ps[0][f"documents.{n}"] or "" for n in _TEXTS} for r, ps in pairs.items()}
    captions = {p["key"]: p["pairs.caption"] or "" for ps in pairs.values() for p in ps}
    tasks: list[_Task] = []
    for phrase in phrases_of(version, ordered):
        record, image = split_pair_key(phrase.item.partition("@")[0])
        shown = {**texts[record], "phrase": phrase.text, "sentence": phrase.sentence}
        caption = captions[phrase.item.partition("@")[0]]
        tasks += _about(phrase, kind, _Task(phrase.item, shown, (image,), (caption,)))
    with_tasks = {task.item.partition("/")[0] for task in tasks}
    return tasks, len(pairs.keys() - with_tasks)


def _about(phrase: Phrase, kind: VoteKind, task: _Task) -> list[_Task]:
    """One task to link the phrase, or one for each region it is linked to."""
    if not kind.values:
        return [replace(task, choices=(*phrase.boxes, NONE), boxes=phrase.boxes)]
    return [replace(task, item=f"{phrase.item}={box}", boxes=(box,)) for box in phrase.linked]


def _tasks(version: Version, kind: VoteKind, split: str | None) -> tuple[list[_Task], int]:
    if kind.about_phrases:
        return _phrase_tasks(version, kind, split)
    tasks, left_out = [], 0
    for record, pairs in _pairs(version, split).items():
        texts = {n: pairs[0][f"documents.{n}"] or "" for n in _TEXTS}
        if kind.rows == "pair":
            tasks += [
                _Task(p["key"], texts, (split_pair_key(p["key"])[1],), (p["pairs.caption"] or "",)) for p in pairs
            ]
        elif len(pairs) < 2:
            left_out += 1
        else:
            some = pairs[:CANDIDATES]
            images = tuple(split_pair_key(p["key"])[1] for p in some)
            tasks.append(_Task(record, texts, images, tuple(p["pairs.caption"] or "" for p in some), images))
    return tasks, left_out


def _label_studio(
    number: int, task: _Task, kind: VoteKind, names: Mapping[tuple[str, tuple[str, ...]], str]
) -> dict[str, Any]:
    data: dict[str, Any] = {"kind": kind.name, "item": task.item, "choices": list(task.choices), **task.texts}
    for n in range(_pictures(kind)):
        data[f"image{n + 1}"] = names[task.pictures[n]] if n < len(task.images) else ""
        data[f"caption{n + 1}"] = task.captions[n] if n < len(task.captions) else ""
    return {"id": number, "data": data}


def _csv(tasks: Sequence[_Task], kind: VoteKind) -> str:
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator="\n")
    count = _pictures(kind)
    texts = (*_TEXTS, *(("phrase", "sentence") if kind.about_phrases else ()))
    captions = [f"caption{n}" for n in range(1, count + 1)]
    writer.writerow(["annotator", "item", "kind", "value", "choices", *texts, *captions])
    for task in tasks:
        filled = [*task.captions, *[""] * (count - len(task.captions))]
        words = [no_formula(t) for t in (*task.texts.values(), *filled)]
        writer.writerow(["", task.item, kind.name, "", " ".join(task.choices), *words])
    return sink.getvalue()


def no_formula(text: str) -> str:
    """Crawled text that a spreadsheet would run as a formula, quoted; blanks before the formula do not stop it."""
    return "'" + text if text.startswith(("\t", "\r")) or text.lstrip().startswith(FORMULA) else text


def _write_image(data: bytes, key: str, boxes: tuple[str, ...], folder: Path) -> Path:
    from PIL import Image

    if boxes:
        folder.mkdir(exist_ok=True)
        target = folder / f"{key}-{digest_bytes(' '.join(boxes).encode())[:8]}.jpeg"
        target.write_bytes(numbered(data, boxes))
        return target
    with Image.open(io.BytesIO(data)) as image:
        suffix = (image.format or "bin").lower()
    folder.mkdir(exist_ok=True)
    target = folder / f"{key}.{suffix}"
    if not target.is_file() or target.stat().st_size != len(data):
        target.write_bytes(data)
    return target
