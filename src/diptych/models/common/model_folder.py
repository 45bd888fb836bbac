"""Hugging Face model folders: as settings (a digest of their files), and made of files of the weights registry."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diptych import weights
from diptych.exceptions import UsageError
from diptych.releases import require
from diptych.settings import unreadable

__all__ = [
    "folder_digest", "load_folder", "quiet_transformers", "registered_folder", "require_transformers",
    "with_folder_digest",
]  # fmt: skip


def folder_digest(folder: Path) -> str:
    """SHA-256 over names and contents of a folder's files; ``ValueError`` when it is no model folder."""
    if not (folder / "config.json").is_file():
        raise unreadable("folder", folder, "no Hugging Face model folder: it has no config.json")
    hasher = hashlib.sha256()
    for file in sorted(p for p in folder.glob("*") if p.is_file()):
        hasher.update(f"{file.name}\0{weights.sha256_of(file)}\n".encode())
    return hasher.hexdigest()


def with_folder_digest(raw: Any) -> Any:
    """Settings whose ``folder`` is content: ``folder_sha256`` is filled in, or compared when it is given."""
    if not isinstance(raw, dict) or raw.get("folder") is None:
        return raw
    found = folder_digest(Path(raw["folder"]))
    if raw.get("folder_sha256") not in (None, found):
        raise ValueError(f"the model folder {raw['folder']} changed since the recipe was read")
    return {**raw, "folder_sha256": found}


@contextmanager
def registered_folder(files: Mapping[str, str]) -> Iterator[Path]:
    """A folder with registered weights under the names that transformers expects (name there -> name registered)."""
    found = {call: weights.path(name) for call, name in files.items()}
    with tempfile.TemporaryDirectory(prefix="diptych-model-") as place:
        for call, file in found.items():
            (Path(place) / call).symlink_to(file)
        yield Path(place)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars, and no warnings about heads that are left out."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


def require_transformers() -> None:
    """:class:`MissingExtra` when the packages are not there."""
    require("bert", "torch", "transformers")


def load_folder(folder: Path) -> tuple[Any, Any]:
    """Model (float32, eval mode) and tokenizer (of ``tokenizers``: offsets) of a folder; its own code never runs."""
    require_transformers()
    from transformers import AutoModel, AutoTokenizer

    with quiet_transformers():
        try:
            model: Any = AutoModel.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            if (folder / "tokenizer.json").is_file():
                from tokenizers import Tokenizer

                return model.float().eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))
            fast: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            if not fast.is_fast:
                raise UsageError(f"{folder}: its tokenizer gives no offsets; save it as tokenizer.json")
            return model.float().eval(), fast.backend_tokenizer
        except (OSError, ValueError) as error:
            raise UsageError(f"{folder} holds no model that transformers can read: {error}") from error
