"""Registering the deployments: what a run by hand builds, and that there is a server to register on."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.context import use_profile
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import PREFECT_API_URL, Profile, temporary_settings

from diptych.commands import serving
from diptych.exceptions import UsageError
from flows.accelerators import LIMIT
from flows.deployments import ZOMBIE, Schedules, check_server, register
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


def test_registering_again_keeps_what_people_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedules, further actions of the automation, the limit."""
    name, mine = "build-dataset/build", Schedules(("/x/mine.yaml", "/x/other.yaml"), build="0 3 * * *")
    register(str(tmp_path), mine, accelerators=3)
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name(name)
        first = {s.slug: s.id for s in client.read_deployment_schedules(deployment.id)}
        named = {slug for slug in first if slug and slug.startswith("recipe-")}
        assert named == {"recipe-0", "recipe-1"}
        client.update_deployment_schedule(deployment.id, first["recipe-1"], active=False)
        (automation,) = client.read_automations_by_name(ZOMBIE)
        actions = [*automation.actions, DoNothing()]
        told = AutomationCore(name=ZOMBIE, trigger=automation.trigger, actions=actions, enabled=True)
        client.update_automation(automation.id, told)

        def changed(*_: object) -> None:
            raise AssertionError("a change forgets for which runs the automation waits")

        monkeypatch.setattr(SyncPrefectClient, "update_automation", changed)
        register(str(tmp_path))  # a plain start after one with recipes: Prefect refuses schedules without a slug here
        again = {s.slug: (s.id, s.active) for s in client.read_deployment_schedules(deployment.id)}
        assert again["recipe-1"] == (first["recipe-1"], False) and again["recipe-0"] == (first["recipe-0"], True)
        assert client.read_global_concurrency_limit_by_name(LIMIT).limit == 3
        (kept,) = client.read_automations_by_name(ZOMBIE)
        assert kept.id == automation.id
        assert [a.type for a in kept.actions] == ["change-flow-run-state", "do-nothing"]

        register(str(tmp_path), Schedules(("/x/third.yaml",), build="0 4 * * *"), accelerators=1)
        found = [s for s in client.read_deployment_schedules(deployment.id) if (s.slug or "").startswith("recipe-")]
        assert [(s.slug, s.parameters["parameters"]["recipe"], s.active) for s in found] == [
            ("recipe-0", "/x/third.yaml", True)
        ]
        assert client.read_global_concurrency_limit_by_name(LIMIT).limit == 1


@pytest.mark.parametrize("name", ["tasks.py", "flows/__init__.py"])
def test_a_file_that_hides_our_package_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"{name} in the working folder hides Diptych's package"):
        serving._check(None, "", "")
