"""The detectors' weights and lists of names: where their publishers have them, under which licence.

Their publishers print no hash of the checkpoints. Those of the two lists of names are of the files in the repository
at the commit that the address names.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["VISION", "Published"]


class Published(NamedTuple):
    """One file as its publisher has it; ``sha256`` empty where none is published."""

    name: str
    file: str
    purpose: str
    licence: str
    url: str
    size: int = 0
    sha256: str = ""


_ZOO = "https://dl.fbaipublicfiles.com/detectron2/COCO-Detection/faster_rcnn_"
_GENOME = (
    "https://raw.githubusercontent.com/peteanderson80/bottom-up-attention/"
    "514e561b7179be38f7f93ada102cdf98a5e32c72/data/genome/1600-400-20/"
)
_UNC = "http://nlp.cs.unc.edu/models/"
_CONVERTED = "Apache-2.0 (converted from MIT weights)"


def _zoo(name: str, model: str, place: str) -> Published:
    """detectron2's MODEL_ZOO.md; all files there are named alike, so ours carry the model's name."""
    licence, url = "CC-BY-SA-3.0", f"{_ZOO}{model}/{place}"
    return Published(name, f"faster_rcnn_{model}-{place.rpartition('/')[2]}", f"regions: {model}, COCO", licence, url)


VISION: tuple[Published, ...] = (
    _zoo("d2_r50_fpn", "R_50_FPN_3x", "137849458/model_final_280758.pkl"),
    _zoo("d2_r101_fpn", "R_101_FPN_3x", "137851257/model_final_f6e8b1.pkl"),
    _zoo("d2_r50_c4", "R_50_C4_3x", "137849393/model_final_f97cb7.pkl"),
    _zoo("d2_r101_c4", "R_101_C4_3x", "138204752/model_final_298dad.pkl"),
    Published(
        "bottom_up_attention",
        "faster_rcnn_from_caffe_attr.pkl",
        "regions: R101-C4 with attributes, Visual Genome (py-bottom-up-attention)",
        _CONVERTED,
        f"{_UNC}faster_rcnn_from_caffe_attr.pkl",
    ),
    Published(
        "bottom_up_attention_hf",
        "frcnn-vg-finetuned.bin",
        "regions: bottom_up_attention as its authors keep it for LXMERT",
        "as its model card says",
        "https://huggingface.co/unc-nlp/frcnn-vg-finetuned/resolve/main/pytorch_model.bin",
    ),
    Published(
        "bottom_up_attention_10_100",
        "faster_rcnn_from_caffe_attr_original.pkl",
        "regions: the same, the weights of the 10 to 100 boxes a picture",
        _CONVERTED,
        f"{_UNC}faster_rcnn_from_caffe_attr_original.pkl",
    ),
    Published(
        "bottom_up_attention_d2",
        "bua-d2-frcn-r101.pth",
        "regions: R101-C4 with attributes, Visual Genome (bottom-up-attention.pytorch)",
        "Apache-2.0",
        "https://awma1-my.sharepoint.com/:u:/g/personal/yuz_l0_tn/EXXItFlOpHlNq81O1H_cPyoBXUPyXoHmIwPEudnTWKX4rQ?download=1",
    ),
    Published(
        "vg_objects",
        "objects_vocab.txt",
        "regions: names of Visual Genome's 1,600 objects",
        "MIT",
        f"{_GENOME}objects_vocab.txt",
        12_782,
        "d985096938db111f585a311ff0a2ee9092fbc325c3a619ac9622e57e5389722f",
    ),
    Published(
        "vg_attributes",
        "attributes_vocab.txt",
        "regions: names of Visual Genome's 400 attributes",
        "MIT",
        f"{_GENOME}attributes_vocab.txt",
        3_095,
        "19981b5a288f284c576545a21de78634f1a78c26b6949f7acf12b924739fdc66",
    ),
)
"""detectron2's model zoo (COCO) and the two detectron2-format checkpoints of bottom-up attention."""
