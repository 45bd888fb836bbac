"""Drawings of vehicles and living things; each touches all four edges of its patch (see drawing.py)."""

from __future__ import annotations

from collections.abc import Callable

from diptych.sample.drawing import DARK, GLASS, METAL, WOOD, Pen, shade

SKIN = ((236, 188, 150), (198, 140, 98), (126, 84, 56))


def car(pen: Pen) -> None:
    """Draw a car."""
    pen.polygon(0.2, 0.42, 0.32, 0.0, 0.68, 0.0, 0.82, 0.42)
    pen.polygon(0.27, 0.4, 0.36, 0.08, 0.48, 0.08, 0.48, 0.4, fill=GLASS)
    pen.polygon(0.52, 0.4, 0.52, 0.08, 0.65, 0.08, 0.74, 0.4, fill=GLASS)
    pen.box(0.0, 0.38, 1.0, 0.82, radius=0.12)
    pen.box(0.02, 0.68, 0.98, 0.78, fill=pen.dark, edge=False)
    pen.oval(0.92, 0.44, 0.985, 0.58, (255, 240, 170))
    pen.box(0.01, 0.46, 0.05, 0.58, (190, 30, 30))
    pen.stroke(0.5, 0.4, 0.5, 0.78, width=0.03)
    pen.stroke(0.54, 0.5, 0.6, 0.5, width=0.04)
    pen.wheel(0.22, 0.19, 2.0)
    pen.wheel(0.78, 0.19, 2.0)


def truck(pen: Pen) -> None:
    """Draw a truck."""
    pen.box(0.0, 0.0, 0.66, 0.78)
    for x in (0.13, 0.26, 0.39, 0.52):
        pen.stroke(x, 0.05, x, 0.73, fill=pen.dark, width=0.02)
    pen.box(0.0, 0.74, 1.0, 0.84, DARK, edge=False)
    pen.polygon(0.69, 0.2, 0.87, 0.2, 0.99, 0.48, 0.99, 0.8, 0.69, 0.8, fill=pen.light)
    pen.polygon(0.74, 0.27, 0.85, 0.27, 0.93, 0.48, 0.74, 0.48, fill=GLASS)
    pen.box(0.94, 0.58, 1.0, 0.68, (255, 240, 170))
    for x in (0.14, 0.3, 0.83):
        pen.wheel(x, 0.16, 2.0)


def bus(pen: Pen) -> None:
    """Draw a bus."""
    pen.box(0.0, 0.0, 1.0, 0.86, radius=0.1)
    pen.box(0.03, 0.05, 0.97, 0.11, pen.dark, edge=False)
    for i in range(5):
        x = 0.05 + i * 0.155
        pen.box(x, 0.18, x + 0.125, 0.48, GLASS)
    pen.box(0.83, 0.18, 0.97, 0.82, GLASS)
    pen.stroke(0.9, 0.18, 0.9, 0.82, width=0.02)
    pen.box(0.01, 0.57, 0.81, 0.64, pen.light, edge=False)
    pen.wheel(0.2, 0.16, 2.1)
    pen.wheel(0.7, 0.16, 2.1)


def bicycle(pen: Pen) -> None:
    """Draw a bicycle."""
    r = 0.295
    rx = r / 1.55
    for x in (rx + 0.0, 1 - rx):
        pen.arc(x - rx, 1 - 2 * r, x + rx, 1, 0, 360, DARK, 0.075)
        for dx, dy in ((0.0, 0.85), (0.6, 0.6), (0.85, 0.0), (0.6, -0.6)):
            pen.stroke(x - rx * dx, 1 - r - r * dy, x + rx * dx, 1 - r + r * dy, fill=METAL, width=0.014)
    left, right, hub = (rx, 1 - r), (1 - rx, 1 - r), (0.45, 0.74)
    seat, head = (0.36, 0.24), (0.72, 0.2)
    for a, b in ((left, hub), (left, seat), (hub, seat), (seat, head), (hub, head), (head, right)):
        pen.stroke(*a, *b, fill=pen.colour, width=0.1)
    pen.stroke(0.35, 0.26, 0.34, 0.12, fill=METAL, width=0.05)
    pen.box(0.25, 0.05, 0.45, 0.14, DARK, radius=0.04)
    pen.stroke(0.72, 0.22, 0.69, 0.03, fill=METAL, width=0.05)
    pen.box(0.64, 0.0, 0.84, 0.07, DARK, radius=0.03)
    pen.oval(hub[0] - 0.05, 0.66, hub[0] + 0.05, 0.82, METAL)


def boat(pen: Pen) -> None:
    """Draw a boat."""
    pen.stroke(0.48, 0.0, 0.48, 0.72, fill=WOOD, width=0.05)
    pen.polygon(0.52, 0.0, 0.94, 0.6, 0.52, 0.6, fill=(240, 236, 222))
    pen.polygon(0.44, 0.08, 0.44, 0.6, 0.12, 0.6, fill=(226, 220, 204))
    pen.polygon(0.0, 0.64, 1.0, 0.64, 0.84, 1.0, 0.18, 1.0)
    pen.box(0.05, 0.68, 0.94, 0.735, pen.light, edge=False)
    for x in (0.34, 0.5, 0.66):
        pen.oval(x - 0.03, 0.79, x + 0.03, 0.88, GLASS)


def dog(pen: Pen) -> None:
    """Draw a dog."""
    pen.stroke(0.12, 0.45, 0.02, 0.12, fill=pen.colour, width=0.09)
    pen.oval(0.0, 0.06, 0.07, 0.18, pen.colour, edge=False)
    for x in (0.13, 0.26, 0.56, 0.68):
        pen.box(x, 0.6, x + 0.1, 1.0, pen.dark if x in (0.26, 0.56) else pen.colour, radius=0.04)
    pen.box(0.08, 0.36, 0.8, 0.76, radius=0.19)
    pen.polygon(0.62, 0.5, 0.66, 0.18, 0.86, 0.3, 0.8, 0.6, edge=False)
    pen.oval(0.6, 0.02, 0.92, 0.44)
    pen.box(0.8, 0.2, 1.0, 0.42, radius=0.08)
    pen.oval(0.92, 0.2, 1.0, 0.3, DARK)
    pen.polygon(0.63, 0.0, 0.76, 0.04, 0.74, 0.36, 0.63, 0.42, 0.57, 0.3, fill=pen.dark)
    pen.oval(0.79, 0.11, 0.84, 0.19, (255, 255, 255), edge=False)
    pen.oval(0.81, 0.125, 0.84, 0.18, DARK, edge=False)
    pen.box(0.63, 0.45, 0.82, 0.52, (200, 40, 40), radius=0.02)


def cat(pen: Pen) -> None:
    """Draw a cat."""
    pen.stroke(0.76, 0.94, 0.93, 0.86, 0.95, 0.6, 0.88, 0.45, fill=pen.colour, width=0.09)
    pen.oval(0.9, 0.55, 1.0, 0.95, pen.colour, edge=False)
    pen.oval(0.12, 0.42, 0.84, 1.0)
    pen.polygon(0.08, 0.3, 0.1, 0.0, 0.34, 0.14)
    pen.polygon(0.72, 0.3, 0.7, 0.0, 0.46, 0.14)
    pen.polygon(0.13, 0.16, 0.14, 0.06, 0.25, 0.13, fill=(240, 170, 170), edge=False)
    pen.polygon(0.67, 0.16, 0.66, 0.06, 0.55, 0.13, fill=(240, 170, 170), edge=False)
    pen.oval(0.04, 0.09, 0.76, 0.58)
    for x in (0.2, 0.48):
        pen.oval(x, 0.24, x + 0.12, 0.38, (190, 220, 90))
        pen.oval(x + 0.045, 0.25, x + 0.08, 0.37, DARK, edge=False)
    pen.polygon(0.36, 0.4, 0.44, 0.4, 0.4, 0.46, fill=(230, 130, 130))
    for y in (0.42, 0.48):
        pen.stroke(0.0, y - 0.02, 0.26, y, width=0.014)
        pen.stroke(0.54, y, 0.8, y - 0.02, width=0.014)
    pen.oval(0.22, 0.86, 0.44, 1.0, pen.light)
    pen.oval(0.5, 0.86, 0.72, 1.0, pen.light)


def bird(pen: Pen) -> None:
    """Draw a bird."""
    pen.polygon(0.3, 0.5, 0.0, 0.34, 0.02, 0.66, fill=pen.dark)
    pen.stroke(0.48, 0.8, 0.46, 1.0, fill=(220, 140, 30), width=0.045)
    pen.stroke(0.58, 0.8, 0.6, 1.0, fill=(220, 140, 30), width=0.045)
    pen.oval(0.16, 0.3, 0.82, 0.88)
    pen.oval(0.58, 0.12, 0.9, 0.54)
    pen.oval(0.61, 0.28, 0.8, 0.56, pen.colour, edge=False)
    pen.polygon(0.26, 0.5, 0.36, 0.0, 0.62, 0.5, fill=pen.dark)
    pen.polygon(0.88, 0.26, 1.0, 0.34, 0.88, 0.4, fill=(240, 160, 30))
    pen.oval(0.74, 0.21, 0.81, 0.31, (255, 255, 255), edge=False)
    pen.oval(0.765, 0.23, 0.81, 0.3, DARK, edge=False)


def person(pen: Pen) -> None:
    """Draw a person."""
    skin = SKIN[pen.chance.randrange(len(SKIN))]
    trousers = ((60, 66, 90), (84, 78, 72), (50, 60, 62))[pen.chance.randrange(3)]
    pen.box(0.26, 0.58, 0.48, 0.97, trousers)
    pen.box(0.52, 0.58, 0.74, 0.97, trousers)
    pen.box(0.18, 0.94, 0.48, 1.0, DARK, radius=0.03)
    pen.box(0.52, 0.94, 0.82, 1.0, DARK, radius=0.03)
    pen.polygon(0.24, 0.25, 0.0, 0.52, 0.13, 0.57, 0.34, 0.36)
    pen.polygon(0.76, 0.25, 1.0, 0.52, 0.87, 0.57, 0.66, 0.36)
    pen.oval(0.0, 0.51, 0.14, 0.58, skin)
    pen.oval(0.86, 0.51, 1.0, 0.58, skin)
    pen.polygon(0.26, 0.22, 0.74, 0.22, 0.82, 0.68, 0.18, 0.68)
    pen.stroke(0.5, 0.24, 0.5, 0.67, fill=pen.dark, width=0.05)
    pen.box(0.19, 0.44, 0.81, 0.475, pen.dark, edge=False)
    pen.box(0.42, 0.17, 0.58, 0.24, skin, edge=False)
    pen.oval(0.27, 0.01, 0.73, 0.21, skin)
    hair = ((50, 34, 24), (30, 28, 30), (150, 100, 50))[pen.chance.randrange(3)]
    pen.pie(0.25, 0.0, 0.75, 0.2, 180, 360, hair)
    for x in (0.4, 0.56):
        pen.oval(x, 0.105, x + 0.06, 0.13, DARK, edge=False)


def tree(pen: Pen) -> None:
    """Draw a tree."""
    pen.polygon(0.42, 0.56, 0.58, 0.56, 0.64, 1.0, 0.36, 1.0, fill=WOOD)
    for box in ((0.0, 0.24, 0.52, 0.64), (0.48, 0.24, 1.0, 0.64), (0.18, 0.0, 0.82, 0.46), (0.2, 0.3, 0.8, 0.72)):
        pen.oval(*box)
    pen.oval(0.04, 0.28, 0.5, 0.6, pen.colour, edge=False)
    pen.oval(0.5, 0.28, 0.96, 0.6, pen.colour, edge=False)
    pen.oval(0.22, 0.05, 0.78, 0.5, pen.colour, edge=False)
    for _ in range(9):
        x, y = pen.chance.uniform(0.2, 0.75), pen.chance.uniform(0.12, 0.58)
        pen.oval(x, y, x + 0.08, y + 0.055, shade(pen.dark, 1.1), edge=False)


PAINTERS: dict[str, Callable[[Pen], None]] = {
    "car": car, "truck": truck, "bus": bus, "bicycle": bicycle, "boat": boat, "dog": dog, "cat": cat, "bird": bird,
    "person": person, "tree": tree,
}  # fmt: skip
