"""The card of a version as Markdown: what it holds, what was lost on the way, what to know before using it."""

from __future__ import annotations

from diptych.report.notices import notices
from diptych.report.stats import statistics
from diptych.version import Version

__all__ = ["version_card"]

COUNTED = 500_000
"""Rows of the largest stage up to which a card counts everything; larger versions show what their manifest says."""


def version_card(version: Version) -> str:
    """Markdown: what a version holds and what was lost on the way."""
    manifest = version.manifest
    lines = [f"# {manifest.dataset}@{manifest.version}", ""]
    lines += [f"**{warning}**\n" for warning in notices(manifest)]
    parent = f"version {manifest.parent}" if manifest.parent else "none"
    lines += [f"- snapshot `{manifest.snapshot[:16]}`, parent: {parent}, committed {manifest.created_at}"]
    lines += [f"- input digest `{manifest.input_digest[:16]}`, content digest `{manifest.exact_digest[:16]}`", ""]
    if max((s.counts.total for s in manifest.stages), default=0) <= COUNTED:
        return "\n".join([*lines, "```", str(statistics(version)), "```", ""])
    lines += ["| stage | rows | ok | rejected | skipped | failed |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for stage in manifest.stages:
        n = stage.counts
        lines.append(f"| {stage.name} | {n.total:,} | {n.ok:,} | {n.rejected:,} | {n.skipped:,} | {n.failed:,} |")
    return "\n".join([*lines, ""])
