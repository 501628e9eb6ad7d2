"""The shell of a room: floor, ceiling, and walls with windows, doorways and pictures."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from .furniture import put
from .room import AGAINST_WALL, OUTWARD, UP, Occupied, Opening, Work

Span = tuple[float, float]  # along a wall, from and to [m]


class Wall:
    """A wall while it is built.

    Attributes:
        start: Lower corner [m], (3,).
        along: Unit vector along the wall, (3,).
        out: Unit vector out of the room, (3,).
        length: Length [m].
        used: Occupied parts of the wall.
    """

    def __init__(self, number: int, size: tuple[float, float, float]) -> None:
        width, length, _ = size
        corners = np.array([(0, 0, 0), (width, 0, 0), (width, length, 0), (0, length, 0)], float)
        edge = corners[(number + 1) % 4] - corners[number]
        self.number, self.start, self.length = number, corners[number], float(np.linalg.norm(edge))
        self.along, self.out = edge / self.length, np.array([*OUTWARD[number], 0.0])
        self.yaw = math.atan2(self.along[1], self.along[0])
        self.used: list[Span] = []

    def free(self, low: float, high: float, gap: float) -> bool:
        """Return whether a part of the wall is free."""
        return all(low - gap >= end or high + gap <= start for start, end in self.used)


def build_shell(work: Work) -> None:
    """Add floor, ceiling and walls, and sometimes a partition, a pillar or a rug."""
    r, build, room = work.rng, work.build, work.room
    width, length, height = room.size
    floors = ("floor", "floor", "floor", "rug") if room.kind in ("living", "bedroom") else ("floor",)
    build.quad((0, 0, 0), (width, 0, 0), (0, length, 0), build.surface(*floors))
    build.quad((0, 0, height), (0, length, 0), (width, 0, 0), build.surface("ceiling"))
    common = build.surface("wall")
    skirting = build.surface("wood", "plain") if r.random() < 0.6 else None
    for number in range(4):
        side = common if r.random() < 0.75 else build.surface("wall")
        _add_wall(work, Wall(number, room.size), side, skirting)
    build.scene.low, build.scene.high = np.zeros(3), np.array(room.size)
    if r.random() < 0.35:
        wide = float(r.uniform(0.3, 0.55) * width) if r.random() < 0.6 else 0.4
        x = wide / 2 if r.random() < 0.5 else width - wide / 2
        y, thick = float(r.uniform(0.25, 0.75) * length), float(r.uniform(0.06, 0.15))
        build.box((x, y, height / 2), (wide / 2, thick, height / 2), 0.0, common)
        room.taken.append(Occupied(x, y, wide, 2 * thick, height))
    if room.kind != "corridor" and r.random() < 0.5:
        x, y = r.uniform(0.25, 0.75) * width, r.uniform(0.25, 0.75) * length
        half = min(r.uniform(0.5, 1.4), x, width - x), min(r.uniform(0.4, 1.2), y, length - y)
        rug = build.flat("rug", "fabric") if r.random() < 0.6 else build.surface("rug")
        build.box((x, y, 0.005), (*half, 0.005), 0.0, [rug, work.frame, work.frame])


def _add_wall(work: Work, wall: Wall, side: int, skirting: int | None) -> None:
    """Add a wall with at most one window or doorway."""
    r, build = work.rng, work.build
    height = work.room.size[2]
    hole: tuple[float, float, float, float] | None = None  # from, to, bottom, top
    window = r.random() < (0.4 if work.room.kind != "corridor" else 0.15)
    if window:
        wide = min(wall.length * 0.8, r.uniform(0.6, 2.6))
        left, bottom = r.uniform(0, wall.length - wide), float(r.choice([0.05, r.uniform(0.7, 1.1)]))
        hole = left, left + wide, bottom, min(height - 0.15, bottom + r.uniform(0.9, 1.9))
    elif r.random() < 0.5:
        wide = min(wall.length * 0.8, r.uniform(0.75, 1.4))
        left = r.uniform(0, wall.length - wide)
        hole = left, left + wide, 0.0, min(height - 0.1, 2.1)
    columns = sorted({0.0, wall.length, *(hole[:2] if hole else ())})
    rows = sorted({0.0, height, *(hole[2:] if hole else ())})
    for x0, x1 in pairwise(columns):
        for z0, z1 in pairwise(rows):
            if hole is None or not (hole[0] <= x0 and x1 <= hole[1] and hole[2] <= z0 and z1 <= hole[3]):
                corner = wall.start + wall.along * x0 + UP * z0
                build.quad(corner, wall.along * (x1 - x0), UP * (z1 - z0), side)
    if hole is not None:
        wall.used.append(hole[:2])
        start = wall.start + wall.along * hole[0] + UP * hole[2]
        wide_edge, high_edge = wall.along * (hole[1] - hole[0]), UP * (hole[3] - hole[2])
        thick = float(r.uniform(0.08, 0.3))
        for corner in (start, start + wide_edge):
            build.quad(corner, wall.out * thick, high_edge, work.frame)
        for corner in (start, start + high_edge):
            build.quad(corner, wide_edge, wall.out * thick, work.frame)
        (_add_window if window else _add_doorway)(work, wall, start, wide_edge, high_edge, thick)
    elif skirting is not None:
        middle = wall.start + wall.along * wall.length / 2 - wall.out * 0.008 + UP * 0.045
        build.box(middle, (wall.length / 2, 0.008, 0.045), wall.yaw, skirting)
    _add_pictures(work, wall)
    _add_hung_models(work, wall)


def _add_window(work: Work, wall: Wall, start: np.ndarray, wide: np.ndarray, high: np.ndarray, thick: float) -> None:
    """Add a window with its frame, usually with a pane, sometimes with curtains or a house across the street."""
    r, build = work.rng, work.build
    width, height = float(np.linalg.norm(wide)), float(np.linalg.norm(high))
    along, out = wall.along, wall.out
    pane = start + out * thick * 0.6
    bars = int(r.integers(0, 4))
    for k in range(bars + 2):
        x = min(max(k / (bars + 1) * width, 0.02), width - 0.02)
        build.box(pane + along * x + high / 2, (0.022, 0.022, height / 2), wall.yaw, work.frame)
    for z in (0.02, 0.98):
        build.box(pane + wide / 2 + high * z, (width / 2, 0.022, 0.022), wall.yaw, work.frame)
    if r.random() < 0.75:
        build.quad(pane, wide, high, build.glass())
    build.box(start + wide / 2 - out * 0.06, (width / 2 + 0.05, 0.09, 0.015), wall.yaw, work.frame)
    if r.random() < 0.3:
        house = build.surface("wall", "photo", scale=4)
        corner = start - along * 12 + out * r.uniform(3, 12) - UP * 6
        build.quad(corner, along * 30, UP * r.uniform(6, 16), house)
    if r.random() < 0.45:
        cloth = build.surface("fabric", "rug", "wall", gloss=0.0)
        low = max(0.03, start[2] - float(r.choice([0.1, 3.0])))
        top = min(work.room.size[2] - 0.04, start[2] + height + 0.12)
        for end, way in ((start - along * 0.15, along), (start + wide + along * 0.15, -along)):
            corner = np.array([end[0], end[1], low]) - out * 0.09
            _add_curtain(work, corner, way * r.uniform(0.2, min(0.7, 0.5 * width)), top - low, out, cloth)
    power = float(r.uniform(0.5, 4) * min(2.5, width * height))
    work.openings.append(Opening(start + wide / 2 + high / 2 - out * 0.25, power))
    if build.scene.sun is None and r.random() < 0.5:
        direction = out + np.array([*r.normal(0, 0.5, 2), r.uniform(0.25, 1.2)])
        colour = r.uniform(1, 6) * np.array([1, r.uniform(0.85, 1), r.uniform(0.65, 1)])
        build.scene.sun = direction / np.linalg.norm(direction), colour


def _add_curtain(work: Work, start: np.ndarray, wide: np.ndarray, high: float, out: np.ndarray, cloth: int) -> None:
    """Add a curtain of wavy cloth."""
    width = float(np.linalg.norm(wide))
    steps = max(8, int(width / 0.02))
    t = np.linspace(0, 1, steps)
    waves = width / work.rng.uniform(0.07, 0.14)
    line = start + t[:, None] * wide + 0.035 * np.sin(2 * math.pi * waves * t + work.rng.uniform(0, 6))[:, None] * out
    normal = np.cross(np.gradient(line, axis=0), UP)
    position = np.concatenate([line, line + UP * high])
    i = np.arange(steps - 1)
    triangles = np.concatenate([np.stack([i, i + 1, i + steps + 1], 1), np.stack([i, i + steps + 1, i + steps], 1)])
    uv = np.stack([np.tile(t, 2), np.repeat([1.0, 0.0], steps)], 1)
    work.build.scene.add(position, np.tile(normal, (2, 1)), uv, cloth, triangles)


def _add_doorway(work: Work, wall: Wall, start: np.ndarray, wide: np.ndarray, high: np.ndarray, thick: float) -> None:
    """Add an opening to a part of another room, sometimes with an open door."""
    r, build = work.rng, work.build
    deep, height = float(r.uniform(1, 5)), work.room.size[2]
    along, out = wall.along, wall.out
    left = start - along * r.uniform(0.3, 2) + out * thick
    right = start + wide + along * r.uniform(0.3, 2) + out * thick
    side, up = build.surface("wall"), UP * height
    build.quad(left + out * deep, right - left, up, side)
    build.quad(left, out * deep, up, side)
    build.quad(right, out * deep, up, side)
    build.quad(left, right - left, out * deep, build.surface("floor"))
    build.quad(left + up, right - left, out * deep, build.surface("ceiling"))
    if r.random() < 0.6 and work.stock.large:
        model = work.pick(work.stock.large)
        if model.size[:2].max() < deep and model.size[2] < height:
            put(work, model, (left + right) / 2 + out * deep * 0.6, float(r.uniform(0, 6)))
    work.openings.append(Opening((left + right) / 2 + out * deep / 2 + up * 0.85, float(r.uniform(0.5, 3))))
    if r.random() < 0.5:
        angle = r.uniform(0.2, 1.7)
        way, span = along * math.cos(angle) - out * math.sin(angle), float(np.linalg.norm(wide))
        middle = start + way * span / 2 + high / 2
        build.box(middle, (span / 2, 0.02, high[2] / 2 - 0.02), math.atan2(way[1], way[0]), work.frame)


def _add_pictures(work: Work, wall: Wall) -> None:
    """Add pictures and mirrors."""
    r, build = work.rng, work.build
    height = work.room.size[2]
    for _ in range(r.integers(0, 5) if wall.length > 2 else r.integers(0, 3)):
        mirror = r.random() < 0.1
        wide, high = (
            (r.uniform(0.4, 1.4), r.uniform(0.5, 1.7)) if mirror else (r.uniform(0.15, 1.1), r.uniform(0.15, 0.9))
        )
        if wide > wall.length - 0.1:
            continue
        left = r.uniform(0.05, wall.length - wide - 0.05)
        bottom = r.uniform(0.3 if mirror else 0.85, max(0.9, height - high - 0.15))
        if bottom + high > height - 0.05 or not wall.free(left, left + wide, 0.15):
            continue
        wall.used.append((left, left + wide))
        thick = float(r.choice([0.003, r.uniform(0.012, 0.05)]))
        start = wall.start + wall.along * left - wall.out * thick + UP * bottom
        edge, up = wall.along * wide, UP * high
        if thick > 0.01:
            middle = start + edge / 2 + wall.out * (thick / 2 + 0.002) + up / 2
            half = wide / 2 + 0.025, thick / 2, high / 2 + 0.025
            build.box(middle, half, wall.yaw, build.surface("wood", "plain", scale=0.5))
        if mirror:
            build.flat_mirror(start + edge, -edge, up)
        else:
            build.quad(start, edge, up, build.flat("picture", "picture", "paper", "photo", "rug"))


def _add_hung_models(work: Work, wall: Wall) -> None:
    """Add models that hang on walls, and doors."""
    r = work.rng
    for _ in range(r.integers(0, 3)):
        models = work.stock.doors if r.random() < 0.4 and work.stock.doors else work.stock.hung
        if not models:
            return
        model = work.pick(models)
        wide, deep, high = model.size
        if model.elevation + high > work.room.size[2] or wide > wall.length - 0.2:
            continue
        x = r.uniform(wide / 2, wall.length - wide / 2)
        if not wall.free(x - wide / 2, x + wide / 2, 0.05):
            continue
        wall.used.append((x - wide / 2, x + wide / 2))
        at = wall.start + wall.along * x - wall.out * (deep / 2 * (0.2 if model.door else 1) + 0.004)
        work.place(model, (at[0], at[1], model.elevation), AGAINST_WALL[wall.number])
