"""A model's part of an exact resume; that of the loop is tests/unit/training/test_loop.py."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from diptych.training.task import Moment, Task

Step = tuple[str, Mapping[str, Any]]
"""A phase's name, and its batches by stream."""


def assert_goes_on_to_the_bit(make: Callable[[], Task], steps: Callable[[Task], Sequence[Step]]) -> None:
    """Weights after all steps are those of a run that was written to bytes after each step and begun anew.

    What is written is what the loop writes of a model: weights and buffers, the optimiser, torch's random state. So
    nothing else, hidden in task or module, may decide how it goes on.
    """
    whole = _run(make, steps, 1 << 30)
    pieces = _run(make, steps, 1)
    assert whole.keys() == pieces.keys() and whole
    for name, tensor in whole.items():
        assert torch.equal(tensor, pieces[name]), name


def _run(make: Callable[[], Task], steps: Callable[[Task], Sequence[Step]], most: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    task = make()
    module: Any = task.build()
    optimiser = torch.optim.Adam(module.parameters(), 1e-2)
    for number, (phase, batches) in enumerate(steps(task)):
        if number and number % most == 0:
            held = io.BytesIO()
            torch.save([module.state_dict(), optimiser.state_dict(), torch.get_rng_state()], held)
            torch.manual_seed(77)
            task = make()
            module = task.build()
            optimiser = torch.optim.Adam(module.parameters(), 1e-2)
            held.seek(0)
            weights, state, random = torch.load(held, weights_only=True)
            module.load_state_dict(weights)
            optimiser.load_state_dict(state)
            torch.set_rng_state(random)
        module.train()
        terms = task.loss(module, batches, Moment(phase))
        optimiser.zero_grad()
        torch.stack([term for term in terms.values()]).sum().backward()
        optimiser.step()
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}
