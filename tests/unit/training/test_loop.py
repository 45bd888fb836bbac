"""The loop on a toy task: it learns, stops at any step, goes on to the bit, and leaves a whole run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toy_task import KILL, ToyTask
from typer.testing import CliRunner

from diptych.exceptions import DiptychError, NotFound, Unfinished, UsageError
from diptych.storage.retire import versions_in_use
from diptych.training.comparison import group_runs
from diptych.training.folder import RunFolder, find_run, find_runs
from diptych.training.options import RunOptions, check_machine, make_fabric
from diptych.training.phase import Stream
from diptych.training.series import train_series
from diptych.training.train import Order, continue_run, start_run, train
from diptych.version import Version

TOY = Order("toy_task:ToyTask", seed=3)
PLAIN = RunOptions(tensorboard=False)


def quiet(text: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def finished(version: Version) -> RunFolder:
    said: list[str] = []
    folder = train(version, TOY, RunOptions(), said.append)
    assert any("takes at most" in line for line in said), said
    return folder


def files(folder: RunFolder) -> dict[str, bytes]:
    """What two equal runs have equal."""
    names = ["weights.safetensors", "metrics.json", "results.json", "predictions-dev.jsonl", "predictions-test.jsonl",
             "config.json", "state.json", "state.safetensors"]  # fmt: skip
    names += [n for n in folder.list("") if n.startswith("best-")]
    return {name: folder.home.read(name) for name in names}


def test_a_run_is_whole(finished: RunFolder, version: Version) -> None:
    about, results = finished.about(), finished.read_json("results.json")
    assert about["status"] == "finished" and about["version"] == 1 and about["seed"] == 3
    assert about["input_digest"] == version.manifest.input_digest and set(about["stages"]) == {"features"}
    assert set(about["fits"]) == {"common", "splits"}
    test = results["metrics"]["test"]
    majority = train(version, Order("toy_task:ToyTask", baseline="most_common"), PLAIN, quiet).read_json("results.json")
    assert test["accuracy"] > 1.5 * majority["metrics"]["test"]["accuracy"] > 0
    lines = finished.read_lines("predictions-test.jsonl")
    assert len(lines) == results["rows"]["test"] > 5
    right = [line["predicted"] == line["gold"] for line in lines]
    assert sum(right) / len(right) == test["accuracy"]
    text = finished.home.read("results.txt").decode()
    assert (
        f"ours: full  {100 * test['accuracy']:10.2f}".split()
        == [line.split() for line in text.splitlines() if line.startswith("ours")][0]
    )
    low, high = results["intervals"]["accuracy"]
    assert low <= test["accuracy"] <= high and f"{100 * low:.2f}..{100 * high:.2f}" in text
    assert "paper: full *" in text and "81.20" in text and "other pictures" in text
    assert "\nnote: Table 8 prints 81.3\n" in text and "warm_loss_before" in text
    before = finished.read_json("metrics.json")["before"]
    assert set(before) == {"warm"} and before["warm"]["loss"] > before["warm"]["loss.class"] > 0
    assert results["fitted"] == {"warm_loss_before": before["warm"]["loss.class"], "warm_epochs": 2.0}
    listed = {line.split()[0]: line for line in text.splitlines() if "(paper:" in line}
    assert set(listed) == {"clip", "dropout", "weights"} and "(paper: equal)" in listed["weights"]
    epochs = finished.read_json("metrics.json")["epochs"]
    assert [e["phase"] for e in epochs][:2] == ["warm", "warm"] and set(epochs[0]["train"]) == {
        "loss", "loss.class", "loss.phrase",
    }  # fmt: skip
    assert epochs[-1]["dev"]["accuracy"] >= 0
    assert any(name.startswith("events.out") for name in finished.list("events"))
    assert f"toy/{finished.run}" in versions_in_use(version.store)[1]


def test_the_rate_follows_the_dev_values(finished: RunFolder) -> None:
    epochs = [e for e in finished.read_json("metrics.json")["epochs"] if e["phase"] == "main"]
    best, rate = -1.0, 0.05
    for epoch in epochs:
        assert epoch["lr"] == rate
        rate = rate if epoch["dev"]["accuracy"] > best else rate / 2
        best = max(best, epoch["dev"]["accuracy"])


STEPS = (1, 7, 19, 34)
"""Inside the first phase, at its epoch's end or near it, inside the second phase."""


def test_it_goes_on_to_the_bit(finished: RunFolder, version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    import toy_task

    folder = start_run(version, TOY)
    last = 0
    for number in STEPS:
        monkeypatch.setattr(toy_task, "_steps", last)
        monkeypatch.setenv(KILL, str(number))
        with pytest.raises(Unfinished, match=rf"SIGTERM.*--resume toy/{folder.run}"):
            continue_run(folder, PLAIN, quiet)
        assert folder.about()["status"] == "unfinished" and not folder.exists("weights.safetensors")
        (place,) = folder.list("checkpoints")
        progress = folder.read_json(f"checkpoints/{place}/checkpoint.json")["progress"]
        assert progress["step"] == number
        last = number
    monkeypatch.delenv(KILL)
    continue_run(folder, PLAIN, quiet)
    assert files(folder) == files(finished)
    before = folder.home.read("run.json")
    continue_run(folder, PLAIN, quiet)  # a finished run is left as it is
    assert folder.home.read("run.json") == before


def test_another_seed_is_another_run(finished: RunFolder, version: Version) -> None:
    other = train(version, Order("toy_task:ToyTask", seed=4), PLAIN, quiet)
    assert files(other)["weights.safetensors"] != files(finished)["weights.safetensors"]


def test_half_precision(finished: RunFolder, version: Version) -> None:
    folder = train(version, TOY, RunOptions(precision="bf16-mixed", tensorboard=False), quiet)
    assert folder.about()["options"]["precision"] == "bf16-mixed"
    half, whole = (run.read_json("metrics.json")["epochs"][0]["train"]["loss"] for run in (folder, finished))
    assert half != whole and abs(half - whole) < 0.1 * whole
    assert {str(t.dtype) for t in folder.read_tensors("weights.safetensors").values()} <= {
        "torch.float32",
        "torch.int64",
    }


def test_time_is_up(version: Version) -> None:
    with pytest.raises(Unfinished, match="max_hours 0 are over"):
        train(version, TOY, RunOptions(max_hours=0.0, tensorboard=False), quiet)


def test_what_a_version_lacks_is_said_before_any_work(version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    class Needy(ToyTask):
        name = "needy"
        recipe_lines = {"grid": "grid: {model: vgg19, output: features}"}

        @classmethod
        def reads(cls, config: Any) -> dict[str, Stream]:
            return {"images": Stream(("features.pooled", "grid.grid", "ocr.lines"), "image")}

        @classmethod
        def prepare(cls, version: Version, config: Any) -> Any:
            raise AssertionError("work was begun")

    import toy_task

    monkeypatch.setattr(toy_task, "Needy", Needy, raising=False)
    with pytest.raises(NotFound) as caught:
        train(version, Order("toy_task:Needy"), PLAIN, quiet)
    text = str(caught.value)
    assert "no grid, ocr (it has" in text and "diptych build" in text
    assert "\n  grid: {model: vgg19, output: features}    # under stages; read as grid.grid\n" in text
    assert "\n  ocr: {}    # under stages; read as ocr.lines\n" in text
    assert not find_runs(version.store.root.url, model="needy")


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (Order("nothing"), "no model 'nothing'; there are"),
        (Order("toy_task:Absent"), "cannot import toy_task:Absent"),
        (Order("os:path"), r"'os:path': expected a subclass of diptych.training.task:Task, found <module 'posixpath'"),
        (Order("toy_task:most_common"), "expected a subclass of .*, found <function most_common"),
        (Order("toy_task:ToyConfig"), "expected a subclass of .*, found <class 'toy_task.ToyConfig'>"),
        (Order("diptych.training.task:Task"), "Task lacks build, collate, .*, name, Config"),
        (Order("toy_task:ToyTask", "huge"), "no preset 'huge'; it has debug, paper"),
        (Order("toy_task:ToyTask", ablation="x"), "no ablation 'x'; it has equal"),
        (Order("toy_task:ToyTask", settings={"widht": 3}), "widht: unknown setting; there are clip, dropout"),
        (Order("toy_task:ToyTask", settings={"width": "wide"}), r"width: .*integer.*\(found 'wide'\)"),
        (Order("toy_task:ToyTask", ablation="equal", baseline="narrow"), "not both"),
    ],
)
def test_orders_that_cannot_be(version: Version, order: Order, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        train(version, order, PLAIN, quiet)


def test_what_the_machine_lacks_is_said_before_a_run_is_begun(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1}, raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    before = find_runs(version.store.root.url)
    for options, message in (
        (RunOptions(devices=3), "--devices 3 on cpu: this machine has 2 cores"),
        (RunOptions("cuda"), "device cuda: this machine has no CUDA device"),
        (RunOptions("cuda", 2), "device cuda: this machine has no CUDA device"),
    ):
        for begin in (
            lambda o: train(version, TOY, o, quiet),
            lambda o: train_series(version, TOY, (0, 1), o, quiet),
        ):
            with pytest.raises(UsageError, match=message):
                begin(options)
    assert len(find_runs(version.store.root.url)) == len(before)
    check_machine(RunOptions(devices=2))
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UsageError, match="--devices 2 on cuda: this machine has 1 CUDA device,"):
        check_machine(RunOptions("cuda", 2))
    with pytest.raises(UsageError, match="2 devices of mps: name one"):
        RunOptions("mps", 2)


def test_processes_of_a_run_meet_at_its_own_port_whatever_the_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"MASTER_PORT": "1", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "a batch job"}.items():
        monkeypatch.setenv(name, value)
    fabric = make_fabric(RunOptions(devices=2))
    assert fabric.world_size == 2 and fabric.strategy.cluster_environment.main_port > 1023


def test_the_model_is_checked_before_the_dataset(tmp_path: Path) -> None:
    from diptych.cli import app

    for words, message in (
        (["x"], "no model 'x'; there are: ananet, gap, hcscl, hmlstm, mkp"),
        (["x", "--dataset", "nothing"], "no model 'x'; there are: ananet"),
        (["os:path", "--dataset", "nothing"], "expected a subclass of diptych.training.task:Task"),
        (["toy_task:ToyTask"], "diptych train toy_task:ToyTask needs --dataset D@V"),
        ([], "diptych train MODEL --dataset D@V"),
    ):
        done = CliRunner().invoke(app, ["train", *words, "--root", str(tmp_path)])
        assert isinstance(done.exception, UsageError) and message in str(done.exception), done.output


@pytest.mark.parametrize("seeds", ["-1", f"0,{2**63}", f"{2**70}"])
def test_seeds_that_torch_cannot_take_are_refused_before_any_run(built: Path, seeds: str) -> None:
    from diptych.cli import app

    words = ["train", "toy_task:ToyTask", "--dataset", "world@1", "--root", str(built), f"--seeds={seeds}"]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, UsageError) and "from 0 to 9223372036854775807" in str(done.exception)


def test_a_run_is_not_compared_with_itself(finished: RunFolder) -> None:
    same = find_run(finished.store.root.url, f"toy/{finished.run}")
    assert len(group_runs([same])[0].runs) == 1
    with pytest.raises(UsageError, match=f"run toy/{finished.run} is named twice"):
        group_runs([finished, same])


def test_what_build_has_frozen_no_phase_trains(version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    import toy_task

    class Fixed(ToyTask):
        def build(self) -> Any:
            module: Any = super().build()
            module.length.requires_grad_(False)
            return module

    monkeypatch.setattr(toy_task, "Fixed", Fixed, raising=False)
    folder = train(version, Order("toy_task:Fixed", "debug"), PLAIN, quiet)
    assert folder.read_tensors("weights.safetensors")["length"] == 0


def test_a_loss_that_is_not_finite_ends_the_run(version: Version) -> None:
    with pytest.raises(DiptychError, match="not finite"):
        train(version, Order("toy_task:ToyTask", settings={"lr": 1e30, "clip": 0.0}), PLAIN, quiet)


def test_commands(built: Path, tmp_path: Path) -> None:
    import shutil

    from diptych.cli import app

    shutil.copytree(built, tmp_path / "data")

    def call(*words: str) -> Any:
        done = CliRunner().invoke(app, [*words, "--root", str(tmp_path / "data")], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    quick = ("--config", "debug", "--no-tensorboard", "--quiet", "--set", "lr=0.02")
    text = call("train", "toy_task:ToyTask", "--dataset", "world@1", "--seeds", "0,1", *quick)
    assert "mean and deviation of 2 runs" in text and "±" in text and "paper: full *" in text
    (other,) = json.loads(
        call("train", "toy_task:ToyTask", "--dataset", "world@1", "--ablation", "equal", *quick, "--json")
    )
    assert other["row"] == "equal"
    runs = json.loads(call("runs", "list", "--json"))
    assert [(r["row"], r["seed"], r["status"]) for r in runs] == [
        ("full", 0, "finished"), ("full", 1, "finished"), ("equal", 0, "finished"),
    ]  # fmt: skip
    names = [r["run"] for r in runs]
    shown = json.loads(call("runs", "show", names[0], "--json"))
    assert shown["config"]["width"] == 4 and shown["config"]["lr"] == 0.02 and len(shown["epochs"]) == 4
    assert names[0] in call("runs", "show", names[0].partition("/")[2])
    text = call("compare", *names, "--plot", str(tmp_path / "plot.svg"), "--bootstrap", "accuracy", "--samples", "50")
    assert "toy full" in text and "toy equal" in text and "paper, other data" in text and "p = " in text
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")
    fair = json.loads(call("evaluate", names[0], "--dataset", "world@2", "--records-of", "world@1", "--json"))
    whole = json.loads(call("evaluate", names[0], "--dataset", "world@2", "--json"))
    assert 0 < fair["rows"] <= whole["rows"] and fair["trained_on"] == 0
    again = json.loads(call("evaluate", names[0], "--json"))
    assert again["metrics"] == runs[0]["metrics"]
    lines = [
        json.loads(line) for line in call("predict", names[0], "--input", "world@1", "--split", "test").splitlines()
    ]
    assert len(lines) == again["rows"]
    one = call("predict", names[0], "--input", "world@1", "--key", lines[0]["id"]).splitlines()
    assert [json.loads(line) for line in one] == lines[:1]
