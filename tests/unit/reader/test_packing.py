"""A batch in one block is the batch: values, types, strides, and which tensors are one."""

from __future__ import annotations

import multiprocessing
import pickle
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from diptych.storage import blocks
from diptych.storage.blocks import Blocks
from diptych.storage.packing import Packed, Packing, pack


@dataclass(frozen=True)
class Inner:
    mask: torch.Tensor
    words: tuple[str, ...] = ("a",)


@dataclass(frozen=True)
class Outer:
    floats: torch.Tensor
    same: torch.Tensor
    inner: Inner
    nothing: None = None
    arrays: tuple[np.ndarray, ...] = ()


def equal(one: Any, other: Any) -> bool:
    """Bit for bit, with types."""
    if isinstance(one, torch.Tensor):
        bits = [x.contiguous().reshape(-1).view(torch.uint8) for x in (one, other)]
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(*bits)
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if hasattr(one, "__dataclass_fields__"):
        return type(one) is type(other) and all(
            equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one)
        )
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def test_a_nested_batch() -> None:
    floats = torch.randn(5, 7)
    arrays = (np.arange(3), np.random.default_rng(0).normal(size=(40, 9)), np.arange(900, dtype=">i8"),
              np.asfortranarray(np.eye(50)), np.array(["text", None], object))  # fmt: skip
    batch = Outer(floats, floats, Inner(torch.tensor([True, False])), arrays=arrays)
    packed = pack(batch)
    found = packed.unpack()
    assert equal(found, batch) and found.same is found.floats and found.nothing is None
    assert all(place.start % 64 == 0 for place in packed.places)
    assert packed.block is not None
    start = packed.block.data_ptr()
    for view in (found.floats, found.inner.mask):
        assert start <= view.data_ptr() < start + len(packed.block)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64,
                                   torch.complex64])  # fmt: skip
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (5, 3)])
def test_every_type_and_shape(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = (torch.randn(shape) * 5).to(dtype)
    found = pack([torch.zeros(3, dtype=torch.uint8), tensor]).unpack()[1]
    assert equal(found, tensor)


def test_strides() -> None:
    images = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    some, wide = torch.randn(6, 8).t(), torch.randn(6, 8)[::2, 1:5]
    broad = torch.randn(1, 3).expand(4, 3)
    found = pack((images, some, wide, broad)).unpack()
    assert equal(found, (images, some, wide, broad))
    assert found[0].stride() == images.stride() and found[1].stride() == some.stride()
    assert found[2].is_contiguous() and found[3].is_contiguous()


def test_tensors_that_are_more_than_numbers() -> None:
    weight, sparse = torch.nn.Parameter(torch.ones(3)), torch.eye(3).to_sparse()
    found = pack([weight, sparse, torch.ones(2, requires_grad=True), None]).unpack()
    assert isinstance(found[0], torch.nn.Parameter) and found[2].requires_grad
    assert torch.equal(found[1].to_dense(), torch.eye(3))
    assert pack(None).unpack() is None


def test_views_may_be_written_and_outlive_the_block() -> None:
    source = torch.arange(4)
    one, other = pack((source, torch.zeros(4))).unpack()
    one += 1
    other[:] = 7
    assert one.tolist() == [1, 2, 3, 4] and source.tolist() == [0, 1, 2, 3] and other.tolist() == [7.0] * 4


def test_one_block_goes_through_a_pickle() -> None:
    packed = pack({"a": torch.arange(5), "b": [torch.ones(2, 2)]})
    found = pickle.loads(pickle.dumps(packed)).unpack()  # noqa: S301
    assert found["a"].tolist() == [0, 1, 2, 3, 4] and torch.equal(found["b"][0], torch.ones(2, 2))


def numbered(samples: list[int]) -> dict[str, torch.Tensor]:
    """A batch whose size and bytes depend on its first sample."""
    number = samples[0]
    return {"values": torch.full((1000 * (1 + number * 7 % 5) + (2_000_000 if number == 8 else 0),), number)}


def test_blocks_go_back_to_their_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where torch's thread pins what arrives; batches of several sizes, one larger than all before it."""
    monkeypatch.setattr(blocks, "_page_locked", lambda size: torch.empty(size, dtype=torch.uint8))
    context = multiprocessing.get_context("forkserver")
    own = Blocks(context, 2)
    loader = DataLoader(
        range(40),  # type: ignore[arg-type]
        batch_size=1,
        num_workers=2,
        collate_fn=Packing(numbered, own),
        multiprocessing_context=context,
    )
    kept, arrived = [], 0
    for packed in loader:
        assert isinstance(packed, Packed) and packed.lent is not None
        arrived += packed.block is not None
        kept.append(packed.pin_memory().unpack())
    for number, batch in enumerate(kept):  # none was written over when its block came back
        assert torch.equal(batch["values"], numbered([number])["values"])
    assert arrived < 20, "most batches came in a block that had been there before"
    assert len(own._blocks) <= arrived and len(own._blocks) < 12


def test_a_loader_that_is_closed_lets_its_blocks_go() -> None:
    own = Blocks(multiprocessing.get_context("forkserver"), 1)
    name = own.name
    assert blocks.open_blocks(name) is own
    del own
    with pytest.raises(KeyError):
        blocks.open_blocks(name)
