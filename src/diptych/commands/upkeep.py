"""Commands that keep a store well: verify, gc, compact, reshard, retire, tag, splits, doctor."""

from __future__ import annotations

import importlib.metadata
import platform
import secrets
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from diptych import weights
from diptych.commands.console import DryRun, JsonFlag, RootOption, emit, open_version, table
from diptych.exceptions import Corrupt, UsageError
from diptych.storage.root import open_root
from diptych.storage.store import datasets, open_store

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this family."""
    for command in (verify_command, gc_command, retire_command, tag_command, splits_command, compact_command, reshard_command, doctor_command):
        app.command(command.__name__.removesuffix("_command"))(command)
