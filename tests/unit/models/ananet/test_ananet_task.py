from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from resuming import assert_goes_on_to_the_bit

from diptych.models.ananet.config import CLASSES, AnANetConfig
from diptych.models.ananet.task import AnANetTask, majority, random_classes
from diptych.naming import sentence_key
from diptych.training.config import departures, make_config
from diptych.training.task import Moment, State

TEXTS = ("A red bus", "Zebras run", "A title")


def sample(number: int, relation: str | None = "explicit", regions: int = 3, text: bool = True) -> Mapping[str, Any]:
    draw = np.random.default_rng(number)
    fields = ("text", "text", "title")
    items = [
        {"field": field, "paragraph": 0, "text": t, "start": 0, "end": len(t), "tokens": t.split()}
        for field, t in zip(fields, TEXTS, strict=True)
    ]
    order = [2, 0, 1]  # rows of a stage stand in another order than the sentences
    return {
        "key": f"r{number}/i",
        "sentences.items": items if text else [],
        "pairs.caption": "",
        "pair_votes.relation": relation,
        "bert.key": [sentence_key(TEXTS[n]) for n in order],
        "bert.words": [TEXTS[n].split() for n in order],
        "bert.tokens": [np.full((len(TEXTS[n].split()), 6), n, np.float16) for n in order],
        "regions.features": draw.normal(size=(regions, 5)).astype(np.float16),
        "regions.scores": draw.permutation(regions) / 10,
    }


def make_task(**settings: Any) -> AnANetTask:
    config = make_config(AnANetConfig, AnANetTask.presets["debug"], {"word": 4, "contextual": 6, **settings})
    assert isinstance(config, AnANetConfig)
    vectors = np.arange(8, dtype=np.float32).reshape(2, 4)
    return AnANetTask(config, State({"vectors": vectors}, {"words": ["red", "zebras"], "region": 5}))


def test_words_of_the_post_with_both_vectors_and_regions_by_score() -> None:
    task, one = make_task(regions=2), sample(0)
    batch = task.collate([one, sample(1, text=False, regions=0)], "pairs")
    assert batch.word_counts_B.tolist() == [5, 0] and batch.region_counts_B.tolist() == [2, 0]
    assert batch.words_BN[0, :6].tolist() == [0, 1, 0, 2, 0, 0]
    assert batch.contextual_BNc is not None
    assert batch.contextual_BNc[0, :6, 0].tolist() == [0, 0, 0, 1, 1, 0]
    best = np.argsort(-one["regions.scores"])[:2]
    np.testing.assert_array_equal(batch.regions_BKr[0, :2], one["regions.features"][best])
    cut = make_task(words=4).collate([one], "pairs")
    assert cut.words_BN.shape == (1, 4) and cut.word_counts_B.tolist() == [4]
    plain = make_task(bert=False, image=False).collate([one], "pairs")
    assert plain.contextual_BNc is None and plain.words_BN[0, :5].tolist() == [0, 1, 0, 2, 0]
    assert plain.region_counts_B.tolist() == [0]


@pytest.mark.parametrize("name", ["full", *AnANetTask.ablations, "text_only"])
def test_every_variant_makes_a_step_and_predicts(name: str) -> None:
    variant = AnANetTask.ablations.get(name) or AnANetTask.baselines.get(name)
    task = make_task(**(dict(variant.settings) if variant and not callable(variant) else {}))
    torch.manual_seed(0)
    module, batch = task.build(), task.collate([sample(n, CLASSES[n % 3]) for n in range(6)], "pairs")
    terms = task.loss(module, {"pairs": batch}, Moment("train"))  # type: ignore[arg-type]
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert all(torch.isfinite(term) for term in terms.values())
    lines = task.predict(module.eval(), batch)  # type: ignore[arg-type]
    assert [line["gold"] for line in lines] == [CLASSES[n % 3] for n in range(6)]
    assert set(task.evaluate(lines)) == set(AnANetTask.paper.columns)
    assert set(task.reads(task.config)["pairs"].fields) >= {"regions.features"}
    assert ("bert.tokens" in task.reads(task.config)["pairs"].fields) == task.config.bert


def test_static_vectors_are_fixed() -> None:
    module = make_task().build()
    assert not module.words.weight.requires_grad  # type: ignore[union-attr]
    np.testing.assert_array_equal(module.words.weight[:2].detach(), [[0, 0, 0, 0], [0, 1, 2, 3]])  # type: ignore[index,union-attr]


def test_baselines() -> None:
    task = make_task()
    train = [sample(n, CLASSES[min(n, 2)]) for n in range(5)]
    assert {line["predicted"] for line in majority(task, train, train, 0)} == {"explicit"}
    assert task.evaluate(majority(task, train, train, 0))["accuracy"] == pytest.approx(0.6)
    assert random_classes(task, train, train, 1) == random_classes(task, train, train, 1)


def test_readings_are_departures() -> None:
    found = {d.field: d.printed for d in departures(AnANetConfig())}
    assert found["orthogonality"] == "printed" and found["attention_norm"] == "printed"
    assert set(AnANetTask.paper.rows) - {"full"} <= {*AnANetTask.ablations, *AnANetTask.baselines}


def test_it_goes_on_to_the_bit() -> None:
    def steps(task: Any) -> list[Any]:
        some = [[sample(n + 2 * k, CLASSES[n % 3]) for n in range(3)] for k in range(2)]
        return [("train", {"pairs": task.collate(some[n % 2], "pairs")}) for n in range(4)]

    assert_goes_on_to_the_bit(lambda: make_task(dropout=0.3), steps)
