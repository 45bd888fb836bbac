"""Sample builds of the papers' recipes, each made once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from light_recipes import DATASETS, LIGHT, Built, only

from diptych.engine.build import build
from diptych.engine.crawling import crawl_recipe
from diptych.engine.steps import close
from diptych.recipe import load_recipe
from diptych.sample_build import sample_build
from diptych.version import Version, open_version


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where generated data are kept."""
    return tmp_path_factory.mktemp("samples")


@pytest.fixture(scope="session")
def light(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The version of a recipe's light stages, of twelve documents."""
    root, made = tmp_path_factory.mktemp("light"), dict[str, Version]()

    def get(name: str) -> Version:
        if name not in made:
            file = sample_build(load_recipe(DATASETS / f"{name}.yaml"), 12, samples)
            text = only(file.text, LIGHT, ("near_duplicates", "splits", "vectors", "vocabulary"))
            crawl_recipe(text, str(root), file.folder)
            build(text, str(root), folder=file.folder)
            made[name] = open_version(root / f"{name}-sample")
        return made[name]

    yield get
    close()
