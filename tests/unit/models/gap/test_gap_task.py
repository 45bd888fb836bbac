from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batching import assert_means_are_of_items, means
from resuming import assert_goes_on_to_the_bit

from diptych.exceptions import UsageError
from diptych.metrics.classes import class_scores
from diptych.metrics.files import ClassLine, read_pairs
from diptych.models.common.text_rows import items_of
from diptych.models.gap.config import CMI_LEVELS, SC_LEVELS, GapConfig
from diptych.models.gap.data import make_batch, sentences_of
from diptych.models.gap.svm import DECAYS, best_svm
from diptych.models.gap.task import SPECIAL, GapTask, most_frequent, most_frequent_here, random_levels
from diptych.training.config import departures, make_config
from diptych.training.task import Moment, State

WORDS = ["a", "red", "bus", "stands", "dog", "runs"]


def item(field: str, text: str, start: int = 0, paragraph: int = 0) -> dict[str, Any]:
    return {"field": field, "paragraph": paragraph, "text": text, "start": start, "end": start + len(text),
            "tokens": text.split()}  # fmt: skip


def sample(number: int, cmi: float | None = 0.5, sc: float | None = -0.5) -> Mapping[str, Any]:
    draw = np.random.default_rng(number)
    return {
        "key": f"record{number}:image",
        "sentences.items": [
            item("title", "News"),
            item("text", "A red bus stands"),
            item("text", "A zebra runs"),
            item("caption", "A dog", paragraph=0),
            item("caption", "A bus", paragraph=1),
            item("caption", "A dog", paragraph=2),
        ],
        "pairs.caption": "A dog",
        "inception.pooled": draw.normal(size=10).astype(np.float16),
        "pixels.pixels": draw.integers(0, 256, (16, 16, 3)).astype(np.uint8),
        "pair_votes.cmi": cmi,
        "pair_votes.sc": sc,
    }


def make_task(**settings: Any) -> GapTask:
    config = make_config(GapConfig, GapTask.presets["debug"], {"vectors": "random", **settings})
    assert isinstance(config, GapConfig)
    return GapTask(config, State({}, {"words": [*SPECIAL, *WORDS], "image": 10, "pixels": 16}))


def test_text_is_the_articles_the_captions_or_both() -> None:
    found = {
        kind: [" ".join(s) for s in sentences_of(sample(0), GapConfig(text=kind))]  # type: ignore[arg-type]
        for kind in ("text", "caption", "both")
    }
    assert found["text"] == ["a red bus stands", "a zebra runs"]
    assert found["caption"] == ["a dog"]
    assert found["both"] == [*found["text"], *found["caption"]]


def test_a_caption_that_begins_like_another_has_all_its_sentences() -> None:
    captions = ["A dog. It runs.", "A dog. A bus stands.", "A dog."]
    items = [
        item("caption", f"{text}.", caption.index(text), pair)
        for pair, caption in enumerate(captions)
        for text in caption.removesuffix(".").split(". ")
    ]
    for caption in captions:
        mine = {"sentences.items": items, "pairs.caption": caption}
        assert " ".join(i["text"] for i in items_of(mine, "caption")) == caption


def test_batch_holds_pixels_in_the_encoders_scale_and_labels_by_index() -> None:
    task = make_task()
    both = [sample(0), sample(1, cmi=1.0, sc=None)]
    batch = make_batch(both, task.config, task.words, pixels=True, labels=True)
    assert batch.pixels_B3HW is not None and batch.cmi_B is not None and batch.sc_B is not None
    expected = both[1]["pixels.pixels"][3, 5].astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(batch.pixels_B3HW[1, :, 3, 5], expected, rtol=1e-6)
    assert batch.cmi_B.tolist() == [2, 4] and batch.sc_B.tolist() == [1, -1]
    assert batch.tokens_ST[1].tolist() == [task.words["a"], 1, task.words["runs"], 0]  # zebra is unknown
    blind = make_batch(both, make_task(image=False).config, task.words, pixels=False, labels=False)
    assert (blind.image_BI == 0).all() and blind.pixels_B3HW is None


def test_both_phases_learn_and_the_ablation_has_one() -> None:
    task = make_task()
    torch.manual_seed(0)
    module = task.build()
    assert [p.name for p in task.phases()] == ["autoencoder", "classifier"]
    assert [p.name for p in make_task(**dict(GapTask.ablations["no_autoencoder"].settings)).phases()] == ["classifier"]
    samples = [sample(n, cmi=CMI_LEVELS[n], sc=SC_LEVELS[4 - n]) for n in range(5)]
    for phase, names in (("autoencoder", {"image", "text"}), ("classifier", {"cmi", "sc"})):
        batch = task.collate(samples, phase)
        optimizer = torch.optim.Adam(module.parameters(), 1e-2)
        first = last = None
        for _ in range(60):
            terms = task.loss(module, {phase: batch}, Moment(phase))  # type: ignore[arg-type]
            assert set(terms) == names
            last = sum(terms.values())
            first = first if first is not None else last.item()  # type: ignore[union-attr]
            optimizer.zero_grad()
            last.backward()  # type: ignore[union-attr]
            optimizer.step()
        assert last.item() < first / 2  # type: ignore[union-attr,operator]
    module.eval()
    lines = task.predict(module, task.collate(samples, "scored"))  # type: ignore[arg-type]
    assert task.evaluate(lines) == pytest.approx(
        {"accuracy_cmi": 1.0, "macro_f1_cmi": 1.0, "accuracy_sc": 1.0, "macro_f1_sc": 1.0}
    )


def test_nobody_said_anything_about_sc() -> None:
    task = make_task()
    batch = task.collate([sample(0, sc=None), sample(1, sc=None)], "classifier")
    terms = task.loss(task.build(), {"classifier": batch}, Moment("classifier"))  # type: ignore[arg-type]
    assert all(torch.isfinite(term) for term in terms.values())
    lines = task.predict(task.build().eval(), batch)  # type: ignore[arg-type]
    assert np.isnan(task.evaluate(lines)["accuracy_sc"])


def test_dev_values_are_means_over_tokens_and_labels() -> None:
    task = make_task()
    rows = [sample(n, cmi=CMI_LEVELS[n], sc=SC_LEVELS[n] if n < 2 else None) for n in range(4)]
    rows[1]["sentences.items"][:] = [item("text", "A dog")]
    found = assert_means_are_of_items(task, "autoencoder", {"autoencoder": rows})
    assert found["loss"] == pytest.approx(found["loss.image"] + found["loss.text"])
    found = assert_means_are_of_items(task, "classifier", {"classifier": rows})
    torch.manual_seed(0)
    none = means(task, task.build(), "classifier", {"classifier": [rows[2:]]})
    assert np.isnan(none["loss.sc"]) and none["loss"] == none["loss.cmi"] > 0


def test_perplexity_and_image_error_of_the_best_epoch() -> None:
    def dev(text: float, image: float) -> dict[str, float | None]:
        return {"loss": text + image, "loss.text": text, "loss.image": image}

    epochs = [{"phase": "autoencoder", "epoch": n, "dev": dev(*x)} for n, x in enumerate([(2.0, 0.5), (3.0, 0.6)])]
    epochs += [{"phase": "classifier", "epoch": 0, "dev": {"loss": 0.0}}]
    found = make_task().fitted({"autoencoder": dev(4.0, 1.0)}, epochs)  # type: ignore[arg-type,dict-item]
    assert found == pytest.approx(
        {
            "text_perplexity": np.exp(2), "text_perplexity_before": np.exp(4), "text_perplexity_change": np.exp(-2) - 1,
            "image_error": 0.5, "image_error_before": 1.0, "image_error_change": -0.5,
        }
    )  # fmt: skip
    assert make_task().fitted({}, epochs) == {} == make_task(autoencoder_epochs=0).fitted({}, [])
    assert [p.before for p in make_task().phases()] == [True, False]


def test_predictions_can_be_scored_as_classes(tmp_path: Path) -> None:
    task = make_task()
    rows = [sample(n, cmi=CMI_LEVELS[n % 2]) for n in range(4)]
    lines = task.predict(task.build().eval(), task.collate(rows, "scored"))  # type: ignore[arg-type]
    path = tmp_path / "predictions-test.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    pairs = read_pairs(ClassLine, path, None)
    assert [g.gold for _, g in pairs] == ["0.0", "0.25", "0.0", "0.25"]
    scores = class_scores([str(p.predicted) for p, _ in pairs], [str(g.gold) for _, g in pairs])
    assert scores.accuracy == task.evaluate(lines)["accuracy_cmi"]


def test_baselines() -> None:
    task = make_task()
    train = [sample(n, cmi=[0.25, 1.0, 1.0][n % 3]) for n in range(9)]
    lines = most_frequent(task, train, train, 0)
    assert {line["cmi"] for line in lines} == {1.0}
    assert task.evaluate(lines)["accuracy_cmi"] == pytest.approx(6 / 9)
    here = most_frequent_here(task, train, [sample(n, cmi=0.75) for n in range(3)], 0)
    assert task.evaluate(here)["accuracy_cmi"] == 1.0 and GapTask.baselines["most_frequent_here"] is most_frequent_here
    assert random_levels(task, train, train, 3) == random_levels(task, train, train, 3)


def test_a_run_lists_what_the_paper_does_not_print() -> None:
    assert {d.field for d in departures(GapConfig()) if d.printed is None} >= {"text_hidden", "dropout"}
    assert {d.field for d in departures(GapConfig(cosine_scale=20.0))} >= {"cosine_scale"}


def test_an_svm_on_the_autoencoders_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    task = make_task(classifier="svm")
    assert [p.name for p in task.phases()] == ["autoencoder"]
    with pytest.raises(UsageError, match="autoencoder_epochs is 0"):
        make_task(classifier="svm", autoencoder_epochs=0).phases()
    torch.manual_seed(0)
    module = task.build().eval()
    samples = [sample(n, cmi=CMI_LEVELS[n % 3], sc=None if n == 5 else SC_LEVELS[4 * (n % 2)]) for n in range(24)]
    for one in samples:  # a level shows in the picture
        level = CMI_LEVELS.index(one["pair_votes.cmi"])
        one["inception.pooled"][:] = np.eye(10)[level] * 30 + np.eye(10)[5 + (one["pair_votes.sc"] == 1)] * 30
    with torch.no_grad():
        task.after_training(module, [task.collate(samples[:12], "scored"), task.collate(samples[12:], "scored")])  # type: ignore[arg-type]
        lines = task.predict(module, task.collate(samples, "scored"))  # type: ignore[arg-type]
    assert task.evaluate(lines)["accuracy_cmi"] == task.evaluate(lines)["accuracy_sc"] == 1.0
    again = task.build()
    again.load_state_dict(module.state_dict())  # the machines are in the run's weights
    assert task.predict(again.eval(), task.collate(samples, "scored")) == lines  # type: ignore[arg-type]


def test_the_svm_equals_scikit_learns_in_a_grid_search() -> None:
    svm = pytest.importorskip("sklearn.svm")
    draw = np.random.default_rng(3)
    y = draw.integers(0, 3, 30)
    x = draw.normal(size=(30, 4)) + np.eye(3, 4)[y] * 1.5
    weights, biases, decay = best_svm(x, y, 5)
    other = svm.LinearSVC(C=1 / (decay * 30), multi_class="crammer_singer", random_state=0, max_iter=2000).fit(x, y)
    assert decay in DECAYS and (np.argmax(x @ weights.T + biases, 1) == other.predict(x)).all()
    assert best_svm(x, np.full(30, 2), 5)[1].argmax() == 2
    two = np.where(x[:, 0] > 0, 4, 1)
    weights, biases, _ = best_svm(x, two, 5)
    assert (np.argmax(x @ weights.T + biases, 1) == two).mean() > 0.9


@pytest.mark.parametrize("classifier", ["network", "svm"])
def test_both_phases_in_bfloat16(classifier: str) -> None:
    task = make_task(classifier=classifier)
    torch.manual_seed(0)
    module, samples = task.build(), [sample(n) for n in range(3)]
    for phase in task.phases():
        batches = {phase.name: task.collate(samples, phase.name)}
        plain = sum(task.loss(module, batches, Moment(phase.name)).values())  # type: ignore[arg-type]
        with torch.autocast("cpu", torch.bfloat16):
            half = sum(task.loss(module, batches, Moment(phase.name)).values())  # type: ignore[arg-type]
        half.backward()  # type: ignore[union-attr]
        torch.testing.assert_close(half.float(), plain, rtol=0.05, atol=0.05)  # type: ignore[union-attr]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert len(task.predict(module.eval(), task.collate(samples, "scored"))) == 3  # type: ignore[arg-type]


def test_both_phases_go_on_to_the_bit() -> None:
    def steps(task: Any) -> list[Any]:
        some = [sample(n, cmi=CMI_LEVELS[n], sc=SC_LEVELS[4 - n]) for n in range(4)]
        names = ("autoencoder", "autoencoder", "classifier", "classifier")
        return [(name, {name: task.collate(some[n % 2 :], name)}) for n, name in enumerate(names)]

    assert_goes_on_to_the_bit(lambda: make_task(dropout=0.3), steps)
