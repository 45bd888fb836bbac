"""``make demo``: the whole product on the sample site, on this machine, with no server to install.

Crawl over real HTTP, build, commit version 1, change three pages, build again, show how little was computed,
fit a linear probe on version 2, write the report. Everything it makes stands in ``demo/``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diptych.sample import Server, Site

__all__ = ["main"]

MARK = ".diptych-demo"
"""Stands in a folder that the demo made and may empty."""
PORT = 8700
CHANGES = {2: "edit_text", 5: "edit_word", 9: "add_image"}
QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


@contextmanager
def _timed(title: str, times: dict[str, float]) -> Iterator[None]:
    print(f"\n== {title}", flush=True)
    start = time.monotonic()
    yield
    times[title] = time.monotonic() - start
    print(f"   ({times[title]:.1f} s)", flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=24, help="how many documents the sample site has")
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where everything is written (emptied first)")
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    if folder.exists() and any(folder.iterdir()) and not (folder / MARK).exists():
        parser.error(f"{folder} is not empty and no earlier demo made it; choose another --folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).touch()
    os.environ["PREFECT_HOME"] = str((folder / "prefect").resolve())
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    times: dict[str, float] = {}
    code = _run(folder, options.documents, times)
    print("\ntime: " + ", ".join(f"{title} {seconds:.0f} s" for title, seconds in times.items()))
    return code


def _run(folder: Path, documents: int, times: dict[str, float]) -> int:
    from diptych import weights
    from diptych.report import statistics, write_report
    from diptych.sample import Site
    from diptych.version import open_version
    from diptych.weights_transfer import in_tenths

    cache = os.environ.get("DIPTYCH_WEIGHTS")
    if cache:
        weights.set_cache(Path(cache))
    weights.set_mirror(os.environ.get("DIPTYCH_WEIGHTS_MIRROR", ""))
    with _timed("weights", times):
        for path in weights.pull("sample", in_tenths(lambda line: print(f"   {line}", flush=True))):
            print(f"   {path.name} ({path.stat().st_size / 1e6:.1f} MB)")

    site = Site(documents)
    root = folder / "data"
    with _serve(site) as server:
        recipe = folder / "sample.yaml"
        template = Path(__file__).resolve().parents[1] / "datasets" / "sample.yaml"
        recipe.write_text(template.read_text().replace(f"http://127.0.0.1:{PORT}", server.url))
        with _timed("Prefect", times):
            from diptych.parameters import BuildParameters
            from flows.build_dataset import build_dataset
        parameters = BuildParameters(recipe=str(recipe), root=str(root))
        with _timed("version 1: crawl and build", times):
            print(f"   {documents} documents at {server.url}")
            first = build_dataset(parameters)
            print(f"   computed {first['computed']} rows, committed version {first['version']}")
        one = open_version(root / "sample", 1)
        print(statistics(one))

        changes = {i: change for i, change in CHANGES.items() if i < documents}
        server.site = site.with_changes(changes)  # type: ignore[arg-type]
        with _timed("version 2: three pages changed", times):
            second = build_dataset(parameters)
        print(f"   changed on the site: {', '.join(f'document {i} ({c})' for i, c in changes.items())}")
        again = _computed_again(second)
        print(f"   computed {second['computed']} rows where version 1 took {first['computed']}: {again}")
        two = open_version(root / "sample", 2)
        print(two.diff(1))
        with _timed("nothing changed", times):
            third = build_dataset(parameters)
        print(f"   computed {third['computed']} rows; {third['reason']}")

    with _timed("a linear probe on the backbone's features", times):
        from diptych.models.probe import fit_probe

        print(f"   {fit_probe(two)}")
        print(f"   ({documents} documents show that everything fits together, not what a model can learn)")
    with _timed("report", times):
        page = write_report(two, folder / "report.html")
    print(f"\nThe report: {page.resolve()}\nThe dataset: {two.store.home.url}")
    return 0 if (first["version"], second["version"], third["version"]) == (1, 2, None) else 1


def _serve(site: Site) -> Server:
    """The site on the recipe's port, so that record ids are the same every time; on another when that is taken."""
    from diptych.sample import Server

    try:
        return Server(site, PORT)
    except OSError:
        return Server(site)


def _computed_again(report: dict[str, object]) -> str:
    stages = report["stages"]
    assert isinstance(stages, dict)
    return ", ".join(f"{name} {n}" for name, n in stages.items() if n) or "nothing"


if __name__ == "__main__":
    sys.exit(main())
