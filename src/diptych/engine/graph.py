"""The graph of a recipe: its stages and fits with checked settings, their order, their keys.

A stage key is a digest of name, version, settings, selection, weights, output schema and the keys of what
the stage reads; batch size, device and worker count are not in it. A keyed fit enters with its own key, an
unkeyed one with the digest of its result.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import pyarrow as pa
from pydantic import ValidationError

from diptych import weights as weights_registry
from diptych.exceptions import RecipeError
from diptych.fit import Fit
from diptych.fits import FITS
from diptych.naming import Key, digest_settings
from diptych.recipe import Recipe, explain
from diptych.selection import Selection, parse_selection
from diptych.stage import Stage, StageConfig
from diptych.stages import STAGES
from diptych.storage.manifest import Manifest

__all__ = ["TABLES", "Graph", "Node", "load_graph"]

TABLES: Mapping[str, tuple[str, frozenset[str]]] = {
    "images": ("image", frozenset({"bytes"})),
    "documents": (
        "document",
        frozenset({"title", "text", "summary", "language", "keyphrases", "extra", "source", "subset", "url", "split"}),
    ),
    "pairs": ("pair", frozenset({"caption", "alt", "url", "position", "extra"})),
    "sentence": ("sentence", frozenset({"text"})),
}
"""The engine's own tables: row key and columns."""

READABLE: Mapping[str, frozenset[str]] = {
    "image": frozenset({"image"}),
    "sentence": frozenset({"sentence"}),
    "pair": frozenset({"pair", "document", "image", "sentence"}),
    "document": frozenset({"document", "pair", "image", "sentence"}),
}
"""Which row keys a row of a key may read."""
SELECTABLE: Mapping[str, frozenset[str]] = {**READABLE, "image": frozenset({"image", "pair", "document"})}
"""Which row keys a selection may look at: an image is selected when any of its pairs or documents is."""


@dataclass(frozen=True)
class Node:
    """One stage or fit of a recipe, ready to be used."""

    name: str
    stage: Stage | None
    fit: Fit | None
    only: Selection | None
    producers: tuple[str, ...]
    """Stages and fits whose rows enter its own, sorted; the engine's own tables are not among them."""

    @property
    def work(self) -> Stage | Fit:
        """The stage or the fit."""
        work = self.stage or self.fit
        assert work is not None
        return work

    @property
    def rows(self) -> Key:
        """The key of the rows it is given."""
        return self.stage.key if self.stage else self.fit.rows  # type: ignore[union-attr]

    @property
    def selector(self) -> str | None:
        """The producer whose column selects its rows; only the outcome of the comparison enters a row's hash."""
        return self.only.column.partition(".")[0] if self.only else None


@dataclass(frozen=True)
class Graph:
    """The nodes of a recipe in the order in which they can run."""

    nodes: tuple[Node, ...]

    def __getitem__(self, name: str) -> Node:
        for node in self.nodes:
            if node.name == name:
                return node
        raise RecipeError(f"the recipe has no stage or fit {name!r}; it has {', '.join(n.name for n in self.nodes)}")

    @property
    def stages(self) -> tuple[Node, ...]:
        """The stages, in order."""
        return tuple(n for n in self.nodes if n.stage)

    @property
    def fits(self) -> tuple[Node, ...]:
        """The fits, in order."""
        return tuple(n for n in self.nodes if n.fit)

    def gates(self, key: Key) -> tuple[str, ...]:
        """Stages whose row must be ok for a row of ``key`` to be accepted."""
        return tuple(n.name for n in self.stages if n.stage and n.stage.gate and n.stage.key == key)

    def key_of(self, producer: str) -> Key | None:
        """The row key of a stage, a keyed fit or one of the engine's tables; None for an unkeyed fit."""
        if producer in TABLES:
            return TABLES[producer][0]  # type: ignore[return-value]
        node = self[producer]
        return node.stage.key if node.stage else node.fit.key  # type: ignore[union-attr]

    def waits_for(self, node: Node) -> frozenset[str]:
        """What must be finished before a node runs: its producers, and the gates of its rows."""
        waits = set(node.producers)
        if not node.work.fetched:
            for key in get_args(Key):
                waits.update(self.gates(key))
            if node.rows == "sentence" or any(self.key_of(p) == "sentence" for p in (*node.producers,)):
                waits.add("sentences")
        if node.fit and node.fit.on == "train":
            waits.add("splits")
        if node.selector and node.selector not in TABLES:
            waits.add(node.selector)
        return frozenset(waits - {node.name})

    def downstream(self, names: set[str]) -> set[str]:
        """Every node that depends on one of these, itself included."""
        found = set(names)
        for node in self.nodes:
            if self.waits_for(node) & found:
                found.add(node.name)
        return found

    def check(self, only: Sequence[str] = (), latest: Manifest | None = None) -> None:
        """Raise now what the first row would: packages or weights that are not there, a network nobody knows.

        What the ``latest`` version holds of pinned fits is not made again.
        """
        held = {fit.name for fit in latest.fits if fit.pinned} if latest else set[str]()
        for node in self.nodes:
            if (only and node.name not in only) or (node.fit and node.name in held):
                continue
            node.work.check()
            if node.stage:
                node.stage.tensor_schema()
                for name in node.stage.weight_names():
                    if weights_registry.is_random(name):
                        weights_registry.random_seed(name)
                    else:
                        weights_registry.path(name)

    def key(self, node: Node, upstream: Mapping[str, str]) -> str:
        """The stage key (or fit key); ``upstream`` has the key of each producer, for unkeyed fits with its result."""
        work = node.work
        settings: dict[str, Any] = {
            "name": work.name,
            "version": work.version,
            "config": work.config.model_dump(mode="json", exclude=set(work.config.places)),
            "reads": {name: upstream[name] for name in node.producers},
        }
        if node.stage:
            settings["only"] = node.only.text if node.only else None
            settings["weights"] = {n: weights_registry.digest(n) for n in node.stage.weight_names()}
            settings["schema"] = [[f.name, str(f.type)] for f in node.stage.output_schema()]
            settings["tensors"] = {n: [t.dtype, list(t.shape)] for n, t in node.stage.tensor_schema().items()}
        else:
            settings["schema"] = [[f.name, str(f.type)] for f in work.outputs]
        return digest_settings(settings)


def _class(path: object, where: str, base: type[Stage] | type[Fit]) -> Any:
    module, _, name = path.partition(":") if isinstance(path, str) else ("", "", "")
    if not module or not name:
        raise RecipeError(f"{where}.use: expected package.module:Class, found {path!r}")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise RecipeError(f"{where}: cannot import {path!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise RecipeError(f"{where}: {path!r} is not a subclass of diptych.{base.__name__.lower()}.{base.__name__}")
    return found


def _settings(work: type[Stage] | type[Fit], raw: Mapping[str, Any], where: str) -> StageConfig:
    try:
        return work.Config.model_validate(dict(raw))
    except ValidationError as error:
        raise explain(error, where, work.Config) from error


def _stage_node(name: str, raw: Mapping[str, Any] | None) -> Node:
    where = f"stages.{name}"
    settings = dict(raw or {})
    path = settings.pop("use", None) or STAGES.get(name)
    if path is None:
        raise RecipeError(
            f"{where}: unknown stage; allowed are {', '.join(sorted(STAGES))}, or `use: package.module:Class`"
        )
    only = settings.pop("only", None)
    cls = _class(path, where, Stage)
    if cls.name != name:
        raise RecipeError(f"{where}: {path} calls itself {cls.name!r}; write it under that name")
    stage: Stage = cls(_settings(cls, settings, where))
    selection = parse_selection(only, f"{where}.only") if only is not None else None
    return Node(name, stage, None, selection, _producers(stage.inputs))


def _fit_node(name: str, raw: Mapping[str, Any] | None) -> Node:
    where = f"fits.{name}"
    settings = dict(raw or {})
    path = settings.pop("use", None) or FITS.get(name)
    if path is None:
        raise RecipeError(
            f"{where}: unknown fit; allowed are {', '.join(sorted(FITS))}, or `use: package.module:Class`"
        )
    cls = _class(path, where, Fit)
    fit: Fit = cls(_settings(cls, settings, where))
    return Node(name, None, fit, None, _producers(fit.inputs))


def _producers(inputs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({i.partition(".")[0] for i in inputs} - set(TABLES)))


def load_graph(recipe: Recipe) -> Graph:
    """The graph of a recipe; fits that its stages read and ``splits`` are added with their defaults."""
    nodes = {name: _stage_node(name, raw) for name, raw in recipe.stages.items()}
    wanted = dict(recipe.fits)
    wanted.setdefault("splits", None)
    pending = [*wanted, *(p for n in nodes.values() for p in n.producers if p in FITS)]
    while pending:
        name = pending.pop()
        if name not in nodes:
            nodes[name] = _fit_node(name, wanted.get(name))
            pending.extend(p for p in nodes[name].producers if p in FITS)
    if "near_duplicates" in nodes and "clean" not in nodes and "clean" in nodes["near_duplicates"].producers:
        nodes["clean"] = _stage_node("clean", None)
    graph = Graph(tuple(nodes.values()))
    for node in graph.nodes:
        _check(graph, node, nodes)
    return Graph(_ordered(graph))


def _check(graph: Graph, node: Node, nodes: Mapping[str, Node]) -> None:
    where = f"{'stages' if node.stage else 'fits'}.{node.name}"
    items = (*node.work.inputs, node.only.column) if node.only else node.work.inputs
    for item in items:
        producer, _, column = item.partition(".")
        if producer in TABLES:
            columns: set[str] | frozenset[str] = TABLES[producer][1]
        elif producer not in nodes:
            raise RecipeError(
                f"{where} reads {item}, but the recipe has no {producer!r}; add `{producer}: {{}}` under stages"
            )
        else:
            work = nodes[producer]
            columns = set(work.work.outputs.names) if work.fit else _columns(work.stage)
        if column not in columns:
            raise RecipeError(f"{where} reads {item}; {producer} has {', '.join(sorted(columns))}")
        if node.only and item == node.only.column and not node.only.suits(kind := _kind(nodes, producer, column)):
            value = f"{type(node.only.value).__name__} {node.only.value!r}"
            raise RecipeError(
                f"{where}.only: {item} is {kind}, found {value}; text that YAML may misread (no) in quotes"
            )
        key = graph.key_of(producer)
        readable = SELECTABLE if node.only and item == node.only.column else READABLE
        if key is not None and key not in readable[node.rows]:
            raise RecipeError(f"{where}: a row of key {node.rows} cannot read {item}, whose rows have key {key}")
    if node.rows == "sentence" and "sentences" not in nodes:
        raise RecipeError(f"{where} needs the stage sentences; add `sentences: {{}}` under stages")


def _columns(stage: Stage | None) -> set[str]:
    assert stage is not None
    return {*stage.output_schema().names, *stage.tensor_schema()}


def _kind(nodes: Mapping[str, Node], producer: str, column: str) -> pa.DataType:
    """The type of a column; a tensor's, which nothing is compared with, is null."""
    if producer in TABLES:
        return pa.int32() if column == "position" else pa.string()
    stage, work = nodes[producer].stage, nodes[producer].work
    schema = stage.output_schema() if stage else work.outputs
    return schema.field(column).type if column in schema.names else pa.null()


def _ordered(graph: Graph) -> tuple[Node, ...]:
    done: list[Node] = []
    left = list(graph.nodes)
    while left:
        names = {n.name for n in done}
        ready = [n for n in left if graph.waits_for(n) <= names]
        if not ready:
            raise RecipeError(f"the stages {', '.join(n.name for n in left)} wait for each other")
        done.append(ready[0])
        left.remove(ready[0])
    return tuple(done)
