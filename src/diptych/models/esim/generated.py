"""Pairs of Chinese sentences made from the sample site's words: paraphrases, and sentences that only look alike.

The same (1): two sentences about one scene, worded differently, with other words for the same things.
Different (0): one of the facts differs (thing, colour, position, place), or the two things changed places; the wording
may be the same, so the letters are often more alike than those of a true paraphrase. Beside them stand the summary of
a sample article with one of its captions: 1 when the caption tells the article's event.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from diptych.models.esim.pairs import TextPair
from diptych.sample import Site
from diptych.sample.chinese import DAYS
from diptych.sample.lexicon import CLASSES
from diptych.sample.seeding import rng
from diptych.sample.story import CHINESE

__all__ = ["article_pairs", "generate_pairs", "scene_pairs"]

_COLOURS = {
    "red": ("红色", "大红", "赤色"), "orange": ("橙色", "橘黄"), "yellow": ("黄色", "明黄"), "green": ("绿色", "翠绿"),
    "blue": ("蓝色", "天蓝"), "purple": ("紫色", "绛紫"), "pink": ("粉色", "桃红"), "brown": ("棕色", "褐色"),
    "black": ("黑色", "乌黑"), "white": ("白色", "雪白"), "grey": ("灰色", "银灰"),
}  # fmt: skip
_THINGS = {
    "car": ("汽车", "轿车"), "truck": ("卡车", "货车"), "bus": ("公交车", "巴士"), "bicycle": ("自行车", "单车"),
    "boat": ("小船", "船只"), "dog": ("小狗", "犬"), "cat": ("猫", "猫咪"), "bird": ("小鸟", "飞禽"),
    "ball": ("皮球", "球"), "kite": ("风筝", "纸鸢"), "tree": ("大树", "树木"), "house": ("房子", "屋子"),
    "lamp": ("路灯", "街灯"), "umbrella": ("雨伞", "伞"), "tent": ("帐篷", "营帐"), "bench": ("长椅", "凳子"),
}  # fmt: skip
_RELATIONS = {
    "in_front_of": ("前面", "前方", "正前"),
    "behind": ("后面", "后方", "背后"),
    "beside": ("旁边", "一侧", "边上"),
}
_TEMPLATES = (
    "{p}，{x}就在{y}{r}。",
    "{y}{r}的{x}，摄于{p}。",
    "{d}，{x}在{p}{y}的{r}。",
    "{x}{d}在{p}{y}的{r}引起关注。",
    "{p}：{y}{r}发现{x}。",
    "记者{d}在{p}发现，{y}的{r}多了{x}。",
    "{d}，{p}的人们都看向{y}{r}的{x}。",
    "有人在{p}见到{x}，它停在{y}的{r}。",
)


@dataclass(frozen=True)
class _Scene:
    """What both sentences of a pair may tell; words are chosen when it is told."""

    thing: str
    colour: str
    other: str
    other_colour: str
    relation: str
    place: str
    day: str


def generate_pairs(seed: int, scenes: int, articles: int = 0) -> list[TextPair]:
    """``scenes`` pairs about scenes and those of the Chinese among ``articles`` sample articles, shuffled."""
    pairs = [*scene_pairs(seed, scenes), *article_pairs(seed, articles)]
    rng(seed, "esim", "order").shuffle(pairs)
    return pairs


def scene_pairs(seed: int, count: int) -> Iterator[TextPair]:
    """Half of them the same; another seed tells of other scenes."""
    draw = rng(seed, "esim", "scenes")
    for number in range(count):
        scene = _scene(draw)
        if number % 2:
            one, two = draw.sample(_TEMPLATES, 2)
            yield TextPair(_told(draw, scene, one, None), _told(draw, scene, two, None), True)
        else:
            one = draw.choice(_TEMPLATES)
            two = one if draw.random() < 0.5 else draw.choice(_TEMPLATES)
            words = draw.randrange(1 << 30) if draw.random() < 0.5 else None  # the same words for what is the same
            yield TextPair(_told(draw, scene, one, words), _told(draw, _changed(draw, scene), two, words), False)


def article_pairs(seed: int, articles: int) -> Iterator[TextPair]:
    """The summary of each Chinese article with its captions, and with the event's caption of another article."""
    if not articles:
        return
    site, last = Site(articles, seed=seed), None
    for truth in site.truths():
        told = [(i.path == truth.best_caption, i.caption.text) for i in truth.images if i.keep and i.caption]
        if truth.language != "zh" or truth.best_caption is None:
            continue
        for best, caption in told:
            yield TextPair(caption, truth.summary.text, best)
        if last is not None:
            yield TextPair(last, truth.summary.text, False)
        last = next((caption for best, caption in told if best), last)


def _scene(draw: random.Random) -> _Scene:
    thing, other = draw.sample(sorted(_THINGS), 2)
    colour, other_colour = draw.sample(sorted(_COLOURS), 2)
    places = sorted({place for topic in CHINESE.values() for place in topic.places})
    return _Scene(
        thing, colour, other, other_colour, draw.choice(sorted(_RELATIONS)), draw.choice(places), draw.choice(DAYS)
    )


def _changed(draw: random.Random, scene: _Scene) -> _Scene:
    """Another scene that differs in one fact, or whose two things changed places."""
    fresh = _scene(draw)
    while fresh.relation == scene.relation or fresh.place == scene.place:
        fresh = _scene(draw)
    kind = draw.randrange(5)
    if kind == 0 and scene.relation != "beside":
        return replace(
            scene, thing=scene.other, colour=scene.other_colour, other=scene.thing, other_colour=scene.colour
        )
    if kind == 1:
        taken = (scene.thing, scene.other)
        return replace(scene, thing=draw.choice(sorted(set(_THINGS) - set(taken))))
    if kind == 2:
        taken = (scene.colour, scene.other_colour)
        return replace(scene, colour=draw.choice(sorted(set(_COLOURS) - set(taken))))
    if kind == 3:
        return replace(scene, place=fresh.place)
    return replace(scene, relation=fresh.relation)


def _told(draw: random.Random, scene: _Scene, template: str, words: int | None) -> str:
    """One sentence; ``words`` fixes which words are taken."""
    choice = (random.Random(words) if words is not None else draw).choice

    def phrase(thing: str, colour: str) -> str:
        return f"一{CLASSES[thing].measure}{choice(_COLOURS[colour])}的{choice(_THINGS[thing])}"

    return template.format(
        x=phrase(scene.thing, scene.colour),
        y=phrase(scene.other, scene.other_colour),
        r=choice(_RELATIONS[scene.relation]),
        p=scene.place,
        d=scene.day,
    )
