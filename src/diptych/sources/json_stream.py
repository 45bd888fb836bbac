"""Large JSON files of the form ``{"key": [object, ...], ...}``, read one object at a time in bounded memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diptych.exceptions import SourceError

__all__ = ["stream_arrays"]

_CHUNK = 1 << 20
_LARGEST = 64 << 20
_ENDS = frozenset(",]} \t\r\n")
_SPACE = re.compile(r"[ \t\r\n]*")


def stream_arrays(path: Path, wanted: frozenset[str]) -> Iterator[tuple[str, int, Any]]:
    """(key, index, element) of the wanted top-level arrays, in the order of the file; other values are skipped.

    Raises :class:`SourceError` with the position when the file is no JSON object, or ends in the middle.
    """
    with path.open(encoding="utf-8-sig") as file:
        reader = _Reader(file, path)
        reader.expect("{", "a JSON object")
        if reader.peek() == "}":
            return
        while True:
            key = reader.value()
            reader.expect(":", "':' after a key")
            if reader.peek() == "[":
                index = -1
                for index, element in enumerate(reader.elements()):
                    if key in wanted:
                        yield str(key), index, element
            else:
                reader.value()
            if reader.take_one_of(",}", "',' or '}' after a value") == "}":
                return


class _Reader:
    def __init__(self, file: Any, path: Path) -> None:
        self._file, self._path = file, path
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._at = 0
        self._before = 0

    def _more(self) -> bool:
        try:
            chunk = self._file.read(max(_CHUNK, len(self._text) - self._at))
        except UnicodeDecodeError as error:
            raise SourceError(f"{self._path}: expected UTF-8, found {error}") from None
        if not chunk:
            return False
        self._before += self._at
        self._text = self._text[self._at :] + chunk
        self._at = 0
        return True

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take_one_of(self, allowed: str, what: str) -> str:
        found = self.peek()
        if not found or found not in allowed:
            raise self._wrong(what)
        self._at += 1
        return found

    def expect(self, char: str, what: str) -> None:
        self.take_one_of(char, what)

    def value(self) -> Any:
        """One whole value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError:
                if len(self._text) - self._at > _LARGEST or not self._more():
                    raise self._wrong("a JSON value") from None
                continue
            except (ValueError, RecursionError):  # a number of thousands of digits; brackets in brackets
                raise self._wrong("a JSON value of usual size, not nested too deeply") from None
            if isinstance(value, int | float) and self._text[end : end + 1] not in _ENDS and self._more():
                continue  # a number that may go on: it is read again with more text
            self._at = end
            return value

    def elements(self) -> Iterator[Any]:
        """The elements of the array that begins here."""
        self.expect("[", "'['")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield self.value()
            if self.take_one_of(",]", "',' or ']' after an element") == "]":
                return

    def _wrong(self, what: str) -> SourceError:
        found = self._text[self._at : self._at + 40]
        at = self._before + self._at
        return SourceError(f"{self._path}, character {at}: expected {what}, found {found!r}; is the file complete?")
