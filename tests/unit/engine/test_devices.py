"""Where shards run and how many rows go in at once: neither changes a row."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import toy
import toy_vision

from diptych.engine.batch_size import LARGEST, TRIES, BatchSize, room_on
from diptych.engine.build import BuildReport, build
from diptych.engine.context import BuildOptions
from diptych.engine.devices import Place, Places, check_devices, device_names, one_device, places
from diptych.engine.steps import close
from diptych.exceptions import UsageError
from diptych.stage import Batch, Output
from diptych.storage.store import open_store
from diptych.version import open_version

RECIPE = """
name: toy
sources: [{kind: folder, name: toy, path: .}]
shards: SHARDS
stages:
  measure: {use: "toy:Measure"}
  mean: {use: "toy_vision:Mean"}
fits:
  splits: {use: "toy:Halves"}
"""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    toy_vision.SIZES.clear()
    toy_vision.ROOM[0] = 0
    yield
    close()


def run(root: Path, documents: int = 40, shards: int = 4, **options: Any) -> BuildReport:
    store = open_store(root, "toy")
    pictures = [toy_vision.png(9 + n % 3, n) for n in range(8)]
    rows = [toy.record(f"d{n}", "text", [(pictures[n % 8] + n.to_bytes(2), "")], store) for n in range(documents)]
    return build(
        RECIPE.replace("SHARDS", str(shards)), str(root), BuildOptions(**options), snapshot=toy.snapshot(store, rows)
    )


def digests(root: Path) -> tuple[str, str]:
    entry = next(s for s in open_version(root / "toy").manifest.stages if s.name == "mean")
    return entry.exact, entry.floats


def settle(size: BatchSize, seconds_a_row: Any, batches: int = 60) -> list[int]:
    """Sizes asked for until it settles, with this cost."""
    seen = []
    for _ in range(batches):
        seen.append(size.rows)
        size.measured(size.rows, size.rows * seconds_a_row(size.rows))
    return list(dict.fromkeys(seen))


def test_a_size_is_doubled_while_rows_get_cheaper() -> None:
    assert settle(size := BatchSize(8, grows=True), lambda n: 1 / n) == [8, 16, 32, 64]
    assert size.rows == 8 * LARGEST, "and no further"
    assert settle(size := BatchSize(8, grows=True), lambda n: 1 / min(n, 16)) == [8, 16, 32]
    assert size.rows == 16, "back to the last that paid"
    assert settle(size := BatchSize(8, grows=True), lambda n: 1.0) == [8, 16] and size.rows == 8
    assert settle(size := BatchSize(8, begin=32, grows=True), lambda n: 1 / n) == [32, 64], "8 times its own, no more"
    assert settle(size := BatchSize(8, begin=32, grows=True), lambda n: 1.0) == [32, 64] and size.rows == 32


def test_a_processor_and_a_full_memory_grow_nothing() -> None:
    assert settle(BatchSize(8), lambda n: 1 / n) == [8]
    assert settle(BatchSize(8, grows=True, room=lambda: False), lambda n: 1 / n) == [8]
    assert room_on("cpu"), "this machine has room"


def test_slow_first_calls_and_last_batches_of_shards_decide_nothing() -> None:
    size = BatchSize(8, grows=True)
    size.measured(3, 100.0)
    for seconds in (90.0, 8.0, 8.0):
        size.measured(8, seconds)
    assert size.rows == 16
    for _ in range(TRIES):
        size.measured(8, 1e-9)  # asked for before the size changed
    assert size.rows == 16


def test_what_found_no_memory_is_halved_and_never_grown_again() -> None:
    size = BatchSize(8, grows=True)
    settle(size, lambda n: 1 / n, batches=TRIES)
    size.ran_out(16)
    assert settle(size, lambda n: 1 / n) == [8] and size.most == 8
    size.ran_out(8)
    assert (size.rows, size.most) == (4, 4)
    size.ran_out(1)
    assert size.rows == 1


def test_names_of_devices() -> None:
    assert device_names("cpu") == ("cpu",)
    assert device_names("cuda:0,cuda:1") == ("cuda:0", "cuda:1")
    assert places("cpu,cpu", compiled=True) == (Place("cpu", 0, True), Place("cpu", 1, True))
    for wrong in ("", "cuda:x", "cuda:0;cuda:1", "cuda:*,cpu", "cpu,"):
        with pytest.raises(UsageError, match="expected cpu, cuda"):
            device_names(wrong)


def test_devices_this_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diptych.engine.devices._cuda_devices", lambda: 2)
    check_devices("cuda:*")
    check_devices("cuda:1,cuda")
    assert device_names("cuda:*") == ("cuda:0", "cuda:1")
    with pytest.raises(UsageError, match="cuda:2: this machine has cuda:0 to cuda:1"):
        check_devices("cuda:0,cuda:2")
    monkeypatch.setattr("diptych.engine.devices._cuda_devices", lambda: 0)
    check_devices("cpu")
    with pytest.raises(UsageError, match="no CUDA device"):
        check_devices("cuda:*")
    assert one_device("cpu") == "cpu"
    with pytest.raises(UsageError, match="uses one device, found 2"):
        one_device("cpu,cpu")
    for name in ("tpu", "meta", "cpu,meta", "cpux"):
        with pytest.raises(UsageError, match=r"device (tpu|meta|cpux): torch cannot use it here \("):
            check_devices(name)


def test_shards_go_where_fewest_are_at_work() -> None:
    deal, some = Places(), places("cuda:0,cuda:1")
    with deal.one_of(some) as a, deal.one_of(some) as b, deal.one_of(some) as c:
        assert [p.device for p in (a, b, c)] == ["cuda:0", "cuda:1", "cuda:0"]
    with deal.one_of(some) as a:
        assert a.device == "cuda:0"


def test_two_devices_share_the_shards_and_give_the_rows_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "one")
    close()
    networks: dict[int, int] = {}
    plain = toy_vision.Mean.process

    def process(self: toy_vision.Mean, batch: Batch) -> Output:
        if id(self) not in networks:
            time.sleep(0.5)  # the other groups begin meanwhile
        networks[id(self)] = networks.get(id(self), 0) + len(batch)
        return plain(self, batch)

    monkeypatch.setattr(toy_vision.Mean, "process", process)
    report = run(tmp_path / "two", device="cpu,cpu")
    assert len(networks) == 2 and sum(networks.values()) == 40 == report.progress["mean"].computed
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_an_accelerator_gets_larger_batches_and_gives_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "cpu", 200, 1)
    assert set(toy_vision.SIZES) == {8}
    close()
    toy_vision.SIZES.clear()
    plain = toy_vision.Mean.process

    def process(self: toy_vision.Mean, batch: Batch) -> Output:
        time.sleep(0.02)  # a call costs the same, however many rows
        return plain(self, batch)

    monkeypatch.setattr(toy_vision.Mean, "process", process)
    run(tmp_path / "far", 200, 1, device="far")
    assert max(toy_vision.SIZES) >= 32
    assert digests(tmp_path / "cpu") == digests(tmp_path / "far")
    close()
    toy_vision.SIZES.clear()
    run(tmp_path / "fixed", 30, 1, device="far", batch_size=7)
    assert set(toy_vision.SIZES) == {7, 30 % 7}
    close()
    toy_vision.SIZES.clear()
    monkeypatch.setattr(toy_vision.Mean, "accelerator_batch_size", 20)
    run(tmp_path / "more", 100, 1, device="far")
    assert toy_vision.SIZES[:3] == [20, 20, 20], "what it begins with there"
    close()
    toy_vision.SIZES.clear()
    run(tmp_path / "processor", 30, 1)
    assert set(toy_vision.SIZES) == {8, 30 % 8}


def test_nothing_is_computed_while_a_stage_is_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.fx and random seeds are the process's: a second device may not be set up while the first computes."""
    inside: list[str] = []
    mixed: list[list[str]] = []

    def watched(what: str, seconds: float, call: Any) -> Any:
        inside.append(what)
        time.sleep(seconds)
        if "setup" in inside and len(inside) > 1:
            mixed.append(list(inside))
        inside.remove(what)
        return call()

    plain = toy_vision.Mean.process
    setups: list[str] = []
    monkeypatch.setattr(
        toy_vision.Mean, "setup", lambda self, device: watched("setup", 0.1, lambda: setups.append(device))
    )
    monkeypatch.setattr(
        toy_vision.Mean, "process", lambda self, batch: watched("process", 0.05, lambda: plain(self, batch))
    )
    run(tmp_path, 24, device="far:0,far:1,far:2")
    assert sorted(setups) == ["far:0", "far:1", "far:2"] and not mixed


def test_what_one_group_raises_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def process(self: toy_vision.Mean, batch: Batch) -> Output:
        calls.append(len(batch))
        if len(calls) == 3:
            raise ImportError("no such package")
        time.sleep(0.05)
        return batch.output()

    monkeypatch.setattr(toy_vision.Mean, "process", process)
    monkeypatch.setattr(Output, "check", lambda self, stage: None)
    with pytest.raises(ImportError, match="no such package"):
        run(tmp_path, 40, 8)
    assert len(calls) < 6, "eight groups had been waiting"
