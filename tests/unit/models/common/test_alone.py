"""Networks on a processor: one row a thread, and the same last digits in any company."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diptych.models.common import alone as module  # noqa: E402
from diptych.models.common.alone import alone, is_processor, side_by_side  # noqa: E402


@pytest.fixture(autouse=True, params=[1, 2])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(module, "_POOLS", {})
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def seen_elsewhere() -> int:
    """Torch's threads in a thread it has not met."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_each_item_has_one_thread_and_nobody_else_notices(threads: int) -> None:
    assert side_by_side(lambda n: (n, torch.get_num_threads()), range(5)) == [(n, 1) for n in range(5)]
    assert torch.get_num_threads() == threads == seen_elsewhere()
    assert alone(torch.get_num_threads) == 1 and side_by_side(abs, []) == []


def test_as_many_at_once_as_torch_has_threads(threads: int) -> None:
    def name(most: int | None) -> int:
        met = threading.Barrier(threads if most is None else most)

        def where(_: int) -> int:
            met.wait(10)  # passes only when so many are at work
            return threading.get_ident()

        return len(set(side_by_side(where, range(2 * met.parties), most=most)))

    assert name(None) == threads and name(1) == 1


def test_an_item_may_look_at_items_itself() -> None:
    assert side_by_side(lambda n: side_by_side(lambda m: n * m, range(3)), range(4))[3] == [0, 3, 6]


def test_an_error_is_the_callers_and_the_next_call_works() -> None:
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda n: 1 // n, [1, 0, 2])
    assert side_by_side(lambda n: 1 // n, [1, 2]) == [1, 0]


def test_a_row_is_the_same_to_the_last_bit_in_any_company() -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 24, 5, padding=2), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(24 * 1024, 50)]
    network = torch.nn.Sequential(*layers).eval()
    pictures = torch.randn(6, 3, 32, 32)

    def look(row: int) -> np.ndarray:
        with torch.inference_mode():
            return network(pictures[row : row + 1]).numpy()

    expected = side_by_side(look, range(6))
    torch.set_num_threads(3)
    again = side_by_side(look, reversed(range(6)))[::-1]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(expected, again, strict=True))


def test_only_processors_take_rows_alone() -> None:
    assert is_processor("cpu") and is_processor("cpu:1") and not is_processor("cuda:0") and not is_processor("mps")
