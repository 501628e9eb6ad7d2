"""A room: its scene, its occupied floor area, and the state while it is built."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from .builder import Builder
from .library import Library, Model
from .scene import Scene
from .stock import Stock

UP = np.array([0.0, 0.0, 1.0])
# Walls 0 to 3 stand at y = 0, x = width, y = length and x = 0.
OUTWARD = ((0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0))
AGAINST_WALL = (math.pi, -math.pi / 2, 0.0, math.pi / 2)  # yaw of furniture with its back to each wall
STREET = "street"  # a kind of room without walls
TRIANGLES = 110_000  # approximate number of triangles of a room's furniture


@dataclass(frozen=True)
class Occupied:
    """An occupied rectangle of the floor plan: centre, size, and height of the object there [m]."""

    x: float
    y: float
    wide: float
    deep: float
    high: float


@dataclass
class Room:
    """A room with one corner at the origin.

    Attributes:
        scene: The scene.
        kind: Kind of the room, such as "kitchen".
        size: Width, length, height [m].
        taken: Occupied rectangles of the floor plan.
        tops: Positions of small objects for close views [m], (3,) each.
    """

    scene: Scene
    kind: str
    size: tuple[float, float, float]
    taken: list[Occupied] = field(default_factory=list)
    tops: list[np.ndarray] = field(default_factory=list)

    def free(self, point: np.ndarray, gap: float = 0.15) -> bool:
        """Return whether a point is inside the room and outside of the furniture, so that a camera can be there."""
        if not all(0.12 < p < s - 0.12 for p, s in zip(point, self.size, strict=True)):
            return False
        x, y, z = point
        return all(
            abs(x - t.x) > t.wide / 2 + gap or abs(y - t.y) > t.deep / 2 + gap or z > t.high + 0.12 for t in self.taken
        )

    def fits(self, x: float, y: float, wide: float, deep: float) -> bool:
        """Return whether a rectangle of the floor plan is free."""
        width, length, _ = self.size
        if x - wide / 2 < 0 or x + wide / 2 > width or y - deep / 2 < 0 or y + deep / 2 > length:
            return False
        return all(
            abs(x - t.x) > (wide + t.wide) / 2 * 0.97 or abs(y - t.y) > (deep + t.deep) / 2 * 0.97 for t in self.taken
        )

    def at_wall(self, wall: int, position: float, wide: float, deep: float, gap: float) -> tuple[float, float]:
        """Return the centre of an object with its back to a wall.

        Args:
            wall: Number of the wall.
            position: Position along the wall, 0..1.
            wide: Width of the object [m].
            deep: Depth of the object [m].
            gap: Distance from the wall [m].
        """
        width, length, _ = self.size
        span = (length if wall % 2 else width) - wide
        s = wide / 2 + position * max(span, 0.0)
        return ((s, deep / 2 + gap), (width - deep / 2 - gap, s), (s, length - deep / 2 - gap), (deep / 2 + gap, s))[
            wall
        ]


@dataclass
class Opening:
    """A window or a door with its light: a position near it [m], (3,), and the power of the light."""

    position: np.ndarray
    power: float


class Work:
    """A room while it is built.

    Attributes:
        rng: Random generator for all choices.
        stock: Models for the room.
        build: Adds materials and shapes to the scene.
        room: The room.
        frame: Material of frames and skirting boards.
        openings: Windows and doorways.
        triangles: Number of triangles of the furniture.
    """

    def __init__(self, library: Library, stock: Stock, rng: np.random.Generator, kind: str) -> None:
        self.rng, self.stock = rng, stock
        self.build = Builder(library, rng, float(rng.choice([0.0, 0.3, 1.0], p=[0.82, 0.1, 0.08])))
        self.room = Room(self.build.scene, kind, _size(kind, rng))
        self.frame = self.build.surface("wood", "plain")
        self.openings: list[Opening] = []
        self.triangles = 0

    def pick(self, models: list[Model]) -> Model:
        """Return a random model."""
        return models[self.rng.integers(len(models))]

    def place(
        self, model: Model, at: ArrayLike, yaw: float, scale: ArrayLike = 1.0, rows: np.ndarray | None = None
    ) -> None:
        """Place a model and count its triangles."""
        self.build.place(model, at, yaw, scale, rows)
        self.triangles += len(model.triangles)


def _size(kind: str, rng: np.random.Generator) -> tuple[float, float, float]:
    height = float(rng.uniform(2.2, 3.1))
    if kind == STREET:
        return float(rng.uniform(9, 26)), float(rng.uniform(30, 80)), 20.0
    if kind == "corridor":
        return float(rng.uniform(1.2, 2.4)), float(rng.uniform(5, 14)), height
    if kind == "hall":
        return float(rng.uniform(6, 14)), float(rng.uniform(6, 16)), float(rng.uniform(2.7, 6))
    if kind == "bathroom":
        return float(rng.uniform(1.8, 3.5)), float(rng.uniform(1.8, 3.5)), height
    return float(rng.uniform(2.6, 5.5)), float(rng.uniform(2.8, 6.5)), height
