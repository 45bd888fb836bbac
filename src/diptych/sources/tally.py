"""What a crawl came to: counts by kind and outcome, the reasons of failure, the hosts that failed throughout."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass

from diptych.sources.urls import host_of
from diptych.storage.fetch_log import Attempt, DocumentRow, FetchLog, Mark, Row

__all__ = ["CrawlReport", "Tally", "counted", "summarise"]

_NAMES = {"robots": ("robots.txt", "robots.txt"), "api": ("API answer",)}
_COUNTED = ("page", "image", "file", "api")
_MALFORMED = 10
_SHOWN = 8
_REMEDIES = {
    "private_address": "addresses of this machine or its network are only asked for with "
    "`fetch: {allow_private: true}` in the source's settings",
    "robots": "robots.txt of the site forbids it; `fetch: {robots: false}` is for hosts of your own only",
    "robots_unreachable": "robots.txt of the site could not be read, and without it nothing is asked for",
}


@dataclass(frozen=True)
class CrawlReport:
    """The totals of one crawl; ``reasons`` and ``hosts_failed`` are sorted, the most frequent first."""

    crawl: str
    continued: bool
    seconds: float
    requests: int
    """Attempts over the network, robots.txt and sitemaps included."""
    bodies: int
    """Answers that brought bytes over the network."""
    bytes: int
    counts: dict[str, dict[str, int]]
    """Kind -> outcome -> settled URLs or files."""
    success: dict[str, float]
    """Source -> share of its URLs and files that have bytes (what publishers forbid is not counted)."""
    reasons: tuple[tuple[str, int], ...]
    first: dict[str, str]
    """Reason -> an address that failed for it."""
    hosts_failed: tuple[tuple[str, int, str], ...]
    """Hosts that gave nothing: name, URLs, the commonest reason."""
    documents: dict[str, int]
    """Records: ``ok``, ``missed`` (by outcome ``missed:<outcome>``), ``new``, ``changed``."""
    missed: tuple[tuple[str, str], ...]
    """URLs and reasons of records that could not be read; the first hundred."""
    malformed: tuple[str, ...] = ()
    """Rows, entries and files that sources left out or could not read: source, file, line or field, what is wrong."""

    @property
    def success_rate(self) -> float:
        """Share of all counted URLs and files that have bytes; 1 when there were none."""
        good = total = 0
        for kind in _COUNTED:
            for outcome, count in self.counts.get(kind, {}).items():
                if outcome != "refused":
                    total += count
                    good += count if outcome in ("ok", "not_modified") else 0
        return good / total if total else 1.0

    def to_dict(self) -> dict[str, object]:
        """For ``--json``."""
        return {**asdict(self), "success_rate": self.success_rate}

    def lines(self) -> list[str]:
        """For people."""
        fetched = ", ".join(
            f"{counted(sum(by.values()), *_NAMES.get(kind, (kind,)))} "
            f"({', '.join(f'{n} {outcome}' for outcome, n in sorted(by.items()))})"
            for kind, by in sorted(self.counts.items())
        )
        out = [
            f"crawl {self.crawl}{' (continued)' if self.continued else ''}: {fetched or 'nothing to fetch'}",
            f"{counted(self.requests, 'request')}, {self.bytes} bytes, {self.seconds:.1f} s, {self._success()}",
            "records: " + (", ".join(f"{n} {name}" for name, n in sorted(self.documents.items())) or "none was found"),
        ]
        if self.reasons:
            out += [self.why(), *self.remedies()]
        out += [
            f"host {host} failed throughout: {counted(count, 'URL')}, mostly {code}"
            for host, count, code in self.hosts_failed
        ]
        if self.malformed:
            out.append(f"{counted(len(self.malformed), 'entry', 'entries')} of files malformed:")
            out += [f"  {line}" for line in self.malformed[:_MALFORMED]]
            if (more := len(self.malformed) - _MALFORMED) > 0:
                out.append(f"  and {more} more (--json has them)")
        return out

    def _success(self) -> str:
        """The share of success, without what was refused; nothing is called a success where all was refused."""
        outcomes = Counter[str]()
        for kind in _COUNTED:
            outcomes.update(self.counts.get(kind, {}))
        if outcomes and outcomes.keys() == {"refused"}:
            return "everything was refused"
        refused = outcomes["refused"]
        return f"{self.success_rate:.1%} successful" + (f" ({refused} refused not counted)" if refused else "")

    def why(self) -> str:
        """The commonest reasons, each with how often and an address that failed for it."""
        shown = ", ".join(f"{code} {n} (as {self.first[code]})" for code, n in self.reasons[:_SHOWN])
        rest = self.reasons[_SHOWN:]
        more = f", and {counted(len(rest), 'other reason')} ({sum(n for _, n in rest)} times)" if rest else ""
        return f"reasons: {shown}{more}"

    def remedies(self) -> list[str]:
        """What can be done about reasons that a setting decides."""
        return [f"{code}: {_REMEDIES[code]}" for code, _ in self.reasons if code in _REMEDIES]


class Tally:
    """Adds up rows of one crawl; memory grows with sources, hosts and reasons only."""

    def __init__(self) -> None:
        self.requests = self.bodies = self.bytes = 0
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.by_source: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.reasons: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.hosts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.documents: Counter[str] = Counter()
        self.missed: list[tuple[str, str]] = []
        self.malformed: list[str] = []
        self.started = self.ended = 0.0

    def add(self, row: Row) -> None:
        """Count one row."""
        if isinstance(row, Attempt):
            self._attempt(row)
        elif isinstance(row, DocumentRow):
            self.documents["ok" if row.outcome == "ok" else f"missed:{row.outcome}"] += 1
            if row.outcome not in ("ok", "left") and len(self.missed) < 100:
                self.missed.append((row.url, row.code or row.outcome))
        elif isinstance(row, Mark):
            self.started = self.started or row.started_at
            self.ended = max(self.ended, row.started_at)

    def _attempt(self, row: Attempt) -> None:
        if row.kind != "file":
            self.requests += row.code not in (
                "robots",
                "robots_unreachable",
                "host_down",
                "host_busy",
                "forgotten",
                "bad_url",
            )
            if row.bytes:
                self.bodies += 1
                self.bytes += row.bytes
        if not row.settled:
            return
        self.counts[row.kind][row.outcome] += 1
        good = row.outcome in ("ok", "not_modified")
        if not good and not (row.kind == "robots" and row.outcome == "gone"):  # no robots.txt: all is allowed
            self.reasons[row.code or row.outcome] += 1
            self.first.setdefault(row.code or row.outcome, row.url)
        if row.kind in _COUNTED:
            self.by_source[row.source]["good" if good else row.outcome] += 1
        if row.kind in ("page", "image") and row.outcome != "refused":
            self.hosts[host_of(row.final_url or row.url)]["good" if good else row.code] += 1

    @property
    def settled(self) -> int:
        """URLs and files done."""
        return sum(sum(by.values()) for by in self.counts.values())

    def success(self, source: str) -> float:
        """Share of a source's URLs and files that have bytes; 1 when it asked for none."""
        by = self.by_source[source]
        total = sum(count for outcome, count in by.items() if outcome != "refused")
        return by["good"] / total if total else 1.0

    def report(self, crawl: str, continued: bool, seconds: float) -> CrawlReport:
        """The totals so far."""
        failed = [
            (host, sum(by.values()), by.most_common(1)[0][0])
            for host, by in self.hosts.items()
            if not by["good"] and sum(by.values())
        ]
        return CrawlReport(
            crawl=crawl,
            continued=continued,
            seconds=round(seconds, 3),
            requests=self.requests,
            bodies=self.bodies,
            bytes=self.bytes,
            counts={kind: dict(sorted(by.items())) for kind, by in sorted(self.counts.items())},
            success={source: self.success(source) for source in sorted(self.by_source)},
            reasons=tuple(sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))),
            first=dict(self.first),
            hosts_failed=tuple(sorted(failed, key=lambda item: (-item[1], item[0]))),
            documents=dict(sorted(self.documents.items())),
            missed=tuple(self.missed),
            malformed=tuple(self.malformed),
        )


def counted(count: int, one: str, many: str = "") -> str:
    """A number with its noun: ``1 file``, ``30 files``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def summarise(log: FetchLog, crawl: str) -> CrawlReport:
    """The report of a crawl that is in the log."""
    tally = Tally()
    for row in log.rows(crawl):
        tally.add(row)
    return tally.report(crawl, False, tally.ended - tally.started)
