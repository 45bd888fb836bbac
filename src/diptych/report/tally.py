"""Counting a version shard by shard: what :class:`~diptych.report.stats.Statistics` is made from."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diptych.report.shards import Refusal, ShardRows
from diptych.report.stats import EditCounts, GroupCounts, Reason, ScorerCounts, StageCounts, Statistics
from diptych.version import Version
from diptych.votes.agreement import agreement

__all__ = ["Tally", "TextSizes", "split_of", "text_sizes"]

_BODY = ("title", "text", "summary")


@dataclass
class TextSizes:
    """Numbers about the text of one document."""

    sentences: int = 0
    tokens: int = 0
    characters: int = 0
    caption_tokens: int = 0
    sentence_tokens: list[int] = field(default_factory=list)
    captions: Counter[tuple[int, int]] = field(default_factory=Counter)
    """Tokens of each caption, by the number of its accepted pair and its line there."""


def text_sizes(shard: ShardRows) -> dict[str, TextSizes]:
    """Sizes by record, from the sentences stage; without one, characters of the stored text alone."""
    if not shard.has("sentences", "items"):
        found = {}
        for row in shard.records:
            if row["content"]:
                document = shard.document(row)
                found[row["record"]] = TextSizes(characters=sum(len(getattr(document, n)) for n in _BODY))
        return found
    table = shard.table("sentences", ["items"])
    items = _combined(table["items"])
    found = {key: TextSizes() for key in table["key"].to_pylist()}
    keys = list(found)
    flat = items.flatten()
    parents = pc.list_parent_indices(items).to_pylist()
    lengths = pc.list_value_length(flat.field("tokens")).to_pylist()
    characters = pc.utf8_length(flat.field("text")).to_pylist()
    names, pairs, starts = (flat.field(n).to_pylist() for n in ("field", "paragraph", "start"))
    rows = zip(parents, names, pairs, starts, lengths, characters, strict=True)
    for parent, name, pair, start, tokens, size in rows:
        sizes = found[keys[parent]]
        if name in _BODY:
            sizes.sentences += 1
            sizes.tokens += tokens or 0
            sizes.characters += size or 0
            sizes.sentence_tokens.append(tokens or 0)
        else:
            sizes.caption_tokens += tokens or 0
            uses = shard.accepted.get(keys[parent], ())
            line = uses[pair].caption.count("\n", 0, start) if pair < len(uses) else 0
            sizes.captions[pair, line] += tokens or 0
    return found


def _combined(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array


def split_of(version: Version) -> dict[str, str]:
    """Record to split from the ledger; empty when the version has none."""
    for fit in version.manifest.fits:
        if fit.ledger and fit.keyed:
            table = version.store.lists.get(fit.result)
            return dict(zip(table["key"].to_pylist(), table["split"].to_pylist(), strict=True))
    return {}


class Tally:
    """Running counts; ``add`` every shard once, in any order."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.splits = split_of(version)
        self.records: Counter[str] = Counter()
        self.images: Counter[str] = Counter()
        self.records_refused: Counter[Refusal] = Counter()
        self.images_refused: Counter[Refusal] = Counter()
        self.groups: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self.keys: dict[tuple[str, str], list[np.ndarray]] = defaultdict(list)
        self.edits: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        self.edited: Counter[str] = Counter()
        self.scorers: Counter[tuple[str, str]] = Counter()
        self.states: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)

    def add(self, shard: ShardRows) -> None:
        """Count one shard."""
        for name in shard.readers:
            self.states[name].update(shard.states(name).values())
        self._count_edits(shard)
        self._count_scorers(shard)
        sizes = text_sizes(shard)
        keys: dict[tuple[str, str], set[int]] = defaultdict(set)
        for row in shard.records:
            record = row["record"]
            self.records[row["outcome"]] += 1
            self.images.update(use.outcome for use in shard.uses[record])
            for use in shard.uses[record]:
                if use.key and (refusal := shard.use_refusal(use)) is not None:
                    self.images_refused[refusal] += 1
            if row["outcome"] != "ok":
                continue
            if (refusal := shard.document_refusal(record)) is not None:
                self.records_refused[refusal] += 1
                continue
            uses = shard.accepted[record]
            size = sizes.get(record, TextSizes())
            counted = Counter(
                documents=1,
                pairs=len(uses),
                captions=sum(bool(line.strip()) for u in uses for line in u.caption.split("\n")),
                **{n: getattr(size, n) for n in ("sentences", "tokens", "characters", "caption_tokens")},
            )
            language = shard.languages.get(record) or "unknown"
            split = self.splits.get(record) or row["split"] or "none"
            for group in (("", ""), (language, ""), ("", split), (language, split)):
                self.groups[group].update(counted)
                keys[group].update(int(u.image[:16], 16) for u in uses)
        for group, found in keys.items():
            self.keys[group].append(np.fromiter(found, np.uint64, len(found)))

    def _count_scorers(self, shard: ShardRows) -> None:
        if shard.has("relevance_scores", "scorer"):
            table = shard.table("relevance_scores", ["scorer"])
            for record, scorer in zip(table["key"].to_pylist(), table["scorer"].to_pylist(), strict=True):
                if scorer:
                    self.scorers[scorer, shard.languages.get(record) or "unknown"] += 1

    def _count_edits(self, shard: ShardRows) -> None:
        if not shard.has("sentences", "edits"):
            return
        for edits in shard.table("sentences", ["edits"])["edits"].to_pylist():
            self.edited.update({edit["rule"] for edit in edits or ()})
            for edit in edits or ():
                self.edits[edit["rule"]][edit["original"], edit["text"]] += 1

    def statistics(self) -> Statistics:
        """The counts so far."""
        manifest = self.version.manifest
        stages = []
        for entry in manifest.stages:
            states = self.states[entry.name]
            by_status: Counter[str] = Counter()
            for (status, _), count in states.items():
                by_status[status] += count
            reasons = [Reason(entry.name, s, c, n) for (s, c), n in states.items() if s != "ok" or c]
            total = sum(by_status.values())
            stages.append(
                StageCounts(
                    entry.name, entry.version, entry.rows or "", total, dict(by_status), _sorted(reasons), entry.bytes
                )
            )
        return Statistics(
            dataset=manifest.dataset,
            version=manifest.version,
            records=sum(self.records.values()),
            records_failed=_lost(self.records),
            records_refused=_refused(self.records_refused),
            referenced=sum(self.images.values()),
            images_failed=_lost(self.images),
            images_refused=_refused(self.images_refused),
            groups=tuple(self._group(*group) for group in self._order()),
            stages=tuple(stages),
            bytes=sum(s.bytes for s in manifest.stages),
            has_sentences=any(s.name == "sentences" for s in manifest.stages),
            edits=tuple(
                EditCounts(rule, found.total(), self.edited[rule], _commonest(found))
                for rule, found in sorted(self.edits.items())
            ),
            scorers=tuple(ScorerCounts(*found, count) for found, count in sorted(self.scorers.items())),
            agreement=agreement(self.version),
        )

    def _order(self) -> list[tuple[str, str]]:
        """All, languages by size, splits train first, then the crossings."""
        known = ("train", "dev", "test")
        groups = {*self.groups, ("", "")}
        rank = {s: n for n, s in enumerate(known)}

        def place(group: tuple[str, str]) -> tuple[object, ...]:
            language, split = group
            depth = 3 if language and split else 1 if language else 2 if split else 0
            size = self.groups[language, ""]["documents"] if language else 0
            return depth, -size, language, rank.get(split, len(known)), split

        return sorted(groups, key=place)

    def _group(self, language: str, split: str) -> GroupCounts:
        arrays = self.keys.get((language, split))
        images = len(np.unique(np.concatenate(arrays))) if arrays else 0
        return GroupCounts(language, split, images=images, **self.groups[language, split])


def _commonest(edits: Counter[tuple[str, str]], limit: int = 8) -> tuple[tuple[str, str, int], ...]:
    ordered = sorted(edits.items(), key=lambda item: (-item[1], item[0]))[:limit]
    return tuple((original, text, count) for (original, text), count in ordered)


def _lost(outcomes: Counter[str]) -> tuple[Reason, ...]:
    """What has no content, by the code of its outcome."""
    reasons = []
    for outcome, count in outcomes.items():
        if outcome != "ok":
            status, _, code = outcome.partition(":")
            reasons.append(Reason("fetch", status, code or status, count))
    return _sorted(reasons)


def _refused(refusals: Counter[Refusal]) -> tuple[Reason, ...]:
    return _sorted([Reason(r.stage, r.status, r.code, n) for r, n in refusals.items()])


def _sorted(reasons: list[Reason]) -> tuple[Reason, ...]:
    return tuple(sorted(reasons, key=lambda r: (-r.count, r.stage, r.code)))
