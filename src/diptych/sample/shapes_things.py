"""Drawings of buildings and things; each touches all four edges of its patch (see drawing.py)."""

from __future__ import annotations

from collections.abc import Callable

from diptych.sample.drawing import DARK, GLASS, METAL, WOOD, Pen

CREAM = (240, 232, 214)


def ball(pen: Pen) -> None:
    """Draw a ball: wedges of two shades, as on the beach (bars across it would read as letters)."""
    pen.oval(0.0, 0.0, 1.0, 1.0)
    for start in (20, 140, 260):
        pen.pie(0.0, 0.0, 1.0, 1.0, start, start + 50, pen.light)
    pen.oval(0.4, 0.4, 0.6, 0.6, CREAM)


def kite(pen: Pen) -> None:
    """Draw a kite."""
    pen.stroke(0.5, 0.66, 0.42, 0.74, 0.58, 0.82, 0.44, 0.9, 0.52, 1.0, width=0.03)
    for x, y in ((0.42, 0.74), (0.58, 0.82), (0.44, 0.9)):
        pen.polygon(x - 0.1, y - 0.03, x - 0.1, y + 0.03, x, y, fill=pen.dark, edge=False)
        pen.polygon(x + 0.1, y - 0.03, x + 0.1, y + 0.03, x, y, fill=pen.dark, edge=False)
    pen.polygon(0.5, 0.0, 1.0, 0.28, 0.5, 0.7, 0.0, 0.28)
    pen.polygon(0.5, 0.0, 1.0, 0.28, 0.5, 0.28, fill=pen.light)
    pen.polygon(0.5, 0.7, 0.0, 0.28, 0.5, 0.28, fill=pen.dark)
    pen.stroke(0.5, 0.0, 0.5, 0.7, width=0.03)
    pen.stroke(0.0, 0.28, 1.0, 0.28, width=0.03)


def house(pen: Pen) -> None:
    """Draw a house."""
    pen.box(0.7, 0.04, 0.82, 0.34, (138, 84, 66))
    pen.box(0.08, 0.4, 0.92, 1.0)
    pen.polygon(0.5, 0.0, 1.0, 0.43, 0.0, 0.43, fill=(150, 74, 52) if pen.chance.random() < 0.5 else (92, 88, 96))
    pen.box(0.2, 0.6, 0.39, 1.0, WOOD)
    pen.oval(0.33, 0.79, 0.365, 0.83, (240, 210, 90), edge=False)
    pen.box(0.52, 0.54, 0.82, 0.76, GLASS)  # one window: two beside a door read as a Chinese character
    pen.polygon(0.55, 0.74, 0.55, 0.66, 0.68, 0.555, 0.74, 0.555, fill=(222, 238, 246), edge=False)
    pen.box(0.49, 0.77, 0.85, 0.84, (170, 92, 60))
    pen.oval(0.43, 0.2, 0.57, 0.34, GLASS)


def lamp(pen: Pen) -> None:
    """Draw a lamp."""
    pen.box(0.42, 0.24, 0.58, 0.96)
    pen.box(0.18, 0.92, 0.82, 1.0)
    pen.polygon(0.12, 0.1, 0.88, 0.1, 0.7, 0.27, 0.3, 0.27, fill=(255, 236, 140))
    pen.polygon(0.0, 0.11, 0.5, 0.0, 1.0, 0.11)
    pen.box(0.28, 0.26, 0.72, 0.3)
    pen.box(0.3, 0.5, 0.7, 0.53, pen.dark)


def umbrella(pen: Pen) -> None:
    """Draw a umbrella."""
    pen.stroke(0.5, 0.0, 0.5, 0.9, fill=WOOD, width=0.045)
    pen.arc(0.32, 0.76, 0.53, 1.0, 0, 180, WOOD, 0.045)
    pen.pie(0.0, 0.04, 1.0, 1.0, 180, 360)
    pen.pie(0.3, 0.04, 0.7, 1.0, 180, 360, pen.light)
    for x in (0.0, 0.25, 0.5, 0.75):
        pen.oval(x + 0.015, 0.475, x + 0.235, 0.57, pen.dark, edge=False)


def balloon(pen: Pen) -> None:
    """Draw a balloon."""
    pen.stroke(0.5, 0.72, 0.42, 0.8, 0.58, 0.9, 0.5, 1.0, width=0.035)
    pen.polygon(0.5, 0.66, 0.4, 0.76, 0.6, 0.76, fill=pen.dark)
    pen.oval(0.0, 0.0, 1.0, 0.71)
    pen.oval(0.18, 0.1, 0.4, 0.28, pen.light, edge=False)


def flag(pen: Pen) -> None:
    """Draw a flag."""
    pen.box(0.0, 0.02, 0.07, 1.0, METAL)
    pen.oval(0.0, 0.0, 0.09, 0.08, (240, 200, 60))
    pen.polygon(0.07, 0.06, 0.38, 0.11, 0.68, 0.05, 1.0, 0.1, 1.0, 0.6, 0.68, 0.55, 0.38, 0.61, 0.07, 0.56)
    lower = (0.07, 0.3, 0.38, 0.35, 0.68, 0.29, 1.0, 0.34, 1.0, 0.6, 0.68, 0.55, 0.38, 0.61, 0.07, 0.56)
    pen.polygon(*lower, fill=pen.dark)


def tent(pen: Pen) -> None:
    """Draw a tent."""
    pen.stroke(0.5, 0.0, 0.5, 0.1, width=0.04)
    pen.polygon(0.5, 0.05, 1.0, 1.0, 0.0, 1.0)
    pen.polygon(0.5, 0.05, 0.76, 1.0, 0.9, 1.0, 0.5, 0.05, fill=pen.light, edge=False)
    pen.polygon(0.5, 0.05, 0.1, 1.0, 0.24, 1.0, 0.5, 0.05, fill=pen.light, edge=False)
    pen.polygon(0.5, 0.36, 0.66, 1.0, 0.34, 1.0, fill=DARK)
    pen.polygon(0.5, 0.36, 0.66, 1.0, 0.58, 1.0, fill=pen.dark)
    pen.polygon(0.48, 0.0, 0.66, 0.05, 0.48, 0.1, fill=(230, 70, 60))


def bench(pen: Pen) -> None:
    """Draw a bench."""
    for x in (0.12, 0.8):
        pen.box(x, 0.02, x + 0.07, 1.0, METAL)
    for y in (0.0, 0.2, 0.4):
        pen.box(0.0, y, 1.0, y + 0.15)
    pen.box(0.0, 0.6, 1.0, 0.74, pen.light)


PAINTERS: dict[str, Callable[[Pen], None]] = {
    "ball": ball, "kite": kite, "house": house, "lamp": lamp, "umbrella": umbrella, "balloon": balloon, "flag": flag,
    "tent": tent, "bench": bench,
}  # fmt: skip
