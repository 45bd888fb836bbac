"""docker-compose.yml and Dockerfile without a Docker engine: what reading says, and docker-compose itself."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

HERE = Path(__file__).resolve().parents[2]
SECRETS = (
    "POSTGRES_PASSWORD", "REDIS_PASSWORD", "PREFECT_AUTH", "S3_ACCESS_KEY", "S3_SECRET_KEY", "LABEL_STUDIO_USERNAME",
    "LABEL_STUDIO_PASSWORD",
)  # fmt: skip
ONCE = {"deploy", "objects-owner"}


def text() -> str:
    return (HERE / "docker-compose.yml").read_text()


def services() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(text())["services"]


def test_every_part_of_the_stack_is_there() -> None:
    assert {
        "postgres", "redis", "prefect-server", "prefect-services", "cpu-worker", "gpu-worker", "object-store",
        "label-studio", "tensorboard",
    } <= set(services())  # fmt: skip
    assert services()["gpu-worker"]["runtime"] == "nvidia"
    assert services()["prefect-server"]["command"][-1] == "--no-services"


def test_trainings_find_a_worker_with_a_gpu_and_without() -> None:
    found = services()
    serving = [
        n for n, s in found.items() if "gpu" in s.get("command", ()) or s.get("build", {}).get("target") == "gpu"
    ]
    assert {n: found[n]["profiles"] for n in serving} == {"gpu-worker": ["gpu"], "train-worker": ["train"]}
    assert found["train-worker"]["image"] == "diptych:cpu" and "runtime" not in found["train-worker"]


def test_the_ui_asks_the_host_it_came_from() -> None:
    assert services()["prefect-server"]["environment"]["PREFECT_UI_API_URL"] == "/api"


@pytest.mark.system("openssl")
def test_the_printed_commands_write_secrets_that_break_no_address(tmp_path: Path) -> None:
    page = (HERE / "docs" / "operations.md").read_text()
    [block] = [b for b in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "> .env" in b]
    subprocess.run(["sh", "-ec", block], cwd=tmp_path, check=True)
    made = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    assert set(made) == set(SECRETS) and (tmp_path / ".env").stat().st_mode & 0o077 == 0
    for name in set(SECRETS) - {"PREFECT_AUTH", "LABEL_STUDIO_USERNAME"}:
        assert re.fullmatch(r"[A-Za-z0-9]{3,}", made[name]), name
    assert all(len(made[n]) >= 8 for n in SECRETS if "PASSWORD" in n or "SECRET" in n)
    assert re.fullmatch(r"admin:[A-Za-z0-9]{16,}", made["PREFECT_AUTH"])


def test_services_are_watched_and_nobody_is_root() -> None:
    for name, service in services().items():
        if name not in ONCE:
            assert "healthcheck" in service and service["restart"] == "unless-stopped", name
        if name != "objects-owner":  # gives a new volume away, without network, and ends
            assert str(service["user"]) not in ("root", "0"), name
    owner = services()["objects-owner"]
    assert owner["network_mode"] == "none" and owner["entrypoint"][0] == "chown"


def test_secrets_come_from_outside_and_nothing_starts_without_them() -> None:
    found = set(re.findall(r"\$\{([A-Z0-9_]+):\?", text()))
    assert found == set(SECRETS)
    assert not re.search(r"\$\{[A-Z0-9_]+(:-|-|\})", text())  # no default, no empty value
    for line in text().splitlines():
        name, _, value = line.strip().partition(": ")
        if re.search(r"PASSWORD|SECRET|AUTH|ACCESS_KEY", name) and not name.startswith("#"):
            assert value.startswith("${"), line


def test_ports_are_published_on_this_machine_only() -> None:
    for name, service in services().items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name


def test_dockerfile_has_both_targets_and_ends_as_a_plain_user() -> None:
    stages: dict[str, list[str]] = {}
    for line in (HERE / "Dockerfile").read_text().splitlines():
        if line.startswith("FROM "):
            _, parent, _, name = line.split()
            stages[name] = [*stages.get(parent, []), line]
        elif stages:
            stages[next(reversed(stages))].append(line)
    for target in ("server", "cpu", "gpu"):
        users = [line.split()[1] for line in stages[target] if line.startswith("USER ")]
        assert users[-1] == "10001", target
    built = {s["build"]["target"] for s in services().values() if "build" in s}
    assert built == {"server", "cpu", "gpu"}


@pytest.mark.system("docker-compose")
def test_docker_compose_accepts_the_file() -> None:
    command = ["docker-compose", "--file", str(HERE / "docker-compose.yml"), "config"]
    given = {**os.environ, **dict.fromkeys(SECRETS, "x")}
    done = subprocess.run(command, capture_output=True, text=True, env=given)
    assert done.returncode == 0, done.stderr
    assert "diptych:gpu" in done.stdout
    del given["S3_SECRET_KEY"]
    refused = subprocess.run(command, capture_output=True, text=True, env=given)
    assert refused.returncode != 0 and "S3_SECRET_KEY" in refused.stderr
