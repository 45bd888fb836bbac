"""The README card of a version: what a reader has to know before using it, in the form that the Hugging Face hub reads.

Below the front matter the first line says what must be said first: generated data, random or stand-in weights, accepted
failures. Texts that come from sources are escaped: they can neither make markup nor end the front matter.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from diptych import weights as registry
from diptych.exceptions import WeightsError
from diptych.export.licences import hub_name, recipe_sources
from diptych.export.rows import ExportRecord, iter_records
from diptych.export.values import split_name
from diptych.recipe import about
from diptych.report.notices import notices
from diptych.report.stats import Statistics, statistics
from diptych.sources.urls import host_of
from diptych.storage.manifest import Manifest
from diptych.version import Version

__all__ = ["Contents", "card", "contents_of", "escape"]

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
UNKNOWN = "not stated"


@dataclass
class Contents:
    """What an export (or a whole version) contains, counted while it is written."""

    format: str = ""
    rows: str = "records"
    redacted: bool = False
    records: int = 0
    images: int = 0
    """Uses of pictures: one that two records show counts twice."""
    captions: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    """Of pictures."""
    text_licences: Counter[str] = field(default_factory=Counter)
    """Of records that have texts of their own."""
    sources: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)
    first: str = ""
    last: str = ""
    """Days of the first and last fetch."""
    files: dict[str, list[str]] = field(default_factory=dict)
    """Split to its files."""
    boxes_left_out: int = 0
    """Annotated boxes that were no boxes."""

    @property
    def all_licences(self) -> list[str]:
        """Of pictures and texts, sorted; :data:`UNKNOWN` where one states none."""
        return sorted({*self.licences, *self.text_licences})

    def count(self, record: ExportRecord) -> None:
        """Add one record."""
        self.records += 1
        self.images += len(record.images)
        self.captions += sum(len(i.captions) for i in record.images)
        self.splits[record.split] += 1
        self.sources[record.source] += 1
        if record.language:
            self.languages[record.language] += 1
        if record.url.startswith("http"):
            self.hosts[host_of(record.url)] += 1
        for image in record.images:
            self.licences[image.licence or UNKNOWN] += 1
        if not record.images or any((record.document.title, record.document.text, record.document.summary)):
            self.text_licences[record.licence or UNKNOWN] += 1
        for day in (record.fetched_at, *(i.fetched_at for i in record.images)):
            if day:
                self.first = min(self.first or day, day)
                self.last = max(self.last, day)


def contents_of(version: Version) -> Contents:
    """Counts over all accepted records; no picture is read."""
    contents = Contents()
    for record in iter_records(version):
        contents.count(record)
    return contents


def card(version: Version, contents: Contents) -> str:
    """The whole README."""
    manifest = version.manifest
    counted = statistics(version)
    title = about(manifest.recipe).title or manifest.dataset
    parts = [
        "---\n" + _front_matter(manifest, contents, title) + "---\n",
        f"> **{escape(' '.join(first))}**" if (first := notices(manifest)) else "",
        f"# {escape(title)}",
        f"{escape(manifest.dataset)}, version {manifest.version}, committed {manifest.created_at[:10]}: "
        f"{contents.records:,} records, {contents.images:,} pictures, {contents.captions:,} captions.",
        _licence_part(contents),
        _splits_part(manifest, contents),
        "## Statistics\n\n" + _fenced(str(counted)),
        _stages_part(manifest),
        _scorers_part(counted),
        _origin_part(contents, manifest),
        _limits_part(counted, contents, manifest),
        _rebuild_part(manifest, contents),
        _files_part(contents),
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"


def escape(text: str) -> str:
    """Text as Markdown shows it: one line, no markup, no HTML, no link."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_{}\[\]()#!|~$])", r"\\\1", line)
    return re.sub(
        r"(?i)\b(https?|ftp)://|\bwww\.", lambda m: m.group().replace(":", "&#58;").replace(".", "&#46;"), line
    )


def _fenced(text: str) -> str:
    """A block of text that no line of its own can end."""
    longest = max((len(m) for m in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _front_matter(manifest: Manifest, contents: Contents, title: str) -> str:
    known = {hub_name(name) for name in contents.all_licences}
    values: dict[str, Any] = {"pretty_name": " ".join(title.split())}
    if len(known) == 1 and (only := next(iter(known))) is not None:
        values["license"] = only
    else:
        values |= {"license": "other", "license_name": "see-the-table-below", "license_link": "README.md"}
    languages = sorted(n for n in contents.languages if re.fullmatch(r"[a-z]{2,3}", n))
    if languages:
        values["language"] = languages
    values["size_categories"] = [next((name for limit, name in _SIZES if contents.records < limit), "n>1M")]
    values["task_categories"] = ["image-to-text"]
    values["tags"] = ["diptych", "image", "text", f"{manifest.dataset}-v{manifest.version}"]
    if contents.format == "huggingface" and contents.files:
        files = [{"split": split, "path": paths} for split, paths in _in_order(contents.files)]
        values["configs"] = [{"config_name": contents.rows, "default": True, "data_files": files}]
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000)


def _in_order(files: Mapping[str, list[str]]) -> list[tuple[str, list[str]]]:
    order = {"train": 0, "validation": 1, "test": 2}
    return sorted(files.items(), key=lambda item: (order.get(item[0], 3), item[0]))


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(escape(str(value)) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def _licence_part(contents: Contents) -> str:
    counted = contents.licences + contents.text_licences
    rows = [(n, f"{contents.licences[n]:,}", f"{contents.text_licences[n]:,}") for n, _ in counted.most_common(30)]
    more = len(counted) - len(rows)
    text = (
        "## Licences\n\nEach picture and each record's text keeps the licence that its source states; "
        "every record and picture carries it.\n\n"
    )
    text += _table(("licence", "pictures", "texts"), rows)
    return text + (f"\n\nand {more:,} others" if more > 0 else "")


def _splits_part(manifest: Manifest, contents: Contents) -> str:
    ledger = next((f for f in manifest.fits if f.ledger), None)
    counts = Counter[str]()
    for split, n in contents.splits.items():
        counts[split_name(split)] += n
    note = (
        "No near duplicate stands in two splits, unless the source's own splits say so. A record keeps its split in "
        "later versions; it can leave train and never enter it."
        if ledger
        else "The version has no splits; everything is called train."
    )
    return (
        "## Splits\n\n"
        + _table(("split", "records"), [(s, f"{n:,}") for s, n in sorted(counts.items())])
        + f"\n\n{note}"
    )


def _stages_part(manifest: Manifest) -> str:
    rows = []
    for stage in manifest.stages:
        used = ", ".join(
            f"{w.name}{' (random)' if w.random else ''}: {_licence_of_weights(w.name)}" for w in stage.weights
        )
        packages = ", ".join(f"{name} {release}" for name, release in stage.packages.items())
        n = stage.counts
        rows.append((stage.name, stage.version, f"{n.ok:,} of {n.total:,}", used or "none", packages or "none"))
    return "## Stages\n\n" + _table(("stage", "version", "rows ok", "weights and their licences", "packages"), rows)


def _licence_of_weights(name: str) -> str:
    if registry.is_random(name):
        return "no licence needed"
    try:
        return registry.spec(name).licence
    except WeightsError:
        return "licence not known"


def _scorers_part(counted: Statistics) -> str:
    if not counted.scorers:
        return ""
    rows = [(s.scorer, s.language, f"{s.documents:,}", s.meaning) for s in counted.scorers]
    text = "## Relevance of captions\n\n" + _table(("scorer", "language", "documents", "what it is"), rows)
    if any(s.scorer == "ngrams" for s in counted.scorers):
        text += "\n\nCharacter n-grams are the fallback for languages that the chosen scorer does not know."
    return text


def _origin_part(contents: Contents, manifest: Manifest) -> str:
    kinds = {name: str(s.get("kind", "")) for name, s in recipe_sources(manifest.recipe).items()}
    rows = [(name, kinds.get(name, ""), f"{n:,}") for name, n in sorted(contents.sources.items())]
    text = "## Where it comes from\n\n" + _table(("source", "kind", "records"), rows)
    if contents.hosts and not contents.redacted:
        top = [(host, f"{n:,}") for host, n in contents.hosts.most_common(15)]
        text += "\n\n" + _table(("host", "records"), top)
        if len(contents.hosts) > len(top):
            text += f"\n\nand {len(contents.hosts) - len(top):,} other hosts"
    said = [f"Fetched between {contents.first} and {contents.last}."] if contents.first else []
    if not contents.redacted:
        said.append("Every record has its address and the day of its last fetch.")
    return f"{text}\n\n{' '.join(said)}"


def _limits_part(counted: Statistics, contents: Contents, manifest: Manifest) -> str:
    lines = [
        "Texts and pictures are other people's; errors in them are theirs. Cleaning rules drop much and miss some.",
        "Licences are as the sources state them; nobody checked them.",
    ]
    lost = sum(r.count for r in (*counted.records_failed, *counted.records_refused))
    if lost:
        lines.append(f"{lost:,} of {counted.records:,} records are not in it: they failed or a rule refused them.")
    failed = {s.name: s.counts.failed for s in manifest.stages if s.counts.failed}
    if failed:
        lines.append("Rows that failed: " + ", ".join(f"{escape(k)} {n:,}" for k, n in failed.items()) + ".")
    if UNKNOWN in contents.all_licences:
        pictures, texts = contents.licences[UNKNOWN], contents.text_licences[UNKNOWN]
        lines.append(f"{pictures:,} pictures and {texts:,} texts state no licence.")
    if contents.boxes_left_out:
        lines.append(f"{contents.boxes_left_out:,} annotated boxes were not four numbers and are left out.")
    if contents.redacted:
        lines.append(
            "Redacted: no addresses, no handles, new record ids, no metadata in pictures. Names of people in texts, "
            "and what pictures show, are as they were."
        )
    return "## Known limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _rebuild_part(manifest: Manifest, contents: Contents) -> str:
    code = f"diptych {manifest.code.version}" + (f" ({manifest.code.commit[:12]})" if manifest.code.commit else "")
    packages = ", ".join(f"{name} {release}" for name, release in manifest.packages.items())
    text = f"## How to rebuild it\n\nMade with {escape(code)}; {escape(packages)}."
    if not contents.redacted:
        text += (
            f" Save the recipe as `{manifest.dataset}.yaml`, then `diptych build {manifest.dataset}.yaml`: from the "
            "same sources it gives the same input digest.\n\n" + _fenced(manifest.recipe.rstrip("\n"))
        )
    rows = [
        ("input digest", manifest.input_digest),
        ("content digest", manifest.exact_digest),
        ("with floats", manifest.floats_digest),
    ]
    if not contents.redacted:
        rows.append(("snapshot", manifest.snapshot))
    return text + "\n\n" + _table(("what", "SHA-256 or digest"), rows)


def _files_part(contents: Contents) -> str:
    if not contents.files:
        return ""
    uses = {
        "huggingface": "`datasets.load_dataset(folder)`",
        "webdataset": '`webdataset.WebDataset("train-000000.tar")`',
        "coco": '`pycocotools.coco.COCO("annotations/captions_train.json")`',
        "npz": "`numpy.load(file, allow_pickle=False)`",
        "h5": '`h5py.File("train.h5")`',
    }
    read = uses.get(contents.format, "")
    listed = "`export.json` lists every file with its SHA-256, `croissant.json` describes them."
    return f"## Files\n\nRead with {read}. {listed}"
