"""Counts equal naive counts, add up, and survive empty versions."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from small_version import Record, SmallVersion, Used, picture, sentences_of, story, usual

from diptych.records import Document
from diptych.report import statistics
from diptych.report.leaks import split_proof
from diptych.report.paper_data import _COUNTERS


def test_counts_equal_naive_counts(small: SmallVersion) -> None:
    found = statistics(small.version)
    documents = [r for r in small.records.values() if r.document is not None and not r.rule]
    accepted = [(r, u) for r in documents for u in r.images if u.data is not None and not u.rule]
    assert found.all.documents == len(documents)
    assert found.all.pairs == len(accepted)
    assert found.all.images == len({u.data for _, u in accepted})
    assert found.all.captions == sum(bool(u.caption) for _, u in accepted)
    assert found.all.caption_tokens == sum(len(u.caption.split()) for _, u in accepted)
    texts = [s for r in documents for f in ("title", "text", "summary") for s in sentences_of(getattr(r.document, f))]
    assert found.all.sentences == len(texts)
    assert found.all.tokens == sum(len(s.split()) for s in texts)
    assert found.all.characters == sum(map(len, texts))
    languages = Counter(r.document.language for r in documents if r.document)
    assert {g.language: g.documents for g in found.by("language")} == dict(languages)
    splits = Counter(r.split for r in documents)
    assert {g.split: g.documents for g in found.by("split")} == dict(splits)


def test_nothing_is_lost_between_the_steps(small: SmallVersion) -> None:
    found = statistics(small.version)
    assert found.records == len(small.records)
    lost = sum(r.count for r in (*found.records_failed, *found.records_refused))
    assert found.records - lost == found.all.documents
    lost = sum(r.count for r in (*found.images_failed, *found.images_refused))
    assert found.referenced - lost == found.all.pairs
    assert found.fetched == sum(u.data is not None for r in small.records.values() for u in r.images)
    reasons = {(r.stage, r.code): r.count for r in (*found.images_failed, *found.images_refused)}
    assert reasons == {
        ("fetch", "http_500"): 1,
        ("fetch", "gone"): 1,
        ("clean", "thumbnail"): 1,
        ("clean_pairs", "advertisement"): 1,
        ("clean_text", "short_text"): 1,
    }


def test_stage_rows_by_status_are_those_of_the_manifest(small: SmallVersion) -> None:
    for counted, entry in zip(statistics(small.version).stages, small.version.manifest.stages, strict=True):
        assert counted.by_status == {k: v for k, v in entry.counts.as_dict().items() if v}
        assert sum(r.count for r in counted.reasons) == entry.counts.total - entry.counts.ok


def test_as_json_and_as_text(small: SmallVersion) -> None:
    found = statistics(small.version)
    assert json.loads(json.dumps(dataclasses.asdict(found)))["groups"][0]["documents"] == found.all.documents
    text = str(found)
    assert "small@1" in text and "clean: thumbnail" in text and "accepted pairs" in text


def test_the_number_of_shards_changes_no_count(tmp_path: Path) -> None:
    found = []
    for shards in (1, 8):
        counted = statistics(SmallVersion(tmp_path / str(shards), usual(), shards=shards).version)
        found.append((counted.groups, counted.images_refused, counted.records_failed))
    assert found[0] == found[1]


def test_without_records_without_stages_and_without_images(tmp_path: Path) -> None:
    empty = statistics(SmallVersion(tmp_path / "a", []).version)
    assert (empty.records, empty.referenced, empty.all.documents) == (0, 0, 0)
    bare = statistics(SmallVersion(tmp_path / "b", [Record("r", story(1), [Used(picture(1))])], (), fits=False).version)
    assert (bare.all.documents, bare.all.pairs, bare.has_sentences) == (1, 1, False)
    assert bare.all.characters == len("Title 1.") + len("One two three. Four five.") + len("A summary.")
    text = statistics(SmallVersion(tmp_path / "c", [Record("r", story(1))]).version)
    assert (text.all.documents, text.all.pairs, text.all.per_document("pairs")) == (1, 0, 0)
    assert all(str(s) for s in (empty, bare, text))


def test_a_caption_of_several_lines_counts_as_several(tmp_path: Path) -> None:
    record = Record("r", story(1), [Used(picture(1), "One cat.\nTwo cats.\n")])
    assert statistics(SmallVersion(tmp_path, [record]).version).all.captions == 2


def test_the_proof_finds_what_crosses(tmp_path: Path) -> None:
    shared = picture(7)
    apart = [Record("a", story(1), [Used(shared)], split="train"), Record("b", story(2), [Used(shared)], split="test")]
    proof = split_proof(SmallVersion(tmp_path / "a", apart).version)
    assert proof is not None and not proof.holds
    assert (proof.crossing, proof.picture_crossing, proof.shared_pictures) == (0, 1, 1)
    joined = [dataclasses.replace(r, group="g") for r in apart]
    proof = split_proof(SmallVersion(tmp_path / "b", joined).version)
    assert proof is not None and (proof.crossing, proof.joined, proof.largest) == (1, 1, 2)
    assert proof.crossings[0].splits == ("test", "train")
    same = [dataclasses.replace(r, split="dev") for r in joined]
    proof = split_proof(SmallVersion(tmp_path / "c", same).version)
    assert proof is not None and proof.holds and proof.shared_pictures == 1
    assert split_proof(SmallVersion(tmp_path / "d", same, fits=False).version) is None


def test_odd_labels_of_a_source_count_as_none() -> None:
    use = SimpleNamespace(caption="a dog\n", extra='{"boxes": 7, "phrases": ["dog", ["a", ["b"]]]}')
    document = Document(keyphrases=("dog",), extra='{"image_adds": "perhaps", "text_is_represented": [1]}')
    shard: Any = SimpleNamespace(
        records=[{"record": "r", "split": "train"}], accepted={"r": [use]}, document=lambda row: document
    )
    captions, posts = (_COUNTERS[paper]({}) for paper in ("coco", "mkp"))
    for counter in (captions, posts):
        counter.add(shard)
    assert [captions.sums[n]["train"] for n in ("boxes", "phrases")] == [0, 2]
    assert posts.sums["posts"]["train"] == 1 and "Table 3" not in str([table.title for table in posts.tables()])
