"""Commands that compute: init, build, crawl, rebuild, refit."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.commands.console import ConsoleWatcher, DryRun, JsonFlag, RootOption, emit, table
from diptych.commands.shortfalls import shortfalls
from diptych.engine.build import BuildReport, build
from diptych.engine.context import BuildOptions, graph_of
from diptych.engine.crawling import check_last_crawl, crawl_recipe, needs_crawl
from diptych.engine.devices import check_devices
from diptych.engine.dry_run import dry_run
from diptych.engine.intake import sources_of
from diptych.engine.rebuild import plan_rebuild, refreshing
from diptych.exceptions import UsageError
from diptych.recipe import NAME, about, load_recipe
from diptych.sample_build import CACHE, sample_build
from diptych.storage.store import open_store

__all__ = ["register"]

Device = Annotated[
    str,
    typer.Option(help="where accelerator stages run: cpu, cuda, cuda:0,cuda:1 (shards are dealt out), cuda:* (all)"),
]
Compile = Annotated[bool, typer.Option("--compile", help="networks go through torch.compile; slow to start")]
Workers = Annotated[int, typer.Option(min=1, help="threads that read files beside each stage")]
Processes = Annotated[
    int, typer.Option(min=1, help="worker processes, each with networks of its own and its share of cores and devices")
]


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    for command in (init_command, build_command, crawl_command, rebuild_command, refit_command):
        app.command(command.__name__.removesuffix("_command"))(command)


def init_command(
    name: str,
    source: Annotated[str, typer.Option("--from", help="a folder, a file or an address to build from")],
    to: Annotated[Path | None, typer.Option(help="where to write the recipe")] = None,
    force: Annotated[bool, typer.Option(help="overwrite the recipe file")] = False,
    dry: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Look at a source and write a commented recipe that builds unedited."""
    from diptych.sources.inspect import plain_name, suggest
    from diptych.templates import recipe_text

    if not re.fullmatch(NAME, name):
        plain = plain_name(name)
        raise UsageError(
            f"{name!r} is no dataset's name, which is also its folder's: lower-case letters, digits, '_' and '-', at "
            f"most 64, a letter or digit first; try: diptych init {plain} --from {shlex.quote(source)}"
        )
    path = to or (Path("datasets") / f"{name}.yaml" if Path("datasets").is_dir() else Path(f"{name}.yaml"))
    if path.exists() and not force and not dry:
        raise UsageError(f"{path} exists; --force overwrites it, --to FILE writes elsewhere")
    text = recipe_text(name, suggest(source), path)
    if not dry:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    said = text if dry else f"wrote {path}; next: diptych build {path}"
    emit({"path": str(path), "recipe": text}, as_json, lambda: typer.echo(said))


def build_command(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="a recipe file; .yaml and datasets/ may be left out")],
    root: RootOption = "data",
    crawl: Annotated[
        bool | None,
        typer.Option(
            "--crawl/--no-crawl", help="ask the sources first; default: local ones, and others that never gave a record"
        ),
    ] = None,
    shards: Annotated[
        str, typer.Option(help="compute only these shards, as 3,7; commits only if every shard then has every stage")
    ] = "",
    stages: Annotated[str, typer.Option(help="compute only these stages, as ocr,sentences")] = "",
    device: Device = "cpu",
    workers: Workers = 2,
    processes: Processes = 1,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="rows at a time; default: each stage's own, grown on an accelerator while that pays"),
    ] = None,
    compiled: Compile = False,
    retry_failed: Annotated[
        bool, typer.Option(help="compute every failed row again, not only transient failures")
    ] = False,
    accept_failures: Annotated[bool, typer.Option(help="commit although too many rows failed")] = False,
    allow_shrink: Annotated[bool, typer.Option(help="commit although many records would leave")] = False,
    sample: Annotated[
        bool, typer.Option("--sample", help="build NAME-sample from generated data in the real format")
    ] = False,
    sample_documents: Annotated[
        int | None, typer.Option(min=1, help="how many documents --sample generates; the recipe says how many else")
    ] = None,
    sample_folder: Annotated[
        Path, typer.Option(envvar="DIPTYCH_SAMPLES", help="where --sample keeps what it generates")
    ] = CACHE,
    refresh: Annotated[
        str, typer.Option(help="compute again every row of the stages that this package's release can change")
    ] = "",
    dry: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Build a dataset and commit a version if anything changed."""
    file = load_recipe(recipe)
    if sample or sample_documents:
        file = sample_build(file, sample_documents, sample_folder)
        if not as_json:
            typer.echo(f"{about(file.text).sample} Recipe and data: {file.folder}", err=True)
    parsed, text = file.recipe, file.text
    with file.named():
        graph = graph_of(text)
        sources = sources_of(parsed, file.folder)
    check_devices(device)
    names = tuple(s.strip() for s in stages.split(",") if s.strip())
    unknown = [n for n in names if n not in {g.name for g in graph.nodes}]
    if unknown:
        raise UsageError(f"--stages {', '.join(unknown)}: the recipe has {', '.join(g.name for g in graph.nodes)}")
    try:
        chosen = tuple(int(s) for s in shards.split(",") if s.strip())
    except ValueError:
        raise UsageError(f"--shards {shards}: expected numbers as 3,7") from None
    force = refreshing(graph, refresh) if refresh else None
    versions = open_store(root, parsed.name).log.versions()
    latest = versions[max(versions)] if versions else None
    count = latest.shards if latest else parsed.shards
    if any(not 0 <= s < count for s in chosen):
        raise UsageError(f"--shards {shards}: the dataset has shards 0 to {count - 1}")
    options = BuildOptions(
        batch_size=batch_size,
        workers=workers,
        processes=processes,
        device=device,
        compile=compiled,
        retry="failed" if retry_failed else "transient",
        accept_failures=accept_failures,
        allow_shrink=allow_shrink,
        only_shards=chosen,
        only_stages=names,
    )
    if dry:
        plan = dry_run(text, root, options, file.folder, force)
        columns = ["stage", "rows", "at hand", "to compute", ""]
        later = "known once earlier stages have run"
        rows = [[p.name, p.rows, p.reused, p.missing, later if p.open else ""] for p in plan.stages]
        emit(plan, as_json, lambda: table(f"{parsed.name}: what a build would do", columns, rows))
        return
    graph.check(names, latest)
    if crawl or (crawl is None and needs_crawl(text, root, file.folder)):
        with file.named():
            crawled = crawl_recipe(
                text,
                root,
                file.folder,
                retry_failed=retry_failed,
                allow_shrink=allow_shrink,
                say=_say(as_json),
                environ=context.obj,
            )
        for line in crawled.lines():
            _say(as_json)(line)
    elif crawl is None:
        check_last_crawl(text, root, file.folder)
    watcher = ConsoleWatcher(quiet=as_json)
    try:
        report = build(text, root, options, force=force, folder=file.folder, watcher=watcher)
    finally:
        watcher.close()
    number = report.committed.version or report.committed.parent
    remote = any(source.fetch_settings() is not None for source in sources)
    again = recipe if remote and not (sample or sample_documents) else ""
    lacks = shortfalls(open_store(root, parsed.name).log.manifest(number), again) if number else []
    for line in lacks:
        _say(as_json)(line)
    data = _as_json(report) | {"shortfalls": lacks}
    emit(data, as_json, lambda: typer.echo(f"{parsed.name}: {report.committed.reason}"))


def _as_json(report: BuildReport) -> dict[str, Any]:
    stages = {
        p.name: {
            "rows": p.rows,
            "computed": p.computed,
            "reused": p.reused,
            **p.counts,
            "bytes_written": p.bytes_written,
        }
        for p in report.progress.values()
        if p.kind == "stage"
    }
    fits = {
        p.name: {"rows": p.rows, "partials_computed": p.computed, "partials_reused": p.reused}
        for p in report.progress.values()
        if p.kind == "fit"
    }
    outcome: dict[str, int] = {}
    rows = []
    for progress in report.progress.values():
        for key, what, columns in progress.compared:
            outcome[what] = outcome.get(what, 0) + 1
            rows.append({"stage": progress.name, "row": key, "outcome": what, "columns": columns})
    compared = {"outcome": outcome, "compared": rows} if rows else {}
    return {
        "dataset": report.dataset,
        "version": report.committed.version,
        "parent": report.committed.parent,
        "reason": report.committed.reason,
        "snapshot": report.snapshot,
        "computed": report.computed,
        "incomplete": list(report.incomplete),
        "stages": stages,
        "fits": fits,
        **compared,
    }


def _say(quiet: bool) -> Callable[[str], None]:
    return (lambda text: None) if quiet else lambda text: typer.echo(text, err=True)


def crawl_command(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="a recipe file; .yaml and datasets/ may be left out")],
    root: RootOption = "data",
    refresh: Annotated[bool, typer.Option(help="fetch everything again, without conditional requests")] = False,
    retry_failed: Annotated[bool, typer.Option(help="only what failed before")] = False,
    allow_shrink: Annotated[bool, typer.Option(help="end well although many known pages are gone")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Ask the recipe's sources for what is new; every attempt is a row of the fetch log."""
    file = load_recipe(recipe)
    with file.named():
        report = crawl_recipe(
            file.text,
            root,
            file.folder,
            refresh=refresh,
            retry_failed=retry_failed,
            allow_shrink=allow_shrink,
            say=_say(as_json),
            environ=context.obj,
        )
    emit(report.to_dict(), as_json, lambda: typer.echo("\n".join(report.lines())))


def rebuild_command(
    context: typer.Context,
    dataset: str,
    root: RootOption = "data",
    shard: Annotated[int | None, typer.Option(help="every row of this shard")] = None,
    record: Annotated[str | None, typer.Option(help="the rows of one record (id, URL, file name or image key)")] = None,
    failed: Annotated[bool, typer.Option(help="every row that failed")] = False,
    stage: Annotated[str | None, typer.Option(help="only this stage, and what reads a row of it that changed")] = None,
    refetch: Annotated[bool, typer.Option(help="fetch the named records' bytes again first")] = False,
    device: Device = "cpu",
    workers: Workers = 2,
    dry: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Compute rows again although their address exists; says per row equal, changed or repaired."""
    check_devices(device)
    options = BuildOptions(workers=workers, device=device)
    plan = plan_rebuild(
        root,
        dataset,
        shard=shard,
        record=record,
        failed=failed,
        stage=stage,
        refetch=refetch and not dry,
        options=options,
        environ=context.obj,
    )
    if dry:
        named = {name: len(rows) for name, rows in plan.force.rows.items()}
        emit(
            named,
            as_json,
            lambda: table("rows that would be computed again", ["stage", "rows"], [[k, v] for k, v in named.items()]),
        )
        return
    watcher = ConsoleWatcher(quiet=as_json)
    try:
        report = build(
            plan.recipe,
            root,
            plan.options,
            force=plan.force,
            snapshot=plan.snapshot,
            planned_on=plan.version,
            watcher=watcher,
        )
    finally:
        watcher.close()
    data = _as_json(report)

    def render() -> None:
        different = [r for r in data.get("compared", []) if r["outcome"] != "equal"]
        if different:
            table(
                "rows that differ", ["stage", "row", "outcome", "columns"], [list(r.values()) for r in different[:50]]
            )
        counts = ", ".join(f"{n} {what}" for what, n in data.get("outcome", {}).items()) or "no row was named"
        typer.echo(f"{dataset}: {counts}; {report.committed.reason}")

    emit(data, as_json, render)


def refit_command(
    dataset: str,
    fit: Annotated[str, typer.Argument(help="a pinned fit of the latest version")],
    root: RootOption = "data",
    as_json: JsonFlag = False,
) -> None:
    """Make a pinned fit again from the latest version's rows."""
    manifest = open_store(root, dataset, must_exist=True).log.manifest("latest")
    pinned = [f.name for f in manifest.fits if f.pinned]
    if fit not in pinned:
        raise UsageError(f"{fit}: the pinned fits of version {manifest.version} are {', '.join(pinned) or 'none'}")
    report = build(
        manifest.recipe,
        root,
        BuildOptions(retry="none", accept_failures=manifest.accepted_failures is not None),
        snapshot=manifest.snapshot,
        planned_on=manifest.version,
        refit=(fit,),
    )
    emit(_as_json(report), as_json, lambda: typer.echo(f"{dataset}: {report.committed.reason}"))
