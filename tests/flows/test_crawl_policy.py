"""A crawl that cannot go well ends at once and says why; how long one may take stands in the form."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State, StateType
from pydantic import ValidationError

from diptych.exceptions import SourceError, UsageError
from diptych.parameters import BuildParameters, CrawlParameters
from flows.build_dataset import build_dataset
from flows.crawl_pages import crawl_pages
from tasks import crawl
from tasks.policies import may_heal

FLOWS = [(crawl_pages, CrawlParameters), (build_dataset, BuildParameters)]
RECIPE = """
name: listed
sources: [{kind: urls, name: list, path: list.csv, contact: a@example.org}]
stages: {clean: {min_side: 64}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    (tmp_path / "list.csv").write_text("link,caption\nhttp://127.0.0.1:9/a.png,A bridge\n")
    (tmp_path / "listed.yaml").write_text(RECIPE)
    return str(tmp_path / "listed.yaml")


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When crawls were tried."""
    found, real = [], crawl.crawl_recipe

    def counted(*given: Any, **named: Any) -> Any:
        found.append(time.monotonic())
        return real(*given, **named)

    monkeypatch.setattr(crawl, "crawl_recipe", counted)
    monkeypatch.setattr(crawl.crawl_sources, "retry_delay_seconds", [0.1, 0.1])
    return found


@pytest.mark.parametrize(("flow", "form"), FLOWS)
def test_a_list_without_its_column_is_read_once(
    flow: Any, form: Any, recipe: str, tmp_path: Path, tries: list[float]
) -> None:
    with pytest.raises(SourceError, match=r"list.csv has no column \['url'\]; it has \['caption', 'link'\]"):
        flow(form(recipe=recipe, root=str(tmp_path / "data")))
    assert len(tries) == 1


@pytest.mark.parametrize(("flow", "form"), FLOWS)
def test_a_root_that_cannot_be_made_is_refused_before_the_crawl(
    flow: Any, form: Any, recipe: str, tmp_path: Path, tries: list[float]
) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file" / "data", tmp_path / "file"):
        with pytest.raises(UsageError, match=r"root /.*file.*: expected a folder that can be made and written, found"):
            flow(form(recipe=recipe, root=str(root)))
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(UsageError, match="not writable; name another in the form"):
            flow(form(recipe=recipe, root=str(tmp_path / "closed")))
    assert tries == []


@pytest.mark.parametrize(("flow", "form"), FLOWS)
def test_a_crawl_ends_after_the_hours_of_its_form(
    flow: Any, form: Any, recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def slow(*given: Any, **named: Any) -> Any:
        tries.append(1)
        for _ in range(200):
            time.sleep(0.1)
        raise AssertionError("nobody ended the crawl")

    monkeypatch.setattr(crawl, "crawl_recipe", slow)
    with pytest.raises(TimeoutError, match="1.5 second"):
        flow(form(recipe=recipe, root=str(tmp_path / "data"), crawl_hours=1.5 / 3600))
    assert len(tries) == 1
    assert form(recipe=recipe).crawl_hours == 24 and form(recipe=recipe, crawl_hours=200).crawl_hours == 200
    for wrong in (0, 2401):
        with pytest.raises(ValidationError, match="crawl_hours"):
            form(recipe=recipe, crawl_hours=wrong)


@pytest.mark.parametrize(
    ("cause", "heals"),
    [(None, False), (OSError(errno.EIO, "disk"), True), (OSError(errno.ENOSPC, "full"), False), (OSError("x"), False)],
)
def test_a_source_is_read_again_where_its_disk_failed(cause: OSError | None, heals: bool) -> None:
    error = SourceError("cannot be read to its end")
    error.__cause__ = cause
    state: State[Any] = State(type=StateType.FAILED, data=error)
    assert may_heal(None, None, state) is heals  # type: ignore[arg-type]
