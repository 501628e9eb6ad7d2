"""The light in a room: lamps, light from windows and doors, ambient light and the panorama outside."""

from __future__ import annotations

import numpy as np

from .room import Work
from .scene import Light

MAX_LIGHTS = 6  # of a scene


def light(work: Work) -> None:
    """Add one to three lamps, light from openings, ambient light and the sky. Some rooms have daylight only."""
    r, scene, room = work.rng, work.build.scene, work.room
    width, length, height = room.size
    area = width * length
    lamps: list[Light] = []
    for _ in range(int(r.integers(1, 4)) if area < 30 else int(r.integers(2, 4))):
        at = np.array([r.uniform(0.15, 0.85) * width, r.uniform(0.15, 0.85) * length, height - r.uniform(0.06, 0.5)])
        warm = r.uniform(-0.1, 1)  # like black-body radiation: less blue, and less green
        colour = np.array([1, 1 - 0.2 * warm, 1 - 0.45 * warm]) * r.uniform(1, 5) * max(1, area / 14)
        lamps.append(Light(at, colour, float(r.uniform(0.03, 0.25))))
        _fixture(work, at)
    if work.openings and r.random() < 0.25:
        lamps = []
    for opening in work.openings:
        cold = r.uniform(0, 1)
        colour = np.array([1 - 0.2 * cold, 1 - 0.1 * cold, 1]) * opening.power
        lamps.append(Light(opening.position, colour, float(r.uniform(0.2, 0.5))))
    scene.lights = sorted(lamps, key=lambda lamp: -lamp.colour.mean())[:MAX_LIGHTS]
    level = sum(lamp.colour.mean() for lamp in scene.lights) / (1 + area / 10)
    warm = r.uniform(-0.12, 0.12)
    scene.ambient = np.array([1 + warm, 1, 1 - warm]) * r.uniform(0.05, 0.16) * level
    scene.panorama = int(r.integers(len(work.build.library.panoramas)))
    scene.turn = float(r.random())
    scene.sky = np.full(3, r.uniform(1, 5) * max(0.3, level * 0.25))


def _fixture(work: Work, at: np.ndarray) -> None:
    """Add the fixture of a lamp at a point (3,) [m]: a globe on a rod, a plate, a tube or a panel."""
    r, build = work.rng, work.build
    x, y, z = at
    height = work.room.size[2]
    bright = build.glowing(float(r.uniform(2, 12)))
    kind = r.integers(4)
    if kind == 0:
        radius = r.uniform(0.06, 0.15)
        build.ball((x, y, z + radius + 0.06), radius, bright)
        build.box((x, y, (height + z) / 2 + radius), (0.004, 0.004, (height - z) / 2), 0.0, work.frame)
    elif kind == 1:
        build.revolution((x, y, height - 0.06), [(0, 0), (0.15, 0), (0.17, 0.03), (0.17, 0.06)], bright)
    elif kind == 2:
        build.box((x, y, height - 0.02), (0.6, 0.08, 0.015), float(r.choice([0, np.pi / 2])), bright)
    else:
        build.box((x, y, height - 0.01), (0.3, 0.3, 0.01), 0.0, bright)
