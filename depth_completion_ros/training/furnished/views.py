"""Random cameras in a room, and the selection of informative views."""

from __future__ import annotations

import math

import numpy as np

from .camera import Camera, Intrinsics, View, look_at
from .room import Room


def random_intrinsics(rng: np.random.Generator, height: int, width: int) -> Intrinsics:
    """Draw fx, fy, cx, cy [pixels] for a horizontal field of view of 45 to 90 degrees."""
    fx = width / 2 / math.tan(math.radians(rng.uniform(45, 90)) / 2)
    cx, cy = width / 2 - 0.5 + rng.normal(0, 0.01) * width, height / 2 - 0.5 + rng.normal(0, 0.01) * height
    return fx, fx * (1 + rng.normal(0, 0.003)), cx, cy


def random_camera(room: Room, rng: np.random.Generator, height: int, width: int) -> Camera | None:
    """Draw a camera in a room.

    A third of the cameras are close to objects on a table or shelf. The others are at eye height, or low as on a robot.

    Args:
        room: The room.
        rng: Random generator.
        height: Height of the image [pixels].
        width: Width of the image [pixels].

    Returns:
        The camera, or None if no free position was found.
    """
    wide, long, high = room.size
    draw = rng.random()
    for _ in range(40):
        if draw < 0.33 and room.tops:
            point = room.tops[rng.integers(len(room.tops))]
            elevation, azimuth = math.radians(rng.uniform(5, 70)), rng.uniform(0, 2 * math.pi)
            flat = math.cos(elevation)
            away = np.array([math.cos(azimuth) * flat, math.sin(azimuth) * flat, math.sin(elevation)])
            eye, target = point + rng.uniform(0.35, 1.5) * away, point + rng.normal(0, 0.12, 3)
        else:
            z = rng.uniform(0.2, 0.6) if draw > 0.8 else rng.uniform(0.7, min(2.0, high - 0.2))
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
    """Return whether a view is not too close to surfaces, not mostly sky, and not a single plane."""
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
    for _ in range(12):  # fit a plane, on which inverse depth is linear, to three random pixels
        chosen = rng.integers(len(seen), size=3)
        try:
            plane = np.linalg.solve(position[chosen], 1 / seen[chosen])
        except np.linalg.LinAlgError:
            continue
        if (np.abs(position @ plane * seen - 1) < 0.015).mean() > 0.82:
            return False
    return True
