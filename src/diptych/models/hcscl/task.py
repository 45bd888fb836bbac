"""HCSCL as a task: a textual summary and the picture that people chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from diptych.exceptions import UsageError
from diptych.metrics.bleu import bleu
from diptych.metrics.images import image_precision
from diptych.metrics.rouge import rouge
from diptych.metrics.text import unit_of
from diptych.models.hcscl.baselines import lead, random_sentence, text_rank
from diptych.models.hcscl.batch import SPECIAL
from diptych.models.hcscl.config import HcsclConfig
from diptych.models.hcscl.paper import PAPER
from diptych.training.config import Plain
from diptych.training.look import Look, Mark
from diptych.training.phase import Monitor, Optimiser, Phase, Schedule, Stream
from diptych.training.task import Baseline, Line, Metrics, Moment, Row, Sample, State, Task, Variant

if TYPE_CHECKING:
    from torch import Tensor, nn

    from diptych.models.hcscl.batch import HcsclBatch
    from diptych.models.hcscl.generate import Summary
    from diptych.models.hcscl.model import Hcscl
    from diptych.version import Version

__all__ = ["HcsclTask"]


_TEXT_ALONE: Mapping[str, Plain] = {"image": False, "selector": False, "image_loss": 0.0}


class HcsclTask(Task):
    """Multimodal summarization with multimodal output."""

    name = "hcscl"
    title = "HCSCL: hierarchical cross-modality semantic correlation learning (AAAI 2022)"
    Config = HcsclConfig
    config: HcsclConfig
    presets: ClassVar[Mapping[str, Mapping[str, Plain]]] = {
        "paper": {},
        "debug": {
            "output_vectors": "random", "language": "", "sentences": 6, "words": 24, "summary_words": 24, "width": 32,
            "location": 8, "attribute": 8, "output_word": 24, "inner": 48, "heads": 4, "layers": 1, "dropout": 0.0,
            "batch_size": 8, "lr": 3e-3, "epochs": 2, "beam": 1,
        },
        "sample": {
            "contextual": 384, "region": 256, "output_vectors": "random", "language": "en", "sentences": 4,
            "words": 32, "summary_words": 40, "width": 128, "location": 32,
            "attribute": 32, "output_word": 96, "inner": 256, "heads": 4, "layers": 1, "cme_norm": True,
            "dropout": 0.0, "batch_size": 8, "lr": 1.5e-3, "epochs": 16, "patience": 8, "beam": 1,
        },
    }  # fmt: skip
    ablations: ClassVar[Mapping[str, Variant]] = {
        "word_object_only": Variant({"variant": "word_object_only"}, "no sentence vectors, scenes: flat attention"),
        "sentence_scene_only": Variant({"variant": "sentence_scene_only"}, "words and objects unfused, context of h3"),
        "no_sentence_scene_fusion": Variant({"variant": "no_sentence_scene_fusion"}, "h3 = h2, v3 = v2"),
        "no_word_object_fusion": Variant({"variant": "no_word_object_fusion"}, "h1 = h0, v1 = v0"),
        "text_output_only": Variant({"selector": False, "image_loss": 0.0}, "no image is chosen (Table 3)"),
    }
    baselines: ClassVar[Mapping[str, Variant | Baseline]] = {
        "lead": lead,
        "text_rank": text_rank,
        "random": random_sentence,
        "s2s": Variant({**_TEXT_ALONE, "variant": "s2s"}, "BiLSTM, attention over words, LSTM; no pictures (Table 3)"),
        "pointer_generator": Variant(
            {**_TEXT_ALONE, "variant": "pointer"}, "the same, and words can be copied; no coverage (Table 3)"
        ),
        "text_only": Variant({"image": False}, "no objects: every image scores alike"),
    }
    paper = PAPER
    recipe_lines: ClassVar[Mapping[str, str]] = {
        "best_image": "best_image: {}    # with relevance: {} and votes: {file: VOTES}",
    }

    def __init__(self, config: HcsclConfig, state: State) -> None:
        super().__init__(config, state)
        words, attributes = state.values["words"], state.values["attributes"]
        assert isinstance(words, Sequence) and isinstance(attributes, Sequence)
        self.words = {str(word): n for n, word in enumerate([*SPECIAL, *words])}
        self.attributes = {str(name): n for n, name in enumerate(attributes, 1)}

    @classmethod
    def reads(cls, config: HcsclConfig) -> Mapping[str, Stream]:
        """Documents; those without a summary are scored with an empty one."""
        from diptych.models.hcscl.data import fields_of

        where = [f"documents.subset == '{config.subset}'"] if config.subset else []
        where += [f"documents.language == '{config.language}'"] if config.language else []
        return {"documents": Stream(fields_of(config), "document", tuple(where), batch_size=config.batch_size)}

    @classmethod
    def prepare(cls, version: Version, config: HcsclConfig) -> State:
        """Output vocabulary and attribute classes of train; the sizes of the version's tensors are checked."""
        from diptych.models.hcscl.data import count_tokens
        from diptych.storage.reader import Loader

        sizes = {"bert.tokens": config.contextual, **({"regions.features": config.region} if config.image else {})}
        settings = {"bert.tokens": "contextual", "regions.features": "region"}
        for field, size in sizes.items():
            stage, _, column = field.partition(".")
            found = int(version.manifest.stage(stage).tensors[column].shape[-1] or 0)
            if found != size:
                raise UsageError(
                    f"{field} of {version!r} has {found} numbers, the configuration wants {settings[field]}: {size}; "
                    f"set {settings[field]}: {found}, or another model for the stage {stage} in the recipe"
                )
        stream = cls.reads(config)["documents"]
        wanted = ("documents.summary", "sentences.items", *(("regions.attributes",) if config.image else ()))
        with Loader(version, wanted, rows="document", split="train", where=stream.where or None, missing=stream.missing,
                    batch_size=256, shuffle=False, collate=list) as loader:  # fmt: skip
            words, attributes = count_tokens(sample for batch in loader for sample in batch)

        def best(counts: Mapping[str, int], top: int) -> list[str]:
            return sorted(counts, key=lambda name: (-counts[name], name))[:top]

        chosen = best(words, config.vocabulary)
        arrays = {}
        if config.output_vectors == "bert":
            from diptych.models.common.text_encoder import load_encoder

            arrays["output_vectors"] = load_encoder(config.encoder).input_vectors(chosen)
        return State(arrays, {"words": chosen, "attributes": best(attributes, config.attributes)})

    def build(self) -> nn.Module:
        """The network at the version's sizes."""
        import torch

        from diptych.models.hcscl.model import Hcscl, HcsclSizes

        config = self.config
        sizes = HcsclSizes(
            contextual=config.contextual, region=config.region, attributes=1 + len(self.attributes),
            vocabulary=len(self.words), width=config.width, location=config.location, attribute=config.attribute,
            output_word=config.output_word, inner=config.inner, heads=config.heads, layers=config.layers,
            dropout=config.dropout, variant=config.variant, selector=config.selector, score=config.score,
            norm=config.cme_norm, coupled=config.cme_coupled, object_attends=config.object_attends,
            readout_max=config.readout_max, selector_state=config.selector_state,
        )  # fmt: skip
        if "output_vectors" not in self.state.arrays:
            return Hcscl(sizes)
        known = torch.from_numpy(np.array(self.state.arrays["output_vectors"], np.float32))
        if known.shape[1] != config.output_word:
            raise UsageError(f"{config.encoder} has input vectors of {known.shape[1]}; set output_word to that")
        special = torch.randn(len(SPECIAL), known.shape[1]) * known.std()
        special[0] = 0
        return Hcscl(sizes, torch.cat([special, known]))

    def phases(self) -> tuple[Phase, ...]:
        """One; the dev value is the paper's first metric."""
        config = self.config
        schedule = Schedule("every", config.lr_factor, config.lr_epochs)
        optimiser, monitor = Optimiser("adam", config.lr), Monitor("rouge_1", higher=True)
        return (Phase("train", self.reads(config), config.epochs, optimiser, schedule, monitor),)

    def scored(self) -> Stream:
        """Documents."""
        return self.reads(self.config)["documents"]

    def collate(self, samples: Sequence[Sample], stream: str) -> HcsclBatch:
        """Sentences, objects, scenes, candidates, summary."""
        from diptych.models.hcscl.data import make_batch

        return make_batch(samples, self.config, self.words, self.attributes)

    def loss(self, module: Hcscl, batches: Mapping[str, HcsclBatch], moment: Moment) -> dict[str, Tensor]:
        """L_text + lambda L_image (Eq 25, 30, 31); documents without a voted image are not in L_image."""
        import torch.nn.functional as F

        from diptych.models.hcscl.batch import PAD

        batch, config = batches["documents"], self.config
        encoded = module.encode(batch)
        logits, states = module.summary_logits(batch, encoded)
        assert batch.outputs_BT is not None and batch.choice_B is not None
        text = F.cross_entropy(logits.flatten(0, 1), batch.outputs_BT.flatten(), ignore_index=PAD, reduction="sum")
        items = (batch.outputs_BT != PAD).sum() if config.text_loss == "token_mean" else len(batch)
        terms = {"text": text / items}
        voted = batch.choice_B >= 0
        if config.selector and bool(voted.any()):
            scores = module.select(batch, encoded, states, batch.outputs_BT)
            terms["image"] = config.image_loss * F.cross_entropy(scores[voted], batch.choice_B[voted])
        elif config.selector:
            terms["image"] = 0.0 * states.sum()
        return terms

    def items(self, batches: Mapping[str, HcsclBatch], moment: Moment) -> Mapping[str, int]:
        """Tokens of the summaries (documents when their losses are sums); documents with a voted image."""
        from diptych.models.hcscl.batch import PAD

        batch = batches["documents"]
        assert batch.outputs_BT is not None and batch.choice_B is not None
        text = {"text": int((batch.outputs_BT != PAD).sum())} if self.config.text_loss == "token_mean" else {}
        return {**text, "image": int((batch.choice_B >= 0).sum())}

    def predict(self, module: Hcscl, batch: HcsclBatch) -> Sequence[Row]:
        """Summary and the candidates' scores."""
        from diptych.models.hcscl.generate import summarize

        config, known = self.config, list(self.words)
        limits = {"min_tokens": config.min_words, "max_tokens": config.summary_words}
        found = summarize(module, batch, beam=config.beam, **limits)
        assert batch.choice_B is not None
        rows = []
        for n, summary in enumerate(found):
            choice, images = int(batch.choice_B[n]), batch.images[n]
            best, extra = _best(summary), batch.extra_words[n] if batch.extra_words else ()
            rows.append(
                {
                    "id": batch.keys[n],
                    "predicted": " ".join([*known, *extra][t] for t in summary.tokens),
                    "gold": batch.summaries[n],
                    "image": images[best] if best is not None else None,
                    "images": list(images),
                    "image_scores": list(summary.images),
                    "choice": choice if choice >= 0 else None,
                }
            )
        return rows

    def looks(self, module: Hcscl, samples: Sequence[Sample], batch: HcsclBatch) -> Sequence[Sequence[Look]]:
        """The candidates, the chosen one marked; objects by how well they match the summary (Eq 26)."""
        from diptych.models.hcscl.generate import summarize

        config, found = self.config, []
        limits = {"min_tokens": config.min_words, "max_tokens": config.summary_words}
        for row, summary in enumerate(summarize(module, batch, beam=config.beam, **limits)):
            best, looks = _best(summary), []
            owners, boxes = batch.image_of_BQ[row].tolist(), batch.boxes_BQ4[row].tolist()
            for place, image in enumerate(batch.images[row]):
                own = [n for n in range(len(summary.objects)) if owners[n] == place]
                x = [Mark((boxes[n][0], boxes[n][1], boxes[n][2], boxes[n][3]), summary.objects[n]) for n in own]
                caption = f"{summary.images[place]:.2f}" if summary.images else ""
                looks.append(Look(image, x, relative=True, chosen=place == best, caption=caption))
            found.append(looks)
        return found

    def evaluate(self, lines: Sequence[Line]) -> Metrics:
        """ROUGE and BLEU on words or, in Chinese, characters; image precision beside its chance.

        The network says tokens, the gold and a baseline's sentence are as they were written: all are split alike.
        """
        from diptych.models.hcscl.data import comparable

        unit = unit_of(str(line["gold"]) for line in lines)
        predicted, gold = ([comparable(str(line[name])) for line in lines] for name in ("predicted", "gold"))
        found = {**rouge(predicted, gold, unit), **bleu(predicted, gold, unit)}
        chosen = [line for line in lines if line["image_scores"]]
        scores = [np.array(line["image_scores"], np.float64) for line in chosen]
        voted = [None if line["choice"] is None else int(str(line["choice"])) for line in chosen]
        images = image_precision(scores, voted)
        return {**found, "image_precision": images.precision, "image_chance": images.chance}


def _best(summary: Summary) -> int | None:
    """The chosen image's place; of equal scores the first."""
    scores = summary.images
    return max(range(len(scores)), key=scores.__getitem__) if scores else None
