"""Commands that need Prefect: serve, deploy. They become another process: the library imports no orchestrator."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from diptych.commands.console import RootOption
from diptych.exceptions import MissingExtra, UsageError

__all__ = ["register"]

Recipes = Annotated[
    list[str] | None, typer.Option("--recipe", help="a recipe that is built or crawled by cron; may be repeated")
]
BuildEvery = Annotated[str, typer.Option(metavar="CRON", help="when the recipes are built, as '0 3 * * *' (UTC)")]
CrawlEvery = Annotated[str, typer.Option(metavar="CRON", help="when the recipes are crawled")]
Accelerators = Annotated[
    int | None, typer.Option(min=1, help="tasks on accelerators at once, over all workers; 1, or what was set before")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    for command in (serve_command, deploy_command):
        app.command(command.__name__.removesuffix("_command"))(command)


def serve_command(
    root: RootOption = "data",
    host: Annotated[str, typer.Option(help="where the server listens; it asks for no password")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 4200,
    recipe: Recipes = None,
    build_every: BuildEvery = "",
    crawl_every: CrawlEvery = "",
    runs: Annotated[int, typer.Option(min=1, help="flow runs at once on the cpu worker")] = 4,
    accelerators: Accelerators = None,
) -> None:
    """Start a Prefect server with its UI, the deployments and two workers on this machine, until Control-C."""
    _check(recipe, build_every, crawl_every)
    _run(
        ["--root", root, "--host", host, "--port", str(port), "--runs", str(runs)]
        + _shared(recipe, build_every, crawl_every, accelerators)
    )


def deploy_command(
    root: RootOption = "data",
    recipe: Recipes = None,
    build_every: BuildEvery = "",
    crawl_every: CrawlEvery = "",
    accelerators: Accelerators = None,
) -> None:
    """Register the deployments, work pools, limit and automation on the server at PREFECT_API_URL."""
    _check(recipe, build_every, crawl_every)
    _run(["--register-only", "--root", root, *_shared(recipe, build_every, crawl_every, accelerators)])


def _shared(recipe: list[str] | None, build_every: str, crawl_every: str, accelerators: int | None) -> list[str]:
    recipes = [part for name in recipe or () for part in ("--recipe", name)]
    limit = [] if accelerators is None else ["--accelerators", str(accelerators)]
    return [*recipes, f"--build-every={build_every}", f"--crawl-every={crawl_every}", *limit]


def _check(recipe: list[str] | None, build_every: str, crawl_every: str) -> None:
    if (build_every or crawl_every) and not recipe:
        raise UsageError("--build-every and --crawl-every need --recipe RECIPE, which says what")
    if recipe and not (build_every or crawl_every):
        raise UsageError("--recipe needs --build-every CRON or --crawl-every CRON, which say when")
    if importlib.util.find_spec("prefect") is None:
        raise MissingExtra("prefect", "flows")
    for package, ours in (("flows", "serve.py"), ("tasks", "policies.py")):
        hides = next((p for p in (Path(f"{package}.py"), Path(package) / "__init__.py") if p.is_file()), None)
        if hides is not None and not (Path(package) / ours).is_file():
            raise UsageError(
                f"{hides} in the working folder hides Diptych's package `{package}`, which the server and its workers "
                "import; start this command in another folder, or give yours another name"
            )


def _run(arguments: list[str]) -> None:
    """Become that process: signals and the exit code are its own."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "flows.serve", *arguments])
