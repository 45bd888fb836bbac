"""Parsing with a packed model: words in, trees out, offline."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diptych.exceptions import MissingExtra
from diptych.models.common.alone import alone
from diptych.models.parser.packed import read_header, unpack
from diptych.models.parser.tree import Tree, read_brackets

__all__ = ["Parser"]

_ESCAPES = {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-"}


class Parser:
    """A Stanza pipeline (tagger and constituency parser) of a packed model; a context manager."""

    def __init__(self, file: Path, device: str = "cpu", batch: int = 64) -> None:
        try:
            import stanza
        except ImportError as error:
            raise MissingExtra("stanza", "parse") from error
        self.language = read_header(file)["language"]
        logging.getLogger("stanza").setLevel(logging.WARNING)
        with tempfile.TemporaryDirectory(prefix="diptych-parser-") as name:
            folder = Path(name)
            places = unpack(file, folder)
            # Stanza asks this file which languages there are; with explicit paths nothing else is read from it
            (folder / "resources.json").write_text(json.dumps({self.language: {"lang_name": self.language}}))
            options: dict[str, Any] = {"constituency_model_path": str(places["constituency"])}
            if "pos" in places:
                options["pos_model_path"] = str(places["pos"])
            for part in ("pretrain", "forward_charlm", "backward_charlm"):
                if part in places:
                    options |= {f"{step}_{part}_path": str(places[part]) for step in ("pos", "constituency")}
            self._pipeline: Any = stanza.Pipeline(
                self.language, dir=str(folder),
                download_method=None,  # pyright: ignore[reportArgumentType] - its documented way of no network
                tokenize_pretokenized=True,
                processors="tokenize,pos,constituency" if "pos" in places else "tokenize,constituency",
                constituency_pretagged="pos" not in places, constituency_batch_size=batch,
                device=device, verbose=False, **options,
            )  # fmt: skip

    def parse(self, sentences: Sequence[Sequence[str]]) -> list[Tree | None]:
        """One tree a sentence, whose leaves are its words with brackets escaped; None where there is no word.

        Stanza sorts by length and batches; a sentence's tree does not depend on its neighbours.
        """
        full = [n for n, words in enumerate(sentences) if words]
        found: list[Tree | None] = [None] * len(sentences)
        if full:
            given = [[_escaped(word) for word in sentences[n]] for n in full]
            # matrices this small are slower on several threads, ten times so on a busy machine
            document = alone(lambda: self._pipeline(given))
            for n, parsed in zip(full, document.sentences, strict=True):
                tree = parsed.constituency
                found[n] = None if tree is None else read_brackets(str(tree))
        return found

    def close(self) -> None:
        """Let the models go."""
        self._pipeline = None

    def __enter__(self) -> Parser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _escaped(word: str) -> str:
    """A word that can stand in brackets: no bracket, no blank, no NUL."""
    return "".join(_ESCAPES.get(letter, letter) for letter in word if not letter.isspace() and letter != "\0") or "?"
