"""English: noun phrases of things, and the sentences of an article."""

from __future__ import annotations

import random

from diptych.sample import wordings
from diptych.sample.article import Article, Keyphrase, Sentence, english_sentence
from diptych.sample.lexicon import CLASSES, NUMBERS, RELATIONS, TOPICS
from diptych.sample.seeding import rng
from diptych.sample.story import ENGLISH, Facts, Mention
from diptych.sample.trees import detokenise, fill, parse

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_COUNT = {**NUMBERS, 7: "seven", 8: "eight", 9: "nine"}
_PLURALS = {"woman": "women", "man": "men", "bus": "buses", "coach": "coaches", "bench": "benches", "lorry": "lorries"}
_GARMENTS = ("coat", "jacket", "shirt")
_FIRST = (
    "Maria",
    "Peter",
    "Anna",
    "David",
    "Sofia",
    "Thomas",
    "Elena",
    "Robert",
    "Julia",
    "Martin",
    "Clara",
    "Henry",
    "Nora",
    "Samuel",
)
_LAST = (
    "Keller",
    "Novak",
    "Brown",
    "Lindgren",
    "Costa",
    "Meyer",
    "Evans",
    "Fischer",
    "Moreau",
    "Walsh",
    "Tanaka",
    "Rossi",
    "Hughes",
)
_FANCY = (
    "Silver", "Golden", "Northern", "Granite", "Crystal", "Willow", "Summit", "Amber", "Maple", "Royal", "Cedar",
    "Copper", "Falcon",
    "Misty", "Pearl", "Scarlet", "Thunder", "Velvet", "Winter", "Coral",
)  # fmt: skip


def thing(mention: Mention, key: int, draw: random.Random, *, definite: bool = False) -> str:
    """Return the noun phrase of a mention in the grammar's notation, linked as #key."""
    nouns = CLASSES[mention.name].nouns
    noun = nouns[len(mention.colour) % 2] if mention.name == "person" else nouns[draw.randrange(len(nouns))]
    colour = f"{mention.colour}/JJ"
    plural = mention.count > 1
    if plural:
        noun = _PLURALS.get(noun, noun + "s")
    tag = "NNS" if plural else "NN"
    if mention.name == "person" and not definite:
        garment = _GARMENTS[draw.randrange(3)]
        coat = f"{colour} {garment}s/NNS" if plural else f"{_article(mention.colour)} {colour} {garment}/NN"
        return f"[NP #{key} [NP {_number(mention, noun)} {noun}/{tag}] [PP in/IN [NP {coat}]]]"
    if definite:
        adjective = "" if mention.name == "person" or draw.random() < 0.5 else f"{colour} "
        return f"[NP #{key} the/DT {adjective}{noun}/{tag}]"
    return f"[NP #{key} {_number(mention, mention.colour)} {colour} {noun}/{tag}]"


def _article(word: str) -> str:
    return "an/DT" if word[0] in "aeio" else "a/DT"


def _number(mention: Mention, word: str) -> str:
    return f"{_COUNT[mention.count]}/CD" if mention.count > 1 else _article(word)


def relation_phrase(relation: str, landmark: str) -> str:
    """Return the inside of a prepositional phrase, e.g. `behind/IN [NP ...]`."""
    return RELATIONS[relation][0].format(landmark)


def _plain(notation: str) -> str:
    return detokenise(parse(notation).leaves())


def event_name(fact: Facts) -> str | None:
    """Return the name that only a banner shows, e.g. `Silver Regatta`."""
    if fact.event is None:
        return None
    nouns = ENGLISH[fact.topic].event_nouns
    return f"{_FANCY[fact.event[0] % len(_FANCY)]} {_plain(nouns[fact.event[1] % len(nouns)])}"


def write(seed: int, fact: Facts) -> Article:
    """Return the English article of a document."""
    topic = ENGLISH[fact.topic]
    draw = rng(seed, fact.index, "english")
    pick = draw.choice
    place = topic.places[fact.place % len(topic.places)]
    office = topic.offices[fact.office % len(topic.offices)]
    label, occasion = topic.occasions[fact.occasion % len(topic.occasions)]
    outcome, upshot = topic.outcomes[fact.outcome % len(topic.outcomes)]
    phrase = topic.keyphrases[fact.keyphrase % len(topic.keyphrases)]
    number = f"{_COUNT[fact.number]}/CD"
    x, y = thing(fact.subject, 0, draw), thing(fact.landmark, 1, draw)

    def slots() -> dict[str, str]:
        rel = relation_phrase(fact.relation, y)
        return {
            "x": x, "y": y, "rel": rel, "x_rel": f"[NP #0 {x} [PP {rel}]]",
            "xd": thing(fact.subject, 0, draw, definite=True), "yd": thing(fact.landmark, 1, draw, definite=True),
            "z": thing(fact.bystander, 2, draw), "d": thing(fact.distractor, 3, draw) if fact.distractor else "",
            "place": place, "office": office, "occasion": occasion, "upshot": upshot, "kp": phrase, "num": number,
            "day": f"{DAYS[fact.day]}/NNP", "month": f"{pick(MONTHS)}/NNP",
            "person": f"{pick(_FIRST)}/NNP {pick(_LAST)}/NNP",
        }  # fmt: skip

    def write_one(template: str) -> Sentence:
        return english_sentence(fill(template, slots()))

    def fresh(template: str) -> Sentence:
        return english_sentence(fill(template, {**slots(), "num": f"{_COUNT[draw.randint(2, 9)]}/CD"}))

    opening = [write_one(pick(wordings.LEADS)), write_one(pick(wordings.BYSTANDERS)), write_one(outcome)]
    rest = [fresh(pick(wordings.TOPICAL))] if fact.length > 3 else []
    if fact.event is not None and fact.length > 3:
        rest.append(write_one(pick(wordings.BANNER)))
    if fact.distractor is not None and fact.length > 4:
        rest.append(fresh(pick(wordings.DISTRACTORS)))
    pool = draw.sample(topic.details, len(topic.details)) + draw.sample(wordings.GENERIC, len(wordings.GENERIC))
    draw.shuffle(pool)
    rest += [fresh(template) for template in pool[: max(0, fact.length - len(opening) - len(rest))]]
    draw.shuffle(rest)
    x, y = thing(fact.subject, 0, draw), thing(fact.landmark, 1, draw)  # the summary chooses its own nouns
    summary = write_one(pick(wordings.SUMMARIES))
    sentences = (*opening, *rest)
    title = _title(draw, fact, place, office, label)
    named = (fact.subject, fact.landmark, fact.bystander) + (
        (fact.distractor,) if _tells(sentences, 3) and fact.distractor else ()
    )
    return Article(
        title, sentences, summary, _keyphrases(fact, phrase, sentences), named, _plain(place), DAYS[fact.day], label
    )


def _tells(sentences: tuple[Sentence, ...], key: int) -> bool:
    return any(key in phrase.referents for sentence in sentences for phrase in sentence.phrases)


def _keyphrases(fact: Facts, phrase: str, sentences: tuple[Sentence, ...]) -> tuple[Keyphrase, ...]:
    plain = _plain(phrase.removeprefix("the/DT "))
    found = []
    if any(plain in sentence.text for sentence in sentences):
        found.append(Keyphrase(plain, "text"))
    name = event_name(fact)
    if name is not None:
        found.append(Keyphrase(name.lower(), "banner"))
    if fact.unseen is not None:
        found.append(Keyphrase(fact.unseen.name, "objects"))
    return tuple(found) or (Keyphrase(CLASSES[fact.subject.name].nouns[0], "text"),)


def _short(mention: Mention) -> str:
    noun = CLASSES[mention.name].nouns[0]
    return f"{noun} in {mention.colour}" if mention.name == "person" else f"{mention.colour} {noun}"


def _title(draw: random.Random, fact: Facts, place: str, office: str, label: str) -> str:
    text = draw.choice(wordings.TITLES).format(
        xt=_short(fact.subject), yt=_short(fact.landmark), rel=_plain(relation_phrase(fact.relation,
        "x/NN")).removesuffix(" x"),
        place=_plain(place), office=_plain(office), occasion=label, day=DAYS[fact.day],
    )  # fmt: skip
    return text[0].upper() + text[1:]


def implied_words(topic: str) -> frozenset[str]:
    """Return the words that an article of a topic must not use: the nouns of its implied classes."""
    return frozenset(
        word
        for name in TOPICS[topic].implied
        for noun in CLASSES[name].nouns
        for word in (noun, _PLURALS.get(noun, noun + "s"))
    )
