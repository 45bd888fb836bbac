"""Vocabulary, trained and published word vectors."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych.exceptions import StageError
from diptych.fits.vocabulary import Vocabulary, VocabularyConfig
from diptych.fits.word2vec import Word2Vec, Word2VecConfig
from diptych.fits.word2vec_files import read_vectors
from diptych.fits.word2vec_pretrained import Vectors, VectorsConfig

GLOVE = "the 1 2 3\nnew york 4 5 6\n桥 7 8 9\nthe 0 0 0\n"


def documents(*texts: str, field: str = "text") -> dict[str, Any]:
    return {"sentences.items": [[{"field": field, "tokens": t.split()} for t in text.split(".")] for text in texts]}


def rows(fit: Any, *texts: str) -> list[dict[str, Any]]:
    parts = [fit.partial([f"{n:032x}"], documents(text)) for n, text in enumerate(texts)]
    return fit.merge(parts, None).to_pylist()


def test_a_vocabulary_is_cut_at_count_and_size() -> None:
    texts = ("The cat the dog", "a cat . A 桥")
    words = [(r["word"], r["count"]) for r in rows(Vocabulary(), *texts)]
    assert words == [("a", 2), ("cat", 2), ("the", 2), ("dog", 1), ("桥", 1)]
    assert len(rows(Vocabulary(VocabularyConfig(min_count=2)), *texts)) == 3
    assert [r["word"] for r in rows(Vocabulary(VocabularyConfig(top=1)), *texts)] == ["a"]
    assert rows(Vocabulary(VocabularyConfig(lower_case=False)), *texts)[0]["word"] == "cat"
    assert rows(Vocabulary(VocabularyConfig(fields=("title",))), *texts) == []


def test_text_files(tmp_path: Path) -> None:
    file = tmp_path / "glove.txt"
    for text in (GLOVE, "4 3\n" + GLOVE, GLOVE.replace("\n", "\r\n")):
        file.write_bytes(text.encode())
        found = read_vectors(file, {"the", "new york", "桥", "absent"})
        assert {w: v.tolist() for w, v in found.vectors.items()} == {
            "the": [1, 2, 3], "new york": [4, 5, 6], "桥": [7, 8, 9]
        }  # fmt: skip
        assert (found.size, found.words, found.unreadable) == (3, 4, 0)
    file.write_bytes(GLOVE.encode() + b"bad x 1 2\ninf inf 1 2\n\xff\xfe 1 2 3\nshort 1\n")
    assert read_vectors(file, {"bad", "inf", "the"}).unreadable == 4


@pytest.mark.parametrize("length", range(9))
def test_text_files_whose_lines_are_longer_than_what_is_looked_at(tmp_path: Path, length: int) -> None:
    numbers = " ".join(["-1.5e-01"] * 512)
    file = tmp_path / "vectors.txt"
    file.write_text(f"2 512\n{'w' * (length + 1)} {numbers}\nother {numbers}\n", encoding="utf-8")
    found = read_vectors(file, {"other"})
    assert (found.size, found.words) == (512, 2) and found.vectors["other"][511] == np.float32(-0.15)


def test_binary_files(tmp_path: Path) -> None:
    file = tmp_path / "vectors.bin"
    many = [(f"word{n}", [float(n), -1.0, 0.1]) for n in range(100_000)]
    for separator in (b"", b"\n"):
        body = b"".join(w.encode() + b" " + struct.pack("<3f", *v) + separator for w, v in many)
        file.write_bytes(f"{len(many)} 3\n".encode() + body)
        found = read_vectors(file, ["word0", "word99999", "nothing"])
        assert found.words == 100_000 and set(found.vectors) == {"word0", "word99999"}
        assert found.vectors["word99999"].tolist() == pytest.approx([99999, -1, 0.1])
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(StageError, match="ends in word 100000 of 100000"):
        read_vectors(file, ["word0"])


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "0 numbers"), (b"word\n", "0 numbers"), (b"w " + b"1 " * 5000 + b"\n", "5000 numbers|4999 numbers"),
        (b"999999999 3\n" + GLOVE.encode(), "are announced"), (b"3 99999\n", "are announced"),
        (b"5 3\n" + GLOVE.encode(), "announces 5 words and has 4"),
        (b"a b c d\ne f g h\ni j k l\n", "3 of 3 lines|2 of 3"),
        (b"9 3\n" + b"\0" * 10_000, "longer than|ends in"), (b"a 1 2\n" + b"x" * (1 << 19), "is longer than"),
    ],
)  # fmt: skip
def test_files_that_are_no_vectors(tmp_path: Path, data: bytes, what: str) -> None:
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(StageError, match=what):
        read_vectors(tmp_path / "file", {"a", "b", "e", "i"})


def test_vectors_are_trimmed_to_the_words_of_the_dataset(tmp_path: Path) -> None:
    file = tmp_path / "glove.txt"
    file.write_text(GLOVE, encoding="utf-8")
    config = VectorsConfig(file=str(file))
    assert VectorsConfig(**config.model_dump()) == config and len(config.file_sha256 or "") == 64
    found = {r["word"]: r["vector"] for r in rows(Vectors(config), "The bridge", "桥")}
    assert found == {"the": [1, 2, 3], "bridge": None, "桥": [7, 8, 9]}
    with pytest.raises(StageError, match="none of the dataset's 1 words"):
        rows(Vectors(config), "nothing")


def test_word2vec_is_deterministic_and_learns_neighbours() -> None:
    pytest.importorskip("gensim")
    rng = np.random.default_rng(0)
    groups = (["red", "blue", "green"], ["cat", "dog", "bird"])
    texts = [" ".join(rng.choice(groups[n % 2], 8)) for n in range(400)]
    config = Word2VecConfig(size=16, min_count=5, epochs=10, seed=3)
    found = rows(Word2Vec(config), *texts)
    assert found == rows(Word2Vec(config), *texts)
    assert found != rows(Word2Vec(config.model_copy(update={"seed": 4})), *texts)
    vectors = {r["word"]: np.array(r["vector"]) / np.linalg.norm(r["vector"]) for r in found}
    assert len(vectors) == 6 and all(len(v) == 16 for v in vectors.values())
    assert vectors["red"] @ vectors["blue"] > vectors["red"] @ vectors["cat"]
    assert rows(Word2Vec(config), "rare words") == []
