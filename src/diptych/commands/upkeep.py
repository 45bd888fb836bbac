"""Commands that keep a store well: verify, gc, compact, reshard, retire, tag, splits, doctor."""

from __future__ import annotations

import io
import platform
import secrets
import shutil
from pathlib import Path
from typing import Annotated, Any

import pyarrow.csv
import typer

from diptych import weights
from diptych.commands.console import DryRun, JsonFlag, RootOption, emit, open_version, table
from diptych.engine.build import build
from diptych.engine.commit import commit_rewritten
from diptych.engine.context import BuildOptions, graph_of, new_build_id
from diptych.engine.rebuild import check_code
from diptych.exceptions import DiptychError, NotFound, UsageError
from diptych.releases import release
from diptych.storage.alive import GRACE, SignOfLife
from diptych.storage.compact import compact
from diptych.storage.gc import gc
from diptych.storage.outputs import write_text
from diptych.storage.retire import retire
from diptych.storage.root import open_root
from diptych.storage.store import Store, datasets, open_store
from diptych.storage.verify import verify

__all__ = ["register"]

Name = Annotated[str, typer.Argument(metavar="DATASET")]


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    commands = (
        verify_command,
        gc_command,
        retire_command,
        tag_command,
        splits_command,
        compact_command,
        reshard_command,
        doctor_command,
    )
    for command in commands:
        app.command(command.__name__.removesuffix("_command"))(command)


def _store(dataset: str, root: str) -> Store:
    return open_store(root, dataset, must_exist=True)


def verify_command(
    at: Annotated[str, typer.Argument(metavar="D@V")],
    root: RootOption = "data",
    quick: Annotated[bool, typer.Option(help="files and sizes only: recompute no digest, read no blob")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Check every file, hash, count and digest of a version; exit 1 when anything is wrong."""
    store, manifest = open_version(at, root)
    report = verify(store, manifest.version, values=not quick, blobs=not quick)

    def render() -> None:
        for problem in report.problems:
            typer.echo(f"{problem.kind}: {problem.file} {problem.row} {problem.text}")
        for note in report.notes:
            typer.echo(f"note: {note}")
        wrong = f"{len(report.problems)} problems" if report.problems else "nothing wrong"
        typer.echo(
            f"{report.dataset}@{report.version}: {wrong} ({report.files:,} files, {report.bytes:,} bytes, "
            f"{report.rows:,} rows, {report.blobs:,} blobs checked)"
        )

    emit(report, as_json, render)
    if report.problems:
        raise typer.Exit(1)


def gc_command(
    dataset: Name,
    root: RootOption = "data",
    grace: Annotated[float, typer.Option(min=0, help="days for which files that no version names are spared")] = GRACE
    / 86400,
    dry: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete what no kept version names; the log names it before it goes."""
    report = gc(_store(dataset, root), grace=grace * 86400, dry_run=dry)
    done = "would delete" if dry else "deleted"
    text = f"{dataset}: {done} {len(report.deleted) + len(report.finished)} things, {report.bytes:,} bytes"
    emit(report, as_json, lambda: typer.echo(text))


def retire_command(
    dataset: Name,
    versions: Annotated[list[int] | None, typer.Argument(help="versions to retire")] = None,
    root: RootOption = "data",
    keep_last: Annotated[int | None, typer.Option(help="retire all but the last N")] = None,
    force: Annotated[bool, typer.Option(help="also tagged versions and those a run used")] = False,
    reason: Annotated[str, typer.Option(help="stands in the log")] = "",
    dry: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Take versions out of the log; `gc` then deletes what only they named."""
    plan = retire(
        _store(dataset, root), keep_last=keep_last, versions=versions, force=force, dry_run=dry, reason=reason
    )

    def render() -> None:
        for number, why in plan.protected.items():
            typer.echo(f"version {number} stays: {why}")
        done = "would retire" if dry else "retired"
        typer.echo(f"{dataset}: {done} versions {', '.join(map(str, plan.versions)) or 'none'}")

    emit(plan, as_json, render)


def tag_command(
    at: Annotated[str, typer.Argument(metavar="D@V")],
    name: str,
    root: RootOption = "data",
    remove: Annotated[bool, typer.Option(help="take the name away")] = False,
    dry: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Give a version a name, as `diptych tag news@12 production`."""
    store, manifest = open_version(at, root)
    if not dry:
        store.log.tag(name, None if remove else manifest.version)
    version = None if remove else manifest.version
    text = f"{store.name}: {name} {'removed' if remove else f'-> version {version}'}{' (dry run)' if dry else ''}"
    emit({"dataset": store.name, "tag": name, "version": version}, as_json, lambda: typer.echo(text))


def splits_command(
    at: Annotated[str, typer.Argument(metavar="D@V")],
    root: RootOption = "data",
    to: Annotated[Path | None, typer.Option("--to", help="write the ledger as CSV")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Count the records of each split, or export the ledger (record, group, split)."""
    store, manifest = open_version(at, root)
    entry = next((f for f in manifest.fits if f.ledger), None)
    if entry is None:
        raise NotFound(f"{at} has no split ledger")
    ledger = store.lists.get(entry.result)
    if to is not None:
        text = io.BytesIO()
        pyarrow.csv.write_csv(ledger.select(["key", "group", "split", "official"]), text)  # a CSV has no lists
        write_text(to, text.getvalue().decode())
        typer.echo(f"wrote {to}: {ledger.num_rows} records")
        return
    counts: dict[str, int] = {}
    for split in ledger["split"].to_pylist():
        counts[split] = counts.get(split, 0) + 1
    emit(counts, as_json, lambda: table(at, ["split", "records"], [[k, v] for k, v in sorted(counts.items())]))


def compact_command(dataset: Name, root: RootOption = "data", as_json: JsonFlag = False) -> None:
    """Merge the segments of shards that have many, or many dead rows; same rows, same digests, a new version."""
    store = _store(dataset, root)
    build_id = new_build_id()
    with SignOfLife(store, build_id, "compact"):
        head = store.log.head()
        manifest = store.log.manifest("latest")
        report = compact(store, manifest, build_id)
        version = commit_rewritten(store, manifest, report.stages, head) if report.merged else None
    done = f"merged {len(report.merged)} parts, committed version {version}" if version else "nothing to merge"
    emit({"version": version, "merged": report.merged}, as_json, lambda: typer.echo(f"{dataset}: {done}"))


def reshard_command(
    dataset: Name,
    shards: Annotated[int, typer.Argument(help="the new number of shards, a power of two")],
    root: RootOption = "data",
    as_json: JsonFlag = False,
) -> None:
    """Change the number of shards by reference: rows are not computed and values are not copied."""
    if shards < 1 or shards & (shards - 1):
        raise UsageError(f"{shards} is not a power of two")
    manifest = _store(dataset, root).log.manifest("latest")
    check_code(graph_of(manifest.recipe), manifest)
    report = build(
        manifest.recipe,
        root,
        BuildOptions(retry="none", accept_failures=manifest.accepted_failures is not None),
        snapshot=manifest.snapshot,
        planned_on=manifest.version,
        shards=shards,
    )
    emit(
        {"version": report.committed.version, "shards": shards, "computed": report.computed},
        as_json,
        lambda: typer.echo(f"{dataset}: {report.committed.reason} ({shards} shards, {report.computed} rows computed)"),
    )


PACKAGES = (
    "diptych",
    "pyarrow",
    "numpy",
    "torch",
    "torchvision",
    "prefect",
    "paddleocr",
    "onnxruntime",
    "stanza",
    "transformers",
    "detectron2",
    "ray",
    "s3fs",
)


def doctor_command(root: RootOption = "data", as_json: JsonFlag = False) -> None:
    """Say what this machine has: versions, device, weights, the store; exit 1 when nothing can be committed there."""
    found: dict[str, Any] = {"python": platform.python_version(), "packages": {p: release(p) for p in PACKAGES}}
    found["device"] = _device()
    found["weights"] = {s.name: weights.state(s.name) for s in weights.list_weights()}
    found["weights_cache"] = str(weights.cache())
    found["store"] = _check_store(root)

    def render() -> None:
        table("packages", ["package", "release"], [[k, v or "not installed"] for k, v in found["packages"].items()])
        table(f"weights in {found['weights_cache']}", ["name", "state"], [[k, v] for k, v in found["weights"].items()])
        typer.echo(f"python {found['python']}; device {found['device']}")
        typer.echo("; ".join(f"{k} {v}" for k, v in found["store"].items()))

    emit(found, as_json, render)
    if found["store"]["conditional put"] != "ok":
        raise typer.Exit(1)


def _device() -> str:
    try:
        import torch
    except ImportError:
        return "torch is not installed"
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {torch.get_num_threads()} threads"


def _check_store(root: str) -> dict[str, Any]:
    """Whether the root can be written and whether creating a name twice fails, as a commit needs."""
    try:
        place = open_root(root)
        probe = f".doctor-{secrets.token_hex(6)}"
        first, second = place.create(probe, b"1"), place.create(probe, b"2")
        place.delete(probe)
    except (DiptychError, OSError) as error:
        return {"root": root, "conditional put": f"failed: {error}"}
    free = shutil.disk_usage(root).free if Path(root).exists() else place.free_bytes()
    return {
        "root": place.url,
        "conditional put": "ok" if first and not second else "BROKEN: commits are not safe here",
        "free bytes": free,
        "datasets": datasets(root),
    }
