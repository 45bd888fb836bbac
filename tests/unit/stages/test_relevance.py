"""Relevance: scores, ranks, odd texts, and the sample site's truth."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from diptych import weights
from diptych.exceptions import WeightsError
from diptych.models.common.text_encoder import load_encoder
from diptych.sample import Site
from diptych.stage import Batch
from diptych.stages.relevance_scorers import Cosine, Ngrams, Scorer
from diptych.stages.relevance_scores import RelevanceScores, RelevanceScoresConfig
from diptych.stages.splitting import SentenceSplitter


def scored(captions: Sequence[str | None], **document: Any) -> dict[str, Any]:
    config = {k: document.pop(k) for k in ("against", "unit", "sizes") if k in document}
    stage = RelevanceScores(RelevanceScoresConfig(**config))
    stage.setup("cpu")
    items = [
        {"field": f, "text": document[f][a:b]}
        for f in ("title", "text", "summary") if f in document
        for a, b in SentenceSplitter().split(document[f], "en")
    ]  # fmt: skip
    columns: dict[str, list[Any]] = {f"documents.{n}": [document.get(n, "")] for n in ("title", "text", "summary")}
    columns |= {"documents.language": ["en"], "sentences.items": [items], "pairs.caption": [list(captions)]}
    columns["pairs.position"] = [[3 * n for n in range(len(captions))]]
    out = stage.process(Batch(("r",), columns, stage))
    out.check("relevance_scores")
    return {name: values[0] for name, values in out.values.items()}


def vector(text: str, sizes: tuple[int, ...]) -> dict[str, int]:
    """An independent count of n-grams."""
    text = unicodedata.normalize("NFKC", text).casefold()
    words = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text).split()
    spans = [(w, i, j) for w in words for i in range(len(w) + 2) for j in range(i + 1, len(w) + 3)]
    grams = [f" {w} "[i:j] for w, i, j in spans if j - i in sizes]
    return {g: grams.count(g) for g in grams}


def test_scores_equal_an_independent_cosine() -> None:
    texts = ["A red car.", "Ein rotes Auto!", "一辆红色的汽车", "الحافلة", "ＣＡＲ car CAR", "😀", ""]
    for sizes in ((2, 3), (1,), (3, 4)):
        found = Ngrams(sizes).scores([(a, b) for a in texts for b in texts]).reshape(len(texts), len(texts))
        for i, a in enumerate(texts):
            for j, b in enumerate(texts):
                u, v = vector(a, sizes), vector(b, sizes)
                grams = sorted({*u, *v})
                x, y = (np.array([w.get(g, 0) for g in grams], float) for w in (u, v))
                length = np.linalg.norm(x) * np.linalg.norm(y)
                assert found[i, j] == pytest.approx(float(x @ y) / length if length else 0.0, abs=1e-12)


@pytest.mark.parametrize("size", [0, -1])
def test_a_length_that_makes_all_texts_equal_is_refused(size: int) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        RelevanceScoresConfig(sizes=(size,))


def test_ranks_follow_scores_then_position() -> None:
    row = scored(["Rain", "A red bridge", None, "The mayor", "A red bridge"], summary="A red bridge. The mayor spoke.")
    assert row["ranks"] == [4, 1, 5, 3, 2] and row["positions"] == [0, 3, 6, 9, 12] and row["reference"] == "summary"
    assert row["scores"][2] == 0.0 and row["scores"][1] == row["scores"][4] > row["scores"][3] > row["scores"][0]


def test_the_best_line_of_a_caption_and_the_best_sentence_count() -> None:
    summary = "A red bridge opened. Nothing else happened on that long and quiet Monday in town."
    assert scored(["Noise\nA red bridge opened"], summary=summary)["scores"][0] == pytest.approx(1)
    assert scored(["A red bridge opened"], summary=summary, unit="whole")["scores"][0] < 0.9


def test_the_first_field_with_a_word_is_the_reference() -> None:
    assert scored(["x"], summary=" … ", title="News", text="Text")["reference"] == "title"
    assert scored(["x"], summary="S", text="Text", against=("text", "summary"))["reference"] == "text"
    assert scored(["x", "y"]) == {
        "positions": [0, 3], "scores": [0.0, 0.0], "ranks": [1, 2], "reference": "", "scorer": "ngrams"
    }  # fmt: skip


@pytest.mark.parametrize("text", ["word " * 10_000, "😀" * 50, "\u202eאבג", "a\0b", "\ufffdx", "\n\n", "e\u0301" * 9])
def test_odd_texts_have_a_score(text: str) -> None:
    row = scored([text, "a caption"], summary=text)
    assert all(0 <= s <= 1.0001 for s in row["scores"]) and sorted(row["ranks"]) == [1, 2]


def share_right(scorer: Scorer, language: str, count: int = 200, least: int = 10) -> float:
    """How often the caption nearest to the summary is the one that the site calls the best."""
    site, right, total = Site(600, seed=3), 0, 0
    for index in range(count):
        truth = site.truth(index)
        shown = [(i.path, i.caption.text) for i in truth.images if i.keep and i.caption]
        if truth.language == language and truth.best_caption is not None and len(shown) > 1:
            scores = scorer.scores([(text, truth.summary.text) for _, text in shown])
            right += shown[int(scores.argmax())][0] == truth.best_caption
            total += 1
    assert total > least
    print(f"{type(scorer).__name__}: best caption first in {right} of {total} {language} documents")
    return right / total


@pytest.mark.parametrize("language", ["en", "zh"])
def test_ngrams_find_the_best_caption_of_the_sample(language: str) -> None:
    assert share_right(Ngrams((2, 3)), language) >= 0.9


@pytest.fixture(scope="module")
def minilm() -> Cosine:
    pytest.importorskip("transformers")
    try:
        weights.pull("minilm")
    except WeightsError as error:
        pytest.skip(f"no encoder: {error}")
    return Cosine(load_encoder("minilm"))


def test_the_encoder_finds_the_best_caption_and_knows_paraphrases(minilm: Cosine) -> None:
    assert share_right(minilm, "en", 40) >= 0.9
    doctor = "Doctor caring for a kid"
    pairs = [("A physician treats a sick child", doctor), ("The stock market fell", doctor)]
    scores = minilm.scores(pairs)
    assert scores[0] > 0.5 > 0.2 > scores[1] >= 0
    odd = [("", doctor), ("…", doctor), ("word " * 2_000, doctor), ("\ud800 a\0b", doctor)]
    assert minilm.scores(odd)[:2].tolist() == [0, 0] and (minilm.scores(odd) <= 1).all()
    assert minilm.scores(pairs[1:])[0] == pytest.approx(scores[1], abs=1e-6)


@pytest.mark.slow
def test_the_encoder_on_many_documents(minilm: Cosine) -> None:
    assert share_right(minilm, "en", 600, least=200) >= 0.9
    assert share_right(Ngrams((2, 3)), "en", 600, least=200) >= 0.9
