"""What OCR reads on the sample site's banners against what stands on them, and what it sees where nothing stands.

A handful of both is in test_ocr.py.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from diptych.sample import SampleImage, Site
from diptych.stage import Batch
from diptych.stages.ocr import Ocr

pytestmark = [pytest.mark.ocr, pytest.mark.slow]


def edits(read: str, truth: str) -> int:
    """Least number of inserted, deleted and replaced characters."""
    row = list(range(len(truth) + 1))
    for i, a in enumerate(read, 1):
        above, row[0] = row[0], i
        for j, b in enumerate(truth, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (a != b))
    return row[-1]


def test_edits() -> None:
    assert [edits(*pair) for pair in (("", "ab"), ("ab", ""), ("kitten", "sitting"), ("abc", "abc"))] == [2, 2, 3, 0]


def pictures(documents: int, *, text: bool) -> Iterator[tuple[SampleImage, Counter[str], str]]:
    """Kept pictures with banners (or without): the lines that stand on each, and the document's language."""
    site = Site(documents, seed=11, dirt=False)
    for index in range(documents):
        truth = {image.path: image for image in site.truth(index).images}
        document = site.document(index)
        for image in document.images:
            texts = truth[image.path].texts
            if bool(texts) is text and truth[image.path].photograph is None:
                yield image, Counter(t.text for t in texts), document.language


def read(stage: Ocr, data: list[bytes]) -> list[list[str]]:
    out = stage.process(Batch(tuple(map(str, range(len(data)))), {"images.bytes": data}, stage))
    return [[line["text"] for line in lines] for lines in out.values["lines"]]


def accuracy(stage: Ocr, documents: int, most: int) -> dict[str, tuple[int, float]]:
    """Characters and share of them read right, by language; spaces do not count."""
    site = Site(documents, seed=11, dirt=False)
    chosen: dict[str, list[tuple[SampleImage, str]]] = defaultdict(list)
    for image, lines, language in pictures(documents, text=True):
        if len(chosen[language]) < most:
            chosen[language].append((image, "".join(sorted(lines.elements())).replace(" ", "")))
    found = {}
    for language, items in chosen.items():
        lines = read(stage, [site.image_bytes(image) for image, _ in items])
        pairs = [("".join(sorted(got)).replace(" ", ""), truth) for got, (_, truth) in zip(lines, items, strict=True)]
        total = sum(len(truth) for _, truth in pairs)
        found[language] = total, 1 - sum(edits(*pair) for pair in pairs) / total
    return found


@pytest.fixture(scope="module")
def ocr(sample_weights: None) -> Iterator[Ocr]:
    stage = Ocr()
    stage.setup("cpu")
    yield stage
    stage.close()


def test_many_banners_are_read(ocr: Ocr) -> None:
    found = accuracy(ocr, 160, 40)
    assert set(found) == {"en", "zh"}
    for characters, share in found.values():
        assert characters > 150 and share >= 0.97, found


def test_many_pictures_without_text_have_no_lines(ocr: Ocr) -> None:
    site = Site(80, seed=11, dirt=False)
    bare = [image for image, _, _ in pictures(80, text=False)][:100]
    found = [lines for lines in read(ocr, [site.image_bytes(image) for image in bare]) if lines]
    assert len(bare) > 90 and not found, found
