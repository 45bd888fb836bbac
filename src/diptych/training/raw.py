"""Raw documents as a version that a fitted run can read: the stages it needs, built in a folder that goes afterwards.

The recipe is that of the version the run was trained on, cut to the stages that lead to what the model reads; nobody
has voted; pinned fits that these stages read are the version's own, not made again. Stage keys are compared with the
version's, so that a model never sees features of other weights or settings than those it was trained on.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from diptych.engine.build import build
from diptych.engine.context import BuildOptions
from diptych.engine.crawling import crawl_recipe
from diptych.engine.graph import TABLES, Graph, load_graph
from diptych.exceptions import UsageError
from diptych.recipe import parse_recipe
from diptych.sources.folder import PICTURES
from diptych.sources.inspect import suggest
from diptych.storage.manifest import Manifest
from diptych.storage.store import open_store
from diptych.training.needs import fields_of
from diptych.training.phase import Stream
from diptych.version import Version, open_version

if TYPE_CHECKING:
    from diptych.sources.base import SuggestedSource

__all__ = ["as_version", "raw_recipe"]

ANSWERED = ("votes", "pair_votes")
"""Stages that read what people answered: of raw documents nobody was asked."""
_TEXTS = (".txt", ".md")
_SIDECARS = (".json", ".txt")


@contextmanager
def as_version(
    trained: Version,
    stream: Stream,
    source: Path,
    *,
    device: str = "cpu",
    workers: int = 2,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Version]:
    """The documents of a folder or file with all that ``stream`` reads; the version is gone afterwards.

    A folder is one that ``diptych init --from`` understands (documents, captions, pictures with texts beside them,
    COCO, ...), a file one of its documents, one picture, or a list. Rows that fail are rows: see ``unsaid``.
    """
    with tempfile.TemporaryDirectory(prefix="diptych-predict-") as name:
        folder = Path(name)
        settings = _source(source, folder / "input")
        text, graph = raw_recipe(trained.manifest, stream, settings)
        root, dataset = str(folder / "data"), trained.manifest.dataset
        fits = {entry.name: entry for entry in trained.manifest.fits}
        lists = open_store(root, dataset).lists
        pinned = {
            node.name: lists.put(trained.store.lists.get(fits[node.name].result))
            for node in graph.fits
            if node.fit is not None and not node.fit.key
        }
        say(f"building {', '.join(node.name for node in graph.stages)} of {source}")
        crawl_recipe(text, root, folder, allow_shrink=True)
        options = BuildOptions(device=device, workers=max(1, workers), accept_failures=True, allow_shrink=True)
        build(text, root, options, folder=folder, pinned=pinned)
        yield open_version(f"{root}/{dataset}")


def raw_recipe(trained: Manifest, stream: Stream, source: Mapping[str, object]) -> tuple[str, Graph]:
    """The recipe of the version for one other source, cut to what ``stream`` reads, and its graph.

    However much of the source is broken, its rows say so: neither ``max_failed`` nor ``min_success`` ends the build.
    :class:`UsageError` when a stage means something else here than in the version.
    """
    raw: dict[str, Any] = yaml.safe_load(trained.recipe)
    stages = {name: _unanswered(name, settings) for name, settings in raw["stages"].items()}
    limits = {**(raw.get("limits") or {}), "max_failed": 1.0}
    whole = {**raw, "sources": [{**source, "min_success": 0.0}], "shards": 1, "stages": stages, "limits": limits}
    graph = load_graph(parse_recipe(yaml.safe_dump(whole, allow_unicode=True)))
    _check_keys(graph, trained, stream)
    needed = _needed(graph, stream)
    kept: dict[str, Any] = {
        **whole,
        "stages": {name: settings for name, settings in stages.items() if name in needed},
        "fits": {name: settings for name, settings in (raw.get("fits") or {}).items() if name in needed},
    }
    text = yaml.safe_dump(kept, allow_unicode=True, sort_keys=False)
    return text, load_graph(parse_recipe(text))


def _unanswered(name: str, settings: Mapping[str, Any] | None) -> dict[str, Any]:
    found = dict(settings or {})
    if name in ANSWERED:
        found = {key: value for key, value in found.items() if not key.startswith("file")}
    return found


def _needed(graph: Graph, stream: Stream) -> set[str]:
    """Every node that leads to a field of the stream, rules that accept rows among them."""
    pending = [name for name in dict.fromkeys(f.partition(".")[0] for f in fields_of(stream)) if name not in TABLES]
    pending += [node.name for node in graph.stages if node.stage is not None and node.stage.gate]
    found: set[str] = set()
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += graph.waits_for(graph[name])
    return found


def _check_keys(graph: Graph, trained: Manifest, stream: Stream) -> None:
    keys = {f.name: f.key if f.keyed else f"{f.key}:{f.result.partition('~')[0]}" for f in trained.fits}
    needed, answered = (
        _needed(graph, stream),
        graph.downstream({n for n in ANSWERED if n in {s.name for s in graph.stages}}),
    )
    for node in graph.stages:
        known = next((s for s in trained.stages if s.name == node.name), None)
        keys[node.name] = known.key if known is not None else ""
        if known is None or node.name not in needed or node.name in answered:
            continue
        if graph.key(node, keys) != known.key:
            raise UsageError(
                f"stage {node.name} has another version, weights or defaults here than in version {trained.version} of "
                f"{trained.dataset}, which the run was trained on: its features would not be those the model knows. "
                "Install what made the version (diptych versions --json names it), or build and train again"
            )


def _source(path: Path, scratch: Path) -> dict[str, object]:
    """Settings of the source that reads a folder, a list, or one document or picture (copied to ``scratch``)."""
    try:
        if path.is_file() and (single := _single(path, scratch)):
            return {"kind": "folder", "name": "input", "path": str(single)}
        found: SuggestedSource = suggest(str(path))
    except UsageError as error:
        raise UsageError(str(error).replace("--from", "--input")) from None
    return {key: value for key, value in found.settings.items() if key != "subset"}


def _single(path: Path, scratch: Path) -> Path | None:
    """A folder with this one picture (and its texts) or this one document (and its pictures); None for other files."""
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        scratch.mkdir(parents=True)
        for file in (path, *(beside for s in _SIDECARS if (beside := path.with_suffix(s)).is_file())):
            shutil.copy2(file, scratch / file.name)
        return scratch
    if suffix not in (".json", *_TEXTS):
        return None
    (scratch / "documents").mkdir(parents=True)
    if suffix in _TEXTS:
        document: Any = {"text": path.read_text(encoding="utf-8", errors="replace")}
    else:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, UnicodeDecodeError) as error:
            raise UsageError(f"--input {path}: not JSON: {error}") from None
        if not isinstance(document, dict) or "annotations" in document:
            return None
        for name in _files(document):
            _copy(path, name, scratch)
    (scratch / "documents" / f"{path.stem}.json").write_text(json.dumps(document), encoding="utf-8")
    return scratch


def _files(document: Mapping[str, Any]) -> Sequence[str]:
    images = document.get("images") or ()
    names = [image.get("file") if isinstance(image, dict) else image for image in images]
    return [name for name in names if isinstance(name, str)]


def _copy(document: Path, name: str, scratch: Path) -> None:
    """A document's picture stands below its folder, or below the one above ``documents/``."""
    for base in (document.parent, document.parent.parent if document.parent.name == "documents" else document.parent):
        file = base / name
        if file.is_file() and file.resolve().is_relative_to(base.resolve()):
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, scratch / name)
            return
