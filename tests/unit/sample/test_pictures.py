"""The pictures of the sample site: truth boxes, colours, banners, formats and perceptual hashes."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from PIL import Image, ImageOps

from diptych.sample import Site
from diptych.sample.drawing import draw_object
from diptych.sample.lexicon import CLASSES, COLOURS, TOPICS
from diptych.sample.picture import EXTENSIONS
from diptych.sample.planning import photograph_of

SITE = Site(132, seed=0)


def decode(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "RGBA":
        ground = Image.new("RGB", image.size, "white")
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("RGB")


@pytest.fixture(scope="module")
def kept():
    """Every valid picture of the first documents: (truth, decoded picture)."""
    found = []
    for document in SITE.iterate():
        truth = SITE.truth(document.index)
        for image, said in zip(document.images, truth.images, strict=True):
            if said.keep:
                found.append((said, decode(SITE.image_bytes(image)), document.index))
    return found


def test_kept_pictures_decode_to_the_size_the_truth_says(kept):
    assert len(kept) > 300
    for said, picture, _ in kept:
        assert picture.size == (said.width, said.height), said.path
        assert max(picture.size) <= 480
        assert min(picture.size) >= 200


def test_boxes_lie_inside_and_show_the_colour(kept):
    checked = 0
    for said, picture, _ in kept:
        pixels = np.asarray(picture, dtype=np.int32)
        for item in said.objects:
            x0, y0, x1, y1 = item.box
            assert 0 <= x0 < x1 <= said.width and 0 <= y0 < y1 <= said.height
            if not said.colours_visible or item.visible < 0.9:
                continue
            part = pixels[y0:y1:2, x0:x1:2].reshape(-1, 3)
            names = list(COLOURS)
            distance = ((part[:, None] - np.array([COLOURS[name] for name in names])) ** 2).sum(axis=2)
            near = np.array(names)[distance.argmin(axis=1)]
            share = ((near == item.colour) & (distance.min(axis=1) < 5000)).mean()
            assert share > 0.06, (said.path, item, share)
            checked += 1
    assert checked > 500


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_drawings_fill_their_boxes(name):
    kind = CLASSES[name]
    for height in (60, 110):
        width = round(height * kind.aspect)
        for variant in range(3):
            alpha = draw_object(name, kind.colours[0], width, height, variant, False).getchannel("A")
            left, top, right, bottom = Image.fromarray((np.asarray(alpha) > 40).astype(np.uint8)).getbbox() or (
                0,
                0,
                0,
                0,
            )
            assert left <= 1 and top <= 1 and right >= width - 1 and bottom >= height - 1


def test_banners_are_readable_and_lie_where_the_truth_says(kept):
    languages = set()
    for said, picture, _ in kept:
        for text in said.texts:
            languages.add(text.language)
            assert text.size >= 15 if said.change == "resized" else text.size >= 18
            x0, y0, x1, y1 = text.box
            assert 0 <= x0 < x1 <= said.width and 0 <= y0 < y1 <= said.height
            grey = np.asarray(picture.convert("L"), dtype=np.int32)
            inside = grey[y0:y1, x0:x1]
            assert inside.max() - inside.min() > 120, text
            for side in (grey[y0:y1, x0 - 3 : x0 - 1], grey[y0 - 3 : y0 - 1, x0:x1]):
                assert side.max() - side.min() < 60, (said.path, text)
    assert languages == {"en", "zh"}


def test_every_valid_format_occurs_and_only_formats_that_are_known(kept):
    encodings = {said.encoding for said, _, _ in kept}
    assert {"jpeg", "png", "webp", "cmyk", "png16", "palette", "exif", "grey", "alpha"} <= encodings <= set(EXTENSIONS)
    assert any(said.path.endswith(".png") and said.encoding == "jpeg" for said, _, _ in kept), "wrong extension"


def test_perceptual_hashes_differ_but_for_declared_duplicates(kept):
    hashes = []
    for _, picture, _ in kept:
        grey = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.LANCZOS), dtype=np.int32)
        hashes.append((grey[:, 1:] > grey[:, :-1]).ravel())
    table = np.array(hashes)
    distance = (table[:, None] != table[None]).sum(axis=2)
    paths = [said.path for said, _, _ in kept]
    declared = {frozenset((said.path, said.shared_with)) for said, _, _ in kept if said.shared_with}
    for first, second in zip(*np.where(np.triu(distance <= 4, k=1)), strict=True):
        assert frozenset((paths[first], paths[second])) in declared


def test_near_duplicates_look_like_their_originals():
    for document in SITE.iterate(0, 24):
        for image in document.images:
            if image.reason == "near_duplicate" and image.plan.change in ("recompressed", "resized"):
                original = next(other for other in document.images if other.path == image.copy_of)
                if not original.colours_visible:
                    continue
                copy = decode(SITE.image_bytes(image)).convert("RGB")
                source = decode(SITE.image_bytes(original)).resize(copy.size)
                assert np.abs(np.asarray(copy, dtype=float) - np.asarray(source, dtype=float)).mean() < 8


def test_a_photograph_is_a_window_of_its_own():
    layout = Site(600).layout
    seen = set()
    for index in range(600):
        plan = photograph_of(layout, index)
        if plan is None:
            continue
        part = plan.picture.window
        assert part is not None and part.side**2 <= 0.4
        place = (part.photograph, part.left, part.top, part.side, part.mirrored)
        assert place not in seen
        seen.add(place)
    assert len(seen) > 60
    for document in Site(60).iterate():
        assert sum(image.role == "photograph" for image in document.images) <= 1


def test_the_pair_of_the_summary_overlaps_in_the_best_picture_only():
    checked = 0
    for document in Site(300, seed=2).iterate():
        for image in document.images:
            if image.role not in ("best", "rival_pair") or image.shared_with or not image.scene:
                continue
            objects = image.scene.objects
            truth = next(said for said in Site(300, seed=2).truth(document.index).images if said.path == image.path)
            subject, landmark = document.facts.subject, document.facts.landmark
            pairs = {
                frozenset((objects[edge.subject].name, objects[edge.object].name))
                for edge in truth.relations
                if edge.predicate == "overlaps"
            }
            assert pairs, "best pictures and rivals have exactly one overlapping pair"
            assert (frozenset((subject.name, landmark.name)) in pairs) == (image.role == "best")
            checked += 1
        if checked > 150:
            break


def test_relevance_classes_follow_from_what_is_named_and_shown():
    rng = random.Random(1)
    classes = set()
    for index in rng.sample(range(600), 120):
        truth = Site(600).truth(index)
        named = {mention.name for mention in truth.named}
        for image in truth.images:
            shown = {item.name for item in image.objects}
            if image.relevance == "explicit":
                assert shown & named and image.cmi in (0.25, 0.5, 0.75, 1.0)
            elif image.relevance == "implicit":
                assert not shown & named and shown & set(TOPICS[truth.topic].implied)
            elif image.relevance == "irrelevant":
                assert not shown & (named | set(TOPICS[truth.topic].implied)) and image.cmi == image.sc == 0
            classes.add(image.relevance)
    assert classes == {"explicit", "implicit", "irrelevant", None}
