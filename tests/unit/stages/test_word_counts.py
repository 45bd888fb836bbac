"""Word counts over shards."""

from __future__ import annotations

from typing import Any

from diptych.fits.word_counts import WordCounts, WordCountsConfig


def fit(shards: list[list[list[str]]], **config: Any) -> list[tuple[str, int]]:
    stage = WordCounts(WordCountsConfig(**config))
    partials = [
        stage.partial([str(n) for n in range(len(docs))], {"sentences.items": [[{"tokens": t}] for t in docs]})
        for docs in shards
    ]
    table = stage.merge(partials, None)
    assert table.schema.equals(stage.outputs)
    return list(zip(table["word"].to_pylist(), table["count"].to_pylist(), strict=True))


def test_counts_are_sorted_and_independent_of_shards() -> None:
    docs = [["The", "cat", "the"], ["桥", "cat", "a"], []]
    expected = [("cat", 2), ("the", 2), ("a", 1), ("桥", 1)]
    assert fit([docs]) == fit([docs[2:], docs[:1], docs[1:2]]) == expected
    assert fit([docs], min_count=2) == expected[:2]
    assert fit([docs], lower_case=False)[:2] == [("cat", 2), ("The", 1)]
    assert fit([[]]) == []
