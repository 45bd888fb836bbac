"""One question to Baidu's image recognition (general objects and scenes, v2), and what its answers mean.

The token stands in the address, so no text of an exception of the HTTP library is ever passed on.
"""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import requests
from PIL import Image

from diptych.exceptions import StageError
from diptych.imaging import decode_array
from diptych.stages.splitting import encodable

__all__ = ["ENDPOINT", "Entity", "Refusal", "ask", "entities_of", "sendable"]

ENDPOINT = "https://aip.baidubce.com/rest/2.0/image-classify/v2/advanced_general"
_BUSY = frozenset({1, 2, 4, 18, 282000})
"""Internal error, unavailable, cluster limit, too many a second: asked again."""
_QUOTA = frozenset({17, 19})
_TOKEN = frozenset({6, 13, 14, 15, 100, 110, 111})
_MAX_ANSWER = 1 << 20
_MAX_SENT = 3 << 20  # in base64 these are the 4 MB that the service takes
_SIDES = (15, 4096)


@dataclass(frozen=True)
class Entity:
    """A thing or scene in a picture; ``root`` is its category in the service's own tree, or empty."""

    name: str
    score: float
    root: str


class Refusal(Exception):
    """No answer for this picture: a code, whether it can heal, and whether the day's quota is used up."""

    def __init__(self, code: str, text: str, *, transient: bool, quota: bool = False) -> None:
        super().__init__(text)
        self.code, self.transient, self.quota = code, transient, quota


def sendable(data: bytes) -> bytes:
    """The picture as the service takes it: as it is, or scaled and written as JPEG; ``ImageRefused`` if it is none."""
    pixels = decode_array(data)
    short, long = sorted(pixels.shape[:2])
    with Image.open(io.BytesIO(data)) as image:
        known = image.format in ("JPEG", "PNG", "BMP")
    if known and short >= _SIDES[0] and long <= _SIDES[1] and len(data) <= _MAX_SENT:
        return data
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((1024, 1024))
    picture = picture.resize((max(picture.width, _SIDES[0]), max(picture.height, _SIDES[0])))
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=90)
    return sink.getvalue()


def ask(
    session: requests.Session,
    endpoint: str,
    token: str,
    picture: bytes,
    *,
    tries: int = 3,
    timeout: float = 20.0,
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, Any]:
    """The service's answer about a picture; :class:`Refusal` for this picture, :class:`StageError` for the token."""
    for number in range(1, tries + 1):
        try:
            return _once(session, endpoint, token, picture, timeout)
        except Refusal as refusal:
            if not refusal.transient or refusal.quota or number == tries:
                raise
        pause(0.5 * 2**number)
    raise AssertionError("unreachable")


def _once(session: requests.Session, endpoint: str, token: str, picture: bytes, timeout: float) -> dict[str, Any]:
    form = {"image": base64.b64encode(picture).decode("ascii")}
    try:
        with session.post(
            endpoint, params={"access_token": token}, data=form, timeout=timeout, allow_redirects=False, stream=True
        ) as response:
            status, body = response.status_code, response.raw.read(_MAX_ANSWER + 1, decode_content=True)
    except (requests.RequestException, OSError) as error:
        raise Refusal("unreachable", type(error).__name__, transient=True) from None
    except Exception as error:  # urllib3's own, while the body is read
        raise Refusal("unreachable", type(error).__name__, transient=True) from None
    if status != 200:
        raise Refusal(f"http_{status}", "the service's HTTP status", transient=status >= 500 or status == 429)
    try:
        answer = json.loads(body) if len(body) <= _MAX_ANSWER else None
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise Refusal("bad_answer", f"{len(body)} bytes that are no JSON object", transient=True)
    code = answer.get("error_code")
    if code:
        _refuse(code, encodable(str(answer.get("error_msg", "")))[:200].replace(token, "..."))
    entities_of(answer)
    return answer


def _refuse(code: Any, text: str) -> None:
    if code in _TOKEN:
        raise StageError(f"stage entities: the service refuses the token (error {code}: {text}); get a new one")
    quota = code in _QUOTA
    number = code if isinstance(code, int) else 0
    raise Refusal("quota" if quota else f"baidu_{number}", text, transient=quota or code in _BUSY, quota=quota)


def entities_of(answer: dict[str, Any]) -> list[Entity]:
    """The entities of an answer, the surest first, then by name; :class:`Refusal` when it has another shape."""
    result = answer.get("result")
    try:
        found = [
            Entity(encodable(str(r["keyword"])), float(r["score"]), encodable(str(r.get("root") or "")))
            for r in result or ()
        ]
    except (TypeError, KeyError, ValueError, AttributeError):
        raise Refusal("bad_answer", "the result has another shape", transient=True) from None
    if not isinstance(result, list) or not all(0 <= e.score <= 1 for e in found):
        raise Refusal("bad_answer", "no list of results, or a score outside 0 to 1", transient=True)
    return sorted(found, key=lambda e: (-e.score, e.name))
