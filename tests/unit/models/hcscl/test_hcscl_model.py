from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from diptych.models.hcscl.batch import BOS, EOS, PAD, HcsclBatch
from diptych.models.hcscl.generate import summarize
from diptych.models.hcscl.model import Hcscl, HcsclSizes
from diptych.models.hcscl.scenes import ImageGraph
from diptych.models.hcscl.summarizer import Memory, Summarizer

SIZES = HcsclSizes(
    contextual=6, region=7, attributes=5, vocabulary=14, width=16, location=4, attribute=4, output_word=8, inner=24,
    heads=2, layers=2, dropout=0.0, variant="full", selector=True, score="scaled", norm=False,
    coupled=False, object_attends="article", readout_max="component", selector_state="eos",
)  # fmt: skip
VARIANTS = ["full", "word_object_only", "sentence_scene_only", "no_sentence_scene_fusion", "no_word_object_fusion"]


class Record:
    """One document, unpadded: words by sentence, boxes by image."""

    def __init__(self, seed: int, sentences: list[int], images: list[int], summary: int) -> None:
        draw = np.random.default_rng(seed)
        self.words = [draw.normal(size=(n, 6)).astype(np.float32) for n in sentences]
        self.images = len(images)
        self.image_of = [i for i, n in enumerate(images) for _ in range(n)]
        count = len(self.image_of)
        self.roi = draw.normal(size=(count, 7)).astype(np.float32)
        self.boxes = draw.uniform(size=(count, 4)).astype(np.float32)
        self.attributes = draw.integers(0, 5, count)
        self.iou = np.zeros((count, count), np.float32)
        for a in range(count):
            for b in range(a):
                if self.image_of[a] == self.image_of[b] and draw.random() < 0.5:
                    self.iou[a, b] = self.iou[b, a] = draw.uniform(0.25, 0.9)
        self.scene_of = self._components()
        self.scene_image = [self.image_of[self.scene_of.index(z)] for z in sorted(set(self.scene_of))]
        self.choice = int(draw.integers(0, len(images))) if images else -1
        self.summary = draw.integers(4, 14, summary).tolist()

    def _components(self) -> list[int]:
        scene = list(range(len(self.image_of)))
        for a, b in zip(*np.nonzero(self.iou), strict=True):
            scene = [min(scene[a], scene[b]) if s in (scene[a], scene[b]) else s for s in scene]
        names = sorted(set(scene))
        return [names.index(s) for s in scene]


def make_batch(records: list[Record], *, more: int = 0) -> HcsclBatch:
    """``more`` adds that much padding everywhere."""
    b = len(records)
    s = max(len(r.words) for r in records) + more
    w = max((len(words) for r in records for words in r.words), default=0) + more
    q = max(len(r.image_of) for r in records) + more
    z = max(len(r.scene_image) for r in records) + more
    t = max(len(r.summary) for r in records) + 1 + more
    words, counts = np.zeros((b, s, w, 6), np.float32), np.zeros((b, s), np.int64)
    roi, boxes, iou = np.zeros((b, q, 7), np.float32), np.zeros((b, q, 4), np.float32), np.zeros((b, q, q), np.float32)
    attributes, image_of, scene_of = np.zeros((b, q), np.int64), np.full((b, q), -1), np.full((b, q), -1)
    scene_image, fed, said = np.full((b, z), -1), np.full((b, t), PAD), np.full((b, t), PAD)
    for row, record in enumerate(records):
        for n, sentence in enumerate(record.words):
            words[row, n, : len(sentence)], counts[row, n] = sentence, len(sentence)
        n = len(record.image_of)
        roi[row, :n], boxes[row, :n], attributes[row, :n] = record.roi, record.boxes, record.attributes
        iou[row, :n, :n], image_of[row, :n], scene_of[row, :n] = record.iou, record.image_of, record.scene_of
        scene_image[row, : len(record.scene_image)] = record.scene_image
        fed[row, : len(record.summary) + 1] = [BOS, *record.summary]
        said[row, : len(record.summary) + 1] = [*record.summary, EOS]
    arrays = (words, counts, roi, boxes, attributes, image_of, iou, scene_of, scene_image)
    return HcsclBatch(
        *map(torch.from_numpy, arrays),
        image_counts_B=torch.tensor([r.images for r in records]),
        choice_B=torch.tensor([r.choice for r in records]),
        inputs_BT=torch.from_numpy(fed),
        outputs_BT=torch.from_numpy(said),
    )


def records(count: int) -> list[Record]:
    draw = np.random.default_rng(5)
    made = []
    for n in range(count):
        sentences = draw.integers(1, 5, draw.integers(1, 4)).tolist()
        made.append(Record(n, sentences, draw.integers(0, 4, 3).tolist(), int(draw.integers(2, 6))))
    return made


def make_model(**change: object) -> Hcscl:
    torch.manual_seed(0)
    return Hcscl(replace(SIZES, **change))  # type: ignore[arg-type]


def outputs(model: Hcscl, batch: HcsclBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Text loss by document, image scores."""
    encoded = model.encode(batch)
    logits, states = model.summary_logits(batch, encoded)
    assert batch.outputs_BT is not None
    each = F.cross_entropy(logits.flatten(0, 1), batch.outputs_BT.flatten(), ignore_index=PAD, reduction="none")
    scores = model.select(batch, encoded, states, batch.outputs_BT) if model.sizes.selector else logits[:, 0, :0]
    return each.view(len(batch), -1).sum(1), scores


@pytest.mark.parametrize("change", [{"variant": v} for v in VARIANTS] + [
    {"selector": False}, {"coupled": True}, {"norm": True}, {"object_attends": "sentence"},
    {"score": "plain", "layers": 1}, {"readout_max": "image"}, {"readout_max": "all"}, {"selector_state": "mean"},
])  # fmt: skip
def test_documents_do_not_depend_on_neighbours_or_padding(change: dict[str, object]) -> None:
    model = make_model(**change).eval()
    made = records(4)
    text, images = outputs(model, make_batch(made))
    order = [2, 0, 3, 1]
    again, images_again = outputs(model, make_batch([made[i] for i in order], more=2))
    torch.testing.assert_close(again, text[order], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(images_again, images[order], atol=1e-5, rtol=1e-4)
    alone, _ = outputs(model, make_batch([made[1]]))
    torch.testing.assert_close(alone, text[[1]], atol=1e-4, rtol=1e-4)


def test_with_norms_large_visual_features_do_not_drown_the_words() -> None:
    """A hundred times the visual features: nothing changes with norms; without norms much."""
    batch, spreads = make_batch(records(4)), {}
    for norm in (True, False):
        model = make_model(norm=norm).eval()
        h0, mask = model.encode_words(batch)
        v0, seen = model.encode_objects(batch), batch.image_of_BQ >= 0
        h1, h1_large = (model.fuse_words(h0, mask, scale * v0, seen)[0] for scale in (1.0, 100.0))
        spreads[norm] = (h1_large - h1).abs().max().item()
    assert spreads[True] < 1e-2
    assert spreads[False] > 0.5


def test_scenes_against_a_loop_over_nodes() -> None:
    """Equations 13-17 in NumPy, one node and one component at a time."""
    torch.manual_seed(0)
    record = Record(3, [2], [4, 3, 1], 2)
    for kind in ("component", "image", "all"):
        graph = ImageGraph(8, kind)  # type: ignore[arg-type]
        v = np.random.default_rng(1).normal(size=(8, 8)).astype(np.float32)
        weights = {n: p.detach().numpy() for n, p in graph.named_parameters()}
        w2 = np.concatenate([weights["source.weight"], weights["target.weight"]], 1)
        nodes = []
        for i in range(8):
            neighbours = np.nonzero(record.iou[i])[0]
            total = v[i].copy()
            if len(neighbours):
                scores = []
                for j in neighbours:
                    x = w2 @ np.concatenate([v[i], v[j]]) + weights["source.bias"]
                    scores.append(record.iou[i, j] * (weights["score.weight"][0] @ np.where(x > 0, x, 0.2 * x)))
                e = np.exp(np.array(scores) - max(scores))
                for weight, j in zip(e / e.sum(), neighbours, strict=True):
                    total += weight * (weights["neighbour.weight"] @ v[j])
            nodes.append(np.maximum(total, 0))
        expected = []
        for z, image in enumerate(record.scene_image):
            members = [i for i in range(8) if record.scene_of[i] == z]
            pool = {
                "component": members,
                "image": [i for i in range(8) if record.image_of[i] == image],
                "all": range(8),
            }
            expected.append(np.mean([nodes[i] for i in members], 0) + np.max([nodes[i] for i in pool[kind]], 0))
        batch = make_batch([record], more=1)
        found = graph(
            torch.from_numpy(np.concatenate([v, np.full((1, 8), 9, np.float32)]))[None], batch.iou_BQQ,
            batch.scene_of_BQ, batch.image_of_BQ, batch.image_of_BZ,
        )  # fmt: skip
        np.testing.assert_allclose(found[0, :-1].detach(), expected, atol=1e-5)
        assert (found[0, -1] == 0).all()


def test_the_word_weight_multiplies_the_sentence_weight_before_one_softmax() -> None:
    model = make_model().eval()
    batch = make_batch(records(2), more=1)
    encoded = model.encode(batch)
    memory = model.memory(batch, encoded)
    h = torch.randn(2, 16)
    found, _ = model.summarizer.context(h, memory)
    for row in range(2):
        sentences = [i for i in range(memory.h3.shape[1]) if memory.sentence_mask_BS[row, i]]
        beta = torch.softmax(memory.h3[row, sentences] @ h[row], 0)
        scores, vectors = [], []
        for weight, i in zip(beta, sentences, strict=True):
            for j in range(int(memory.word_mask_BSW[row, i].sum())):
                scores.append(weight * (memory.h1[row, i, j] @ h[row]))
                vectors.append(memory.h1[row, i, j])
        context = torch.softmax(torch.stack(scores), 0) @ torch.stack(vectors)
        torch.testing.assert_close(found[row], context, atol=1e-5, rtol=1e-4)


def test_an_image_without_objects_scores_zero_and_padding_is_out() -> None:
    model = make_model().eval()
    batch = make_batch([Record(1, [3], [2, 0, 1], 3), Record(2, [2], [1], 2)])
    _, scores = outputs(model, batch)
    assert scores[0, 1] == 0 and (scores[0, [0, 2]] > 0).all()
    assert torch.isinf(scores[1, 1:]).all() and torch.isfinite(scores[1, 0])


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_pictures_no_objects_no_text(variant: str) -> None:
    model = make_model(variant=variant)
    batch = make_batch([Record(1, [3], [], 3), Record(2, [], [0, 0], 2), Record(3, [], [], 2)])
    text, scores = outputs(model, batch)
    assert batch.choice_B is not None
    voted = batch.choice_B >= 0
    loss = text.mean() + F.cross_entropy(scores[voted], batch.choice_B[voted])
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert len(summarize(model.eval(), batch, beam=2, min_tokens=1, max_tokens=4)) == 3


def test_eight_documents_are_learned_by_heart() -> None:
    """Words to a loss below 0.05, every voted picture first (its loss cannot vanish: the scores are bounded)."""
    model = make_model(width=32, heads=4)
    made = records(8)
    batch = make_batch(made)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    assert batch.choice_B is not None and batch.outputs_BT is not None
    said = (batch.outputs_BT != PAD).sum()
    words = torch.tensor(9.0)
    chosen = [i for i, r in enumerate(made) if len(set(r.image_of)) == 3]
    assert len(chosen) > 1
    for _ in range(400):
        text, scores = outputs(model, batch)
        words = text.sum() / said
        loss = words + F.cross_entropy(scores, batch.choice_B)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if words < 0.03 and (scores.argmax(1) == batch.choice_B)[chosen].all():
            break
    assert words < 0.05
    assert (scores.argmax(1) == batch.choice_B)[chosen].all()
    for beam in (1, 4):
        for record, summary in zip(
            made, summarize(model.eval(), batch, beam=beam, min_tokens=1, max_tokens=8), strict=True
        ):
            assert list(summary.tokens) == record.summary
            assert len(summary.images) == 3


def test_gradients_of_graph_and_hierarchical_attention_check() -> None:
    """Equations 13-17 and 21-23 in float64 against differences; a sentence is padding, an object has no neighbour."""
    torch.manual_seed(0)
    graph = ImageGraph(4, "component").double()
    nodes = torch.randn(1, 4, 4, dtype=torch.float64, requires_grad=True)
    iou = torch.zeros(1, 4, 4, dtype=torch.float64)
    iou[0, 0, 1] = iou[0, 1, 0] = 0.5
    scenes, images, of_scenes = torch.tensor([[0, 0, 1, -1]]), torch.tensor([[0, 0, 1, -1]]), torch.tensor([[0, 1]])
    assert torch.autograd.gradcheck(lambda v: graph(v, iou, scenes, images, of_scenes), (nodes,))
    summarizer = Summarizer(4, 3, 9, "both", 0.0, None).double()
    h1, h3, state = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((1, 3, 2, 4), (1, 3, 4), (1, 4))
    )
    words = torch.tensor([[[True, True], [True, False], [False, False]]])

    def attend(h1: torch.Tensor, h3: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return summarizer.context(state, Memory(h1, words, h3, words.any(2)))

    assert torch.autograd.gradcheck(attend, (h1, h3, state))
