"""One record as the page shows it: its text, its pictures with what is drawn on them, and every stored row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from diptych.exceptions import NotFound
from diptych.naming import sentence_key
from diptych.report.shapes import Layer, annotated_layer, edges_of, stage_layers
from diptych.report.shards import Refusal, ShardRows, Use
from diptych.report.thumbnails import Thumbnail, Thumbnails
from diptych.report.values import cut, safe_link, value_text
from diptych.storage.manifest import StageEntry

__all__ = ["Card", "CardMaker", "Figure", "Norm", "Row", "label_of"]

MAX_FIGURES, MAX_SENTENCES, MAX_ROWS = 12, 60, 400


@dataclass(frozen=True)
class Norm:
    """The mean length of a tensor's vectors for one row."""

    name: str
    shape: str
    value: float


@dataclass(frozen=True)
class Row:
    """One row of one stage; ``fields`` are names and values as text."""

    stage: str
    version: int
    kind: str
    key: str
    status: str
    code: str
    text: str
    value: float | None
    threshold: float | None
    segment: str
    weights: str
    fields: tuple[tuple[str, str], ...]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Figure:
    """One use of a picture; ``refusal`` is None when the pair is accepted."""

    url: str
    link: str | None
    caption: str
    alt: str
    image: str
    outcome: str
    refusal: Refusal | None
    why: Row | None
    thumbnail: Thumbnail | None
    layers: tuple[Layer, ...]
    norms: tuple[Norm, ...]


@dataclass(frozen=True)
class Card:
    """A record; ``statuses`` and ``rules`` are what the filters compare with."""

    record: str
    shard: int
    title: str
    source: str
    subset: str
    url: str
    link: str | None
    language: str
    split: str
    outcome: str
    refusal: Refusal | None
    summary: str
    paragraphs: tuple[tuple[str, ...], ...]
    """Sentences of the text by paragraph; the stored lines when there is no sentences stage."""
    repeats: bool
    """Whether the text is the captions once more (COCO)."""
    left_out: int
    keyphrases: tuple[str, ...]
    figures: tuple[Figure, ...]
    more_figures: int
    norms: tuple[Norm, ...]
    own: tuple[tuple[str, str], ...]
    """The record's own columns: snapshot, extra, fits."""
    rows: tuple[Row, ...]
    more_rows: int
    statuses: tuple[str, ...]
    rules: tuple[str, ...]


def label_of(stage: str, code: str, status: str) -> str:
    """How a rule is called in filters: ``clean: thumbnail``."""
    return f"{stage}: {code or status}"


class CardMaker:
    """Makes cards of one shard; reads each stage's table once."""

    def __init__(self, shard: ShardRows, splits: Mapping[str, str], thumbnails: Thumbnails) -> None:
        self.shard, self.splits, self.thumbnails = shard, splits, thumbnails
        self.manifest = shard.version.manifest
        self.by_record = {row["record"]: row for row in shard.records}
        self._positions = {name: reader.index for name, reader in shard.readers.items()}
        self._tensors: dict[tuple[str, str], list[np.ndarray | None]] = {}
        self._tables: dict[str, pa.Table] = {}

    def rows(self, entry: StageEntry, keys: Sequence[str]) -> list[Row]:
        """The stored rows of these keys, those that the stage has."""
        index, reader = self._positions[entry.name], self.shard.readers[entry.name]
        places = [index[k] for k in dict.fromkeys(keys) if k in index]
        if not places:
            return []
        if entry.name not in self._tables:
            self._tables[entry.name] = self.shard.table(entry.name)
        found = []
        segments = reader.rows["segment"].take(pa.array(places)).to_pylist()
        weights = ", ".join(w.name + (" (random)" if w.random else "") for w in entry.weights)
        for place, segment, raw in zip(
            places, segments, self._tables[entry.name].take(places).to_pylist(), strict=True
        ):
            values = {n: raw[n] for n in reader.schema.names}
            for name in reader.tensors:
                values[name] = self._tensor(entry.name, name)[place]
            fields = tuple((n, value_text(v)) for n, v in values.items() if v is not None)
            state = (raw["key"], raw["status"], raw["code"] or "", raw["error"] or "", raw["value"], raw["threshold"])
            path = reader.segments[segment].ref.path
            kind = entry.rows or "document"
            found.append(Row(entry.name, entry.version, kind, *state, path, weights, fields, values))
        return found

    def _tensor(self, stage: str, name: str) -> list[np.ndarray | None]:
        if (stage, name) not in self._tensors:
            self._tensors[stage, name] = self.shard.readers[stage].tensor(name)
        return self._tensors[stage, name]

    def card(self, record: str) -> Card:
        """The card of one record."""
        snapshot = self.by_record[record]
        document = self.shard.document(snapshot)
        uses = self.shard.uses[record]
        keys = {
            "document": [record],
            "image": [u.image for u in uses if u.image],
            "pair": [u.key for u in uses if u.key],
        }
        rows: list[Row] = []
        sentences: list[Mapping[str, Any]] = []
        for entry in self.manifest.stages:
            kind = entry.rows or "document"
            found = self.rows(entry, keys.get(kind, ()))
            if entry.name == "sentences" and found:
                sentences = list(found[0].values.get("items") or ())
                keys["sentence"] = [sentence_key(s["text"]) for s in sentences]
            rows += found
        figures = tuple(self._figure(use, rows) for use in uses[:MAX_FIGURES])
        captions = {u.caption for u in uses}
        paragraphs, left_out = _paragraphs(sentences, document.text)
        losses = [u.outcome for u in uses if u.outcome != "ok"]
        page = snapshot["outcome"]
        rules = {label_of(r.stage, r.code, r.status) for r in rows if r.status not in ("ok", "skipped")}
        rules |= {f"fetch: {o.partition(':')[2] or o}" for o in [*losses, page] if o != "ok"}
        statuses = (
            {r.status for r in rows} | {"not fetched" for _ in losses} | ({"not fetched"} if page != "ok" else set())
        )
        refusal = self.shard.document_refusal(record) if page == "ok" else None
        if page == "ok" and refusal is None:
            statuses.add("accepted")
        return Card(
            record=record,
            shard=self.shard.shard,
            title=cut(document.title or _name(snapshot["url"]) or snapshot["source_id"] or record, 300),
            source=snapshot["source"],
            subset=snapshot["subset"],
            url=cut(snapshot["url"], 500),
            link=safe_link(snapshot["url"]),
            language=self.shard.languages.get(record) or ("unknown" if page == "ok" else ""),
            split=self.splits.get(record) or snapshot["split"] or "none",
            outcome=page,
            refusal=refusal,
            summary=cut(document.summary, 1500),
            paragraphs=paragraphs,
            repeats=len(captions) == 1 and document.text in captions,
            left_out=left_out,
            keyphrases=tuple(cut(phrase, 100) for phrase in document.keyphrases[:30]),
            figures=figures,
            more_figures=max(0, len(uses) - MAX_FIGURES),
            norms=_norms([r for r in rows if r.key == record]),
            own=self._own(snapshot, document.extra, uses),
            rows=tuple(rows[:MAX_ROWS]),
            more_rows=max(0, len(rows) - MAX_ROWS),
            statuses=tuple(sorted(statuses)),
            rules=tuple(sorted(rules)),
        )

    def _figure(self, use: Use, rows: Sequence[Row]) -> Figure:
        own = [r for r in rows if r.key and r.key in (use.image, use.key)]
        refusal = self.shard.use_refusal(use) if use.key else None
        keys = (use.image, use.key, use.record)
        why = next((r for r in rows if refusal and r.stage == refusal.stage and r.key in keys), None)
        return Figure(
            url=cut(use.url, 500),
            link=safe_link(use.url),
            caption=cut(use.caption, 3000),
            alt=cut(use.alt, 500),
            image=use.image,
            outcome=use.outcome,
            refusal=refusal,
            why=why,
            thumbnail=self.picture(use.image),
            layers=self._layers(use, own),
            norms=_norms(own),
        )

    def picture(self, image: str, side: int | None = None) -> Thumbnail | None:
        """A thumbnail; None without bytes (a copy without ``raw/``) or when they are no picture."""
        if not image:
            return None
        try:
            return self.thumbnails.make(self.shard.version.store.blobs.get(image), side)
        except NotFound:
            return None

    def _layers(self, use: Use, rows: Sequence[Row]) -> tuple[Layer, ...]:
        annotated = annotated_layer(use.extra)
        layers = [annotated] if annotated else []
        by_stage = {r.stage: stage_layers(r.stage, r.values) for r in rows if r.status == "ok"}
        for row in rows:
            if row.status == "ok":
                reads = self.manifest.stage(row.stage).reads
                boxes = next((by_stage[s][0] for s in (row.stage, *reads) if by_stage.get(s)), None)
                edges = edges_of(row.values, boxes.shapes) if boxes else ()
                layers += by_stage[row.stage]
                if boxes and edges:
                    layers.append(Layer(f"{row.stage} edges", (), edges))
        return tuple(layers)

    def _own(self, snapshot: Mapping[str, Any], extra: str, uses: Sequence[Use]) -> tuple[tuple[str, str], ...]:
        names = ("record", "source", "subset", "source_id", "url", "content", "outcome", "split")
        own = [(n, cut(str(snapshot[n]), 3000)) for n in names if snapshot[n]]
        if extra:
            own.append(("extra", value_text(extra)))
        for use in uses:
            if use.extra:
                own.append((f"images[{use.position}].extra", value_text(use.extra)))
        wanted = pa.array([snapshot["record"], *(u.key for u in uses if u.key)], pa.string())
        for fit in self.manifest.fits:
            if fit.keyed:
                table = self.fit_table(fit.result)
                for row in table.filter(pc.is_in(table["key"], value_set=wanted)).to_pylist():
                    key = row.pop("key")
                    own.append(
                        (f"{fit.name} [{key[-16:]}]", value_text({k: v for k, v in row.items() if v is not None}))
                    )
        return tuple(own)

    def fit_table(self, name: str) -> pa.Table:
        """A fit's result, read once."""
        if name not in self._tables:
            self._tables[name] = self.shard.version.store.lists.get(name)
        return self._tables[name]


def _name(url: str) -> str:
    """The last part of an address, which stands for a title that is missing."""
    return url.partition("?")[0].rstrip("/").rsplit("/", 1)[-1].removeprefix("file:")


def _norms(rows: Sequence[Row]) -> tuple[Norm, ...]:
    norms = []
    for row in rows:
        for name, value in row.values.items():
            if isinstance(value, np.ndarray) and value.ndim and value.size and not name.startswith("box"):
                mean = float(np.linalg.norm(value.astype(np.float32), axis=-1).mean())
                norms.append(Norm(f"{row.stage}.{name}", "×".join(map(str, value.shape)), mean))
    return tuple(norms)


def _paragraphs(sentences: Sequence[Mapping[str, Any]], text: str) -> tuple[tuple[tuple[str, ...], ...], int]:
    """Sentences of the text by paragraph, and how many were left out."""
    found: dict[int, list[str]] = {}
    body = [s for s in sentences if s["field"] == "text"]
    if body:
        for item in body[:MAX_SENTENCES]:
            found.setdefault(item["paragraph"], []).append(cut(item["text"], 2000))
        return tuple(tuple(p) for p in found.values()), max(0, len(body) - MAX_SENTENCES)
    lines = [line for line in text.splitlines() if line.strip()]
    return tuple((cut(line, 2000),) for line in lines[:MAX_SENTENCES]), max(0, len(lines) - MAX_SENTENCES)
