"""How a scene relates to an article: relevance class, CMI and SC level, from what is named and what is shown."""

from __future__ import annotations

from diptych.sample.document import Judgement
from diptych.sample.lexicon import TOPICS
from diptych.sample.scene import Scene
from diptych.sample.story import Mention


def judge(scene: Scene, named: tuple[Mention, ...], topic: str, *, colours_visible: bool = True) -> Judgement:
    """Return the truth for one (document, scene) pair.

    Explicit: a class that the words name is shown. Implicit: none is, but one that belongs to the topic and is
    never named.
    CMI = share of the shown classes that are named, rounded to quarters (explicit pairs have at least 0.25;
    implicit pairs 0.25).
    SC = mean over shown and named classes of +1 (colour and number agree) or -1 (they contradict), rounded to
    halves; implicit 0.5.
    """
    if not scene.objects:
        return Judgement()
    shown = {item.name for item in scene.objects}
    told = {mention.name for mention in named}
    common = shown & told
    if not common:
        if shown & set(TOPICS[topic].implied):
            return Judgement("implicit", 0.25, 0.5)
        return Judgement("irrelevant", 0.0, 0.0)
    cmi = max(0.25, round(4 * len(common) / len(shown)) / 4)
    if not colours_visible:
        return Judgement("explicit", cmi, None)
    votes = [_agreement(scene, mention) for mention in named if mention.name in common]
    mean = sum(votes) / len(votes)
    return Judgement("explicit", cmi, _half(mean))


def _half(value: float) -> float:
    """Round to the nearest half, ties away from zero: 1/3 -> 0.5, 0 stays 0."""
    sign = -1.0 if value < 0 else 1.0
    return sign * int(abs(value) * 2 + 0.5) / 2 if value else 0.0


def _agreement(scene: Scene, mention: Mention) -> int:
    of_class = [item for item in scene.objects if item.name == mention.name]
    right = [item for item in of_class if item.colour == mention.colour]
    return 1 if len(right) == len(of_class) == mention.count else -1
