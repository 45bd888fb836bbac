"""Putting a document together: facts, article, scenes, photographs, dirt. Nothing is drawn here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import Random

from diptych.sample import captions, chinese, english, photographs
from diptych.sample.article import Article, Keyphrase, Sentence
from diptych.sample.dirt import dirty_images
from diptych.sample.document import Judgement, PageStyle, SampleDocument, SampleImage
from diptych.sample.judging import judge
from diptych.sample.picture import EXTENSIONS, FilePlan, Picture
from diptych.sample.scene import Scene
from diptych.sample.scenes import Drawn, cast, choose_roles, compose
from diptych.sample.schedule import Assignment, assignment, empty_page, page_style
from diptych.sample.seeding import rng, token
from diptych.sample.story import ENGLISH, Facts, facts

EPOCH = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
_MARKUP = ("figure", "figure", "figure", "alt", "srcset", "lazy")


@dataclass(frozen=True)
class Layout:
    """What a site decides for all its documents."""

    seed: int
    images_per_document: tuple[int, int]
    dirt: bool


def media_path(seed: int, index: int, number: int, encoding: str) -> str:
    """Return the URL path of a document's picture; the extension is the one the URL claims."""
    return f"/media/{index:04d}/{number}-{token(seed, index, 'media', number)}.{EXTENSIONS[encoding]}"


def write_article(seed: int, fact: Facts) -> Article:
    """Return the article in the document's language."""
    return chinese.write(seed, fact) if fact.language == "zh" else english.write(seed, fact)


def page_path(fact: Facts) -> str:
    """Return the URL path of a document; edits never change it."""
    return f"/news/{fact.language}/{fact.index:04d}-{fact.topic}-{fact.subject.name}-{fact.landmark.name}.html"


def published(index: int) -> str:
    """Return the time of publication, a fixed function of the index (ISO 8601)."""
    return (EPOCH + timedelta(minutes=137 * index)).isoformat()


def photograph_of(layout: Layout, index: int) -> FilePlan | None:
    """Return the document's photograph, a window that no other document has; None for most documents."""
    if index % photographs.EVERY != photographs.EVERY - 1 or empty_page(index):
        return None
    slot = index // photographs.EVERY
    part = photographs.window(layout.seed, slot)
    if part is None or not photographs.usable(part.photograph, part.left, part.top, part.side):
        return None
    width, height = photographs.published_size(layout.seed, slot, part)
    return FilePlan(Picture("photograph", (index, "photograph"), width, height, window=part), quality=86)


@lru_cache(maxsize=64)
def plain_images(layout: Layout, index: int) -> tuple[SampleImage, ...]:
    """Return the valid pictures of a document, before any dirt and before changes of the site."""
    fact = facts(layout.seed, index)
    article = write_article(layout.seed, fact)
    draw = rng(layout.seed, index, "images")
    count = draw.randint(*layout.images_per_document)
    if layout.dirt and empty_page(index):
        return ()
    photograph = photograph_of(layout, index) if layout.images_per_document[1] > 1 else None
    if photograph is not None and count == layout.images_per_document[1] and count > 1:
        count -= 1
    roles = choose_roles(draw, count)
    misled = draw.random() < 0.1 and "rival_pair" in roles
    everyone = cast(draw, fact, article)
    images = []
    for number, role in enumerate(roles):
        chance = rng(layout.seed, index, "scene", number)
        drawn = compose(chance, fact, article, role, everyone)
        plan = FilePlan(_picture(index, number, drawn.scene), quality=chance.choice((84, 86, 88, 90, 92)))
        style = _caption_style(chance, role, misled)
        image = SampleImage(media_path(layout.seed, index, number, "jpeg"), role, plan, markup=chance.choice(_MARKUP))
        images.append(_told(chance, image, fact, article, drawn, style))
    if photograph is not None:
        path = media_path(layout.seed, index, len(images), "jpeg")
        sentence = caption_of(draw, fact, article, None, "generic")
        images.append(
            SampleImage(path, "photograph", photograph, caption=sentence, caption_style="generic", markup="figure")
        )
    return tuple(images)


def _picture(index: int, number: int, scene: Scene) -> Picture:
    return Picture("scene", (index, "scene", number), scene.width, scene.height, scene=scene)


def _caption_style(draw: Random, role: str, misled: bool) -> str:
    if role == "best":
        return "generic" if misled else draw.choices(("event", "objects", "generic"), (80, 8, 12))[0]
    if role == "rival_pair":
        return "event" if misled else draw.choices(("rest", "generic"), (4, 6))[0]
    if role in ("implied", "poster"):
        return "generic"
    return draw.choices(("rest" if role == "rival_apart" else "objects", "generic"), (5, 5))[0]


def caption_of(draw: Random, fact: Facts, article: Article, drawn: Drawn | None, style: str) -> Sentence:
    """Return a caption in the document's language; `rest` lists what is shown beside subject and landmark."""
    told = captions.groups(drawn.scene) if drawn else []
    if style == "event" and drawn:
        told = [(fact.subject, (drawn.event[0],)), (fact.landmark, (drawn.event[1],))]
    elif style == "rest" and drawn:
        told = [group for group in told if not set(group[1]) & set(drawn.event[:2])]
        style = "objects"
    else:
        draw.shuffle(told)
    if fact.language == "zh":
        return Sentence(chinese.caption(draw, article, [mention for mention, _ in told], fact.relation, style))
    places = ENGLISH[fact.topic].places
    return captions.caption(draw, article, told, fact.relation, style, places[fact.place % len(places)])


def _told(draw: Random, image: SampleImage, fact: Facts, article: Article, drawn: Drawn, style: str) -> SampleImage:
    return replace(
        image,
        caption=caption_of(draw, fact, article, drawn, style),
        caption_style=style,
        judgement=judge(drawn.scene, article.named, fact.topic),
        descriptions=captions.descriptions(draw, drawn.scene),
    )


def plan(layout: Layout, index: int) -> SampleDocument:
    """Return a document as the unchanged site has it."""
    fact = facts(layout.seed, index)
    article = write_article(layout.seed, fact)
    images = plain_images(layout, index)
    style, group = PageStyle(), index
    if not images:
        article = replace(article, keyphrases=_told_by_text(article))
    if layout.dirt:
        given = assignment(layout.seed, index)
        style = page_style(layout.seed, index)
        images, group = _shared(layout, fact, article, images, given)
        images = dirty_images(layout.seed, index, fact, images, given)
    return SampleDocument(index, page_path(fact), fact, article, images, style, published(index), group=group)


def _told_by_text(article: Article) -> tuple[Keyphrase, ...]:
    """Return the keyphrases of a page without pictures: what only pictures tell is lost there."""
    return tuple(item for item in article.keyphrases if item.where == "text") or (Keyphrase(article.place, "text"),)


def _shared(
    layout: Layout, fact: Facts, article: Article, images: tuple[SampleImage, ...], given: Assignment
) -> tuple[tuple[SampleImage, ...], int]:
    """Add the picture that the document shares with an earlier one; the group is the earlier document's number."""
    share = given.share
    if share is None or not images:
        return images, fact.index
    source = plain_images(layout, share.source)
    wanted = [image for image in source if (image.role == "photograph") == share.photograph] or list(source)
    if not wanted:
        return images, fact.index
    original = next((image for image in wanted if image.role == "best"), wanted[0])
    picture = original.plan.picture
    if picture.scene is not None and picture.scene.banner is not None:  # its line is no keyphrase of this document
        picture = replace(picture, scene=replace(picture.scene, banner=replace(picture.scene.banner, keyphrase=False)))
    plan = replace(original.plan, picture=picture, change=share.change)
    path = media_path(layout.seed, fact.index, len(images), "jpeg")
    judgement = judge(original.scene, article.named, fact.topic) if original.scene else Judgement()
    sentence = caption_of(rng(layout.seed, fact.index, "shared"), fact, article, None, "generic")
    shared = SampleImage(
        path,
        "shared",
        plan,
        caption=sentence,
        caption_style="generic",
        judgement=judgement,
        shared_with=(share.source, original.path),
    )
    return (*images, shared), share.source
