"""What the HCSCL paper prints (Tables 3 and 4)."""

from __future__ import annotations

from diptych.training.task import PaperTable

__all__ = ["PAPER"]

_TEXT: tuple[str, ...] = ("rouge_1", "rouge_2", "rouge_l", "bleu_1", "bleu_2", "bleu_3", "bleu_4")
_ABLATION: tuple[str, ...] = ("rouge_1", "rouge_2", "bleu_1", "image_precision")
_TABLE_3 = {
    "pointer_generator": (42.54, 28.25, 39.95, 38.26, 30.78, 24.55, 19.92),
    "s2s": (30.13, 14.40, 28.61, 26.36, 17.55, 11.07, 7.44),
    "text_rank": (22.22, 10.39, 18.49, 28.32, 8.48, 4.47, 2.78),
    "MSE": (42.99, 28.78, 41.79, 39.02, 31.51, 25.21, 20.50),
    "MSMO": (42.89, 28.25, 39.86, 39.06, 31.26, 24.78, 19.93, 33.50),
    "MOF": (42.41, 28.10, 39.60, 38.04, 30.55, 24.38, 19.71, 33.16),
    "VMSMO": (42.68, 28.35, 41.34, 38.75, 31.20, 24.75, 19.99, 32.86),
    "text_output_only": (42.11, 27.57, 39.52, 37.90, 30.26, 23.84, 19.13),
    "full": (43.64, 29.00, 40.94, 39.64, 31.91, 25.40, 20.54, 40.98),
}
_TABLE_4 = {
    "word_object_only": (41.70, 25.37, 38.01, 32.31),
    "sentence_scene_only": (38.99, 20.41, 35.58, 33.36),
    "no_sentence_scene_fusion": (41.05, 24.04, 37.44, 31.94),
    "no_word_object_fusion": (38.35, 19.94, 34.97, 30.83),
}

_ROWS: dict[str, dict[str, float]] = {
    name: dict(zip((*_TEXT, "image_precision"), row, strict=False)) for name, row in _TABLE_3.items()
}
_ROWS |= {name: dict(zip(_ABLATION, row, strict=True)) for name, row in _TABLE_4.items()}

PAPER = PaperTable(
    source="Tables 3, 4",
    data="62,880 Chinese news",
    columns={
        "rouge_1": "R-1", "rouge_2": "R-2", "rouge_l": "R-L", "bleu_1": "B-1", "bleu_2": "B-2", "bleu_3": "B-3",
        "bleu_4": "B-4", "image_precision": "IP",
    },
    rows=_ROWS,
)  # fmt: skip
