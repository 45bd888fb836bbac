"""Visual entities: names of what a picture shows, by a recognition service.

Every provider of entities has these columns; this one asks Baidu. Answers may be kept in a folder, one file a
picture, so that a lost dataset does not cost the quota again; rows that are known are never asked for twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import requests
from pydantic import Field

from diptych.environment import variable
from diptych.exceptions import StageError
from diptych.imaging import ImageRefused
from diptych.stage import Batch, Output, Stage, StageConfig
from diptych.stages.entities_baidu import ENDPOINT, Refusal, ask, entities_of, sendable

__all__ = ["COLUMNS", "Entities", "EntitiesConfig"]

COLUMNS = pa.schema(
    [
        pa.field("names", pa.list_(pa.string()), metadata={"doc": "the surest first"}),
        pa.field("scores", pa.list_(pa.float32()), metadata={"doc": "0 to 1, in the order of names"}),
        pa.field("roots", pa.list_(pa.string()), metadata={"doc": "category of each name, or empty"}),
    ]
)
"""What every provider of entities gives."""


class EntitiesConfig(StageConfig):
    """Which service, and how much of its answer."""

    places: ClassVar[tuple[str, ...]] = ("answers",)

    endpoint: str = Field(ENDPOINT, description="address of Baidu's advanced_general, or of what speaks its language")
    token_variable: str = Field("BAIDU_ACCESS_TOKEN", description="environment variable that holds the access token")
    answers: str | None = Field(None, description="folder that keeps the answers, one file a picture")
    min_score: float = Field(0.0, ge=0, le=1, description="names below are left out")
    top: int = Field(5, ge=1, le=100, description="at most so many names")


class Entities(Stage):
    """Names of things and scenes in a picture; with the quota used up the rest of the rows fail transiently."""

    name, version = "entities", 1
    key = "image"
    inputs = ("images.bytes",)
    outputs = COLUMNS
    Config = EntitiesConfig
    config: EntitiesConfig
    packages = ("pillow",)
    batch_size = 8

    def setup(self, device: str) -> None:
        """Open a connection; the token is looked up when the first question is asked."""
        self._session = requests.Session()
        self._no_quota = ""

    def process(self, batch: Batch) -> Output:
        """One picture after the other, as the service counts them."""
        out = batch.output()
        for row, data in enumerate(batch["images.bytes"]):
            try:
                answer = self._answer(data)
                kept = [e for e in entities_of(answer) if e.score >= self.config.min_score][: self.config.top]
            except ImageRefused as error:
                out.fail(row, error.code, str(error))
                continue
            except Refusal as error:
                out.fail(row, error.code, str(error), transient=error.transient)
                continue
            scores = [float(np.float32(e.score)) for e in kept]
            out.set(row, names=[e.name for e in kept], scores=scores, roots=[e.root for e in kept])
        return out

    def _answer(self, data: bytes | None) -> dict[str, Any]:
        if data is None:
            raise ImageRefused("not_an_image", "no bytes")
        picture = sendable(data)
        file = self._file(data)
        if file is not None and file.is_file():
            try:
                known = json.loads(file.read_bytes())
                entities_of(known)
                return known
            except (ValueError, AttributeError, Refusal):
                pass  # a damaged file is asked for again
        if self._no_quota:
            raise Refusal("quota", self._no_quota, transient=True, quota=True)
        try:
            answer = ask(self._session, self.config.endpoint, self._token(), picture)
        except Refusal as refusal:
            if refusal.quota:
                self._no_quota = str(refusal)
            raise
        if file is not None:
            _write(file, answer)
        return answer

    def _token(self) -> str:
        token = variable(self.config.token_variable)
        if not token:
            raise StageError(
                f"stage entities: a picture has no answer in {self.config.answers or 'a folder (answers: FOLDER)'} and "
                f"none is given without an access token of Baidu's image recognition; set the environment variable "
                f"{self.config.token_variable} to one"
            )
        return token

    def _file(self, data: bytes) -> Path | None:
        if self.config.answers is None:
            return None
        name = hashlib.sha256(data).hexdigest()
        return Path(self.config.answers) / name[:2] / f"{name}.json"

    def close(self) -> None:
        """Close the connection."""
        if hasattr(self, "_session"):
            self._session.close()


def _write(file: Path, answer: dict[str, Any]) -> None:
    """Whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, encoding="utf-8", delete=False) as sink:
        json.dump(answer, sink)
    os.replace(sink.name, file)
