"""JPEG files decoded where the network runs: nvJPEG on a GPU through torchvision, its libjpeg on a CPU.

nvJPEG rounds and interpolates colours otherwise than libjpeg does. torchvision's own tests allow a mean difference of
2 levels of 255, which is more than a stage's tolerance; so the decoder is a setting, off by default, and part of
the stage key. Whatever is not a whole, upright JPEG file in grey or YCbCr is left to Pillow, as is a file that
torchvision refuses: which rows fail, and why, does not depend on the decoder, nor a row on its neighbours.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

from diptych.imaging import plain_jpeg

__all__ = ["DECODER_LEVELS", "Decoder", "decode_on"]

Decoder = Literal["pillow", "device"]
DECODER_LEVELS = 2.0
"""Mean difference from Pillow's picture at most, in levels of 255; tested on a CPU, and on a GPU where there is one."""


def decode_on(device: str, files: Sequence[bytes | None]) -> list[Image.Image | None]:
    """RGB pictures at full size; None: Pillow's turn."""
    facts = [None if data is None else plain_jpeg(data) for data in files]
    rows = [n for n, found in enumerate(facts) if found]
    pictures: list[Image.Image | None] = [None] * len(files)
    for n, pixels in zip(rows, _decoded(device, [files[n] or b"" for n in rows]), strict=False):
        found = facts[n]
        if found and pixels is not None and pixels.shape == (found.height, found.width, 3):
            pictures[n] = Image.fromarray(pixels)
    return pictures


def _decoded(device: str, files: Sequence[bytes]) -> Sequence[np.ndarray | None]:
    """uint8 (H, W, 3) of each; None for those that torchvision refuses. Out of memory is raised."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    if not files:
        return []
    data = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision 0.29 announces that this function moves to TorchCodec
        try:
            found = decode_jpeg(data, mode=ImageReadMode.RGB, device=device)
        except RuntimeError as error:  # not lost: Pillow decodes the file it is about and says what is wrong
            if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
                raise  # which says nothing of the files: the engine tries fewer rows
            return [None] if len(files) == 1 else [_decoded(device, [file])[0] for file in files]
    return [picture.permute(1, 2, 0).contiguous().cpu().numpy() for picture in found]
