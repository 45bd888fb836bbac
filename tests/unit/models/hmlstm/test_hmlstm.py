"""HM-LSTM: batches, losses, matching, judging; what it learns from eight records; empty sets."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diptych.exceptions import UsageError
from diptych.metrics.retrieval import normalised
from diptych.models.common.ranking import hinge_ranking
from diptych.models.hmlstm.batch import HMLSTMBatch, Judged
from diptych.models.hmlstm.judging import Picture, judged_lines, measured
from diptych.models.hmlstm.losses import match, part_loss, root_loss
from diptych.models.hmlstm.model import HMLSTM, Branch
from diptych.models.hmlstm.task import HMLSTMTask
from diptych.training.task import Moment

sys.path.insert(0, str(Path(__file__).parent))

from samples import WORDS, brackets, make_task, sample


def module_of(task: HMLSTMTask) -> HMLSTM:
    torch.manual_seed(0)
    module = task.build()
    assert isinstance(module, HMLSTM)
    return module


def judged(task: HMLSTMTask, module: HMLSTM, samples: list[dict[str, Any]]) -> Any:
    with torch.no_grad():
        return task.finish(task.predict(module.eval(), task.collate(samples, "scored")))


def test_a_batch_holds_trees_phrases_and_regions() -> None:
    task = make_task(regions=2)
    batch = task.collate([sample(0), sample(1, regions=1, choice=1)], "pairs")
    assert batch.trees is not None and batch.image_T.tolist() == [0, 1] and batch.caption_P.tolist() == [0, 0, 1, 1]
    assert batch.phrases == ("a red bus", "a black dog", "a grey house", "a green dog")
    # the root has the first phrase, the verb phrase and no point; the verb phrase has a word and a phrase below it
    assert [len(level) for level in batch.trees.levels] == [15, 4, 2, 2, 1]
    words = [WORDS[n - 1] for n in batch.trees.word_L.tolist()]
    assert sorted(words) == sorted("a red bus is on a black dog a grey house sees a green dog".split())
    assert batch.region_mask_BK.tolist() == [[True, True], [True, False]] and not batch.regions_BKf[1, 1].any()
    np.testing.assert_array_equal(batch.image_Bf[0], sample(0)["fc7.features"][0].astype(np.float32))
    assert len(batch.queries_Qf) == 0 and batch.judged == ()


@pytest.mark.parametrize(
    "extra",
    [
        {"boxes": 3, "phrases": [["a dog"]]},
        {"boxes": [[0, 0, 9]], "phrases": [["a dog"]]},
        {"boxes": [[0, 0, 9, "9"]], "phrases": [["a dog"]]},
        {"boxes": [[0, 0, 9, 9]], "phrases": ["a dog"]},
        {"boxes": [[0, 0, 9, 9]], "phrases": None},
        {"boxes": [[0, 0, 9, 9]], "phrases": [[3]]},
        {"boxes": [[0, 0, 9, 9]], "phrases": []},
    ],
)
def test_annotations_that_are_none_are_named_with_their_pair(extra: dict[str, Any]) -> None:
    odd = {**sample(0), "pairs.extra": json.dumps(extra)}
    with pytest.raises(UsageError, match=f"pair {odd['key']}: .*phrases"):
        make_task().collate([odd], "scored")


def test_annotations_that_are_no_json_are_none() -> None:
    for extra in (None, "", "{", "[]", "7"):
        make_task().collate([{**sample(0), "pairs.extra": extra}], "scored")


def test_all_captions_are_judged_with_annotated_boxes() -> None:
    batch = make_task().collate([sample(0, choice=None), sample(1, regions=0, choice=None)], "scored")
    assert batch.image_T.tolist() == [0, 0, 1, 1] and len(batch.phrases) == 8
    first, second = batch.judged
    assert first.asked == (0, 1) and first.rows == (1, 2) and first.phrases[0] == ("a red bus",)
    assert len(batch.queries_Qf) == 2 and second.asked == () and second.boxes == ()
    bad = sample(0, choice=None) | {"pairs.extra": '{"boxes": [], "phrases": [["x"]]}'}
    with pytest.raises(UsageError, match="0 boxes and phrases for 1"):
        make_task().collate([bad], "scored")


def test_links_that_people_voted_for() -> None:
    one = sample(0, choice=None)
    key, text = one["parse.key"][0], one["sentences.items"][0]["text"]
    link = {"sentence": key, "start": text.index("a black"), "end": text.index(" ."), "box": [11.0, 0.0, 20.0, 19.0]}
    elsewhere = {**link, "sentence": "0" * 32}  # of a caption that is no longer there
    task = make_task(links="votes")
    found = task.collate([one | {"pair_votes.regions": [link, elsewhere]}], "scored").judged[0]
    assert found.phrases == (("a black dog",),) and found.rows == (2,)
    assert "pair_votes.regions" in task.scored().fields
    assert task.collate([one | {"pair_votes.regions": None}], "scored").judged[0].drawn == ()


def test_a_line_of_two_sentences_and_one_without_a_parse() -> None:
    one = sample(0, lines=["(NP (DT a) (NN dog))"])
    two = {**one, "pairs.caption": "a dog a ball", "sentences.items": [
        {**one["sentences.items"][0], "text": "a dog", "start": 0, "end": 5, "tokens": ["a", "dog"]},
        {**one["sentences.items"][0], "text": "a ball", "start": 6, "end": 12, "tokens": ["a", "ball"]},
    ]}  # fmt: skip
    batch = make_task().collate([one, two], "pairs")
    assert batch.trees is not None and len(batch.trees.root_T) == 2
    assert [len(level) for level in batch.trees.levels] == [6, 3, 1]  # both sentences stand below one root
    assert batch.phrases == ()  # a root is no phrase, and what was not parsed has none
    chain = make_task(encoder="chain").collate([one, two], "pairs")
    assert chain.sequences is not None and chain.sequences.lengths_S.tolist() == [2, 4]


def test_a_chain_reads_each_phrase_alone() -> None:
    batch = make_task(encoder="chain").collate([sample(0), sample(1)], "pairs")
    assert batch.sequences is not None and batch.trees is None
    rows = [
        " ".join(WORDS[n - 1] for n in row[:length].tolist())
        for row, length in zip(batch.sequences.words_SN, batch.sequences.lengths_S.tolist(), strict=True)
    ]
    assert rows[:2] == [normalised(text.rstrip(" .")) for text in batch.captions] and tuple(rows[2:]) == batch.phrases


@pytest.mark.parametrize("encoder", ["hierarchical", "tree", "chain"])
def test_a_phrase_is_read_as_if_it_stood_alone(encoder: str) -> None:
    task = make_task(encoder=encoder)
    module = module_of(task).eval()
    batch = task.collate([sample(0, choice=None), sample(5, choice=None)], "scored")
    alone = [sample(0, lines=[phrase_of(words)]) for words in batch.phrases]
    with torch.no_grad():
        found = module(batch).phrases_Pd
        torch.testing.assert_close(found, module(task.collate(alone, "pairs")).captions_Td, atol=1e-6, rtol=0)


def phrase_of(words: str) -> str:
    return f"(NP {' '.join(f'(X {word})' for word in words.split())})"


def naive_hinge(scores: np.ndarray, wrong: np.ndarray, margin: float) -> list[float]:
    total = []
    for p in range(len(scores)):
        others = [q for q in range(len(scores)) if wrong[p, q]]
        total.append(sum(max(0, margin - scores[p, p] + scores[p, q]) for q in others)
                     + sum(max(0, margin - scores[p, p] + scores[q, p]) for q in others))  # fmt: skip
    return total


def test_the_hinge_equals_its_definition_and_its_gradient_checks() -> None:
    draw = np.random.default_rng(0)
    scores, wrong = draw.normal(size=(6, 6)), draw.random((6, 6)) < 0.6
    wrong = wrong & wrong.T & ~np.eye(6, dtype=bool)
    found = hinge_ranking(torch.from_numpy(scores), torch.from_numpy(wrong), 0.2)
    np.testing.assert_allclose(found, naive_hinge(scores, wrong, 0.2))
    assert hinge_ranking(torch.zeros(3, 3), torch.zeros(3, 3, dtype=torch.bool), 0.2).tolist() == [0, 0, 0]
    leaf = torch.from_numpy(scores).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: hinge_ranking(s, torch.from_numpy(wrong), 0.2), (leaf,))


def remembered(memory: dict[str, np.ndarray]) -> dict[int, tuple[int, float]]:
    columns = (memory[name].tolist() for name in ("phrase", "region", "weight"))
    return {phrase: (region, weight) for phrase, region, weight in zip(*columns, strict=True)}


def naive_part(task: HMLSTMTask, embedded: Any, batch: HMLSTMBatch, memory: dict[str, np.ndarray]) -> float:
    """Eq 9-10 phrase by phrase."""
    known = remembered(memory)
    found = []
    for p, own in enumerate(batch.phrase_id_P.tolist()):
        region, weight = known[own]
        image = int(batch.image_T[batch.caption_P[p]])
        v_p, h_p = embedded.regions_BKd[image, region], embedded.phrases_Pd[p]
        loss = 0.0
        for q, other in enumerate(batch.phrase_id_P.tolist()):
            row, its_region = int(batch.image_T[batch.caption_P[q]]), known[other][0]
            same = batch.same_image_B[row] == batch.same_image_B[image] and (
                task.config.negatives == "batch" or its_region == region
            )
            if same or batch.phrases[p] == batch.phrases[q]:
                continue
            v_q, h_q = embedded.regions_BKd[row, its_region], embedded.phrases_Pd[q]
            loss += max(0.0, float(0.2 - v_p @ h_p + v_p @ h_q)) + max(0.0, float(0.2 - v_p @ h_p + v_q @ h_p))
        found.append(weight * loss)
    return float(np.mean(found))


@pytest.mark.parametrize("negatives", ["batch", "batch+same_image"])
def test_losses_equal_their_definition(negatives: str) -> None:
    task = make_task(negatives=negatives)
    module, samples = module_of(task).eval(), [sample(n) for n in (0, 1, 2, 3, 8, 2)]
    samples[4] |= {"key": "f" * 32 + "/" + samples[0]["key"].split("/")[1]}  # another document, the same picture
    batch = task.collate(samples, "pairs")
    with torch.no_grad():
        embedded = module(batch)
        memory = match(module, [batch])
        scores = (embedded.images_Bd @ embedded.captions_Td.T).numpy()
        key = [s["key"].split("/")[1] for s in samples]
        wrong = np.array([[a != b and s != t for b, t in zip(key, batch.captions, strict=True)]
                          for a, s in zip(key, batch.captions, strict=True)])  # fmt: skip
        assert not wrong[0, 4] and not wrong[2, 5] and wrong[0, 1]
        root = root_loss(embedded, batch, 0.2)
        np.testing.assert_allclose(float(root), np.mean(naive_hinge(scores, wrong, 0.2)), rtol=1e-5)
        part = part_loss(embedded, batch, memory, 0.2, task.config.negatives)
        np.testing.assert_allclose(float(part), naive_part(task, embedded, batch, memory), rtol=1e-5)


def test_matching_takes_the_first_of_the_best_proposals() -> None:
    task = make_task()
    samples = [sample(0), sample(1, regions=1), sample(2, regions=0)]
    samples[0]["fc7.features"][2:] = samples[0]["fc7.features"][1]  # three equal proposals
    module, batch = module_of(task).eval(), task.collate(samples, "pairs")
    with torch.no_grad():
        found, embedded = match(module, [batch]), module(batch)
    by_id = remembered(found)
    rows = [by_id[p] for p in batch.phrase_id_P.tolist()]
    assert [region for region, _ in rows] == [0, 0, 0, 0, -1, -1]
    score = float(embedded.regions_BKd[1, 0] @ embedded.phrases_Pd[2])
    assert rows[2][1] == pytest.approx(max(0, score), abs=1e-6) and rows[4][1] == 0
    assert (np.diff(found["phrase"]) > 0).all()


def test_matching_begins_each_round() -> None:
    task = make_task(first_epochs=2, rounds=2, round_epochs=3)
    module, batch = module_of(task), task.collate([sample(0), sample(1)], "pairs")
    with torch.no_grad():
        times = [task.before_epoch(module.eval(), [batch], Moment("train", epoch)) is not None for epoch in range(8)]
    assert times == [False, False, True, False, False, True, False, False] and task.phases()[0].epochs == 8
    root_only = make_task(parts=False)
    assert root_only.before_epoch(module, [batch], Moment("train", root_only.config.first_epochs)) is None


@pytest.mark.parametrize("name", ["full", *HMLSTMTask.ablations])
def test_eight_records_are_learned(name: str) -> None:
    """Hinge 0 on records without shared phrases (X1), and every caption and picture found in eval mode."""
    variant = HMLSTMTask.ablations.get(name)
    task = make_task(**(dict(variant.settings) if variant else {}), hidden=32, joint=24, dropout=0.0)
    module, samples = module_of(task), [sample(n, lines=brackets(n)[:1]) for n in range(8)]
    batch = task.collate(samples, "pairs")
    assert len(set(batch.phrases)) == len(batch.phrases) == 16
    optimiser = torch.optim.Adam(module.parameters(), 5e-3)
    memory: dict[str, np.ndarray] = {}
    terms: dict[str, torch.Tensor] = {}
    for step in range(200):
        if step == 30 and task.config.parts:
            with torch.no_grad():
                memory = match(module.eval(), [batch])
            module.train()
        terms = task.loss(module, {"pairs": batch}, Moment("train", step, memory))
        total = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        if step > 40 and float(total.detach()) == 0:
            break
    assert set(terms) == ({"root", "part"} if task.config.parts else {"root"})
    assert all(float(term.detach()) == 0 for term in terms.values())
    with torch.no_grad():
        for _ in range(40):  # the running statistics follow the weights, which stand still now
            module(batch)
    metrics = task.evaluate(judged(task, module, samples))
    assert metrics["i2t_r1"] == metrics["t2i_r1"] == 1 and metrics["phrases_linked"] == 16


@pytest.mark.parametrize("encoder", ["hierarchical", "chain"])
def test_dropout_is_of_what_the_joint_space_reads(encoder: str) -> None:
    task = make_task(encoder=encoder, dropout=0.5)
    module, batch = module_of(task), task.collate([sample(n) for n in range(4)], "pairs")
    seen: list[torch.Tensor] = []
    for layer in (module.W_t, module.W_m):
        layer.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    with torch.no_grad():
        module.train()(batch)
        dropped = [float((x == 0).float().mean()) for x in seen]
        module.eval()(batch)
    assert len(seen) == 8 and all(0.35 < share < 0.65 for share in dropped)  # captions, phrases, pictures, regions
    assert all(float((x == 0).float().mean()) < 0.01 for x in seen[4:])


@pytest.mark.parametrize("encoder", ["hierarchical", "tree", "chain"])
def test_the_same_for_any_order_and_padding(encoder: str) -> None:
    task = make_task(encoder=encoder)
    module = module_of(task).eval()
    samples = [sample(0, regions=2), sample(1, regions=6), sample(2, regions=1, lines=["(NP (NN dog))"])]
    with torch.no_grad():
        together = module(task.collate(samples, "pairs"))
        backwards = module(task.collate(samples[::-1], "pairs"))
        alone = [module(task.collate([s], "pairs")) for s in samples]
    close = {"atol": 1e-6, "rtol": 0}
    for n in range(3):
        for name in ("captions_Td", "images_Bd"):
            torch.testing.assert_close(getattr(together, name)[n], getattr(backwards, name)[2 - n], **close)
            torch.testing.assert_close(getattr(together, name)[n], getattr(alone[n], name)[0], **close)
        count = len(samples[n]["fc7.kinds"]) - 1
        torch.testing.assert_close(together.regions_BKd[n, :count], alone[n].regions_BKd[0], **close)
    torch.testing.assert_close(together.phrases_Pd[:2], alone[0].phrases_Pd, **close)


@pytest.mark.parametrize("encoder", ["hierarchical", "chain"])
def test_empty_sets_give_no_nan(encoder: str) -> None:
    """One word, no phrase, no proposal, punctuation alone, no caption."""
    task = make_task(encoder=encoder)
    module = module_of(task)
    samples = [
        sample(0, regions=0, lines=["(NP (NN dog))"]),
        sample(1, regions=0, lines=["(FRAG (. .))"]),
        sample(2, regions=0, lines=["(S (VB sees) (IN on))"]),
    ]
    batch = task.collate(samples, "pairs")
    assert len(batch.phrases) == 0 and batch.regions_BKf.shape[1] == 0
    with torch.no_grad():
        memory = match(module.eval(), [batch])
    terms = task.loss(module.train(), {"pairs": batch}, Moment("train", 9, memory))
    sum(terms.values()).backward()  # type: ignore[union-attr]
    assert float(terms["part"].detach()) == 0 and torch.isfinite(terms["root"])
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)
    lines = judged(task, module, [{**s} for s in samples] + [sample(3, lines=[])])
    assert np.isfinite(task.evaluate(lines)["i2t_r1"]) and lines[3]["i2t"] == 0
    nothing = task.evaluate(judged(task, module, [sample(n, regions=0, lines=[]) for n in (3, 4)]))
    assert np.isnan(nothing["i2t_r1"]) and "region_r1" not in nothing


def test_lines_are_those_of_a_naive_count() -> None:
    task = make_task(judged_images=4)
    module = module_of(task)
    samples = [sample(n, choice=None) for n in (0, 1, 2, 3, 4, 8)]
    lines = judged(task, module, samples)
    batch = task.collate(samples, "scored")
    with torch.no_grad():
        embedded = module.eval()(batch)
    scores, owner = (embedded.images_Bd @ embedded.captions_Td.T).numpy(), batch.image_T.numpy()
    for n, line in enumerate(lines):
        own = np.flatnonzero(owner == n)
        best = max(scores[n, c] for c in own)
        others = [scores[n, c] for c in range(12) if c not in own]
        least, most = (
            1 + sum(s >= best + e for s in others) for e in (1e-6, -1e-6)
        )  # a product's last digit may differ
        assert least <= line["i2t_distinct"] <= most
        assert line["gold"] == [batch.captions[c] for c in own] and len(line["predicted"]) == 5
        assert line["i2t"] <= line["i2t_distinct"] and len(line["t2i"]) == 2
        for row in line["phrases"]:
            assert row["box"] in [list(box) for box in batch.judged[n].boxes]
        for region in line["regions"]:
            assert region["rank"] <= region["rank_distinct"]
    assert sum("sampled" in line for line in lines) == 4
    metrics = task.evaluate(lines)
    assert {"i2t_r1", "t2i_median", "i2t_r1_all", "i2t_r1_distinct_all", "region_r1", "rsum"} <= set(metrics)
    assert metrics["phrases_linked"] == 24


def test_a_picture_of_two_records_is_right_for_both() -> None:
    nobody = Judged((), (), (), (), ())
    none = np.zeros((0, 2), np.float32)

    def picture(key: str, direction: list[float], caption: str) -> Picture:
        vector = np.array(direction, np.float32)
        return Picture(key, vector, vector[None], (caption,), none, (), none, none, nobody)

    shown = [picture("r1/X", [1, 0], "a dog"), picture("r2/X#2", [1, 0], "my pet"), picture("r3/Y", [0, 1], "a boat")]
    for sampled in (0, 2):
        metrics = measured(judged_lines(shown, sampled))
        recalls = {name: value for name, value in metrics.items() if "_r1" in name}
        assert recalls == dict.fromkeys(recalls, 1.0) and "t2i_r1_distinct" in recalls


def test_batch_norm_sees_wholes_and_parts_together() -> None:
    branch = Branch(4)
    wholes, parts = torch.randn(3, 4), torch.randn(5, 4)
    both = branch.norm.train()(torch.cat([wholes, parts]))
    found = torch.cat(branch(wholes, parts))
    torch.testing.assert_close(found, both / both.norm(dim=1, keepdim=True))


def test_other_features_and_baselines() -> None:
    task = make_task(region_feature="regions.features", image_feature="backbone.pooled")
    given = [{**sample(n, choice=None), "regions.boxes": sample(n)["fc7.boxes"][1:],
              "regions.features": sample(n)["fc7.features"][1:], "backbone.pooled": np.ones(20, np.float16)}
             for n in range(3)]  # fmt: skip
    module = module_of(task)
    assert module.W_image is not None and len(judged(task, module, given)) == 3
    assert set(task.reads(task.config)["judged"].fields) >= {"regions.boxes", "backbone.pooled", "parse.parent"}
    random = HMLSTMTask.baselines["random"]
    assert callable(random)
    lines = random(task, [], given, 1)
    assert task.evaluate(lines) == task.evaluate(random(task, [], given, 1)) and lines[0]["gold"]
    blind = make_task(image=False)
    metrics = blind.evaluate(judged(blind, module_of(blind), [sample(n, choice=None) for n in range(8)]))
    assert metrics["t2i_r1_distinct"] == 0  # pictures that are all alike tie, and ties count against
