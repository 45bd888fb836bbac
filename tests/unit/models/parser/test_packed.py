"""Stanza's files as one safetensors file, and nothing executed on the way."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from diptych import weights
from diptych.exceptions import UsageError, WeightsError
from diptych.models.parser.importing import import_parser
from diptych.models.parser.packed import load_checkpoint, pack, read_header, unpack
from diptych.models.parser.vectors import read_vector_file


def checkpoint(seed: int = 0) -> dict[str, Any]:
    """A nest of what Stanza's checkpoints are made of."""
    generator = torch.Generator().manual_seed(seed)
    return {
        "params": {
            "model": {"a.weight": torch.randn(3, 4, generator=generator), "ids": torch.arange(5)},
            "config": {
                "lang": "en",
                "epochs": 3,
                "rate": 0.5,
                "none": None,
                "flag": True,
                "sizes": [1, 2],
                "pair": ("x", 1),
            },
            "rare_words": {"zebra", "ant"},
            7: "a key that is a number",
        },
        "model_type": "LSTM",
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


def test_what_is_packed_comes_back(tmp_path: Path) -> None:
    parts = {"constituency": checkpoint(), "pretrain": {"emb": torch.ones(2, 2), "vocab": ["a", "b"]}}
    pack(parts, tmp_path / "p.safetensors", language="en", note="a test")
    assert read_header(tmp_path / "p.safetensors")["language"] == "en"
    places = unpack(tmp_path / "p.safetensors", tmp_path)
    for name, part in parts.items():
        assert same(load_checkpoint(places[name]), part)


def test_halves_are_floats_again(tmp_path: Path) -> None:
    pack({"constituency": checkpoint()}, tmp_path / "full.safetensors", language="en")
    pack({"constituency": checkpoint()}, tmp_path / "half.safetensors", language="en", half=True)
    tensor = checkpoint()["params"]["model"]["a.weight"]
    found = load_checkpoint(unpack(tmp_path / "half.safetensors", tmp_path)["constituency"])["params"]["model"][
        "a.weight"
    ]
    assert found.dtype == torch.float32 and torch.allclose(found, tensor, atol=2e-3)
    assert (tmp_path / "half.safetensors").stat().st_size < (tmp_path / "full.safetensors").stat().st_size


class Trap:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("executed"),)


def test_files_that_are_more_than_data_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"params": Trap()}, "trap.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "text.pt").write_text("no model")
    torch.save([1, 2], "list.pt")
    for name in ("trap.pt", "plain.pt", "text.pt", "list.pt"):
        with pytest.raises(WeightsError, match=name):
            load_checkpoint(Path(name))
    assert not Path("executed").exists()
    with pytest.raises(WeightsError, match="plain values"):
        pack({"constituency": {"a": object()}}, tmp_path / "x.safetensors", language="en")
    with pytest.raises(WeightsError, match="constituency"):
        pack({"pos": {}}, tmp_path / "x.safetensors", language="en")


def test_an_official_folder_is_imported_under_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_cache", tmp_path / "cache")
    folder = tmp_path / "resources" / "de"
    for part, name in (("constituency", "spmrl"), ("pos", "gsd"), ("pretrain", "fasttext")):
        (folder / part).mkdir(parents=True)
        torch.save(checkpoint(len(name)), folder / part / f"{name}.pt")
    entry = import_parser(folder, "parser_de")
    header = read_header(weights.path("parser_de"))
    assert (entry.name, header["language"], header["note"]) == ("parser_de", "de", "Stanza: spmrl")
    assert weights.digest("parser_de") == entry.sha256 == weights.sha256_of(weights.path("parser_de"))
    again = import_parser(weights.path("parser_de"), "parser_copy")
    assert again.sha256 == entry.sha256
    torch.save(checkpoint(), folder / "pos" / "hdt.pt")
    with pytest.raises(UsageError, match=r"gsd\.pt, hdt\.pt"):
        import_parser(folder, "parser_de")
    with pytest.raises(UsageError, match="constituency"):
        import_parser(tmp_path / "resources", "parser_de")
    (tmp_path / "other.safetensors").write_bytes(b"no safetensors")
    with pytest.raises(WeightsError, match="not a packed parser"):
        import_parser(tmp_path / "other.safetensors", "parser_de")


def test_vector_files(tmp_path: Path) -> None:
    file = tmp_path / "v.txt"
    file.write_text("2 3\nthe 1 2 3\ncat 0.5 0 -1\n")
    words, vectors = read_vector_file(file, 10)
    assert words == ["the", "cat"] and vectors.tolist() == [[1, 2, 3], [0.5, 0, -1]]
    assert read_vector_file(file, 1)[0] == ["the"]
    file.write_text("the 1 2 3\ncat 1 2\n")
    with pytest.raises(UsageError, match="line 2: expected 3"):
        read_vector_file(file, 10)
    file.write_text("the 1 x 3\n")
    with pytest.raises(UsageError, match="line 1"):
        read_vector_file(file, 10)
