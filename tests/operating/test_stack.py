"""The stack of docker-compose.yml from packages: four builds at once on Postgres, one on SQLite, no line of error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from stack import Stack

from diptych.sample import Site, write

RECIPE = """
name: {name}
sources: [{{kind: folder, name: site, path: site}}]
shards: 4
stages:
  clean: {{min_side: 64}}
  clean_text: {{}}
  clean_pairs: {{}}
  sentences: {{}}
fits: {{word_counts: {{}}}}
"""


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path)
    try:
        yield made
    finally:
        made.close()


def recipes(folder: Path, *names: str) -> list[Path]:
    write(Site(8), folder / "site", static=False)
    files = [folder / f"{name}.yaml" for name in names]
    for name, file in zip(names, files, strict=True):
        file.write_text(RECIPE.format(name=name))
    return files


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.system("pg_ctlcluster", "redis-server")
def test_four_builds_at_once_on_postgres_redis_and_object_storage(stack: Stack, tmp_path: Path) -> None:
    url, redis = stack.postgres(), stack.redis()
    stack.objects()
    stack.environment |= {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": url,
        "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_REDIS_MESSAGING_HOST": "127.0.0.1",
        "PREFECT_REDIS_MESSAGING_PORT": str(redis),
        "PREFECT_SERVER_DOCKET_URL": f"redis://127.0.0.1:{redis}/1",
    }
    stack.python("server", "prefect", "server", "start", "--port", str(stack.port), "--no-services")
    stack.until(stack.ready, 300, "server")
    stack.python("services", "prefect", "server", "services", "start")
    stack.run("diptych.cli", "deploy")
    stack.python("worker", "prefect", "worker", "start", "--pool", "cpu", "--limit", "4")
    runs = [stack.build(file) for file in recipes(tmp_path, "one", "two", "three", "four")]
    states = stack.until(lambda: all(found := [stack.ended(run) for run in runs]) and found, 900, "four builds")
    assert states == ["COMPLETED"] * 4, stack.tails()
    import s3fs

    keys = {k.lower(): stack.environment[k] for k in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    store = s3fs.S3FileSystem(
        key=keys["aws_access_key_id"], secret=keys["aws_secret_access_key"],
        endpoint_url=stack.environment["AWS_ENDPOINT_URL"], use_listings_cache=False,
    )  # fmt: skip
    assert all(store.exists(f"diptych/data/{name}/log/1.json") for name in ("one", "two", "three", "four"))
    assert stack.errors("server", "services", "worker") == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_build_on_sqlite(stack: Stack, tmp_path: Path) -> None:
    stack.environment["DIPTYCH_ROOT"] = str(tmp_path / "data")
    stack.python("server", "flows.server", "server", "start", "--port", str(stack.port))
    stack.until(stack.ready, 300, "server")
    stack.run("diptych.cli", "deploy")
    stack.python("worker", "prefect", "worker", "start", "--pool", "cpu", "--limit", "1")
    run = stack.build(recipes(tmp_path, "one")[0])
    assert stack.until(lambda: stack.ended(run), 500, "build") == "COMPLETED", stack.tails()
    assert (tmp_path / "data" / "one" / "log" / "1.json").exists()
    assert stack.errors("server", "worker") == []
