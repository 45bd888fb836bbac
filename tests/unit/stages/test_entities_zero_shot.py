"""Zero-shot entities by a CLIP that the test makes: official weights were not there to run."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from diptych.exceptions import UsageError
from diptych.stage import Batch, Output, Status
from diptych.stages.entities_zero_shot import EntityZeroShot, EntityZeroShotConfig

pytest.importorskip("transformers")
NAMES = ("car", "tree", "boat")


def picture(colour: tuple[int, int, int]) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(sink, "PNG")
    return sink.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer of 16 units on either side, random, saved as transformers saves it."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel

    place = tmp_path_factory.mktemp("clip")
    layer = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": 40, "max_position_embeddings": 24, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    shape = CLIPConfig(
        text_config={**layer, **text}, vision_config={**layer, "image_size": 32, "patch_size": 16}, projection_dim=8
    )
    torch.manual_seed(1)
    CLIPModel(shape).save_pretrained(place)
    letters = {c: n for n, c in enumerate(["<start>", "<end>", "?", *"abcdefghijklmnopqrstuvwxyz"])}
    tokenizer = Tokenizer(models.WordLevel(letters, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)]
    )
    tokenizer.save(str(place / "tokenizer.json"))
    prepare = {"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 32}, "crop_size": 32}
    (place / "preprocessor_config.json").write_text(json.dumps(prepare))
    return place


def run(folder: Path, *data: bytes | None, **config: Any) -> Output:
    settings = {"folder": str(folder), "names": NAMES, "min_score": 0.0, **config}
    stage = EntityZeroShot(EntityZeroShotConfig.model_validate(settings))
    assert stage.weight_names() == ()
    stage.setup("cpu")
    out = stage.process(Batch(tuple(map(str, range(len(data)))), {"images.bytes": list(data)}, stage))
    out.check("entity_zero_shot")
    stage.close()
    return out


def test_scores_are_those_of_the_model_itself(folder: Path) -> None:
    import torch
    from transformers import AutoImageProcessor, AutoModel

    shown = [picture((200, 30, 30)), picture((10, 60, 220))]
    out = run(folder, shown[0], b"<html>", shown[1], None)
    assert [s.status for s in out.states] == [Status.OK, Status.FAILED_PERMANENT] * 2
    model: Any = AutoModel.from_pretrained(folder).eval()
    prepare: Any = AutoImageProcessor.from_pretrained(folder, backend="pil")
    ids = [[0, *(ord(c) - 94 if c.isalpha() else 2 for c in f"a photo of a {n}."), 1] for n in NAMES]
    for row, data in ((0, shown[0]), (2, shown[1])):
        pixels = prepare(Image.open(io.BytesIO(data)), return_tensors="pt")["pixel_values"]
        with torch.no_grad():
            logits = [float(model(input_ids=torch.tensor([i]), pixel_values=pixels).logits_per_image) for i in ids]
        shares = np.exp(logits) / np.exp(logits).sum()
        found = dict(zip(out.values["names"][row], out.values["scores"][row], strict=True))
        assert [found[n] for n in NAMES] == pytest.approx(shares.tolist(), abs=1e-5)
        assert out.values["scores"][row] == sorted(out.values["scores"][row], reverse=True)
        assert sum(found.values()) == pytest.approx(1)


def test_names_come_from_the_recipe_and_from_a_file(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "names.txt"
    file.write_text("\ufeffbird\n\ncar\n dog \n", "utf-8")
    out = run(folder, picture((0, 0, 0)), names=("car",), names_file=str(file), top=2)
    assert len(out.values["names"][0]) == 2 and set(out.values["names"][0]) < {"car", "bird", "dog"}
    assert run(folder, picture((0, 0, 0)), min_score=1.0).values["names"] == [[]]
    config = EntityZeroShotConfig.model_validate({"names_file": str(file)})
    file.write_text("cat")
    with pytest.raises(ValueError, match="changed since"):
        EntityZeroShotConfig.model_validate(config.model_dump())
    file.write_bytes("caf\xe9".encode("latin-1"))
    with pytest.raises(ValidationError, match="byte 4 is not UTF-8"):
        EntityZeroShotConfig.model_validate({"names_file": str(file)})
    with pytest.raises(ValueError, match="expected text with {} once"):
        EntityZeroShotConfig.model_validate({"prompt": "a photo"})


def test_other_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "unheard_of"}')
    with pytest.raises(UsageError, match="no model that transformers can read"):
        run(tmp_path, picture((0, 0, 0)))
