"""Cameras in a room, and which of their views are worth learning from."""

from __future__ import annotations

import math

import numpy as np

from .camera import Camera, Intrinsics, View, look_at
from .room import Room


def random_intrinsics(rng: np.random.Generator, height: int, width: int) -> Intrinsics:
    """fx, fy, cx, cy [px] of a horizontal field of view of 45 to 90 degrees."""
    fx = width / 2 / math.tan(math.radians(rng.uniform(45, 90)) / 2)
    cx, cy = width / 2 - 0.5 + rng.normal(0, 0.01) * width, height / 2 - 0.5 + rng.normal(0, 0.01) * height
    return fx, fx * (1 + rng.normal(0, 0.003)), cx, cy


def random_camera(room: Room, rng: np.random.Generator, height: int, width: int) -> Camera | None:
    """A camera in a room: a third close to things on a table or shelf, the others at eye height, or low as on a robot.

    height, width: of its image [px]. None where no free place was found.
    """
    wide, long, high = room.size
    luck = rng.random()
    for _ in range(40):
        if luck < 0.33 and room.tops:
            thing = room.tops[rng.integers(len(room.tops))]
            up, around = math.radians(rng.uniform(5, 70)), rng.uniform(0, 2 * math.pi)
            flat = math.cos(up)
            away = np.array([math.cos(around) * flat, math.sin(around) * flat, math.sin(up)])
            eye, target = thing + rng.uniform(0.35, 1.5) * away, thing + rng.normal(0, 0.12, 3)
        else:
            z = rng.uniform(0.2, 0.6) if luck > 0.8 else rng.uniform(0.7, min(2.0, high - 0.2))
            eye = np.array([rng.uniform(0.2, wide - 0.2), rng.uniform(0.2, long - 0.2), z])
            if rng.random() < 0.55 and room.taken:
                piece = room.taken[rng.integers(len(room.taken))]
                target = np.array([piece.x, piece.y, min(piece.high, 2.0) * rng.uniform(0.2, 1)])
            else:
                target = np.array([rng.uniform(0, wide), rng.uniform(0, long), rng.uniform(0.1, 1.7)])
            if np.linalg.norm(target[:2] - eye[:2]) < 0.8:
                continue
        if room.free(eye):
            roll = float(np.clip(rng.normal(0, math.radians(5)), -0.26, 0.26))
            return Camera(eye, look_at(eye, target, roll), random_intrinsics(rng, height, width))
    return None


def is_informative(view: View, rng: np.random.Generator) -> bool:
    """Whether a view shows enough: not too near, not mostly sky, not a single plane."""
    depth = view.depth[6::12, 6::12]
    found = depth > 0
    if found.mean() < 0.6:
        return False
    seen = depth[found]
    if (seen < 0.3).mean() > 0.35 or (seen < 0.12).mean() > 0.02 or np.median(seen) < 0.35:
        return False
    height, width = depth.shape
    rows, columns = np.mgrid[:height, :width]
    position = np.stack([columns[found] / width, rows[found] / height, np.ones(len(seen))], 1)
    for _ in range(12):  # the plane of three pixels: inverse depth is linear on it
        chosen = rng.integers(len(seen), size=3)
        try:
            plane = np.linalg.solve(position[chosen], 1 / seen[chosen])
        except np.linalg.LinAlgError:
            continue
        if (np.abs(position @ plane * seen - 1) < 0.015).mean() > 0.82:
            return False
    return True
