"""English: noun phrases of things, and the sentences of an article."""

from __future__ import annotations

import random

from diptych.sample.article import Article, Keyphrase, Sentence, english_sentence
from diptych.sample.lexicon import CLASSES, NUMBERS, RELATIONS, TOPICS
from diptych.sample.seeding import rng
from diptych.sample.story import ENGLISH, Facts, Mention
from diptych.sample.trees import detokenise, fill, parse

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December")
_COUNT = {**NUMBERS, 7: "seven", 8: "eight", 9: "nine"}
_PLURALS = {"woman": "women", "man": "men", "bus": "buses", "coach": "coaches", "bench": "benches", "lorry": "lorries"}
_GARMENTS = ("coat", "jacket", "shirt")
_FIRST = ("Maria", "Peter", "Anna", "David", "Sofia", "Thomas", "Elena", "Robert", "Julia", "Martin", "Clara", "Henry", "Nora", "Samuel")
_LAST = ("Keller", "Novak", "Brown", "Lindgren", "Costa", "Meyer", "Evans", "Fischer", "Moreau", "Walsh", "Tanaka", "Rossi", "Hughes")
_FANCY = (
    "Silver", "Golden", "Northern", "Granite", "Crystal", "Willow", "Summit", "Amber", "Maple", "Royal", "Cedar", "Copper", "Falcon",
    "Misty", "Pearl", "Scarlet", "Thunder", "Velvet", "Winter", "Coral",
)  # fmt: skip
SHOPS = ("Luna Bakery", "Platform 4", "Open Daily", "Hotel Astra", "City Pharmacy", "No Parking", "Ticket Office", "Caffe Roma", "Exit 12",
         "Corner Bookshop", "Fresh Coffee", "Main Entrance", "Level 2", "Delta Bank", "Old Mill Inn", "Information", "Please Wait Here")  # fmt: skip

_LEADS = (
    "<x> [VP was/VBD [VP seen/VBN [PP <rel>] [PP at/IN [NP <place>]] [PP on/IN [NP <day>]] <occasion>]] ./.",
    "[PP On/IN [NP <day>]] ,/, <x> [VP appeared/VBD [PP <rel>] [PP near/IN [NP <place>]] <occasion>] ./.",
    "[NP Pedestrians/NNS] [VP noticed/VBD <x_rel> [PP at/IN [NP <place>]] <occasion>] ./.",
    "<occasion> ,/, <x> [VP remained/VBD [PP <rel>] [PP at/IN [NP <place>]]] ./.",
    "[NP A/DT photographer/NN] [VP caught/VBD <x_rel> [PP on/IN [NP <day>]] <occasion>] ./.",
    "[NP Everyone/NN] [PP at/IN [NP <place>]] [VP looked/VBD [PP at/IN <x_rel>] <occasion>] ./.",
    "[NP There/EX] [VP was/VBD <x> [PP <rel>] [PP near/IN [NP <place>]] [PP on/IN [NP <day>]]] ./.",
)  # fmt: skip
_BYSTANDERS = (
    "[PP Not/RB far/RB away/RB] ,/, <z> [VP completed/VBD [NP the/DT scene/NN]] ./.",
    "[NP The/DT picture/NN] [VP also/RB showed/VBD <z>] ./.",
    "<z> [VP could/MD [VP be/VB [VP seen/VBN [PP on/IN [NP the/DT other/JJ side/NN]]]]] ./.",
    "[PP At/IN [NP some/DT distance/NN]] ,/, [NP the/DT reporters/NNS] [VP counted/VBD <z>] ./.",
)
_SUMMARIES = (
    "[S <x_rel> [VP drew/VBD [NP attention/NN] [PP near/IN [NP <place>]]]] ,/, and/CC [S <upshot>] ./.",
    "[PP At/IN [NP <place>]] ,/, [S <x> [VP was/VBD [VP found/VBN [PP <rel>]]]] ;/: [S <upshot>] ./.",
    "[S [NP <office>] [VP reported/VBD <x_rel> [PP on/IN [NP <day>]]]] ,/, and/CC [S <upshot>] ./.",
    "[S <x> [VP was/VBD [VP photographed/VBN [PP <rel>] [PP at/IN [NP <place>]]]]] ;/: [S <upshot>] ./.",
)
_GENERIC = (
    "[NP Nobody/NN] [VP knew/VBD more/RBR [PP about/IN <xd>]] ./.",
    "“/`` [S [NP I/PRP] [VP have/VBP never/RB [VP seen/VBN [NP anything/NN] [PP like/IN [NP it/PRP]]]]] ,/, ”/'' [VP said/VBD] [NP <person>] ./.",
    "[NP <person>] [VP took/VBD [NP a/DT photograph/NN] [PP of/IN <xd>]] ./.",
    "[NP The/DT mayor/NN] [VP did/VBD not/RB [VP comment/VB [PP on/IN [NP the/DT matter/NN]]]] ./.",
    "[NP <person>] ,/, [NP a/DT neighbour/NN] ,/, [VP watched/VBD <yd> [PP for/IN [NP <num> minutes/NNS]]] ./.",
    "[NP <office>] [VP will/MD [VP publish/VB [NP a/DT report/NN] [PP in/IN [NP <month>]]]] ./.",
    "“/`` [S [NP We/PRP] [VP know/VBP [PP about/IN <xd>]]] ,/, ”/'' [NP <office>] [VP told/VBD [NP this/DT newspaper/NN]] ./.",
    "[NP Most/JJS readers/NNS] [VP agree/VBP [SBAR that/IN [S [NP <place>] [VP needs/VBZ [NP more/JJR care/NN]]]]] ./.",
    "[NP The/DT last/JJ comparable/JJ case/NN] [VP dates/VBZ [ADVP back/RB] [PP to/TO [NP <month>]]] ./.",
    "[PP By/IN [NP the/DT evening/NN]] ,/, [NP <place>] [VP was/VBD [ADJP quiet/JJ] again/RB] ./.",
    "[NP <person>] [VP thanked/VBD [NP the/DT helpers/NNS] [PP for/IN [NP their/PRP$ patience/NN]]] ./.",
    "[SBAR Because/IN [S [NP the/DT weather/NN] [VP was/VBD [ADJP fine/JJ]]]] ,/, [NP many/JJ families/NNS] [VP stayed/VBD] ./.",
    "[NP The/DT newspaper/NN] [VP received/VBD [NP [NP <num> letters/NNS] [PP about/IN <yd>]]] ./.",
    "[NP A/DT second/JJ meeting/NN] [VP is/VBZ [VP planned/VBN [PP at/IN [NP <place>]]]] ./.",
    "[NP <person>] [VP said/VBD [SBAR that/IN [S [NP the/DT children/NNS] [VP liked/VBD <xd>]]]] ./.",
    "[NP <office>] [VP called/VBD [NP it/PRP] [NP an/DT ordinary/JJ day/NN]] ./.",
)
_TOPICAL = (
    "[NP [NP The/DT subject/NN] [PP of/IN [NP the/DT week/NN]]] [VP is/VBZ [NP <kp>]] ./.",
    "[NP <person>] [VP gave/VBD [NP an/DT interview/NN] [PP about/IN [NP <kp>]]] ./.",
    "[NP <office>] [VP answered/VBD [NP <num> questions/NNS] [PP about/IN [NP <kp>]]] ./.",
    "[NP Letters/NNS] [PP to/TO [NP the/DT editor/NN]] [VP often/RB mention/VBP [NP <kp>]] ./.",
)
_BANNER = (
    "[NP [NP The/DT name/NN] [PP of/IN [NP the/DT event/NN]]] [VP stood/VBD [PP on/IN [NP a/DT large/JJ banner/NN]]] ./.",
    "[NP Organisers/NNS] [VP had/VBD [VP put/VBN [PRT up/RP] [NP a/DT banner/NN] [PP with/IN [NP the/DT title/NN]]]] ./.",
    "[NP The/DT event/NN] [VP was/VBD [VP announced/VBN [PP on/IN [NP a/DT wide/JJ poster/NN]]]] ./.",
)
_DISTRACTORS = (
    "[NP [NP A/DT day/NN] earlier/RBR] ,/, [NP the/DT police/NN] [VP had/VBD [VP found/VBN <d> [PP in/IN [NP another/DT town/NN]]]] ./.",
    "[PP In/IN [NP other/JJ news/NN]] ,/, <d> [VP was/VBD [VP sold/VBN [PP for/IN [NP <num> thousand/CD euros/NNS]]]] ./.",
    "[NP A/DT museum/NN] [PP in/IN [NP the/DT capital/NN]] [VP bought/VBD <d> [NP last/JJ week/NN]] ./.",
)
_TITLES = (
    "{xt} {rel} {yt} at {place}", "{xt} and {yt}: {occasion} at {place}", "{place}: {xt} seen on {day}", "After {occasion}: {xt} at {place}",
    "{office} reports on {occasion}", "What happened at {place} on {day}",
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
            "day": f"{DAYS[fact.day]}/NNP", "month": f"{pick(MONTHS)}/NNP", "person": f"{pick(_FIRST)}/NNP {pick(_LAST)}/NNP",
        }  # fmt: skip

    def write_one(template: str) -> Sentence:
        return english_sentence(fill(template, slots()))

    def fresh(template: str) -> Sentence:
        return english_sentence(fill(template, {**slots(), "num": f"{_COUNT[draw.randint(2, 9)]}/CD"}))

    opening = [write_one(pick(_LEADS)), write_one(pick(_BYSTANDERS)), write_one(outcome)]
    rest = [fresh(pick(_TOPICAL))] if fact.length > 3 else []
    if fact.event is not None and fact.length > 3:
        rest.append(write_one(pick(_BANNER)))
    if fact.distractor is not None and fact.length > 4:
        rest.append(fresh(pick(_DISTRACTORS)))
    pool = draw.sample(topic.details, len(topic.details)) + draw.sample(_GENERIC, len(_GENERIC))
    draw.shuffle(pool)
    rest += [fresh(template) for template in pool[: max(0, fact.length - len(opening) - len(rest))]]
    draw.shuffle(rest)
    x, y = thing(fact.subject, 0, draw), thing(fact.landmark, 1, draw)  # the summary chooses its own nouns
    summary = write_one(pick(_SUMMARIES))
    sentences = (*opening, *rest)
    title = _title(draw, fact, place, office, label)
    named = (fact.subject, fact.landmark, fact.bystander) + ((fact.distractor,) if _tells(sentences, 3) and fact.distractor else ())
    return Article(title, sentences, summary, _keyphrases(fact, phrase, sentences), named, _plain(place), DAYS[fact.day], label)


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
    text = draw.choice(_TITLES).format(
        xt=_short(fact.subject), yt=_short(fact.landmark), rel=_plain(relation_phrase(fact.relation, "x/NN")).removesuffix(" x"),
        place=_plain(place), office=_plain(office), occasion=label, day=DAYS[fact.day],
    )  # fmt: skip
    return text[0].upper() + text[1:]


def implied_words(topic: str) -> frozenset[str]:
    """Return the words that an article of a topic must not use: the nouns of its implied classes."""
    return frozenset(word for name in TOPICS[topic].implied for noun in CLASSES[name].nouns for word in (noun, _PLURALS.get(noun, noun + "s")))
