"""The weights of detectors and classifiers, and lists of names: where their publishers have them, under which licence.

Of torchvision's classifiers the file names carry the first digits of the hash. The detectors' publishers print no
hash of the checkpoints. Those of the two lists of names are of the files in the repository
at the commit that the address names.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CLASSIFIERS", "NOT_COMMERCIAL", "VISION", "Published"]


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

CLASSIFIERS: dict[str, str] = {
    "alexnet": "alexnet-owt-7be5be79", "convnext_base": "convnext_base-6075fbad",
    "convnext_large": "convnext_large-ea097f82", "convnext_small": "convnext_small-0c510722",
    "convnext_tiny": "convnext_tiny-983f1562", "densenet121": "densenet121-a639ec97",
    "densenet161": "densenet161-8d451a50", "densenet169": "densenet169-b2777c0a",
    "densenet201": "densenet201-c1103571", "efficientnet_b0": "efficientnet_b0_rwightman-7f5810bc",
    "efficientnet_b1": "efficientnet_b1_rwightman-bac287d4", "efficientnet_b2": "efficientnet_b2_rwightman-c35c1473",
    "efficientnet_b3": "efficientnet_b3_rwightman-b3899882", "efficientnet_b4": "efficientnet_b4_rwightman-23ab8bcd",
    "efficientnet_b5": "efficientnet_b5_lukemelas-1a07897c", "efficientnet_b6": "efficientnet_b6_lukemelas-24a108a5",
    "efficientnet_b7": "efficientnet_b7_lukemelas-c5b4e57e", "efficientnet_v2_l": "efficientnet_v2_l-59c71312",
    "efficientnet_v2_m": "efficientnet_v2_m-dc08266a", "efficientnet_v2_s": "efficientnet_v2_s-dd5fe13b",
    "googlenet": "googlenet-1378be20", "inception_v3": "inception_v3_google-0cc3c7bd",
    "maxvit_t": "maxvit_t-bc5ab103", "mnasnet0_5": "mnasnet0.5_top1_67.823-3ffadce67e",
    "mnasnet0_75": "mnasnet0_75-7090bc5f", "mnasnet1_0": "mnasnet1.0_top1_73.512-f206786ef8",
    "mnasnet1_3": "mnasnet1_3-a4c69d6f", "mobilenet_v2": "mobilenet_v2-b0353104",
    "mobilenet_v3_large": "mobilenet_v3_large-8738ca79", "mobilenet_v3_small": "mobilenet_v3_small-047dcff4",
    "regnet_x_16gf": "regnet_x_16gf-2007eb11", "regnet_x_1_6gf": "regnet_x_1_6gf-e3633e7f",
    "regnet_x_32gf": "regnet_x_32gf-9d47f8d0", "regnet_x_3_2gf": "regnet_x_3_2gf-f342aeae",
    "regnet_x_400mf": "regnet_x_400mf-adf1edd5", "regnet_x_800mf": "regnet_x_800mf-ad17e45c",
    "regnet_x_8gf": "regnet_x_8gf-03ceed89", "regnet_y_128gf": "regnet_y_128gf_swag-c8ce3e52",
    "regnet_y_16gf": "regnet_y_16gf-9e6ed7dd", "regnet_y_1_6gf": "regnet_y_1_6gf-b11a554e",
    "regnet_y_32gf": "regnet_y_32gf-4dee3f7a", "regnet_y_3_2gf": "regnet_y_3_2gf-b5a9779c",
    "regnet_y_400mf": "regnet_y_400mf-c65dace8", "regnet_y_800mf": "regnet_y_800mf-1b27b58c",
    "regnet_y_8gf": "regnet_y_8gf-d0d0e4a8", "resnet101": "resnet101-63fe2227", "resnet152": "resnet152-394f9c45",
    "resnet18": "resnet18-f37072fd", "resnet34": "resnet34-b627a593", "resnet50": "resnet50-0676ba61",
    "resnext101_32x8d": "resnext101_32x8d-8ba56ff5", "resnext101_64x4d": "resnext101_64x4d-173b62eb",
    "resnext50_32x4d": "resnext50_32x4d-7cdf4587", "shufflenet_v2_x0_5": "shufflenetv2_x0.5-f707e7126e",
    "shufflenet_v2_x1_0": "shufflenetv2_x1-5666bf0f80", "shufflenet_v2_x1_5": "shufflenetv2_x1_5-3c479a10",
    "shufflenet_v2_x2_0": "shufflenetv2_x2_0-8be3c8ee", "squeezenet1_0": "squeezenet1_0-b66bff10",
    "squeezenet1_1": "squeezenet1_1-b8a52dc0", "swin_b": "swin_b-68c6b09e", "swin_s": "swin_s-5e29d889",
    "swin_t": "swin_t-704ceda3", "swin_v2_b": "swin_v2_b-781e5279", "swin_v2_s": "swin_v2_s-637d8ceb",
    "swin_v2_t": "swin_v2_t-b137f0e2", "vgg11": "vgg11-8a719046", "vgg11_bn": "vgg11_bn-6002323d",
    "vgg13": "vgg13-19584684", "vgg13_bn": "vgg13_bn-abd245e5", "vgg16": "vgg16-397923af",
    "vgg16_bn": "vgg16_bn-6c64b313", "vgg19": "vgg19-dcbb9e9d", "vgg19_bn": "vgg19_bn-c79401a0",
    "vit_b_16": "vit_b_16-c867db91", "vit_b_32": "vit_b_32-d86f8d99", "vit_h_14": "vit_h_14_swag-80465313",
    "vit_l_16": "vit_l_16-852ce7e3", "vit_l_32": "vit_l_32-c7638314", "wide_resnet101_2": "wide_resnet101_2-32ee1156",
    "wide_resnet50_2": "wide_resnet50_2-95faca4d",
}  # fmt: skip
"""Every classifier of torchvision's; the file of its first published weights, ImageNet's, without ``.pth``."""
NOT_COMMERCIAL = ("regnet_y_128gf", "vit_h_14")
"""Those whose only weights started from SWAG's (CC-BY-NC-4.0)."""
