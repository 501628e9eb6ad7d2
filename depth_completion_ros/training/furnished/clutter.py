"""Small objects on tables and other furniture, on shelves and on the floor."""

from __future__ import annotations

import math

import numpy as np

from .library import Model
from .room import TRIANGLES, UP, Work


def fill_tops(work: Work, model: Model, at: tuple[float, float], yaw: float, scale: np.ndarray) -> None:
    """Put small objects on the upper surfaces of a model.

    Args:
        work: The room.
        model: The model.
        at: Position of the model in the floor plan [m].
        yaw: Rotation of the model [rad].
        scale: Scale of the model, (3,).
    """
    if model.support is None:
        return
    r = work.rng
    heights, spaces = model.support
    grid = heights.shape[1]
    width, deep, _ = model.size * scale
    wanted = int(r.integers(0, 3) if width * deep < 0.15 else r.integers(2, 16) if r.random() < 0.8 else 0)
    c, s = math.cos(yaw), math.sin(yaw)
    placed: list[tuple[float, float, float]] = []
    for _ in range(wanted * 5):
        if len(placed) >= wanted:
            break
        layer, (row, column) = r.integers(len(heights)), r.integers(1, grid - 1, 2)
        patch = heights[layer, row - 1 : row + 2, column - 1 : column + 2]
        if not np.isfinite(patch).all() or np.ptp(patch) > 0.02 or not 0.15 < patch[1, 1] * scale[2] < 2.2:
            continue
        x, y = ((column + 0.5) / grid - 0.5) * width, ((row + 0.5) / grid - 0.5) * deep
        z = float(patch.max() * scale[2] + model.elevation)
        space = min(float(spaces[layer, row, column] * scale[2]) - 0.01, work.room.size[2] - z - 0.05, 0.6)
        if space < 0.05 or any(abs(x - a) < 0.12 and abs(y - b) < 0.12 and abs(z - d) < 0.1 for a, b, d in placed):
            continue
        placed.append((x, y, z))
        point = np.array([at[0] + c * x - s * y, at[1] + s * x + c * y, z])
        _add_object(work, point, space, max(0.04, min(width / 2 - abs(x), deep / 2 - abs(y))))
        work.room.tops.append(point)


def fill_board(work: Work, start: np.ndarray, end: np.ndarray, deep: float, space: float, yaw: float) -> None:
    """Put objects side by side on a board.

    Args:
        work: The room.
        start: One end of the board [m], (3,).
        end: Other end of the board [m], (3,).
        deep: Depth of the board [m].
        space: Free height above the board [m].
        yaw: Rotation of the board [rad].
    """
    r, build = work.rng, work.build
    wide = float(np.linalg.norm(end - start))
    along, back = (end - start) / wide, np.array([-math.sin(yaw), math.cos(yaw), 0.0])
    u, books = 0.0, r.random() < 0.45
    while u < wide - 0.03:
        point = start + along * u + back * r.uniform(-0.2, 0.1) * deep
        if books:
            high = space * r.uniform(0.45, 0.95)
            for _ in range(r.integers(2, 14)):
                thick = r.uniform(0.008, 0.05)
                if u + thick > wide:
                    break
                tall = min(space * 0.97, high * r.uniform(0.85, 1.1), 0.36)
                half = thick / 2, min(deep * 0.45, tall * 0.38), tall / 2
                cover = build.flat("package", "paper", "fabric", "plain")
                build.box(point + along * thick / 2 + UP * tall / 2, half, yaw, cover)
                point = point + along * (thick + 0.001)
                u += thick + 0.001
            work.room.tops.append(point)
        else:
            point = start + along * min(u + 0.08, wide - 0.06) + back * r.uniform(-0.2, 0.1) * deep
            work.room.tops.append(point)
            u += _add_object(work, point, space, 0.5 * deep) + 0.02
        u += r.exponential(0.06)


def scatter_on_floor(work: Work) -> None:
    """Put a few objects on the floor."""
    r = work.rng
    width, length, _ = work.room.size
    for _ in range(r.integers(0, 9)):
        x, y = r.uniform(0.2, width - 0.2), r.uniform(0.2, length - 0.2)
        if work.room.fits(x, y, 0.3, 0.3):
            _add_object(work, np.array([x, y, 0.0]), 0.6, 0.2)


def _add_object(work: Work, at: np.ndarray, space: float, edge_distance: float) -> float:
    """Add one small object and return its width [m].

    Args:
        work: The room.
        at: Position [m], (3,).
        space: Largest height [m].
        edge_distance: Distance to the edge of the supporting surface [m].
    """
    r = work.rng
    draw, yaw = r.random(), float(r.uniform(0, 2 * math.pi))
    if draw < 0.55 and work.triangles < TRIANGLES * 1.4 and work.stock.small:
        for _ in range(6):
            model = work.pick(work.stock.small)
            if model.size[2] < space and model.size[:2].max() < 2 * max(edge_distance, 0.12):
                work.place(model, at + UP * 0.001, yaw, r.uniform(0.85, 1.2, 3))
                return float(model.size[:2].max())
    high = min(space * 0.95, r.uniform(0.03, 0.32))
    wide = min(r.uniform(0.025, 0.13), max(edge_distance, 0.03))
    if draw < 0.68:
        return _add_pile(work, at, space, yaw)
    if draw < 0.84:
        _add_box(work, at, wide, high, edge_distance, yaw)
    elif draw < 0.96:
        _add_vessel(work, at, wide, high)
    else:
        radius = min(wide * 0.8, space / 2)
        work.build.ball(at + UP * radius, radius, work.build.flat("plain", "fabric", "wood", "package"))
    return 2 * wide


def _add_pile(work: Work, at: np.ndarray, space: float, yaw: float) -> float:
    """Add a pile of books and return its width [m]."""
    r, build = work.rng, work.build
    z = 0.0
    for _ in range(r.integers(1, 6)):
        thick = r.uniform(0.01, 0.05)
        if z + thick > space:
            break
        half = r.uniform(0.06, 0.13), r.uniform(0.08, 0.16), thick / 2
        sides = build.flat("plain", "paper")
        cover = build.flat("package", "picture", "paper")
        build.box(at + UP * (z + thick / 2), half, yaw + r.normal(0, 0.2), [cover, sides, sides])
        z += thick
    return 0.2


def _add_box(work: Work, at: np.ndarray, wide: float, high: float, edge_distance: float, yaw: float) -> None:
    """Add a package."""
    r, build = work.rng, work.build
    half = wide, min(r.uniform(0.03, 0.14), max(edge_distance, 0.03)), high / 2
    faces = [("package", "plain", "wood"), ("package", "package", "plain"), ("package", "plain")]
    build.box(at + UP * (high / 2), half, yaw, [build.flat(*uses) for uses in faces])


def _add_vessel(work: Work, at: np.ndarray, wide: float, high: float) -> None:
    """Add a bottle, a vase, a cup or a bowl."""
    r, build = work.rng, work.build
    radius = wide * r.uniform(0.35, 0.8)
    shape = np.cumsum(r.normal(0, 0.25, 5))
    rim = np.clip(1 + shape - shape.mean(), 0.25, 1.5) * radius
    profile = [(0.0, 0.0), (rim[0], 0.0), *((q, high * (i + 1) / 5) for i, q in enumerate(rim))]
    if r.random() < 0.5:  # hollow
        profile += [(rim[-1] * 0.92, high), (rim[-1] * 0.85, high * 0.1), (0.0, high * 0.1)]
    else:
        profile += [(0.0, high)]
    draw = r.random()
    if draw < 0.12:
        material = build.glass()
    elif draw < 0.25:
        material = build.metal()
    else:
        material = build.flat("package", "plain", "plain", "wood", "fabric")
    build.revolution(at, profile, material)
