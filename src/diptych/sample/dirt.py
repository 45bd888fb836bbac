"""The dirt of a page: pictures a cleaner has to reject, each with its reason, and valid ones in odd formats or slow
in coming.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from diptych.sample.document import Judgement, SampleImage
from diptych.sample.picture import EXTENSIONS, FilePlan, Picture
from diptych.sample.schedule import Assignment
from diptych.sample.seeding import rng, token
from diptych.sample.story import Facts

AD_SIZES = ((728, 90), (300, 250), (468, 60), (300, 250))
LOGO = SampleImage(
    "/static/logo.png", "logo", FilePlan(Picture("logo", ("logo",), 180, 44), "png"), keep=False, reason="thumbnail",
    also=("recurring", "aspect_ratio", "exact_duplicate"), place="header", markup="alt",
)  # fmt: skip
NEWSLETTER = SampleImage(
    "/static/newsletter.jpg", "recurring", FilePlan(Picture("newsletter", ("newsletter",), 400, 260)), keep=False,
    reason="recurring",
    also=("exact_duplicate",), markup="figure",
)  # fmt: skip


def advert(campaign: int) -> SampleImage:
    """Return one of the site's four advertisements; the same file stands on many unrelated pages."""
    width, height = AD_SIZES[campaign % 4]
    plan = FilePlan(Picture("advertisement", ("advertisement", campaign), width, height))
    path = f"/ads/campaign-{campaign}-{width}x{height}.jpg"
    return SampleImage(
        path,
        "advertisement",
        plan,
        keep=False,
        reason="advertisement",
        also=("recurring", "aspect_ratio", "thumbnail"),
        place="aside",
        markup="alt",
    )


def _path(seed: int, index: int, number: int, extension: str) -> str:
    return f"/media/{index:04d}/{number}-{token(seed, index, 'dirt', number)}.{extension}"


def dirty_images(
    seed: int, index: int, fact: Facts, images: tuple[SampleImage, ...], given: Assignment
) -> tuple[SampleImage, ...]:
    """Return the page's pictures with what the schedule adds; valid pictures keep their numbers."""
    draw = rng(seed, index, "dirt")
    found = list(images)
    if given.accepted is not None and found:
        _odd(found, given.accepted)
    for kind in given.rejected:
        if found:
            found.append(_rejected(seed, index, len(found), kind, found, draw))
    if given.newsletter:
        found.append(NEWSLETTER)
    if given.advert is not None:
        found.append(advert(given.advert))
    return (LOGO, *found)


def _odd(images: list[SampleImage], kind: str) -> None:
    """Give one valid picture an odd format or a slow delivery; formats without colour go to the least important
    picture.
    """
    order = [
        number
        for number, image in enumerate(images)
        if image.scene is not None and image.scene.objects and not image.shared_with
    ]
    if not order:
        return
    order.sort(key=lambda number: images[number].role == "best")
    chosen = order[0]
    image = images[chosen]
    if kind in ("flaky", "slow"):
        images[chosen] = replace(image, delivery=kind)
    elif kind == "redirect":
        images[chosen] = replace(image, delivery=kind, path=image.path.replace("/media/", "/go/media/"))
    else:
        encoding = "jpeg" if kind == "wrong_extension" else kind
        path = image.path.rsplit(".", 1)[0] + "." + EXTENSIONS[kind]
        visible = kind not in ("png16", "grey")
        judgement = (
            image.judgement
            if visible
            else replace(image.judgement, sc=None if image.judgement.relevance == "explicit" else image.judgement.sc)
        )
        images[chosen] = replace(
            image, path=path, plan=replace(image.plan, encoding=encoding), judgement=judgement, colours_visible=visible
        )


def _rejected(seed: int, index: int, number: int, kind: str, images: list[SampleImage], draw: Random) -> SampleImage:
    """Return one picture that a cleaner rejects."""
    valid = [image for image in images if image.keep and not image.shared_with and image.delivery == "ok"] or [
        images[0]
    ]
    original = valid[draw.randrange(len(valid))]
    plain = replace(original.plan, encoding="jpeg")

    def made(
        plan: FilePlan, reason: str, *also: str, delivery: str = "ok", extension: str = "jpg", copy: bool = False
    ) -> SampleImage:
        return SampleImage(
            _path(seed, index, number, extension), kind, plan, keep=False, reason=reason, also=also, delivery=delivery,
            markup=draw.choice(("figure", "alt", "lazy")), copy_of=original.path if copy else None,
            judgement=Judgement(),
        )  # fmt: skip

    fresh = ("dirt", index, number)
    if kind == "animated":
        return made(FilePlan(Picture("animation", fresh, 320, 240), "animated"), "animated", extension="gif")
    if kind == "thumbnail":
        return made(replace(plain, change="thumbnail"), "thumbnail", "near_duplicate", copy=True)
    if kind in ("advertisement_path", "advertisement_size"):
        campaign = draw.randrange(6)
        width, height = ((300, 250), (728, 90))[draw.randrange(2)] if kind == "advertisement_size" else (360, 240)
        image = made(
            FilePlan(Picture("advertisement", (*fresh, campaign), width, height)),
            "advertisement",
            "aspect_ratio",
            "recurring",
        )
        return replace(image, path=image.path.replace("/media/", "/ads/")) if kind == "advertisement_path" else image
    if kind == "exact_duplicate":
        return made(original.plan, "exact_duplicate", extension=EXTENSIONS[original.plan.encoding], copy=True)
    if kind in ("recompressed", "resized", "crop_small", "crop_large"):
        return made(replace(plain, change=kind), "near_duplicate", copy=True)
    if kind == "uniform":
        return made(FilePlan(Picture("placeholder", fresh, 400, 300)), "uniform", "recurring")
    if kind == "aspect_ratio":
        return made(FilePlan(Picture("strip", fresh, 480, 60)), "aspect_ratio", "advertisement", "thumbnail")
    if kind in ("truncated", "corrupt"):
        return made(replace(plain, encoding=kind, change=None), "undecodable")
    if kind == "not_an_image":
        return made(FilePlan(Picture("placeholder", fresh, 1, 1), "html"), "not_an_image", "undecodable")
    also = ("near_duplicate",) if kind == "timeout" else ()
    image = made(replace(plain, change="recompressed"), kind, *also, delivery=kind)
    if kind == "robots":
        return replace(image, path="/private" + image.path)
    return replace(image, path=image.path.replace("/media/", "/loop/")) if kind == "redirect_loop" else image
