"""Flickr30k Entities: which phrase of which caption names which box of the picture.

``Sentences/<image>.txt`` has a caption a line, in which ``[/EN#283585/people/clothing Two men]`` marks a phrase of the
entity 283585 (0: of nothing that has a box); ``Annotations/<image>.xml`` has the objects, each with the entities it
belongs to (``name``) and a box, or the note that it is a whole scene or cannot be boxed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lxml import etree  # pyright: ignore[reportAttributeAccessIssue]  (a compiled module without stubs)

from diptych.sources.malformed import Malformed

__all__ = ["read_boxes", "read_entities", "read_phrases"]

_PHRASE = re.compile(r"\[/EN#(\d+)((?:/[\w.-]+)+) ([^\[\]]+)\]")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_NUMBER = re.compile(r"[0-9]{1,9}")
_LARGEST = 4 << 20


def read_entities(folder: Path, image: str, malformed: Malformed) -> dict[str, Any]:
    """``width``, ``height``, ``boxes`` (xyxy, pixels) and, for each box, ``phrases``: those that name what it shows.

    An image without files has none of them; lines and objects that cannot be read go to ``malformed``.
    """
    name = image.rpartition(".")[0] or image
    annotation, sentences = folder / "Annotations" / f"{name}.xml", folder / "Sentences" / f"{name}.txt"
    if not annotation.is_file() or not sentences.is_file():
        for path in (annotation, sentences):
            if not path.is_file():
                malformed.add(path, "the file", f"to exist, as {image} does", "none")
        return {}
    phrases = read_phrases(sentences, malformed)
    found = read_boxes(annotation, malformed)
    boxes = found.pop("objects", [])
    return {
        **found,
        "boxes": [box for _, box in boxes],
        "phrases": [list(dict.fromkeys(p for name in names for p in phrases.get(name, ()))) for names, _ in boxes],
    }


def read_phrases(path: Path, malformed: Malformed) -> dict[str, list[str]]:
    """Entity to its phrases in the order of the captions; a line with a broken mark is left out as a whole."""
    found: dict[str, list[str]] = {}
    data = path.read_bytes()[:_LARGEST].removeprefix(b"\xef\xbb\xbf")
    for number, raw in enumerate(data.split(b"\n"), 1):
        line = raw.decode("utf-8", "replace").strip()
        if "\ufffd" in line or "[" in _PHRASE.sub("", line) or "]" in _PHRASE.sub("", line):
            malformed.add(path, f"line {number}", "phrases as [/EN#12/people a man] in UTF-8", line)
            continue
        for match in _PHRASE.finditer(line):
            found.setdefault(match[1], []).append(" ".join(match[3].split()))
    return found


def read_boxes(path: Path, malformed: Malformed) -> dict[str, Any]:
    """``width`` and ``height`` where they stand, and ``objects``: (entities, box xyxy) of each object with a box."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False)
    try:
        root = etree.fromstring(path.read_bytes()[:_LARGEST], parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        malformed.add(path, f"line {getattr(error, 'lineno', 1) or 1}", "XML of an annotation", error)
        return {}
    sizes = {k: root.findtext(f"size/{k}", "") for k in ("width", "height")}
    found: dict[str, Any] = {k: int(text) for k, text in sizes.items() if _NUMBER.fullmatch(text)}
    objects: list[tuple[list[str], list[int]]] = []
    for item in root.iter("object"):
        corners = item.find("bndbox")
        if corners is None:
            continue
        names = [name for node in item.findall("name") if (name := (node.text or "").strip())]
        texts = [(corners.findtext(name) or "").strip() for name in _CORNERS]
        if not names or not all(_NUMBER.fullmatch(text) for text in texts):
            malformed.add(path, f"line {item.sourceline}", "an object with name and bndbox of four numbers", texts)
            continue
        box = [int(text) for text in texts]
        if box[0] > box[2] or box[1] > box[3]:
            malformed.add(path, f"line {item.sourceline}", "xmin <= xmax and ymin <= ymax", box)
            continue
        objects.append((names, box))
    return {**found, "objects": objects}
