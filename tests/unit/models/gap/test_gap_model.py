from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from diptych.models.gap.batch import EOS, EOT, PAD, GapBatch, text_batch
from diptych.models.gap.model import Gap, GapSizes

SIZES = GapSizes(image=12, vocabulary=24, word=16, embedding=20, text_hidden=28, article=32, sentences=4, tokens=6,
                 pixels=20, dropout=0.0)  # fmt: skip
Text = list[list[int]]


def make_batch(texts: list[Text], seed: int = 0, width: int = 12, side: int = 20) -> GapBatch:
    draw = np.random.default_rng(seed)
    pixels = draw.uniform(-1, 1, (len(texts), 3, side // 4, side // 4)).repeat(4, 2).repeat(4, 3)
    return GapBatch(
        image_BI=torch.from_numpy(draw.normal(size=(len(texts), width)).astype(np.float32)),
        pixels_B3HW=torch.from_numpy(pixels.astype(np.float32)),
        cmi_B=torch.from_numpy(draw.integers(0, 5, len(texts))),
        sc_B=torch.from_numpy(draw.integers(0, 5, len(texts))),
        **text_batch(texts, SIZES.sentences, SIZES.tokens),
    )


def random_texts(count: int, seed: int = 1) -> list[Text]:
    draw = np.random.default_rng(seed)
    return [
        [draw.integers(4, 24, draw.integers(1, 6)).tolist() for _ in range(draw.integers(1, 4))] for _ in range(count)
    ]


def part_of(batch: GapBatch, texts: list[Text], rows: list[int]) -> GapBatch:
    assert batch.pixels_B3HW is not None
    return GapBatch(
        image_BI=batch.image_BI[rows],
        pixels_B3HW=batch.pixels_B3HW[rows],
        **text_batch([texts[r] for r in rows], SIZES.sentences, SIZES.tokens),
    )


def test_text_batch_places_an_end_where_the_decoder_has_room() -> None:
    full = [[7] * 6, [8], [9], [10]]
    made = text_batch([[[5, 6], [], [7]], full, []], sentences=4, tokens=6)
    assert made["sentence_counts_B"].tolist() == [2, 4, 0]
    said = list(zip(map(tuple, made["places_P3"].tolist()), made["targets_P"].tolist(), strict=True))
    assert said[:3] == [((0, 0, 0), 5), ((0, 0, 1), 6), ((0, 0, 2), EOS)]
    assert said[3:6] == [((0, 1, 0), 7), ((0, 1, 1), EOS), ((0, 2, 0), EOT)]
    second = [entry for entry in said if entry[0][0] == 1]
    assert second[:7] == [*(((1, 0, t), 7) for t in range(6)), ((1, 1, 0), 8)]  # six tokens fill the sentence: no end
    assert EOT not in [target for _, target in second]  # four sentences fill the text
    assert said[-1] == ((2, 0, 0), EOT)
    cut = text_batch([[[5] * 9] * 9], sentences=4, tokens=6)
    assert cut["tokens_ST"].shape == (4, 6)
    assert len(cut["targets_P"]) == 24


def test_rows_do_not_depend_on_their_neighbours_or_on_padding() -> None:
    torch.manual_seed(0)
    texts = [*random_texts(5), [], [[4]]]
    batch, model = make_batch(texts), Gap(SIZES, 20.0).eval()
    encoded = model.encoder(batch)
    whole = model.reconstruct(batch)
    order = [6, 2, 0, 5, 4, 1, 3]
    shuffled = part_of(batch, texts, order)
    torch.testing.assert_close(model.encoder(shuffled), encoded[order], atol=1e-6, rtol=1e-5)
    for row in range(len(texts)):
        alone = part_of(batch, texts, [row])
        torch.testing.assert_close(model.encoder(alone), encoded[[row]], atol=1e-6, rtol=1e-5)
        mine = batch.places_P3[:, 0] == row
        torch.testing.assert_close(model.reconstruct(alone).logits_PV, whole.logits_PV[mine], atol=1e-5, rtol=1e-4)


def test_the_encoder_is_the_loop_one_would_write() -> None:
    """A twin: one pair, one sentence, one step at a time, with the cell written out."""
    torch.manual_seed(0)
    texts = random_texts(3)
    batch, model = make_batch(texts), Gap(SIZES, 1.0).eval()
    encoder = model.encoder

    def run(lstm: torch.nn.LSTM, inputs: list[torch.Tensor]) -> torch.Tensor:
        h = c = torch.zeros(lstm.hidden_size)
        for x in inputs:
            gates = lstm.weight_ih_l0 @ x + lstm.bias_ih_l0 + lstm.weight_hh_l0 @ h + lstm.bias_hh_l0
            i, f, g, o = gates.chunk(4)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return h

    found = encoder(batch)
    for row, text in enumerate(texts):
        image = encoder.image(batch.image_BI[row])
        sentences = [run(encoder.sentence, [encoder.words.weight[t] for t in sentence]) for sentence in text]
        article = encoder.out(torch.cat([run(encoder.article, [image, *sentences]), image]))
        torch.testing.assert_close(found[row], article, atol=1e-6, rtol=1e-5)


def test_cosine_logits_have_the_floor_the_scale_allows() -> None:
    model = Gap(SIZES, 1.0)
    logits = model.reconstruct(make_batch(random_texts(3))).logits_PV
    assert logits[:, PAD + 1 :].abs().max() <= 1 + 1e-5


def test_padding_is_no_word_that_could_be_said() -> None:
    """A vector of zeros has no direction: its gradient would be 1e12 times the others', and clipping leave none."""
    model, batch = Gap(SIZES, 1.0), make_batch(random_texts(3))
    logits = model.reconstruct(batch).logits_PV
    assert not logits.softmax(1)[:, PAD].any()
    F.cross_entropy(logits, batch.targets_P).backward()
    gradient = model.encoder.words.weight.grad
    assert gradient is not None and not gradient[PAD].any() and gradient[PAD + 1 :].any(1).all()


@pytest.mark.parametrize(("side", "thumbnail"), [(300, 38), (96, 12), (20, 3)])
def test_the_picture_has_the_size_of_the_pixels(side: int, thumbnail: int) -> None:
    sizes = GapSizes(**{**SIZES.__dict__, "pixels": side})
    decoder = Gap(sizes, 1.0).decoder
    assert decoder.thumbnail_side == thumbnail
    assert decoder.draw(torch.zeros(2, SIZES.article)).shape == (2, 3, side, side)


def test_nothing_but_empty_texts() -> None:
    model = Gap(SIZES, 20.0)
    batch = make_batch([[], []])
    decoded = model.reconstruct(batch)
    loss = F.cross_entropy(decoded.logits_PV, batch.targets_P) + decoded.image_B3HW.square().mean()
    loss.backward()
    assert torch.isfinite(loss)
    assert batch.targets_P.tolist() == [EOT, EOT]
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.isfinite(g).all() for g in gradients)


def test_eight_records_are_learned_by_heart() -> None:
    """Token accuracy 1 and text loss below 0.05 with cosine scale 20; then both labels."""
    torch.manual_seed(0)
    sizes = GapSizes(**{**SIZES.__dict__, "word": 48, "embedding": 64, "text_hidden": 64, "article": 64})
    batch = make_batch(random_texts(8))
    model = Gap(sizes, 20.0)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    assert batch.pixels_B3HW is not None and batch.cmi_B is not None and batch.sc_B is not None
    text = image = torch.tensor(9.0)
    first = F.mse_loss(model.reconstruct(batch).image_B3HW, batch.pixels_B3HW).item()
    for _ in range(500):
        decoded = model.reconstruct(batch)
        text = F.cross_entropy(decoded.logits_PV, batch.targets_P)
        image = F.mse_loss(decoded.image_B3HW, batch.pixels_B3HW)
        optimizer.zero_grad()
        (text + image).backward()
        optimizer.step()
        if text < 0.02 and image < first / 2:
            break
    assert text < 0.05
    assert (model.reconstruct(batch).logits_PV.argmax(1) == batch.targets_P).all()
    assert image < first / 2
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(60):
        cmi, sc = model.classify(batch)
        loss = F.cross_entropy(cmi, batch.cmi_B) + F.cross_entropy(sc, batch.sc_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (cmi.argmax(1) == batch.cmi_B).all() and (sc.argmax(1) == batch.sc_B).all()
