"""MM-MKP as a task: encoder, filter and classifier first, then the generator (Section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from diptych.metrics.keyphrases import Post, keyphrase_scores
from diptych.models.common.word_vectors import word_vectors
from diptych.models.mkp.config import MkpConfig
from diptych.models.mkp.paper import PAPER
from diptych.training.config import Plain
from diptych.training.look import Look
from diptych.training.phase import Monitor, Optimiser, Phase, Schedule, Stream
from diptych.training.task import Baseline, Line, Metrics, Moment, Row, Sample, State, Task, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

    from diptych.models.mkp.batch import MkpBatch
    from diptych.models.mkp.model import Mkp
    from diptych.version import Version

__all__ = ["MkpTask"]


def most_frequent(task: Task, train: Iterable[Sample], samples: Iterable[Sample], seed: int) -> list[Line]:
    """The five commonest keyphrases of train for every post (ours)."""
    from diptych.models.mkp.data import count_words

    assert isinstance(task, MkpTask)
    _, counts = count_words(train, task.config)
    best = sorted(counts, key=lambda text: (-counts[text], text))[:5]
    return [_sample_line(task.config, sample, best) for sample in samples]


def random_phrases(task: Task, train: Iterable[Sample], samples: Iterable[Sample], seed: int) -> list[Line]:
    """Five keyphrases of train, drawn for every post (ours)."""
    from diptych.models.mkp.data import count_words

    assert isinstance(task, MkpTask)
    known = sorted(count_words(train, task.config)[1])
    draw = np.random.default_rng(seed)
    return [_sample_line(task.config, s, [known[i] for i in draw.permutation(len(known))[:5]]) for s in samples]


_CLASSIFY: Mapping[str, Plain] = {"ranked_by": "classifier", "image": False, "ocr": False, "entities": ""}


class MkpTask(Task):
    """Ranked keyphrases of a post with its picture."""

    name = "mkp"
    title = "MM-MKP: multi-modal keyphrase generation with visual entities and noise filter (ACM MM 2023)"
    Config = MkpConfig
    config: MkpConfig
    presets: ClassVar[Mapping[str, Mapping[str, Plain]]] = {
        "paper": {},
        "debug": {
            "word": 16, "hidden": 32, "layers": 1, "heads": 2, "head_width": 8, "batch_size": 8, "lr": 5e-3,
            "stage1_epochs": 1, "stage2_epochs": 2, "stage2_lr": 5e-3, "beam": 3, "vectors": "random",
        },
        "sample": {
            "grid": "backbone.grid", "entities": "entity_labels.names", "language": "en", "vectors": "word2vec",
            "word": 64, "hidden": 128, "layers": 1, "heads": 4, "head_width": 32, "post_tokens": 120, "ocr_tokens": 40,
            "copy_words": 30, "batch_size": 16, "lr": 3e-3, "stage1_epochs": 2, "stage2_epochs": 17, "stage2_lr": 3e-3,
            "beam": 5,
        },
    }  # fmt: skip
    ablations: ClassVar[Mapping[str, Variant]] = {
        "no_matching_loss": Variant({"matching_loss": False}, "w/o L_itm: s_c stays, unsupervised"),
        "no_region_loss": Variant({"region_loss": False}, "w/o L_irtm"),
        "no_classifier": Variant({"classifier": False}, "w/o L_cla: no classifier, lambda_c = 1"),
        "no_entities": Variant({"entities": ""}, "w/o visual entities"),
        "no_ocr": Variant({"ocr": False}, "w/o OCR text"),
        "no_image_text_matching": Variant({"image_text_matching": False}, "no s_c and no L_itm"),
        "no_region_matching": Variant({"region_matching": False}, "no A, no L_irtm; s_c gates all regions alike"),
        "no_noise_filter": Variant({"noise_filter": False}, "regions ungated, neither loss"),
    }
    baselines: ClassVar[Mapping[str, Variant | Baseline]] = {
        "most_frequent": most_frequent,
        "random": random_phrases,
        "copy": Variant({"image": False, "classifier": False, "ocr": False, "entities": ""}, "COPY: post text alone"),
        "avg": Variant({**_CLASSIFY, "pool": "mean"}, "AVG: classifier on the mean of the text"),
        "max": Variant(_CLASSIFY, "MAX: classifier on the maximum of the text"),
        "vgg": Variant(
            {"ranked_by": "classifier", "text": False, "ocr": False, "entities": "", "noise_filter": False},
            "VGG: classifier on the picture alone",
        ),
        "text_only": Variant(
            {"image": False, "ocr": False, "entities": ""}, "post text alone, with the classifier (ours)"
        ),
    }  # fmt: skip
    paper = PAPER
    recipe_lines: ClassVar[Mapping[str, str]] = {
        "backbone": "backbone: {grid: true}",
        "vectors": "vectors: {file: glove.twitter.27B.200d.txt}",
        "entities": "entities: {}    # or entity_labels: {} and --set entities=entity_labels.names",
        "entity_labels": "entity_labels: {}    # it reads `regions: {}`",
    }

    def __init__(self, config: MkpConfig, state: State) -> None:
        from diptych.models.mkp.data import lexicon_of

        super().__init__(config, state)
        words, classes = state.values["words"], state.values["classes"]
        assert isinstance(words, Sequence) and isinstance(classes, Sequence)
        self.lexicon = lexicon_of([str(w) for w in words], [str(c) for c in classes])
        regions, channels = np.asarray(state.values["grid"]).tolist()
        self.grid_shape = (int(regions), int(channels))

    @classmethod
    def reads(cls, config: MkpConfig) -> Mapping[str, Stream]:
        """Posts, one instance a keyphrase; posts as they are scored; the matching set."""
        from diptych.models.mkp.data import ADDS, fields_of

        fields = fields_of(config)

        def where(subset: str) -> tuple[str, ...]:
            wanted = {"subset": subset, "language": config.language}
            return tuple(f"documents.{name} == '{value}'" for name, value in wanted.items() if value)

        posts = where(config.posts_subset)
        found = {
            "posts": Stream(fields, "document", posts, batch_size=config.batch_size, each="documents.keyphrases"),
            "scored": Stream(fields, "document", posts, batch_size=config.batch_size),
        }
        if config.image and config.noise_filter and config.image_text_matching and config.matching_loss:
            found["matching"] = Stream(
                fields, "document", where(config.matching_subset), says=ADDS, batch_size=config.batch_size
            )
        return found

    @classmethod
    def tables(cls, config: MkpConfig) -> tuple[str, ...]:
        """The vectors that the embeddings start from."""
        return () if config.vectors == "random" else (config.vectors,)

    @classmethod
    def prepare(cls, version: Version, config: MkpConfig) -> State:
        """Vocabulary and classes of the training posts; vectors of the words that have one."""
        from diptych.models.mkp.data import count_words
        from diptych.storage.reader import Loader

        stream = cls.reads(config)["scored"]
        fields = [f for f in stream.fields if f != config.grid]
        with Loader(version, fields, rows="document", split="train", where=stream.where or None, missing=stream.missing,
                    batch_size=256, shuffle=False, collate=list) as loader:  # fmt: skip
            counted, classes = count_words((sample for batch in loader for sample in batch), config)
        words = sorted(counted, key=lambda w: (-counted[w], w))[: config.vocabulary]
        arrays: dict[str, np.ndarray] = {}
        if config.vectors != "random":
            known, vectors = word_vectors(version, config.vectors, config.word)
            place = {word: n for n, word in enumerate(known)}
            arrays["has_vector"] = np.array([word in place for word in words], np.bool_)
            rows = [place[word] for word in words if word in place]
            arrays["vectors"] = vectors[rows].reshape(len(rows), config.word)
        shape = [49, 1]
        if config.image:
            stage, _, column = config.grid.partition(".")
            shape = [int(n or 0) for n in version.manifest.stage(stage).tensors[column].shape]
        return State(arrays, {"words": words, "classes": sorted(classes), "grid": shape})

    def build(self) -> nn.Module:
        """Embeddings start from the vectors; words without one from uniform(-0.1, 0.1)."""
        import torch

        from diptych.models.mkp.batch import PAD, SPECIAL
        from diptych.models.mkp.model import Mkp, MkpSizes

        config = self.config
        sizes = MkpSizes(
            vocabulary=len(self.lexicon.words), classes=len(self.lexicon.classes), channels=self.grid_shape[1],
            word=config.word, hidden=config.hidden, layers=config.layers, heads=config.heads,
            head_width=config.head_width, dropout=config.dropout, lambda_copy=config.lambda_copy,
            top_classes=config.top_classes, context_in_gru=config.context_in_gru, image=config.image,
            image_text_matching=config.image_text_matching, region_matching=config.region_matching,
            noise_filter=config.noise_filter, classifier=config.classifier, irtm_target_sc=config.irtm_target_sc,
            irtm_detach=config.irtm_detach, pool=config.pool,
        )  # fmt: skip
        vectors = torch.empty(sizes.vocabulary, sizes.word).uniform_(-0.1, 0.1)
        if "vectors" in self.state.arrays:
            rows = np.flatnonzero(self.state.arrays["has_vector"]) + len(SPECIAL)
            vectors[torch.from_numpy(rows)] = torch.from_numpy(np.array(self.state.arrays["vectors"]))
        vectors[PAD] = 0
        classes = [[] if n == 0 else text.split() for text, n in self.lexicon.classes.items()]
        known = [[self.lexicon.words[w] for w in words if w in self.lexicon.words] for words in classes]
        table = torch.full((len(known), max(map(len, known), default=1) or 1), PAD)
        for row, ids in enumerate(known):
            table[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        return Mkp(sizes, table, vectors)

    def phases(self) -> tuple[Phase, ...]:
        """L_itm + L_irtm + L_cla; then L_2."""
        config, streams = self.config, self.reads(self.config)
        halve = Schedule("stall", 0.5)
        found = []
        if config.classifier or "matching" in streams:
            first = {name: stream for name, stream in streams.items() if name != "scored"}
            frozen = ("decoder.",) if config.stage2 == "all" else ()
            monitor = Monitor("loss.classes" if config.classifier else "loss")
            optimiser = Optimiser("adam", config.lr)
            found.append(Phase("stage1", first, config.stage1_epochs, optimiser, halve, monitor, frozen))
        if config.ranked_by == "generator":
            encoder = ("words.", "types.", "text.", "image.", "match.", "score.", "project_", "correlate.", "fuse.",
                       "classify.")  # fmt: skip
            frozen = () if config.stage2 == "all" else encoder
            found.append(
                Phase("stage2", {"posts": streams["posts"]}, config.second_epochs, Optimiser("adam", config.second_lr),
                      halve, Monitor("loss"), frozen)
            )  # fmt: skip
        return tuple(phase for phase in found if phase.epochs)

    def scored(self) -> Stream:
        """Posts, one row each."""
        return self.reads(self.config)["scored"]

    def collate(self, samples: Sequence[Sample], stream: str) -> MkpBatch:
        """Sources and grids, and what the stream is for."""
        from diptych.models.mkp.data import posts_batch

        return posts_batch(samples, self.config, self.lexicon, self.grid_shape, targets=stream == "posts")

    def loss(self, module: Mkp, batches: Mapping[str, MkpBatch], moment: Moment) -> dict[str, Tensor]:
        """Eq 15-19; every term is a mean over its own items."""
        from diptych.models.mkp.losses import stage_one, stage_two

        config = self.config
        if moment.phase == "stage2":
            return stage_two(module, batches["posts"])
        return stage_one(
            module, batches["posts"], batches.get("matching"), region_loss=config.region_loss,
            words=config.stage2 == "decoder_only",
        )  # fmt: skip

    def items(self, batches: Mapping[str, MkpBatch], moment: Moment) -> Mapping[str, int]:
        """Posts whose keyphrase is a class, pairs that somebody judged, words and ends."""
        from diptych.models.mkp.batch import PAD

        posts, matching = batches["posts"], batches.get("matching")
        assert posts.classes_B is not None and posts.outputs_BJ is not None
        found = {"classes": int((posts.classes_B > 0).sum()), "words": int((posts.outputs_BJ != PAD).sum())}
        if matching is None or matching.matches_B is None:
            return found
        return {**found, "matching": int((matching.matches_B >= 0).sum())}

    def watched(self, module: Mkp, batches: Mapping[str, MkpBatch], moment: Moment) -> Mapping[str, Tensor]:
        """``region_deviation``: of A over a picture's regions; L_irtm is 0 also for a constant A (M3)."""
        posts = batches["posts"]
        A_BR = module.filter(module.encode(posts)).A_BR
        if A_BR is None:
            return {}
        A_NR = A_BR[posts.has_image_B].float()
        return {"region_deviation": (A_NR - A_NR.mean(1, keepdim=True)).square().mean(1).sqrt()}

    def predict(self, module: Mkp, batch: MkpBatch) -> Sequence[Row]:
        """Ranked keyphrases, and the classifier's list where there is one."""
        from diptych.models.mkp.generate import generate

        config, known = self.config, list(self.lexicon.words)
        names = list(self.lexicon.classes)
        encoded = module.encode(batch)
        classified: list[list[str]] = [[] for _ in range(len(batch))]
        if config.classifier and len(names) > 1:
            logits = module.class_logits(module.fused(encoded, module.filter(encoded)))
            best = logits.topk(min(config.keep, len(names) - 1), dim=1).indices.tolist()
            classified = [[names[n] for n in row if n] for row in best]
        ranked, scores = classified, [[] for _ in classified]
        if config.ranked_by == "generator":
            found = generate(module, batch, beam=config.beam, max_steps=config.max_steps, keep=config.keep)
            words = zip(found, batch.extra_words, strict=True)
            ranked = [[" ".join([*known, *extra][t] for t in h.tokens) for h in row] for row, extra in words]
            scores = [[h.score for h in row] for row in found]
        return [
            _line(key, list(gold), source, said, **({"cla": cla} if config.classifier else {}), scores=score)
            for key, gold, source, said, cla, score in zip(
                batch.keys, batch.gold, batch.present_in, ranked, classified, scores, strict=True
            )
        ]

    def look_fields(self) -> tuple[str, ...]:
        """Which pictures the grids are of."""
        return (self._grid_key,) if self.config.image else ()

    @property
    def _grid_key(self) -> str:
        return f"{self.config.grid.partition('.')[0]}.key"

    def looks(self, module: Mkp, samples: Sequence[Sample], batch: MkpBatch) -> Sequence[Sequence[Look]]:
        """The gate of each region (Eq 5) of a post's first picture, which is the one that is read."""
        if not self.config.image:
            return [() for _ in samples]
        A_BR = module.filter(module.encode(batch)).A_BR
        found: list[Sequence[Look]] = []
        for row, sample in enumerate(samples):
            images = list(sample[self._grid_key] or ())
            side = math.isqrt(self.grid_shape[0])
            grid: list[list[float]] = []
            if A_BR is not None and side * side == self.grid_shape[0]:
                grid = A_BR[row].float().sigmoid().reshape(side, side).tolist()
            found.append([Look(images[0], grid=grid)] if len(images) else ())
        return found

    def evaluate(self, lines: Sequence[Line]) -> Metrics:
        """Macro F1@1, F1@3 and MAP@5, of all, present and absent keyphrases; the classifier's own as ``cla_``."""
        found: dict[str, float] = {}
        for prefix, field in (("", "predicted"), ("cla_", "cla")):
            if not all(line.get(field) is not None for line in lines):
                continue
            posts = [Post(_texts(line[field]), _texts(line["gold"]), str(line["source"])) for line in lines]
            for kind in ("all", "present", "absent") if not prefix else ("all",):
                scores = keyphrase_scores(posts, kind)
                name = prefix if kind == "all" else f"{kind}_"
                found |= {f"{name}f1_at_1": scores.f1_at_1, f"{name}f1_at_3": scores.f1_at_3,
                          f"{name}map_at_5": scores.map_at_5}  # fmt: skip
        return found


def _texts(value: Plain) -> list[str]:
    assert isinstance(value, Sequence)
    return [str(text) for text in value]


def _sample_line(config: MkpConfig, sample: Sample, predicted: list[str]) -> Line:
    from diptych.models.mkp.data import gold_of, source_text

    return _line(sample["key"], gold_of(sample), source_text(sample, config), predicted)


def _line(key: str, gold: list[str], source: str, predicted: list[str], **more: Plain) -> Line:
    """As ``diptych score keyphrases`` reads; the texts are tokens joined by blanks."""
    return {"id": key, "predicted": predicted, "gold": gold, "source": source, **more}
