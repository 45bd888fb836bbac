"""Advertisement filters in the syntax of Adblock Plus, as far as it concerns the address of a picture.

Understood: ``||host^`` and ``||host/path``, ``|start``, ``end|``, ``*``, ``^``, ``/regular expression/``,
exceptions ``@@``, comments ``!``, the options ``image``, ``all``, ``match-case``, ``important`` and those for
pictures of another site than the page's (``third-party``) or of its own. Filters with other options and
element-hiding rules are left out: they speak of scripts, frames, new windows or of the page around the
picture. A host rule also covers the host's subdomains.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from urllib.parse import urlsplit

__all__ = ["FilterList", "own_filters"]

_OPTIONS = {"image", "all", "match-case", "important", "popup"}
_PARTY = {
    **dict.fromkeys(("third-party", "3p", "~first-party", "~1p"), True),
    **dict.fromkeys(("~third-party", "~3p", "first-party", "1p"), False),
}
"""Whether the picture must be of another site."""
_SECOND = {"ac", "co", "com", "edu", "gov", "net", "or", "org"}
"""Names that stand below a country's as ``co`` in ``co.uk``: what is registered is the name before."""
_HIDING = re.compile(r"#[@?$%]*#")
_HOST_RULE = re.compile(r"\|\|([a-z0-9.-]+)\^$", re.IGNORECASE)
_TOKEN = re.compile(r"[a-z0-9]{3,}")
_SEPARATOR = r"(?:[^\w.%-]|$)"


def own_filters() -> str:
    """The short list that Diptych ships (written for it; the common lists are under the GPL)."""
    return (files("diptych.stages") / "advertisements.txt").read_text(encoding="utf-8")


@dataclass(frozen=True)
class _Rule:
    """A filter's line; ``elsewhere``: only for pictures of another site (True) or of the page's own (False)."""

    line: str
    elsewhere: bool | None = None

    def holds(self, elsewhere: bool) -> bool:
        return self.elsewhere in (None, elsewhere)


@dataclass
class _Side:
    """Either the blocking or the excepting half of a list."""

    hosts: dict[str, list[_Rule]] = field(default_factory=dict)
    by_token: dict[str, list[tuple[re.Pattern[str], _Rule]]] = field(default_factory=dict)

    def add(self, pattern: str, rule: _Rule, flags: int) -> None:
        host = _HOST_RULE.match(pattern)
        if host:
            self.hosts.setdefault(host[1].lower(), []).append(rule)
            return
        expression, token = _compiled(pattern, flags)
        self.by_token.setdefault(token, []).append((expression, rule))

    def match(self, url: str, host: str, elsewhere: bool) -> str | None:
        labels = host.split(".")
        for start in range(len(labels)):
            for rule in self.hosts.get(".".join(labels[start:]), ()):
                if rule.holds(elsewhere):
                    return rule.line
        for token in ["", *dict.fromkeys(_TOKEN.findall(url.lower()))]:
            for expression, rule in self.by_token.get(token, ()):
                if rule.holds(elsewhere) and expression.search(url):
                    return rule.line
        return None


class FilterList:
    """The filters of one or more list texts; ``match`` gives the line that blocks an address."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._block, self._allow = _Side(), _Side()
        for text in texts:
            for line in text.splitlines():
                self._add(line.strip())

    def _add(self, line: str) -> None:
        if not line or line.startswith(("!", "[")) or _HIDING.search(line):
            return
        side, pattern = (self._allow, line[2:]) if line.startswith("@@") else (self._block, line)
        is_regex = len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/")
        body, dollar, options = pattern.rpartition("$")
        elsewhere, flags = None, re.IGNORECASE
        if dollar and not is_regex:
            given = set(options.lower().split(","))
            if not given <= _OPTIONS | set(_PARTY) or ("popup" in given and not given & {"image", "all"}):
                return
            elsewhere = next((_PARTY[option] for option in given if option in _PARTY), None)
            flags = re.NOFLAG if "match-case" in given else flags
            pattern = body
        if pattern.strip("|*^"):
            try:
                side.add(pattern, _Rule(line, elsewhere), flags)
            except re.error:
                return

    def match(self, url: str, page: str = "") -> str | None:
        """The first line that blocks ``url`` on a ``page`` and that no exception takes back, else None.

        Of a page that is not known every address is of another site.
        """
        host = _host(url)
        elsewhere = not host or _site(host) != _site(_host(page))
        line = self._block.match(url, host, elsewhere)
        return None if line is None or self._allow.match(url, host, elsewhere) else line


def _host(url: str) -> str:
    try:
        return urlsplit(url.lower()).hostname or ""
    except ValueError:
        return ""


def _site(host: str) -> str:
    """What somebody registered: the last two labels, or three below a country's ``co.uk`` and the like."""
    labels = host.split(".")
    if len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND:
        return ".".join(labels[-3:])
    return host if host.replace(".", "").isdigit() or ":" in host else ".".join(labels[-2:])


def _compiled(pattern: str, flags: int) -> tuple[re.Pattern[str], str]:
    """The pattern as a regular expression, and a token that every address it matches contains (or "")."""
    if len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/"):
        return re.compile(pattern[1:-1], flags), ""
    head = r"^[\w+.-]+://(?:[^/?#]*\.)?" if pattern.startswith("||") else "^" if pattern[0] == "|" else ""
    tail = "$" if pattern.endswith("|") else ""
    body = pattern.lstrip("|").removesuffix("|")
    parts = [".*" if c == "*" else _SEPARATOR if c == "^" else re.escape(c) for c in body.strip("*")]
    return re.compile(head + "".join(parts) + tail, flags), _token(body.lower(), bool(head), bool(tail))


def _token(body: str, anchored: bool, ended: bool) -> str:
    """The longest run of letters and digits that is bounded in the pattern, hence a whole token of the address."""
    best = ""
    for found in _TOKEN.finditer(body):
        left = body[found.start() - 1] if found.start() else ("|" if anchored else "*")
        right = body[found.end()] if found.end() < len(body) else ("|" if ended else "*")
        if left != "*" and right != "*" and len(found[0]) > len(best):
            best = found[0]
    return best
