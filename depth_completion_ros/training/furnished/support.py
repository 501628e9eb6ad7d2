"""Where small things can stand on a piece of furniture: its upward surfaces, seen from above."""

from __future__ import annotations

import numpy as np

GRID = 28  # cells of the floor plan in each direction
LAYERS = 6  # surfaces above each other
_UPWARD = 0.9  # least cosine of a surface's slope
_LEAST_ROOM = 0.06  # above a surface [m]
_UNLIMITED = 5.0  # room above the top [m]
_AT_ONCE = 200_000  # pairs of triangles and cells


def support_surfaces(position: np.ndarray, triangles: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights of upward surfaces and the free room above them, from the top.

    position: (n, 3) float32 [m], of a model centred on x = y = 0. triangles: (m, 3). size: (3,) [m].
    Returns two arrays (LAYERS, GRID, GRID) float32 [m]; rows follow y, columns x. Heights are NaN where there is none.
    """
    cell, height, upward = _hits(position, triangles, size)
    order = np.lexsort((-height, cell))
    cell, height, upward = cell[order], height[order], upward[order]
    heights = np.full((LAYERS, GRID * GRID), np.nan, np.float32)
    room = np.zeros((LAYERS, GRID * GRID), np.float32)
    used = np.zeros(GRID * GRID, int)
    previous, above = -1, 0.0
    for c, z, up in zip(cell.tolist(), height.tolist(), upward.tolist(), strict=True):
        if c != previous:
            previous, above = c, float(size[2]) + _UNLIMITED
        if up and above - z > _LEAST_ROOM and used[c] < LAYERS:
            heights[used[c], c], room[used[c], c] = z, above - z
            used[c] += 1
        above = z
    return heights.reshape(LAYERS, GRID, GRID), room.reshape(LAYERS, GRID, GRID)


def _hits(position: np.ndarray, triangles: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where vertical lines through the cells' centres meet triangles: cell, height [m], whether it is level there."""
    corner = position[triangles].astype(np.float64)
    grid = corner[..., :2] / size[:2] * GRID + (GRID - 1) / 2  # the centre of cell k has coordinate k
    low = np.ceil(grid.min(1)).astype(int).clip(0, GRID)
    high = np.floor(grid.max(1)).astype(int).clip(-1, GRID - 1)
    count = (high - low + 1).clip(0)
    pairs = count.prod(1)
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    level = np.abs(cross[:, 2]) > _UPWARD * np.linalg.norm(cross, axis=1)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    candidates = np.flatnonzero(pairs)
    for part in np.array_split(candidates, max(1, int(pairs.sum()) // _AT_ONCE)):
        triangle = np.repeat(part, pairs[part])
        number = np.arange(len(triangle)) - np.repeat(np.cumsum(pairs[part]) - pairs[part], pairs[part])
        x = low[triangle, 0] + number % count[triangle, 0]
        y = low[triangle, 1] + number // count[triangle, 0]
        a, b, c = (grid[triangle, k] for k in range(3))
        area = _area(a, b, c)
        point = np.stack([x, y], 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v = _area(a, point, c) / area, _area(a, b, point) / area
            inside = (u >= 0) & (v >= 0) & (u + v <= 1)
        t, u, v = triangle[inside], u[inside], v[inside]
        z = corner[t, 0, 2] * (1 - u - v) + corner[t, 1, 2] * u + corner[t, 2, 2] * v
        found.append(((y * GRID + x)[inside], z, level[t]))
    cells, heights, levels = zip(*found, strict=True)
    return np.concatenate(cells), np.concatenate(heights), np.concatenate(levels)


def _area(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Twice the signed area of triangles (n, 2) each."""
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
