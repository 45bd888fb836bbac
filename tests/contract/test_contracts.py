from __future__ import annotations

import json
from pathlib import Path

from diptych.commands.schemas import contracts
from diptych.sources import SOURCES

SCHEMAS = Path(__file__).parents[2] / "schemas"


def test_published_contracts_equal_the_code() -> None:
    found = contracts()
    assert {p.name for p in SCHEMAS.glob("*.json")} >= set(found), "run: make schemas"
    for name, text in found.items():
        assert (SCHEMAS / name).read_text(encoding="utf-8") == text, f"{name} differs from the code; run: make schemas"


def test_settings_of_every_source_are_published_and_say_what_they_do() -> None:
    found = {kind: json.loads(text) for kind in SOURCES if (text := contracts().get(f"source.{kind}.v1.json"))}
    assert set(found) == set(SOURCES)
    for kind, schema in found.items():
        models = [schema, *schema.get("$defs", {}).values()]
        settings = {name: about for model in models for name, about in model["properties"].items()}
        assert [name for name, about in settings.items() if name != "kind" and not about.get("description")] == [], kind
