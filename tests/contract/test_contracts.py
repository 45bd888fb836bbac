from __future__ import annotations

from pathlib import Path

from diptych.commands.schemas import contracts

SCHEMAS = Path(__file__).parents[2] / "schemas"


def test_published_contracts_equal_the_code() -> None:
    found = contracts()
    assert {p.name for p in SCHEMAS.glob("*.json")} >= set(found), "run: make schemas"
    for name, text in found.items():
        assert (SCHEMAS / name).read_text(encoding="utf-8") == text, f"{name} differs from the code; run: make schemas"
