"""Registering the deployments: what a run by hand builds, and that there is a server to register on."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.context import use_profile
from prefect.settings import PREFECT_API_URL, Profile, temporary_settings

from diptych.exceptions import UsageError
from flows.deployments import Schedules, check_server, register
from flows.serve import main


@pytest.fixture(autouse=True)
def _root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``main`` sets it for its workers; here it goes back afterwards."""
    monkeypatch.setenv("DIPTYCH_ROOT", str(tmp_path))


def recipe_of(name: str) -> str:
    with get_client(sync_client=True) as client:
        return client.read_deployment_by_name(name).parameters["parameters"]["recipe"]


def test_a_run_by_hand_builds_the_first_recipe_that_is_served(tmp_path: Path) -> None:
    names = ("build-dataset/build", "crawl-pages/crawl")
    register(str(tmp_path))
    assert [recipe_of(name) for name in names] == ["sample", "sample"]
    register(str(tmp_path), Schedules(("/x/mine.yaml", "/x/other.yaml"), build="0 3 * * *"))
    assert [recipe_of(name) for name in names] == ["/x/mine.yaml", "/x/mine.yaml"]


def test_without_a_server_nothing_is_registered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        with pytest.raises(UsageError, match="PREFECT_API_URL is not set"):
            check_server()
        assert main(["--register-only", "--root", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("diptych: PREFECT_API_URL is not set")


def test_a_server_may_be_named_by_prefects_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profile = Profile(name="mine", settings={PREFECT_API_URL: "http://127.0.0.1:9/api"})
    with use_profile(profile, override_environment_variables=True):
        assert main(["--register-only", "--root", str(tmp_path)]) == 1
    assert "no Prefect server answers at http://127.0.0.1:9/api (PREFECT_API_URL)" in capsys.readouterr().err
