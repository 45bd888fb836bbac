"""What the UI shows of a version and of a training: artifacts, made after the work and never at its cost."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from diptych.exceptions import MissingExtra
from diptych.report.curves import draw_curves
from diptych.report.gallery import gallery
from diptych.report.version_card import version_card
from diptych.storage.store import open_store
from diptych.training.comparison import comparison_text, group_runs
from diptych.training.folder import RunFolder
from diptych.training.series import last_run_before, series_text
from diptych.version import Version
from tasks.policies import LIMIT_S

__all__ = ["describe_training", "describe_version"]


@task(name="describe", timeout_seconds=LIMIT_S["describe"], cache_policy=NO_CACHE, persist_result=False)
def describe_version(root: str, dataset: str, number: int) -> None:
    """The card of a version, sample pictures with boxes, and what changed since its parent."""
    store = open_store(root, dataset, must_exist=True)
    version = Version(store, store.log.manifest(number))
    name = f"{dataset}@{number}"
    create_markdown_artifact(version_card(version), key="dataset-card", description=name)
    parent = version.manifest.parent
    if parent is not None and parent in store.log.versions():
        text = f"```\n{version.diff(parent)}\n```\n"
        create_markdown_artifact(text, key="diff", description=f"{name}: what changed since version {parent}")
    pictures = gallery(version)
    if pictures:
        parts = [f"# Sample pictures of {name}"]
        for picture in pictures:
            drawn = f"drawn: {', '.join(picture.layers)}" if picture.layers else "nothing is drawn on it"
            caption = " ".join(picture.caption.split())[:300]
            parts.append(
                f"**{_plain(picture.title)}**\n\n![{_plain(picture.title)}]({_uri(picture.png)})\n\n"
                f"{_plain(caption)}\n\n*{_plain(drawn)}; record `{picture.record}`*"
            )
        create_markdown_artifact("\n\n".join(parts), key="gallery", description=name)


@task(name="describe", timeout_seconds=LIMIT_S["describe"], cache_policy=NO_CACHE, persist_result=False)
def describe_training(root: str, dataset: str, paths: Sequence[str]) -> None:
    """Curves; results beside the paper's table and beside the last run of the model that can be read."""
    store = open_store(root, dataset, must_exist=True)
    runs = [RunFolder(store, path) for path in paths]
    model = runs[0].model
    _show_curves(model, runs)
    parts = [f"# {model} on {dataset}", f"```\n{series_text(runs)}```"]
    unread: list[str] = []
    before = last_run_before(runs, unread.append)
    for said in unread:
        get_run_logger().warning("not compared: %s", said)
    if before is None and not unread:
        parts.append(f"There is no earlier run of {model} on {dataset} to compare with.")
    elif before is not None:
        text = comparison_text([*group_runs([before]), *group_runs(runs)])
        parts.append(f"## Beside the last run, `{before.run}`\n\n```\n{text}\n```")
    parts += [f"Not compared: {_plain(said)}" for said in unread]
    parts.append("\n".join(["Runs:", "", *(f"- `{path}`" for path in paths)]))
    create_markdown_artifact("\n\n".join(parts) + "\n", key="training-results", description=model)


def _show_curves(model: str, runs: Sequence[RunFolder]) -> None:
    try:
        drawn = draw_curves({run.run: _epochs(run) for run in runs})
    except MissingExtra as missing:
        get_run_logger().warning("no curves: %s", missing)
        return
    if drawn:
        text = f"# Curves of {model}\n\n![loss and dev values by epoch]({_uri(drawn)})\n"
        create_markdown_artifact(text, key="training-curves", description=model)


def _epochs(run: RunFolder) -> list[dict[str, Any]]:
    return run.read_json("metrics.json").get("epochs", []) if run.exists("metrics.json") else []


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _plain(text: str) -> str:
    """Text from outside without what Markdown or HTML would make of it."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_[]()#!|~" else c for c in " ".join(escaped.split()))
