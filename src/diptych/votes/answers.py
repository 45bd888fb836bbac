"""Votes as they come back: Label Studio's JSON (full or minimal) or CSV, or a table, checked line by line.

What is refused is listed with its line and reason, and the rest is kept:

================  ==================================================================================
``malformed``     not a row at all: missing fields, wrong types, no annotator or one whose name begins like a
                  formula of a spreadsheet, bytes that are no UTF-8
``unanswered``    a task nobody answered, or an answer that the annotator took back (cancelled)
``unknown_kind``  a question Diptych does not ask
``unknown_item``  no such record or pair (in the version, when one is given)
``unknown_value`` none of the answers of the question (or no image of the item)
``duplicated``    the annotator answered this item before, here or in votes that were there; the first answer counts
================  ==================================================================================

A *line* is the line of a CSV file, and in JSON the place of the task in the list, from 1.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from diptych.exceptions import UsageError
from diptych.storage.outputs import write_text
from diptych.votes.kinds import KINDS

__all__ = ["FORMULA", "Imported", "KnownItems", "Refused", "Vote", "import_votes", "write_votes"]

FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell begins with that a spreadsheet runs; it reads the full-width forms too."""
MAX_BYTES = 512 << 20
_MAX_NAME = 200
_QUOTED = re.compile(r"""["']([^"']*)["']""")

KnownItems = Mapping[str, Mapping[str, Collection[str]]]
"""Kind -> item -> the image keys or boxes that may be chosen (empty where the kind has values of its own)."""


@dataclass(frozen=True, order=True)
class Vote:
    """One annotator's answer about one item."""

    kind: str
    item: str
    annotator: str
    value: str


@dataclass(frozen=True)
class Refused:
    """A line that was not taken; ``text`` says what was found."""

    line: int
    reason: str
    text: str


@dataclass(frozen=True)
class Imported:
    """The new votes of a file in canonical order, and what was refused in file order."""

    votes: tuple[Vote, ...]
    refused: tuple[Refused, ...]
    repeated: int = 0
    """Lines whose vote was there before."""

    def reasons(self) -> dict[str, int]:
        """How many lines were refused for which reason."""
        found: dict[str, int] = {}
        for item in self.refused:
            found[item.reason] = found.get(item.reason, 0) + 1
        return found


class _Bad(Exception):
    """A line that is refused: reason and text."""


def import_votes(path: str | Path, known: KnownItems | None = None, before: Iterable[Vote] = ()) -> Imported:
    """The votes of a ``.json`` or ``.csv`` file; with ``known`` (see ``known_items``) other items are refused.

    ``before`` are votes that were there: they count as the first answers, and are not among those returned.
    :class:`UsageError` when the file as a whole cannot be read.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UsageError(f"{file} has {file.stat().st_size} bytes; a file of votes has at most {MAX_BYTES}")
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the votes {file}: {error.strerror}") from error
    rows = _from_json(data, file) if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{") else _from_csv(data, file)
    return _checked(rows, known, before)


def write_votes(votes: Iterable[Vote], path: str | Path) -> int:
    """Write votes as the canonical CSV that a recipe names, whole or not at all; their number.

    The same votes give the same bytes.
    """
    ordered = sorted(set(votes))
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow([f.name for f in fields(Vote)])
    writer.writerows(astuple(vote) for vote in ordered)
    write_text(Path(path), sink.getvalue())
    return len(ordered)


_Row = tuple[int, "dict[str, Any] | _Bad"]


def _checked(rows: Iterable[_Row], known: KnownItems | None, before: Iterable[Vote]) -> Imported:
    first = {_question(vote): (0, vote) for vote in before}
    refused, repeated = [], 0
    for line, raw in rows:
        try:
            if isinstance(raw, _Bad):
                raise raw
            vote = _vote(raw, known)
            earlier, old = first.setdefault(_question(vote), (line, vote))
            if not earlier and old == vote:
                repeated += 1
            elif old is not vote:
                when = f"on line {earlier}" if earlier else "before"
                raise _Bad("duplicated", f"{vote.annotator} answered {old.value} {when}, now {vote.value}")
        except _Bad as bad:
            refused.append(Refused(line, *bad.args))
    return Imported(tuple(sorted(vote for line, vote in first.values() if line)), tuple(refused), repeated)


def _question(vote: Vote) -> tuple[str, str, str]:
    """What an annotator answers once."""
    return vote.kind, vote.item, vote.annotator


def _vote(raw: Mapping[str, Any], known: KnownItems | None) -> Vote:
    answer = raw.get("value")
    empty = answer is None or (isinstance(answer, str) and not answer.strip())
    if empty and raw.get("annotator") in ("", None) and isinstance(raw.get("item"), str):
        raise _Bad("unanswered", f"nobody answered {raw['item']}")  # a row of the exported table as it was
    kind_name, item, annotator = (_text(raw, name) for name in ("kind", "item", "annotator"))
    kind = KINDS.get(kind_name)
    if kind is None:
        raise _Bad("unknown_kind", f"{kind_name!r}; there are {', '.join(KINDS)}")
    if not kind.is_item(item):
        form = ("record id" if kind.rows == "document" else "pair key") + " with a phrase" * kind.about_phrases
        raise _Bad("unknown_item", f"{item!r} is no {form}")
    if known is not None and item not in known.get(kind_name, {}):
        raise _Bad("unknown_item", f"the version has no {kind.rows} {item} to vote on")
    if empty:
        raise _Bad("unanswered", f"{annotator} gave no answer for {item}")
    text = _chosen(str(answer), raw) if not kind.values else str(answer)
    value = kind.value(text)
    if value is None:
        allowed = (
            ", ".join(kind.values) or f"the number of a choice or {'none' if kind.about_phrases else 'an image key'}"
        )
        raise _Bad("unknown_value", f"{answer!r} is none of {allowed}")
    if not kind.values and known is not None and value not in known[kind_name][item]:
        raise _Bad(
            "unknown_value",
            f"{value} is no {'region' if kind.about_phrases else 'image'} of {item} that could be chosen",
        )
    return Vote(kind.name, item, annotator, value)


def _chosen(answer: str, raw: Mapping[str, Any]) -> str:
    """The image key or box of choice ``1``, ``2``, ... from the task's own list."""
    keys = raw.get("choices")
    if isinstance(keys, str):  # Label Studio's CSV has a list, by its version in JSON or as Python prints it
        keys = _QUOTED.findall(keys) if keys.lstrip().startswith("[") else keys.split()
    number = answer.strip()
    if number.isdecimal() and len(number) < 4 and isinstance(keys, list) and 0 < int(number) <= len(keys):
        return str(keys[int(number) - 1])
    return answer


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Bad("malformed", f"no {name}" if value is None else f"{name} is {value!r}")
    text = str(value).strip()
    if not text or len(text) > _MAX_NAME or not text.isprintable():
        raise _Bad("malformed", f"{name} is {text[:80]!r}")
    if text.startswith(FORMULA):
        raise _Bad(
            "malformed", f"{name} {text[:80]!r} begins like a formula; expected none of {' '.join(FORMULA)} first"
        )
    return text


def _from_csv(data: bytes, file: Path) -> Iterator[_Row]:
    """Rows with the line they start on; other columns than the four and ``choices`` are left alone."""
    text = data.decode("utf-8-sig", "surrogateescape")
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # the rest of a longer cell would be read as rows
    reader = csv.reader(io.StringIO(text, newline=""))
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            yield line, _Bad("malformed", str(error))
            continue
        if header is None:
            header = [c.strip().lower() for c in cells]
            if "value" not in header:  # Label Studio names an answer after its control
                header = ["value" if name == "vote" else name for name in header]
            missing = {"annotator", "item", "kind", "value"} - set(header)
            if missing:
                raise UsageError(
                    f"{file}: the first line must name annotator, item, kind, value; it lacks {sorted(missing)}"
                )
        elif any(c.strip() for c in cells):
            bad = len(cells) != len(header) or any("\udc80" <= ch <= "\udcff" for c in cells for ch in c)
            what = f"{len(cells)} cells, expected {len(header)}" if len(cells) != len(header) else "not UTF-8"
            if reader.line_num > line:
                what += f", in one row up to line {reader.line_num}; is a quote not closed?"
            yield line, _Bad("malformed", what) if bad else dict(zip(header, cells, strict=True))
    if header is None:
        raise UsageError(f"{file} is empty; expected a first line that names annotator, item, kind, value")


def _from_json(data: bytes, file: Path) -> Iterator[_Row]:
    """Rows of Label Studio's JSON (``annotations``) or JSON-MIN (``annotator`` and ``vote`` beside the task's data)."""
    try:
        tasks = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is not JSON: {error}") from error
    for line, task in enumerate(tasks if isinstance(tasks, list) else [tasks], 1):
        if not isinstance(task, dict):
            yield line, _Bad("malformed", f"expected a task, found {type(task).__name__}")
        elif "annotations" in task or "data" in task:
            yield from ((line, row) for row in _annotations(task))
        else:
            yield line, {**task, "value": task.get("vote", task.get("value"))}


def _annotations(task: Mapping[str, Any]) -> Iterator[dict[str, Any] | _Bad]:
    base, annotations = task.get("data"), task.get("annotations") or []
    if not isinstance(base, dict) or not isinstance(annotations, list):
        yield _Bad("malformed", "a task without data or without a list of annotations")
        return
    if not annotations:
        yield _Bad("unanswered", f"nobody answered {base.get('item')}")
    for entry in annotations:
        if not isinstance(entry, dict):
            yield _Bad("malformed", f"an annotation is {type(entry).__name__}")
        elif entry.get("was_cancelled"):
            yield _Bad("unanswered", f"an annotator skipped {base.get('item')}")
        else:
            who = entry.get("completed_by")
            who = who.get("email") or who.get("id") if isinstance(who, dict) else who
            yield {**{n: base.get(n) for n in ("item", "kind", "choices")}, "annotator": who, "value": _answer(entry)}


def _answer(entry: Mapping[str, Any]) -> str | None:
    """The one choice under the name ``vote``; several choices are none."""
    results = entry.get("result")
    for result in results if isinstance(results, list) else []:
        value = result.get("value") if isinstance(result, dict) and result.get("from_name") == "vote" else None
        choices = value.get("choices") if isinstance(value, dict) else None
        if isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], str):
            return choices[0]
    return None
