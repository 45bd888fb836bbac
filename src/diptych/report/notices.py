"""What must be said of a version before anything else, wherever it is shown: report and dataset card."""

from __future__ import annotations

from diptych.recipe import about
from diptych.storage.manifest import Manifest

__all__ = ["notices"]


def notices(manifest: Manifest) -> list[str]:
    """Sentences about generated data, untrained weights and accepted failures; none for a usual version."""
    sample = about(manifest.recipe).sample
    found = [sample] if sample else []
    users: dict[str, list[str]] = {w.name: [] for w in manifest.weights if w.random}
    for stage in manifest.stages:
        for weights in stage.weights:
            if weights.random:
                users.setdefault(weights.name, []).append(stage.name)
    for name, stages in users.items():
        used = f", used by {', '.join(stages)}" if stages else ""
        found.append(f"Random weights: {name}{used}, was never trained. Its values mean nothing.")
    if manifest.accepted_failures:  # 0.0: failures would have been accepted, but nothing failed
        share = f"{100 * manifest.accepted_failures:.2g} %"
        found.append(f"Accepted failures: {share} of all rows failed, and the version was committed all the same.")
    return found
