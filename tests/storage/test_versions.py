"""verify, diff, compact, reshard, and what a small change costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from toy_dataset import KEY, SCHEMA, STAGE, TENSORS, Toy, hash_of

from diptych.naming import record_id, shard_of
from diptych.stage import Output, Tensor
from diptych.storage.compact import compact, needs_compaction
from diptych.storage.diff import diff
from diptych.storage.log import CommitEntry, new_commit_id, now
from diptych.storage.manifest import Manifest, successor
from diptych.storage.parts import PartReader, make_part, write_chunk
from diptych.storage.segments import SegmentWriter
from diptych.storage.verify import verify

RECORDS = {f"r{i}": f"some content number {i}" for i in range(60)} | {"x": "bad one", "y": "err one"}
DIGESTS = ("input_digest", "exact_digest", "floats_digest")


def digests(manifest: Manifest) -> list[str]:
    return [getattr(manifest, name) for name in DIGESTS]


def test_verify_finds_nothing_in_a_good_version(toy: Toy) -> None:
    toy.commit(RECORDS)
    toy.commit(RECORDS | {"r1": "edited"})
    report = verify(toy.store)
    assert report.ok and not report.notes
    assert report.rows == 62 and report.blobs == 2 * 62 and report.files > 20 and report.bytes > 10_000


@pytest.mark.parametrize("name", ["grid.npy", "boxes.npy"])
def test_verify_names_file_and_row_of_a_flipped_byte(toy: Toy, name: str) -> None:
    toy.commit(RECORDS)
    part = next(p for p in toy.store.parts(toy.store.log.manifest().stage(STAGE)) if p.counts.ok > 3)
    ref = part.segments[0]
    file = toy.store.home.local(f"{ref.path}/{name}")
    data = bytearray(file.read_bytes())
    header = 128
    width = {"grid.npy": 12, "boxes.npy": 16 * 4}[name]  # each of these rows has four words
    data[header + 2 * width] ^= 1
    file.write_bytes(data)
    ok = [r for r in PartReader(toy.store, part).rows.to_pylist() if r["status"] == "ok"]
    report = verify(toy.store)
    assert {p.kind for p in report.problems} == {"damaged", "digest"}
    assert [p.file for p in report.problems if p.kind == "damaged"] == [f"{ref.path}/{name}"]
    [problem] = [p for p in report.problems if p.row]
    assert problem.row == ok[2]["key"] and problem.file == ref.path and "floats of the row" in problem.text


def test_verify_finds_a_changed_value_whose_file_hash_was_forged(toy: Toy) -> None:
    """Somebody rewrote a segment's values and all the hashes but not the digests: the values say so."""
    written = toy.write(0, {"a": "one", "b": "two"}, "b")
    other = toy.write(0, {"a": "one", "b": "owt"}, "b")
    rows = other.rows.set_column(6, "exact", written.rows["exact"])
    manifest, after = toy.plan({}, "c")
    part = make_part(toy.store, 0, rows, [other.ref])
    parts = [part, *list(toy.store.parts(manifest.stage(STAGE)))[1:]]
    chunks = (write_chunk(toy.store, parts[:1]), *manifest.stage(STAGE).chunks[1:])
    stage = manifest.stage(STAGE).model_copy(update={"chunks": chunks})
    toy.store.log.append(CommitEntry(manifest=manifest.model_copy(update={"stages": (stage,)})), after=after)
    report = verify(toy.store)
    assert [(p.row, p.file) for p in report.problems if p.row] == [("b", other.ref.path)]
    assert any(p.kind == "count" and "manifest, stage toy" in p.file for p in report.problems)


def test_verify_names_what_is_missing(toy: Toy) -> None:
    manifest = toy.commit(RECORDS)
    parts = list(toy.store.parts(manifest.stage(STAGE)))
    gone = [
        f"{parts[0].segments[0].path}/grid.npy",
        f"lists/{parts[1].rows}.parquet",
        f"lists/{manifest.fits[0].result}.parquet",
    ]
    gone += [next(path for path, _ in toy.store.home.walk("raw/blobs"))]
    for path in gone:
        toy.store.home.delete(path)
    blob = next(path for path, _ in toy.store.home.walk("raw/blobs"))
    toy.store.home.local(blob).write_bytes(b"other")
    report = verify(toy.store)
    named = {p.file for p in report.problems}
    assert set(gone) <= named and blob in named
    assert blob not in {p.file for p in verify(toy.store, blobs=False).problems}
    toy.store.home.delete(f"snapshots/{manifest.snapshot}.parquet")
    assert f"snapshots/{manifest.snapshot}.parquet" in {p.file for p in verify(toy.store).problems}


def test_verify_says_when_equal_inputs_gave_unequal_content(toy: Toy) -> None:
    toy.commit({"a": "one", "b": "two"})
    manifest, after = toy.plan({"a": "one", "b": "two"})
    shard = shard_of(record_id("toy", "a"), toy.shards)
    key = record_id("toy", "a")
    writer = toy.writer(shard, "again")
    output = Output((key,), SCHEMA, TENSORS)
    output.set(
        0,
        label="not the same",
        length=3,
        words=[],
        grid=np.zeros((2, 3), np.float16),
        boxes=np.zeros((0, 4), np.float32),
    )
    writer.append(output, [hash_of("one")])
    written = writer.close()
    old = list(toy.store.parts(manifest.stage(STAGE)))
    rows = [r for r in PartReader(toy.store, old[shard]).rows["key"].to_pylist()]
    assert rows == [key], "the two records lie in different shards"
    parts = [make_part(toy.store, shard, written.rows, [written.ref]) if p.shard == shard else p for p in old]
    stage = manifest.stage(STAGE).model_copy(update={"chunks": tuple(write_chunk(toy.store, [p]) for p in parts)})
    toy.store.log.append(CommitEntry(manifest=manifest.model_copy(update={"stages": (stage,)})), after=after)
    problems = [p for p in verify(toy.store).problems if p.kind == "unequal"]
    assert [(p.row, p.file) for p in problems] == [(key, written.ref.path)]
    assert "same machine and packages" in problems[0].text


def test_diff(toy: Toy) -> None:
    toy.commit(RECORDS)
    changed = {k: v for k, v in RECORDS.items() if k != "r0"} | {"r1": "edited", "new": "hello", "y": "works now"}
    toy.commit(changed)
    found = diff(toy.store, 1, 2)
    [stage] = found.stages
    ids = {name: record_id("toy", name) for name in (*RECORDS, "new")}
    assert stage.added == (ids["new"],) and stage.removed == (ids["r0"],)
    assert (
        set(stage.changed) == {ids["r1"], ids["y"]} and stage.same == 59 and not stage.floats and not stage.key_changed
    )
    assert found.records.added == (ids["new"],) and found.records.removed == (ids["r0"],)
    assert set(found.records.changed) == {ids["r1"], ids["y"]} and found.records.same == 59
    assert "words" in found.fits and not found.equal
    back = diff(toy.store, "latest", 1)
    assert back.stages[0].added == stage.removed and back.stages[0].same == stage.same
    same = diff(toy.store, 2, 2)
    assert same.equal and same.stages[0].same == same.records.same == 62


def test_diff_over_another_number_of_shards(toy: Toy) -> None:
    toy.commit(RECORDS)
    toy.shards = 8
    toy.commit(RECORDS | {"r1": "edited"})
    [stage] = diff(toy.store, 1, 2).stages
    assert stage.changed == (record_id("toy", "r1"),) and stage.same == 61


def test_compaction_keeps_rows_and_digests(toy: Toy) -> None:
    toy.shards = 2
    records = dict(RECORDS)
    for n in range(10):
        records |= {f"r{i}": f"edit {n} of {i}" for i in range(5 * n, 5 * n + 5)}
        last = toy.commit(records, build=f"b{n}")
    parts = list(toy.store.parts(last.stage(STAGE)))
    assert any(len(p.segments) > 8 for p in parts) and any(p.dead for p in parts)
    report = compact(toy.store, last, "compacting")
    assert report.merged and report.bytes_after < report.bytes_before
    [stage] = report.stages
    after = toy.store.log.head()
    number = toy.store.log.next_version(after)
    manifest = successor(last, version=number, commit_id=new_commit_id(), created_at=now(), stages=report.stages)
    toy.store.log.append(CommitEntry(manifest=manifest), after=after)
    assert digests(manifest) == digests(last)
    new = list(toy.store.parts(stage))
    assert not any(needs_compaction(p) for p in new)
    for a, b in zip(parts, new, strict=True):
        one, two = PartReader(toy.store, a), PartReader(toy.store, b)
        assert one.table(with_state=True).equals(two.table(with_state=True))
        assert [None if t is None else t.tolist() for t in one.tensor("boxes")] == [
            None if t is None else t.tolist() for t in two.tensor("boxes")
        ]
    assert verify(toy.store).ok and diff(toy.store, last.version, manifest.version).equal
    assert compact(toy.store, manifest, "again").stages == report.stages, "nothing left to merge"


def test_one_percent_of_change_writes_about_one_percent(tmp_path: Path) -> None:
    """32 shards of 50 rows with a 4 KiB tensor each; 16 of 1,600 rows change."""
    toy = Toy(tmp_path)
    spec, schema = {"feature": Tensor("float16", (2048,))}, pa.schema([("n", pa.int64())])
    random = np.random.default_rng(0)

    def segment(shard: int, keys: list[str], build: str) -> tuple[pa.Table, tuple]:
        writer = SegmentWriter(
            toy.store,
            stage="f",
            stage_key=KEY,
            shard=shard,
            shards=32,
            build=build,
            schema=schema,
            tensors=spec,
            meta={},
        )
        output = Output(tuple(keys), schema, spec)
        for i in range(len(keys)):
            output.set(i, n=i, feature=random.normal(size=2048).astype(np.float16))
        writer.append(output, [hash_of(k + build) for k in keys])
        written = writer.close()
        return written.rows, (written.ref,)

    from diptych.storage.parts import assemble

    keys = {s: [f"{s}-{i}" for i in range(50)] for s in range(32)}
    parts = [make_part(toy.store, s, *assemble(k, [segment(s, k, "b1")])) for s, k in keys.items()]
    size = sum(n for _, n in toy.store.home.walk(""))
    for s in range(16):
        change = segment(s, [f"{s}-3"], "b2")
        parts[s] = make_part(
            toy.store, s, *assemble(keys[s], [(toy.store.lists.get(parts[s].rows), parts[s].segments), change])
        )
    written = sum(n for _, n in toy.store.home.walk("")) - size
    assert 0.01 <= written / size < 0.035, f"{written:,} of {size:,} bytes"
