from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from batching import assert_means_are_of_items
from resuming import assert_goes_on_to_the_bit

from diptych.exceptions import UsageError
from diptych.models.common.text_encoder import load_encoder
from diptych.models.hcscl.batch import BOS, EOS, UNK
from diptych.models.hcscl.config import HcsclConfig
from diptych.models.hcscl.data import candidates_of, comparable, count_tokens, fields_of, summary_of
from diptych.models.hcscl.task import HcsclTask
from diptych.naming import sentence_key
from diptych.stages.splitting import tokens
from diptych.training.config import make_config
from diptych.training.task import Moment, State

SENTENCES = ("A red bus stands", "The dog runs home now", "Nobody saw it")
SUMMARY = "A red bus runs"


TEXT_ALONE = ("text_only", "s2s", "pointer_generator")


def item(field: str, text: str) -> dict[str, Any]:
    return {"field": field, "paragraph": 0, "text": text, "start": 0, "end": len(text), "tokens": text.split()}


def sample(number: int, *, images: tuple[str, ...] = ("b", "a", "c"), choice: int | None = 0) -> Mapping[str, Any]:
    """Image b has three objects in two scenes, a has none, c one; c's rows come first, d is no candidate."""
    draw = np.random.default_rng(number)
    texts = [*SENTENCES, SUMMARY]
    order = [3, 1, 0, 2]

    def features(count: int) -> np.ndarray:
        return draw.normal(size=(count, 5)).astype(np.float16)

    return {
        "key": f"r{number}",
        "documents.summary": SUMMARY,
        "sentences.items": [item("title", "News"), *(item("text", t) for t in SENTENCES), item("summary", SUMMARY)],
        "bert.key": [sentence_key(texts[n]) for n in order],
        "bert.words": [texts[n].split() for n in order],
        "bert.tokens": [draw.normal(size=(len(texts[n].split()), 6)).astype(np.float16) for n in order],
        "best_image.images": list(images),
        "best_image.choice": choice,
        "regions.key": ["c", "b", "a", "d"],
        "regions.width": [100, 200, 100, 10],
        "regions.height": [50, 100, 100, 10],
        "regions.boxes": [
            [[0, 0, 50, 50]],
            [[0, 0, 100, 100], [20, 0, 120, 100], [150, 50, 200, 100]],
            [],
            [[0, 0, 1, 1]],
        ],
        "regions.attributes": [["red"], ["blue", None, "red"], [], ["odd"]],
        "regions.features": [features(1), features(3), features(0), features(1)],
        "scene_graph.key": ["b", "c", "a", "d"],
        "scene_graph.edges": [[{"a": 0, "b": 1, "iou": 0.6667}], [], [], []],
        "scene_graph.scenes": [[0, 0, 1], [0], [], [0]],
    }


def make_task(**settings: Any) -> HcsclTask:
    config = make_config(HcsclConfig, HcsclTask.presets["debug"], {"contextual": 6, "region": 5, **settings})
    assert isinstance(config, HcsclConfig)
    words, attributes = count_tokens([sample(0)])
    return HcsclTask(config, State({}, {"words": sorted(words), "attributes": sorted(attributes)}))


def test_candidates_stand_in_the_order_of_their_hashes() -> None:
    assert candidates_of(sample(0)).images == ("a", "b", "c")
    assert candidates_of(sample(0)).choice == 1
    assert candidates_of(sample(0, images=("c", "b", "c"), choice=2)).choice == 1
    assert candidates_of(sample(0, choice=None)).choice == -1


def test_objects_of_all_candidates_are_joined_with_their_scenes() -> None:
    task = make_task()
    batch = task.collate([sample(0), sample(1, images=("a",), choice=None)], "documents")
    assert batch.image_of_BQ.tolist() == [[1, 1, 1, 2], [-1] * 4]
    assert batch.scene_of_BQ.tolist() == [[0, 0, 1, 2], [-1] * 4]
    assert batch.image_of_BZ.tolist() == [[1, 1, 2], [-1] * 3]
    assert batch.image_counts_B.tolist() == [3, 1] and batch.choice_B.tolist() == [1, -1]  # type: ignore[union-attr]
    expected = np.zeros((4, 4), np.float32)
    expected[0, 1] = expected[1, 0] = 0.6667
    np.testing.assert_array_equal(batch.iou_BQQ[0], expected)
    boxes = [[0, 0, 0.5, 1], [0.1, 0, 0.6, 1], [0.75, 0.5, 1, 1], [0, 0, 0.5, 1]]  # shares of width and height
    np.testing.assert_allclose(batch.boxes_BQ4[0], boxes)
    names = ["", *task.attributes]
    assert [names[n] for n in batch.attributes_BQ[0].tolist()] == ["blue", "", "red", "red"]


def test_words_are_the_article_sentences_and_targets_the_summary() -> None:
    one = sample(0)
    task = make_task(words=3, sentences=4)
    batch = task.collate([one], "documents")
    assert batch.word_counts_BS.tolist() == [[3, 1, 3, 2]]  # four words are split 3 + 1; the last sentence is cut off
    place = one["bert.key"].index(sentence_key(SENTENCES[0]))
    np.testing.assert_allclose(batch.words_BSWc[0, 1, 0], one["bert.tokens"][place][3])
    ids = [task.words[w] for w in ("a", "red", "bus", "runs")]
    assert batch.inputs_BT is not None and batch.outputs_BT is not None
    assert batch.inputs_BT.tolist() == [[BOS, *ids]] and batch.outputs_BT.tolist() == [[*ids, EOS]]
    short = make_task(summary_words=2)
    short.words.pop("red")
    assert short.collate([one], "documents").outputs_BT.tolist() == [[ids[0], UNK, EOS]]  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["full", *HcsclTask.ablations, "text_only", "s2s", "pointer_generator"])
def test_every_variant_makes_a_step_and_summarizes(name: str) -> None:
    variant = HcsclTask.ablations.get(name) or HcsclTask.baselines.get(name)
    task = make_task(**(dict(variant.settings) if variant and not callable(variant) else {}), beam=2, min_words=1)
    assert ("regions.features" in fields_of(task.config)) == (name not in TEXT_ALONE)
    torch.manual_seed(0)
    module = task.build()
    samples = [sample(0), sample(1, choice=None), sample(2, images=(), choice=None)]
    terms = task.loss(module, {"documents": task.collate(samples, "documents")}, Moment("train"))  # type: ignore[arg-type]
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert set(terms) == ({"text"} if name in ("text_output_only", "s2s", "pointer_generator") else {"text", "image"})
    assert all(torch.isfinite(term) for term in terms.values())
    lines = task.predict(module.eval(), task.collate(samples, "scored"))  # type: ignore[arg-type]
    assert [len(line["images"]) for line in lines] == [3, 3, 0]
    metrics = task.evaluate(lines)
    if name in ("text_output_only", "s2s", "pointer_generator"):
        assert np.isnan(metrics["image_precision"])
    elif name == "text_only":
        assert metrics["image_precision"] == pytest.approx(1 / 3) == metrics["image_chance"]  # all tied
    else:
        assert metrics["image_precision"] in (0.0, 1.0) and metrics["image_chance"] == pytest.approx(1 / 3)


def test_dev_values_are_means_over_tokens_and_votes() -> None:
    rows = [sample(0), sample(1, choice=None), sample(2)]
    rows[1]["sentences.items"][-1]["tokens"] = ["A"]
    assert_means_are_of_items(make_task(), "train", {"documents": rows})
    whole = assert_means_are_of_items(make_task(text_loss="sum"), "train", {"documents": rows})
    assert whole["loss.text"] > 4 and whole["loss.image"] > 0


def test_without_a_vote_there_is_no_image_loss_but_a_graph() -> None:
    task = make_task()
    terms = task.loss(task.build(), {"documents": task.collate([sample(0, choice=None)], "documents")}, Moment("train"))  # type: ignore[arg-type]
    assert terms["image"].item() == 0 and terms["image"].requires_grad


@pytest.mark.parametrize(
    "summary",
    [
        "It's a state-of-the-art car, isn't it? He said \"yes\" - the driver's price (EUR 3.5m) won't change.",
        "It\u2019s Mr. J. K. O\u2019Hara\u2019s U.S. team \u2013 they don\u2019t win 3\u20132 if they\u2019re #1",
        "\u4eca\u5929\u5317\u4eacU.S. team\u8d62\u4e863.5%\uff0c\u201c\u5f88\u597d\u201d\u2014\u2014\u4ed6\u8bf4\u3002",
    ],
)
def test_an_oracle_scores_one(summary: str) -> None:
    words = summary_of({"sentences.items": [{**item("summary", summary), "tokens": tokens(summary)}]})
    said = {"id": "r", "gold": summary, "images": [], "image_scores": [], "choice": None}
    for predicted in (" ".join(words), summary):  # as the network says it, as a baseline does
        assert comparable(predicted) == comparable(summary)
        metrics = make_task().evaluate([{**said, "predicted": predicted}])
        names = [f"rouge_{n}" for n in (1, 2, "l")] + [f"bleu_{n}" for n in range(1, 5)]
        assert {name: metrics[name] for name in names} == pytest.approx(dict.fromkeys(names, 1.0))


@pytest.mark.parametrize("readout_max", ["component", "image", "all"])
def test_a_batch_may_be_without_any_sentence_or_object(readout_max: str) -> None:
    task = make_task(readout_max=readout_max)
    bare = {**sample(0, images=("a",), choice=None), "sentences.items": [item("title", "News")]}
    module, batch = task.build(), task.collate([bare], "documents")
    terms = task.loss(module, {"documents": batch}, Moment("train"))  # type: ignore[arg-type]
    assert all(torch.isfinite(term) for term in terms.values())
    (line,) = task.predict(module.eval(), batch)  # type: ignore[arg-type]
    assert line["image"] == "a"


def test_a_least_length_above_the_greatest_is_refused() -> None:
    with pytest.raises(UsageError, match="min_words 10 is above summary_words 8"):
        make_task(beam=2, min_words=10, summary_words=8)
    make_task(beam=1, min_words=10, summary_words=8), make_task(beam=2, min_words=8, summary_words=8)


def test_baselines() -> None:
    task = make_task()
    for name in ("lead", "text_rank", "random"):
        baseline = HcsclTask.baselines[name]
        assert callable(baseline)
        lines = baseline(task, [], [sample(0)], 3)
        assert lines == baseline(task, [], [sample(0)], 3)
        assert lines[0]["predicted"] in SENTENCES and len(lines[0]["image_scores"]) == 3  # type: ignore[arg-type]
    lead = HcsclTask.baselines["lead"]
    assert callable(lead) and lead(task, [], [sample(0)], 0)[0]["predicted"] == SENTENCES[0]
    metrics = task.evaluate(lead(task, [], [sample(0)], 0))
    assert metrics["rouge_1"] == pytest.approx(0.75) and metrics["image_precision"] == pytest.approx(1 / 3)


def test_decoder_embeddings_start_from_the_encoders_input_table() -> None:
    encoder = load_encoder("random:0")
    table = encoder.input_vectors(["ab", "a", ""])
    np.testing.assert_allclose(table[0], (table[1] + encoder.input_vectors(["b"])[0]) / 2, rtol=1e-5)
    assert (table[2] == 0).all()
    config = make_task(output_word=table.shape[1]).config
    task = HcsclTask(config, State({"output_vectors": table[:2]}, {"words": ["ab", "a"], "attributes": []}))
    np.testing.assert_array_equal(task.build().summarizer.embedding.weight[4:].detach(), table[:2])  # type: ignore[union-attr,index]
    assert set(HcsclTask.ablations) <= set(HcsclTask.paper.rows)


def test_the_pointer_generator_copies_words_it_does_not_know() -> None:
    task = make_task(**dict(HcsclTask.baselines["pointer_generator"].settings), min_words=1)  # type: ignore[union-attr]
    task = HcsclTask(task.config, State({}, {"words": ["a", "bus", "runs", "the"], "attributes": []}))
    one = sample(0)
    batch = task.collate([one, sample(1)], "documents")
    assert batch.extra_words[0][:2] == ("red", "stands")  # in the order of the article
    V = len(task.words)
    assert batch.outputs_BT is not None and batch.source_BSW is not None and batch.inputs_BT is not None
    assert batch.outputs_BT[0].tolist() == [task.words["a"], V, task.words["bus"], task.words["runs"], EOS]
    assert batch.inputs_BT[0].tolist() == [BOS, task.words["a"], UNK, task.words["bus"], task.words["runs"]]
    assert batch.source_BSW[0, 0].tolist()[:4] == [task.words["a"], V, task.words["bus"], V + 1]
    torch.manual_seed(1)
    module = task.build()
    logits, _ = module.summary_logits(batch, module.encode(batch))  # type: ignore[operator]
    torch.testing.assert_close(logits.exp().sum(2), torch.ones(logits.shape[:2]), atol=1e-5, rtol=0)
    optimiser = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(80):
        loss = sum(task.loss(module, {"documents": batch}, Moment("train")).values())  # type: ignore[arg-type]
        optimiser.zero_grad()
        loss.backward()  # type: ignore[union-attr]
        optimiser.step()
    lines = task.predict(module.eval(), task.collate([one, sample(2, images=(), choice=None)], "scored"))  # type: ignore[arg-type]
    assert lines[0]["predicted"] == "a red bus runs"
    empty = {**one, "sentences.items": [item("summary", SUMMARY)]}
    terms = task.loss(module, {"documents": task.collate([empty, one], "documents")}, Moment("train"))  # type: ignore[arg-type]
    assert torch.isfinite(terms["text"])


def test_it_goes_on_to_the_bit() -> None:
    def steps(task: Any) -> list[Any]:
        some = [[sample(0), sample(1)], [sample(2), sample(3)]]
        return [("train", {"documents": task.collate(some[n % 2], "documents")}) for n in range(4)]

    assert_goes_on_to_the_bit(lambda: make_task(dropout=0.3), steps)
