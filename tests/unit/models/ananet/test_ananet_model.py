from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from diptych.models.ananet.batch import AnANetBatch
from diptych.models.ananet.model import AnANet, AnANetSizes

SIZES = AnANetSizes(region=7, vocabulary=20, word=6, contextual=5, hidden=16, shared=4, words=8, regions=6, classes=3,
                    association=True, alignment=True, features=("inv_image", "inv_text"), lambda_association=0.7,
                    eta_alignment=1.3, attention_norm="attended", orthogonality="rows", score_scale=1.0,
                    dropout=0.0)  # fmt: skip


def make_batch(words: list[int], regions: list[int], seed: int = 0) -> AnANetBatch:
    draw = np.random.default_rng(seed)
    ids = np.zeros((len(words), 8), np.int64)
    contextual = np.zeros((len(words), 8, 5), np.float32)
    features = np.zeros((len(words), 6, 7), np.float32)
    for row, (n, k) in enumerate(zip(words, regions, strict=True)):
        ids[row, :n] = draw.integers(1, 20, n)
        contextual[row, :n] = draw.normal(size=(n, 5))
        features[row, :k] = draw.normal(size=(k, 7))
    return AnANetBatch(
        regions_BKr=torch.from_numpy(features),
        region_counts_B=torch.tensor(regions),
        words_BN=torch.from_numpy(ids),
        word_counts_B=torch.tensor(words),
        contextual_BNc=torch.from_numpy(contextual),
        labels_B=torch.from_numpy(draw.integers(0, 3, len(words))),
    )


def rows_of(batch: AnANetBatch, rows: list[int]) -> AnANetBatch:
    assert batch.contextual_BNc is not None
    return AnANetBatch(
        batch.regions_BKr[rows], batch.region_counts_B[rows], batch.words_BN[rows], batch.word_counts_B[rows],
        batch.contextual_BNc[rows],
    )  # fmt: skip


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@pytest.mark.parametrize("norm", ["attended", "printed"])
def test_twin_without_padding_tricks(norm: str) -> None:
    """Equations 5-18 in NumPy, one pair and one item at a time, over the real items only."""
    torch.manual_seed(0)
    model = AnANet(replace(SIZES, attention_norm=norm)).eval()  # type: ignore[arg-type]
    batch = make_batch([8, 3, 1], [6, 2, 4])
    found = model(batch)
    V_all, T_all = model.encode_regions(batch)[0].detach().numpy(), model.encode_words(batch)[0].detach().numpy()
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}
    for row in range(3):
        n, k = int(batch.word_counts_B[row]), int(batch.region_counts_B[row])
        V, T = V_all[row, :k], T_all[row, :n]
        s = V @ T.T
        t2v = softmax(s, 1 if norm == "attended" else 0)
        v2t = softmax(s.T, 1 if norm == "attended" else 0)
        r_l = np.zeros(14)
        r_l[:n] = [cosine(T[j], (v2t @ V)[j]) for j in range(n)]
        r_l[8 : 8 + k] = [cosine(V[i], (t2v @ T)[i]) for i in range(k)]
        image, text = weights["shared.weight"] @ V.mean(0), weights["shared.weight"] @ T.mean(0)
        r_g = np.concatenate([image, text])
        logits = 0.7 * (weights["classify_global.weight"] @ r_g + weights["classify_global.bias"])
        logits += 1.3 * (weights["classify_local.weight"] @ r_l + weights["classify_local.bias"])
        np.testing.assert_allclose(found.logits_BC[row].detach(), logits, atol=1e-5)
        np.testing.assert_allclose(found.invariance_B[row].detach(), np.linalg.norm(image - text), rtol=1e-5)


def test_orthogonality_has_two_readings() -> None:
    torch.manual_seed(0)
    model = AnANet(SIZES)
    W = model.shared.weight.detach().numpy()
    privates = [p.weight.detach().numpy() for p in (model.private_image, model.private_text)]
    rows = sum(np.sqrt(((W @ P.T) ** 2).sum()) for P in privates)
    printed = sum(np.sqrt(((W.T @ P) ** 2).sum()) for P in privates)
    assert model.orthogonality().item() == pytest.approx(rows, rel=1e-5)
    model.sizes = replace(SIZES, orthogonality="printed")
    assert model.orthogonality().item() == pytest.approx(printed, rel=1e-5)
    torch.nn.init.zeros_(model.shared.weight)
    model.orthogonality().backward()
    assert torch.isfinite(model.private_text.weight.grad).all()  # type: ignore[arg-type]


def test_rows_do_not_depend_on_their_neighbours_or_on_what_stands_in_padding() -> None:
    torch.manual_seed(0)
    batch, model = make_batch([8, 3, 0, 1, 5], [6, 2, 4, 0, 1]), AnANet(SIZES).eval()
    whole = model(batch).logits_BC
    order = [4, 2, 0, 3, 1]
    torch.testing.assert_close(model(rows_of(batch, order)).logits_BC, whole[order], atol=1e-6, rtol=1e-5)
    for row in range(5):
        torch.testing.assert_close(model(rows_of(batch, [row])).logits_BC, whole[[row]], atol=1e-6, rtol=1e-5)
    dirty = rows_of(batch, list(range(5)))
    assert dirty.contextual_BNc is not None
    dirty.contextual_BNc[1, 3:] = 9.0
    dirty.regions_BKr[1, 2:] = 9.0
    torch.testing.assert_close(model(dirty).logits_BC, whole, atol=1e-6, rtol=1e-5)


def test_no_words_and_no_regions() -> None:
    torch.manual_seed(0)
    batch, model = make_batch([0, 0, 3], [0, 4, 0]), AnANet(SIZES)
    output = model(batch)
    assert torch.isfinite(output.logits_BC).all()
    loss = (
        F.cross_entropy(output.logits_BC, torch.tensor([0, 1, 2])) + output.invariance_B.mean() + output.orthogonality
    )
    loss.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert output.attention_BKN is not None and (output.attention_BKN == 0).all()


@pytest.mark.parametrize(
    "change",
    [
        {"association": False},
        {"alignment": False},
        {"association": False, "alignment": False},
        {"contextual": 0},
        {"features": ("var_image", "var_text", "image", "text")},
        {"features": ("var_image", "inv_image", "inv_text", "var_text", "image", "text")},
    ],
)
def test_every_row_of_the_ablation_tables_runs(change: dict[str, object]) -> None:
    model = AnANet(replace(SIZES, **change))  # type: ignore[arg-type]
    output = model(make_batch([4, 2], [3, 6]))
    output.logits_BC.sum().backward()
    assert output.logits_BC.shape == (2, 3)
    assert (output.attention_BKN is None) == (not model.sizes.alignment)


def test_eight_records_are_learned_by_heart() -> None:
    torch.manual_seed(0)
    batch, model = make_batch([8, 3, 5, 1, 5, 2, 7, 4], [6, 2, 4, 3, 1, 6, 2, 5]), AnANet(SIZES)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    assert batch.labels_B is not None
    classes = torch.tensor(9.0)
    for _ in range(400):
        output = model(batch)
        classes = F.cross_entropy(output.logits_BC, batch.labels_B)
        optimizer.zero_grad()
        (classes + 0.1 * output.invariance_B.mean() + 2 * output.orthogonality).backward()
        optimizer.step()
        if classes < 0.02:
            break
    assert classes < 0.05
    assert (model(batch).logits_BC.argmax(1) == batch.labels_B).all()
    assert model.orthogonality() < 0.5
