"""The OCR process: PaddleOCR with its ONNX engine, fed over a pipe; run as ``python -m diptych.stages.ocr_engine``.

PaddleOCR's memory grows with every picture and its import takes a gigabyte, so it lives in a process of its
own that :class:`OcrProcess` replaces every so often. The process ends when its pipe is closed or its parent
is gone, whichever it notices first: it is never left behind.

Protocol: messages of a length-prefixed JSON and length-prefixed bytes. First ``[number, settings]``, then pictures
(``[number, [height, width]]``; RGB bytes). Each is answered, with its number, by ``[number, "ok", lines]``, ``[number,
"error", text]`` or ``[number, "missing", what]``.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from diptych.exceptions import MissingExtra, StageError
from diptych.releases import load

__all__ = ["Line", "OcrDied", "OcrProcess", "model_folder"]

Line = tuple[str, float, list[float]]
"""Text, confidence, polygon of four points as x, y in pixels."""
_HEAD = struct.Struct("<Q")
_SCALE = {"order": "hwc", "scale": "1./255."}
_TRANSFORMS: dict[str, list[dict[str, Any]]] = {
    "det": [
        {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
        {"DetResizeForTest": None},
        {"NormalizeImage": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], **_SCALE}},
        {"ToCHWImage": None},
        {"KeepKeys": {"keep_keys": ["image", "shape", "polys", "ignore_tags"]}},
    ],
    "rec": [
        {"DecodeImage": {"channel_first": False, "img_mode": "BGR"}},
        {"RecResizeImg": {"image_shape": [3, 48, 320]}},
        {"KeepKeys": {"keep_keys": ["image", "length", "valid_ratio"]}},
    ],
}  # fmt: skip


class OcrDied(StageError):
    """The process ended, or did not answer in time, while it had a picture."""


def model_folder(kind: str, file: Path, folder: Path) -> Path:
    """A PaddleOCR model folder for a bare ONNX file: a link to it, and the settings PaddleOCR asks for beside it.

    ``kind`` is ``det`` or ``rec``; the characters a recogniser knows stand in the file's metadata.
    """
    import yaml

    target = folder / kind
    target.mkdir(parents=True, exist_ok=True)
    (target / "inference.onnx").symlink_to(file.resolve())
    post: dict[str, Any] = {
        "name": "DBPostProcess",
        "thresh": 0.3,
        "box_thresh": 0.6,
        "max_candidates": 1000,
        "unclip_ratio": 1.5,
    }
    if kind == "rec":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        known = session.get_modelmeta().custom_metadata_map.get("character", "")
        if not known:
            raise StageError(
                f"stage ocr: {file} carries no list of characters; give recognition_dir a PaddleOCR model folder"
            )
        post = {"name": "CTCLabelDecode", "character_dict": known.splitlines()}
    settings = {
        "Global": {"model_name": f"PP-OCRv6_small_{kind}"},
        "PreProcess": {"transform_ops": _TRANSFORMS[kind]},
        "PostProcess": post,
    }
    (target / "inference.yml").write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    return target


class OcrProcess:
    """The parent's end: starts the process when needed, replaces it every ``recycle_after`` pictures.

    ``pictures`` counts what it was asked.
    """

    def __init__(self, settings: Mapping[str, Any], recycle_after: int = 400, timeout: float = 120.0) -> None:
        self.settings = dict(settings)
        self.recycle_after = recycle_after
        self.timeout = timeout
        self.started = self.pictures = self._asked = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._served = 0

    @property
    def pid(self) -> int | None:
        """Of the running process, if there is one."""
        return self._child.pid if self._child else None

    def read(self, rgb: np.ndarray) -> list[Line]:
        """The lines of one picture; :class:`OcrDied` when the process did not survive it."""
        if self._child is None or self._served >= self.recycle_after:
            self.close()
            self._start()
        self._served += 1
        self.pictures += 1
        return self._ask(list(rgb.shape[:2]), np.ascontiguousarray(rgb, np.uint8).tobytes(), self.timeout)

    def _start(self) -> None:
        self._errors = tempfile.TemporaryFile()
        paths = os.pathsep.join(p for p in sys.path if p)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "diptych.stages.ocr_engine"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": paths, "PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK": "True"},
            start_new_session=True,  # Ctrl-C reaches the parent, which closes the pipe
        )
        self._served = 0
        self.started += 1
        self._ask(self.settings, b"", 300.0)

    def _ask(self, message: object, body: bytes, limit: float) -> list[Line]:
        child = self._child
        assert child is not None and child.stdin is not None and child.stdout is not None
        timer = threading.Timer(limit, child.kill)
        timer.daemon = True
        begun = time.monotonic()
        self._asked += 1
        try:
            timer.start()
            _write(child.stdin, [self._asked, message], body)
            (number, kind, answer), _ = _read(child.stdout)
            if number != self._asked:
                raise OcrDied("stage ocr: the process answered another picture")
        except (OSError, EOFError) as error:
            late = time.monotonic() - begun >= limit
            reason = f"no answer within {limit:.0f} s" if late else f"the process ended: {self._last_words()}"
            self.close()
            raise OcrDied(f"stage ocr: {reason}") from error
        except BaseException:  # Control-C or a time limit: an answer that nobody takes would be the next picture's
            self.close()
            raise
        finally:
            timer.cancel()
        if kind == "missing":
            self.close()
            raise MissingExtra(*answer)
        if kind == "error":
            raise RuntimeError(answer)
        return [(text, confidence, polygon) for text, confidence, polygon in answer]

    def _last_words(self) -> str:
        if self._child is not None:
            self._child.wait(timeout=10)
        if self._errors is None:
            return ""
        self._errors.seek(0)
        return self._errors.read()[-500:].decode("utf-8", "replace").strip()

    def close(self) -> None:
        """End the process; it may be started again."""
        child, self._child = self._child, None
        if child is not None:
            for pipe in (child.stdin, child.stdout):
                try:
                    if pipe:
                        pipe.close()
                except OSError:
                    pass
            child.kill()
            child.wait()
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def __del__(self) -> None:
        self.close()


def _write(pipe: IO[bytes], message: object, body: bytes = b"") -> None:
    for data in (json.dumps(message).encode(), body):
        pipe.write(_HEAD.pack(len(data)) + data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> tuple[Any, bytes]:
    parts = []
    for _ in range(2):
        head = pipe.read(_HEAD.size)
        length = _HEAD.unpack(head)[0] if len(head) == _HEAD.size else -1
        data = pipe.read(length) if length >= 0 else b""
        if len(data) != length:
            raise EOFError
        parts.append(data)
    return json.loads(parts[0]), parts[1]


def _watch(parent: int) -> None:
    """End when the parent is gone although somebody still holds its end of the pipe."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _serve() -> None:
    inbox = sys.stdin.buffer
    outbox = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what PaddleOCR prints must not enter the pipe
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    try:
        (number, settings), _ = _read(inbox)
        try:
            paddleocr = load("paddleocr", "paddleocr", "ocr")
        except MissingExtra as error:
            _write(outbox, [number, "missing", error.given])
            return
        engine = paddleocr.PaddleOCR(**settings)
        _write(outbox, [number, "ok", []])
        while True:
            (number, size), body = _read(inbox)
            rgb = np.frombuffer(body, np.uint8).reshape(*size, 3)
            try:
                found = engine.predict(rgb[:, :, ::-1].copy())[0]  # it expects OpenCV's order of colours
                lines = zip(found["rec_texts"], found["rec_scores"], found["rec_polys"], strict=True)
                answer = [(str(t), float(s), [float(x) for x in np.asarray(p).ravel()]) for t, s, p in lines]
                _write(outbox, [number, "ok", answer])
            except Exception as error:
                _write(outbox, [number, "error", f"{type(error).__name__}: {error}"])
    except EOFError:
        return


if __name__ == "__main__":
    _serve()
    os._exit(0)
