"""Text in images: lines with polygons and confidence, and the whole in reading order."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import yaml
from pydantic import Field, model_validator

from diptych import weights
from diptych.imaging import ImageRefused, decode_array
from diptych.releases import load, require
from diptych.settings import unreadable
from diptych.stage import Batch, Output, Stage, StageConfig
from diptych.stages.ocr_engine import Line, OcrDied, OcrProcess, model_folder
from diptych.stages.ocr_processes import OcrProcesses

__all__ = ["Ocr", "OcrConfig", "reading_order"]

_BLANK_SPREAD = 6
"""A picture whose every channel spans fewer levels holds no text; the engine is not asked."""


class OcrConfig(StageConfig):
    """How large a picture is looked at, and which models look."""

    places: ClassVar[tuple[str, ...]] = ("detection_dir", "recognition_dir")

    limit_side_len: int = Field(320, ge=32, le=4000, description="side to which the detector's input is limited")
    limit_type: Literal["max", "min"] = Field("max", description="whether that bounds the longer or the shorter side")
    min_confidence: float = Field(
        0.85, ge=0, le=1, description="lines below are left out; shapes taken for text reach 0.8, banners start at 0.95"
    )
    detection_dir: str | None = Field(None, description="a PaddleOCR detection model folder; None: the packaged one")
    recognition_dir: str | None = Field(
        None, description="a PaddleOCR recognition model folder; None: the packaged one"
    )
    models_sha256: str | None = Field(
        None, description="of the files in those folders; filled in when the recipe is read"
    )
    engine: Literal["onnxruntime", "paddle"] = Field("onnxruntime", description="paddle needs paddlepaddle installed")

    @model_validator(mode="before")
    @classmethod
    def _folders_are_content(cls, raw: Any) -> Any:
        """Changed model files are a changed setting."""
        if not isinstance(raw, dict):
            return raw
        folders = {n: raw[n] for n in ("detection_dir", "recognition_dir") if raw.get(n) is not None}
        if not folders:
            return raw
        hasher = hashlib.sha256()
        for key, folder in ((n, Path(value)) for n, value in folders.items()):
            files = sorted(p for p in folder.glob("*") if p.is_file())
            if not (folder / "inference.yml").is_file():
                raise unreadable(key, folder, "no PaddleOCR model folder: it has no inference.yml")
            try:
                _model_name(folder)
            except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
                raise unreadable(key, folder, "its inference.yml is no YAML of PaddleOCR") from error
            for file in files:
                hasher.update(f"{file.name}\0{weights.sha256_of(file)}\n".encode())
        expected = raw.get("models_sha256")
        if expected not in (None, hasher.hexdigest()):
            raise ValueError(
                f"the model folders {', '.join(map(str, folders.values()))} changed since the recipe was read"
            )
        return {**raw, "models_sha256": hasher.hexdigest()}


LINE = pa.struct(
    [
        pa.field("text", pa.string()),
        pa.field("confidence", pa.float32()),
        pa.field(
            "polygon", pa.list_(pa.float32()), metadata={"doc": "four corners x, y in pixels, from top left clockwise"}
        ),
    ]
)


class Ocr(Stage):
    """PaddleOCR (PP-OCRv6 small: English, Chinese and other scripts) in processes of its own, on the CPU."""

    name, version = "ocr", 1
    key = "image"
    inputs = ("images.bytes",)
    outputs = pa.schema(
        [
            pa.field("lines", pa.list_(LINE), metadata={"doc": "in reading order"}),
            pa.field("text", pa.string(), metadata={"doc": "the lines' texts, joined by line breaks"}),
        ]
    )
    Config = OcrConfig
    config: OcrConfig
    packages = ("paddleocr", "paddlex", "onnxruntime", "pillow")
    batch_size = 32
    tolerance = 1e-3
    recycle_after: ClassVar[int] = 400
    """Pictures after which a process is replaced; it does not change any result."""
    timeout: ClassVar[float] = 120.0
    """Seconds for one picture."""

    def weight_names(self) -> tuple[str, ...]:
        """The packaged models that no folder replaces."""
        given = {"ppocr_det": self.config.detection_dir, "ppocr_rec": self.config.recognition_dir}
        return tuple(name for name, folder in given.items() if folder is None)

    def check(self) -> None:
        """PaddleOCR and onnxruntime; OpenCV, which PaddleOCR loads in a process of its own."""
        require("ocr", "paddleocr", "onnxruntime")
        load("cv2", "opencv-contrib-python", "ocr")

    def setup(self, device: str) -> None:
        """Find the models; the first process starts with the first picture that may hold text."""
        self._folder = tempfile.TemporaryDirectory(prefix="diptych-ocr-")
        settings = self._settings(Path(self._folder.name))
        self._processes = OcrProcesses(lambda: OcrProcess(settings, self.recycle_after, self.timeout))

    def _settings(self, folder: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for kind, long, given in (
            ("det", "text_detection", self.config.detection_dir),
            ("rec", "text_recognition", self.config.recognition_dir),
        ):
            place = Path(given) if given else model_folder(kind, weights.path(f"ppocr_{kind}"), folder)
            found[f"{long}_model_dir"] = str(place.resolve())
            found[f"{long}_model_name"] = _model_name(place)
        onnx = self.config.engine == "onnxruntime"
        return found | {
            "use_doc_orientation_classify": False,
            "use_doc_unwarping": False,
            "use_textline_orientation": False,
            "text_det_limit_side_len": self.config.limit_side_len,
            "text_det_limit_type": self.config.limit_type,
            "engine": self.config.engine,
            "device": "cpu",
            **({"engine_config": {"intra_op_num_threads": 1}} if onnx else {"cpu_threads": 1}),
        }

    def process(self, batch: Batch) -> Output:
        """Each picture alone, so that no line's result depends on its neighbours in the batch."""
        out = batch.output()
        for row, lines in enumerate(self._processes.map(_lines, batch["images.bytes"])):
            if isinstance(lines, ImageRefused):
                out.fail(row, lines.code, str(lines))
                continue
            if isinstance(lines, OcrDied):
                out.fail(row, "ocr_died", str(lines), transient=True)
                continue
            kept = reading_order([line for line in lines if line[0].strip() and line[1] >= self.config.min_confidence])
            items = [{"text": text, "confidence": score, "polygon": polygon} for text, score, polygon in kept]
            out.set(row, lines=items, text="\n".join(text for text, _, _ in kept))
        return out

    def close(self) -> None:
        """End the processes."""
        if hasattr(self, "_processes"):
            self._processes.close()
            self._folder.cleanup()


def reading_order(lines: list[Line]) -> list[Line]:
    """From top to bottom; lines whose middle lies within half a line's height stand beside each other, left first."""
    left = sorted(lines, key=lambda line: (_middle(line), min(line[2][0::2]), line[0]))
    found: list[Line] = []
    while left:
        first = left[0]
        reach = _height(first) / 2
        beside = [line for line in left if _middle(line) - _middle(first) <= reach]
        found += sorted(beside, key=lambda line: (min(line[2][0::2]), _middle(line), line[0]))
        left = [line for line in left if line not in beside]
    return found


def _middle(line: Line) -> float:
    return (min(line[2][1::2]) + max(line[2][1::2])) / 2


def _height(line: Line) -> float:
    return max(line[2][1::2]) - min(line[2][1::2])


def _blank(pixels: np.ndarray) -> bool:
    return bool((pixels.max((0, 1)).astype(int) - pixels.min((0, 1)) < _BLANK_SPREAD).all())


def _lines(process: OcrProcess, data: bytes | None) -> list[Line] | ImageRefused | OcrDied:
    """What the process reads in a picture, or why it cannot."""
    try:
        pixels = decode_array(data) if data is not None else None
    except ImageRefused as error:
        return error
    if pixels is None:
        return ImageRefused("not_an_image", "no bytes")
    if _blank(pixels):
        return []
    try:
        return process.read(pixels)
    except OcrDied:
        try:
            return process.read(pixels)  # a fresh process tells a bad picture from a tired process
        except OcrDied as error:
            return error


def _model_name(folder: Path) -> str:
    settings = yaml.safe_load((folder / "inference.yml").read_text(encoding="utf-8"))
    return str(settings.get("Global", {}).get("model_name", folder.name))
