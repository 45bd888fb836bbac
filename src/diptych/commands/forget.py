"""``diptych forget``: takedown of records, addresses and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from diptych.commands.console import DryRun, JsonFlag, RootOption, emit, table
from diptych.engine.context import BuildOptions
from diptych.engine.forget import ForgetReport, forget
from diptych.engine.steps import close
from diptych.exceptions import UsageError
from diptych.naming import digest_bytes
from diptych.storage.forgetting import Asked

__all__ = ["forget_command"]

Names = list[str] | None


def forget_command(
    dataset: Annotated[str, typer.Argument(metavar="DATASET")],
    url: Annotated[Names, typer.Option(help="address of a page or picture; may be repeated")] = None,
    record: Annotated[Names, typer.Option(help="record id, or the source's own id")] = None,
    image: Annotated[Names, typer.Option(help="image key (SHA-256), or a picture file")] = None,
    file: Annotated[Path | None, typer.Option(help="a list: one id, address or image key a line")] = None,
    purge: Annotated[bool, typer.Option(help="retire what contains it and delete its bytes")] = False,
    keep_shared: Annotated[bool, typer.Option(help="keep pictures that other records show, too")] = False,
    force: Annotated[bool, typer.Option(help="also retire tagged versions and those a run used")] = False,
    reason: Annotated[str, typer.Option(help="stands in the takedown's file; name no person")] = "",
    device: Annotated[str, typer.Option(help="where accelerator stages run, as torch names it")] = "cpu",
    root: RootOption = "data",
    dry: DryRun = False,
    as_json: JsonFlag = False,
) -> None:
    """Forget records or pictures: never fetched or kept again, gone from the next version; with --purge, deleted."""
    asked = Asked(tuple(record or ()), tuple(url or ()), tuple(_key(name) for name in image or ()))
    if file is not None:
        if not file.is_file():
            raise UsageError(f"--file {file}: no such file")
        asked += Asked.of_lines(file.read_text(encoding="utf-8").splitlines())
    options = BuildOptions(device=device)
    try:
        report = forget(
            root,
            dataset,
            asked,
            reason=reason,
            purge_bytes=purge,
            keep_shared=keep_shared,
            force=force,
            dry_run=dry,
            options=options,
        )
    finally:
        close()
    emit(_as_json(report), as_json, lambda: _render(report))


def _key(name: str) -> str:
    path = Path(name)
    return digest_bytes(path.read_bytes()) if path.is_file() else name


def _as_json(report: ForgetReport) -> dict[str, Any]:
    purged = report.purged
    return {
        "dataset": report.dataset,
        "dry_run": report.dry_run,
        "takedowns": [t.id for t in report.takedowns],
        **report.counts,
        "version": report.version,
        "purged": None
        if purged is None
        else {
            "version": purged.version,
            "retired": list(purged.retired),
            "log_rows": purged.log_rows,
            "deleted": len(purged.collected.deleted) + len(purged.collected.finished),
            "bytes": purged.collected.bytes,
            "finished": purged.finished,
        },
        "contained_in": [h.model_dump() for h in report.holders],
    }


def _render(report: ForgetReport) -> None:
    counts = report.counts
    verb = "would forget" if report.dry_run else "forgotten:"
    typer.echo(
        f"{report.dataset}: {verb} {counts['records']} records, {counts['images']} pictures, "
        f"{counts['addresses']} addresses"
    )
    if report.version is not None:
        typer.echo(f"committed version {report.version} without them")
    if report.purged is not None:
        purged = report.purged
        typer.echo(
            f"purged: retired versions {', '.join(map(str, purged.retired)) or 'none'}; "
            f"{'merged segments in version ' + str(purged.version) + '; ' if purged.version else ''}"
            f"{purged.log_rows} rows of the fetch log, "
            f"{len(purged.collected.deleted) + len(purged.collected.finished)} files and segments deleted "
            f"({purged.collected.bytes:,} bytes)"
        )
    rows = [[h.kind, h.name, h.text] for h in report.holders]
    if rows:
        table("contained still in" if report.purged else "contained in", ["what", "name", "note"], rows)
    elif report.purged is not None:
        typer.echo("nothing that diptych knows of contains them any more")
    if report.purged is not None and not report.purged.finished:
        typer.echo(
            f"not finished while a version contains them: diptych forget {report.dataset} --purge --force retires it, "
            f"or take its tag away and run diptych forget {report.dataset} --purge"
        )
    if report.purged is None and not report.dry_run:
        typer.echo(f"their bytes are still there: diptych forget {report.dataset} --purge deletes them")
