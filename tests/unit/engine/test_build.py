"""The engine on toy stages: what is computed, reused, skipped, failed, forced, and what the digests say."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import toy

from diptych.engine.build import BuildReport, build
from diptych.engine.context import BuildOptions, graph_of
from diptych.engine.rebuild import plan_rebuild
from diptych.engine.steps import close
from diptych.exceptions import MissingExtra, NoSpace, NothingCommitted, RecipeError, StageError
from diptych.storage.root import LocalRoot
from diptych.storage.store import Store, open_store

WORDS = ["red", "car", "blue", "boat", "tree", "dog", "house", "kite"]


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    toy.CALLS.clear()
    toy.BROKEN.clear()
    yield
    close()


def corpus(store: Store, n: int = 24) -> list[dict[str, Any]]:
    rows = []
    for i in range(n):
        words = [WORDS[(i + j) % 8] for j in range(5)]
        images = [(f"image {i} {k}".encode() * 9, f"{words[k]} {words[k + 1]}") for k in range(i % 4)]
        if i % 6 == 0:
            images.append((f"bad {i}".encode(), "advertisement"))
        if i % 5 == 0:
            images.append((b"shared picture", "a shared picture"))
        rows.append(toy.record(f"doc{i}", " ".join(words), images, store))
    return rows


def run(root: Path, rows: list[dict[str, Any]], recipe: str = toy.RECIPE, **options: Any) -> BuildReport:
    store = open_store(root, "toy")
    toy.CALLS.clear()
    return build(recipe, str(root), BuildOptions(**options), snapshot=toy.snapshot(store, rows))


def digests(root: Path, version: int | str = "latest") -> tuple[str, str, str]:
    manifest = open_store(root, "toy").log.manifest(version)
    return manifest.input_digest, manifest.exact_digest, manifest.floats_digest


def calls(stage: str | None = None) -> list[str]:
    return sorted(key for name, key in toy.CALLS if stage in (None, name))


def test_second_build_computes_nothing_and_commits_nothing(tmp_path: Path) -> None:
    rows = corpus(open_store(tmp_path, "toy"))
    first = run(tmp_path, rows)
    assert first.committed.version == 1 and first.computed == len(toy.CALLS) > 100
    second = run(tmp_path, rows)
    assert second.computed == 0 and second.committed.version is None and not toy.CALLS
    assert "nothing changed" in second.committed.reason
    assert all(p.reused == p.rows for p in second.progress.values() if p.kind == "stage")


def test_batch_size_workers_and_folder_do_not_change_digests(tmp_path: Path) -> None:
    for name, options in (("a", {}), ("b", {"batch_size": 1, "workers": 4}), ("c", {"batch_size": 1000, "workers": 1})):
        run(tmp_path / name, corpus(open_store(tmp_path / name, "toy")), **options)
    assert digests(tmp_path / "a") == digests(tmp_path / "b") == digests(tmp_path / "c")


def test_one_word_changed_recomputes_the_document_and_its_pairs_only(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    run(tmp_path, rows)
    edited = toy.record(
        "doc7",
        "red car blue boat swan",
        [(f"image 7 {k}".encode() * 9, rows[7]["images"][k]["caption"]) for k in range(3)],
        store,
    )
    rows[7] = edited
    report = run(tmp_path, rows)
    record = edited["record"]
    assert calls("words") == calls("known") == [record]
    assert calls("link") == sorted(f"{record}/{i['key']}" for i in edited["images"])
    assert not calls("measure") and not calls("double")
    assert report.committed.version == 2


def test_moved_caption_recomputes_no_image_row(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    run(tmp_path, rows)
    images = rows[7]["images"]
    images[0]["caption"], images[1]["caption"] = images[1]["caption"], images[0]["caption"]
    run(tmp_path, rows)
    record = rows[7]["record"]
    # a pair reads its document's words, whose own row read all captions: the pairs of that document follow
    assert calls("words") == [record] and set(calls("link")) == {f"{record}/{i['key']}" for i in images}
    assert not calls("measure") and not calls("double")


def test_upstream_row_that_failed_and_then_succeeds_recomputes_its_readers(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    image = rows[7]["images"][0]["key"]
    toy.BROKEN.add(image)
    run(tmp_path, rows, accept_failures=True)
    toy.BROKEN.clear()
    report = run(tmp_path, rows)
    assert calls("measure") == [image] and calls("double") == [image]
    assert f"{rows[7]['record']}/{image}" in calls("link")
    assert report.committed.version == 2
    other = tmp_path / "clean"
    run(other, corpus(open_store(other, "toy")))
    assert digests(tmp_path) == digests(other)


def test_failures_above_the_limit_commit_nothing_and_keep_the_finished_rows(tmp_path: Path) -> None:
    rows = corpus(open_store(tmp_path, "toy"))
    toy.BROKEN.update(i["key"] for r in rows[:12] for i in r["images"])
    with pytest.raises(NothingCommitted, match=r"measure.*limits.max_failed is 1.0%.*broken"):
        run(tmp_path, rows)
    assert not open_store(tmp_path, "toy").log.versions()
    toy.BROKEN.clear()
    failed = {i["key"] for r in rows[:12] for i in r["images"]}
    run(tmp_path, rows)
    assert set(calls("measure")) == failed


def test_a_retry_that_ends_as_before_commits_nothing(tmp_path: Path) -> None:
    rows = corpus(open_store(tmp_path, "toy"))
    toy.BROKEN.add(rows[7]["images"][0]["key"])
    run(tmp_path, rows, accept_failures=True)
    again = run(tmp_path, rows, accept_failures=True)
    assert calls("measure") == [rows[7]["images"][0]["key"]] and again.committed.version is None


def test_rejected_and_unaccepted_rows(tmp_path: Path) -> None:
    rows = corpus(open_store(tmp_path, "toy"))
    report = run(tmp_path, rows)
    assert report.progress["measure"].codes == {"rejected:bad_start": 4}
    bad = {i["key"] for r in rows for i in r["images"] if i["caption"] == "advertisement"}
    assert not bad & set(calls("double")) and not {k.rpartition("/")[2] for k in calls("link")} & bad


def test_a_raising_row_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = corpus(open_store(tmp_path, "toy"))
    victim = rows[3]["record"]
    plain = toy.Words.row

    def row(self: toy.Words, batch: Any, i: int, output: Any) -> None:
        if batch.keys[i] == victim:
            raise ValueError("bad text")
        plain(self, batch, i, output)

    monkeypatch.setattr(toy.Words, "row", row)
    report = run(tmp_path, rows, accept_failures=True)
    assert report.progress["words"].codes == {"failed_permanent:exception:ValueError": 1}
    assert report.progress["known"].codes == {"skipped:input:words": 1}


def test_contract_violation_stops_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy.Double, "row", lambda self, batch, i, output: output.set(i, twice=1))
    with pytest.raises(StageError, match=r"double.*\['head'\] not set"):
        run(tmp_path, corpus(open_store(tmp_path, "toy")))


def test_pinned_fit_stays_and_refit_changes_it(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    run(tmp_path, rows)
    rows.append(toy.record("new", "quokka quokka quokka", [], store))
    second = run(tmp_path, rows)
    assert second.committed.version == 2 and len(calls("known")) == 1
    one, two = (next(f.result for f in store.log.manifest(v).fits if f.name == "common") for v in (1, 2))
    assert one == two
    snapshot = store.log.manifest(2).snapshot
    third = build(toy.RECIPE, str(tmp_path), BuildOptions(), snapshot=snapshot, refit=("common",))
    changed = next(f.result for f in store.log.manifest("latest").fits if f.name == "common") != two
    assert (third.committed.version == 3) == changed


def test_rebuild_computes_only_what_was_named(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    run(tmp_path, rows)
    toy.CALLS.clear()
    plan = plan_rebuild(str(tmp_path), "toy", record="doc7")
    report = build(plan.recipe, str(tmp_path), plan.options, force=plan.force, snapshot=plan.snapshot)
    record, images = rows[7]["record"], [i["key"] for i in rows[7]["images"]]
    assert calls("words") == [record] and calls("measure") == sorted(images)
    assert report.committed.version is None
    compared = [c for p in report.progress.values() for c in p.compared]
    assert compared and {what for _, what, _ in compared} == {"equal"} and len(compared) == len(toy.CALLS)


def test_rebuild_that_finds_a_difference_says_which_column_and_recomputes_its_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    run(tmp_path, rows)
    toy.CALLS.clear()
    plain = toy.Measure.row

    def row(self: toy.Measure, batch: Any, i: int, output: Any) -> None:
        plain(self, batch, i, output)
        output.set(i, size=1)

    monkeypatch.setattr(toy.Measure, "row", row)
    key = rows[7]["images"][0]["key"]
    plan = plan_rebuild(str(tmp_path), "toy", record=key, stage="measure")
    report = build(plan.recipe, str(tmp_path), plan.options, force=plan.force, snapshot=plan.snapshot)
    assert (key, "changed", "size") in report.progress["measure"].compared
    assert key in calls("double") and f"{rows[7]['record']}/{key}" in calls("link") and not calls("words")
    assert report.committed.version == 2


def test_partial_builds_keep_segments_and_commit_once_complete(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    rows = corpus(store)
    first = run(tmp_path, rows, only_stages=("measure",))
    assert first.committed.version is None and set(n for n, _ in toy.CALLS) == {"measure"}
    report = run(tmp_path, rows)
    assert not calls("measure") and report.committed.version == 1
    other = tmp_path / "other"
    for shard in range(4):
        part = run(other, corpus(open_store(other, "toy")), only_shards=(shard,))
        if shard < 3:
            assert part.committed.version is None
    run(other, corpus(open_store(other, "toy")))
    assert digests(tmp_path) == digests(other)


def test_the_same_bytes_twice_in_one_document_are_two_pairs_and_one_image(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    rows = [toy.record("twice", "red car", [(b"same", "red"), (b"same", "car")], store)]
    report = run(tmp_path, rows)
    assert report.progress["measure"].rows == 1 and report.progress["link"].rows == 2


def test_selection_narrows_a_stage(tmp_path: Path) -> None:
    rows = corpus(open_store(tmp_path, "toy"))
    recipe = toy.RECIPE.replace('double: {use: "toy:Double"}', 'double: {use: "toy:Double", only: "measure.size > 80"}')
    report = run(tmp_path, rows, recipe)
    codes = report.progress["double"].codes
    assert 0 < codes["skipped:not_selected"] < report.progress["double"].rows


def test_one_percent_change_writes_about_one_percent(tmp_path: Path) -> None:
    store = open_store(tmp_path, "toy")
    recipe = toy.RECIPE.replace("shards: 4", "shards: 32")
    rows = [
        toy.record(f"d{i}", "red car", [(bytes([i % 251]) * 4000 + str(i).encode(), "red")], store) for i in range(200)
    ]
    run(tmp_path, rows, recipe)
    before = sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file() and "raw" not in f.parts)
    for i in range(4):
        rows[i] = toy.record(f"d{i}", "blue car", [(b"new" * 2000 + str(i).encode(), "red")], store)
    report = run(tmp_path, rows, recipe)
    after = sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file() and "raw" not in f.parts)
    assert report.progress["words"].computed == 4 and report.progress["measure"].computed == 4
    touched = {int(r["record"][:8], 16) * 32 >> 32 for r in rows[:4]}
    assert sum(p.bytes_written > 0 for p in report.progress.values()) <= 5 and len(touched) <= 4
    assert (
        after - before
    ) / before < 0.25  # toy rows are smaller than their bookkeeping; benchmarks/ measures real ones


def test_resharding_computes_nothing_and_equals_a_fresh_build_of_that_count(tmp_path: Path) -> None:
    fresh_roots, tmp_path = tmp_path / "fresh", tmp_path / "resharded"
    rows = corpus(open_store(tmp_path, "toy"))
    run(tmp_path, rows)
    four = digests(tmp_path)
    before = {p for p in tmp_path.rglob("*.npy")}
    for shards, fresh in (
        (8, toy.RECIPE.replace("shards: 4", "shards: 8")),
        (2, toy.RECIPE.replace("shards: 4", "shards: 2")),
    ):
        report = build(
            toy.RECIPE,
            str(tmp_path),
            BuildOptions(),
            snapshot=toy.snapshot(open_store(tmp_path, "toy"), rows),
            shards=shards,
        )
        assert report.computed == 0 and {p for p in tmp_path.rglob("*.npy")} == before
        other = fresh_roots / str(shards)
        run(other, corpus(open_store(other, "toy")), fresh)
        assert digests(tmp_path) == digests(other)
    assert run(tmp_path, rows).committed.version is None, "a dataset keeps its number of shards"
    build(toy.RECIPE, str(tmp_path), BuildOptions(), snapshot=toy.snapshot(open_store(tmp_path, "toy"), rows), shards=4)
    assert digests(tmp_path) == four


def test_a_build_that_does_not_fit_the_disk_says_so_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = corpus(open_store(tmp_path, "toy"))
    with monkeypatch.context() as patch:
        patch.setattr(LocalRoot, "free_bytes", lambda self: 1000)
        with pytest.raises(NoSpace, match=r"would write about .* GB, 0.00 GB are free") as full:
            run(tmp_path, rows)
    assert "--root" in str(full.value) and "gc" not in str(full.value), "a new dataset has nothing to collect"
    assert not toy.CALLS and not (tmp_path / "toy" / "parts").exists()
    run(tmp_path, rows)
    monkeypatch.setattr(LocalRoot, "free_bytes", lambda self: -1)
    with pytest.raises(NoSpace, match="`diptych retire toy`, then `diptych gc toy`"):
        run(tmp_path, rows)


def test_deleted_dataset_builds_to_the_same_digest(tmp_path: Path) -> None:
    rows = corpus(open_store(tmp_path, "toy"))
    run(tmp_path, rows)
    was = digests(tmp_path)
    shutil.rmtree(tmp_path / "toy" / "parts")
    shutil.rmtree(tmp_path / "toy" / "lists")
    shutil.rmtree(tmp_path / "toy" / "log")
    run(tmp_path, rows)
    assert digests(tmp_path) == was


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'double: {use: "toy:Double"}',
            'double: {use: "toy:Double", colour: red}',
            r"stages.double.colour: unknown key",
        ),
        ("words: {use", "wrods: {use", r"calls itself 'words'"),
        ('link: {use: "toy:Link"}', "lnik: {}", r"stages.lnik: unknown stage; allowed are backbone"),
        ("shards: 4", "shards: 6", r"shards: must be a power of two"),
        ("shards: 4", "shads: 4", r"shads: unknown key; allowed are contact, fits, limits"),
        (
            "shards: 4",
            "shards: 4\nshards: 8",
            r"line \d+, column 1: the key shards stands here and in line \d+; keep one",
        ),
        ("shards: 4", "shards: " + "[" * 5000, r"recipe: expected a recipe, found lists or mappings nested too deeply"),
        ('words: {use: "toy:Words"}', 'words: {use: "toy:Words", lower: 3}', r"stages.words.lower: .*bool.*found 3"),
    ],
)
def test_wrong_recipes_name_the_key_and_what_is_allowed(tmp_path: Path, old: str, new: str, message: str) -> None:
    store = open_store(tmp_path, "toy")
    assert old in toy.RECIPE
    with pytest.raises(RecipeError, match=message) as error:
        build(
            toy.RECIPE.replace(old, new), str(tmp_path), BuildOptions(), snapshot=toy.snapshot(store, corpus(store, 2))
        )
    assert error.value.exit_code == 2


def test_what_would_stop_a_build_is_said_first_but_not_of_what_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(self: toy.Common) -> None:
        raise MissingExtra("gensim", "vectors")

    run(tmp_path, corpus(open_store(tmp_path, "toy")))
    monkeypatch.setattr(toy.Common, "check", lacks)
    graph, latest = graph_of(toy.RECIPE), open_store(tmp_path, "toy").log.manifest("latest")
    with pytest.raises(MissingExtra, match="vectors"):
        graph.check()
    graph.check(["words"])
    graph.check(latest=latest)
