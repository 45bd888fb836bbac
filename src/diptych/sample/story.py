"""The facts of one article, before any word is written: topic, place, main event, its objects and what only
pictures tell.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from diptych.sample.chinese_topics import CHINESE_TOPICS, ChineseTopic
from diptych.sample.english_topics import ENGLISH_TOPICS, EnglishTopic
from diptych.sample.english_topics_more import MORE_ENGLISH_TOPICS
from diptych.sample.languages import CHINESE_OF_TEN, language_place
from diptych.sample.layout import Thing
from diptych.sample.lexicon import CLASSES, RELATIONS, TOPICS
from diptych.sample.seeding import permuted, rng

ENGLISH: dict[str, EnglishTopic] = {**ENGLISH_TOPICS, **MORE_ENGLISH_TOPICS}
CHINESE: dict[str, ChineseTopic] = CHINESE_TOPICS
TOPIC_NAMES = tuple(TOPICS)
_PAIRABLE = frozenset(
    {"car", "truck", "bus", "bicycle", "boat", "dog", "cat", "bird", "person", "kite", "tree", "house", "tent"}
)


@dataclass(frozen=True)
class Mention:
    """Something an article names: a class with a colour and a number."""

    name: str
    colour: str
    count: int = 1

    @property
    def thing(self) -> Thing:
        return Thing(self.name, self.colour)


@dataclass(frozen=True)
class Facts:
    """What an article is about; the numbers choose among the topic's wordings in either language."""

    index: int
    language: str
    topic: str
    subject: Mention
    landmark: Mention
    bystander: Mention
    relation: str
    distractor: Mention | None
    place: int
    office: int
    occasion: int
    outcome: int
    keyphrase: int
    event: tuple[int, int] | None
    unseen: Mention | None
    number: int
    day: int
    month: int
    length: int


def facts(seed: int, index: int) -> Facts:
    """Return the facts of one document."""
    draw = rng(seed, index, "facts")
    block, place = divmod(index, 10)
    topic = TOPIC_NAMES[permuted(seed, block, 10, "topics")[place]]
    objects = TOPICS[topic]
    names = draw.sample([name for name in objects.named if name in _PAIRABLE], 3)
    colours = _colours(draw, names)
    subject, landmark = Mention(names[0], colours[0]), Mention(names[1], colours[1])
    bystander = Mention(names[2], colours[2], draw.choices((1, 2, 3), (5, 3, 1))[0])
    known = {*names, *objects.implied}
    others = [name for name in CLASSES if name not in known and name not in objects.named]
    distractor = None
    if draw.random() < 0.35:
        name = draw.choice(others)
        distractor = Mention(name, draw.choice(CLASSES[name].colours))
    unseen = None
    if draw.random() < 0.35:
        name = draw.choice(objects.implied)
        unseen = Mention(name, draw.choice(CLASSES[name].colours))
    return Facts(
        index=index,
        language="zh" if language_place(seed, index) < CHINESE_OF_TEN else "en",
        topic=topic,
        subject=subject,
        landmark=landmark,
        bystander=bystander,
        relation=draw.choice(tuple(RELATIONS)),
        distractor=distractor,
        place=draw.randrange(1000),
        office=draw.randrange(1000),
        occasion=draw.randrange(1000),
        outcome=draw.randrange(1000),
        keyphrase=draw.randrange(1000),
        event=(draw.randrange(1000), draw.randrange(1000)) if draw.random() < 0.6 else None,
        unseen=unseen,
        number=draw.randint(2, 9),
        day=draw.randrange(7),
        month=draw.randrange(12),
        length=draw.choices((3, 5, 6, 7, 8, 10, 12), (1, 3, 4, 4, 3, 2, 1))[0],
    )


def _colours(draw: random.Random, names: list[str]) -> list[str]:
    """Return colours that differ from each other where the classes allow it."""
    chosen: list[str] = []
    for name in names:
        free = [colour for colour in CLASSES[name].colours if colour not in chosen]
        chosen.append(draw.choice(free or CLASSES[name].colours))
    return chosen
