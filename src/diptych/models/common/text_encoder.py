"""Frozen text encoders of the BERT family: token vectors pooled to words, and a sentence vector.

Used by the stage ``bert``, by the relevance scorers and by models whose collate encodes online (MODELS-DETAILS X4):
one code, so both give the same numbers. A text longer than ``max_pieces`` word pieces is seen through overlapping
windows of that length; each piece's vector comes from the window in which it stands farthest from a cut (the earlier
of two), so that no piece is seen with less context than it can have. A word's vector is the mean of the pieces that
overlap it; a word without any piece (control characters, which BERT's tokenizer drops) has a vector of zeros.
Nothing is executed or unpickled: the folder's own code is not trusted, weights are safetensors or ``weights_only``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diptych import weights
from diptych.exceptions import UsageError
from diptych.models.common.alone import is_processor, side_by_side
from diptych.models.common.model_folder import load_folder, registered_folder, require_transformers
from diptych.stages.splitting import encodable, tokens

__all__ = ["ENCODERS", "Encoded", "TextEncoder", "encoder_weights", "hidden_size", "load_encoder", "word_spans"]

ENCODERS = {"minilm": 384, "bert_base_uncased": 768, "bert_base_chinese": 768}
"""Registered encoders and the length of their vectors; each is three files: NAME, NAME_config, NAME_tokenizer."""
RANDOM_SIZE = 32
_BATCH_PIECES = 4096
Span = tuple[int, int]


@dataclass(frozen=True)
class Encoded:
    """One text: ``words`` float32 (words, size), ``sentence`` float32 (size,), how many word pieces it has."""

    words: np.ndarray
    sentence: np.ndarray
    pieces: int


@dataclass(frozen=True)
class _Text:
    """The pieces of a text without the special ones: ids, and the characters of the text each covers."""

    ids: list[int]
    offsets: list[Span]


@dataclass(frozen=True)
class _Window:
    text: int
    start: int
    ids: list[int]


class TextEncoder:
    """A Hugging Face encoder in eval mode, float32."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        device: str = "cpu",
        *,
        max_pieces: int = 128,
        overlap: int = 32,
        pooling: Literal["mean", "first"] = "mean",
    ) -> None:
        """``pooling``: a sentence is the mean of all its pieces, [CLS] and [SEP] among them, or the first piece."""
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._model, self._tokenizer, self._device = model.eval().to(device), tokenizer, device
        with_special, bare = (tokenizer.encode("a", add_special_tokens=s).ids for s in (True, False))
        at = with_special.index(bare[0])
        self._before, self._after = with_special[:at], with_special[at + len(bare) :]
        self.size = int(model.config.hidden_size)
        self._pooling = pooling
        self._body = max_pieces - len(self._before) - len(self._after)
        self._step = self._body - overlap
        limit = _longest(model.config)
        if not 0 < max_pieces <= limit or self._step < 1 or overlap < 0:
            raise UsageError(
                f"windows of {max_pieces} pieces that overlap by {overlap}: this encoder takes at most {limit} pieces, "
                "and the overlap must be shorter than a window"
            )

    def encode(self, texts: Sequence[str], words: Sequence[Sequence[Span]] | None = None) -> list[Encoded]:
        """Each text with the vectors of its words: spans of characters in ascending order, else :func:`word_spans`."""
        found: list[Encoded] = []
        words = [word_spans(text) for text in texts] if words is None else words
        pieces, specials = self._pieces(texts)
        for (text, vectors), special, spans in zip(pieces, specials, words, strict=True):
            found.append(
                Encoded(_pooled(vectors, text.offsets, spans), self._sentence(vectors, special), len(text.ids))
            )
        return found

    def sentences(self, texts: Sequence[str]) -> np.ndarray:
        """Sentence vectors, float32 (texts, size)."""
        pieces, specials = self._pieces(texts)
        made = [self._sentence(vectors, special) for (_, vectors), special in zip(pieces, specials, strict=True)]
        return np.stack(made) if made else np.zeros((0, self.size), np.float32)

    def pieces(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Vectors of the pieces of each text without the special ones, float32 (pieces, size)."""
        return [vectors for _, vectors in self._pieces(texts)[0]]

    def input_vectors(self, words: Sequence[str]) -> np.ndarray:
        """The encoder's input table for each word, the mean of its pieces', float32 (words, size); zeros for none."""
        table = self._model.get_input_embeddings().weight.detach().float().cpu().numpy()
        found = np.zeros((len(words), table.shape[1]), np.float32)
        for row, encoded in zip(
            found, self._tokenizer.encode_batch(list(words), add_special_tokens=False), strict=True
        ):
            if encoded.ids:
                row[:] = table[encoded.ids].mean(0)
        return found

    def _sentence(self, vectors: np.ndarray, special: np.ndarray) -> np.ndarray:
        if self._pooling == "first":
            return special[0] if len(special) else vectors[0]
        return np.concatenate([special, vectors]).mean(0, dtype=np.float32)

    def _pieces(self, texts: Sequence[str]) -> tuple[list[tuple[_Text, np.ndarray]], list[np.ndarray]]:
        """The vectors of each text's own pieces, and those of the special pieces of its windows in order."""
        encoded = self._tokenizer.encode_batch([encodable(text) for text in texts], add_special_tokens=False)
        split = [_Text(e.ids, e.offsets) for e in encoded]
        windows = [w for n, text in enumerate(split) for w in self._windows(n, text)]
        vectors = [np.empty((len(t.ids), self.size), np.float32) for t in split]
        context = [np.full(len(t.ids), -1) for t in split]
        specials: list[list[np.ndarray]] = [[] for _ in split]
        for window, states in zip(windows, self._forward([w.ids for w in windows]), strict=True):
            first, last = len(self._before), len(states) - len(self._after)
            specials[window.text] += [states[:first], states[last:]]
            end = window.start + last - first
            best = _context(window.start, end, len(split[window.text].ids))
            better = best > context[window.text][window.start : end]
            context[window.text][window.start : end][better] = best[better]
            vectors[window.text][window.start : end][better] = states[first:last][better]
        return list(zip(split, vectors, strict=True)), [np.concatenate(s) for s in specials]

    def _windows(self, number: int, text: _Text) -> Iterator[_Window]:
        """Windows over a text, in order; the last one ends with it and is as long as the others."""
        last = max(0, len(text.ids) - self._body)
        for start in (*range(0, last, self._step), last):
            yield _Window(number, start, [*self._before, *text.ids[start : start + self._body], *self._after])

    def _forward(self, windows: Sequence[list[int]]) -> list[np.ndarray]:
        """The last layer of each window, in the order given.

        On a processor each window is seen alone, elsewhere with others of about its length.
        """
        if is_processor(self._device):
            return [made for [made] in side_by_side(lambda window: self._states([window]), windows)]
        found: list[np.ndarray] = [np.zeros((0, self.size), np.float32)] * len(windows)
        for rows in _batches([len(w) for w in windows]):
            for n, made in zip(rows, self._states([windows[n] for n in rows]), strict=True):
                found[n] = made
        return found

    def _states(self, windows: Sequence[list[int]]) -> list[np.ndarray]:
        """The last layer of each of the windows in one batch, float32 (pieces, size)."""
        import torch

        ids, mask = np.zeros((2, len(windows), max(map(len, windows))), np.int64)
        ids += self._model.config.pad_token_id or 0
        for row, window in enumerate(windows):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        with torch.inference_mode():
            states = self._model(
                input_ids=torch.from_numpy(ids).to(self._device),
                attention_mask=torch.from_numpy(mask).to(self._device),
            ).last_hidden_state
        values = states.float().cpu().numpy()
        return [values[row, : len(window)] for row, window in enumerate(windows)]


def word_spans(text: str) -> list[Span]:
    """Where the tokens of a sentence, as ``sentences.items`` has them where no wording is edited, stand in it."""
    found, at = [], 0
    for word in tokens(text):
        start = text.index(word, at)
        at = start + len(word)
        found.append((start, at))
    return found


def load_encoder(
    name: str = "minilm", folder: str | Path | None = None, device: str = "cpu", **options: Any
) -> TextEncoder:
    """A registered encoder, ``random:<seed>`` (untrained, over bytes: for tests), or that of a model folder."""
    require_transformers()
    if folder is not None:
        return TextEncoder(*load_folder(Path(folder)), device, **options)
    if weights.is_random(name):
        return TextEncoder(*_random(weights.random_seed(name)), device, **options)
    calls = ("model.safetensors", "config.json", "tokenizer.json")
    with registered_folder(dict(zip(calls, encoder_weights(name), strict=True))) as place:
        return TextEncoder(*load_folder(place), device, **options)


def encoder_weights(name: str) -> tuple[str, ...]:
    """Names in the weights registry: the weights, their shape, their tokenizer."""
    if weights.is_random(name):
        return (name,)
    if name not in ENCODERS:
        raise UsageError(
            f"no text encoder {name!r} is registered: use {', '.join(ENCODERS)} or random:<seed>; any other of Hugging "
            "Face's comes as a folder, `folder: DIR`, with its config.json, tokenizer.json and model.safetensors"
        )
    return (name, f"{name}_config", f"{name}_tokenizer")


def hidden_size(name: str, folder: str | Path | None = None) -> int:
    """The length of the vectors, without loading the model."""
    if folder is not None:
        file = Path(folder) / "config.json"
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
            return int(config.get("hidden_size") or config["dim"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError(f"{file}: expected a JSON object with hidden_size or dim: {error!r}") from error
    if weights.is_random(name):
        return RANDOM_SIZE
    encoder_weights(name)
    return ENCODERS[name]


def _random(seed: int) -> tuple[Any, Any]:
    """A BERT of two layers that was never trained, over the bytes of a text."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    special = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2}
    letters = {c: n for n, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), len(special))}
    tokenizer = Tokenizer(models.BPE(vocab=special | letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = BertConfig(
            vocab_size=len(special) + len(letters), hidden_size=RANDOM_SIZE, num_hidden_layers=2,
            num_attention_heads=4, intermediate_size=64, max_position_embeddings=512, pad_token_id=0,
        )  # fmt: skip
        return BertModel(config, add_pooling_layer=False), tokenizer


def _longest(config: Any) -> int:
    """Pieces that the positions reach; RoBERTa's begin after its padding id."""
    positions = int(getattr(config, "max_position_embeddings", 512))
    roberta = any(kind in config.model_type for kind in ("roberta", "camembert"))
    return positions - (config.pad_token_id or 0) - 1 if roberta else positions


def _context(start: int, end: int, length: int) -> np.ndarray:
    """How far each piece of a window stands from the nearer cut; the text's own ends are none."""
    place = np.arange(start, end)
    far = np.full(len(place), length)
    left = place - start if start else far
    right = end - 1 - place if end < length else far
    return np.minimum(left, right)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of windows, sorted by length, at most ``_BATCH_PIECES`` pieces with the padding."""
    rows: list[int] = []
    for n in sorted(range(len(lengths)), key=lambda n: (lengths[n], n)):
        if rows and (len(rows) + 1) * lengths[n] > _BATCH_PIECES:
            yield rows
            rows = []
        rows.append(n)
    if rows:
        yield rows


def _pooled(vectors: np.ndarray, offsets: Sequence[Span], words: Sequence[Span]) -> np.ndarray:
    """The mean of the pieces that overlap each word, float32 (words, size)."""
    found = np.zeros((len(words), vectors.shape[1]), np.float32)
    starts, ends = (np.array([o[side] for o in offsets], np.int64) for side in (0, 1))
    for n, (start, end) in enumerate(words):
        first, last = np.searchsorted(ends, start, "right"), np.searchsorted(starts, end, "left")
        own = [k for k in range(first, last) if ends[k] > starts[k]]
        if own:
            found[n] = vectors[own].mean(0, dtype=np.float32)
    return found
