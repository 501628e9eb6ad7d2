"""Scenes of planes, boxes and poles, a spinning LiDAR that measures them, and what a camera beside it can see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depth_completion_ros.frame import Intrinsics

# Axes as in REP 103: x forward, y left, z up, with the LiDAR in the origin.
CAMERA_AXES = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])  # to x right, y down, z forward
CAMERA = Intrinsics(700.0, 700.0, 639.5, 359.5, 1280, 720)


@dataclass(frozen=True)
class Scene:
    """Ground at a height, walls (normal and distance), boxes (two corners each), poles (x, y, radius, top)."""

    ground: float
    walls: tuple[tuple[tuple[float, float, float], float], ...] = ()
    boxes: tuple[tuple[tuple[float, float, float], tuple[float, float, float]], ...] = ()
    poles: tuple[tuple[float, float, float, float], ...] = ()

    def hit(self, origin: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Distance along rays (N, 3) from points (3,) or (N, 3) to the first surface (N,); inf if there is none."""
        origin = np.broadcast_to(origin, directions.shape)
        nearest = np.full(len(directions), np.inf)

        def meet(distance: np.ndarray, valid: np.ndarray) -> None:
            np.minimum(nearest, np.where(valid & (distance > 1e-6), distance, np.inf), out=nearest)

        with np.errstate(divide="ignore", invalid="ignore"):
            for normal, offset in (((0.0, 0.0, 1.0), self.ground), *self.walls):
                meet((offset - origin @ np.array(normal)) / (directions @ np.array(normal)), np.True_)
            for corners in self.boxes:
                to = (np.array(corners)[:, None] - origin) / directions
                enter, leave = to.min(axis=0).max(axis=1), to.max(axis=0).min(axis=1)
                meet(enter, enter <= leave)
            for x, y, radius, top in self.poles:
                o, d = origin[:, :2] - (x, y), directions[:, :2]
                a, b, c = (d * d).sum(1), (o * d).sum(1), (o * o).sum(1) - radius**2
                t = (-b - np.sqrt(b * b - a * c)) / a
                meet(t, origin[:, 2] + t * directions[:, 2] <= top)
        return nearest


def sweep(scene: Scene, beams: int, rng: np.random.Generator, noise: float = 0.02) -> np.ndarray:
    """The points (N, 3) float32 [m] that a LiDAR measures ahead, every 0.2 degrees, from -25 to 15 degrees upwards."""
    up = np.radians(np.linspace(-25, 15, beams))
    around = np.radians(np.arange(60, -60, -0.2))
    around, up = (part.ravel() for part in np.meshgrid(around, up, indexing="ij"))
    directions = np.stack([np.cos(around) * np.cos(up), np.sin(around) * np.cos(up), np.sin(up)], axis=1)
    distance = scene.hit(np.zeros(3), directions)
    seen = distance < 120
    distance = distance[seen] + rng.normal(0, noise, seen.sum())
    return (directions[seen] * distance[:, None]).astype(np.float32)


def camera_at(position: tuple[float, float, float]) -> np.ndarray:
    """The transform (4, 4) from the axes of the LiDAR to a camera at a position, which looks forward."""
    transform = np.eye(4)
    transform[:3, :3] = CAMERA_AXES
    transform[:3, 3] = -CAMERA_AXES @ position
    return transform


def seen_and_leaked(
    scene: Scene, points: np.ndarray, position: tuple[float, float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Which points (N, 3) of the LiDAR a camera at a position sees, and which shine through, each (N,) bool.

    Those shine through that lie behind a surface which the LiDAR sees too, by more than 0.3 m and 5 % of the distance.
    The rest is neither: points just behind an edge, and points behind a face that only the camera sees, of which no
    measurement tells.
    """
    rays = points.astype(np.float64) - position
    length = np.linalg.norm(rays, axis=1)
    rays /= length[:, None]
    first = scene.hit(np.array(position), rays)
    occluders = position + rays * np.where(np.isfinite(first), first, 1.0)[:, None]
    away = np.linalg.norm(occluders, axis=1)
    measurable = scene.hit(np.zeros(3), occluders / away[:, None]) > away - 0.02
    return first > length - 0.1, (first < length - np.maximum(0.3, 0.05 * length)) & measurable


def street(rng: np.random.Generator) -> Scene:
    """Walls on both sides and at the end of a street, seen at a grazing angle, with boxes and poles on the ground."""
    ground = -rng.uniform(0.7, 1.9)
    walls = (((0.0, 1.0, 0.0), rng.uniform(4, 9)), ((0.0, 1.0, 0.0), -rng.uniform(4, 9)), ((1.0, 0.0, 0.0), 40.0))
    boxes, poles = [], []
    for _ in range(8):
        corner = np.array([rng.uniform(3, 25), rng.uniform(-6, 6), ground])
        far = corner + rng.uniform((0.3, 0.3, 0.4), (3, 2.5, 2.5))
        boxes.append((tuple(corner), tuple(far)))
    for _ in range(8):
        poles.append((rng.uniform(3, 20), rng.uniform(-5, 5), rng.uniform(0.04, 0.2), rng.uniform(1, 5)))
    return Scene(ground, walls, tuple(boxes), tuple(poles))


def room(rng: np.random.Generator) -> Scene:
    """A room with cupboards, boxes and table legs."""
    ground = -rng.uniform(0.7, 1.2)
    walls = (
        ((0.0, 1.0, 0.0), 3.0),
        ((0.0, 1.0, 0.0), -2.5),
        ((1.0, 0.0, 0.0), rng.uniform(5, 9)),
        ((0.0, 0.0, 1.0), 1.6),
        ((-1.0, 0.0, 0.0), 4.0),
    )
    boxes, poles = [], []
    for _ in range(6):
        corner = np.array([rng.uniform(1.2, 5), rng.uniform(-2.5, 2.5), ground])
        far = corner + rng.uniform((0.2, 0.2, 0.2), (1, 1, 2))
        boxes.append((tuple(corner), tuple(far)))
    for _ in range(6):
        poles.append((rng.uniform(1.2, 5), rng.uniform(-2.4, 2.4), rng.uniform(0.02, 0.08), rng.uniform(0, 1.6)))
    return Scene(ground, walls, tuple(boxes), tuple(poles))
