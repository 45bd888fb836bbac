"""The commented recipe that ``diptych init`` writes: it builds unedited."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import yaml

from diptych.sources.base import SuggestedSource

__all__ = ["recipe_text"]

_STAGES = """\
stages:                 # what is computed; remove what you do not need, settings stand in schemas/ and the docs;
                        # paths of stages and fits start where the command is run, those of sources here
  clean:                # per image: undecodable, animated, thumbnail, aspect ratio, near-uniform
    min_side: 64
{clean_text}
  clean_documents: {}   # per document: texts that say nearly the same as another
  clean_pairs: {}       # per use of an image: advertisements, duplicates, pictures that recur everywhere
  sentences: {}         # sentences and tokens with their places in the text; hashtags, mentions, British spelling
  # backbone: {}        # image features; `diptych weights pull sample` brings EfficientNet-Lite0
  # ocr: {}             # text in images; needs pip install 'diptych[ocr]' and `diptych weights pull sample`

fits:
  splits: {}            # train, dev, test: near-duplicate documents stay together, a record keeps its split
  word_counts: {}
"""


_CAPTIONED = ("coco", "flickr", "parquet", "urls", "webdataset")


def _clean_text(settings: Mapping[str, object]) -> str:
    """The stage's lines: a caption is shorter than an article, and pictures may come without any text."""
    what = "# per document: empty or too short text; languages other than en, zh (languages: [] keeps all)"
    if settings.get("layout") == "pictures" or settings.get("caption") == "" or settings["kind"] == "search":
        return f"  clean_text:           {what}\n    min_characters: 0   # 1 leaves out pictures without text"
    if settings.get("captions") or settings["kind"] in _CAPTIONED:
        return f"  clean_text:           {what}\n    min_characters: 1   # captions are short; 0 also keeps empty ones"
    return f"  clean_text: {{}}        {what}"


def recipe_text(name: str, source: SuggestedSource, path: Path) -> str:
    """The recipe of a dataset ``name``, to be written to ``path``: the source, with what was seen there as comments."""
    why = "".join(f"# {line}\n" for line in source.reasons)
    settings: Mapping[str, object] = {"name": name, **source.settings}
    lines = yaml.safe_dump([dict(settings)], sort_keys=False, allow_unicode=True, default_flow_style=False)
    block = "".join(f"  {line}\n" for line in lines.splitlines())
    records = source.records or 0
    stages = _STAGES.replace("{clean_text}", _clean_text(settings))
    shards = 1 << max(2, (records // 5000).bit_length())
    return (
        f"# Build with: diptych build {shlex.quote(str(path))}\n{why}{yaml.safe_dump({'name': name})}\n"
        f"sources:\n{block}\n"
        f"shards: {shards}               # a power of two; `diptych reshard` changes it later\n\n{stages}\n"
        "limits:\n"
        "  max_failed: 0.01      # a larger share of failed rows commits nothing (exit 3)\n"
        "  max_shrink: 0.1       # nor does dropping a larger share of the parent's records\n"
    )
