"""What a version lacks although its build ended well: what never came, stages that kept nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from diptych.sources.tally import counted
from diptych.storage.manifest import Manifest

__all__ = ["shortfalls"]

_FINE = ("ok", "dropped")
_SHOWN = 5


def shortfalls(manifest: Manifest, recipe: str) -> list[str]:
    """One line for each, with counts, reasons and where to look; ``recipe`` names what can be crawled again, if any."""
    statistics = cast("Mapping[str, Any]", manifest.statistics)
    lines = []
    for what, word in (("records", "record"), ("images", "picture")):
        outcomes: Mapping[str, int] = statistics.get(what, {})
        lost = {code.removeprefix("failed:"): n for code, n in outcomes.items() if code not in _FINE}
        if lost:
            lines.append(f"{sum(lost.values())} of {counted(sum(outcomes.values()), word)} missing: {_named(lost)}")
    if not statistics.get("records"):
        lines.append("there is no record: the sources of the recipe gave none")
    elif lines and recipe:
        lines.append(f"`diptych crawl {recipe} --retry-failed` asks for what failed again")
    for stage, counts in statistics.get("stages", {}).items():
        if counts["rows"] and counts.get("rejected") == counts["rows"]:
            why = _named({code.removeprefix("rejected:"): n for code, n in counts["codes"].items()})
            lines.append(
                f"{stage} kept none of {counted(counts['rows'], 'row')}: {why}; its settings say what it keeps"
            )
    if lines:
        lines.append(
            f"`diptych stats {manifest.dataset}` counts reasons, `diptych show {manifest.dataset} KEY` says why"
        )
    return lines


def _named(codes: Mapping[str, int]) -> str:
    first = sorted(codes.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {counted(len(first) - _SHOWN, 'other reason')}" if len(first) > _SHOWN else ""
    return ", ".join(f"{code} {count}" for code, count in first[:_SHOWN]) + more
