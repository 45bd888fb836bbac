"""A version counted the way its paper counts its data: ``paper:`` in the recipe says which.

Only accepted documents and pairs count. Figures of the papers are those they print; where a table is known to mean
something else than it says, a note tells.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import ClassVar

from diptych.metrics.keyphrases import is_present, stemmed
from diptych.models.gap.config import CMI_LEVELS, SC_LEVELS
from diptych.recipe import Paper, about
from diptych.records import json_object
from diptych.report.paper_table import DataTable, Figures, table_of
from diptych.report.shards import ShardRows, iter_shards
from diptych.report.tally import split_of
from diptych.version import Version

__all__ = ["paper_tables"]

SPLITS = ("train", "dev", "test")


def paper_tables(version: Version) -> tuple[DataTable, ...]:
    """The tables of the paper that the recipe names, counted on this version; none when it names none."""
    paper = about(version.manifest.recipe).paper
    if paper is None:
        return ()
    counter = _COUNTERS[paper](split_of(version))
    for shard in iter_shards(version):
        counter.add(shard)
    return tuple(counter.tables())


class _Counter(ABC):
    """Running counts; ``add`` every shard once."""

    def __init__(self, splits: Mapping[str, str]) -> None:
        self.splits = splits
        self.sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """What is counted, by split."""

    @abstractmethod
    def add(self, shard: ShardRows) -> None:
        """Count one shard."""

    @abstractmethod
    def tables(self) -> Iterator[DataTable]:
        """The tables so far."""

    def split(self, record: str, official: str) -> str:
        """The split of a record."""
        return self.splits.get(record) or official or "none"

    def mean(self, what: str, of: str, split: str) -> float | None:
        """One sum divided by another."""
        return self.sums[what][split] / self.sums[of][split] if self.sums[of][split] else None

    def means(self, what: str, of: str) -> Figures:
        """Of train, dev and test."""
        return [self.mean(what, of, split) for split in SPLITS]

    def counts(self, what: str) -> list[int]:
        """Of train, dev and test."""
        return [self.sums[what][split] for split in SPLITS]


def _values(shard: ShardRows, stage: str, column: str) -> dict[str, object]:
    """A column by row key; empty without that stage."""
    if not shard.has(stage, column):
        return {}
    table = shard.table(stage, [column])
    return dict(zip(table["key"].to_pylist(), table[column].to_pylist(), strict=True))


class _Hcscl(_Counter):
    """Table 2: lengths are in characters (953.72 / 19.52 = 48.9 "words" a sentence)."""

    paper: ClassVar[Mapping[str, Figures]] = {
        "documents": (52_656, 5_154, 5_070),
        "words (characters) a document": (953.72, 956.29, 970.21),
        "sentences a document": (19.52, 19.57, 19.86),
        "summary length (characters)": (36.66, 36.33, 36.36),
        "caption length (characters)": (25.07, 25.10, 25.10),
    }

    def add(self, shard: ShardRows) -> None:
        """Documents, and their kept pictures: the most relevant ones where the version ranks them."""
        items, kept = _values(shard, "sentences", "items"), _values(shard, "best_image", "images")
        boxes, scenes = _values(shard, "regions", "scores"), _values(shard, "scene_graph", "scene_count")
        for row in shard.records:
            record = row["record"]
            if record not in shard.accepted:
                continue
            split, document = self.split(record, row["split"]), shard.document(row)
            self.sums["documents"][split] += 1
            self.sums["characters"][split] += _characters(document.text)
            self.sums["summary"][split] += _characters(document.summary)
            sentences = items.get(record) or ()
            self.sums["sentences"][split] += sum(item["field"] == "text" for item in sentences)  # type: ignore[attr-defined]
            chosen = kept.get(record)
            uses = shard.accepted[record]
            for use in uses if chosen is None else [u for u in uses if u.image in chosen]:  # type: ignore[operator]
                self.sums["captions"][split] += bool(use.caption)
                self.sums["caption"][split] += _characters(use.caption)
                found = boxes.get(use.image)
                if found is not None:
                    self.sums["pictures"][split] += 1
                    self.sums["objects"][split] += len(found)  # type: ignore[arg-type]
                    self.sums["scenes"][split] += int(scenes.get(use.image) or 0)  # type: ignore[call-overload]

    def tables(self) -> Iterator[DataTable]:
        """Table 2."""
        ours: dict[str, Figures] = {
            "documents": self.counts("documents"),
            "words (characters) a document": self.means("characters", "documents"),
            "sentences a document": self.means("sentences", "documents"),
            "summary length (characters)": self.means("summary", "documents"),
            "caption length (characters)": self.means("caption", "captions"),
            "objects a picture": self.means("objects", "pictures"),
            "objects a document": self.means("objects", "documents"),
            "scenes a picture": self.means("scenes", "pictures"),
            "scenes a document": self.means("scenes", "documents"),
        }
        note = "the paper prints 7.25 / 7.16 / 7.32 objects and 4.74 / 4.70 / 4.80 scenes, and not of what: see both"
        yield table_of("HCSCL, Table 2", ("train", "valid", "test"), ours, self.paper, [note])


def _characters(text: str) -> int:
    return len("".join(text.split()))


class _Mkp(_Counter):
    """Table 4, counted on the post alone, and Table 3 of the matching set."""

    paper: ClassVar[Mapping[str, Figures]] = {
        "posts": (42_959, 5_370, 5_372),
        "length of a post": (27.26, 26.81, 27.05),
        "keyphrases a post": (1.33, 1.34, 1.32),
        "different keyphrases": (4_261, 2_544, 2_534),
        "length of a keyphrase": (1.85, 1.85, 1.86),
        "% present": (37.14, 36.01, 37.45),
    }

    def __init__(self, splits: Mapping[str, str]) -> None:
        super().__init__(splits)
        self.phrases: defaultdict[str, set[str]] = defaultdict(set)
        self.relations: Counter[str] = Counter()

    def add(self, shard: ShardRows) -> None:
        """Documents with keyphrases are posts; those that say ``image_adds`` belong to the matching set."""
        for row in shard.records:
            record = row["record"]
            if record not in shard.accepted:
                continue
            document = shard.document(row)
            extra = json_object(document.extra)
            relation = _RELATIONS.get(f"{extra.get('image_adds')} {extra.get('text_is_represented')}")
            self.relations.update([relation] if relation else [])
            if not document.keyphrases:
                continue
            split, words = self.split(record, row["split"]), document.text.split()
            post = stemmed(document.text)
            phrases = [" ".join(phrase.lower().split()) for phrase in document.keyphrases]
            self.sums["posts"][split] += 1
            self.sums["words"][split] += len(words)
            self.sums["phrases"][split] += len(phrases)
            self.sums["phrase words"][split] += sum(len(phrase.split()) for phrase in phrases)
            self.sums["present"][split] += sum(is_present(stemmed(phrase), post) for phrase in phrases)
            self.phrases[split].update(phrases)

    def tables(self) -> Iterator[DataTable]:
        """Tables 4 and 3."""
        present = [None if share is None else 100 * share for share in self.means("present", "phrases")]
        ours: dict[str, Figures] = {
            "posts": self.counts("posts"),
            "length of a post": self.means("words", "posts"),
            "keyphrases a post": self.means("phrases", "posts"),
            "different keyphrases": [len(self.phrases[split]) for split in SPLITS],
            "length of a keyphrase": self.means("phrase words", "phrases"),
            "% present": present,
            "% absent": [None if share is None else 100 - share for share in present],
        }
        note = 'the paper prints this under "% of abs.KP"; measured on the released files it is the present share'
        yield table_of("MM-MKP, Table 4", ("train", "valid", "test"), ours, self.paper, [note])
        if total := self.relations.total():
            shares = [100 * self.relations[name] / total for name in _RELATION_NAMES]
            paper = {"% of the posts": (18.5, 25.6, 21.9, 33.9)}
            yield table_of(
                "MM-MKP, Table 3 (TRC)", _RELATION_NAMES,
                {"posts": [self.relations[name] for name in _RELATION_NAMES], "% of the posts": shares}, paper,
            )  # fmt: skip


_RELATION_NAMES = ("R1 adds, represented", "R2 adds", "R3 represented", "R4 neither")
_RELATIONS: Mapping[str, str] = dict(zip(("1 1", "1 0", "0 1", "0 0"), _RELATION_NAMES, strict=True))


class _InformationGap(_Counter):
    """Tables 1 and 2, and what sections 4.3 and 4.4 say of the sources."""

    paper: ClassVar[Mapping[str, tuple[int, ...]]] = {"cmi": (44, 157, 466, 52, 107), "sc": (7, 31, 109, 138, 541)}
    sources: ClassVar[Mapping[str, Figures]] = {
        "captions": (202_654, None, None),
        "labelled_captions": (None, 100, 1.0),
        "news": (3_361, 205, 0.15),
        "wiki": (2_999, 556, 0.88),
    }

    def __init__(self, splits: Mapping[str, str]) -> None:
        super().__init__(splits)
        self.levels: defaultdict[str, Counter[float]] = defaultdict(Counter)

    def add(self, shard: ShardRows) -> None:
        """Accepted pairs with a label; ``sums`` are by subset here."""
        found = {kind: _values(shard, "pair_votes", kind) for kind in ("cmi", "sc")}
        subsets = {row["record"]: row["subset"] for row in shard.records}
        for record, uses in shard.accepted.items():
            for use in uses:
                self.sums["pairs"][subsets[record]] += 1
                cmi, sc = (found[kind].get(use.key) for kind in ("cmi", "sc"))
                for kind, level in (("cmi", cmi), ("sc", sc)):
                    if isinstance(level, float):
                        self.levels[kind][level] += 1
                if isinstance(sc, float):
                    self.sums["labelled"][subsets[record]] += 1
                    self.sums["sc"][subsets[record]] += sc  # type: ignore[assignment]  # a sum of halves

    def tables(self) -> Iterator[DataTable]:
        """Tables 1 and 2, then the sources."""
        for number, (kind, levels) in enumerate((("cmi", CMI_LEVELS), ("sc", SC_LEVELS)), 1):
            ours = {"samples": [self.levels[kind][level] for level in levels]}
            columns = [f"{level:g}" for level in levels]
            title = f"Information gap, Table {number}: {kind.upper()}"
            yield table_of(title, columns, ours, {"samples": self.paper[kind]})
        subsets = [
            *(s for s in self.sources if s in self.sums["pairs"]),
            *sorted({*self.sums["pairs"]} - {*self.sources}),
        ]
        rows: dict[str, Figures] = {
            s: (self.sums["pairs"][s], self.sums["labelled"][s], self.mean("sc", "labelled", s)) for s in subsets
        }
        notes = ["pairs: 5.1; labels: 4.4, before invalid ones left (826 of 861 remain); one annotator, no agreement"]
        known = {s: self.sources[s] for s in subsets if s in self.sources}
        yield table_of("Information gap, sections 4.3 to 5.1", ("pairs", "labelled", "mean SC"), rows, known, notes)


class _Ccd(_Counter):
    """Table II."""

    paper: ClassVar[Mapping[str, Figures]] = {
        "explicit": (5_779, 542, 558, 6_879),
        "implicit": (1_070, 110, 106, 1_286),
        "irrelevant": (3_445, 323, 319, 4_087),
        "all": (10_294, 975, 983, 12_252),
    }

    def add(self, shard: ShardRows) -> None:
        """Accepted pairs by the class of their majority."""
        relations, results = _values(shard, "pair_votes", "relation"), _values(shard, "pair_votes", "results")
        official = {row["record"]: row["split"] for row in shard.records}
        for record, uses in shard.accepted.items():
            split = self.split(record, official[record])
            for use in uses:
                relation = relations.get(use.key)
                if isinstance(relation, str):
                    self.sums[relation][split] += 1
                    self.sums["all"][split] += 1
                elif any(r["kind"] == "relation" for r in results.get(use.key) or ()):  # type: ignore[attr-defined]
                    self.sums["no majority"][split] += 1

    def tables(self) -> Iterator[DataTable]:
        """Table II."""
        ours = {name: [*(n := self.counts(name)), sum(n)] for name in (*self.paper, "no majority")}
        notes = ["no majority: three annotators, three answers; such a pair has no label"]
        yield table_of("AnANet, Table II (CCD)", ("train", "dev", "test", "all"), ours, self.paper, notes)


class _Captions(_Counter):
    """Sizes of a caption set (HM-LSTM, section 5)."""

    name = ""
    printed: Figures = ()

    def add(self, shard: ShardRows) -> None:
        """Pictures with their captions, one a line; boxes and phrases that the source brings."""
        official = {row["record"]: row["split"] for row in shard.records}
        for record, uses in shard.accepted.items():
            split = self.split(record, official[record])
            for use in uses:
                captions = [line for line in use.caption.split("\n") if line.strip()]
                self.sums["pictures"][split] += 1
                self.sums["captions"][split] += len(captions)
                self.sums["words"][split] += sum(len(line.split()) for line in captions)
                extra = json_object(use.extra)
                boxes, phrases = (
                    value if isinstance(value := extra.get(n), list) else [] for n in ("boxes", "phrases")
                )
                self.sums["boxes"][split] += len(boxes)
                self.sums["phrases"][split] += len({str(t) for some in phrases if isinstance(some, list) for t in some})

    def tables(self) -> Iterator[DataTable]:
        """Pictures, captions, and what is annotated."""

        def counted(name: str) -> list[int]:
            return [*(n := self.counts(name)), sum(n)]

        totals = {name: counted(name) for name in ("pictures", "captions", "words", "boxes", "phrases")}
        per = {
            label: [a / b if b else None for a, b in zip(totals[what], totals[of], strict=True)]
            for label, what, of in (
                ("captions a picture", "captions", "pictures"), ("words a caption", "words", "captions")
            )
        }  # fmt: skip
        ours: dict[str, Figures] = {"pictures": totals["pictures"], "captions": totals["captions"], **per}
        ours |= {f"annotated {name}": totals[name] for name in ("boxes", "phrases") if totals[name][-1]}
        paper: dict[str, Figures] = {"pictures": self.printed, "captions a picture": (5, 5, 5, 5)}
        yield table_of(f"{self.name} (HM-LSTM, section 5)", ("train", "dev", "test", "all"), ours, paper)


class _Flickr8k(_Captions):
    name, printed = "Flickr8K", (6_000, 1_000, 1_000, 8_000)


class _Flickr30k(_Captions):
    name, printed = "Flickr30K", (29_000, 1_000, 1_000, 31_000)


class _Coco(_Captions):
    name, printed = "MS-COCO", (113_000, 5_000, 5_000, 123_000)


_COUNTERS: Mapping[Paper, type[_Counter]] = {
    "hcscl": _Hcscl, "mkp": _Mkp, "information_gap": _InformationGap, "ccd": _Ccd,
    "flickr8k": _Flickr8k, "flickr30k": _Flickr30k, "coco": _Coco,
}  # fmt: skip
