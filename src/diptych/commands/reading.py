"""Commands that read a version: versions, show, stats, report, diff."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diptych.commands.console import JsonFlag, RootOption, console, emit, open_version, table
from diptych.exceptions import UsageError
from diptych.storage.diff import diff
from diptych.storage.lookup import Lineage, RowLineage, lineage
from diptych.storage.store import datasets, open_store
from diptych.version import Version

__all__ = ["register"]

At = Annotated[str, typer.Argument(metavar="D@V", help="a dataset and its version: a number, a tag or latest")]


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    for command in (versions_command, show_command, stats_command, report_command, diff_command):
        app.command(command.__name__.removesuffix("_command"))(command)


def versions_command(
    dataset: Annotated[str | None, typer.Argument(help="a dataset; all of them when left out")] = None,
    root: RootOption = "data",
    as_json: JsonFlag = False,
) -> None:
    """List versions with their tags, rows and bytes."""
    known = datasets(root)
    if dataset is not None and dataset not in known:
        raise UsageError(
            f"no dataset {dataset!r} under {root}; there {'are ' + ', '.join(known) if known else 'is none'}"
        )
    found = []
    for name in [dataset] if dataset else known:
        log = open_store(root, name).log
        tags: dict[int, list[str]] = {}
        for tag, number in log.tags().items():
            tags.setdefault(number, []).append(tag)
        for number, manifest in log.versions().items():
            found.append(
                {
                    "dataset": name,
                    "version": number,
                    "parent": manifest.parent,
                    "created_at": manifest.created_at,
                    "tags": tags.get(number, []),
                    "records": sum(v for v in manifest.statistics.get("records", {}).values()),  # type: ignore[union-attr]
                    "bytes": sum(s.bytes for s in manifest.stages),
                    "input_digest": manifest.input_digest,
                    "exact_digest": manifest.exact_digest,
                    "floats_digest": manifest.floats_digest,
                }
            )
    rows = [
        [
            f"{v['dataset']}@{v['version']}",
            v["created_at"],
            v["records"],
            v["bytes"],
            ", ".join(v["tags"]),
            v["input_digest"][:12],
        ]
        for v in found
    ]
    emit(found, as_json, lambda: table("", ["version", "created", "records", "bytes", "tags", "input digest"], rows))


def show_command(
    at: At,
    key: Annotated[str, typer.Argument(help="a record id, URL, file name or image key")],
    root: RootOption = "data",
    as_json: JsonFlag = False,
) -> None:
    """Everything a version knows of one record, and where each value comes from."""
    store, manifest = open_version(at, root)
    found = lineage(store, manifest, key)
    emit(found, as_json, lambda: _render(found))


def _render(found: Lineage) -> None:
    def say(text: str, style: str = "") -> None:
        # a page's title may hold what a terminal obeys, or what turns the line around
        plain = (c.isprintable() or c in "\u00a0\u200c\u200d\u3000" for c in text)
        shown = "".join(c if p else c.encode("unicode_escape").decode() for c, p in zip(text, plain, strict=True))
        console.print(shown, style=style, markup=False, highlight=False, overflow="fold")

    say(f"{found.dataset}@{found.version} record {found.record}, shard {found.shard}", "bold")
    say(f"  source {found.snapshot['source']}: {found.snapshot['url']} ({found.snapshot['outcome']})")
    for what, holder in [("the record", found.snapshot), *((i["url"], i) for i in found.snapshot["images"] or ())]:
        decided = holder.get("override")
        if decided:
            done = {"keep": "kept", "drop": "dropped"}[decided["decision"]]
            who, why = decided["who"] or "somebody unnamed", decided["reason"] or "no reason given"
            say(f"  {what}: {done} by {who} (overrides.csv): {why}", "magenta")
    if found.document:
        text = found.document
        say(f"  {text.language or 'language unknown'}: {text.title} ({len(text.text):,} characters)")
    for row in found.rows:
        if row.status == "rejected" and row.key == found.record:
            say(f"  left out by {row.stage}: {_why(row)}", "yellow")
    say("fetched", "bold")
    for fetch in found.fetches:
        status = f" HTTP {fetch['status']}" if fetch["status"] else ""
        outcome = f"{fetch['outcome']} {fetch['code']}".strip()
        say(f"  {fetch['fetched_at'] or 'never'}{status} {outcome}, {fetch['bytes']:,} bytes  {fetch['url']}")
    for row in found.rows:
        style = {"ok": "", "rejected": "yellow", "skipped": "dim"}.get(row.status, "red")
        say(f"{row.stage} v{row.stage_version} {row.key}", "bold")
        say(f"  {row.status} {_why(row)}".rstrip(), style)
        say(f"  {row.segment}{'; weights ' + ', '.join(row.weights) if row.weights else ''}", "dim")
        for name, value in row.values.items():
            if value is not None:
                array = hasattr(value, "dtype") and hasattr(value, "shape")
                shown = f"{value.dtype} {tuple(value.shape)}" if array else repr(value)
                if isinstance(value, bytes):
                    shown = f"{len(value)} bytes"
                say(f"    {name} = {shown[:240]}{' ...' if len(shown) > 240 else ''}")
    for name, rows in found.fits.items():
        for key, values in rows.items():
            say(f"{name} {key}: {', '.join(f'{k} {v}' for k, v in values.items())}")


def _why(row: RowLineage) -> str:
    """The code of a row that is not ok, what the rule saw and compared with, and the words it left."""
    why = row.code
    if row.value is not None and row.threshold is not None:
        why += f": {row.value:g} against the threshold {row.threshold:g}"
    return f"{why}{'; ' if why and row.text else ''}{row.text[:200]}"


def stats_command(at: At, root: RootOption = "data", as_json: JsonFlag = False) -> None:
    """Counts of a version: records, images, text, stages, bytes."""
    from diptych.report import statistics

    store, manifest = open_version(at, root)
    found = statistics(Version(store, manifest))
    emit(found, as_json, lambda: typer.echo(str(found)))


def report_command(
    at: At,
    root: RootOption = "data",
    to: Annotated[Path, typer.Option("--to", help="the page to write")] = Path("report.html"),
    gallery: Annotated[int, typer.Option(min=0, help="how many records the gallery shows")] = 60,
    truth: Annotated[
        Path | None, typer.Option(help="truth.jsonl of a sample site: score every cleaning rule against it")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the version's report: one HTML page that needs no network."""
    from diptych.report import write_report

    store, manifest = open_version(at, root)
    path = write_report(Version(store, manifest), to, gallery=gallery, truth=truth)
    emit({"path": str(path), "bytes": path.stat().st_size}, as_json, lambda: typer.echo(f"wrote {path}"))


def diff_command(
    dataset: Annotated[str, typer.Argument(metavar="D[@V]", help="the newer version; latest when left out")],
    other: Annotated[
        str | None, typer.Argument(metavar="[D@]V", help="the older version; the parent when left out")
    ] = None,
    root: RootOption = "data",
    as_json: JsonFlag = False,
) -> None:
    """What changed between two versions, by stage and record."""
    store, manifest = open_version(dataset, root)
    if other is None and manifest.parent is None:
        raise UsageError(f"version {manifest.version} has no parent; name the version to compare with")
    if other is not None and "@" in other:
        name, _, number = other.partition("@")
        other = number or "latest"
        if name != manifest.dataset:
            raise UsageError(f"{name} and {manifest.dataset} are two datasets; diff compares versions of one")
    found = diff(store, other if other is not None else manifest.parent or 0, manifest.version)
    emit(found, as_json, lambda: typer.echo(str(found)))
