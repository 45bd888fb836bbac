"""docs/results.md from the study's cells: every mean and deviation as it came out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from diptych.models.registry import find_task
from diptych.study.certainty import SAMPLES, Difference, Differences
from diptych.study.plan import PLANS, ModelPlan
from diptych.study.running import Result
from diptych.study.spending import Spent
from diptych.training.results import spread
from diptych.version import Version

__all__ = ["HEAD", "Study", "results_page"]

HEAD = """\
# What the five models learn on the sample

Made by `make results`, which builds {documents} sample documents, trains every cell of these tables from scratch on
CPU (preset `sample`: small widths, one thread a run) and writes this page. Nothing on it was entered by hand. Means
over seeds {seeds}, ± the deviation of a sample; test split. Presets were chosen on dev.

The documents are generated: their text, pictures and votes follow from a seed, so **these figures say whether the
code learns what it should, not how good a model is on real data.** The paper's figures stand beside ours only to show
which rows belong together; its data are others.

What the generator plants, and which part of a model it should need:

- An article names a subject, a landmark, a bystander, and where the subject stands to the landmark. The *best* picture
  shows subject and landmark touching (one scene of overlapping boxes); most documents have a rival with the same
  objects in which another pair touches, none does, or the colours are others (HCSCL; it reads the English documents).
- Keyphrases stand in the text, on a banner inside a picture, or are only shown (MM-MKP; it reads the English posts).
- CMI is the share of shown classes that the text names, SC whether colours and numbers agree. Only one pair in three
  has these labels; the autoencoder sees every pair (information gap).
- Explicit: a named class is shown; implicit: only a class that belongs to the topic and is never named (AnANet).
- Captions describe objects by colour and place in nested noun phrases (HM-LSTM; it has a caption set of its own).

Votes are made from this truth; one annotator of several slips in 5 % of the answers. What is planted was last changed
before the first of these tables was made: levels for a third of the pairs instead of all, shares of 70, 15 and 15 % for
train, dev and test instead of 80, 10 and 10, and a caption set of as many pictures as there are documents. Two presets
were changed when figures had been seen. MM-MKP got five more epochs of its generator, because its loss on dev still
fell. HCSCL's summaries had been worse than its `text_only`'s in all seeds: at a rate four times the
paper's the visual side of the fusions outgrew the words until all sentences of an article were nearly one vector, so
that none could be attended to. It got LayerNorm on what its fusions read, as the encoder that the paper cites has it,
and by the figures on dev, most of them of seed 0, a lower rate (1.5e-3; the paper's is 5e-4), 16 epochs instead of 8, a
longer patience and no dropout: with 0.1 it needed 30 epochs, 227 s, for worse summaries, and `text_only`, which has
fewer layers to drop from, was ahead. `text_only` is trained in the same way.
"""


@dataclass(frozen=True)
class Study:
    """What the page is made of."""

    versions: Sequence[Version]
    results: Sequence[Result]
    documents: int
    spent: Mapping[str, Spent] = field(default_factory=dict)
    """by purpose, all sessions"""
    differences: Differences = field(default_factory=dict)


def results_page(study: Study) -> str:
    """The page; a model without a finished cell is missing from it."""
    results = study.results
    seeds = sorted({r.cell.seed for r in results})
    parts = [HEAD.format(documents=study.documents, seeds=", ".join(map(str, seeds)))]
    for version in study.versions:
        manifest, records = version.manifest, version.snapshot.table(["record"]).num_rows
        digest = manifest.input_digest[:16]
        parts.append(f"{manifest.dataset}@{manifest.version}: {records} records, input digest `{digest}`.\n")
    for plan in PLANS:
        mine = [r for r in results if r.cell.model == plan.model]
        if mine:
            parts.append(_section(plan, mine, study.differences))
    parts.append(_cost(study))
    return "\n".join(parts)


def _section(plan: ModelPlan, results: Sequence[Result], differences: Differences) -> str:
    task = find_task(plan.model)
    paper = task.paper
    lines = [f"## {task.title or plan.model}", ""]
    head = ["", "runs", *plan.metrics]
    printed = [m for m in plan.metrics if paper is not None and m in paper.columns]
    head += [f"paper {paper.columns[m]}" for m in printed] if paper is not None else []
    lines += ["| " + " | ".join([*head, "s of processor"]) + " |", "| --- |" + " ---: |" * len(head)]
    rows = list(dict.fromkeys(r.cell.row for r in results))
    for row in rows:
        runs = [r for r in results if r.cell.row == row]
        cells = [spread([r.metrics.get(m) for r in runs]).text(digits=3) for m in plan.metrics]
        figures = []
        for metric in printed:
            value = paper.rows.get(row, {}).get(metric) if paper is not None else None
            figures.append("" if value is None else f"{value:g}")
        used = [r.spent.processor for r in runs if r.spent is not None]
        cells += [*figures, f"{max(used):.0f}" if used else ""]
        lines.append("| " + " | ".join([row, str(len(runs)), *cells]) + " |")
    lines += ["", f"Test rows: {results[0].rows}.{f' {plan.note}' if plan.note else ''}", ""]
    lines += [f"- {_beats(plan, results, name, differences)}" for name in plan.baselines]
    lines += [f"- {_falls(plan, results, differences)}", ""]
    return "\n".join(lines)


def _value(results: Sequence[Result], row: str, seed: int, metric: str) -> float:
    found = [r.metrics.get(metric) for r in results if r.cell.row == row and r.cell.seed == seed]
    return math.nan if not found or found[0] is None else float(found[0])


def _won(results: Sequence[Result], row: str, metric: str) -> str:
    seeds = sorted({r.cell.seed for r in results})
    won = [s for s in seeds if _value(results, "full", s, metric) > _value(results, row, s, metric)]
    return f"{len(won)} of {len(seeds)} seeds"


def _sure(found: Mapping[str, Difference], metric: str) -> str:
    """The difference with its interval, where it was computed."""
    if metric not in found:
        return ""
    d = found[metric]
    return f" ({d.value:+.3f}, {d.low:+.3f} to {d.high:+.3f})"


def _beats(plan: ModelPlan, results: Sequence[Result], row: str, differences: Differences) -> str:
    found = differences.get((plan.model, row), {})
    compared = (plan.metric, *plan.also)
    parts = [f"{metric}: {_won(results, row, metric)}{_sure(found, metric)}" for metric in compared]
    return f"better than `{row}` in {'; '.join(parts)}."


def _falls(plan: ModelPlan, results: Sequence[Result], differences: Differences) -> str:
    expected = plan.expectation
    seeds = sorted({r.cell.seed for r in results})
    columns = [[_value(results, row, s, expected.metric) for s in seeds] for row in ("full", expected.row)]
    means = [spread(column).text(digits=3) for column in columns]
    sure = _sure(differences.get((plan.model, expected.row), {}), expected.metric)
    return (
        f"expected: {expected.metric} falls with `{expected.row}` ({expected.why}; paper: {expected.paper}). "
        f"Came out: {means[0]} -> {means[1]}, lower in {_won(results, expected.row, expected.metric)}{sure}."
    )


def _cost(study: Study) -> str:
    """What was spent, so that both limits (two minutes a run, an hour in all) can be judged."""
    lines = ["## What it cost", ""]
    runs = [(r.spent, r.cell) for r in study.results if r.spent is not None]
    rows = list(study.spent.items())
    if runs:
        rows.append((f"{len(runs)} runs", sum((spent for spent, _ in runs), Spent())))
    if any(name.startswith("building") for name in study.spent):  # not so where a folder was brought from elsewhere
        rows.append(("in all", sum((spent for _, spent in rows), Spent())))
    lines += ["| | s of processor | s of clock |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {spent.processor:,.0f} | {spent.clock:,.0f} |" for name, spent in rows]
    if runs:
        used, used_by = max(runs, key=lambda run: run[0].processor)
        slow, slow_in = max(runs, key=lambda run: run[0].clock)
        lines += [
            "",
            f"The dearest run took {used.processor:,.0f} s of processor ({used_by}), the longest {slow.clock:,.0f} s "
            f"of clock ({slow_in}). Several run at a time, so less time passes than the clocks' sum; where a clock ran "
            "much longer than its processor, the machine did other work beside.",
        ]
    lines += [
        "",
        f"In brackets behind a comparison: the difference of the means over seeds, and the middle 95 % of it over "
        f"{SAMPLES} resamples of the test rows (paired bootstrap).",
        "",
    ]
    return "\n".join(lines)
