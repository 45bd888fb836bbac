"""English captions and the five descriptions of a picture, each with its tree and its phrases linked to object
indices.
"""

from __future__ import annotations

import random

from diptych.sample.article import Article, Sentence, english_sentence
from diptych.sample.english import relation_phrase, thing
from diptych.sample.scene import Relation, Scene, relations
from diptych.sample.story import Mention
from diptych.sample.trees import fill

Group = tuple[Mention, tuple[int, ...]]

_EVENT = (
    "<x_rel> [PP at/IN [NP <place>]] ./.",
    "[NP <place>] ,/, [NP where/WRB] <x> [VP was/VBD [VP seen/VBN [PP <rel>]]] ./.",
    "<x> [VP stands/VBZ [PP <rel>]] ./.",
    "[PP On/IN [NP <day>]] ,/, <x> [VP was/VBD [PP <rel>] [PP near/IN [NP <place>]]] ./.",
)
_GENERIC = (
    "[NP [NP A/DT view/NN] [PP of/IN [NP <place>]]] ./.",
    "[NP [NP Scene/NN] [PP from/IN [NP <place>]] [PP on/IN [NP <day>]]] ./.",
    "[NP Our/PRP$ reporter/NN] [VP took/VBD [NP this/DT picture/NN] [PP on/IN [NP <day>]]] ./.",
    "[NP [NP File/NN picture/NN] [PP from/IN [NP the/DT archive/NN]]] ./.",
    "[NP <place>] [PP on/IN [NP <day>]] ./.",
)
_TWO = (
    "<a> [VP is/VBZ [PP <rel_b>]] ./.",
    "[NP #0 <a> [PP <rel_b>]] ./.",
    "[NP There/EX] [VP is/VBZ [NP <a> and/CC <b>]] ./.",
    "[NP The/DT picture/NN] [VP shows/VBZ [NP <a> and/CC <b>]] ./.",
    "[NP We/PRP] [VP see/VBP [NP #0 <a> [PP <rel_b>]]] ./.",
)
_ONE = (
    "[NP There/EX] [VP is/VBZ <a>] ./.",
    "[NP [NP A/DT drawing/NN] [PP of/IN <a>]] ./.",
    "[NP The/DT picture/NN] [VP shows/VBZ <a> [PP in/IN [NP the/DT open/JJ]]] ./.",
    "<a> [PP on/IN [NP a/DT patterned/JJ ground/NN]] ./.",
    "[NP Someone/NN] [VP has/VBZ [VP drawn/VBN <a>]] ./.",
)
_THREE = (
    "[NP <a> ,/, <b> and/CC <c>] [VP fill/VBP [NP the/DT picture/NN]] ./.",
    "[NP #0 <a> [PP <rel_b>]] [VP appears/VBZ [PP with/IN <c>]] ./.",
    "<c> [VP can/MD [VP be/VB [VP seen/VBN [PP near/IN [NP #0 <a> [PP <rel_b>]]]]]] ./.",
    "[NP <c> and/CC <a>] [VP appear/VBP [PP with/IN <b>]] ./.",
)


def groups(scene: Scene) -> list[Group]:
    """Return the scene's objects gathered by class and colour, each with its number and the object indices."""
    found: dict[tuple[str, str], list[int]] = {}
    for index, shown in enumerate(scene.objects):
        found.setdefault((shown.name, shown.colour), []).append(index)
    return [(Mention(name, colour, len(indices)), tuple(indices)) for (name, colour), indices in found.items()]


def caption(
    draw: random.Random, article: Article, told: list[Group], relation: str | None, style: str, place: str
) -> Sentence:
    """Return a caption: `event` tells subject, relation and landmark, `objects` lists what is shown, `generic`
    tells neither.
    """
    slots = {"place": place, "day": f"{article.day}/NNP"}
    linked = tuple(indices for _, indices in told)
    if style == "event" and len(told) >= 2 and relation is not None:
        x, rel = thing(told[0][0], 0, draw), relation_phrase(relation, thing(told[1][0], 1, draw))
        return english_sentence(
            fill(draw.choice(_EVENT), {**slots, "x": x, "rel": rel, "x_rel": f"[NP #0 {x} [PP {rel}]]"}), linked
        )
    if style == "objects" and told:
        parts = [thing(mention, key, draw) for key, (mention, _) in enumerate(told[:3])]
        if len(parts) == 1:
            return english_sentence(f"[NP The/DT picture/NN] [VP shows/VBZ {parts[0]}] ./.", linked)
        listed = f"{' ,/, '.join(parts[:-1])} and/CC {parts[-1]}"
        return english_sentence(f"[NP The/DT picture/NN] [VP shows/VBZ [NP {listed}]] ./.", linked)
    return english_sentence(fill(draw.choice(_GENERIC), slots))


def _between(scene: Scene, a: Group, b: Group, landmark: str, known: tuple[Relation, ...]) -> str | None:
    """Return what is true of two single objects, as the inside of a prepositional phrase."""
    if a[0].count > 1 or b[0].count > 1:
        return None
    first, second = a[1][0], b[1][0]
    for edge in known:
        if {edge.subject, edge.object} != {first, second} or edge.predicate == "overlaps":
            continue
        forward = edge.subject == first
        if edge.predicate == "in_front_of":
            return relation_phrase("in_front_of" if forward else "behind", landmark)
        if edge.predicate == "left_of":
            return f"to/TO [NP [NP the/DT {'left' if forward else 'right'}/NN] [PP of/IN {landmark}]]"
        return f"{'above' if forward else 'below'}/IN {landmark}"
    return None


def descriptions(draw: random.Random, scene: Scene, count: int = 5) -> tuple[Sentence, ...]:
    """Return different true sentences about a scene, as annotators would write them; a scene without objects has
    none.
    """
    all_groups = groups(scene)
    known = relations(scene.objects)
    if not all_groups:
        return ()
    found: dict[str, Sentence] = {}
    for _ in range(60):
        if len(found) == count:
            break
        chosen = draw.sample(all_groups, min(len(all_groups), draw.choice((1, 2, 2, 3, 3))))
        names = [thing(mention, key, draw) for key, (mention, _) in enumerate(chosen)]
        slots = dict(zip("abc", names, strict=False))
        linked = tuple(indices for _, indices in chosen)
        pool = {1: _ONE, 2: _TWO, 3: _THREE}[len(chosen)]
        template = draw.choice(pool)
        if "<rel_b>" in template:
            rel = _between(scene, chosen[0], chosen[1], names[1], known)
            if rel is None:
                continue
            slots["rel_b"] = rel
        if "is/VBZ" in template and chosen[0][0].count > 1 or ("appears/VBZ" in template and chosen[0][0].count > 1):
            template = template.replace("is/VBZ", "are/VBP").replace("appears/VBZ", "appear/VBP")
        sentence = english_sentence(fill(template, slots), linked)
        found.setdefault(sentence.text, sentence)
    return tuple(found.values())
