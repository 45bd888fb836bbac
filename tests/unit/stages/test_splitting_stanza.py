from __future__ import annotations

import random
from pathlib import Path

import pytest
from pydantic import ValidationError

from diptych.stages.sentences import SentencesConfig
from diptych.stages.splitting import SentenceSplitter
from diptych.stages.splitting_stanza import StanzaSplitter, tokenizer_files

pytest.importorskip("stanza", reason="the extra [parse] is not installed")
SUBJECTS = ("A dog", "The red bus", "Two birds", "Nobody", "Our old car")
VERBS = ("runs", "stands here", "waits", "sees a tree", "goes home now")


def text_and_labels(seed: int, count: int) -> tuple[str, str]:
    """Sentences that end with `|`, which no rule of ours takes for an end; labels: 1 ends a token, 2 a sentence."""
    draw = random.Random(seed)
    text, labels = "", ""
    for _ in range(count):
        words = f"{draw.choice(SUBJECTS)} {draw.choice(VERBS)} |".split(" ")
        for n, word in enumerate(words):
            last = n == len(words) - 1
            text += word + " "
            labels += "0" * (len(word) - 1) + ("2" if last else "1") + "0"
    return text.rstrip(), labels[: len(text.rstrip())]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer trained for some seconds on the toy sentences."""
    from stanza.models import tokenizer

    root = tmp_path_factory.mktemp("stanza")
    for name, seed, count in (("train", 0, 300), ("dev", 1, 30)):
        text, labels = text_and_labels(seed, count)
        (root / f"{name}.txt").write_text(text + "\n\n", encoding="utf-8")
        (root / f"{name}.labels").write_text(labels + "\n\n", encoding="utf-8")
    (root / "en" / "tokenize").mkdir(parents=True)
    gold = root / "dev.conllu"
    rows = []
    for sentence in text_and_labels(1, 30)[0].split("|")[:-1]:
        words = [*sentence.split(), "|"]
        rows += [f"# text = {' '.join(words)}"]
        rows += [f"{n}\t{w}\t_\t_\t_\t_\t{n - 1}\t_\t_\t_" for n, w in enumerate(words, 1)] + [""]
    (root / "mwt.json").write_text("[]", encoding="utf-8")
    gold.write_text("\n".join(rows) + "\n", encoding="utf-8")
    tokenizer.main([
        "--mode", "train", "--lang", "en", "--shorthand", "en_toy", "--cpu",
        "--txt_file", str(root / "train.txt"), "--label_file", str(root / "train.labels"),
        "--dev_txt_file", str(root / "dev.txt"), "--dev_label_file", str(root / "dev.labels"),
        "--mwt_json_file", str(root / "mwt.json"), "--dev_conll_gold", str(gold),
        "--conll_file", str(root / "out.conllu"),
        "--steps", "200", "--eval_steps", "100", "--hidden_dim", "32", "--batch_size", "16",
        "--save_dir", str(root / "en" / "tokenize"), "--save_name", "toy.pt",
    ])  # fmt: skip
    return root


@pytest.mark.slow
def test_boundaries_are_stanzas_where_there_is_a_model(folder: Path) -> None:
    splitter = StanzaSplitter(folder)
    text = "  The red bus waits | Nobody runs | Two birds goes home now |"
    spans = splitter.split(text, "en")
    assert [text[a:b] for a, b in spans] == ["The red bus waits |", "Nobody runs |", "Two birds goes home now |"]
    assert len(SentenceSplitter().split(text, "en")) == 1
    german = "Der Bus steht. Der Hund läuft."
    assert splitter.split(german, "de") == SentenceSplitter().split(german, "de")
    assert splitter.split("   ", "en") == []
    config = SentencesConfig(folder=str(folder))
    assert config.folder_sha256 and SentencesConfig(folder=str(folder), folder_sha256=config.folder_sha256)
    with pytest.raises(ValidationError, match="changed since"):
        SentencesConfig(folder=str(folder), folder_sha256="0" * 64)


def test_a_folder_without_tokenizers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="tokenize"):
        SentencesConfig(folder=str(tmp_path))
    for name in ("b", "a"):
        (tmp_path / "en" / "tokenize").mkdir(parents=True, exist_ok=True)
        (tmp_path / "en" / "tokenize" / f"{name}.pt").write_bytes(b"")
    assert tokenizer_files(tmp_path) == {"en": tmp_path / "en" / "tokenize" / "a.pt"}
