"""The pure parts of the loop: schedules, settings, checkpoints, results, bootstrap; each against something else."""

from __future__ import annotations

import math
import random
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from diptych.exceptions import Corrupt, NotFound, UsageError
from diptych.metrics.bootstrap import intervals, paired_bootstrap
from diptych.models.registry import find_task
from diptych.storage.store import open_store
from diptych.training.checkpoint import (
    Checkpoint,
    EpochLog,
    Progress,
    random_state,
    read_checkpoint,
    set_random,
    write_checkpoint,
)
from diptych.training.comparison import leading
from diptych.training.config import TaskConfig, departures, make_config, ours, reading
from diptych.training.folder import RunFolder, find_run
from diptych.training.options import RunOptions, make_fabric
from diptych.training.phase import Monitor, Schedule
from diptych.training.results import plain_table, results_text, spread
from diptych.training.schedule import best_epoch, factor, stopped
from diptych.training.task import PaperTable, State
from diptych.training.terms import add_terms, mean_of

VALUES = [3.0, 2.5, 2.6, math.nan, 2.4, 2.4, 2.4, 2.5, 2.0, 9.0, 9.0]


@pytest.mark.parametrize("waits", [1, 2, 3])
@pytest.mark.parametrize("higher", [False, True])
def test_stalling_halves_as_torch_does(waits: int, higher: bool) -> None:
    values = [-v if higher else v for v in VALUES]
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, "max" if higher else "min", 0.5, patience=waits - 1, threshold=0.0
    )
    for n, value in enumerate(values):
        theirs.step(value)
        ours_ = factor(Schedule("stall", 0.5, waits), values[: n + 1], Monitor(higher=higher))
        assert ours_ == optimiser.param_groups[0]["lr"], n


def test_every_so_many_epochs_and_constant() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.StepLR(optimiser, 6, 0.8)
    for n in range(20):
        assert math.isclose(factor(Schedule("every", 0.8, 6), [0.0] * n, Monitor()), optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()
    assert factor(Schedule("every", 0.5), VALUES[:3], Monitor()) == 0.125
    assert factor(Schedule(), VALUES, Monitor()) == 1.0


def test_the_best_epoch_and_when_to_stop() -> None:
    assert best_epoch(VALUES, Monitor()) == 8 and best_epoch(VALUES, Monitor(higher=True)) == 9
    assert best_epoch([], Monitor()) is None and best_epoch([math.nan], Monitor()) is None
    waited = [stopped(VALUES[:n], 3, Monitor()) for n in range(12)]
    assert waited == [False] * 8 + [True] + [False] * 3  # after 2.4 three epochs bring nothing, then 2.0 comes
    assert stopped([2.0, 3.0, 3.0], 2, Monitor()) and not stopped([2.0, 3.0, 3.0], 3, Monitor())
    assert stopped([math.nan] * 3, 3, Monitor())


class Printed(TaskConfig):
    patience: int = 5
    """this paper prints it"""
    size: int = 300
    rate: float = ours(0.1, "silent", gt=0)
    norm: Literal["rows", "printed"] = reading("rows", "printed", "the printed product has other axes")


def test_departures_are_what_the_paper_does_not_print() -> None:
    found = {d.field: d for d in departures(Printed())}
    assert set(found) == {"clip", "rate", "norm"} and found["norm"].printed == "printed"
    assert found["rate"].printed is None and found["rate"].why == "silent"
    changed = make_config(Printed, {"size": 100, "norm": "rows"}, {"norm": "printed", "patience": 2})
    found = {d.field: d for d in departures(changed)}
    assert set(found) == {"clip", "rate", "size", "patience"} and found["size"].printed == 300
    with pytest.raises(UsageError, match=r"rate: .*greater than 0 \(found -1"):
        make_config(Printed, {"rate": -1})


def test_terms_are_means_over_their_own_items() -> None:
    sums: dict[str, Any] = {}
    for text, classes, known in ((1.0, 0.0, 0), (4.0, 6.0, 2), (4.0, 3.0, 1)):
        terms = {"text": torch.tensor(text), "classes": torch.tensor(classes)}
        add_terms(sums, terms, {"classes": known}, 2 if text == 1 else 1, torch.float64)
    assert mean_of(sums) == {"loss": 7.5, "loss.text": 2.5, "loss.classes": 5.0}
    none: dict[str, Any] = {}
    add_terms(none, {"a": torch.tensor(2.0), "b": torch.tensor(math.nan)}, {"b": 0}, 3, torch.float64)
    found = mean_of(none)
    assert found["loss"] == found["loss.a"] == 2 and math.isnan(found["loss.b"])
    assert math.isnan(mean_of({})["loss"])


def test_the_generator_of_an_apple_gpu_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    monkeypatch.setattr("torch.mps.get_rng_state", lambda: torch.tensor([1, 255, 7], dtype=torch.uint8))
    monkeypatch.setattr("torch.mps.set_rng_state", kept.append)
    set_random(random_state())
    assert [state.tolist() for state in kept] == [[1, 255, 7]]


def test_lines_end_at_a_line_feed_and_not_within_a_text(tmp_path: Path) -> None:
    folder = RunFolder(open_store(tmp_path, "d"), "runs/m/r")
    lines = [{"id": "a", "said": "one\u2028two\x85three\x1cfour"}, {"id": "b"}]
    folder.write_lines("lines.jsonl", lines)
    assert folder.read_lines("lines.jsonl") == lines


def test_checkpoints_come_back_and_damage_is_seen(tmp_path: Path) -> None:
    folder = RunFolder(open_store(tmp_path, "d"), "runs/m/r")
    assert read_checkpoint(folder) is None
    network = torch.nn.Linear(3, 2)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1)
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    log = (EpochLog("a", 0, 0.1, {"loss": 1 / 3}, {"loss": math.nan}),)

    def write(step: int) -> None:
        state = random_state()
        write_checkpoint(
            folder,
            Checkpoint(
                Progress(1, 2, step, 0.5, True, {"loss.a": 0.1, "items.a": 3}, log, {"a": {"loss": math.nan}}),
                network.state_dict(), optimiser.state_dict(), {"w": np.arange(3)}, {"s": {"epoch": 1}}, [state],
                {"scale": 2.0},
            ),
        )  # fmt: skip

    write(7)
    expected = [random.random(), float(np.random.rand()), float(torch.rand(()))]
    found = read_checkpoint(folder)
    assert found is not None and found.progress.step == 7 and found.progress.sums == {"loss.a": 0.1, "items.a": 3}
    assert math.isnan(found.progress.log[0].dev["loss"]) and found.progress.log[0].train == {"loss": 1 / 3}
    assert math.isnan(found.progress.before["a"]["loss"])
    set_random(found.random[0])
    assert [random.random(), float(np.random.rand()), float(torch.rand(()))] == expected
    other = torch.optim.Adam(network.parameters(), lr=9.0)
    other.load_state_dict(dict(found.optimiser))
    mine, theirs = other.state_dict()["state"], optimiser.state_dict()["state"]
    assert list(mine) == list(theirs) == [0, 1]
    assert all(torch.equal(mine[n][name], value) for n, values in theirs.items() for name, value in values.items())
    assert other.param_groups[0]["lr"] == 0.1
    assert all(torch.equal(found.weights[n], v) for n, v in network.state_dict().items())
    assert found.memory["w"].tolist() == [0, 1, 2] and found.streams == {"s": {"epoch": 1}}
    half = Path(folder.home.url) / "checkpoints" / "00000007-1-0003"
    half.mkdir()
    (half / ".tmp-1-ab").write_bytes(b"a kill came while this was written")
    write(8)
    (place,) = folder.list("checkpoints")
    assert place.startswith("00000008")
    assert not [p for p in Path(folder.home.url).rglob("*") if p.suffix in (".pt", ".pkl", ".ckpt")]
    file = Path(folder.home.url) / "checkpoints" / place / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(Corrupt, match=r"weights\.safetensors.*damaged"):
        read_checkpoint(folder)
    (file.parent / "checkpoint.json").unlink()
    assert read_checkpoint(folder) is None  # never completed: it does not exist


@pytest.mark.parametrize(("cores", "devices", "expected"), [(1, 1, 1), (3, 1, 2), (16, 1, 4), (16, 8, 1), (32, 8, 3)])
def test_readers_beside_a_gpu(monkeypatch: pytest.MonkeyPatch, cores: int, devices: int, expected: int) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert RunOptions("cuda", devices).readers == expected
    assert RunOptions("cuda", devices, workers=0).readers == 0 and RunOptions("cpu", workers=3).readers == 3
    assert RunOptions("cpu").readers == 0


def test_processes_wait_while_the_first_looks_at_dev(monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as that takes: torch's half hour would end a run that could then never get past this epoch."""
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)
    assert make_fabric(RunOptions(devices=2)).strategy._timeout >= timedelta(days=1)


def test_a_state_shares_its_memory_with_workers() -> None:
    from multiprocessing.reduction import ForkingPickler

    state = State({"vectors": np.arange(6, dtype=np.float32).reshape(2, 3)}, {"words": ["a"]})
    one, other = (ForkingPickler.loads(bytes(ForkingPickler.dumps(state))) for _ in range(2))
    assert one.arrays["vectors"].tolist() == [[0, 1, 2], [3, 4, 5]] and one.values == {"words": ["a"]}
    one.arrays["vectors"][0, 0] = 7
    assert other.arrays["vectors"][0, 0] == 7 and state.arrays["vectors"][0, 0] == 0


def test_runs_are_found_by_what_names_them(tmp_path: Path) -> None:
    for name in ("20260101-1-aa", "20260102-1-bb"):
        folder = RunFolder(open_store(tmp_path, "d"), f"runs/m/{name}")
        folder.write_json("run.json", {"version": 1})
    (tmp_path / "d" / "log").mkdir()
    for name in ("20260102-1-bb", "m/20260102-1-bb", "runs/m/20260102-1-bb", f"{tmp_path}/d/runs/m/20260102-1-bb/"):
        assert find_run(str(tmp_path), name).run == "20260102-1-bb"
    with pytest.raises(NotFound, match="no run 'x'.*the latest are m/20260101-1-aa, m/20260102-1-bb"):
        find_run(str(tmp_path), "x")


def test_spreads_and_tables() -> None:
    values = [0.5, 0.75, None, 0.7, math.nan]
    found = spread(values)
    kept = [0.5, 0.75, 0.7]
    mean = sum(kept) / 3
    assert math.isclose(found.mean, mean) and found.runs == 3
    assert math.isclose(found.deviation, math.sqrt(sum((v - mean) ** 2 for v in kept) / 2))
    assert found.text(100, 1) == "65.0 ± 13.2" and spread([0.25]).text(100, 2) == "25.00" and spread([]).text() == "-"
    assert plain_table(["a", "b"], [["xy", "1.5"]]) == "a     b\n--  ---\nxy  1.5"


def naive(a: list[float], b: list[float], samples: int, seed: int) -> tuple[float, float]:
    """One-sided p and the lower end of the interval, by loops over the same draws."""
    draw = np.random.default_rng(seed)
    sign = 1 if sum(a) > sum(b) else -1
    differences = []
    for _ in range(samples):
        rows = draw.integers(0, len(a), len(a)).tolist()
        differences.append(sum(a[r] for r in rows) / len(a) - sum(b[r] for r in rows) / len(b))
    lost = sum(1 for d in differences if d * sign <= 0)
    ordered = sorted(differences)
    place = 0.025 * (samples - 1)
    low = ordered[int(place)] + (place - int(place)) * (ordered[int(place) + 1] - ordered[int(place)])
    return (1 + lost) / (1 + samples), low


def test_the_paired_bootstrap_against_loops() -> None:
    draw = np.random.default_rng(2)
    for shift in (0.0, 0.02, -0.3):
        a, b = draw.random(40), draw.random(40)
        a = a + shift
        found = paired_bootstrap(40, lambda r, v=a: float(v[r].mean()), lambda r, v=b: float(v[r].mean()), samples=300)
        p, low = naive(a.tolist(), b.tolist(), 300, 0)
        assert math.isclose(found.p, p) and math.isclose(found.low, low, abs_tol=1e-12) and found.low < found.high
        assert math.isclose(found.difference, a.mean() - b.mean())
    same = paired_bootstrap(5, lambda r: 1.0, lambda r: 1.0, samples=10)
    assert same.p == 1.0 and same.difference == 0
    with pytest.raises(ValueError, match="at least one row"):
        paired_bootstrap(0, lambda r: 1.0, lambda r: 1.0)


def test_intervals_against_loops() -> None:
    values = np.random.default_rng(3).random(30)
    found = intervals(30, lambda rows: {"mean": float(values[rows].mean()), "never": math.nan}, samples=101)
    draw = np.random.default_rng(0)
    means = sorted(sum(values[n] for n in draw.integers(0, 30, 30)) / 30 for _ in range(101))
    assert math.isclose(found["mean"][0], (means[2] + means[3]) / 2) and math.isnan(found["never"][0])
    assert math.isclose(found["mean"][1], (means[97] + means[98]) / 2)


def test_a_better_system_is_found_better() -> None:
    draw = np.random.default_rng(0)
    a, b = (draw.random(400) < 0.8).astype(float), (draw.random(400) < 0.6).astype(float)

    def mean(values: np.ndarray) -> Any:
        return lambda rows: float(values[rows].mean())

    found = paired_bootstrap(400, mean(a), mean(b), samples=200)
    assert found.p < 0.01 and found.low > 0
    assert paired_bootstrap(400, mean(b), mean(a), samples=200).p == found.p


def test_shares_are_compared_in_the_papers_unit_and_ranks_as_they_are() -> None:
    rows = {"full": {"r1": 38.1, "median": 3}}
    paper = PaperTable("Table 2", "other", {"r1": "R@1", "median": "Med r"}, rows, unscaled=("median",))
    text = results_text("", "full", {"r1": spread([0.25]), "median": spread([7.0])}, paper, (), {"median": [5.0, 9.0]})
    lines = [line.split() for line in text.splitlines()]
    assert ["ours:", "full", "25.00", "7.00"] in lines and ["paper:", "full", "*", "38.10", "3.00"] in lines
    assert ["95", "%", "interval", "-", "5.00..9.00"] in lines


def test_the_papers_columns_lead() -> None:
    metrics = {"bleu_1": 0.1, "image_precision": 0.2, "rouge_1": 0.3, "zeal": None}
    found = list(leading(metrics, "hcscl"))
    paper = find_task("hcscl").paper
    assert paper is not None and found[:3] == [c for c in paper.columns if c in metrics] and found[3] == "zeal"
    assert leading(metrics, "toy_task:Gone") == leading(metrics, "") == metrics
