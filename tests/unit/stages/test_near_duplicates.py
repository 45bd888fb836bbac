"""Index, confirmation and groups: what is found, what is kept apart, and that order never matters."""

from __future__ import annotations

import io
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from diptych.fits.components import Components
from diptych.fits.hash_index import near_pairs
from diptych.fits.near_duplicates import NearDuplicates, NearDuplicatesConfig
from diptych.naming import digest_bytes, pair_key, record_id, shard_of
from diptych.stages.perceptual import phash, thumbnail, window_hashes

Row = tuple[str, dict[str, Any]]
FACTS = ("phash", "window_hashes", "width", "height", "bytes", "thumbnail")


def textured(seed: int, width: int = 360, height: int = 270) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (14, 18, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )


def landscape(seed: int) -> Image.Image:
    """Mostly large shapes, as photographs have them."""
    rng = np.random.default_rng(seed)
    large = Image.fromarray(rng.integers(0, 255, (5, 6, 3), np.uint8)).resize((360, 270), Image.Resampling.BICUBIC)
    return Image.blend(large, textured(seed), 0.25)


def recompressed(image: Image.Image, quality: int = 40) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(out).convert("RGB")


def cropped(image: Image.Image, share: float) -> Image.Image:
    w, h = image.size
    return image.crop((int(w * share), int(h * share), int(w * (1 - share)), int(h * (1 - share))))


def key_of(image: Image.Image) -> str:
    return digest_bytes(image.tobytes())


def row(document: str, image: Image.Image, occurrence: int = 1, size: int = 1000) -> Row:
    facts = {"phash": phash(image), "width": image.width, "height": image.height, "thumbnail": thumbnail(image)}
    facts |= {"window_hashes": window_hashes(image), "bytes": size}
    return pair_key(record_id("s", document), key_of(image), occurrence), facts


def fit(rows: list[Row], shards: int = 1, **config: Any) -> pa.Table:
    stage = NearDuplicates(NearDuplicatesConfig(**config))
    partials = []
    for shard in range(shards):
        mine = [r for r in rows if shard_of(r[0][:32], shards) == shard]
        columns = {f"clean.{n}": [r[1][n] for r in mine] for n in FACTS}
        partials.append(stage.partial([r[0] for r in mine], columns))
    result = stage.merge(partials, None)
    assert result.schema.equals(stage.outputs) and result["key"].to_pylist() == sorted({r[0] for r in rows})
    return result


def groups(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["key"].to_pylist(), table["group"].to_pylist(), strict=True))


@pytest.mark.parametrize("distance", [0, 3, 8])
def test_the_index_finds_what_comparing_all_finds(distance: int) -> None:
    rng = np.random.default_rng(distance)
    base = rng.integers(0, 2**64, 1500, dtype=np.uint64)
    flips = np.zeros(700, np.uint64)
    for n in range(700):
        for bit in rng.choice(64, rng.integers(0, 11), replace=False):
            flips[n] ^= np.uint64(1) << np.uint64(bit)
    hashes = np.unique(np.concatenate([base, base[:700] ^ flips]))
    expected = near_pairs(hashes, distance, brute_below=1 << 60)
    for mine, theirs in zip(near_pairs(hashes, distance, brute_below=0), expected, strict=True):
        assert np.array_equal(mine, theirs)
    assert len(expected[0]) == 0 if distance == 0 else len(expected[0]) > 100


def test_the_cost_is_near_linear() -> None:
    import time

    rng = np.random.default_rng(0)
    took = []
    for n in (20_000, 160_000):
        hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
        start = time.process_time()
        near_pairs(hashes, 8)
        took.append(time.process_time() - start)
    assert took[1] < 24 * max(took[0], 0.05)  # comparing all would cost 64 times as much


def test_recompression_resizing_and_small_crops_are_found_and_other_pictures_kept() -> None:
    rows, expected = [], 0
    for seed in range(25):
        image = textured(seed)
        for n, change in enumerate((image, recompressed(image), image.resize((180, 135)), cropped(image, 0.01))):
            rows.append(row(f"{seed}-{n}", change))
            expected += 1
    found = groups(fit(rows))
    by_seed = [{found[r[0]] for r in rows[4 * seed : 4 * seed + 4]} for seed in range(25)]
    assert sum(len(g) == 1 for g in by_seed) >= 24
    assert len(set().union(*by_seed)) == sum(map(len, by_seed))  # no group spans two pictures


def test_a_copy_without_colour_is_found_and_another_grey_picture_kept() -> None:
    for make in (textured, landscape):
        image, other = make(7), make(8).convert("L").convert("RGB")
        table = fit([row("a", image), row("b", image.convert("L").convert("RGB")), row("c", other)])
        names = list(groups(table).values())
        assert len(set(names)) == 2, make.__name__


def test_equal_hashes_of_different_pictures_are_kept_apart() -> None:
    a, b = textured(1), textured(2)
    one, two = row("a", a), row("b", b)
    two[1]["phash"] = one[1]["phash"]
    assert len(set(groups(fit([one, two])).values())) == 2
    recoloured = Image.merge("RGB", (a.getchannel(2), a.getchannel(1), a.getchannel(0)))
    three = row("c", recoloured)
    three[1]["phash"] = one[1]["phash"]
    assert len(set(groups(fit([one, three])).values())) == 2


def test_a_crowd_on_one_hash_stays_cheap_and_grouped() -> None:
    image = Image.new("RGB", (100, 80), (90, 90, 90))
    rows = []
    for n in range(300):
        copy = image.copy()
        copy.putpixel((n % 100, n // 100), (80, 80, 80))
        rows.append(row(f"d{n}", copy))
    for r in rows:
        r[1]["phash"] = "8000000000000000"
    assert len(set(groups(fit(rows)).values())) == 1


def test_the_larger_picture_of_a_document_is_preferred() -> None:
    image = textured(3)
    small = image.resize((180, 135))
    alone = textured(4)
    rows = [row("d", small), row("d", image), row("d", alone), row("d", small, 2), row("e", small)]
    found = {r["key"]: r for r in fit(rows).to_pylist()}
    assert found[rows[0][0]]["duplicate_of"] == key_of(image) and found[rows[0][0]]["distance"] <= 8
    assert found[rows[3][0]]["duplicate_of"] == key_of(image)
    for n in (1, 2, 4):
        assert found[rows[n][0]]["duplicate_of"] is None and found[rows[n][0]]["distance"] is None
    assert found[rows[4][0]]["group"] == found[rows[0][0]]["group"] == min(key_of(image), key_of(small))


def test_equal_areas_prefer_the_smaller_key() -> None:
    a = textured(5)
    b = recompressed(a, 90)
    better = min(key_of(a), key_of(b))
    found = fit([row("d", a), row("d", b)]).to_pylist()
    assert [r["duplicate_of"] for r in found] == [None if r["key"].endswith(better) else better for r in found]


@pytest.mark.parametrize(("documents", "recurs"), [(5, False), (6, True)])
def test_recurring(documents: int, recurs: bool) -> None:
    logo = textured(6)
    rows = [row(f"d{n}", logo if n % 2 else recompressed(logo)) for n in range(documents)] + [row("d0", logo, 2)]
    assert set(fit(rows)["recurring"].to_pylist()) == {recurs}


def test_order_and_shards_do_not_matter() -> None:
    rows = [row(f"d{n % 7}", recompressed(textured(n // 3), 30 + 20 * (n % 3))) for n in range(30)]
    rows = list({r[0]: r for r in rows}.values())
    reference = fit(rows)
    for seed in range(3):
        shuffled = random.Random(seed).sample(rows, len(rows))
        for shards in (1, 2, 8):
            assert fit(shuffled, shards).equals(reference)


def test_nothing_is_a_result_too() -> None:
    assert fit([], 2).num_rows == 0


def test_components() -> None:
    found: Components[str] = Components(["c", "b", "a", "d"])
    found.join("c", "b")
    found.join("b", "a")
    assert found.groups() == {"a": ["a", "b", "c"], "d": ["d"]} and found.find("c") == "a"


def test_copies_that_lost_up_to_a_tenth_a_side_are_found() -> None:
    rng = np.random.default_rng(3)
    rows, pairs = [], []
    for seed in range(30):
        image = landscape(seed)
        w, h = image.size
        left, top, right, bottom = rng.uniform(0.05, 0.1, 4)
        cut = image.crop((int(w * left), int(h * top), int(w * (1 - right)), int(h * (1 - bottom))))
        rows += [row(f"{seed}-whole", image), row(f"{seed}-cut", recompressed(cut, 70))]
        pairs.append((rows[-2][0], rows[-1][0]))
    found = groups(fit(rows))
    assert sum(found[a] == found[b] for a, b in pairs) >= 25
    assert all(found[a] != found[c] for n, (a, _) in enumerate(pairs) for c, _ in pairs[:n])
    without = groups(fit(rows, crops=False))
    assert sum(without[a] == without[b] for a, b in pairs) < 10


def test_more_bytes_are_preferred_among_equal_areas() -> None:
    a = textured(5)
    b = recompressed(a, 90)
    for sizes, better in (((2000, 1000), a), ((1000, 2000), b)):
        found = fit([row("d", a, size=sizes[0]), row("d", b, size=sizes[1])]).to_pylist()
        assert [r["duplicate_of"] for r in found if not r["key"].endswith(key_of(better))] == [key_of(better)]
