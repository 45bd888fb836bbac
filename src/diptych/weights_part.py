"""A download over HTTP that is cut and continued: when the bytes on disk and the answer are of the same file.

Beside the part stand its address, the server's validator (a strong ETag, else Last-Modified) and the length of the
whole; it is continued only where all three are still the same. Where the server names no validator it is continued only
when the publisher's hash is ``known``, which then decides. Of a file without such a hash nobody would notice that it is
an error page or the first half, so an answer must say how long it is, and a file must begin as those of its kind do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diptych.exceptions import WeightsError

if TYPE_CHECKING:
    from requests import Response

__all__ = ["Refused", "check_kind", "complete", "forget"]

_PIECE = 1 << 16
_TIMEOUT = (10, 60)
_TORCH = (b"PK\x03\x04", b"\x80")
_BEGINS: Mapping[str, tuple[int, tuple[bytes, ...]]] = {
    **dict.fromkeys((".pth", ".pt", ".bin"), (0, _TORCH)),
    ".pkl": (0, (b"\x80", b"(")),
    ".safetensors": (8, (b"{",)),
    ".json": (0, (b"{", b"[")),
}
"""Of the end of a file's name: where, and with what, its content begins."""


class Refused(WeightsError):
    """What the same address would answer again."""


@dataclass(frozen=True)
class _Origin:
    """Of which file a part is; ``validator`` empty and ``total`` (bytes) 0 where the server named none."""

    url: str
    validator: str
    total: int


def complete(part: Path, url: str, known: bool, told: Callable[[int, int], None]) -> bool:
    """Download what is missing of a part, telling bytes so far and in all; ``OSError`` or :class:`WeightsError`.

    Whether doing so anew may give another file: it was continued, or of unknown length. It stays where the answer
    was cut, and is removed where it is of another file.
    """
    import requests

    origin, have = _kept(part, url, known)
    if have and have == origin.total:  # killed between the last byte and the comparison
        return True
    headers = {"Accept-Encoding": "identity"}  # ranges of packed bytes would not fit together
    if have:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": origin.validator} if origin.validator else {})
    with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
        continued = bool(have) and answer.status_code == 206
        if have and (answer.status_code == 416 or (continued and not _continues(answer, origin, have))):
            part.unlink()
            raise WeightsError("the part on disk did not belong to this file; starting again")
        if not continued:
            _check_answer(answer, known)
            have, origin = 0, _begin(answer, url, part)
        _receive(answer, part, have, origin.total, told)
    return continued or not origin.total


def check_kind(part: Path, name: str) -> None:
    """Remove a part that does not begin as files with such a name do, and raise."""
    at, allowed = _BEGINS.get(Path(name).suffix, (0, (b"",)))
    with open(part, "rb") as handle:
        found = handle.read(24)
    if not found[at:].startswith(allowed):
        part.unlink()
        raise WeightsError(f"expected a {Path(name).suffix} file, found one that begins with {found!r}")


def forget(part: Path) -> None:
    """Remove what stands beside a part."""
    _note_of(part).unlink(missing_ok=True)


def _kept(part: Path, url: str, known: bool) -> tuple[_Origin, int]:
    """What a part is of, and how many bytes it has; 0 when it must begin again."""
    nothing = _Origin(url, "", 0)
    try:
        origin = _Origin(**json.loads(_note_of(part).read_text()))
        have = part.stat().st_size
        fits = origin.url == url and (origin.validator or known) and not 0 < origin.total < have
    except (OSError, ValueError, TypeError):
        return nothing, 0
    return (origin, have) if fits else (nothing, 0)


def _check_answer(answer: Response, known: bool) -> None:
    """Raise for an answer that is no whole file, or, where no hash is known, may be something else."""
    if answer.status_code != 200:
        lasting = 400 <= answer.status_code < 500 and answer.status_code not in (408, 425, 429)
        raise (Refused if lasting else WeightsError)(f"answered {answer.status_code}")
    if known:
        return
    if answer.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml")):
        raise Refused("answered with a page (text/html), not with the file")
    if _packed(answer) or "Content-Length" not in answer.headers:
        raise Refused("did not say how long the file is, and no published hash tells whether it is whole")
    if not _length(answer):
        raise Refused("answered with an empty file")


def _begin(answer: Response, url: str, part: Path) -> _Origin:
    """Empty the part and write beside it of what it is; nothing where the answer is packed: it cannot be continued."""
    forget(part)
    part.write_bytes(b"")
    if _packed(answer):
        return _Origin(url, "", 0)
    origin = _Origin(url, _validator(answer), _length(answer))
    _note_of(part).write_text(json.dumps(asdict(origin)))
    return origin


def _continues(answer: Response, origin: _Origin, have: int) -> bool:
    """Whether a partial answer is the rest of this part: from its end to the file's, of the same file."""
    told = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
    if told is None or _packed(answer) or _validator(answer) != origin.validator:
        return False
    total = int(told[2]) + 1 if told[3] == "*" else int(told[3])
    return int(told[1]) == have and int(told[2]) + 1 == total == (origin.total or total)


def _receive(answer: Response, part: Path, have: int, total: int, told: Callable[[int, int], None]) -> None:
    """Append the answer to the part; :class:`WeightsError` when it ended early."""
    told(have, total)
    with open(part, "ab") as out:
        for piece in answer.iter_content(_PIECE):  # what cannot be unpacked raises; the next call begins again
            out.write(piece)
            have += len(piece)
            told(have, total)
    if total and have != total:
        raise WeightsError(f"ended after {have} of {total} bytes")


def _validator(answer: Response) -> str:
    tag = answer.headers.get("ETag", "")
    return tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")


def _length(answer: Response) -> int:
    told = answer.headers.get("Content-Length", "")
    return int(told) if told.isdecimal() else 0


def _packed(answer: Response) -> bool:
    return answer.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity")


def _note_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")
