"""The split ledger: no leak within a version or across versions, whatever arrives, leaves or bridges."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from diptych.exceptions import StageError
from diptych.fits.splits import SPLITS, Splits, SplitsConfig, crossing, official_split, oversized
from diptych.naming import pair_key, record_id, shard_of


@dataclass(frozen=True)
class Doc:
    """A record with the groups of its pictures."""

    name: str
    groups: tuple[str, ...] = ()
    recurring: tuple[str, ...] = ()
    official: str = ""
    key: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", record_id("s", self.name))


def fit(docs: list[Doc], previous: pa.Table | None = None, shards: int = 1, **config: Any) -> pa.Table:
    stage = Splits(SplitsConfig(**config))
    partials = []
    for shard in range(shards):
        mine = [d for d in docs if shard_of(d.key, shards) == shard]
        columns = {
            "near_duplicates.key": [[pair_key(d.key, g) for g in (*d.groups, *d.recurring)] for d in mine],
            "near_duplicates.group": [[*d.groups, *d.recurring] for d in mine],
            "near_duplicates.recurring": [[False] * len(d.groups) + [True] * len(d.recurring) for d in mine],
            "documents.split": [d.official for d in mine],
        }
        partials.append(stage.partial([d.key for d in mine], columns))
    result = stage.merge(partials, previous)
    assert result.schema.equals(stage.outputs)
    assert result["key"].to_pylist() == sorted(set(result["key"].to_pylist()))
    return result


def splits(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["key"].to_pylist(), table["split"].to_pylist(), strict=True))


def named(split: str, count: int, **kwargs: Any) -> list[Doc]:
    """Documents that stand alone in ``split``."""
    found = []
    for n in range(10_000):
        doc = Doc(f"{split}{n}", **kwargs)
        if splits(fit([doc]))[doc.key] == split:
            found.append(doc)
            if len(found) == count:
                return found
    raise AssertionError(split)


def with_groups(doc: Doc, *groups: str) -> Doc:
    return Doc(doc.name, groups, doc.recurring, doc.official)


def check_no_leak(docs: list[Doc], table: pa.Table) -> None:
    """Every picture that does not recur stands in one split, official records aside."""
    found = splits(table)
    seen: dict[str, set[str]] = {}
    for doc in docs:
        for group in doc.groups:
            if not doc.official:
                seen.setdefault(group, set()).add(found[doc.key])
    assert all(len(s) == 1 for s in seen.values())


def test_a_hundred_orders_of_arrival() -> None:
    rng = random.Random(0)
    docs = [Doc(f"d{n}", tuple(f"g{rng.randrange(60)}" for _ in range(rng.randrange(3)))) for n in range(80)]
    moved = 0
    for order in range(100):
        arrival = random.Random(order).sample(docs, len(docs))
        ledger, before, present = None, {}, []
        while arrival:
            step = random.Random(order * 1000 + len(arrival)).randrange(1, 30)
            present += arrival[:step]
            arrival = arrival[step:]
            ledger = fit(present, ledger, shards=1 << order % 3)
            now = splits(ledger)
            for key, split in before.items():
                assert SPLITS.index(now[key]) <= SPLITS.index(split)  # towards test, never towards train
                moved += now[key] != split
            check_no_leak(present, ledger)
            before = now
        assert fit(present, ledger).equals(ledger)  # from nothing with the same ledger
    assert moved  # the orders did exercise bridges


def test_a_bridge_moves_its_groups_to_the_most_protected_split() -> None:
    (train,), (test,), (dev,) = named("train", 1), named("test", 1), named("dev", 1)
    docs = [with_groups(train, "a"), with_groups(test, "b"), with_groups(dev, "c")]
    ledger = fit(docs)
    bridge = Doc("bridge", ("a", "b"))
    found = splits(fit([*docs, bridge], ledger))
    assert found == {train.key: "test", bridge.key: "test", test.key: "test", dev.key: "dev"}
    assert splits(fit([*docs, Doc("bridge", ("a", "c"))], ledger))[train.key] == "dev"


@pytest.mark.parametrize("split", SPLITS)
def test_a_picture_that_comes_back_under_another_record_stays_in_its_split(split: str) -> None:
    gone = [with_groups(doc, f"g{n}") for n, doc in enumerate(named(split, 20))]
    ledger = fit(gone)
    empty = fit([], ledger)  # a version without any of them
    back = [Doc(f"moved {n}", (f"g{n}",)) for n in range(20)]
    now = splits(fit(back, empty))
    assert {now[doc.key] for doc in back} == {split}
    changed = fit([with_groups(doc, "other", doc.key) for doc in gone], ledger)  # other pictures stand in them now
    assert {splits(fit([*gone, *back], changed))[doc.key] for doc in gone} <= set(SPLITS[: SPLITS.index(split) + 1])


def test_a_ledger_without_pictures_is_continued() -> None:
    docs = [with_groups(doc, f"g{n}") for n, doc in enumerate(named("train", 5))]
    before = fit(docs)
    assert fit(docs, before.drop_columns(["pictures"])).equals(before)


def test_a_deleted_bridge_still_binds() -> None:
    (train,), (test,) = named("train", 1), named("test", 1)
    docs = [with_groups(train, "a"), with_groups(test, "b")]
    bridged = fit([*docs, Doc("bridge", ("a", "b"))], fit(docs))
    after = fit(docs, bridged)
    assert after.equals(bridged) and len(set(after["group"].to_pylist())) == 1
    late = Doc("late", ("a",))
    assert splits(fit([*docs, late], after))[late.key] == "test"


def test_a_deleted_record_comes_back_where_it_was() -> None:
    first = Doc("first", ("a",))
    ledger = fit([first])
    gone = fit([Doc("other")], ledger)
    assert first.key in splits(gone)
    assert splits(fit([first], gone)) == splits(gone)


def test_a_logo_in_two_hundred_documents_joins_nothing() -> None:
    docs = [Doc(f"d{n}", (f"own{n}",), ("logo",)) for n in range(200)]
    table = fit(docs)
    assert len(set(table["group"].to_pylist())) == 200 and set(splits(table).values()) == set(SPLITS)
    assert len(set(fit([Doc(d.name, (*d.groups, "logo")) for d in docs])["group"].to_pylist())) == 1


def test_shares_are_as_configured() -> None:
    found = list(splits(fit([Doc(f"d{n}") for n in range(2000)], train=0.5, dev=0.2, test=0.3)).values())
    assert [abs(found.count(s) / 2000 - share) < 0.04 for s, share in zip(SPLITS, (0.3, 0.2, 0.5), strict=True)] == [
        True
    ] * 3
    assert splits(fit([Doc("d")], train=1, dev=0, test=0)) != {} and set(
        splits(fit([Doc("d")], train=0, dev=0, test=1)).values()
    ) == {"test"}


def test_changed_shares_move_nobody() -> None:
    docs = [Doc(f"d{n}") for n in range(100)]
    ledger = fit(docs)
    assert fit(docs, ledger, train=0, dev=0, test=1, seed="other").equals(ledger)


def test_official_splits_win_and_crossing_groups_are_listed() -> None:
    docs = [Doc("a", ("g",), official="train"), Doc("b", ("g",), official="validation"), Doc("c", ("g",)), Doc("d")]
    table = fit(docs)
    found = splits(table)
    assert [found[d.key] for d in docs[:3]] == ["train", "dev", "dev"]
    assert crossing(table) == [min(d.key for d in docs[:3])]
    assert fit(docs, table).equals(table)
    gone = fit(docs[2:], table)
    assert gone.equals(table)  # deleted official members keep what they had


def test_an_official_split_never_brings_a_record_into_train() -> None:
    (test,), (train,) = named("test", 1), named("train", 1)
    ledger = fit([test, train])
    late = [Doc(test.name, official="train"), Doc(train.name, official="test")]
    assert set(splits(fit(late, ledger)).values()) == {"test"}


def test_an_unknown_official_split_is_refused() -> None:
    with pytest.raises(StageError, match="record .*'holdout' is unknown; known are dev, .*; correct .* crawl again"):
        fit([Doc("a", official="holdout")])
    assert official_split(" ") is None and official_split(" Validation") == "dev"


def test_large_groups_are_named() -> None:
    docs = [Doc(f"d{n}", ("g",) if n < 5 else ()) for n in range(100)]
    assert list(oversized(fit(docs)).values()) == [5]


def test_shares_must_sum_to_one() -> None:
    with pytest.raises(ValidationError, match="must be 1"):
        SplitsConfig(train=0.5, dev=0.1, test=0.1)


DOC = st.builds(
    lambda n, groups, official: Doc(f"d{n}", tuple(groups), official=official),
    st.integers(0, 30),
    st.lists(st.sampled_from("abcdefgh"), max_size=3),
    st.sampled_from(["", "", "", "train", "dev", "test"]),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(DOC, max_size=12), min_size=1, max_size=5))
def test_any_history(versions: list[list[Doc]]) -> None:
    """Documents come, go and change their pictures and official splits between versions."""
    ledger, before = None, {}
    for version in versions:
        docs = list({d.key: d for d in version}.values())
        result = fit(docs, ledger)
        assert result.equals(fit(docs[::-1], ledger, shards=4)) and fit(docs, result).equals(result)
        now = splits(result)
        assert all(SPLITS.index(now[k]) <= SPLITS.index(s) for k, s in before.items())
        check_no_leak([d for d in docs if not d.official], result) if not any(result["official"].to_pylist()) else None
        ledger, before = result, now
