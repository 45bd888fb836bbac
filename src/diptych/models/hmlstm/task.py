"""HM-LSTM as a task: root losses first, then matchings and all losses in turn (Fig 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from diptych.exceptions import UsageError
from diptych.models.common.word_vectors import word_vectors
from diptych.models.hmlstm.config import HMLSTMConfig
from diptych.naming import split_pair_key
from diptych.training.config import Plain
from diptych.training.look import Look, Mark
from diptych.training.phase import Monitor, Optimiser, Phase, Schedule, Stream
from diptych.training.task import Baseline, Line, Metrics, Moment, PaperTable, Row, Sample, State, Task, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

    from diptych.models.hmlstm.batch import HMLSTMBatch
    from diptych.models.hmlstm.model import HMLSTM
    from diptych.version import Version

__all__ = ["HMLSTMTask"]

_PARSE = ("key", "words", "parent", "start", "end", "noun_phrase")


def random_embeddings(task: Task, train: Iterable[Sample], samples: Iterable[Sample], seed: int) -> Sequence[Line]:
    """Random directions for everything: chance, with ties and equal texts counted as they are for a model."""
    from diptych.models.hmlstm.data import make_batch
    from diptych.models.hmlstm.judging import Picture, judged_lines

    assert isinstance(task, HMLSTMTask)
    draw = np.random.default_rng(seed)
    pictures = []
    for sample in samples:
        batch = make_batch([sample], task.config, task.words, judged=True)
        sizes = (1, len(batch.captions), len(batch.phrases), int(batch.region_mask_BK.sum()), len(batch.queries_Qf))
        image, captions, phrases, regions, queries = (draw.normal(size=(n, 16)) for n in sizes)
        pictures.append(
            Picture(sample["key"], image[0], captions, batch.captions, phrases, batch.phrases, regions, queries,
                    batch.judged[0])
        )  # fmt: skip
    return judged_lines(pictures, task.config.judged_images)


class HMLSTMTask(Task):
    """Sentences, phrases, images and regions in one space."""

    name = "hmlstm"
    title = "HM-LSTM: hierarchical multimodal LSTM for dense visual-semantic embedding (ICCV 2017)"
    Config = HMLSTMConfig
    config: HMLSTMConfig
    presets: ClassVar[Mapping[str, Mapping[str, Plain]]] = {
        "paper": {},
        "debug": {
            "feature_size": None, "regions": 6, "word": 16, "hidden": 24, "joint": 16, "batch_size": 8, "lr": 5e-3,
            "first_epochs": 2, "rounds": 1, "round_epochs": 1,
        },
        "sample": {
            "region_feature": "regions.features", "image_feature": "backbone.pooled", "feature_size": None,
            "word": 64, "hidden": 128, "joint": 128, "batch_size": 32, "lr": 4e-3, "margin": 0.3,
            "first_epochs": 3, "rounds": 4, "round_epochs": 2,
        },
    }  # fmt: skip
    ablations: ClassVar[Mapping[str, Variant]] = {
        "chain": Variant({"encoder": "chain"}, "ours: an LSTM over words; a phrase is read alone"),
        "tree": Variant({"encoder": "tree"}, "ours: one U, no distinction of noun phrases"),
        "root_only": Variant({"parts": False}, "ours: no phrase-region loss"),
    }
    baselines: ClassVar[Mapping[str, Variant | Baseline]] = {
        "random": random_embeddings,
        "text_only": Variant({"image": False}, "no image: its features are zeros"),
    }
    paper = PaperTable(
        source="Tables 2, 4",
        data="Flickr30K; regions: MS-COCO-region",
        columns={
            "i2t_r1": "i2t R@1", "i2t_r10": "i2t R@10", "i2t_median": "i2t Med r",
            "t2i_r1": "t2i R@1", "t2i_r10": "t2i R@10", "t2i_median": "t2i Med r",
            "region_r1": "region R@1", "region_r5": "region R@5", "region_r10": "region R@10",
            "region_median": "region Med r",
        },
        rows={
            "full": {"i2t_r1": 38.1, "i2t_r10": 76.5, "i2t_median": 3, "t2i_r1": 27.7, "t2i_r10": 68.8, "t2i_median": 4,
                     "region_r1": 10.8, "region_r5": 22.6, "region_r10": 30.7, "region_median": 42},
            "random": {"i2t_r1": 0.1, "i2t_r10": 1.1, "i2t_median": 631, "t2i_r1": 0.1, "t2i_r10": 1.0,
                       "t2i_median": 500, "region_r1": 0.02, "region_r5": 0.12, "region_r10": 0.24,
                       "region_median": 3133},
            "DeepSP": {"i2t_r1": 35.7, "i2t_r10": 74.4, "t2i_r1": 25.1, "t2i_r10": 66.5},
            "m-RNN-vgg": {"i2t_r1": 35.4, "i2t_r10": 73.7, "i2t_median": 3, "t2i_r1": 22.8, "t2i_r10": 63.1,
                          "t2i_median": 5, "region_r1": 8.1, "region_r5": 20.6, "region_r10": 28.2,
                          "region_median": 56},
            "DeepVS": {"i2t_r1": 22.2, "i2t_r10": 61.4, "i2t_median": 4.8, "t2i_r1": 15.2, "t2i_r10": 50.5,
                       "t2i_median": 9.2, "region_r1": 7.2, "region_r5": 18.1, "region_r10": 26.8,
                       "region_median": 64},
        },
        unscaled=("i2t_median", "t2i_median", "region_median"),
    )  # fmt: skip
    recipe_lines: ClassVar[Mapping[str, str]] = {
        "pair_votes": "pair_votes: {file: VOTES}    # made by: diptych votes import",
        "fc7": "fc7: {}    # it reads `proposals: {}`",
        "vectors": "vectors: {file: GoogleNews-vectors-negative300.bin, lower_case: false}",
    }

    def __init__(self, config: HMLSTMConfig, state: State) -> None:
        super().__init__(config, state)
        words = state.values["words"]
        assert isinstance(words, Sequence)
        self.words = {str(word): number for number, word in enumerate(words, 1)}

    @classmethod
    def reads(cls, config: HMLSTMConfig) -> Mapping[str, Stream]:
        """Pairs; in training one for each of their captions."""
        kinds = (config.image_feature,) if config.image_feature else (f"{config.region_stage}.kinds",)
        text = ("pairs.caption", "sentences.items", *(f"parse.{name}" for name in _PARSE))
        where = (f"documents.subset == '{config.subset}'",) if config.subset else ()
        fields = (*text, config.region_feature, *kinds)
        links = "pair_votes.regions" if config.links == "votes" else "pairs.extra"
        return {
            "pairs": Stream(
                fields, "pair", where, batch_size=config.batch_size, least=2, each="pairs.caption", apart=True
            ),
            "judged": Stream(
                (*fields, f"{config.region_stage}.boxes", links), "pair", where, batch_size=config.batch_size
            ),
        }

    @classmethod
    def tables(cls, config: HMLSTMConfig) -> tuple[str, ...]:
        """The word vectors."""
        return (config.vectors,)

    @classmethod
    def prepare(cls, version: Version, config: HMLSTMConfig) -> State:
        """Words with vectors; widths of the features."""
        words, vectors = word_vectors(version, config.vectors, config.word)
        region = _width(version, config.region_feature)
        if config.feature_size not in (None, region):
            raise UsageError(
                f"{config.region_feature} of {version!r} has {region} numbers a box, the configuration asserts "
                f"feature_size: {config.feature_size} (fc7 of VGG); set feature_size: {region}, or null"
            )
        image = _width(version, config.image_feature) if config.image_feature else region
        return State({"vectors": vectors}, {"words": words, "region": region, "image": image})

    def build(self) -> nn.Module:
        """Word vectors are fixed; a word without one is zeros."""
        import torch

        from diptych.models.hmlstm.model import HMLSTM, HMLSTMSizes

        config, values = self.config, self.state.values
        vectors = np.concatenate([np.zeros((1, config.word), np.float32), self.state.arrays["vectors"]])
        sizes = HMLSTMSizes(
            word=config.word, region=int(str(values["region"])), image=int(str(values["image"])),
            hidden=config.hidden, joint=config.joint, encoder=config.encoder, dropout=config.dropout,
            own_image_layer=bool(config.image_feature),
        )  # fmt: skip
        return HMLSTM(sizes, torch.from_numpy(vectors))

    def phases(self) -> tuple[Phase, ...]:
        """One, with one optimiser throughout; which losses count follows from the epoch."""
        config = self.config
        return (
            Phase("train", {"pairs": self.reads(config)["pairs"]}, config.epochs, Optimiser("adam", config.lr),
                  Schedule("stall", config.lr_factor), Monitor("rsum", higher=True)),
        )  # fmt: skip

    def scored(self) -> Stream:
        """Each pair once, with all its captions."""
        return self.reads(self.config)["judged"]

    def collate(self, samples: Sequence[Sample], stream: str) -> HMLSTMBatch:
        """Trees (or chains), regions, and for judging what people annotated."""
        from diptych.models.hmlstm.data import make_batch

        return make_batch(samples, self.config, self.words, judged=stream == "scored")

    def before_epoch(
        self, module: Any, batches: Iterable[HMLSTMBatch], moment: Moment
    ) -> Mapping[str, np.ndarray] | None:
        """Matches every phrase of the training set anew at the beginning of each round (Section 3.3)."""
        from diptych.models.hmlstm.losses import match

        since = moment.epoch - self.config.first_epochs
        if not self.config.parts or since < 0 or since % self.config.round_epochs:
            return None
        return match(module, batches)

    def loss(self, module: HMLSTM, batches: Mapping[str, HMLSTMBatch], moment: Moment) -> dict[str, Tensor]:
        """Eq 9-10: whole sentence and whole image, and each matched phrase and region by its confidence."""
        from diptych.models.hmlstm.losses import part_loss, root_loss

        batch = batches["pairs"]
        embedded = module(batch)
        terms = {"root": root_loss(embedded, batch, self.config.margin)}
        if moment.memory:
            terms["part"] = part_loss(embedded, batch, moment.memory, self.config.margin, self.config.negatives)
        return terms

    def items(self, batches: Mapping[str, HMLSTMBatch], moment: Moment) -> Mapping[str, int]:
        """Captions; phrases that are matched."""
        from diptych.models.hmlstm.losses import matched

        batch = batches["pairs"]
        return {"root": len(batch.image_T), "part": matched(batch, moment.memory) if moment.memory else 0}

    def predict(self, module: HMLSTM, batch: HMLSTMBatch) -> Sequence[Row]:
        """The embeddings of each image and of what belongs to it."""
        from diptych.models.hmlstm.losses import pictures_of

        return [{"id": picture.id, "picture": picture} for picture in pictures_of(module(batch), batch)]

    def finish(self, rows: Sequence[Row]) -> Sequence[Line]:
        """Ranks among all candidates of the split."""
        from diptych.models.hmlstm.judging import judged_lines

        return judged_lines([row["picture"] for row in rows], self.config.judged_images)

    def looks(self, module: HMLSTM, samples: Sequence[Sample], batch: HMLSTMBatch) -> Sequence[Sequence[Look]]:
        """Each phrase at the region that it is matched to; of several phrases of a region the best."""
        from diptych.models.hmlstm.losses import pictures_of

        found = []
        for picture in pictures_of(module(batch), batch):
            marks: dict[int, Mark] = {}
            for phrase, scores_K in zip(picture.phrases, picture.phrases_Pd @ picture.regions_Kd.T, strict=True):
                place = int(scores_K.argmax()) if len(scores_K) else -1
                if place >= 0 and (place not in marks or scores_K[place] > marks[place].weight):
                    x1, y1, x2, y2 = picture.judged.boxes[place]
                    marks[place] = Mark((x1, y1, x2, y2), max(0.0, float(scores_K[place])), phrase)
            found.append([Look(split_pair_key(picture.id)[1], list(marks.values()))])
        return found

    def evaluate(self, lines: Sequence[Line]) -> Metrics:
        """R@1, R@5, R@10 and median rank both ways and of regions; the share of phrases matched to the right box."""
        from diptych.models.hmlstm.judging import measured

        return measured(lines)


def _width(version: Version, tensor: str) -> int:
    """Numbers a row; :class:`UsageError` when the stage has no such tensor."""
    stage, _, column = tensor.partition(".")
    tensors = version.manifest.stage(stage).tensors
    if column not in tensors:
        raise UsageError(f"{stage} of {version!r} has no tensor {column!r}; it has {', '.join(tensors) or 'none'}")
    return int(tensors[column].shape[-1] or 0)
