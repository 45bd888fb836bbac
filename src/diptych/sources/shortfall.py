"""When a crawl did not bring enough: too few URLs fetched well, or too many records vanishing at once.

Gone is what answers 404 or 410, and a page whose address for now leads elsewhere (``redirected``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diptych.exceptions import NothingCommitted
from diptych.sources.base import Source
from diptych.sources.tally import CrawlReport
from diptych.storage.fetch_log import LogIndex

__all__ = ["Vanishing", "check_success", "vanished"]

_NAMED = 20
"""Addresses that an error lists."""


@dataclass(frozen=True)
class Vanishing:
    """How many records may go at once: the largest share, and after how many crawls one has left anyway."""

    most: float = 0.1
    after: int = 3


def check_success(sources: Sequence[Source], report: CrawlReport) -> None:
    """:class:`NothingCommitted` naming the sources below their limit, the reasons and the hosts."""
    low = [s for s in sources if report.success.get(s.name, 1.0) < s.config.min_success]
    if not low:
        return
    lines = [
        f"source {s.name!r}: {report.success[s.name]:.1%} of its URLs were fetched well, the recipe's min_success is "
        f"{s.config.min_success:.0%}"
        for s in low
    ]
    lines.append(report.why())
    lines += [
        f"host {host} failed throughout: {count} URLs, mostly {code}" for host, count, code in report.hosts_failed[:8]
    ]
    lines += [f"missed {url}: {code}" for url, code in report.missed[:_NAMED]]
    lines.append(
        "what was fetched is kept; run 'diptych crawl RECIPE --retry-failed' when the cause is gone, "
        "or 'diptych build RECIPE --no-crawl' for a version without what failed"
    )
    raise NothingCommitted("\n".join(lines))


def vanished(index: LogIndex, source: str, limit: Vanishing) -> list[str]:
    """What to say when too many records that have content are gone; nothing when few are, or left long ago."""
    gone = good = 0
    named: list[str] = []
    for state in index.records(source):
        good += state.outcome == "ok"
        if state.document and state.outcome == "gone" and state.gone <= limit.after:
            gone += 1
            if len(named) < _NAMED:
                named.append(f"gone {state.url}: {state.code}, in {state.gone} crawl{'s' if state.gone > 1 else ''}")
    if gone <= limit.most * (gone + good):
        return []
    if gone > len(named):
        named.append(f"and {gone - len(named)} more")
    return [
        f"source {source!r}: {gone} of {gone + good} records that were good ({gone / (gone + good):.1%}) now answer "
        f"404 or 410 or lead elsewhere, limits.max_shrink is {limit.most:.1%}:",
        *named,
        f"their last good content is kept until they answered so in {limit.after} crawls (limits.gone_after); "
        "when it is right that they go, use --allow-shrink",
    ]
