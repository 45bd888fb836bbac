"""Visual entities without a service or a detector: which of given names an image-text encoder finds in a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field, model_validator

from diptych.exceptions import StageError
from diptych.imaging import ImageRefused, decode
from diptych.models.common.alone import is_processor, side_by_side
from diptych.models.common.model_folder import (
    load_folder,
    quiet_transformers,
    registered_folder,
    require_transformers,
    with_folder_digest,
)
from diptych.settings import unreadable
from diptych.stage import Batch, Output, Stage, StageConfig
from diptych.stages.entities import COLUMNS
from diptych.stages.pool import mapped

__all__ = ["EntityZeroShot", "EntityZeroShotConfig"]

_FILES = {
    "pytorch_model.bin": "clip_vit_b32",
    "config.json": "clip_vit_b32_config",
    "tokenizer.json": "clip_vit_b32_tokenizer",
    "preprocessor_config.json": "clip_vit_b32_preprocessor",
}


class EntityZeroShotConfig(StageConfig):
    """Which names are looked for, by which encoder."""

    places: ClassVar[tuple[str, ...]] = ("folder", "names_file")

    names: tuple[str, ...] = Field((), description="names to choose among")
    names_file: str | None = Field(None, description="more of them, one a line, UTF-8")
    names_sha256: str | None = Field(None, description="of that file; filled in when the recipe is read")
    prompt: str = Field("a photo of a {}.", description="what the text encoder reads; {} is the name")
    folder: str | None = Field(None, description="a CLIP-like Hugging Face model folder; None: OpenAI's ViT-B/32")
    folder_sha256: str | None = Field(None, description="of its files; filled in when the recipe is read")
    min_score: float = Field(0.05, ge=0, le=1, description="names below are left out; all scores add up to 1")
    top: int = Field(5, ge=1, le=100, description="at most so many names")

    @model_validator(mode="before")
    @classmethod
    def _files_are_content(cls, raw: Any) -> Any:
        """Changed files are changed settings."""
        raw = with_folder_digest(raw)
        if not isinstance(raw, dict) or raw.get("names_file") is None:
            return raw
        try:
            data = Path(raw["names_file"]).read_bytes()
            data.decode("utf-8-sig")
        except OSError as error:
            raise unreadable("names_file", raw["names_file"], error.strerror) from error
        except UnicodeDecodeError as error:
            raise unreadable("names_file", raw["names_file"], f"byte {error.start + 1} is not UTF-8") from error
        found = hashlib.sha256(data).hexdigest()
        if raw.get("names_sha256") not in (None, found):
            raise ValueError(f"names_file: {raw['names_file']} changed since the recipe was read")
        return {**raw, "names_sha256": found}

    @model_validator(mode="after")
    def _prompt_takes_a_name(self) -> EntityZeroShotConfig:
        if self.prompt.count("{}") != 1 or self.prompt.replace("{}", "").count("{"):
            raise ValueError("prompt: expected text with {} once, where the name goes")
        return self


class EntityZeroShot(Stage):
    """CLIP's zero-shot classification: softmax over the names of scaled cosines; the same columns as ``entities``."""

    name, version = "entity_zero_shot", 1
    key = "image"
    inputs = ("images.bytes",)
    outputs = COLUMNS
    Config = EntityZeroShotConfig
    config: EntityZeroShotConfig
    packages = ("torch", "transformers", "tokenizers", "pillow")
    accelerator: ClassVar[bool] = True
    batch_size = 16
    tolerance = 1e-4

    def weight_names(self) -> tuple[str, ...]:
        """The registered encoder, unless a folder replaces it or nothing is looked for."""
        return () if self.config.folder else tuple(_FILES.values())

    def check(self) -> None:
        """torch and transformers, unless nothing is looked for."""
        if self._listed():
            require_transformers()

    def setup(self, device: str) -> None:
        """Load the encoder and encode the names."""
        self._names = self._listed()
        if not self._names:
            return
        if self.config.folder:
            self._load(Path(self.config.folder), device)
        else:
            with registered_folder(_FILES) as folder:
                self._load(folder, device)

    def _listed(self) -> list[str]:
        file = self.config.names_file
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines() if file else []
        return list(dict.fromkeys(n.strip() for n in (*self.config.names, *lines) if n.strip()))

    def _load(self, folder: Path, device: str) -> None:
        import torch
        from transformers import AutoImageProcessor

        model, tokenizer = load_folder(folder)
        if not (hasattr(model, "get_image_features") and hasattr(model, "logit_scale")):
            raise StageError(f"stage entity_zero_shot: {folder} holds {type(model).__name__}, expected one like CLIP")
        with quiet_transformers():
            self._prepare: Any = AutoImageProcessor.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, backend="pil"
            )
        self._model, self._device = model.to(device), device
        longest = int(model.config.text_config.max_position_embeddings)
        tokenizer.enable_truncation(longest)
        tokenizer.no_padding()
        rows = []
        with torch.inference_mode():
            for name in self._names:  # one by one: no padding, whatever the tokenizer would pad with
                ids = torch.tensor([tokenizer.encode(self.config.prompt.format(name)).ids], device=device)
                rows.append(_features(model.get_text_features(input_ids=ids))[0])
            self._texts_NE = _unit(torch.stack(rows))
            self._scale = model.logit_scale.exp()

    def process(self, batch: Batch) -> Output:
        """Without names to look for every picture is ok and has none."""
        out = batch.output()
        if not self._names:
            for row in range(len(batch)):
                out.set(row, names=[], scores=[], roots=[])
            return out
        prepared = mapped(self._pixels, batch["images.bytes"])
        good = [row for row, value in enumerate(prepared) if isinstance(value, np.ndarray)]
        for row, value in enumerate(prepared):
            if isinstance(value, ImageRefused):
                out.fail(row, value.code, str(value))
        for row, scores in zip(good, self._scores([prepared[row] for row in good]), strict=True):
            kept = sorted(
                (n for n in range(len(scores)) if scores[n] >= self.config.min_score), key=lambda n: -scores[n]
            )
            kept = kept[: self.config.top]
            out.set(
                row,
                names=[self._names[n] for n in kept],
                scores=[float(scores[n]) for n in kept],
                roots=[""] * len(kept),
            )
        return out

    def _pixels(self, data: bytes | None) -> np.ndarray | ImageRefused:
        try:
            if data is None:
                raise ImageRefused("not_an_image", "no bytes")
            return np.asarray(self._prepare(decode(data).convert("RGB"), return_tensors="np")["pixel_values"])[0]
        except ImageRefused as error:
            return error

    def _scores(self, pixels: Sequence[Any]) -> np.ndarray:
        """float32 (pictures, names); each row adds up to 1."""
        import torch

        def seen(some: Sequence[Any]) -> np.ndarray:
            with torch.inference_mode():
                batch = torch.from_numpy(np.stack(some)).float().to(self._device)
                images_BE = _unit(_features(self._model.get_image_features(pixel_values=batch)))
                return (self._scale * images_BE @ self._texts_NE.T).softmax(1).cpu().numpy()

        if not pixels:
            return np.zeros((0, len(self._names)), np.float32)
        return np.concatenate(side_by_side(seen, [[p] for p in pixels])) if is_processor(self._device) else seen(pixels)

    def close(self) -> None:
        """Forget the encoder."""
        vars(self).pop("_model", None)


def _features(found: Any) -> Any:
    """transformers 5 wraps what transformers 4 gave plainly."""
    return getattr(found, "pooler_output", found)


def _unit(rows: Any) -> Any:
    return rows / rows.norm(dim=1, keepdim=True)
