"""Damage, overlapping commands and half builds: nothing is undone, nothing damaged is kept, nothing is left stale."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import toy
from test_build import calls, corpus, run

from diptych.commands.upkeep import reshard_command
from diptych.engine.build import BuildReport, Silent, build
from diptych.engine.context import BuildOptions, Force, Progress
from diptych.engine.rebuild import plan_rebuild
from diptych.engine.steps import close
from diptych.exceptions import Conflict, UsageError
from diptych.storage.store import Store, open_store
from diptych.storage.verify import verify

GATED = toy.RECIPE.replace("  words: {use", '  words: {only: "measure.size > 0", use')
CHAIN = toy.RECIPE.replace("  known: {use", '  again: {use: "toy:Again"}\n  known: {use')


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    toy.CALLS.clear()
    toy.BROKEN.clear()
    yield
    close()


def rebuild(root: Path, **named: Any) -> BuildReport:
    toy.CALLS.clear()
    plan = plan_rebuild(str(root), "toy", **named)
    return build(
        plan.recipe, str(root), plan.options, force=plan.force, snapshot=plan.snapshot, planned_on=plan.version
    )


def test_a_rebuild_planned_before_another_commit_does_not_undo_it(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    run(tmp_path, rows)
    plan = plan_rebuild(str(tmp_path), "toy", record="doc7")
    run(tmp_path, [*rows, toy.record("new", "red boat", [], store)])
    with pytest.raises(Conflict, match="version 2 was committed while this was planned on version 1"):
        build(
            plan.recipe, str(tmp_path), plan.options, force=plan.force, snapshot=plan.snapshot, planned_on=plan.version
        )
    assert list(store.log.versions()) == [1, 2]


def test_a_build_does_not_undo_what_was_committed_while_its_snapshot_was_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    newer = [*rows, toy.record("new", "red boat", [], store)]

    def cut(*_: Any) -> str:
        if store.log.versions():
            return toy.snapshot(store, newer)
        run(tmp_path, newer)
        return toy.snapshot(store, rows)

    monkeypatch.setattr("diptych.engine.build.take_snapshot", cut)
    report = build(toy.RECIPE, str(tmp_path))
    assert report.committed.version is None and list(store.log.versions()) == [1]


@pytest.mark.parametrize("damage", ["flip", "delete"])
@pytest.mark.parametrize("name", ["table.parquet", "head.npy"])
def test_rebuild_repairs_a_damaged_segment(tmp_path: Path, damage: str, name: str) -> None:
    store = open_store(tmp_path, "toy")
    run(tmp_path, corpus(store))
    file = sorted((tmp_path / "toy" / "parts" / "measure").rglob(f"shard-00001/**/{name}"))[0]
    if damage == "delete":
        file.unlink()
    else:
        data = bytearray(file.read_bytes())
        data[-9] ^= 0xFF
        file.write_bytes(data)
    assert verify(store).problems
    report = rebuild(tmp_path, shard=1)
    outcomes = {what for p in report.progress.values() for _, what, _ in p.compared}
    assert report.committed.version == 2 and "repaired" in outcomes
    assert verify(store).problems == []


@pytest.mark.parametrize("damage", ["flip", "delete"])
def test_a_lost_list_is_written_again_by_the_next_build(tmp_path: Path, damage: str) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    run(tmp_path, rows)
    manifest = store.log.manifest("latest")
    chunk = manifest.stage("words").chunks[0]
    for name in (chunk, next(store.parts(manifest.stage("link"))).rows):
        file = tmp_path / "toy" / "lists" / f"{name}.parquet"
        if damage == "delete":
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:-30] + b"x" * 30)
    report = run(tmp_path, rows)
    assert report.computed == 0 and report.committed.version is None
    assert verify(store).problems == []


def test_a_fit_sees_rows_that_a_rebuild_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    run(tmp_path, rows)
    plain = toy.Words.row

    def row(self: toy.Words, batch: Any, i: int, output: Any) -> None:
        plain(self, batch, i, output)
        output.set(i, words=["quokka"])

    monkeypatch.setattr(toy.Words, "row", row)
    rebuild(tmp_path, shard=0, stage="words")
    build(toy.RECIPE, str(tmp_path), BuildOptions(), snapshot=store.log.manifest("latest").snapshot, refit=("common",))
    result = next(f.result for f in store.log.manifest("latest").fits if f.name == "common")
    assert "quokka" in store.lists.get(result)["word"].to_pylist()


def uncommitted(root: Path, store: Store, committed: int) -> list[dict[str, Any]]:
    """Records, so many of which a version has; of the others a build that committed nothing left rows."""
    rows = corpus(store)
    if committed:
        run(root, rows[:committed], CHAIN)
    run(root, rows, CHAIN, only_stages=("measure", "double", "again", "words", "link"))
    return rows


def of_another_release(plain: Callable[..., None]) -> Callable[..., None]:
    """``measure`` as another release of its package computes it."""

    def row(self: toy.Measure, batch: Any, i: int, output: Any) -> None:
        plain(self, batch, i, output)
        output.set(i, size=1000 + len(batch["images.bytes"][i]))

    return row


@pytest.mark.parametrize("committed", [0, 12])
def test_a_refresh_leaves_no_row_of_an_uncommitted_build_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed: int
) -> None:
    store = open_store(tmp_path, "toy")
    rows = uncommitted(tmp_path, store, committed)
    assert len(store.log.versions()) == bool(committed)
    monkeypatch.setattr(toy.Measure, "row", of_another_release(toy.Measure.row))
    report = build(
        CHAIN, str(tmp_path), BuildOptions(), force=Force(stages=("measure",)), snapshot=toy.snapshot(store, rows)
    )
    said = [what for _, what, _ in report.progress["measure"].compared]
    assert len(said) == report.progress["measure"].rows
    assert set(said) == ({"new", "changed"} if committed else {"new"})
    manifest = store.log.manifest("latest")
    assert manifest.version == 1 + bool(committed)
    for shard in range(manifest.shards):
        sizes, twice, again, links = (
            {r["key"]: r for r in store.part(manifest, name, shard).table().to_pylist()}
            for name in ("measure", "double", "again", "link")
        )
        for key, found in twice.items():
            assert found["twice"] == again[key]["twice"] == 2 * sizes[key]["size"] > 2000
        assert all(found["size"] == sizes[key.split("/")[1]]["size"] for key, found in links.items())


@pytest.mark.parametrize("committed", [0, 12])
def test_a_refresh_that_was_cut_off_leaves_no_row_beside_one_it_was_not_made_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed: int
) -> None:
    store = open_store(tmp_path, "toy")
    rows = uncommitted(tmp_path, store, committed)
    plain = toy.Measure.row

    def dies(progress: Progress) -> None:
        if progress.name == "measure":
            raise KeyboardInterrupt

    monkeypatch.setattr(toy.Measure, "row", of_another_release(plain))
    watcher, snapshot = Silent(), toy.snapshot(store, rows)
    monkeypatch.setattr(watcher, "finished", dies)
    with pytest.raises(KeyboardInterrupt):
        build(
            CHAIN, str(tmp_path), BuildOptions(), force=Force(stages=("measure",)), snapshot=snapshot, watcher=watcher
        )
    monkeypatch.setattr(toy.Measure, "row", plain)
    build(CHAIN, str(tmp_path), BuildOptions(), snapshot=snapshot)
    manifest = store.log.manifest("latest")
    for shard in range(manifest.shards):
        sizes, twice = (
            {r["key"]: r for r in store.part(manifest, name, shard).table().to_pylist()}
            for name in ("measure", "double")
        )
        assert all(found["twice"] == 2 * sizes[key]["size"] for key, found in twice.items())


def test_edit_and_back_computes_nothing_and_finds_the_newest_rows(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    run(tmp_path, rows)
    edited = list(rows)
    edited[7] = toy.record("doc7", "another text", [], store)
    run(tmp_path, edited, allow_shrink=True)
    back = run(tmp_path, rows)
    assert back.computed == 0 and back.committed.version == 3
    one, three = store.log.manifest(1), store.log.manifest(3)
    assert (one.input_digest, one.exact_digest) == (three.input_digest, three.exact_digest)


def test_a_rebuild_computes_no_row_that_nobody_named(tmp_path: Path) -> None:
    rows = corpus(open_store(tmp_path, "toy"))
    toy.BROKEN.add(rows[7]["images"][0]["key"])
    run(tmp_path, rows, accept_failures=True)
    toy.BROKEN.clear()
    rebuild(tmp_path, record="doc3", stage="words")
    assert calls() == [rows[3]["record"]]
    rebuild(tmp_path, failed=True)
    assert set(calls("measure")) == {rows[7]["images"][0]["key"]}


def test_a_version_with_accepted_failures_can_be_built_rebuilt_and_resharded(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    toy.BROKEN.update(i["key"] for r in rows[:12] for i in r["images"])
    run(tmp_path, rows, accept_failures=True)
    assert run(tmp_path, rows).committed.version is None
    snapshot = store.log.manifest("latest").snapshot
    options = BuildOptions(retry="none", accept_failures=True)
    resharded = build(toy.RECIPE, str(tmp_path), options, snapshot=snapshot, shards=8)
    assert resharded.committed.version == 2 and resharded.computed == 0
    toy.BROKEN.clear()
    assert rebuild(tmp_path, failed=True).committed.version == 3
    assert store.log.manifest("latest").stage("measure").counts.failed == 0


def test_a_good_row_is_not_replaced_by_a_transient_failure(tmp_path: Path) -> None:
    rows = corpus(open_store(tmp_path, "toy"))
    run(tmp_path, rows)
    toy.BROKEN.add(rows[7]["record"])
    report = rebuild(tmp_path, record="doc7", stage="words")
    assert report.progress["words"].compared == ((rows[7]["record"], "kept", "broken"),)
    assert report.committed.version is None


def test_a_shared_picture_is_rebuilt_in_every_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    run(tmp_path, rows)
    plain = toy.Measure.row

    def row(self: toy.Measure, batch: Any, i: int, output: Any) -> None:
        plain(self, batch, i, output)
        output.set(i, size=1)

    monkeypatch.setattr(toy.Measure, "row", row)
    rebuild(tmp_path, record="doc5")
    key = store.blobs.put(b"shared picture")
    sizes = set()
    for shard in range(4):
        reader = store.part(store.log.manifest("latest"), "measure", shard)
        if key in reader.index:
            sizes.add(reader.row(key)["size"])
    assert sizes == {1}


def test_changed_code_asks_for_a_build_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, corpus(open_store(tmp_path, "toy")))
    monkeypatch.setattr(toy.Measure, "version", 2)
    with pytest.raises(UsageError, match="stage measure has another version.*run diptych build first"):
        plan_rebuild(str(tmp_path), "toy", record="doc7")
    with pytest.raises(UsageError, match="stage measure has another version.*run diptych build first"):
        reshard_command("toy", 8, str(tmp_path), False)
    assert list(open_store(tmp_path, "toy").log.versions()) == [1]
    with pytest.raises(UsageError, match="shards 0 to 3"):
        plan_rebuild(str(tmp_path), "toy", shard=-1)


def test_dry_runs_and_partial_builds_stop_where_rows_cannot_be_known(tmp_path: Path) -> None:
    rows = corpus(open_store(tmp_path, "toy"))
    dry = run(tmp_path, rows, GATED, dry=True)
    assert dry.computed == 0 and not toy.CALLS and {"measure", "words", "link", "common"} <= set(dry.incomplete)
    for options in ({"only_shards": (0,)}, {"only_stages": ("words",)}, {"only_stages": ("measure",)}):
        report = run(tmp_path, rows, GATED, **options)
        assert report.committed.version is None and report.incomplete
    assert run(tmp_path, rows, GATED).committed.version == 1


def test_refit_after_reshard(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    run(tmp_path, rows)
    snapshot = store.log.manifest(1).snapshot
    build(toy.RECIPE, str(tmp_path), BuildOptions(), snapshot=snapshot, shards=16)
    again = build(toy.RECIPE, str(tmp_path), BuildOptions(), snapshot=snapshot, refit=("common",))
    assert again.committed.version is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"use": 5},
        {"use": ":X"},
        {"use": "json:JSONDecoder"},
        {"use": "toy:Words", "only": "measure.size > [1"},
        {"use": "toy:Words", "only": "size > 1"},
    ],
)
def test_wrong_stage_entries_are_recipe_errors(tmp_path: Path, wrong: dict[str, Any]) -> None:
    recipe = toy.RECIPE.replace('words: {use: "toy:Words"}', f"words: {json.dumps(wrong)}")
    with pytest.raises(UsageError, match=r"stages\.words"):
        run(tmp_path, corpus(open_store(tmp_path, "toy"), 2), recipe)
