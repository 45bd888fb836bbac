"""From bytes to text: byte order mark, the server's charset, the page's own, then what fits."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable

__all__ = ["decode_page", "decode_text"]

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.I)
_XML = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_.:-]{2,40})""", re.I)
_HEADER = re.compile(r"""charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.I)
# What browsers take a label for: the larger set that contains it.
_ALIASES = {
    "gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "gb_2312-80": "gb18030", "hz-gb-2312": "hz",
    "iso-8859-1": "cp1252", "latin1": "cp1252", "latin-1": "cp1252", "ascii": "cp1252", "us-ascii": "cp1252",
    "iso8859-1": "cp1252", "windows-1252": "cp1252", "iso-8859-9": "cp1254", "shift_jis": "cp932", "x-sjis": "cp932",
    "ks_c_5601-1987": "cp949", "euc-kr": "cp949", "big5": "big5hkscs", "tis-620": "cp874",
    "utf8": "utf-8", "unicode": "utf-8",
}  # fmt: skip
# Python's names of the encodings that browsers know, with HZ. Its others are no text, or read escapes (utf-7).
_KNOWN = frozenset(
    """utf-8 utf-16-le utf-16-be cp866 cp874 cp932 cp949 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258
    iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-6 iso8859-7 iso8859-8 iso8859-10 iso8859-13 iso8859-14 iso8859-15
    iso8859-16 koi8-r koi8-u mac-roman mac-cyrillic gb18030 big5hkscs euc_jp iso2022_jp hz""".split()
)
_WIDER = {"ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
          "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "big5hkscs",
          "utf-16": "utf-16-le"}  # fmt: skip
"""The same by Python's names, for the labels that only Python's list of aliases has."""


def decode_page(data: bytes, content_type: str = "") -> str:
    """A page's text. A label that the bytes contradict is not believed when they are valid UTF-8.

    Order: byte order mark, charset of the Content-Type header, ``<meta>`` or XML declaration, UTF-8, each without a
    fault; the same with a few bytes that are none (each becomes U+FFFD); GB 18030 when that decodes without error to
    common ideographs, Windows-1252. UTF-16 is believed of a header when the markup is so written; a ``<meta>`` that
    could be read as ASCII is not UTF-16.
    """
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    head = data[:4096]
    stated = [codec for label in _HEADER.findall(content_type) if (codec := _codec(label))]
    for codec in stated:
        if codec.startswith("utf-16") and "<".encode(codec) in data:
            return data.decode(codec, "replace")
    stated += [codec for found in _META.findall(head)[:1] + _XML.findall(head)[:1] if (codec := _codec(found.decode()))]
    stated = ["utf-8" if codec.startswith("utf-16") else codec for codec in stated]
    for codec in stated:
        text = _strict(data, codec)
        if text is None:
            continue
        if codec != "utf-8" and not data.isascii() and (better := _strict(data, "utf-8")) is not None:
            return better  # bytes above 127 that form valid UTF-8 are nothing else
        return text
    text = _guess(data, stated)
    if text is not None:
        return text
    return data.decode(stated[0] if stated else "utf-8", "replace")


def decode_text(data: bytes) -> str:
    """The text of a local file without any label."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    text = _guess(data)
    return text if text is not None else data.decode("utf-8", "replace")


def _codec(label: str) -> str | None:
    """Python's name of the encoding that browsers take a label for; None when they know none."""
    try:
        name = codecs.lookup(_ALIASES.get(label.lower(), label.lower())).name
    except (LookupError, ValueError):
        return None
    name = _WIDER.get(name, name)
    return name if name in _KNOWN else None


def _strict(data: bytes, codec: str) -> str | None:
    try:
        return data.decode(codec)
    except UnicodeError:
        return None


def _guess(data: bytes, stated: Iterable[str] = ()) -> str | None:
    text = _strict(data, "utf-8")
    if text is not None:
        return text
    for codec in ("utf-8", *stated):  # one byte that is none must not spoil all the others
        text = data.decode(codec, "replace")
        if 2 * text.count("\ufffd") < sum(char > "\x7f" for char in text):
            return text
    chinese = _strict(data, "gb18030")
    if chinese is not None:
        # Common ideographs and punctuation are the rows A1-A3 and B0-D7 of GB 2312; accented letters seldom fall there.
        wide = [char.encode("gb18030") for char in chinese if char > "\x7f"]
        common = sum(
            len(code) == 2 and (0xA1 <= code[0] <= 0xA3 or 0xB0 <= code[0] <= 0xD7) and code[1] > 0xA0 for code in wide
        )
        if len(wide) >= 4 and common > 0.8 * len(wide):
            return chinese
    return _strict(data, "cp1252")
