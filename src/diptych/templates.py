"""The commented recipe that ``diptych init`` writes: it builds unedited."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from diptych.sources.base import SuggestedSource

__all__ = ["recipe_text"]

_STAGES = """\
stages:                 # what is computed; remove what you do not need, settings stand in schemas/ and the docs
  clean:                # per image: undecodable, animated, thumbnail, aspect ratio, near-uniform
    min_side: 64
  clean_text: {}        # per document: empty or too short text, language
  clean_documents: {}   # per document: texts that say nearly the same as another
  clean_pairs: {}       # per use of an image: advertisements, duplicates, pictures that recur everywhere
  sentences: {}         # sentences and tokens with their places in the text; hashtags, mentions, British spelling
  # backbone: {}        # image features; `diptych weights pull sample` brings EfficientNet-Lite0
  # ocr: {}             # text in images; needs pip install 'diptych[ocr]' and `diptych weights pull sample`

fits:
  splits: {}            # train, dev, test: near-duplicate documents stay together, a record keeps its split
  word_counts: {}
"""


def recipe_text(name: str, source: SuggestedSource) -> str:
    """The recipe of a dataset ``name`` from the source that was found, with what was seen there as comments."""
    why = "".join(f"# {line}\n" for line in source.reasons)
    settings: Mapping[str, object] = {"name": name, **source.settings}
    lines = yaml.safe_dump([dict(settings)], sort_keys=False, allow_unicode=True, default_flow_style=False)
    block = "".join(f"  {line}\n" for line in lines.splitlines())
    records = source.records or 0
    shards = 1 << max(2, (records // 5000).bit_length())
    return (
        f"# Build with: diptych build {name}.yaml\n{why}name: {name}\n\n"
        f"sources:\n{block}\n"
        f"shards: {shards}               # a power of two; `diptych reshard` changes it later\n\n{_STAGES}\n"
        "limits:\n"
        "  max_failed: 0.01      # a larger share of failed rows commits nothing (exit 3)\n"
        "  max_shrink: 0.1       # nor does dropping a larger share of the parent's records\n"
    )
