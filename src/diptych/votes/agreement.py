"""How far the annotators of a version agree, question by question: for statistics, cards and reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diptych.metrics.agreement import fleiss_kappa, item_entropy, krippendorff_alpha
from diptych.naming import split_pair_key
from diptych.version import Version
from diptych.votes.kinds import KINDS

__all__ = ["Agreement", "agreement", "agreement_of"]

_STAGES = ("votes", "pair_votes")


@dataclass(frozen=True)
class Agreement:
    """One question; a coefficient that is undefined is None (see :mod:`diptych.metrics.agreement`)."""

    kind: str
    items: int
    """Items with at least one vote; a record that a label file answers is one, whatever pairs it has."""
    votes: int
    decided: int
    """Items with a majority."""
    tied: int
    fleiss_kappa: float | None
    """None, too, when items have different numbers of votes."""
    krippendorff_alpha: float | None
    """At the question's level: interval for numbers, nominal else. None where each item has answers of its own."""
    mean_entropy: float
    """Bits an item."""
    values: Mapping[str, int]
    """Majorities by value; empty where each item has answers of its own."""


def agreement(version: Version) -> tuple[Agreement, ...]:
    """Of every question that was voted on, by name; nothing when the version has no votes."""
    return agreement_of(result for stage in _STAGES if stage in version.stages for result in _results(version, stage))


def _results(version: Version, stage: str) -> Iterator[Mapping[str, Any]]:
    """The results of a stage; what a label file says about a record stands in each of its pairs and counts once.

    A row does not say where its result is from: in a question that labels answer, equal counts of two pairs of a record
    are one item.
    """
    labelled, seen = _labelled(version.manifest.stage(stage).config), set[tuple[Any, ...]]()
    table = version.table(stage, ["results"], state=False)
    for key, results in zip(table["key"].to_pylist(), table["results"].to_pylist(), strict=True):
        for result in results or ():
            if result["kind"] in labelled:
                told = (split_pair_key(key)[0], result["kind"], *result["values"], *result["counts"])
                if told in seen:
                    continue
                seen.add(told)
            yield result


def _labelled(config: Any) -> set[str]:
    """The questions that the label files of a stage's settings answer."""
    files = config.get("labels") if isinstance(config, dict) else None
    return {kind for file in files or () for kind in file["columns"]}


def agreement_of(results: Iterable[Mapping[str, Any]]) -> tuple[Agreement, ...]:
    """The same from the ``results`` of the stages ``votes`` and ``pair_votes``."""
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_kind.setdefault(result["kind"], []).append(result)
    return tuple(_of_kind(kind, by_kind[kind]) for kind in sorted(by_kind))


def _of_kind(name: str, results: Sequence[Mapping[str, Any]]) -> Agreement:
    kind = KINDS[name]
    entropy = [float(item_entropy(np.array([r["counts"]]))[0]) for r in results]
    kappa = alpha = None
    if kind.values:
        counts_NC = np.array([[dict(zip(r["values"], r["counts"], strict=True)).get(v, 0) for v in kind.values]
                              for r in results])  # fmt: skip
        kappa = fleiss_kappa(counts_NC) if len(set(counts_NC.sum(1).tolist())) == 1 else None
        alpha = krippendorff_alpha(counts_NC, kind.level, [float(v) for v in kind.values] if kind.numeric else None)
    decided = [r["value"] for r in results if r["value"] is not None]
    return Agreement(
        kind=name,
        items=len(results),
        votes=sum(r["annotators"] for r in results),
        decided=len(decided),
        tied=sum(r["tied"] for r in results),
        fleiss_kappa=_defined(kappa),
        krippendorff_alpha=_defined(alpha),
        mean_entropy=float(np.mean(entropy)),
        values=dict(sorted(Counter(decided).items())) if kind.values else {},
    )


def _defined(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
