"""The counts of a version, over everything: for ``diptych stats`` and for the report."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from diptych.recipe import about
from diptych.report.paper_table import DataTable, aligned, table_lines
from diptych.report.shards import iter_shards
from diptych.version import Version
from diptych.votes.agreement import Agreement

__all__ = ["EditCounts", "GroupCounts", "Reason", "ScorerCounts", "StageCounts", "Statistics", "statistics"]


@dataclass(frozen=True)
class GroupCounts:
    """Accepted content of one language and split; an empty name stands for all of them.

    Sentences, tokens and characters are those of title, text and summary. A Chinese character is one token.
    """

    language: str = ""
    split: str = ""
    documents: int = 0
    images: int = 0
    """Distinct by content."""
    pairs: int = 0
    sentences: int = 0
    tokens: int = 0
    characters: int = 0
    captions: int = 0
    """Of accepted pairs; a pair may have several, one a line."""
    caption_tokens: int = 0

    def per_document(self, name: str) -> float | None:
        """A count divided by the number of documents; None without documents."""
        return getattr(self, name) / self.documents if self.documents else None

    @property
    def tokens_per_caption(self) -> float | None:
        """Mean length of a caption."""
        return self.caption_tokens / self.captions if self.captions else None

    @property
    def label(self) -> str:
        """What the row is called in a table."""
        return " ".join(n for n in (self.language, self.split) if n) or "all"


@dataclass(frozen=True)
class Reason:
    """So many things were lost for one reason; ``stage`` is ``fetch`` for what never arrived."""

    stage: str
    status: str
    code: str
    count: int


@dataclass(frozen=True)
class StageCounts:
    """Rows of one stage by status, those that are not ok also by code."""

    name: str
    version: int
    kind: str
    rows: int
    by_status: dict[str, int]
    reasons: tuple[Reason, ...]
    bytes: int


@dataclass(frozen=True)
class EditCounts:
    """Changes of wording by one rule; ``examples`` are the most frequent, as (original, new) with their counts."""

    rule: str
    count: int
    documents: int
    examples: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class ScorerCounts:
    """Documents of a language whose captions were compared with the summary by one scorer."""

    scorer: str
    language: str
    documents: int

    @property
    def meaning(self) -> str:
        """What the scorer is, in words."""
        return {
            "ngrams": "cosine of character n-grams, which needs no encoder",
            "minilm": "cosine of sentence vectors (MiniLM-L6)",
            "esim": "ESIM",
        }.get(self.scorer, self.scorer)


@dataclass(frozen=True)
class Statistics:
    """What a version holds, and what was lost on the way.

    ``referenced`` images = ``images_failed`` + ``images_refused`` + accepted pairs; likewise ``records``.
    """

    dataset: str
    version: int
    records: int
    records_failed: tuple[Reason, ...]
    records_refused: tuple[Reason, ...]
    referenced: int
    images_failed: tuple[Reason, ...]
    images_refused: tuple[Reason, ...]
    groups: tuple[GroupCounts, ...]
    stages: tuple[StageCounts, ...]
    bytes: int
    """Of the segments the version uses; raw files are not in it."""
    has_sentences: bool
    edits: tuple[EditCounts, ...] = ()
    scorers: tuple[ScorerCounts, ...] = ()
    agreement: tuple[Agreement, ...] = ()
    """Of every question that people answered."""
    paper: tuple[DataTable, ...] = ()
    """The tables of the paper that the recipe names, with its figures beside ours."""
    sample: str = ""
    """Of a sample build: what it is and what stands in for what; the first line wherever the version is shown."""

    @property
    def all(self) -> GroupCounts:
        """Everything accepted."""
        return self.groups[0]

    @property
    def fetched(self) -> int:
        """Images whose bytes arrived."""
        return self.referenced - sum(r.count for r in self.images_failed)

    def by(self, name: str) -> tuple[GroupCounts, ...]:
        """One row a ``language`` or a ``split``."""
        other = {"language": "split", "split": "language"}[name]
        return tuple(g for g in self.groups if getattr(g, name) and not getattr(g, other))

    def __str__(self) -> str:
        return "\n".join(_text(self))


def statistics(version: Version) -> Statistics:
    """Count everything in a version, shard by shard."""
    from diptych.report.paper_data import paper_tables
    from diptych.report.tally import Tally

    tally = Tally(version)
    for shard in iter_shards(version):
        tally.add(shard)
    return replace(tally.statistics(), paper=paper_tables(version), sample=about(version.manifest.recipe).sample)


def _text(s: Statistics) -> list[str]:
    lines = [s.sample] if s.sample else []
    lines += [f"{s.dataset}@{s.version}", ""]
    lines += _funnel("records", s.records, s.records_failed, s.records_refused, s.all.documents, "accepted documents")
    lines += _funnel(
        "images referenced", s.referenced, s.images_failed, s.images_refused, s.all.pairs, "accepted pairs"
    )
    names = [f.name for f in fields(GroupCounts) if f.type in ("int", int)]
    rows = [["", *(n.replace("_", " ") for n in names)]]
    rows += [[g.label, *(f"{getattr(g, n):,}" for n in names)] for g in s.groups]
    lines += [*aligned(rows), ""]
    rows = [["stage", "rows", "ok", "rejected", "skipped", "failed", "bytes"]]
    for stage in s.stages:
        n = stage.by_status
        failed = n.get("failed_transient", 0) + n.get("failed_permanent", 0)
        counts = (stage.rows, n.get("ok", 0), n.get("rejected", 0), n.get("skipped", 0), failed, stage.bytes)
        rows.append([f"{stage.name} v{stage.version}", *(f"{c:,}" for c in counts)])
    lines += aligned(rows)
    if s.scorers:
        lines += ["", "captions compared with summaries by"]
        lines += [f"{c.documents:>12,}  {c.language} documents: {c.meaning}" for c in s.scorers]
    if s.agreement:
        names = ["items", "votes", "decided", "tied", "fleiss_kappa", "krippendorff_alpha", "mean_entropy"]
        rows = [["votes", *(n.replace("_", " ") for n in names)]]
        lines += ["", *aligned(rows + [[a.kind, *(figure(getattr(a, n)) for n in names)] for a in s.agreement])]
    if s.edits:
        rows = [["change of wording", "places", "documents"]]
        lines += ["", *aligned(rows + [[e.rule, f"{e.count:,}", f"{e.documents:,}"] for e in s.edits])]
    for table in s.paper:
        lines += ["", *table_lines(table)]
    return lines


def figure(value: float | int | None) -> str:
    """A count, or a coefficient with three digits; a dash where it is not defined."""
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _funnel(
    name: str, total: int, failed: tuple[Reason, ...], refused: tuple[Reason, ...], left: int, what: str
) -> list[str]:
    lines = [f"{total:>12,}  {name}"]
    lines += [f"{-r.count:>12,}    {r.stage}: {r.code or r.status}" for r in (*failed, *refused)]
    return [*lines, f"{left:>12,}  {what}", ""]
