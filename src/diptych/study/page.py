"""docs/results.md from the study's cells: every mean and deviation as it came out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from diptych.models.registry import find_task
from diptych.study.plan import PLANS, Expectation, ModelPlan
from diptych.study.running import Result
from diptych.training.results import spread
from diptych.version import Version

__all__ = ["HEAD", "results_page"]

HEAD = """\
# What the five models learn on the sample

Made by `make results`, which builds {documents} sample documents, trains every cell of these tables from scratch on
CPU (preset `sample`: small widths, seconds to two minutes a run) and writes this page. Nothing on it was entered by
hand. Means over seeds {seeds}, ± the deviation of a sample; test split.

The documents are generated: their text, pictures and votes follow from a seed, so **these figures say whether the
code learns what it should, not how good a model is on real data.** The paper's figures stand beside ours only to show
which rows belong together; its data are others.

What the generator plants, and which part of a model it should need:

- An article names a subject, a landmark and what they have to do with each other; the *best* picture shows these two
  touching (one scene of overlapping boxes), its rivals show the same objects apart, or others (HCSCL).
- Keyphrases stand in the text, on a banner inside a picture, or are only shown (MM-MKP).
- CMI is the share of shown classes that the text names, SC whether colours and numbers agree (information gap).
- Explicit: a named class is shown; implicit: only a class that belongs to the topic and is never named (AnANet).
- Captions describe objects by colour and place in nested noun phrases (HM-LSTM).

Votes are made from this truth; one annotator of several slips in 5 % of the answers.
"""


def results_page(versions: Sequence[Version], results: Sequence[Result], documents: int) -> str:
    """The page; a model without a finished cell is missing from it."""
    seeds = sorted({r.cell.seed for r in results})
    parts = [HEAD.format(documents=documents, seeds=", ".join(map(str, seeds)))]
    for version in versions:
        manifest, records = version.manifest, version.snapshot.table(["record"]).num_rows
        digest = manifest.input_digest[:16]
        parts.append(f"{manifest.dataset}@{manifest.version}: {records} records, input digest `{digest}`.\n")
    for plan in PLANS:
        mine = [r for r in results if r.cell.model == plan.model]
        if mine:
            parts.append(_section(plan, mine))
    return "\n".join(parts)


def _section(plan: ModelPlan, results: Sequence[Result]) -> str:
    task = find_task(plan.model)
    paper = task.paper
    names = [plan.metric, *(m for m in plan.metrics if m != plan.metric)]
    lines = [f"## {task.title or plan.model}", ""]
    head = ["", "runs", *names]
    printed = [m for m in names if paper is not None and m in paper.columns]
    head += [f"paper {paper.columns[m]}" for m in printed] if paper is not None else []
    lines += ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
    rows = list(dict.fromkeys(r.cell.row for r in results))
    for row in rows:
        runs = [r for r in results if r.cell.row == row]
        cells = [spread([r.metrics.get(m) for r in runs]).text(digits=3) for m in names]
        figures = []
        for metric in printed:
            value = paper.rows.get(row, {}).get(metric) if paper is not None else None
            figures.append("" if value is None else f"{value:g}")
        lines.append("| " + " | ".join([row, str(len(runs)), *cells, *figures]) + " |")
    lines += ["", f"Test rows: {results[0].rows}.", ""]
    lines += [f"- {_beats(plan, results, name)}" for name in plan.baselines]
    lines += [f"- {_falls(plan.expectation, results)}", ""]
    seconds = [r.seconds for r in results if r.seconds is not None]
    if seconds:
        lines += [f"Longest run of this session: {max(seconds):.0f} s.", ""]
    return "\n".join(lines)


def _value(results: Sequence[Result], row: str, seed: int, metric: str) -> float:
    found = [r.metrics.get(metric) for r in results if r.cell.row == row and r.cell.seed == seed]
    return math.nan if not found or found[0] is None else float(found[0])


def _beats(plan: ModelPlan, results: Sequence[Result], row: str) -> str:
    seeds = sorted({r.cell.seed for r in results})
    won = [s for s in seeds if _value(results, "full", s, plan.metric) > _value(results, row, s, plan.metric)]
    return f"better than `{row}` in {plan.metric}: {len(won)} of {len(seeds)} seeds."


def _falls(expectation: Expectation, results: Sequence[Result]) -> str:
    seeds = sorted({r.cell.seed for r in results})
    pairs = [
        (_value(results, "full", s, expectation.metric), _value(results, expectation.row, s, expectation.metric))
        for s in seeds
    ]
    fell = sum(full > without for full, without in pairs)
    means = [spread(list(column)).text(digits=3) for column in zip(*pairs, strict=True)]
    return (
        f"expected: {expectation.metric} falls with `{expectation.row}` ({expectation.why}; paper: "
        f"{expectation.paper}). "
        f"Came out: {means[0]} -> {means[1]}, lower in {fell} of {len(seeds)} seeds."
    )
