"""kill -9 at random moments: the same command goes on, asks twice only for what was in flight, ends in one state."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from diptych.naming import digest_bytes
from diptych.sample import Server, Site
from diptych.sources.crawl import crawl
from diptych.sources.registry import open_source
from diptych.storage.fetch_log import Attempt, FetchLog, Mark
from diptych.storage.snapshot import cut_snapshot
from diptych.storage.store import Store, open_store

PARALLEL = 3
FEW, MANY = 4, 20
# One interpreter that forks a crawl per moment, so that the imports are paid once.
SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path
from diptych.sources import extract, fetch
from diptych.sources.crawl import crawl
from diptych.sources.registry import open_source
from diptych.storage.store import open_store
root, settings, moments = json.loads(sys.argv[1])
for moment in moments:
    child = os.fork()
    if child == 0:
        crawl(open_store(root, "toy"), [open_source(settings, Path())])
        os._exit(0)
    time.sleep(moment)
    os.kill(child, signal.SIGKILL)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
"""


def settings_of(server: Server) -> dict[str, object]:
    fetch = {"allow_private": True, "per_host": PARALLEL, "delay": 0.03}
    given = {"kind": "web", "name": "w", "contact": "me@example.org", "start": [f"{server.url}/"], "fetch": fetch}
    return {**given, "exclude": ["about|contact|feed"]}


def bad_blobs(store: Store) -> list[str]:
    found = (path for path, _ in store.home.walk("raw/blobs"))
    return [path for path in found if digest_bytes(store.home.read(path)) != path.rpartition("/")[2]]


@pytest.mark.parametrize(("kills", "seed"), [(FEW, 7), pytest.param(MANY, 20, marks=pytest.mark.slow)])
def test_killed_again_and_again(tmp_path: Path, kills: int, seed: int) -> None:
    site = Site(kills + 8, images_per_document=(1, 2), dirt=False)
    with Server(site) as server:
        source = open_source(settings_of(server), Path())
        calm = open_store(tmp_path / "calm", "toy")
        undisturbed = crawl(calm, [source])
        wanted = cut_snapshot(calm, [source])
        once = server.reset()

        draw = random.Random(seed)
        moments = [draw.uniform(0.05, 0.6) for _ in range(kills)]
        root = str(tmp_path / "killed")
        argument = json.dumps([root, settings_of(server), moments])
        paths = os.pathsep.join(sys.path)
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT, argument],
            env={**os.environ, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            timeout=120,
        )
        killed = run.stdout.split().count("9")
        assert killed >= 1 and run.returncode == 0, (seed, run.stderr)

        store = open_store(root, "toy")
        assert bad_blobs(store) == [], seed
        log = FetchLog(store.home)
        left = [row for name in log.unfinished() for row in log.rows(name)]
        finished = log.crawls() or [row for row in left if isinstance(row, Mark) and row.mark == "end"]
        report = crawl(store, [source])
        assert bad_blobs(store) == [], seed
        assert cut_snapshot(store, [source]).digest == wanted.digest, seed
        if not finished:  # one crawl all along: what it settled it never asked for again
            assert len(FetchLog(store.home).crawls()) == 1, seed
            assert report.continued == any(isinstance(row, Attempt) for row in left), seed
            assert (report.counts, report.documents["ok"]) == (undisturbed.counts, undisturbed.documents["ok"]), seed
            assert set(server.counts.requests) == set(once.requests), seed
            extra = server.counts.total - once.total
            assert extra <= killed * PARALLEL, (seed, extra)
            settled = [r.url for r in FetchLog(store.home).rows(report.crawl) if isinstance(r, Attempt)]
            assert len(settled) == len(set(settled)), seed
