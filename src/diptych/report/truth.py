"""A version of the sample site against the site's own truth: every cleaning rule, every kind of copy, every page.

Only the sample site has a truth (``diptych sample write`` puts it into ``truth.jsonl``). Pages and pictures are found
by the path of their address. Pictures that no document names (the page's frame: logos, sidebars) were left out by the
extraction and are counted apart.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from diptych.exceptions import UsageError
from diptych.records import Document
from diptych.report.shards import ShardRows, Use, iter_shards
from diptych.version import Version

__all__ = ["CHANGES", "PageScore", "RuleScore", "TruthScore", "read_truth", "score"]

CHANGES = ("recompressed", "resized", "crop_small", "crop_large")
"""Roles of pictures that are near duplicates, by what was done to them."""
KEPT = "kept"
"""What is said of a picture that no rule rejects."""
_SAME = {"http_404": "gone", "http_410": "gone"}
"""What the truth names by its cause and a snapshot by its outcome."""


@dataclass(frozen=True)
class RuleScore:
    """How often one rule was right: ``hits`` of ``expected`` pictures found, ``right`` of ``found`` rightly."""

    rule: str
    expected: int
    hits: int
    found: int
    right: int

    @property
    def precision(self) -> float:
        """Share of what the rule rejected that the truth rejects for this reason, or also for this one; else 1."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Share of what it should reject that was rejected for this reason, or another that is right, too."""
        return self.hits / self.expected if self.expected else 1.0


@dataclass(frozen=True)
class PageScore:
    """Pages of the truth and how many have exactly its title, text, and caption under every picture."""

    pages: int
    title: int
    text: int
    captions: int
    all: int


@dataclass(frozen=True)
class TruthScore:
    """Everything that was compared."""

    rules: tuple[RuleScore, ...]
    """By name; ``kept`` is the picture that nothing rejects."""
    changes: tuple[RuleScore, ...]
    """Near duplicates by what was done to them; precision is not known apart."""
    pages: PageScore
    others: int
    """Accepted documents that are no page of the truth."""
    unnamed: int
    """Pictures of the truth that no document names."""
    wrong: tuple[str, ...]
    """Addresses with what was said and what is true, of everything that is wrong."""


def read_truth(path: Path) -> Iterator[Mapping[str, Any]]:
    """The documents of a truth file, one a line; :class:`UsageError` names the line that is none."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                found = json.loads(line)
                yield {name: found[name] for name in ("requested", "path", "language", "title", "sentences", "images")}
            except (ValueError, TypeError, KeyError) as error:
                raise UsageError(f"{path}, line {number}: expected a document of the sample site's truth") from error


def score(version: Version, truths: Iterable[Mapping[str, Any]]) -> TruthScore:
    """Compare a version with the truth; memory grows with the site."""
    pages, accepted = _said(version)
    truth = {t["requested"]: t for t in truths}
    expected: Counter[str] = Counter()
    hits: Counter[str] = Counter()
    found: Counter[str] = Counter()
    right: Counter[str] = Counter()
    exact: Counter[str] = Counter()
    unnamed = 0
    wrong = []
    for path, page in truth.items():
        known = pages.get(path) or pages.get(page["path"])
        if known is None:
            wrong.append(f"{path}: no such page")
            continue
        text, uses = known
        facts = {"title": text.title == page["title"], "text": text.text == _paragraphs(page)}
        facts["captions"] = True
        for image in page["images"]:
            candidates = uses.get(image["path"])
            if not candidates:
                unnamed += 1
                continue
            use, said = candidates.pop(0)
            true = _SAME.get(image["reason"], image["reason"]) or KEPT
            allowed = {true, *image["also"]}
            kinds = [true, *([image["role"]] if image["role"] in CHANGES else ())]
            for kind in kinds:
                expected[kind] += 1
                hits[kind] += said in allowed
            found[said] += 1
            right[said] += said in allowed
            if said not in allowed:
                wrong.append(f"{image['path']} ({image['role']}): {said} instead of {true}")
            caption = image["caption"]["text"] if image["caption"] else ""
            if image["keep"] and use.caption != caption:
                facts["captions"] = False
                wrong.append(f"{path}: caption {use.caption!r} instead of {caption!r}")
        wrong += [f"{path}: {name} differs" for name in ("title", "text") if not facts[name]]
        exact.update(name for name, holds in facts.items() if holds)
        exact["all"] += all(facts.values())
    rules = {name for name in (*expected, *found) if name not in CHANGES}
    return TruthScore(
        tuple(RuleScore(n, expected[n], hits[n], found[n], right[n]) for n in sorted(rules)),
        tuple(RuleScore(n, expected[n], hits[n], 0, 0) for n in CHANGES if expected[n]),
        PageScore(len(truth), *(exact[n] for n in ("title", "text", "captions", "all"))),
        len(accepted - {p for page in truth.values() for p in (page["requested"], page["path"])}),
        unnamed,
        tuple(wrong),
    )


def _paragraphs(page: Mapping[str, Any]) -> str:
    """The text as the site sets it: three sentences a paragraph."""
    texts = [sentence["text"] for sentence in page["sentences"]]
    glue = "" if page["language"] == "zh" else " "
    return "\n".join(glue.join(texts[start : start + 3]) for start in range(0, len(texts), 3))


def _said(version: Version) -> tuple[dict[str, tuple[Document, dict[str, list[tuple[Use, str]]]]], set[str]]:
    """By the page's path its document and, by each picture's path, its uses with what became of them; what is kept."""
    found, accepted = {}, set()
    for shard in iter_shards(version):
        for row in shard.records:
            if row["outcome"] != "ok":
                continue
            uses: dict[str, list[tuple[Use, str]]] = defaultdict(list)
            for use in shard.uses[row["record"]]:
                uses[urlsplit(use.url).path].append((use, _fate(shard, use)))
            path = urlsplit(row["url"]).path
            found[path] = shard.document(row), uses
            if row["record"] in shard.accepted:
                accepted.add(path)
    return found, accepted


def _fate(shard: ShardRows, use: Use) -> str:
    """The rule or fetch code that kept a use of an image out; ``kept`` when nothing did."""
    if not use.key:
        return use.outcome.partition(":")[2] or use.outcome
    refusal = shard.use_refusal(use)
    return KEPT if refusal is None else refusal.code
