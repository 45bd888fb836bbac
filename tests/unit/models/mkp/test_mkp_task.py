from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from batching import assert_means_are_of_items, means
from resuming import assert_goes_on_to_the_bit

from diptych.exceptions import UsageError
from diptych.models.mkp.config import MkpConfig
from diptych.models.mkp.data import adds, count_words, lexicon_of, parts_of
from diptych.models.mkp.task import MkpTask, most_frequent, random_phrases
from diptych.training.config import make_config
from diptych.training.feed import CHOICE
from diptych.training.task import Moment, State

POSTS = [
    ("The red bus is late", ["CITY race"], [["dog", "tree"]], ["red bus", "city race"]),
    ("Park 公园", [], [], ["dog park"]),
    ("A zebra!", ["Winter", "gala"], [["kite"], []], ["Winter Gala", "zebra"]),
    ("Game on", [], [[]], ["game"]),
]


def sample(number: int, choice: int | None = None) -> Mapping[str, Any]:
    text, ocr, entities, keyphrases = POSTS[number % 4]
    grid = np.random.default_rng(number).normal(size=(4, 6)).astype(np.float16)
    made = {
        "key": f"r{number}",
        "documents.text": text,
        "documents.keyphrases": keyphrases,
        "documents.extra": json.dumps({"image_adds": number % 2}) if number != 3 else None,
        "ocr.text": ocr,
        "entities.names": entities,
        "grid.grid": [grid, grid + 1] if number != 1 else [],
    }
    return made if choice is None else {**made, CHOICE: choice}


def make_task(**settings: Any) -> MkpTask:
    config = make_config(MkpConfig, MkpTask.presets["debug"], settings)
    assert isinstance(config, MkpConfig)
    words, classes = count_words([sample(n) for n in range(4)], config)
    return MkpTask(config, State({}, {"words": sorted(words), "classes": sorted(classes), "grid": [4, 6]}))


def instances() -> list[Mapping[str, Any]]:
    return [sample(n, choice) for n in range(4) for choice in range(len(POSTS[n][3]))]


def test_input_is_post_ocr_and_entities_in_lower_case() -> None:
    assert parts_of(sample(0), MkpConfig()) == (["the", "red", "bus", "is", "late"], ["city", "race"], ["dog", "tree"])
    assert parts_of(sample(1), MkpConfig())[0] == ["park", "公", "园"]
    alone = MkpConfig(ocr=False, entities="", post_tokens=2)
    assert parts_of(sample(2), alone) == (["a", "zebra"], [], [])
    assert parts_of(sample(2), MkpConfig(text=False, ocr_tokens=1)) == ([], ["winter"], ["kite"])


def test_a_keyphrase_is_present_in_the_whole_post() -> None:
    cut = make_task(post_tokens=2)
    batch = cut.collate([sample(0)], "scored")
    assert batch.lengths_B.tolist()[0] < 10 and batch.present_in == ("the red bus is late",)
    lines = most_frequent(cut, [sample(0)], [sample(0)], 0)
    assert cut.evaluate(lines)["present_f1_at_1"] == 1.0  # "red bus", of which the input has nothing
    assert (
        make_task(post_tokens=2, present_in="input")
        .collate([sample(0)], "scored")
        .present_in[0]
        .startswith("the red city race")
    )


def test_who_said_that_a_picture_adds() -> None:
    assert [adds(sample(n)) for n in range(4)] == [0, 1, 0, -1]
    assert adds({"documents.extra": "not json"}) == -1 and adds({"documents.extra": "[1]"}) == -1
    for value in ('"yes"', "[1]", "NaN"):
        with pytest.raises(UsageError, match="record r7: extra has image_adds .*, expected 0 or 1"):
            adds({"key": "r7", "documents.extra": f'{{"image_adds": {value}}}'})


def test_words_and_classes_are_counted_over_the_whole_input() -> None:
    words, classes = count_words([sample(0), sample(2)], MkpConfig())
    assert words["city"] == 2 and words["zebra"] == 2
    assert classes == {"red bus": 1, "city race": 1, "winter gala": 1, "zebra": 1}
    assert lexicon_of(["a"], ["a b"]).words == {"<pad>": 0, "<bos>": 1, "<eos>": 2, "<unk>": 3, "<seg>": 4, "a": 5}


@pytest.mark.parametrize("name", ["full", *MkpTask.ablations, "copy", "avg", "max", "vgg", "text_only"])
def test_every_variant_trains_both_stages_and_ranks(name: str) -> None:
    variant = MkpTask.ablations.get(name) or MkpTask.baselines.get(name)
    task = make_task(**(dict(variant.settings) if variant and not callable(variant) else {}))
    torch.manual_seed(0)
    module = task.build()
    phases = [phase.name for phase in task.phases()]
    expected = ["stage1"] * (name != "copy") + ["stage2"] * (task.config.ranked_by == "generator")
    assert phases == expected
    for phase in task.phases():
        rows = {"posts": instances(), "matching": [sample(n) for n in range(4)]}
        batches = {stream: task.collate(rows[stream], stream) for stream in phase.streams}
        terms = task.loss(module, batches, Moment(phase.name))  # type: ignore[arg-type]
        sum(terms.values()).backward()  # type: ignore[union-attr]
        assert all(torch.isfinite(term) for term in terms.values())
        expected = {"words"} if phase.name == "stage2" else set()
        if phase.name == "stage1":
            config, expected = task.config, {"classes"} if task.config.classifier else set()
            gated = config.image and config.noise_filter
            expected |= {"regions"} if gated and config.region_matching and config.region_loss else set()
            expected |= {"matching"} if "matching" in phase.streams else set()
        assert set(terms) == expected
    lines = task.predict(module.eval(), task.collate([sample(n) for n in range(4)], "scored"))  # type: ignore[arg-type]
    gold = [["red bus", "city race"], ["dog park"], ["winter gala", "zebra"], ["game"]]
    assert [line["gold"] for line in lines] == gold
    assert all(1 <= len(line["predicted"]) <= 5 for line in lines)
    found = task.evaluate(lines)
    assert {"f1_at_1", "f1_at_3", "map_at_5", "present_f1_at_1", "absent_map_at_5"} <= set(found)
    assert ("cla_f1_at_1" in found) == task.config.classifier  # what does not exist has no score, not one of 0


def test_dev_values_are_means_over_words_and_known_classes() -> None:
    task = make_task()
    lexicon = task.lexicon
    task.lexicon = replace(lexicon, classes={name: n for name, n in lexicon.classes.items() if name != "zebra"})
    streams = {"posts": instances(), "matching": [sample(n % 4) for n in range(len(instances()))]}
    first = assert_means_are_of_items(task, "stage1", streams)
    assert set(first) == {"loss", "loss.classes", "loss.regions", "loss.matching", "region_deviation"}
    assert first["region_deviation"] > 0
    assert first["loss"] == pytest.approx(first["loss.classes"] + first["loss.regions"] + first["loss.matching"])
    assert_means_are_of_items(task, "stage2", {"posts": instances()})
    module = task.build()
    alone = means(task, module, "stage1", {"posts": [instances()], "matching": []})
    assert set(alone) == {"loss", "loss.classes", "loss.regions", "region_deviation"}  # nobody judged a pair of dev
    unsaid = means(task, module, "stage1", {"posts": [instances()], "matching": [[sample(3)]]})
    assert np.isnan(unsaid["loss.matching"]) and unsaid["loss"] == alone["loss"]


def test_the_matching_set_is_the_records_that_say_image_adds() -> None:
    streams = MkpTask.reads(MkpConfig())
    assert {name: stream.says for name, stream in streams.items()} == {
        "posts": "", "scored": "", "matching": "image_adds",
    }  # fmt: skip
    assert streams["matching"].where == ()
    assert "matching" not in MkpTask.reads(MkpConfig(matching_loss=False))


def test_the_decoder_alone_is_trained_as_the_authors_code_does() -> None:
    task = make_task(stage2="decoder_only")
    module = task.build()
    first, second = task.phases()
    assert not first.frozen
    names = [name for name, _ in module.named_parameters()]
    assert [n for n in names if not n.startswith(second.frozen)] == [n for n in names if n.startswith("decoder.")]
    batches = {"posts": task.collate(instances(), "posts"), "matching": task.collate([sample(0)], "matching")}
    assert "words" in task.loss(module, batches, Moment("stage1"))  # type: ignore[arg-type]

    def spent(**settings: Any) -> tuple[int, float]:
        phase = MkpTask(MkpConfig(**settings), task.state).phases()[1]
        return phase.epochs, phase.optimiser.lr

    assert spent(stage2="decoder_only") == (5, 1e-4) and spent() == (15, 1e-3)
    assert spent(stage2="decoder_only", stage2_epochs=7, stage2_lr=0.5) == (7, 0.5)
    normal = make_task().phases()[0].frozen
    assert all(name.startswith("decoder.") == name.startswith(normal) for name in names)


def test_baselines_know_the_train_split_only() -> None:
    task = make_task()
    train = [sample(0), sample(3), sample(3)]
    lines = most_frequent(task, train, [sample(3), sample(1)], 0)
    assert lines[0]["predicted"] == ["game", "city race", "red bus"]
    assert task.evaluate(lines[:1])["f1_at_1"] == 1.0
    drawn = random_phrases(task, train, [sample(3)], 4)
    assert drawn == random_phrases(task, train, [sample(3)], 4)
    assert set(drawn[0]["predicted"]) == {"game", "city race", "red bus"}  # type: ignore[arg-type]
    assert set(MkpTask.paper.rows) - {"full", "ONE2SET", "FLAVA", "M3H-ATT"} <= {*MkpTask.ablations, *MkpTask.baselines}


def test_both_stages_go_on_to_the_bit() -> None:
    def steps(task: Any) -> list[Any]:
        rows = {"posts": instances(), "matching": [sample(n) for n in range(4)]}
        return [
            (phase.name, {stream: task.collate(rows[stream], stream) for stream in phase.streams})
            for phase in task.phases()
            for _ in range(2)
        ]

    assert_goes_on_to_the_bit(lambda: make_task(dropout=0.3), steps)
