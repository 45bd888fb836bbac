"""Data licences: what a picture or record says of itself, else what the recipe says of its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

__all__ = [
    "HUB_NAMES",
    "hub_name",
    "licence_of",
    "licences_of_sources",
    "recipe_sources",
    "recipe_values",
    "spdx_name",
]

_KEYS = ("licence", "license", "licence_name", "license_name", "LicenseShortName", "rights")
HUB_NAMES = {
    "cc0": "cc0-1.0", "cc0 1.0": "cc0-1.0",
    "cc by 4.0": "cc-by-4.0", "cc by 3.0": "cc-by-3.0", "cc by 2.0": "cc-by-2.0", "cc by 2.5": "cc-by-2.5",
    "cc by-sa 4.0": "cc-by-sa-4.0", "cc by-sa 3.0": "cc-by-sa-3.0", "cc by-nc 4.0": "cc-by-nc-4.0",
    "cc by-nc-sa 4.0": "cc-by-nc-sa-4.0", "cc by-nc-nd 4.0": "cc-by-nc-nd-4.0", "cc by-nd 4.0": "cc-by-nd-4.0",
    "mit": "mit", "apache-2.0": "apache-2.0", "odbl": "odbl",
}  # fmt: skip
"""Licences as people write them (lower case) to the names that the Hugging Face hub knows. "Public domain" has none
there: that rights ran out is not what CC0 says."""
_SPDX_NAMES = {
    "cc0-1.0": "CC0-1.0", "cc-by-4.0": "CC-BY-4.0", "cc-by-3.0": "CC-BY-3.0", "cc-by-2.0": "CC-BY-2.0",
    "cc-by-2.5": "CC-BY-2.5", "cc-by-sa-4.0": "CC-BY-SA-4.0", "cc-by-sa-3.0": "CC-BY-SA-3.0",
    "cc-by-nc-4.0": "CC-BY-NC-4.0", "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0", "cc-by-nc-nd-4.0": "CC-BY-NC-ND-4.0",
    "cc-by-nd-4.0": "CC-BY-ND-4.0", "mit": "MIT", "apache-2.0": "Apache-2.0", "odbl": "ODbL-1.0",
}  # fmt: skip


def licence_of(values: Mapping[str, Any]) -> str:
    """The licence that a source's own metadata names, as it is written there; empty when none."""
    for key in _KEYS:
        value = values.get(key)
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())[:200]
    return ""


def recipe_values(recipe: str) -> dict[str, Any]:
    """The recipe's YAML as it stands; an export needs no class that it names, nor that it is valid today."""
    try:
        raw = yaml.safe_load(recipe)
    except yaml.YAMLError:
        return {}
    return raw if isinstance(raw, dict) else {}


def recipe_sources(recipe: str) -> dict[str, dict[str, Any]]:
    """The settings of each source by its name."""
    sources = recipe_values(recipe).get("sources")
    found = [s for s in sources if isinstance(s, dict)] if isinstance(sources, list) else []
    return {str(s.get("name", s.get("kind"))): s for s in found}


def licences_of_sources(recipe: str) -> dict[str, str]:
    """Source name to the ``licence`` that the recipe gives it."""
    return {name: str(s["licence"]).strip() for name, s in recipe_sources(recipe).items() if s.get("licence")}


def hub_name(licence: str) -> str | None:
    """The hub's name of a licence, None when it knows none."""
    plain = " ".join(licence.lower().replace("_", " ").split())
    if plain in HUB_NAMES.values():
        return plain
    return HUB_NAMES.get(plain) or HUB_NAMES.get(plain.replace("cc-by", "cc by"))


def spdx_name(licence: str) -> str | None:
    """The name of a licence in SPDX's list, None when it is not known."""
    return _SPDX_NAMES.get(hub_name(licence) or "")
