"""Near-duplicate texts: the estimate against the exact share, order, scale, and the rule in a build."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from diptych.fits.near_duplicate_texts import NearDuplicateTexts, alike
from diptych.stage import Batch, Status
from diptych.stages.clean_documents import CleanDocuments
from diptych.stages.minhash import PLACES, SHINGLE, signature

VOCABULARY = [f"w{n}" for n in range(5000)]
Text = tuple[str, list[str]]


def words(seed: int, count: int = 150) -> list[str]:
    return random.Random(seed).choices(VOCABULARY, k=count)


def changed(text: list[str], count: int, seed: int = 0) -> list[str]:
    chance, found = random.Random(seed), list(text)
    for place in chance.sample(range(len(found)), count):
        found[place] = chance.choice(VOCABULARY)
    return found


def shared(a: list[str], b: list[str]) -> float:
    """The exact share of common word triples."""
    one, two = ({tuple(x[n : n + SHINGLE]) for n in range(len(x) - SHINGLE + 1)} for x in (a, b))
    return len(one & two) / len(one | two)


def fit(texts: list[Text], shards: int = 1, **config: Any) -> pa.Table:
    made = NearDuplicateTexts(NearDuplicateTexts.Config.model_validate(config))
    partials = []
    for shard in range(shards):
        rows = texts[shard::shards]
        columns = [signature(t) for _, t in rows], [len(t) for _, t in rows], [len(" ".join(t)) for _, t in rows]
        partials.append(made.partial([k for k, _ in rows], dict(zip(made.inputs, columns, strict=True))))
    return made.merge(partials, None)


def test_the_estimate_is_the_exact_share_but_for_chance() -> None:
    text = words(1)
    errors = []
    for count in range(0, 60, 2):
        other = changed(text, count, count)
        same = np.frombuffer(signature(text), "<u4") == np.frombuffer(signature(other), "<u4")
        errors.append(same.mean() - shared(text, other))
    assert abs(np.mean(errors)) < 0.02 and max(map(abs, errors)) < 4 * 0.045
    assert signature([]) == signature([]) != signature(["a"]) and len(signature(["a"])) == 4 * PLACES


def test_edited_copies_are_found_and_others_kept_whatever_the_order() -> None:
    texts: list[Text] = []
    for n in range(200):
        texts.append((f"{n:03}-a", words(n)))
        texts.append((f"{n:03}-b", [*changed(words(n), 3, n), "more"]))
        texts.append((f"{n:03}-c", [*words(n)[:75], *words(10_000 + n)[:75]]))  # half a copy is another text
    table = fit(texts)
    rows = {r["key"]: r for r in table.to_pylist()}
    assert all(rows[f"{n:03}-a"]["group"] == rows[f"{n:03}-b"]["group"] == f"{n:03}-a" for n in range(200))
    assert all(rows[f"{n:03}-c"]["group"] == f"{n:03}-c" for n in range(200))
    longest = [max("ab", key=lambda x, n=n: len(" ".join(dict(texts)[f"{n:03}-{x}"]))) for n in range(200)]
    for n, best in enumerate(longest):
        lost = rows[f"{n:03}-{'b' if best == 'a' else 'a'}"]
        assert rows[f"{n:03}-{best}"]["duplicate_of"] is None and lost["duplicate_of"] == f"{n:03}-{best}"
        assert lost["similarity"] > 0.7
    random.Random(3).shuffle(texts)
    assert fit(texts, shards=4).equals(table)


def test_short_texts_and_empty_datasets() -> None:
    same = [("a", words(1, 19)), ("b", words(1, 19))]
    assert fit(same)["duplicate_of"].to_pylist() == [None, None]
    assert fit(same, min_words=5)["duplicate_of"].to_pylist() == [None, "a"]
    assert fit([]).num_rows == 0


def test_a_crowd_of_copies_and_many_texts_cost_little() -> None:
    took = []
    for count in (10_000, 40_000):
        random_rows = np.random.default_rng(0).integers(0, 1 << 32, (count, PLACES), np.uint32)
        random_rows[: count // 10] = random_rows[0]
        start = time.perf_counter()
        found = set(alike(random_rows, 0.7))
        took.append(time.perf_counter() - start)
        assert len({j for _, j in found}) == count // 10 - 1
    assert took[1] < 10 * max(took[0], 0.05)  # comparing all would cost 16 times as much


@pytest.mark.parametrize("on", [True, False])
def test_the_rule(on: bool) -> None:
    stage = CleanDocuments(CleanDocuments.Config.model_validate({"near_duplicate_text": on}))
    columns = dict(zip(stage.inputs, (["a"], ["b"], [0.91]), strict=True))
    out = stage.process(Batch(("a",), columns, stage))
    out.check("clean_documents")
    state = out.states[0]
    assert (state.status, state.code, state.value) == (
        (Status.REJECTED, "near_duplicate_text", 0.91) if on else (Status.OK, "", None)
    )
