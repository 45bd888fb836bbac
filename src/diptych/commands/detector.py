"""A small detector of one's own: ``diptych detector train | evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diptych import weights
from diptych.commands.console import JsonFlag, emit
from diptych.engine.devices import one_device
from diptych.exceptions import UsageError

if TYPE_CHECKING:
    from diptych.models.detector.examples import Examples

__all__ = ["app"]

app = typer.Typer(
    help="A small Faster R-CNN with attributes, from boxes of the sample site or of a COCO file.", no_args_is_help=True
)
Coco = Annotated[Path | None, typer.Option(help="an instances_*.json; without it the sample site")]
Images = Annotated[Path | None, typer.Option(help="the folder with the pictures of --coco")]
Documents = Annotated[int, typer.Option(min=1, help="how many documents of a sample site")]
Trunk = Annotated[
    str,
    typer.Option(help="the frozen backbone's weights, a registered name or random:<seed>; a build uses the default"),
]
Device = Annotated[str, typer.Option(help="as torch names it")]


@app.command("train")
def train(
    out: Annotated[Path, typer.Option(help="the file to write, .safetensors")],
    work: Annotated[Path, typer.Option(help="maps and state; the same command goes on from there")],
    coco: Coco = None,
    images: Images = None,
    documents: Documents = 1000,
    site_seed: Annotated[int, typer.Option(help="seed of the sample site")] = 1000,
    epochs: Annotated[int, typer.Option(min=1)] = 10,
    batch_size: Annotated[int, typer.Option(min=1)] = 8,
    rate: Annotated[float, typer.Option(min=1e-7, max=1.0, help="learning rate")] = 1e-3,
    side: Annotated[int, typer.Option(min=64, max=2048, help="longer side of the input in pixels")] = 320,
    seed: Annotated[int, typer.Option(help="of weights, order and sampling")] = 0,
    trunk: Trunk = "efficientnet_lite0",
    device: Device = "cpu",
) -> None:
    """Train what stands on the frozen backbone; use the file with: diptych weights import FILE --name NAME."""
    from diptych.models.detector.train import Schedule, train

    if out.suffix != ".safetensors":
        raise UsageError(f"--out: expected a file that ends in .safetensors, found {out}; nothing else is read")
    device = one_device(device)
    schedule = Schedule(epochs, batch_size, rate, side=side, seed=seed)
    train(_examples(coco, images, documents, site_seed), _trunk(trunk), out, work, schedule, typer.echo, device)
    typer.echo(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


@app.command("evaluate")
def evaluate(
    file: Annotated[str, typer.Argument(help="a file that train wrote, or a registered name")] = "sample_detector",
    coco: Coco = None,
    images: Images = None,
    documents: Documents = 200,
    site_seed: Annotated[int, typer.Option(help="seed of the sample site; not the one it was trained on")] = 2000,
    side: Annotated[int, typer.Option(min=64, max=2048, help="longer side of the input in pixels")] = 320,
    trunk: Trunk = "efficientnet_lite0",
    device: Device = "cpu",
    as_json: JsonFlag = False,
) -> None:
    """AP50 by class and accuracy of attributes on pictures whose boxes are known."""
    from diptych.models.common.detector_list import Sizes
    from diptych.models.common.detectors import Detector
    from diptych.models.common.selection import Selection
    from diptych.models.detector.network import load
    from diptych.models.detector.scores import score

    device = one_device(device)
    place = Path(file) if Path(file).is_file() else weights.path(file)
    loaded = load(place, Sizes(side, side, 100), [_trunk(trunk)])
    detector = Detector(loaded, Selection(threshold=0.05), device)
    found = score(detector, _examples(coco, images, documents, site_seed))

    def render() -> None:
        for name, value in found.ap50.items():
            typer.echo(f"{name:>20} {value:.3f}")
        told = "" if found.attributes is None else f", attributes {found.attributes:.3f}"
        typer.echo(
            f"{found.pictures} pictures: mean AP50 {found.mean:.3f}{told}; at score 0.55 {found.found:.3f} of the"
            f" objects found, {found.false:.3f} false regions a picture"
        )

    emit({"mean_ap50": found.mean, "scores": found}, as_json, render)


def _trunk(name: str) -> Path | int:
    return weights.random_seed(name) if weights.is_random(name) else weights.path(name)


def _examples(coco: Path | None, images: Path | None, documents: int, seed: int) -> Examples:
    from diptych.models.detector.examples import coco_examples, sample_examples

    if (coco is None) != (images is None):
        raise UsageError("--coco and --images go together: the boxes, and the folder with their pictures")
    return sample_examples(documents, seed) if coco is None or images is None else coco_examples(coco, images)
