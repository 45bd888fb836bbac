"""The losses of MM-MKP's two stages (Eq 15-19); each term is the mean over its own items."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from diptych.models.mkp.batch import PAD, MkpBatch
from diptych.models.mkp.model import Mkp

__all__ = ["stage_one", "stage_two"]


def stage_one(module: Mkp, posts: MkpBatch, matching: MkpBatch | None, *, region_loss: bool,
              words: bool) -> dict[str, Tensor]:  # fmt: skip
    """``classes`` (L_cla), ``regions`` (L_irtm), ``matching`` (L_itm); ``words`` adds L_2 without class copying."""
    sizes = module.sizes
    encoded = module.encode(posts)
    filtered = module.filter(encoded)
    H_f = module.fused(encoded, filtered)
    terms: dict[str, Tensor] = {}
    if sizes.classifier:
        assert posts.classes_B is not None
        terms["classes"] = _cross_entropy(module.class_logits(H_f), posts.classes_B, ignored=0)
    if filtered.A_BR is not None and region_loss:
        target = module.correlation_target(posts, encoded, filtered.matching_B2)
        terms["regions"] = F.mse_loss(filtered.A_BR, target)
    if matching is not None:
        found = module.filter(module.encode(matching)).matching_B2
        assert found is not None and matching.matches_B is not None
        terms["matching"] = _cross_entropy(found, matching.matches_B, ignored=-1)
    if words:
        terms["words"] = _words(posts, module.log_likelihood(posts, encoded, H_f, None))
    return terms


def stage_two(module: Mkp, posts: MkpBatch) -> dict[str, Tensor]:
    """``words`` (L_2)."""
    encoded = module.encode(posts)
    H_f = module.fused(encoded, module.filter(encoded))
    classes = module.class_logits(H_f) if module.sizes.classifier else None
    return {"words": _words(posts, module.log_likelihood(posts, encoded, H_f, classes))}


def _words(posts: MkpBatch, said_BJ: Tensor) -> Tensor:
    """Mean over the keyphrases' words and ends."""
    assert posts.outputs_BJ is not None
    return -said_BJ.sum() / (posts.outputs_BJ != PAD).sum()


def _cross_entropy(logits: Tensor, labels: Tensor, *, ignored: int) -> Tensor:
    """Mean over the labelled rows; zero when there is none."""
    if not bool((labels != ignored).any()):
        return 0.0 * logits[:, -1].sum()
    return F.cross_entropy(logits, labels, ignore_index=ignored)
