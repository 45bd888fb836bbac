"""The networks of the information gap paper (Section 4, Figures 3-5): encoder, decoder, classifier.

Shape suffixes: B pairs, S sentences of the batch, T tokens, P supervised places, V words, W word width,
M sentence and image width (600), A article width (2400). The paper prints no equations; sections are named.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from diptych.models.common.recurrent import recur
from diptych.models.gap.batch import PAD, GapBatch
from diptych.models.gap.svm import LinearHeads

__all__ = ["Decoded", "Gap", "GapSizes"]


@dataclass(frozen=True)
class GapSizes:
    """Widths; those of the data (image, vocabulary, pixels) come from the version."""

    image: int
    """channels of the pooled image feature"""
    vocabulary: int
    word: int
    embedding: int
    """of a sentence and of an image"""
    text_hidden: int
    """of the LSTM over sentences"""
    article: int
    sentences: int
    tokens: int
    pixels: int
    """side of the picture that the decoder draws"""
    dropout: float


class GapEncoder(nn.Module):
    """Image and text to the article embedding (Section 4.1, "Encoder")."""

    def __init__(self, sizes: GapSizes, vectors_VW: Tensor | None = None) -> None:
        super().__init__()
        self.sizes = sizes
        self.words = nn.Embedding(sizes.vocabulary, sizes.word, padding_idx=PAD)
        if vectors_VW is not None:
            with torch.no_grad():
                self.words.weight.copy_(vectors_VW)
        self.image = nn.Linear(sizes.image, sizes.embedding)
        self.sentence = nn.LSTM(sizes.word, sizes.embedding, batch_first=True)
        self.article = nn.LSTM(sizes.embedding, sizes.text_hidden, batch_first=True)
        self.out = nn.Linear(sizes.text_hidden + sizes.embedding, sizes.article)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, batch: GapBatch) -> Tensor:
        """(B, A): the image embedding is the first input of the LSTM over sentences and joins its last output."""
        image_BM = self.dropout(self.image(batch.image_BI))
        counts = batch.sentence_counts_B
        steps_BSM = image_BM.new_zeros(len(batch), 1 + int(counts.max()), self.sizes.embedding)
        steps_BSM[:, 0] = image_BM
        if len(batch.tokens_ST):
            packed = pack_padded_sequence(
                self.words(batch.tokens_ST), batch.sentence_lengths_S, batch_first=True, enforce_sorted=False
            )
            _, (last_1SM, _) = recur(self.sentence, packed)
            owner, place = sentence_places(counts)
            steps_BSM[owner, place + 1] = self.dropout(last_1SM[0]).to(steps_BSM.dtype)  # half under autocast
        packed = pack_padded_sequence(steps_BSM, counts + 1, batch_first=True, enforce_sorted=False)
        _, (last_1BH, _) = recur(self.article, packed)
        return self.dropout(self.out(torch.cat([self.dropout(last_1BH[0]), image_BM], 1)))


def sentence_places(counts_B: Tensor) -> tuple[Tensor, Tensor]:
    """For each sentence of the batch its pair and its number in that pair's text: two (S,)."""
    # not repeat_interleave: on the CPU it wakes every thread there is, which then wait for more at the step's cost
    owner = torch.from_numpy(np.repeat(np.arange(len(counts_B)), counts_B.numpy()))
    starts = torch.cumsum(counts_B, 0) - counts_B
    return owner, torch.arange(len(owner)) - starts[owner]


@dataclass(frozen=True)
class Decoded:
    """What the decoder says of a batch."""

    image_B3HW: Tensor
    """float32, about [-1, 1]"""
    logits_PV: Tensor
    """at the supervised places only: 50 x 40 x 12,591 a pair would be 100 MB"""


class GapDecoder(nn.Module):
    """The article embedding back to picture and text (Section 4.1, "Decoder"); lengths are fixed, ends are words."""

    def __init__(self, sizes: GapSizes, cosine_scale: float) -> None:
        super().__init__()
        self.sizes, self.cosine_scale = sizes, cosine_scale
        self.thumbnail_side = -(-sizes.pixels // 8)  # 300 is not divisible by 8: 38 -> 304, centre-cropped
        self.thumbnail = nn.Linear(sizes.article, 3 * self.thumbnail_side**2)
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 32), (32, 8), (8, 3)))
        self.article = nn.LSTM(sizes.article, sizes.embedding, batch_first=True)
        self.sentence = nn.LSTM(sizes.embedding, sizes.word, batch_first=True)
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, article_BA: Tensor, places_P3: Tensor, words_VW: Tensor) -> Decoded:
        """Draw the picture; score every word at ``places_P3`` by its cosine with the token vector there.

        Padding is no word: it gets -inf.
        """
        tokens_PW = self.tokens(article_BA, places_P3)
        cosines = F.normalize(tokens_PW, dim=1) @ F.normalize(words_VW[PAD + 1 :], dim=1).T
        return Decoded(self.draw(article_BA), F.pad(self.cosine_scale * cosines, (PAD + 1, 0), value=-torch.inf))

    def draw(self, article_BA: Tensor) -> Tensor:
        """(B, 3, side, side)"""
        side = self.thumbnail_side
        x = self.dropout(self.thumbnail(article_BA)).view(-1, 3, side, side)
        for number, convolution in enumerate(self.convolutions):
            x = convolution(F.interpolate(x, scale_factor=2, mode="nearest"))
            x = F.relu(x) if number < 2 else x
        margin = (x.shape[-1] - self.sizes.pixels) // 2
        return x[..., margin : margin + self.sizes.pixels, margin : margin + self.sizes.pixels]

    def tokens(self, article_BA: Tensor, places_P3: Tensor) -> Tensor:
        """(P, W): an LSTM over sentences is fed the article at every step, one over tokens each of its outputs."""
        if not len(places_P3):
            return article_BA.new_zeros(0, self.sizes.word)
        pairs, sentences, tokens = places_P3.unbind(1)
        length = int(sentences.max()) + 1
        sentences_BSM, _ = recur(self.article, article_BA[:, None].expand(-1, length, -1))
        wanted, row_P = torch.unique(pairs * length + sentences, return_inverse=True)  # sentences somebody asks for
        sentences_NM = self.dropout(sentences_BSM.flatten(0, 1)[wanted])
        tokens_NTW, _ = recur(self.sentence, sentences_NM[:, None].expand(-1, int(tokens.max()) + 1, -1))
        return self.dropout(tokens_NTW)[row_P, tokens]


class GapClassifier(nn.Module):
    """Shared layers over the article embedding, one head for CMI and one for SC (Section 4.2)."""

    def __init__(self, sizes: GapSizes, levels: tuple[int, int], hidden_layers: int) -> None:
        super().__init__()
        widths = [sizes.article, *[sizes.embedding] * hidden_layers]
        self.hidden = nn.ModuleList(nn.Linear(i, o) for i, o in zip(widths[:-1], widths[1:], strict=True))
        self.cmi = nn.Linear(widths[-1], levels[0])
        self.sc = nn.Linear(widths[-1], levels[1])
        self.dropout = nn.Dropout(sizes.dropout)

    def forward(self, article_BA: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, levels) of CMI and of SC."""
        x = article_BA
        for layer in self.hidden:
            x = self.dropout(F.relu(layer(x)))
        return self.cmi(x), self.sc(x)


class Gap(nn.Module):
    """Encoder with both its uses: first the autoencoder trains it, then the classifier goes on with it."""

    def __init__(self, sizes: GapSizes, cosine_scale: float, hidden_layers: int = 1, levels: tuple[int, int] = (5, 5),
                 vectors_VW: Tensor | None = None, svm: bool = False) -> None:  # fmt: skip
        super().__init__()
        self.encoder = GapEncoder(sizes, vectors_VW)
        self.decoder = GapDecoder(sizes, cosine_scale)
        self.classifier = LinearHeads(sizes.article, levels) if svm else GapClassifier(sizes, levels, hidden_layers)

    def reconstruct(self, batch: GapBatch) -> Decoded:
        """The words are scored by the encoder's own word embeddings."""
        return self.decoder(self.encoder(batch), batch.places_P3, self.encoder.words.weight)

    def classify(self, batch: GapBatch) -> tuple[Tensor, Tensor]:
        """Logits (B, levels) of CMI and of SC."""
        return self.classifier(self.encoder(batch))
