"""Word vectors: pooling against a second implementation, windows, odd texts, folders, the registry's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych import weights
from diptych.exceptions import UsageError, WeightsError
from diptych.models.common.text_encoder import TextEncoder, load_encoder, word_spans
from diptych.stage import Batch
from diptych.stages.bert import Bert, BertConfig
from diptych.stages.splitting import tokens

pytest.importorskip("transformers")
SENTENCES = [
    "The unbelievably old bridge isn't open.",
    "Naïve café-goers paid 12,000€ on 3/4/2024!",
    "新桥在Main街开放了。",
    "אבג \u202eשלום",
    "e\u0301tude 👩‍🚒😀",
]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return load_encoder("random:3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with word pieces, as its owner would save it."""
    import torch
    from transformers import BertConfig as Shape
    from transformers import BertModel, BertTokenizer

    place = tmp_path_factory.mktemp("bert")
    letters = sorted({c for t in SENTENCES for c in t.lower() if not c.isspace()} | set("abcdefghijklmnopqrstuvwxyz"))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "bridge", "un", "##believ", "##ably", "isn", "old"]
    (place / "vocab.txt").write_text("\n".join([*words, *letters, *(f"##{c}" for c in letters)]), encoding="utf-8")
    tokenizer: Any = BertTokenizer(vocab=str(place / "vocab.txt"))
    tokenizer.save_pretrained(place)
    torch.manual_seed(0)
    shape = Shape(
        vocab_size=len(tokenizer), hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    )  # fmt: skip
    BertModel(shape).save_pretrained(place)
    return place


def naive(folder: Path, text: str) -> list[np.ndarray]:
    """Words pooled letter by letter: which pieces own which letter, and which letters each word has."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModel.from_pretrained(folder).eval()
    made = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    with torch.no_grad():
        states = model(torch.tensor([made["input_ids"]])).last_hidden_state[0].numpy()
    owners: list[set[int]] = [set() for _ in text]
    for piece, (start, end) in enumerate(made["offset_mapping"]):
        if not made["special_tokens_mask"][piece] or made["input_ids"][piece] == tokenizer.unk_token_id:
            for letter in range(start, end):
                owners[letter].add(piece)
    found, at = [], 0
    for word in tokens(text):
        while text[at : at + len(word)] != word:
            at += 1
        pieces = sorted(set().union(*owners[at : at + len(word)]))
        at += len(word)
        total = np.zeros(states.shape[1])
        for piece in pieces:
            total += states[piece]
        found.append(total / max(1, len(pieces)))
    return found


def test_words_are_the_means_of_their_pieces(folder: Path) -> None:
    encoder = load_encoder(folder=folder, max_pieces=64, overlap=8)
    for text, made in zip(SENTENCES, encoder.encode(SENTENCES), strict=True):
        expected = naive(folder, text)
        assert len(made.words) == len(expected) == len(tokens(text))
        np.testing.assert_allclose(made.words, np.stack(expected), atol=2e-5)
    split = encoder.encode(["unbelievably old"], [[(0, 12), (13, 16)]])[0]
    assert split.pieces == 4 and np.abs(split.words[0] - split.words[1]).max() > 0.1


def test_long_texts_are_seen_through_windows(encoder: TextEncoder) -> None:
    text = "".join(chr(97 + n % 26) for n in range(100))
    spans = [(n, n + 1) for n in range(100)]
    narrow = load_encoder("random:3", max_pieces=42, overlap=10)  # windows of 40 letters at 0, 30 and 60
    found = narrow.encode([text], [spans])[0]
    for letters, start in ((range(35), 0), (range(35, 65), 30), (range(65, 100), 60)):
        alone = encoder.encode([text[start : start + 40]], [[(n - start, n - start + 1) for n in letters]])[0]
        np.testing.assert_allclose(found.words[list(letters)], alone.words, atol=1e-5)
    fits = narrow.encode([text[:40]], [spans[:40]])[0]
    np.testing.assert_allclose(fits.words, encoder.encode([text[:40]], [spans[:40]])[0].words, atol=1e-5)
    with pytest.raises(UsageError, match="at most 512 pieces"):
        load_encoder("random:3", max_pieces=600)
    with pytest.raises(UsageError, match="overlap"):
        load_encoder("random:3", max_pieces=10, overlap=8)


def test_neighbours_and_repetition_change_nothing(encoder: TextEncoder) -> None:
    texts = [*SENTENCES, "x", "long " * 300]
    together = encoder.encode(texts)
    for text, made in zip(texts, together, strict=True):
        alone = encoder.encode([text])[0]
        np.testing.assert_allclose(made.words, alone.words, atol=1e-5)
        np.testing.assert_allclose(made.sentence, alone.sentence, atol=1e-5)


@pytest.mark.parametrize(
    "text", ["", " ", "\u200b", "word " * 10_000, "😀" * 40, "\u202eאבג", "a\0b", "\ud800x\udfff", "x" * 4000, "\ufffd"]
)
def test_odd_texts_have_a_defined_result(text: str) -> None:
    stage = Bert(BertConfig.model_validate({"model": "random:1"}))
    stage.setup("cpu")
    out = stage.process(Batch(("s", "t"), {"sentence.text": [text, "A car."]}, stage))
    out.check("bert")
    row = {name: values[0] for name, values in out.values.items()}
    assert out.states[0].status == "ok" and len(row["words"]) == len(row["tokens"]) == len(tokens(text))
    assert np.isfinite(row["sentence"]).all() and row["sentence"].any()
    assert all(word.encode() for word in row["words"])  # what was no character has been replaced


def test_online_gives_what_the_stage_stores() -> None:
    stage = Bert(BertConfig.model_validate({"model": "random:1", "max_pieces": 40, "overlap": 8}))
    stage.setup("cpu")
    out = stage.process(Batch(tuple(SENTENCES), {"sentence.text": SENTENCES}, stage))
    online = load_encoder("random:1", max_pieces=40, overlap=8)
    for row, made in enumerate(online.encode(SENTENCES)):
        for name, value in (("tokens", made.words), ("sentence", made.sentence)):
            stored = out.values[name][row].astype(np.float32)
            assert np.abs(stored - value).max() <= stage.tolerance * np.abs(value).max()


def test_spans_are_those_of_the_tokens() -> None:
    for text in SENTENCES:
        assert [text[a:b] for a, b in word_spans(text)] == tokens(text)


def test_a_folder_is_its_content(folder: Path, tmp_path: Path) -> None:
    config = BertConfig.model_validate({"folder": str(folder)})
    assert config.folder_sha256 and BertConfig.model_validate(config.model_dump()) == config
    stage = Bert(config)
    assert stage.weight_names() == () and stage.tensor_schema()["tokens"].shape == (None, 24)
    with pytest.raises(ValueError, match="changed since"):
        BertConfig.model_validate({"folder": str(folder), "folder_sha256": "0" * 64})
    with pytest.raises(ValueError, match="no config.json"):
        BertConfig.model_validate({"folder": str(tmp_path)})
    for text in ("{bad", "[]", "{}"):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(UsageError, match="expected a JSON object with hidden_size"):
            Bert(BertConfig.model_validate({"folder": str(tmp_path)})).tensor_schema()
    (tmp_path / "config.json").write_text('{"model_type": "bert", "auto_map": {"AutoModel": "evil.Model"}}')
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(UsageError, match="no model"):
        load_encoder(folder=tmp_path)
    with pytest.raises(UsageError, match=r"use minilm, .*`folder: DIR`, with its config.json, tokenizer.json and mod"):
        load_encoder("roberta-base")


def test_the_registered_encoder_knows_what_is_alike() -> None:
    try:
        weights.pull("minilm")
    except WeightsError as error:
        pytest.skip(f"no encoder: {error}")
    encoder = load_encoder("minilm")
    texts = ["A physician treats a sick child", "Doctor caring for a kid", "The stock market fell"]
    made = encoder.encode(texts)
    unit = np.stack([m.sentence / np.linalg.norm(m.sentence) for m in made])
    assert unit[0] @ unit[1] > 0.5 > 0.2 > unit[0] @ unit[2]
    bank = encoder.encode(["He sat on the bank of the river", "He paid money into the bank"])
    assert np.abs(bank[0].words[4] - bank[1].words[5]).max() > 0.1  # one word, two contexts


def test_vectors_are_the_same_to_the_last_bit_in_any_company(encoder: TextEncoder) -> None:
    texts = [text * repeat for repeat in (1, 3) for text in SENTENCES]
    together = encoder.encode(texts)
    for text, made in zip(texts, together, strict=True):
        (single,) = encoder.encode([text])
        assert made.words.tobytes() == single.words.tobytes() and made.sentence.tobytes() == single.sentence.tobytes()
