"""Writes the page of a version: two passes over its shards, then one template; nothing in it needs the network."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from diptych.exceptions import MissingExtra
from diptych.recipe import about
from diptych.report.cards import Card, CardMaker, Row, label_of
from diptych.report.choice import Choice, Example
from diptych.report.leaks import split_proof
from diptych.report.measures import Measures
from diptych.report.notices import notices
from diptych.report.shards import iter_shards, open_shard
from diptych.report.stats import Reason, Statistics, figure
from diptych.report.tally import Tally
from diptych.report.thumbnails import Thumbnail, Thumbnails
from diptych.report.truth import read_truth, score
from diptych.report.values import average, bytes_text, json_for_script, number, safe_link
from diptych.storage.manifest import Manifest
from diptych.storage.outputs import write_text
from diptych.version import Version

__all__ = ["write_report"]

EXAMPLE_SIDE = 200
_IMAGE_KEY = re.compile(r"\b[0-9a-f]{64}\b")
_SIZE_MARK = "@@page-bytes@@"


@dataclass(frozen=True)
class Shown:
    """An example of a reason with its picture or its words."""

    example: Example
    row: Row
    thumbnail: Thumbnail | None
    other: Thumbnail | None
    """The picture that the reason names (the better one of two near duplicates)."""
    words: str
    url: str


def write_report(version: Version, path: Path, *, gallery: int = 60, truth: Path | None = None) -> Path:
    """Write one self-contained HTML page and return its path; ``gallery`` is how many records it shows.

    ``truth`` is the truth file of a sample site: each cleaning rule and each kind of copy is then scored against it.
    The gallery grows beyond that only as far as needed to show every rule and status. The file appears complete or
    not at all. Raises :class:`UsageError` for a folder and where nothing may be written.
    """
    environment = _environment()
    tally, measures = Tally(version), Measures(version)
    choice = Choice(version.manifest, tally.splits, gallery)
    for shard in iter_shards(version):
        tally.add(shard)
        measures.add(shard)
        choice.add(shard)
    statistics = tally.statistics()
    thumbnails = Thumbnails()
    cards, shown = _look_up(version, choice, tally.splits, thumbnails)
    files = resources.files("diptych.report") / "templates"
    script = (files / "report.js").read_text("utf-8")
    proof = split_proof(version)
    html = environment.get_template("report.html.j2").render(
        m=version.manifest,
        s=statistics,
        title=about(version.manifest.recipe).title,
        notices=notices(version.manifest) + _crossing(proof.crossing + (proof.picture_crossing or 0) if proof else 0),
        proof=proof,
        truth=score(version, read_truth(truth)) if truth else None,
        plots=measures.main,
        more_plots=measures.more,
        constant=measures.constant,
        groups=_example_groups(shown, statistics),
        cards=cards,
        filters=_filters(cards),
        layers=sorted({layer.name for c in cards for f in c.figures for layer in f.layers}),
        losses=_losses(statistics),
        thumbnails=thumbnails,
        style=(files / "report.css").read_text("utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=json_for_script(_data(version.manifest, statistics)),
        size_mark=_SIZE_MARK,
    )
    size = len(html.encode("utf-8"))
    write_text(Path(path), html.replace(_SIZE_MARK, bytes_text(size)))
    return Path(path)


def _environment() -> Any:
    try:
        import jinja2
    except ImportError as error:
        raise MissingExtra("jinja2", "report") from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("diptych.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        figure=figure, number=number, average=average, bytes=bytes_text, link=safe_link, short=_short
    )
    environment.globals.update(label_of=label_of)
    return environment


def _short(text: str) -> str:
    """The text with image keys cut to their first eight digits."""
    return _IMAGE_KEY.sub(lambda found: found[0][:8] + "…", text)


def _look_up(
    version: Version, choice: Choice, splits: Mapping[str, str], thumbnails: Thumbnails
) -> tuple[list[Card], list[Shown]]:
    """Cards and examples of the chosen records; each shard they lie in is read once more."""
    records = choice.records()
    examples: dict[int, list[Example]] = {}
    for example in choice.examples():
        examples.setdefault(example.shard, []).append(example)
    cards, shown = [], []
    for number_ in sorted({*records, *examples}):
        maker = CardMaker(open_shard(version, number_), splits, thumbnails)
        cards += [maker.card(record) for record in records.get(number_, ())]
        shown += [s for e in examples.get(number_, ()) if (s := _shown(maker, e)) is not None]
    return sorted(cards, key=lambda c: choice.order(c.record)), shown


def _shown(maker: CardMaker, example: Example) -> Shown | None:
    entry = maker.manifest.stage(example.stage)
    rows = maker.rows(entry, [example.key])
    if not rows:
        return None
    shard, image, words, url = maker.shard, "", "", ""
    for use in shard.uses.get(example.record, ()):
        if example.key in (use.image, use.key):
            image, words, url = use.image, use.caption, use.url
            break
    else:
        snapshot = maker.by_record.get(example.record)
        if snapshot is not None:
            document = shard.document(snapshot)
            words, url = document.title or document.text[:200], snapshot["url"]
    named = _IMAGE_KEY.search(rows[0].text)
    known = {use.image for use in shard.uses.get(example.record, ())}
    other = named[0] if named and named[0] in known - {image} else ""
    pictures = [maker.picture(key, EXAMPLE_SIDE) for key in (image, other)]
    return Shown(example, rows[0], pictures[0], pictures[1], words, url)


def _example_groups(shown: Sequence[Shown], statistics: Statistics) -> list[tuple[Reason, list[Shown]]]:
    """Examples by reason, the commonest first, cleaning before failures."""
    counts = {(r.stage, r.status, r.code): r for stage in statistics.stages for r in stage.reasons}
    groups: dict[tuple[str, str, str], list[Shown]] = {}
    for item in shown:
        groups.setdefault((item.example.stage, item.example.status, item.example.code), []).append(item)
    ordered = sorted(groups, key=lambda g: (g[1] != "rejected", -counts[g].count, g))
    return [(counts[g], groups[g]) for g in ordered]


def _crossing(groups: int) -> list[str]:
    """What must be said when a group stands in more than one split."""
    return [f"Splits: {groups:,} groups of near duplicates stand in more than one split."] if groups else []


def _losses(s: Statistics) -> list[tuple[str, int, list[Reason]]]:
    """The steps from a referenced image to an accepted pair: name, how many are left, what was lost after it."""
    steps = [("referenced by documents", s.referenced, list(s.images_failed)), ("fetched", s.fetched, [])]
    left = s.fetched
    for stage in [x.name for x in s.stages]:
        lost = [r for r in s.images_refused if r.stage == stage]
        if lost:
            steps[-1][2].extend(lost)
            left -= sum(r.count for r in lost)
            steps.append((f"passed {stage}", left, []))
    steps[-1] = ("accepted pairs", steps[-1][1], steps[-1][2])
    return steps


def _filters(cards: Sequence[Card]) -> dict[str, list[tuple[str, int]]]:
    """The choices of each filter with their numbers of records, in order of the alphabet."""
    found: dict[str, dict[str, int]] = {n: {} for n in ("status", "rule", "split", "language")}
    for card in cards:
        values = {"status": card.statuses, "rule": card.rules, "split": (card.split,), "language": (card.language,)}
        for name, own in values.items():
            for value in own:
                if value:
                    found[name][value] = found[name].get(value, 0) + 1
    return {name: sorted(values.items()) for name, values in found.items()}


def _data(manifest: Manifest, statistics: Statistics) -> dict[str, Any]:
    names = ("dataset", "version", "parent", "created_at", "snapshot", "input_digest", "exact_digest", "floats_digest")
    return {n: getattr(manifest, n) for n in names} | {"statistics": dataclasses.asdict(statistics)}
