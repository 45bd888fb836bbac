"""The training loop: phases, epochs, steps; stops at any step and goes on to the bit.

What follows from what: weights from seed and order of rows; the order from seed, epoch and rows (``feed``); learning
rate, stopping and the chosen epoch from the dev values so far (``schedule``). A checkpoint holds the rest.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from diptych.exceptions import DiptychError, UsageError
from diptych.training.assignment import Assignment
from diptych.training.checkpoint import (
    Checkpoint,
    EpochLog,
    Progress,
    plain_weights,
    read_checkpoint,
    seed_everything,
    set_random,
    write_checkpoint,
)
from diptych.training.feed import Feed
from diptych.training.phase import Phase, Stream
from diptych.training.predicting import mean_terms, predict_lines, resting
from diptych.training.ranks import random_states, same_on_all
from diptych.training.schedule import best_epoch, factor, stopped
from diptych.training.stopping import Stopper
from diptych.training.task import Moment, Task
from diptych.training.terms import add_terms, mean_of
from diptych.training.tracking import Reporter

if TYPE_CHECKING:
    import torch

__all__ = ["NotFinite", "fit", "make_optimiser"]

LOOK_EVERY = 50
"""Steps after which the loss is looked at on the CPU: a loss that is not finite ends the run."""


class NotFinite(DiptychError):
    """A loss is not a finite number; the same steps would end in it again."""


def fit(fabric: Any, assignment: Assignment, say: Callable[[str], None] | None = None) -> str:
    """Train in this process (one of ``fabric``'s); returns why it stopped early, empty when the run is fitted."""
    with Stopper(assignment.options.max_hours) as stopper:
        loop = _Loop(fabric, assignment, stopper, say)
        try:
            return loop.run()
        finally:
            loop.close()


class _Given:
    """A step's input, opaque to Fabric and DDP, which would take frozen dataclasses apart."""

    def __init__(self, batches: Mapping[str, Any], moment: Moment) -> None:
        self.batches, self.moment = batches, moment


class _Loop:
    """One process's share of a run; the first one alone writes, looks at dev and speaks."""

    def __init__(
        self, fabric: Any, assignment: Assignment, stopper: Stopper, say: Callable[[str], None] | None
    ) -> None:
        self._fabric, self._stopper = fabric, stopper
        self._seed, self._options = assignment.seed, assignment.options
        self._version, self._task, self._folder = assignment.open(), assignment.task(), assignment.folder()
        self._lead = fabric.global_rank == 0
        seed_everything(self._seed)
        self._module = self._task.build().to(fabric.device)
        self._fixed = {name for name, parameter in self._module.named_parameters() if not parameter.requires_grad}
        """what ``build`` has frozen"""
        if not self._lead:
            seed_everything(self._seed + 1_000_003 * fabric.global_rank)  # other dropout than the first process
        self._feeds: dict[str, Feed] = {}
        self._states: dict[str, Mapping[str, int | str | bool]] = {}
        """of streams that a checkpoint knows and no phase has opened yet"""
        self._optimiser: torch.optim.Optimizer | None = None
        self._memory: Mapping[str, np.ndarray] = {}
        self._progress = Progress()
        self._began = self._saved = time.monotonic()
        self._spent = 0.0
        self._reporter = Reporter(self._folder if self._lead else None, self._options.tensorboard, say)

    def close(self) -> None:
        """Release readers and files."""
        for feed in self._feeds.values():
            feed.close()
        self._reporter.close()

    @cached_property
    def _phases(self) -> tuple[Phase, ...]:
        phases, known = self._task.phases(), set(self._task.reads(self._task.config))
        for phase in phases:
            if not phase.streams or set(phase.streams) - known:
                raise UsageError(f"phase {phase.name} reads {list(phase.streams)}; reads() has {sorted(known)}")
        return phases

    def run(self) -> str:
        """All phases; why it stopped early, or an empty text."""
        resumed = read_checkpoint(self._folder)
        if resumed is not None:
            self._progress, self._memory, self._states = resumed.progress, resumed.memory, dict(resumed.streams)
            self._spent = resumed.progress.seconds
            self._module.load_state_dict(resumed.weights)
            self._reporter.say(f"going on after step {resumed.progress.step:,}")
        self._reporter.start(self._progress.step)
        for phase in self._phases[self._progress.phase :]:
            self._check_rows(phase)
        while self._progress.phase < len(self._phases):
            reason = self._phase(self._phases[self._progress.phase], resumed)
            resumed = None
            if reason:
                return reason
        if self._lead:
            with resting(self._fabric, self._module):
                self._task.after_training(self._module, self._all("scored", replace(self._task.scored(), each="")))
            self._folder.write_tensors("weights.safetensors", plain_weights(self._module.state_dict()))
        self._fabric.barrier()
        return ""

    def _check_rows(self, phase: Phase) -> None:
        """Refuse a phase that has too few rows to train on, or none to choose its epoch by."""
        for name, stream in phase.streams.items():
            feed = self._open(name, stream, "train", train=True)
            if not len(feed):
                lost = ", ".join(f"{n} for want of {producer}" for producer, n in feed.dropped.items())
                raise UsageError(
                    f"stream {name} of phase {phase.name} has {len(feed.records)} rows of train, fewer than a batch "
                    f"needs; rows left out: {lost or 'none'}"
                )
        name, stream = next(iter(phase.streams.items()))
        if self._lead and phase.keep == "best" and not len(self._open(name, stream, "dev")):
            raise UsageError(
                f"stream {name}: the version has no row of dev, so no epoch can be chosen; "
                "see the recipe's splits, or choose a version that has one"
            )

    def _phase(self, phase: Phase, resumed: Checkpoint | None) -> str:
        """One phase from where the progress stands."""
        step, optimiser = self._set_up(phase, resumed)
        if phase.before and phase.name not in self._progress.before:
            dev = self._fabric.broadcast(self._dev(phase) if self._lead else {})
            self._progress = replace(self._progress, before={**self._progress.before, phase.name: dev})
        while self._progress.epoch < phase.epochs:
            values = self._values(phase)
            if phase.keep == "best" and stopped(values, self._task.config.patience, phase.monitor):
                break
            lr = phase.optimiser.lr * factor(phase.schedule, values, phase.monitor)
            for group in optimiser.param_groups:
                group["lr"] = lr
            if reason := self._epoch(phase, step, optimiser):
                return reason
            self._end_epoch(phase, lr)
        if phase.keep == "best":
            best = best_epoch(self._values(phase), phase.monitor)
            if best is not None:
                self._module.load_state_dict(self._folder.read_tensors(_best_name(phase, best)))
        self._optimiser = None
        self._progress = replace(self._progress, phase=self._progress.phase + 1, epoch=0)
        self._checkpoint()
        return ""

    def _values(self, phase: Phase) -> list[float]:
        """The monitored dev values of the phase so far."""
        found = [entry for entry in self._progress.log if entry.phase == phase.name]
        return [entry.dev.get(phase.monitor.name, math.nan) for entry in found]

    def _set_up(self, phase: Phase, resumed: Checkpoint | None) -> tuple[Any, Any]:
        """The step as a module of Fabric's, and the optimiser, both as ``resumed`` left them."""
        for name, parameter in self._module.named_parameters():
            parameter.requires_grad_(name not in self._fixed and not name.startswith(phase.frozen))
        optimiser = make_optimiser(phase, [p for p in self._module.parameters() if p.requires_grad])
        if resumed is not None and resumed.optimiser:
            optimiser.load_state_dict(dict(resumed.optimiser))
        self._optimiser = optimiser
        step = self._fabric.setup_module(_step_module(self._task, self._module), move_to_device=False)
        if resumed is not None:
            if resumed.scaler:
                self._fabric.strategy.precision.load_state_dict(dict(resumed.scaler))
            if len(resumed.random) == self._fabric.world_size:
                set_random(resumed.random[self._fabric.global_rank])
            else:
                self._reporter.say("the number of processes has changed: this goes on, but not to the bit")
        return step, self._fabric.setup_optimizers(optimiser)

    def _open(self, name: str, stream: Stream, split: str, *, train: bool = False) -> Feed:
        """The feed of a stream, opened once: of train shuffled and shared by all processes, else in order and whole."""
        slot = name if train else f"{name} of {split}"
        if slot not in self._feeds:
            feed = Feed(
                self._version,
                self._task,
                name,
                stream,
                split=split,
                shuffle=train,
                seed=self._seed,
                workers=self._options.readers if train else self._options.other_readers,
                rank=self._fabric.global_rank if train else 0,
                world=self._fabric.world_size if train else 1,
                pin_memory=self._fabric.device.type == "cuda",
            )
            if train and name in self._states:
                feed.load_state_dict(self._states[name])
            self._feeds[slot] = feed
        return self._feeds[slot]

    def _epoch(self, phase: Phase, step: Any, optimiser: Any) -> str:
        import torch

        first, *others = phase.streams
        feed, device = self._feeds[first], self._fabric.device
        wide = torch.float32 if device.type == "mps" else torch.float64
        if not self._progress.begun:
            self._before_epoch(phase)
            self._progress = replace(self._progress, begun=True, sums={})
        moment = Moment(phase.name, self._progress.epoch, self._memory)
        around: dict[str, Iterator[Any]] = {name: self._feeds[name].forever() for name in others}
        sums: dict[str, Any] = dict(self._progress.sums)
        self._module.train()
        self._reporter.epoch(phase, self._progress.epoch, len(feed), feed.steps_left)
        for batch in feed:
            batches = {first: batch, **{name: next(other) for name, other in around.items()}}
            terms = step(_Given({name: b.to(device) for name, b in batches.items()}, moment))
            total = sum(terms.values())
            optimiser.zero_grad()
            self._fabric.backward(total)
            if self._task.config.clip:
                limit = self._task.config.clip
                self._fabric.clip_gradients(step, optimiser, max_norm=limit, error_if_nonfinite=False)
            optimiser.step()
            add_terms(sums, terms, self._task.items(batches, moment), len(batch), wide)
            self._progress = replace(self._progress, step=self._progress.step + 1)
            self._reporter.step(self._progress.step)
            if self._progress.step % LOOK_EVERY == 0:
                self._look(phase, terms)
            reason = same_on_all(self._fabric, self._progress.step, lambda: self._stopper.reason)
            if reason or self._late():
                self._progress = replace(self._progress, sums={name: float(v) for name, v in sums.items()})
                self._checkpoint()
            if reason:
                return reason
        self._progress = replace(self._progress, sums={name: float(v) for name, v in sums.items()})
        return ""

    def _all(self, name: str, stream: Stream) -> Iterator[Any]:
        """All training batches of a stream, in order; opened when the first is asked for."""
        feed = self._open(name, stream, "train")
        feed.set_epoch(0)
        for batch in feed:
            yield batch.to(self._fabric.device)

    def _before_epoch(self, phase: Phase) -> None:
        """Ask the task for what it computes from the whole training set; the first process's answer is everybody's."""
        name, stream = next(iter(phase.streams.items()))
        found: Mapping[str, np.ndarray] | None = None
        if self._lead:
            with resting(self._fabric, self._module):
                found = self._task.before_epoch(
                    self._module, self._all(name, stream), Moment(phase.name, self._progress.epoch, self._memory)
                )
        found = self._fabric.broadcast(found)
        if found is not None:
            self._memory = found

    def _look(self, phase: Phase, terms: Mapping[str, Any]) -> None:
        values = {f"{phase.name}/step/{name}": float(value.detach()) for name, value in terms.items()}
        if not all(map(math.isfinite, values.values())) and self._options.precision != "16-mixed":
            raise NotFinite(
                f"phase {phase.name}, step {self._progress.step:,}: the loss is not finite ({values}). The run's last "
                "checkpoint stays; a smaller learning rate or clip is set with --set in a new run"
            )
        self._reporter.scalars(values, self._progress.step)

    def _late(self) -> bool:
        """Whether a checkpoint is due inside the epoch (several processes write theirs after each epoch only)."""
        minutes = (time.monotonic() - self._saved) / 60
        return self._fabric.world_size == 1 and minutes > self._options.checkpoint_minutes

    def _end_epoch(self, phase: Phase, lr: float) -> None:
        """Look at dev, keep the best weights, log, write a checkpoint."""
        epoch, train = self._progress.epoch, mean_of(self._progress.sums)
        if not math.isfinite(train.get("loss", math.nan)):
            raise NotFinite(f"phase {phase.name}, epoch {epoch + 1}: the mean loss is not finite ({train})")
        dev = self._fabric.broadcast(self._dev(phase) if self._lead else {})
        entry = EpochLog(phase.name, epoch, lr, train, dev)
        log = (*self._progress.log, entry)
        self._progress = replace(self._progress, epoch=epoch + 1, begun=False, sums={}, log=log)
        best = best_epoch(self._values(phase), phase.monitor) == epoch
        if best and self._lead and phase.keep == "best":
            self._folder.write_tensors(_best_name(phase, epoch), plain_weights(self._module.state_dict()))
        self._reporter.finished(entry, self._progress.step, phase.monitor.name, best)
        self._checkpoint()
        if best and self._lead:
            mine = re.compile(rf"best-{re.escape(phase.name)}-\d+\.safetensors")
            for name in self._folder.list(""):
                if mine.fullmatch(name) and name != _best_name(phase, epoch):
                    self._folder.delete(name)

    def _dev(self, phase: Phase) -> dict[str, float]:
        """The dev values after an epoch: loss terms, and metrics when one is monitored."""
        feeds = {name: self._open(name, stream, "dev") for name, stream in phase.streams.items()}
        first = next(iter(feeds.values()))
        if not len(first):
            return {}
        moment = Moment(phase.name, self._progress.epoch, self._memory)
        values = mean_terms(self._fabric, self._task, self._module, feeds, moment)
        if not phase.monitor.name.startswith("loss"):
            feed = self._open("scored", self._task.scored(), "dev")
            values |= self._task.evaluate(predict_lines(self._fabric, self._task, self._module, feed))
            if phase.monitor.name not in values:
                raise UsageError(f"phase {phase.name} watches {phase.monitor.name!r}; there are {', '.join(values)}")
        return {name: float(value) for name, value in values.items()}

    def _checkpoint(self) -> None:
        """Write where the run stands; every process must come here."""
        states = random_states(self._fabric)
        if self._lead:
            seconds = self._spent + time.monotonic() - self._began
            self._progress = replace(self._progress, seconds=seconds)
            write_checkpoint(
                self._folder,
                Checkpoint(
                    progress=self._progress,
                    weights=self._module.state_dict(),
                    optimiser=self._optimiser.state_dict() if self._optimiser is not None else {},
                    memory=self._memory,
                    streams=self._states | {f.name: f.state_dict() for s, f in self._feeds.items() if s == f.name},
                    random=states,
                    scaler=self._fabric.strategy.precision.state_dict(),
                ),
            )
            log = [_plain(entry) for entry in self._progress.log]
            self._folder.write_json("metrics.json", {"epochs": log, "before": dict(self._progress.before)})
        self._saved = time.monotonic()
        self._fabric.barrier()


def _plain(entry: EpochLog) -> dict[str, Any]:
    return {"phase": entry.phase, "epoch": entry.epoch, "lr": entry.lr, "train": entry.train, "dev": entry.dev}


def _best_name(phase: Phase, epoch: int) -> str:
    return f"best-{phase.name}-{epoch:04d}.safetensors"


def _step_module(task: Task, module: Any) -> Any:
    """The loss as a module's forward, so that precision and DDP see all of a step, whatever methods it calls."""
    import torch

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, given: _Given) -> dict[str, torch.Tensor]:
            return task.loss(self.module, given.batches, given.moment)

    return Step()


def make_optimiser(phase: Phase, parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    """A phase's optimiser, fresh."""
    import torch

    settings = phase.optimiser
    if settings.name == "sgd":
        return torch.optim.SGD(
            parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
        )
    kind = torch.optim.AdamW if settings.name == "adamw" else torch.optim.Adam
    return kind(parameters, lr=settings.lr, weight_decay=settings.weight_decay)
