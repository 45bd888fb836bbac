"""Training of what stands on the backbone, over maps that were computed once; resumable after every epoch.

Losses as in Ren et al., "Faster R-CNN" (NeurIPS 2015), by torchvision's operators, and cross entropy of the attribute
over boxes whose attribute is known. AdamW, one warm-up, then a cosine to zero; pictures of a batch have one padded
size.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import fastrcnn_loss

from diptych.exceptions import UsageError
from diptych.models.common.detector_list import Sizes
from diptych.models.detector.examples import Examples
from diptych.models.detector.maps import Kept, keep_maps
from diptych.models.detector.network import AttributeHead, Labels, build, fill_trunk, trained, trunk_name, write

__all__ = ["Schedule", "train"]

Said = Callable[[str], None]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast; every field but the device decides the result."""

    epochs: int = 10
    batch_size: int = 8
    rate: float = 1e-3
    decay: float = 1e-4
    side: int = 320
    seed: int = 0


def train(
    examples: Examples, trunk: Path | int, out: Path, work: Path, schedule: Schedule, said: Said, device: str = "cpu"
) -> None:
    """Train and write ``out``; ``work`` keeps maps and the state after each epoch. ``trunk``: weights or a seed."""
    if not any(len(e.labels) for e in examples.items):
        raise UsageError(f"{examples.source}: no picture has a box; nothing to learn")
    plan = _plan(examples, trunk, schedule)
    _claim(work, plan)
    labels = Labels(examples.classes, examples.attributes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(schedule.seed)
        network = build(labels, Sizes(schedule.side, schedule.side, 100))
    fill_trunk(network, trunk)
    kept = keep_maps(network, examples.items, work / "maps", device, _every(said, "maps", 500))
    _fit(network.to(device), kept, work / "state.pt", schedule, said, device)
    made = {
        "source": examples.source, "pictures": len(kept), "schedule": asdict(schedule), "trunk": trunk_name(trunk),
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + ".part")
    write(part, network.cpu(), labels, made)
    part.replace(out)


def _plan(examples: Examples, trunk: Path | int, schedule: Schedule) -> str:
    """A digest of everything that decides the result."""
    weights = trunk if isinstance(trunk, int) else hashlib.sha256(trunk.read_bytes()).hexdigest()
    hashed = hashlib.sha256(json.dumps([asdict(schedule), weights, examples.classes, examples.attributes]).encode())
    for e in examples.items:
        hashed.update(f"{e.name} {e.width} {e.height}".encode())
        for values in (e.boxes, e.labels, e.attributes):
            hashed.update(values.tobytes())
    return hashed.hexdigest()


def _claim(work: Path, plan: str) -> None:
    """The folder belongs to one training; another one is refused."""
    note = work / "plan.txt"
    if note.is_file():
        if note.read_text().strip() != plan:
            raise UsageError(f"{work} holds another training (other pictures or settings); choose another --work")
        return
    if work.exists() and any(work.iterdir()):
        raise UsageError(f"{work} is not empty and no training made it; choose another --work")
    work.mkdir(parents=True, exist_ok=True)
    note.write_text(plan + "\n")


def _every(said: Said, what: str, step: int) -> Callable[[int, int], None]:
    def count(done: int, of: int) -> None:
        if done % step == 0 or done == of:
            said(f"{what} {done} of {of}")

    return count


def _fit(network: Any, kept: list[Kept], state: Path, schedule: Schedule, said: Said, device: str) -> None:
    network.train()
    network.backbone.trunk.eval()
    optimizer = torch.optim.AdamW(
        [p for p in network.parameters() if p.requires_grad], schedule.rate, weight_decay=schedule.decay
    )
    first = 0
    if state.is_file():
        saved = torch.load(state, map_location=device, weights_only=True)
        network.load_state_dict(saved["network"], strict=False)
        optimizer.load_state_dict(saved["optimizer"])
        first = int(saved["epoch"])
        said(f"going on after epoch {first}")
    for epoch in range(first, schedule.epochs):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(schedule.seed * 100_003 + epoch + 1)
            batches = _batches(kept, schedule.batch_size)
            sums: dict[str, float] = {}
            for n, rows in enumerate(batches):
                for group in optimizer.param_groups:
                    group["lr"] = schedule.rate * _share(epoch + n / len(batches), schedule.epochs)
                losses = _losses(network, [kept[i] for i in rows], device)
                total = torch.stack(list(losses.values())).sum()
                if not torch.isfinite(total):
                    raise UsageError(
                        f"epoch {epoch + 1}, batch {n + 1}: the loss is {float(total)}; lower --rate ({schedule.rate})"
                    )
                optimizer.zero_grad(set_to_none=True)
                total.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 5.0)
                optimizer.step()
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(batches)
        part = state.with_suffix(".part")
        torch.save({"network": trained(network), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}, part)
        part.replace(state)
        said(f"epoch {epoch + 1} of {schedule.epochs}: " + ", ".join(f"{k} {v:.3f}" for k, v in sums.items()))
    network.eval()


def _share(epoch: float, epochs: int) -> float:
    """Of the learning rate at a time in epochs: up within a third of the first epoch, then a cosine."""
    return min(1.0, 3 * epoch + 0.01, 0.5 * (1 + math.cos(math.pi * epoch / epochs)) + 1e-3)


def _batches(kept: list[Kept], size: int) -> list[list[int]]:
    groups: dict[tuple[int, int], list[int]] = {}
    for n in torch.randperm(len(kept)).tolist():
        groups.setdefault(kept[n].padded, []).append(n)
    made = [rows[n : n + size] for rows in groups.values() for n in range(0, len(rows), size)]
    return [made[n] for n in torch.randperm(len(made)).tolist()]


def _losses(network: Any, pictures: list[Kept], device: str) -> dict[str, Tensor]:
    heads = network.roi_heads
    read = [p.maps() for p in pictures]
    maps = network.backbone.top([torch.stack(level).to(device) for level in zip(*read, strict=True)])
    blank = torch.empty(1, device=device).expand(len(pictures), 3, *pictures[0].padded)
    images = ImageList(blank, [p.size for p in pictures])
    targets = [
        {"boxes": p.boxes.to(device), "labels": p.labels.to(device), "attributes": p.attributes.to(device)}
        for p in pictures
    ]
    proposals, losses = network.rpn(images, maps, targets)
    proposals, matched, labels, deltas = heads.select_training_samples(proposals, targets)
    features = heads.box_head(heads.box_roi_pool(maps, proposals, images.image_sizes))
    logits, found = heads.box_predictor(features)
    of_class, of_box = fastrcnn_loss(logits, found, labels, deltas)
    losses = {**losses, "loss_classifier": of_class, "loss_box_reg": of_box}
    if heads.attribute_predictor is not None:
        losses["loss_attributes"] = _attribute_loss(heads.attribute_predictor, features, labels, matched, targets)
    return losses


def _attribute_loss(
    head: AttributeHead, features: Tensor, labels: list[Tensor], matched: list[Tensor], targets: list[dict[str, Tensor]]
) -> Tensor:
    """Cross entropy over boxes on an object whose attribute is known; 0 when there is none."""
    truth = torch.cat(
        [
            torch.where(label > 0, target["attributes"][which], -1) if len(target["attributes"]) else -label.clamp(1)
            for label, which, target in zip(labels, matched, targets, strict=True)
        ]
    )
    known = truth >= 0
    if not known.any():
        return features.sum() * 0
    return F.cross_entropy(head.of(features[known], torch.cat(labels)[known]), truth[known])
