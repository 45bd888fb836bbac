"""The word fits in a real build: pinned, cut to the training documents, the same from any number of shards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diptych.engine.build import build
from diptych.engine.context import BuildOptions
from diptych.engine.steps import close
from diptych.storage.store import open_store
from diptych.version import Version

sys.path.append(str(Path(__file__).parents[1] / "engine"))

RECIPE = """
name: toy
sources: [{{kind: folder, name: toy, path: .}}]
shards: {shards}
stages: {{sentences: {{}}}}
fits:
  splits: {{use: "toy:Halves"}}
  vocabulary: {{min_count: 2}}
  vectors: {{file: {file}}}
  word2vec: {{size: 8, min_count: 2, epochs: 2}}
  said: {{use: "toy:Said"}}
"""


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    close()


def test_word_fits_see_the_training_documents_alone(tmp_path: Path) -> None:
    pytest.importorskip("gensim")
    import toy

    (tmp_path / "glove.txt").write_text("rain 0.5 -1\nbridge 1 2\n")

    def run(name: str, shards: int) -> dict[str, list[dict[str, Any]]]:
        store = open_store(tmp_path / name, "toy")
        rows = [toy.record(f"doc{n}", f"The bridge in the rain. Word{n}.", [], store) for n in range(12)]
        recipe = RECIPE.format(shards=shards, file=tmp_path / "glove.txt")
        build(recipe, str(tmp_path / name), BuildOptions(), snapshot=toy.snapshot(store, rows))
        version = Version(store, store.log.manifest())
        train = [r["key"] for r in version.table("splits").to_pylist() if r["split"] == "train"]
        assert 0 < len(train) < 12
        found = {name: version.table(name).to_pylist() for name in ("vocabulary", "vectors", "word2vec", "said")}
        counts = {r["word"]: r["count"] for r in found["vectors"]}
        assert counts["the"] == 2 * len(train) and sum(w.startswith("word") for w in counts) == len(train)
        assert sum(row["text"].startswith("Word") for row in found["said"]) == len(train)
        return found

    one, four = run("one", 1), run("four", 4)
    assert one == four
    assert "bridge" in {r["word"] for r in one["vocabulary"]}
    vectors = {r["word"]: r["vector"] for r in one["vectors"]}
    assert (vectors["rain"], vectors["bridge"], vectors["the"]) == ([0.5, -1.0], [1.0, 2.0], None)
    assert all(len(r["vector"]) == 8 for r in one["word2vec"])
