"""The reader against what the engine hands a stage, and against plain loops over the version's tables."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import world

import diptych
from diptych.engine.graph import READABLE
from diptych.engine.graph import TABLES as ENGINE_TABLES
from diptych.exceptions import Corrupt, NotFound, RecipeError, UsageError
from diptych.naming import sentence_key, split_pair_key
from diptych.storage import reader_fields
from diptych.storage.reader import Records
from diptych.version import Version

KINDS = sorted(world.COLLECTORS)
RANK = ("test", "dev", "train")


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b) and np.asarray(a).dtype == np.asarray(b).dtype
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def rows_of(version: Version, stage: str) -> list[dict[str, Any]]:
    return version.table(stage).to_pylist()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_values_are_those_a_stage_is_handed(made: Any, kind: Any) -> None:
    stage = world.COLLECTORS[kind]
    version = made[0]
    handed = {key: values for (name, key), values in made[1].items() if name == stage.name}
    with Records(version, stage.inputs, rows=kind) as records:
        assert sorted(records.keys()) == sorted(handed) and len(handed) > 10
        for sample in records:
            for name in stage.inputs:
                assert same(sample[name], handed[sample["key"]][name]), (sample["key"], name)


def test_parts_of_several_segments(tmp_path: Path) -> None:
    world.HANDED.clear()
    world.make(tmp_path, 20)
    version = world.make(tmp_path, 20, edited=(3, 7, 9), removed=(5, 13))
    version = world.make(tmp_path, 22, edited=(3, 7, 8, 9, 18, 20), removed=(5, 14))
    assert version.number == 3
    segments = [s for s in version.manifest.stages for p in version.store.parts(s) for s in p.segments]
    assert len(segments) > 1.5 * len(version.stages) * version.manifest.shards
    for kind, stage in world.COLLECTORS.items():
        ok = [row["key"] for row in rows_of(version, stage.name) if row["status"] == "ok"]
        with Records(version, stage.inputs, rows=kind, verify=True) as records:  # type: ignore[arg-type]
            assert records.keys() == list(dict.fromkeys(ok))
            for sample in records:
                handed = world.HANDED[stage.name, sample["key"]]
                assert all(same(sample[name], handed[name]) for name in stage.inputs), sample["key"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_stand_in_the_order_of_the_stage_s_rows(version: Version, kind: Any) -> None:
    stage = world.COLLECTORS[kind]
    ok = [row["key"] for row in rows_of(version, stage.name) if row["status"] == "ok"]
    with Records(version, stage.inputs, rows=kind) as records:
        assert records.keys() == list(dict.fromkeys(ok))
        assert len(records) < len(ok) or kind in ("pair", "document")


def test_the_engine_s_tables_and_rules_are_the_same() -> None:
    assert {n: (k, frozenset(c)) for n, (k, c) in reader_fields.TABLES.items()} == dict(ENGINE_TABLES)
    for kind, readable in READABLE.items():
        assert reader_fields._SINGLE[kind] | reader_fields._LISTS[kind] == readable  # type: ignore[index]


@pytest.mark.parametrize("split", [None, "train", "dev", "test"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_row_of_several_records_stands_in_their_most_protected_split(
    version: Version, kind: Any, split: str | None
) -> None:
    owners: dict[str, set[str]] = {}
    accepted = {r["key"] for r in rows_of(version, "clean_text") if r["status"] == "ok"}
    for row in rows_of(version, "collect_pair"):
        record, image = split_pair_key(row["key"])
        owners.setdefault({"pair": row["key"], "image": image}.get(kind, ""), set()).add(record)
    if kind == "document":
        owners = {record: {record} for record in accepted}
    if kind == "sentence":
        owners = {}
        for row in rows_of(version, "sentences"):
            for item in row["items"] or ():
                owners.setdefault(sentence_key(item["text"]), set()).add(row["key"])
    ranks = {key: min((world.split_of(r) for r in records), key=RANK.index) for key, records in owners.items()}
    with Records(version, ["documents.title"] if kind in ("pair", "document") else [], rows=kind, split=split) as found:
        assert sorted(found.keys()) == sorted(k for k, rank in ranks.items() if split in (None, rank))


def test_dropped_rows_are_counted_by_producer_and_kept_on_request(version: Version) -> None:
    fields = ["features.pooled", "features.regions", "score.points", "documents.title"]
    failed = {r["key"] for r in rows_of(version, "features") if r["status"] != "ok"}
    unlucky = {r["key"] for r in rows_of(version, "score") if r["status"] != "ok"}
    pairs = [r["key"] for r in rows_of(version, "score")]
    without = [k for k in pairs if split_pair_key(k)[1] in failed]
    with Records(version, fields) as records:
        lucky = [k for k in pairs if k not in without and k not in unlucky]
        assert records.keys() == lucky
        assert records.dropped == {"features": len(without), "score": len(pairs) - len(without) - len(lucky)}
    with Records(version, fields, missing="none") as records:
        assert records.keys() == pairs and records.dropped == {}
        for sample in records:
            assert (sample["features.pooled"] is None) == (sample["key"] in without)
            assert (sample["score.points"] is None) == (sample["key"] in unlucky)
            assert sample["documents.title"].startswith("Title")


def test_every_producer_has_the_keys_of_the_rows_read(version: Version) -> None:
    names = ["images.key", "pairs.key", "features.key", "documents.key", "sentence.key", "score.key"]
    ok = {r["key"] for r in rows_of(version, "features") if r["status"] == "ok"}
    with Records(version, [*names, "sentence.text", "features.level"], rows="document") as records:
        assert sum(len(s["pairs.key"]) for s in records) == len(rows_of(version, "score"))
        for sample in records:
            assert sample["documents.key"] == sample["key"]
            assert sample["images.key"] == [split_pair_key(k)[1] for k in sample["pairs.key"]]
            assert sample["features.key"] == [k for k in sample["images.key"] if k in ok]
            assert len(sample["features.level"]) == len(sample["features.key"])
            assert sample["sentence.key"] == [sentence_key(t) for t in sample["sentence.text"]]


def test_where_narrows(version: Version) -> None:
    with Records(version, ["features.pooled"], where="score.points >= 0.75") as some:
        with Records(version, ["features.pooled", "score.points"]) as every:
            assert some.keys() == [s["key"] for s in every if s["score.points"] >= 0.75]
            assert 0 < len(some) < len(every)
        assert set(some[0]) == {"key", "features.pooled"} and set(some.specs) == {"features.pooled"}
    with Records(
        version, ["documents.title"], rows="document", where=["features.level == 0.5", "clean.size > 3"]
    ) as some:
        assert len(some)
    with pytest.raises(UsageError, match="is a tensor"):
        Records(version, ["documents.title"], where="features.pooled > 1")
    with pytest.raises(RecipeError, match="where"):
        Records(version, ["documents.title"], where="documents.title is nice")


def test_random_access(version: Version) -> None:
    with Records(version, ["features.pooled", "pairs.caption"]) as records:
        assert same(list(records[-1].values()), list(records[len(records) - 1].values()))
        assert records[np.int64(3)]["key"] == records.key(3) == records.__getitems__([3])[0]["key"]
        assert not records[0]["features.pooled"].flags.writeable
        for bad in (len(records), -len(records) - 1):
            with pytest.raises(IndexError):
                records[bad]
        copy = pickle.loads(pickle.dumps(records))  # noqa: S301 - what torch does for a worker
        assert same([list(s.values()) for s in copy], [list(s.values()) for s in records])
        assert len(pickle.dumps(records)) < 4000
        folder = records._values.folder
        del copy
        assert folder.exists()
    assert not folder.exists()


def test_a_missing_stage_is_an_error_that_names_the_recipe_s_line(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name, text in (
        ("regions.boxes", r"no stage 'regions'.*regions\.boxes.*`regions: \{\}` under `stages:`"),
        ("features.grid", "features has no 'grid'.*pooled"),
        ("documents.body", "documents has no 'body'.*title"),
    ):
        with pytest.raises(NotFound, match=text):
            Records(version, ["documents.title", name])
    for name, kind, text in (
        ("common.word", "pair", "one result for the whole corpus.*version.table"),
        ("documents.title", "image", "a row of key image cannot read documents.title"),
        ("features.pooled", "sentence", "cannot read"),
        ("title", "pair", "producer.column"),
    ):
        with pytest.raises(UsageError, match=text):
            Records(version, [name], rows=kind)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="twice"):
        Records(version, ["documents.title", "documents.title"])
    with pytest.raises(UsageError, match="train, dev, test"):
        Records(version, ["documents.title"], split="validation")
    assert not list(tmp_path.iterdir())


def test_no_fields_and_no_rows(version: Version) -> None:
    with Records(version, [], rows="document") as records:
        assert records[0] == {"key": records.key(0)}
    with Records(version, ["features.regions", "parse.tokens"], where="documents.title == 'nothing'") as records:
        assert len(records) == 0 and list(records) == [] and records.keys() == []


def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own that imports this diptych."""
    environment = {**os.environ, "PYTHONPATH": str(Path(diptych.__file__).parent.parent)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", env=environment)


def test_what_a_killed_process_left_is_removed(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = python(f"""
import os, tempfile, diptych
tempfile.tempdir = {str(tmp_path)!r}
from diptych.storage.reader import Records
records = Records(diptych.open({version.store.root.url + "/world"!r}), ["documents.title"])
os.kill(os.getpid(), 9)
""")
    assert run.returncode == -9 and len(list(tmp_path.iterdir())) == 1
    with Records(version, ["documents.title"]) as one, Records(version, ["documents.title"]) as two:
        assert len(list(tmp_path.iterdir())) == 2  # the living stay
        assert one[0] == two[0]
    assert not list(tmp_path.iterdir())


def test_checksums_are_verified_when_asked(tmp_path: Path) -> None:
    version = world.make(tmp_path, 12)
    ref = next(p for p in version.parts("features") if p.rows.num_rows).segments[0].ref
    file = tmp_path / "world" / ref.path / "pooled.npy"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    Records(version, ["features.pooled"]).close()
    with pytest.raises(Corrupt, match="pooled.npy"):
        Records(version, ["features.pooled"], verify=True)
    Records(version, ["score.points"], verify=True).close()  # does not read that stage


def test_importing_and_reading_need_no_torch(version: Version) -> None:
    root = version.store.root.url
    code = f"""
import sys
sys.modules["torch"] = None
import diptych, diptych.storage.reader_loader, diptych.storage.collate
from diptych.storage.reader import Loader
version = diptych.open({root + "/world"!r})
samples = [s for batch in Loader(version, ["features.pooled"], batch_size=4, collate=list) for s in batch]
assert len(samples) > 3, samples
assert "diptych.stages" not in sys.modules and "prefect" not in sys.modules
"""
    run = python(code)
    assert run.returncode == 0, run.stderr
