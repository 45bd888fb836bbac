"""The text rules on articles of the sample site with planted defects, each of which is known.

``python benchmarks/cleaning_texts.py [--documents 1200]`` prints precision and recall of every rule: rejections by
document, changes of wording by place. Exit code 1 when precision .99 or recall .97 is missed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.report.truth import KEPT, RuleScore
from diptych.sample import Site
from diptych.version import open_version

RECIPE = """
name: texts
sources:
  - {kind: folder, name: gazette, path: texts/british}
  - {kind: folder, name: herald, path: texts/american}
shards: 8
stages:
  clean_text: {max_characters: 8000}
  clean_documents: {}
  clean_pairs: {}
  sentences: {hashtags: keyphrases, mentions: strip, addresses: strip, british: [gazette]}
  clean: {}
"""
FOREIGN = {
    "de": "Der Bürgermeister eröffnete am Montag die neue Brücke. Tausende gingen im Regen über den Fluss. "
    "Die Arbeiten haben drei Jahre gedauert. Niemand weiß, warum es so lange war.",
    "fr": "Le maire a inauguré lundi le nouveau pont. Des milliers de personnes ont traversé la rivière sous la pluie. "
    "Les travaux ont duré trois ans. Personne ne sait pourquoi.",
    "es": "El alcalde inauguró el lunes el nuevo puente. Miles de personas cruzaron el río bajo la lluvia. "
    "Las obras duraron tres años. Nadie sabe por qué tardaron tanto.",
    "it": "Il sindaco ha inaugurato lunedì il nuovo ponte. Migliaia di persone hanno attraversato il fiume. "
    "I lavori sono durati tre anni. Nessuno sa perché ci sia voluto tanto.",
    "ru": "Мэр открыл в понедельник новый мост. Тысячи людей перешли реку под дождём. "
    "Работы продолжались три года. Никто не знает, почему так долго.",
    "ja": "市長は月曜日に新しい橋の開通を祝いました。何千人もの人が雨の中を歩いて渡りました。工事は三年かかりました。",
}
PAGES = (
    "We use cookies to improve this site.", "Accept all cookies", "All rights reserved.", "Privacy policy",
    "Subscribe to our newsletter for more.", "Log in to comment", "Follow us on every network", "版权所有 保留所有权利",
    "Share this on Facebook", "Terms and conditions apply.",
)  # fmt: skip
SPELLINGS = {
    "colour": "color", "favourite": "favorite", "honoured": "honored", "neighbours": "neighbors", "rumour": "rumor",
    "theatre": "theater", "kilometres": "kilometers", "fibre": "fiber", "organised": "organized", "realise": "realize",
    "recognised": "recognized", "apologise": "apologize", "analysed": "analyzed", "catalogue": "catalog",
    "travelled": "traveled", "cancelled": "canceled", "marvellous": "marvelous", "jewellery": "jewelry",
    "defence": "defense", "offence": "offense", "licence": "license", "tyres": "tires", "programme": "program",
    "aluminium": "aluminum", "plough": "plow", "moustache": "mustache", "sceptical": "skeptical", "mould": "mold",
    "pyjamas": "pajamas", "cosy": "cozy", "enrol": "enroll", "fulfil": "fulfill", "skilful": "skillful",
    "grey": "gray", "harbour": "harbor", "metres": "meters", "neighbour": "neighbor", "organisers": "organizers",
    "anaesthetic": "anesthetic", "manoeuvre": "maneuver", "paediatric": "pediatric", "judgement": "judgment",
}  # fmt: skip
"""British words as dictionaries give them, not as the table of the product does; among them all that the site uses."""
MARKS = {
    "hashtag": ("#SunsetPoint", "#storm", "#收获节", "#day_1"),
    "mention": ("@town_hall", "@ann", "@brigade7"),
    "address": ("https://t.example/a?b=c#d", "http://news.example/x/@y", "www.example.org/page"),
}
REJECTED = ("near_duplicate_text", "language", "short_text", "long_text", "boilerplate", "empty_text")


@dataclass
class Planted:
    """What is true of the documents that were written."""

    rules: dict[tuple[str, str], str] = field(default_factory=dict)
    """(source, id) to the rule that has to reject the document, or kept."""
    edits: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    """(source, id, rule, word in the text)."""

    def spelled(self, source: str, name: str, *texts: str) -> None:
        """Every British word of a document of the British source has to be changed, planted or not."""
        for word in re.findall("[A-Za-z]+", "\n".join(texts)) if source == "gazette" else ():
            self.edits[source, name, "spelling", word] += word.lower() in SPELLINGS


def plant(folder: Path, documents: int) -> Planted:
    """Write articles into the folders of two sources, every second one with a defect in turn."""
    truth = Planted()
    articles = list(Site(documents, dirt=False).articles())
    for n, article in enumerate(articles):
        chance = Random(n)
        source = "gazette" if n % 4 < 2 else "herald"
        rule = REJECTED[n // 2 % len(REJECTED)] if n % 2 else KEPT
        glue = "" if article.title[0] > "\u2fff" else " "
        sentences = [s.text for s in article.sentences]
        title, text = article.title, glue.join(sentences)
        if rule == "near_duplicate_text":  # the article without a sentence, beside the whole one
            text = glue.join(sentences[:-1])
            name, whole = f"{n}-whole", glue.join(sentences)
            _write(folder, source, name, title, whole)
            truth.spelled(source, name, title, whole)
            truth.rules[source, f"{n}-whole"] = KEPT
        elif rule == "language":
            text, title = f"{FOREIGN[list(FOREIGN)[n % len(FOREIGN)]]} {n}", ""
        elif rule == "short_text":
            title, text = "", text[: 12 if glue == "" else 30]
        elif rule == "long_text":
            text = f"{text}{glue}" * (8001 // len(text) + 1)
        elif rule == "boilerplate":
            text = "\n".join([sentences[0], *chance.sample(PAGES, len(PAGES))])
        elif rule == "empty_text":
            title, text = "", " \n"
        elif glue:
            text = _worded(text, (source, str(n)), chance, truth.edits)
        _write(folder, source, str(n), title, text)
        if rule == KEPT:
            truth.spelled(source, str(n), title, text)
        truth.rules[source, str(n)] = rule
    return truth


def _worded(text: str, name: tuple[str, str], chance: Random, edits: Counter[tuple[str, str, str, str]]) -> str:
    """The text with a British word, a hashtag, a mention and an address between its words."""
    words = text.split(" ")
    for rule, forms in {**MARKS, "spelling": tuple(SPELLINGS)}.items():
        word = chance.choice(forms)
        if rule == "spelling":
            word = chance.choice((word, word, word.title()))
        words.insert(chance.randrange(1, len(words)), word)
        if rule != "spelling":
            edits[*name, rule, word] += 1
    return " ".join(words)


def _write(folder: Path, source: str, name: str, title: str, text: str) -> None:
    place = folder / "texts" / {"gazette": "british", "herald": "american"}[source] / "documents"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.json").write_text(json.dumps({"title": title, "text": text, "images": []}), encoding="utf-8")


def measure(documents: int, folder: Path) -> tuple[RuleScore, ...]:
    """Plant, build, compare."""
    truth = plant(folder, documents)
    crawl_recipe(RECIPE, str(folder), folder)
    build(RECIPE, str(folder), folder=folder)
    version = open_version(folder / "texts")
    rows = {r["record"]: (r["source"], r["source_id"]) for r in version.snapshot.table().to_pylist()}
    said: dict[tuple[str, str], str] = {}
    for stage in ("clean_text", "clean_documents"):
        for row in version.table(stage).to_pylist():
            if row["status"] == "rejected":
                said[rows[row["key"]]] = row["code"]
    made: Counter[tuple[str, str, str, str]] = Counter()
    for row in version.table("sentences").to_pylist():
        name = rows[row["key"]]
        for edit in row["edits"] or ():
            word = edit["original"]
            wrong = edit["rule"] == "spelling" and SPELLINGS.get(word.lower()) != edit["text"].lower()
            made[*name, edit["rule"], f"{word} as {edit['text']}" if wrong else word] += 1
    for name in sorted(truth.rules):
        if said.get(name, KEPT) != truth.rules[name]:
            print("wrong:", name, said.get(name, KEPT), "instead of", truth.rules[name], file=sys.stderr)
    for place in sorted(((made - truth.edits) + (truth.edits - made)).elements()):
        print("wrong:", place, file=sys.stderr)
    decided = [(truth.rules[name], said.get(name, KEPT)) for name in truth.rules]
    scores = [_rule(rule, decided) for rule in (*REJECTED, KEPT)]
    for rule in (*MARKS, "spelling"):
        expected, found = (Counter({k: n for k, n in c.items() if k[2] == rule}) for c in (truth.edits, made))
        both = (expected & found).total()
        scores.append(RuleScore(rule, expected.total(), both, found.total(), both))
    return tuple(scores)


def _rule(rule: str, decided: Iterable[tuple[str, str]]) -> RuleScore:
    pairs = Counter(decided)
    both = pairs[rule, rule]
    expected = sum(n for (true, _), n in pairs.items() if true == rule)
    return RuleScore(rule, expected, both, sum(n for (_, said), n in pairs.items() if said == rule), both)


def main() -> int:
    """Print the table; 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1200)
    documents = parser.parse_args().documents
    with tempfile.TemporaryDirectory() as place:
        scores = measure(documents, Path(place))
    print("| rule | planted | recall | found | precision |\n| --- | --- | --- | --- | --- |")
    for score in scores:
        print(f"| {score.rule} | {score.expected} | {score.recall:.3f} | {score.found} | {score.precision:.3f} |")
    return 0 if all(s.precision >= 0.99 and s.recall >= 0.97 for s in scores) else 1


if __name__ == "__main__":
    sys.exit(main())
