"""A recipe: the one YAML file that says where a dataset comes from and what is computed for it.

Settings flow one way: YAML -> frozen model (unknown keys refused) -> constructor -> fingerprint -> manifest.
Settings of sources, stages and fits are checked by the classes they belong to when the graph is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from reprlib import Repr
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator

from diptych.exceptions import RecipeError
from diptych.models.registry import MODELS, find_task
from diptych.settings import Settings

__all__ = [
    "NAME", "About", "Limits", "Paper", "Recipe", "RecipeFile", "SampleBuild", "Training", "about", "explain",
    "load_recipe", "parse_recipe",
]  # fmt: skip

NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"
"""Names of datasets."""

_SHORT = Repr()
"""What was found may be a thousand lines, or aliases of aliases that no memory holds when they are written out."""
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 3, 300, 300

Paper = Literal["hcscl", "mkp", "information_gap", "ccd", "flickr8k", "flickr30k", "coco"]
"""Papers and caption sets whose table of the data ``diptych stats`` prints."""


class Limits(Settings):
    """When a build commits nothing (exit 3)."""

    max_failed: float = Field(default=0.01, ge=0, le=1, description="largest share of failed rows of any stage")
    max_shrink: float = Field(
        default=0.1, ge=0, le=1, description="largest share of the parent's records a build may drop"
    )
    gone_after: int = Field(
        default=3, ge=1, description="crawls that must answer 404, 410 or a temporary redirect before a record leaves"
    )


class Training(Settings):
    """A training that a server starts when a version of the dataset was committed.

    The patterns are those of the form that it fills (``TrainParameters``): what a form refuses is lost silently.
    """

    model: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="the model's name")
    preset: str = Field(
        default="paper", pattern=r"^[a-z0-9][A-Za-z0-9_.-]{0,63}$", description="one of the model's presets"
    )
    ablation: str = Field(
        default="", pattern=r"^([a-z0-9][A-Za-z0-9_.+-]{0,63})?$", description="one of the model's ablations"
    )
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda(:\d+)?|mps)$", description="as torch names it")


class SampleBuild(Settings):
    """What ``build --sample`` changes: generated data in the real format, and what stands in for absent weights.

    ``{sample}`` in any text of the sources, stages and fits is the folder of the generated data. See
    :mod:`diptych.sample_build`.
    """

    data: Paper = Field(description="whose files are written")
    documents: int = Field(default=24, ge=1, le=100_000, description="documents, posts or illustrated pages")
    seed: int = Field(default=0, description="the data are a function of it")
    stand_ins: tuple[str, ...] = Field(default=(), description="what stands in for what, for the card's first line")
    sources: tuple[Mapping[str, Any], ...] = Field(
        default=(), description="settings of the sources of the same name that are replaced, or whole sources"
    )
    stages: Mapping[str, Mapping[str, Any] | None] = Field(
        default_factory=dict, description="settings that replace a stage's own; null leaves the stage out"
    )
    fits: Mapping[str, Mapping[str, Any] | None] = Field(default_factory=dict, description="likewise of fits")
    shards: int | None = Field(default=None, ge=1, description="shards of the sample dataset")


class Recipe(Settings):
    """One dataset: its sources, stages, fits and limits."""

    name: str = Field(pattern=NAME, description="the dataset's name and folder")
    title: str = Field(default="", description="one line for the card")
    contact: str = Field(
        default="", description="an address for the User-Agent; needed by sources that use the network"
    )
    sources: tuple[Mapping[str, Any], ...] = Field(min_length=1, description="where documents come from")
    shards: int = Field(default=4, ge=1, le=1 << 20, description="a power of two; `diptych reshard` changes it later")
    stages: Mapping[str, Mapping[str, Any] | None] = Field(
        description="what is computed, by stage name; beside its settings a stage takes `only` and `use`"
    )
    fits: Mapping[str, Mapping[str, Any] | None] = Field(default_factory=dict, description="settings of fits")
    limits: Limits = Limits()
    train_on_commit: tuple[Training, ...] = Field(
        default=(), description="trainings that `diptych serve` starts on every version that is committed"
    )
    paper: Paper | None = Field(default=None, description="whose table of the data `diptych stats` prints beside ours")
    sample: SampleBuild | None = Field(default=None, description="what `diptych build --sample` changes")
    sample_of: str = Field(default="", description="written by --sample: the recipe that this is a sample build of")
    stand_ins: tuple[str, ...] = Field(default=(), description="written by --sample: what stands in for what")

    @field_validator("shards")
    @classmethod
    def _power_of_two(cls, value: int) -> int:
        if value & (value - 1):
            raise ValueError("must be a power of two (1, 2, 4, 8, ...)")
        return value

    @field_validator("sources")
    @classmethod
    def _named_once(cls, value: tuple[Mapping[str, Any], ...]) -> tuple[Mapping[str, Any], ...]:
        names = [s.get("name", s.get("kind")) for s in value]
        twice = sorted({str(n) for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"two sources are named {', '.join(twice)}; give each its own name")
        return value


def explain(
    error: ValidationError, where: str, model: type[BaseModel] | None = None, what: str = "the recipe is wrong"
) -> RecipeError:
    """A :class:`RecipeError` with each wrong key's path, what is allowed and what was found."""
    lines = []
    for item in error.errors():
        path = ".".join([where, *(str(x) for x in item["loc"])]).strip(".")
        found = item.get("input")
        shown = "" if isinstance(found, Mapping) else f" (found {_SHORT.repr(found)})"
        if item["type"] == "extra_forbidden":
            allowed = _fields_at(model, item["loc"])
            lines.append(f"{path}: unknown key; allowed are {', '.join(allowed) if allowed else 'others'}")
        else:
            lines.append(f"{path}: {item['msg'].removeprefix('Value error, ')}{shown}")
    return RecipeError(f"{what}:\n  " + "\n  ".join(lines))


def _fields_at(model: type[BaseModel] | None, location: tuple[int | str, ...]) -> list[str]:
    for name in location[:-1]:
        field = model.model_fields.get(str(name)) if model else None
        annotation = field.annotation if field else None
        model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
    return sorted(model.model_fields) if model else []


class _Twice(yaml.MarkedYAMLError):
    """A key that a mapping has already."""


class _OneOfEach(yaml.SafeLoader):
    """As ``yaml.safe_load``, but a mapping with one key twice, of which YAML's readers keep the last, is refused."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name = str(key.value)
            if name in lines:
                problem = f"the key {name} stands here and in line {lines[name]}; keep one of them"
                raise _Twice(problem=problem, problem_mark=key.start_mark)
            lines[name] = key.start_mark.line + 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, AttributeError) as error:  # the 30th of February, a number of 5,000 digits
            problem = f"{str(node.value)[:80]!r}: {error}; text stands in quotes"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


def parse_recipe(text: str, origin: str = "recipe") -> Recipe:
    """The recipe a YAML text holds; :class:`RecipeError` names the file, the key's path and what is allowed."""
    try:
        raw = _OneOfEach(text).get_single_data()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "cannot be parsed"
        what = problem if isinstance(error, _Twice) else f"not YAML: {problem}"
        raise RecipeError(f"{origin}{place}: {what}") from error
    except RecursionError as error:
        raise RecipeError(f"{origin}: expected a recipe, found lists or mappings nested too deeply") from error
    if not isinstance(raw, dict):
        raise RecipeError(f"{origin}: expected a mapping with name, sources and stages, found {type(raw).__name__}")
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(f"{origin}: {explain(error, '', Recipe)}") from error


@dataclass(frozen=True)
class About:
    """What a version's recipe says of the version, whatever release wrote it."""

    paper: Paper | None
    sample: str
    """The first line of whatever shows a sample build; empty for a build of real data."""
    title: str


def about(text: str) -> About:
    """What to show of the recipe in a manifest; no setting in it is checked."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError:
        raw = None
    known = raw if isinstance(raw, dict) else {}
    paper, of, used = known.get("paper"), known.get("sample_of"), known.get("stand_ins") or ()
    line = f"Sample build of {of}: generated data, not the paper's" + "".join(f"; {item}" for item in used) + "."
    return About(paper if paper in get_args(Paper) else None, line if of else "", str(known.get("title") or ""))


@dataclass(frozen=True)
class RecipeFile:
    """A recipe as it stands in a file; relative paths of its sources start at ``folder``.

    Those of its stages and fits start where the command or the worker was started: a version keeps the recipe, and is
    built again where its file need not be.
    """

    recipe: Recipe
    text: str
    folder: Path
    origin: str = "the recipe"
    """How errors name it: its path."""

    @contextmanager
    def named(self) -> Iterator[None]:
        """Errors of settings, which are found later than those of the file, name the file, too."""
        try:
            yield
        except RecipeError as error:
            raise RecipeError(f"{self.origin}: {error}") from error


def load_recipe(path: str | Path) -> RecipeFile:
    """The recipe in a file; ``.yaml`` and ``datasets/``, below the working folder, may be left out."""
    places = [Path(folder) / name for folder in (".", "datasets") for name in (str(path), f"{path}.yaml")]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        known = sorted(p.stem for p in Path("datasets").glob("*.yaml"))
        hint = f"; recipes in datasets/: {', '.join(known)}" if known else ""
        raise RecipeError(f"no recipe file {path}{hint}; diptych init NAME --from FOLDER writes one")
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{file} is not UTF-8: byte {error.start} is {error.object[error.start]:#04x}") from error
    recipe = parse_recipe(text, str(file))
    for n, wanted in enumerate(recipe.train_on_commit):  # not where a manifest's recipe is read: models come and go
        _check_training(wanted, f"{file}: train_on_commit.{n}")
    return RecipeFile(recipe, text, file.resolve().parent, str(file))


def _check_training(wanted: Training, where: str) -> None:
    if wanted.model not in MODELS:
        raise RecipeError(f"{where}.model: no model {wanted.model!r}; there are {', '.join(sorted(MODELS))}")
    try:
        kind = find_task(wanted.model)
    except ImportError:  # a machine that builds need not have what training needs
        return
    for what, name, known in (("preset", wanted.preset, kind.presets), ("ablation", wanted.ablation, kind.ablations)):
        if name not in known and (name or what == "preset"):
            there = ", ".join(sorted(known)) or "none"
            raise RecipeError(f"{where}.{what}: model {wanted.model} has no {what} {name!r}; it has {there}")
