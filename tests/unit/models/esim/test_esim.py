"""ESIM: the equations, pairs of texts, checkpoints; what it learns stands in the slow test below."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from diptych import weights
from diptych.commands.relevance import app
from diptych.exceptions import Unfinished, UsageError
from diptych.models.esim.checkpoint import EsimScorer, load_scorer, save
from diptych.models.esim.generated import article_pairs, generate_pairs, scene_pairs
from diptych.models.esim.measuring import best_threshold, cosines, labels_of, measure
from diptych.models.esim.model import Esim, EsimConfig
from diptych.models.esim.pairs import TextPair, read_pairs, write_pairs
from diptych.models.esim.task import EsimTraining
from diptych.models.esim.texts import TextReader, alphabet_of
from diptych.models.esim.train import train
from diptych.sample import Site
from diptych.stage import Batch
from diptych.stages.relevance_scores import RelevanceScores, RelevanceScoresConfig
from diptych.training.stopping import Stopper

SMALL = EsimConfig(size=8, hidden=6, dropout=0.0)


def scorer(config: EsimConfig = SMALL, alphabet: str = "红蓝车的一辆") -> EsimScorer:
    torch.manual_seed(0)
    reader = TextReader(config, alphabet)
    return EsimScorer(Esim(config, characters=reader.characters, inputs=reader.inputs), reader)


def test_one_pair_alone_equals_the_equations_written_out() -> None:
    made = scorer()
    model, first, second = made.model, "一辆红车", "蓝的"
    assert model.embedding is not None
    ids = [[made.reader._ids[c] for c in text] for text in (first, second)]

    def lstm(layer: torch.nn.LSTM, inputs: np.ndarray) -> np.ndarray:
        """Both directions, gate by gate."""
        found = []
        for suffix, places in (("", range(len(inputs))), ("_reverse", range(len(inputs) - 1, -1, -1))):
            names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
            w, u, b, d = (getattr(layer, n + suffix).detach().numpy() for n in names)
            h = c = np.zeros(layer.hidden_size)
            states = {}
            for t in places:
                i, f, g, o = np.split(w @ inputs[t] + b + u @ h + d, 4)
                c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
                h = np.tanh(c) / (1 + np.exp(-o))
                states[t] = h
            found.append(np.stack([states[t] for t in range(len(inputs))]))
        return np.concatenate(found, 1)

    def softmax(values: np.ndarray) -> np.ndarray:
        powers = np.exp(values - values.max())
        return powers / powers.sum()

    table = model.embedding.weight.detach().numpy()
    a, b = (lstm(model.encode, table[i]) for i in ids)
    score = a @ b.T
    other_a = np.stack([softmax(row) @ b for row in score])
    other_b = np.stack([softmax(column) @ a for column in score.T])
    pooled = []
    for own, other in ((a, other_a), (b, other_b)):
        joined = np.concatenate([own, other, own - other, own * other], 1)
        layer = model.project[0]
        assert isinstance(layer, torch.nn.Linear)
        projected = np.maximum(joined @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), 0)
        composed = lstm(model.compose, projected)
        pooled += [composed.mean(0), composed.max(0)]
    hidden, last = model.classify[1], model.classify[4]
    assert isinstance(hidden, torch.nn.Linear) and isinstance(last, torch.nn.Linear)
    v = np.tanh(hidden.weight.detach().numpy() @ np.concatenate(pooled) + hidden.bias.detach().numpy())
    expected = softmax(last.weight.detach().numpy() @ v + last.bias.detach().numpy())[1]
    assert made.probabilities([first], [second])[0] == pytest.approx(expected, abs=1e-6)
    others = [first, "红" * 50, "", "x"], [second, "车", "蓝", "辆辆"]
    assert made.probabilities(*others)[0] == pytest.approx(expected, abs=1e-6)
    assert np.isfinite(made.probabilities(*others)).all()


def test_lines_that_are_no_pairs_are_listed(tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    good = "".join(f"一{n}\t二{n}\t{n % 2}\n" for n in range(400))
    file.write_bytes(b"\xef\xbb\xbf" + good.encode() + b"a\tb\n" + b"a\tb\t2\n \n\tb\t1\n" + b"a\xff\tb\t1\r\n")
    pairs, bad = read_pairs(file, most_bad=0.02)
    assert pairs[3] == TextPair("一3", "二3", True) and len(pairs) == 400
    assert [(b.line, b.reason[:12]) for b in bad] == [
        (401, "2 cells, exp"), (402, "the label is"), (404, "an empty tex"), (405, "byte 2 is no"),
    ]  # fmt: skip
    with pytest.raises(UsageError, match="4 are not, the first on line 401"):
        read_pairs(file, most_bad=0.001)
    with pytest.raises(UsageError, match="cannot read"):
        read_pairs(tmp_path / "absent")
    assert write_pairs([TextPair("a\tb", "c\nd", True)], file) == 1 and file.read_text() == "a b\tc d\t1\n"


def test_generated_pairs_are_a_function_of_the_seed() -> None:
    pairs = generate_pairs(5, 40, 20)
    assert pairs == generate_pairs(5, 40, 20) != generate_pairs(6, 40, 20)
    scenes = list(scene_pairs(5, 300))
    assert sum(p.same for p in scenes) == 150 and all(p.first != p.second for p in scenes)
    cosine = cosines(scenes)
    same = np.array([p.same for p in scenes])
    assert cosine[~same].mean() > cosine[same].mean()  # letters mislead here, on purpose
    assert {p.same for p in article_pairs(5, 20)} == {True, False}


def test_measures_against_counting() -> None:
    pairs = [TextPair("a", "b", s) for s in (True, False, True, True, False)]
    scores = np.array([0.9, 0.4, 0.4, 0.2, 0.1])
    found = measure(scores, labels_of(pairs), 0.3)
    wins = sum((x > y) + (x == y) / 2 for x in scores[[0, 2, 3]] for y in scores[[1, 4]])
    assert found.accuracy == pytest.approx(3 / 5) and found.auc == pytest.approx(wins / 6)
    assert measure(scores, labels_of(pairs), best_threshold(scores, labels_of(pairs))).accuracy == pytest.approx(4 / 5)
    assert np.isnan(measure(scores[:1], [True]).auc)


def test_a_checkpoint_gives_the_same_scores(tmp_path: Path) -> None:
    file, made = tmp_path / "esim.safetensors", scorer()
    save(made.model, SMALL, "红蓝车的一辆", ["zh"], file)
    again, languages = load_scorer(file)
    pairs = [("一辆红车", "蓝的"), ("", "车"), ("\ud800", "😀"), ("车" * 500, "a\0b")]
    assert languages == ("zh",) and again.scores(pairs).tolist() == made.scores(pairs).tolist()
    assert again.scores(pairs)[1:3].tolist() == [0, 0]
    assert [made.scores([pair])[0] for pair in pairs] == made.scores(pairs).tolist(), "alone or among others"
    for content in (b"", b"PK\x03\x04", b"\x08\0\0\0\0\0\0\0{}      "):
        file.write_bytes(content)
        with pytest.raises(UsageError, match="no ESIM checkpoint"):
            load_scorer(file)


def test_an_encoder_instead_of_characters(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    config = EsimConfig(embedding="random:1", hidden=6, dropout=0.0)
    made = scorer(config, "")
    save(made.model, config, "", ["en"], tmp_path / "e.safetensors")
    pairs = [("a red car", "red cars"), ("x", "a blue boat at sea")]
    assert load_scorer(tmp_path / "e.safetensors")[0].scores(pairs) == pytest.approx(made.scores(pairs), abs=1e-6)


def test_the_relevance_stage_scores_with_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "esim.safetensors"
    save(scorer().model, SMALL, "红蓝车的一辆", ["zh"], file)
    config = RelevanceScoresConfig.model_validate({"languages": {"zh": "esim"}, "checkpoint": str(file)})
    stage = RelevanceScores(config)
    assert config.checkpoint_sha256 and stage.weight_names() == ()
    stage.setup("cpu")
    columns = {
        "documents.title": ["一辆红车", "A red car", "红车"], "documents.text": [""] * 3, "documents.summary": [""] * 3,
        "documents.language": ["zh", "en", "zh"], "sentences.items": [[]] * 3, "pairs.position": [[0, 1], [0], []],
        "pairs.caption": [["红的车", "蓝的车\n一辆"], ["a car"], []],
    }  # fmt: skip
    out = stage.process(Batch(("a", "b", "c"), columns, stage))
    out.check("relevance_scores")
    assert out.values["scorer"] == ["esim", "ngrams", "esim"] and out.values["scores"][2] == []
    lines = [("红的车", "一辆红车"), ("蓝的车", "一辆红车"), ("一辆", "一辆红车")]
    found = scorer().scores(lines)
    assert out.values["scores"][0] == pytest.approx([found[0], max(found[1:])], abs=1e-6)
    monkeypatch.setattr(weights, "_cache", tmp_path / "cache")
    weights.import_file(file, "esim-zh")
    named = RelevanceScoresConfig.model_validate({"languages": {"zh": "esim"}, "checkpoint": "esim-zh"})
    assert named.checkpoint_sha256 == config.checkpoint_sha256
    with pytest.raises(ValueError, match="no weights named 'absent'"):
        RelevanceScoresConfig.model_validate({"checkpoint": "absent"})
    with pytest.raises(ValueError, match="diptych relevance train"):
        RelevanceScoresConfig.model_validate({"scorer": "esim"})
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ValueError, match="changed since"):
        RelevanceScoresConfig.model_validate(config.model_dump())


def test_training_learns_and_repeats(tmp_path: Path) -> None:
    rows = [TextPair(f"{a}车", f"{b}的车", a == b) for a in "红蓝绿白" for b in "红蓝绿白"] * 12
    config, settings = EsimConfig(size=12, hidden=12, dropout=0.0), EsimTraining(learning_rate=0.01, epochs=20)
    one, two = train(rows, rows[:64], config, settings), train(rows, rows[:64], config, settings)
    assert one.epochs[one.best].accuracy > 0.9 > one.epochs[0].accuracy and one.epochs == two.epochs
    with pytest.raises(UsageError, match="both labels"):
        train([r for r in rows if r.same], rows)
    stopped, monitor = tmp_path / "run", Stopper(1e-9)
    with pytest.MonkeyPatch.context() as patch:  # told to end after the first step
        patch.setattr("diptych.training.loop.Stopper", lambda hours: monitor)
        with pytest.raises(Unfinished, match="goes on in"):
            train(rows, rows[:64], config, settings, folder=stopped)
    with pytest.raises(UsageError, match="other pairs or settings"):
        train(rows[1:], rows[:64], config, settings, folder=stopped)
    resumed = train(rows, rows[:64], config, settings, folder=stopped)
    assert resumed.epochs == one.epochs and not stopped.exists()
    for name, tensor in one.scorer.model.state_dict().items():
        assert torch.equal(tensor, resumed.scorer.model.state_dict()[name])
    assert set(alphabet_of(p.first for p in rows)) == set("红蓝绿白车")
    for name, count in (("train", 40), ("dev", 10)):
        write_pairs(rows[:count], tmp_path / name)
    runner, to = CliRunner(), str(tmp_path / "e.safetensors")
    small = ["--size", "4", "--hidden", "4", "--epochs", "1", "--language", "zh"]
    done = runner.invoke(app, ["train", str(tmp_path / "train"), "--dev", str(tmp_path / "dev"), "--to", to, *small])
    assert done.exit_code == 0 and (tmp_path / "e.json").is_file(), done.output
    done = runner.invoke(app, ["evaluate", str(tmp_path / "dev"), "--checkpoint", to])
    assert done.exit_code == 0 and "n-gram cosine: accuracy" in done.output


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_esim_beats_the_cosine_and_ranks_the_sample() -> None:
    """Trained in minutes on generated pairs: paraphrases told from look-alikes, the best caption found."""
    before, threads = time.process_time(), torch.get_num_threads()
    torch.set_num_threads(1)  # small steps: threads wait for each other
    try:
        train_pairs, dev, test = generate_pairs(1, 4000, 400), generate_pairs(2, 600, 100), generate_pairs(3, 600, 100)
        config, settings = EsimConfig(size=64, hidden=48, dropout=0.1), EsimTraining(learning_rate=3e-3, epochs=8)
        done = train(train_pairs, dev, config, settings)
    finally:
        torch.set_num_threads(threads)
    seconds = time.process_time() - before
    scores, same = done.scorer.probabilities([p.first for p in test], [p.second for p in test]), labels_of(test)
    esim, cosine = measure(scores, same), measure(cosines(test), same, best_threshold(cosines(dev), labels_of(dev)))
    site, right, total = Site(1200, seed=7), 0, 0
    for truth in site.truths():
        shown = [(i.path, i.caption.text) for i in truth.images if i.keep and i.caption]
        if truth.language == "zh" and truth.best_caption is not None and len(shown) > 1:
            found = done.scorer.scores([(caption, truth.summary.text) for _, caption in shown])
            right += shown[int(found.argmax())][0] == truth.best_caption
            total += 1
    print(f"ESIM {esim.accuracy:.3f} (AUC {esim.auc:.3f}), cosine {cosine.accuracy:.3f} ({cosine.auc:.3f}) on "
          f"{esim.pairs} pairs; best caption first in {right} of {total}; {seconds:.0f} s of CPU")  # fmt: skip
    assert esim.accuracy > 0.9 and esim.accuracy > cosine.accuracy + 0.2
    assert total >= 200 and right / total >= 0.9 and seconds < 180
