"""Small releases in the formats of the public ones, from a seed: what ``build --sample`` of a paper's recipe reads.

Each writer leaves files of the formats that its recipe's sources read, and ``truth.jsonl``, the truth of the documents
they were made of, in order. The same name, count and seed give the same bytes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from diptych.sample.releases.captions import write_coco, write_flickr8k, write_flickr30k
from diptych.sample.releases.documents import write_hcscl, write_information_gap
from diptych.sample.releases.posts import write_ccd, write_mkp

__all__ = ["RELEASES", "release_folder"]

FORMAT = 1
"""Raise it when a writer changes: folders of earlier ones are then made again under another name."""

RELEASES: Mapping[str, Callable[[int, int, Path], None]] = {
    "hcscl": write_hcscl,
    "mkp": write_mkp,
    "information_gap": write_information_gap,
    "ccd": write_ccd,
    "flickr8k": write_flickr8k,
    "flickr30k": write_flickr30k,
    "coco": write_coco,
}
"""Name to writer of (documents, seed, empty folder)."""


def release_folder(name: str, documents: int, seed: int, cache: Path) -> Path:
    """The folder of a release below ``cache``; written when it is not there, whole or not at all."""
    folder = cache / f"{name}-{documents}-{seed}-{FORMAT}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=cache))
    try:
        RELEASES[name](documents, seed, part)
        part.chmod(0o755)
        try:
            os.rename(part, folder)
        except OSError:
            if not folder.is_dir():  # else another process was first: the same bytes
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder
