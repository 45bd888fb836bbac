"""Plots as inline SVG whose colours are the page's own (CSS classes), so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from diptych.report.distributions import Cloud, Distribution
from diptych.report.values import number

__all__ = ["Plot", "cloud_plot", "histogram"]

WIDTH, HEIGHT = 360, 178
LEFT, RIGHT, TOP, BOTTOM = 40, 14, 12, 24


@dataclass(frozen=True)
class Plot:
    """A drawn plot; ``svg`` is markup made here from numbers and escaped text only."""

    title: str
    unit: str
    note: str
    svg: str
    summary: str


@dataclass(frozen=True)
class _Bin:
    low: float
    high: float
    count: int
    label: str


def histogram(d: Distribution) -> Plot | None:
    """A histogram; None when there is nothing to see (no value, or one value only)."""
    if not d.varied:
        return None
    bins = _bins(d)
    top = max(b.count for b in bins)
    low, high = bins[0].low, bins[-1].high

    def x(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(count: float) -> float:
        return HEIGHT - BOTTOM - count / top * (HEIGHT - TOP - BOTTOM)

    parts = _rows(top, y)
    for b in bins:
        if b.count:
            gap = min(1.0, (x(b.high) - x(b.low)) * 0.12)
            box = (
                f'x="{x(b.low) + gap:.1f}" y="{y(b.count):.1f}" width="{max(0.8, x(b.high) - x(b.low) - 2 * gap):.1f}"'
            )
            tip = escape(f"{b.label} {d.unit}: {b.count:,}")
            parts.append(
                f'<rect class="bar" {box} height="{HEIGHT - BOTTOM - y(b.count):.1f}"><title>{tip}</title></rect>'
            )
    shift = 0.5 if _discrete(d) else 0.0
    for tick in _ticks(low + shift, high - shift, 6, d.whole):
        label = number(tick) + ("+" if bins[-1].label.startswith("≥") and tick + 1e-9 >= bins[-1].low + shift else "")
        parts.append(f'<text class="tick" x="{x(tick):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{label}</text>')
    median = d.quantile(0.5)
    if low <= median <= high:
        place = f'x1="{x(median):.1f}" x2="{x(median):.1f}" y1="{TOP - 4}" y2="{HEIGHT - BOTTOM}"'
        parts.append(f'<line class="median" {place}><title>median {number(median)}</title></line>')
    summary = (
        f"{d.total:,} values, median {number(median)}, mean {number(d.mean)}, "
        f"{number(min(d.counts))} to {number(max(d.counts))}"
    )
    return Plot(d.title, d.unit, d.note, _svg(parts, f"{d.title} in {d.unit}: {summary}"), summary)


def cloud_plot(cloud: Cloud, title: str) -> Plot | None:
    """Width against height on logarithmic axes, one dot a cell, its area the number of pictures."""
    if len(cloud.cells) < 2:
        return None
    span = [Cloud.value(c) for cell in cloud.cells for c in cell]
    low, high = math.log2(min(span)) - 0.35, math.log2(max(span)) + 0.35

    def x(value: float) -> float:
        return LEFT + (math.log2(value) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (math.log2(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = []
    a, b = 2**low, 2**high
    parts.append(f'<line class="grid square" x1="{x(a):.1f}" y1="{y(a):.1f}" x2="{x(b):.1f}" y2="{y(b):.1f}"/>')
    for value in _octaves(low, high):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        label = number(value)
        parts.append(f'<text class="tick" x="{x(value):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{label}</text>')
        parts.append(f'<text class="tick" x="{LEFT - 5}" y="{y(value) + 3.5:.1f}" text-anchor="end">{label}</text>')
    top = max(cloud.cells.values())
    for (w, h), count in sorted(cloud.cells.items(), key=lambda item: -item[1]):
        width, height = Cloud.value(w), Cloud.value(h)
        radius = 2.2 + 6.5 * math.sqrt(count / top) if top > 1 else 3.5
        tip = f"about {number(round(width))} × {number(round(height))} pixels: {count:,}"
        dot = f'<circle class="dot" cx="{x(width):.1f}" cy="{y(height):.1f}" r="{radius:.1f}">'
        parts.append(f"{dot}<title>{tip}</title></circle>")
    total = sum(cloud.cells.values())
    summary = f"{total:,} pictures, {number(round(min(span)))} to {number(round(max(span)))} pixels"
    note = "width across, height up, logarithmic; squares lie on the broken line; area is the number"
    return Plot(title, "pixels", note, _svg(parts, f"{title}: {summary}"), summary)


def _octaves(low: float, high: float) -> list[float]:
    """Powers of two between two exponents, with one and a half times each where there is room."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    step = max(1, round((high - low) / 6))
    found = [2.0**p for p in powers if p % step == 0] + ([1.5 * 2.0**p for p in powers] if high - low < 3 else [])
    return sorted(v for v in found if low <= math.log2(v) <= high)


def _svg(parts: list[str], label: str) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label, quote=True)}">'
    return head + "".join(parts) + "</svg>"


def _rows(top: int, y: Callable[[float], float]) -> list[str]:
    parts = []
    for tick in _ticks(0, top, 3, True):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 5}" y="{y(tick) + 3.5:.1f}" text-anchor="end">{_short(tick)}</text>'
        )
    return parts


def _short(value: float) -> str:
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= 10 * limit or (value >= limit and value % limit == 0):
            return f"{value / limit:g}{unit}"
    return number(value)


def _discrete(d: Distribution) -> bool:
    return d.whole and _limit(d) - min(d.counts) <= 30


def _limit(d: Distribution) -> float:
    """Where the axis ends: at the largest value, or earlier when few values lie far out."""
    largest, usual = max(d.counts), d.quantile(0.99)
    spread = usual - min(d.counts)
    return usual if spread > 0 and largest - usual > 1.5 * spread else largest


def _bins(d: Distribution) -> list[_Bin]:
    low, limit = min(d.counts), _limit(d)
    beyond = sum(n for v, n in d.counts.items() if v > limit)
    if _discrete(d):
        bins = [_Bin(v - 0.5, v + 0.5, int(d.counts[v]), number(v)) for v in range(int(low), int(limit) + 1)]
    else:
        step = _nice((limit - low) / 22)
        if d.whole:
            step = max(1.0, round(step))
        start = math.floor(low / step) * step
        count = math.floor((limit - start) / step + 1e-9) + 1
        totals = [0] * count
        for value, times in d.counts.items():
            if value <= limit:
                totals[min(count - 1, int((value - start) / step + 1e-9))] += times
        edges = [start + n * step for n in range(count + 1)]
        bins = [
            _Bin(a, b, n, f"{number(round(a, 9))} to {number(round(b, 9))}")
            for a, b, n in zip(edges, edges[1:], totals, strict=False)
        ]
    if beyond:
        last = bins[-1]
        first = number(round(last.low + (0.5 if _discrete(d) else 0), 9))
        bins[-1] = _Bin(last.low, last.high, last.count + beyond, f"≥ {first}")
    return bins


_STEPS = (1, 2, 2.5, 5, 10)


def _nice(step: float, steps: tuple[float, ...] = _STEPS) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in steps if step <= m * power * (1 + 1e-9))


def _ticks(low: float, high: float, count: int, whole: bool) -> list[float]:
    if high <= low:
        return [low]
    step = _nice((high - low) / count, (1, 2, 5, 10) if whole else _STEPS)
    if whole:
        step = max(1.0, step)
    first = math.ceil(low / step - 1e-9)
    found = []
    while first * step <= high + 1e-9 * step:
        found.append(round(first * step, 10))
        first += 1
    return found
