from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from diptych.models.mkp.batch import BOS, EOS, PAD, SEG, SPECIAL, UNK, MkpBatch, make_batch, source_of
from diptych.models.mkp.decoder import class_copies
from diptych.models.mkp.generate import generate
from diptych.models.mkp.model import Mkp, MkpSizes

WORDS = ["red", "bus", "race", "city", "dog", "park", "big", "game", "blue", "kite"]
VOCABULARY = {word: n for n, word in enumerate([*SPECIAL, *WORDS])}
CLASSES = [[], ["red", "bus"], ["city"], ["big", "blue", "kite"], ["dog", "park"], ["game"], ["race", "city"]]
SIZES = MkpSizes(vocabulary=len(VOCABULARY), classes=len(CLASSES), channels=6, word=16, hidden=32, layers=2, heads=2,
                 head_width=8, dropout=0.0, lambda_copy=0.5, top_classes=2, context_in_gru="previous")  # fmt: skip
POSTS: list[tuple[list[str], list[str], list[str]]] = [
    (["the", "bus", "is", "late"], ["city", "race"], ["dog"]),
    (["park"], [], []),
    (["a", "zebra", "saw", "a", "zebra"], ["winter", "gala"], ["kite", "blue"]),
    ([], ["game"], []),
    (["big"], ["blue"], ["bus"]),
    (["dog", "dog"], [], ["park"]),
    (["quagga", "run"], [], []),
    (["city", "race"], ["red"], []),
]
KEYPHRASES = [
    text.split()
    for text in ("city", "dog park", "winter gala", "game", "big blue kite", "red bus", "quagga", "race city")
]


def class_words() -> torch.Tensor:
    table = torch.full((len(CLASSES), 3), PAD)
    for row, words in enumerate(CLASSES):
        table[row, : len(words)] = torch.tensor([VOCABULARY[w] for w in words], dtype=torch.int64)
    return table


def batch_of(rows: list[int], *, pictures: bool = True, extra: int = 5) -> MkpBatch:
    grids = [np.random.default_rng(row).normal(size=(9, 6)).astype(np.float32) for row in range(8)]
    classes = [CLASSES.index(words) if words in CLASSES else 0 for words in KEYPHRASES]
    return make_batch(
        [source_of(POSTS[row], VOCABULARY, extra) for row in rows],
        [grids[row] if pictures else None for row in rows],
        (9, 6),
        keyphrases=[KEYPHRASES[row] for row in rows],
        vocabulary=VOCABULARY,
        classes=[classes[row] for row in rows],
        matches=[row % 2 for row in rows],
    )


def make_model(**change: object) -> Mkp:
    torch.manual_seed(0)
    return Mkp(replace(SIZES, **change), class_words())  # type: ignore[arg-type]


def forward(model: Mkp, batch: MkpBatch):
    encoded = model.encode(batch)
    filtered = model.filter(encoded)
    H_f = model.fused(encoded, filtered)
    return encoded, filtered, H_f, model.class_logits(H_f) if model.sizes.classifier else None


def test_source_joins_three_texts_and_numbers_unknown_words() -> None:
    source = source_of((["zebra", "bus"], ["gnu", "zebra"], ["okapi", "dog"]), VOCABULARY, extra=2)
    v = len(VOCABULARY)
    assert source.ids == (UNK, VOCABULARY["bus"], SEG, UNK, UNK, SEG, UNK, VOCABULARY["dog"])
    assert source.copies == (v, VOCABULARY["bus"], SEG, v + 1, v, SEG, UNK, VOCABULARY["dog"])  # okapi is the third
    assert source.types == (0, 0, 1, 1, 1, 2, 2, 2)
    assert source.extra == ("zebra", "gnu")
    assert source_of(([], [], []), VOCABULARY, 2).ids == (SEG, SEG)


def test_targets_use_copy_ids_where_the_source_has_the_word() -> None:
    batch = batch_of([2, 5], extra=3)
    v = len(VOCABULARY)
    assert batch.inputs_BJ is not None and batch.outputs_BJ is not None
    assert batch.inputs_BJ.tolist() == [[BOS, UNK, UNK], [BOS, VOCABULARY["red"], VOCABULARY["bus"]]]
    extra = source_of(POSTS[2], VOCABULARY, 3).extra
    assert extra == ("a", "zebra", "saw")
    assert batch.outputs_BJ[0].tolist() == [UNK, UNK, EOS]  # winter, gala came too late for a copy id
    assert batch_of([6]).outputs_BJ.tolist() == [[v, EOS]]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "change", [{}, {"classifier": False}, {"image": False}, {"context_in_gru": "none"}, {"lambda_copy": 0.2}]
)
@pytest.mark.parametrize("words", [True, False])
def test_probabilities_sum_to_one(change: dict[str, object], words: bool) -> None:
    model, batch = make_model(**change), batch_of(list(range(8)))
    if not words:
        model.class_words_CL.fill_(PAD)
    encoded, _, H_f, classes = forward(model, batch)
    memory = model.memory(batch, encoded, H_f, classes)
    state, context = model.decoder.start(encoded.last_Bd)
    fed = model.words(torch.full((8,), BOS))
    for _ in range(3):
        found, state, context = model.decoder.step(fed, state, context, memory)
        torch.testing.assert_close(found.sum(1), torch.ones(8))
        assert (found >= 0).all() and found.shape == (8, len(VOCABULARY) + 5)
        fed = model.words(found[:, : len(VOCABULARY)].argmax(1))


def test_class_copies_by_hand() -> None:
    logits = torch.tensor([[9.0, 1.0, 2.0, 0.5, 0.0, -1.0, 0.0]])
    copies = class_copies(logits, class_words(), top=2)  # city (2.0), then red bus (1.0); class 0 never
    kept = copies.words_BK[0] != PAD
    assert copies.words_BK[0][kept].tolist() == [VOCABULARY["city"], VOCABULARY["red"], VOCABULARY["bus"]]
    e = np.exp([2.0, 1.0, 1.0])
    np.testing.assert_allclose(copies.beta_BK[0][kept], e / e.sum(), rtol=1e-6)


def test_filter_gates_by_correlation_and_matching() -> None:
    batch = batch_of([0, 1])
    full, plain = make_model(), make_model(noise_filter=False)
    encoded, filtered, _, _ = forward(full, batch)
    assert filtered.A_BR is not None and filtered.matching_B2 is not None
    torch.testing.assert_close(filtered.H_I, torch.sigmoid(filtered.A_BR)[..., None] * encoded.H_I)
    no_match = make_model(image_text_matching=False)
    assert forward(no_match, batch)[1].matching_B2 is None
    no_regions = make_model(region_matching=False)
    encoded, filtered, _, _ = forward(no_regions, batch)
    assert filtered.matching_B2 is not None and filtered.A_BR is None
    torch.testing.assert_close(filtered.H_I, filtered.matching_B2.softmax(1)[:, 1, None, None] * encoded.H_I)
    encoded, filtered, _, _ = forward(plain, batch)
    torch.testing.assert_close(filtered.H_I, encoded.H_I)


def test_correlation_target_is_a_signal_and_uses_the_inputs_matching_score() -> None:
    model, batch = make_model(), batch_of([0, 1])
    encoded = model.encode(batch)
    filtered = model.filter(encoded)
    target = model.correlation_target(batch, encoded, filtered.matching_B2)
    assert target.shape == (2, 9) and not target.requires_grad
    model.sizes = replace(model.sizes, irtm_target_sc="none", irtm_detach=False)
    other = model.correlation_target(batch, encoded, filtered.matching_B2)
    assert other.requires_grad and not torch.allclose(other, target)


def test_rows_do_not_depend_on_their_neighbours() -> None:
    model = make_model().eval()
    order = list(range(8))
    batch = batch_of(order)
    encoded, _, H_f, classes = forward(model, batch)
    whole = model.log_likelihood(batch, encoded, H_f, classes).sum(1)
    best = generate(model, batch, beam=4, max_steps=5, keep=3)
    for rows in ([7, 2, 0], [3], [6, 1, 5, 4]):
        part = batch_of(rows)
        encoded, _, H_f, classes_part = forward(model, part)
        torch.testing.assert_close(H_f, forward(model, batch)[2][rows], atol=1e-5, rtol=1e-4)
        found = model.log_likelihood(part, encoded, H_f, classes_part).sum(1)
        torch.testing.assert_close(found, whole[rows], atol=1e-4, rtol=1e-4)
        assert [[h.tokens for h in row] for row in generate(model, part, beam=4, max_steps=5, keep=3)] == [
            [h.tokens for h in best[row]] for row in rows
        ]


def test_hypotheses_hold_no_special_tokens_and_their_score_is_the_models() -> None:
    model = make_model().eval()
    batch = batch_of([2])
    for hypothesis in generate(model, batch, beam=6, max_steps=4, keep=5)[0]:
        assert 1 <= len(hypothesis.tokens) <= 3 and not set(hypothesis.tokens) & set(range(len(SPECIAL)))
        v = len(VOCABULARY)
        fed = [BOS, *(t if t < v else UNK for t in hypothesis.tokens)]
        again = replace(batch, inputs_BJ=torch.tensor([fed]), outputs_BJ=torch.tensor([[*hypothesis.tokens, EOS]]))
        encoded, _, H_f, classes = forward(model, again)
        mean = model.log_likelihood(again, encoded, H_f, classes).mean().item()
        assert hypothesis.score == pytest.approx(mean, rel=1e-4)


def test_posts_without_picture_or_text() -> None:
    model, batch = make_model(), batch_of([3, 3, 1], pictures=False)
    encoded, filtered, H_f, classes = forward(model, batch)
    assert classes is not None and filtered.matching_B2 is not None and filtered.A_BR is not None
    loss = F.cross_entropy(classes, torch.tensor([1, 2, 3])) - model.log_likelihood(batch, encoded, H_f, classes).sum()
    (loss + filtered.matching_B2.sum() + filtered.A_BR.sum()).backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_eight_posts_are_learned_by_heart() -> None:
    """A word that only the source has can get lambda_c at most (Eq 12), which gives the loss a floor; with lambda_c 0.5
    it could tie with a class's word.
    """
    model = make_model(word=32, hidden=64, lambda_copy=0.8)
    batch = batch_of(list(range(8)))
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    assert batch.classes_B is not None and batch.outputs_BJ is not None
    said = batch.outputs_BJ != PAD
    tokens = torch.tensor(9.0)
    copied = (batch.outputs_BJ >= len(VOCABULARY)).sum() / said.sum()
    floor = copied * -np.log(0.8)
    assert copied > 0
    for _ in range(200):
        encoded, _, H_f, classes = forward(model, batch)
        assert classes is not None
        tokens = -model.log_likelihood(batch, encoded, H_f, classes)[said].mean()
        loss = tokens + F.cross_entropy(classes, batch.classes_B, ignore_index=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < floor + 0.03:
            break
    assert tokens < floor + 0.05
    model.eval()
    ids = {n: word for word, n in VOCABULARY.items()}
    for row, ranked in enumerate(generate(model, batch, beam=5, max_steps=6, keep=5)):
        extra = batch.extra_words[row]
        best = [ids[t] if t < len(VOCABULARY) else extra[t - len(VOCABULARY)] for t in ranked[0].tokens]
        assert best == KEYPHRASES[row]


def test_gradients_of_a_step_check() -> None:
    """Equations 8 to 14 in float64 against differences: attention, copies from source and classes, the switch."""
    model, batch = make_model().double(), batch_of([0, 3, 6])
    batch = replace(batch, grid_BRc=batch.grid_BRc.double())
    encoded, _, H_f, classes = forward(model, batch)
    assert classes is not None

    def step(state: torch.Tensor, read: torch.Tensor, fused: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        memory = model.memory(batch, encoded._replace(H_T=read), fused, logits)
        fed = model.words(torch.full((3,), BOS))
        return model.decoder.step(fed, state, torch.zeros_like(state), memory)[0]

    inputs = [t.detach().requires_grad_() for t in (encoded.last_Bd, encoded.H_T, H_f, classes)]
    assert torch.autograd.gradcheck(step, inputs, fast_mode=True)
