"""Which scenes an article gets: the best one, rivals that differ in one respect, and pictures that tell other
things.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from diptych.sample import banners
from diptych.sample.article import Article
from diptych.sample.chinese import SHOPS as CHINESE_SHOPS
from diptych.sample.chinese import event_name as chinese_event
from diptych.sample.english import event_name as english_event
from diptych.sample.layout import Thing, arrange
from diptych.sample.lexicon import CLASSES, TOPICS
from diptych.sample.scene import Scene
from diptych.sample.story import Facts, Mention
from diptych.sample.wordings import SHOPS

ROLES = ("rival_pair", "rival_apart", "rival_colour", "partial", "implied", "irrelevant", "poster")
_FILL = ("rival_colour", "partial", "implied", "irrelevant", "poster")
_FILL_WEIGHTS = (5, 1, 8, 5, 1)
_RIVALS = ("rival_pair", "rival_apart", "rival_colour")
_RIVAL_WEIGHTS = (78, 10, 12)
_MOST = 7


@dataclass(frozen=True)
class Drawn:
    """A scene with its role and where its subject and landmark stand (indices into its objects)."""

    role: str
    scene: Scene
    event: tuple[int, ...] = ()


def choose_roles(draw: random.Random, count: int) -> list[str]:
    """Return the roles of a document's scenes: one best, mostly a rival, then anything."""
    if count <= 0:
        return []
    roles = ["best"]
    if draw.random() < (0.88 if count > 2 else 0.55 if count == 2 else 0):
        roles.append(draw.choices(_RIVALS, _RIVAL_WEIGHTS)[0])
    while len(roles) < count:
        roles.append(draw.choices(_FILL, _FILL_WEIGHTS)[0])
    draw.shuffle(roles)
    return roles


def _of(mention: Mention) -> list[Thing]:
    return [mention.thing] * mention.count


def _neutral(draw: random.Random, fact: Facts, article: Article) -> str:
    """Return a class that the article neither names nor implies."""
    known = (
        {mention.name for mention in article.named} | set(TOPICS[fact.topic].implied) | set(TOPICS[fact.topic].named)
    )
    return draw.choice([name for name in CLASSES if name not in known])


def _paint(draw: random.Random, name: str, other_than: str = "") -> Thing:
    return Thing(name, draw.choice([colour for colour in CLASSES[name].colours if colour != other_than]))


def cast(draw: random.Random, fact: Facts, article: Article) -> list[Thing]:
    """Return what the best scene and its rivals all show: subject, landmark, bystanders, the unnamed thing and
    perhaps an extra.
    """
    things = [*_of(fact.subject), *_of(fact.landmark), *_of(fact.bystander)]
    if fact.unseen is not None:
        things.append(fact.unseen.thing)
    for _ in range(draw.choice((0, 0, 1, 2))):
        if len(things) < _MOST:
            things.append(_paint(draw, _neutral(draw, fact, article)))
    return things


def _ordered(draw: random.Random, relation: str, subject: int, landmark: int) -> tuple[int, int]:
    """Return (rear, front) for a relation; beside and next to leave it open."""
    in_front = relation == "in_front_of" or (relation not in ("in_front_of", "behind") and draw.random() < 0.5)
    return (landmark, subject) if in_front else (subject, landmark)


def _recoloured(draw: random.Random, fact: Facts, things: list[Thing]) -> list[Thing]:
    """Return the cast with one, two or three of the named things in a colour that contradicts the words."""
    wrong = set(draw.sample((0, 1, 2), draw.choices((1, 2, 3), (3, 4, 3))[0]))
    last = 2 + fact.bystander.count
    return [
        _paint(draw, thing.name, thing.colour) if index < last and min(index, 2) in wrong else thing
        for index, thing in enumerate(things)
    ]


def _partial(draw: random.Random, fact: Facts, article: Article) -> list[Thing]:
    told = draw.sample([fact.subject, fact.landmark, fact.bystander], draw.choice((1, 1, 2)))
    things = [thing for mention in told for thing in _of(mention)]
    if draw.random() < 0.4:
        things = [_paint(draw, thing.name, thing.colour) if index == 0 else thing for index, thing in enumerate(things)]
    for _ in range(draw.randint(0, 3)):
        things.append(_paint(draw, _neutral(draw, fact, article)))
    return things[:_MOST]


def compose(draw: random.Random, fact: Facts, article: Article, role: str, shared_cast: list[Thing]) -> Drawn:
    """Return the scene of one role."""
    pair: tuple[int, int] | None = None
    things = list(shared_cast)
    strip = (
        role == "poster" or (role == "best" and fact.event is not None) or draw.random() < (0.55 if fact.event else 0.3)
    )
    if role == "poster":
        scene, _, space = arrange(draw, [], None, strip=True)
        return Drawn(role, _with_banner(draw, fact, scene, space, keyphrase=False))
    if role == "best":
        pair = _ordered(draw, fact.relation, 0, 1)
    elif role == "rival_pair":
        pair = _ordered(draw, fact.relation, *draw.choice(((0, 2), (1, 2))))
    elif role == "rival_colour":
        things = _recoloured(draw, fact, things)
        pair = _ordered(draw, fact.relation, 0, 1) if draw.random() < 0.5 else None
    elif role == "partial":
        things = _partial(draw, fact, article)
        pair = (0, 1) if len(things) > 1 and draw.random() < 0.4 and _can_overlap(things[:2]) else None
    elif role == "implied":
        things = [_paint(draw, draw.choice(TOPICS[fact.topic].implied)) for _ in range(draw.randint(2, 4))]
    elif role == "irrelevant":
        things = [_paint(draw, _neutral(draw, fact, article)) for _ in range(draw.randint(2, 5))]
        pair = (0, 1) if draw.random() < 0.4 and _can_overlap(things[:2]) else None
    scene, places, space = arrange(draw, things, pair, strip=strip)
    if space is not None:
        scene = _with_banner(draw, fact, scene, space, keyphrase=role == "best")
    event = tuple(places[:3]) if role in ("best", "rival_pair", "rival_apart", "rival_colour") else ()
    return Drawn(role, scene, event)


def _can_overlap(things: list[Thing]) -> bool:
    ratio = [CLASSES[thing.name].aspect for thing in things]
    return min(ratio) >= 0.75


def _with_banner(
    draw: random.Random, fact: Facts, scene: Scene, space: tuple[int, int, int, int] | None, *, keyphrase: bool
) -> Scene:
    assert space is not None
    name = (chinese_event(fact) if fact.language == "zh" else english_event(fact)) if keyphrase else None
    shops = CHINESE_SHOPS if fact.language == "zh" else SHOPS
    text = name or draw.choice(shops)
    banner = banners.fit(draw, text, fact.language, space, keyphrase=name is not None)
    if banner is None:
        raise ValueError(
            f"sample site: the banner {text!r} does not fit a picture {scene.width} px wide; shorten the wording"
        )
    return replace(scene, banner=banner)
