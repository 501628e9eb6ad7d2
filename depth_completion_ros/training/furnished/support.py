"""The upward surfaces of a piece of furniture, on which small objects can stand."""

from __future__ import annotations

import numpy as np

GRID = 28  # cells of the floor plan in each direction
LAYERS = 6  # largest number of surfaces above each other
_MIN_COSINE = 0.9  # of a surface's slope
_MIN_CLEARANCE = 0.06  # above a surface [m]
_UNLIMITED = 5.0  # clearance above the top [m]
_BLOCK_PAIRS = 200_000  # pairs of triangles and cells that are processed together


def support_surfaces(position: np.ndarray, triangles: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the heights of upward surfaces and the clearance above them, from the top.

    Args:
        position: Vertices of a model that is centred on x = y = 0 [m], (n, 3) float32.
        triangles: Indices of vertices, (m, 3).
        size: Size of the model [m], (3,).

    Returns:
        Heights and clearances, each (LAYERS, GRID, GRID) float32 [m], with rows along y and columns along x. A height
        is NaN if there is no surface.
    """
    cell, height, upward = _hits(position, triangles, size)
    order = np.lexsort((-height, cell))
    cell, height, upward = cell[order], height[order], upward[order]
    heights = np.full((LAYERS, GRID * GRID), np.nan, np.float32)
    clearance = np.zeros((LAYERS, GRID * GRID), np.float32)
    used = np.zeros(GRID * GRID, int)
    previous, above = -1, 0.0
    for c, z, up in zip(cell.tolist(), height.tolist(), upward.tolist(), strict=True):
        if c != previous:
            previous, above = c, float(size[2]) + _UNLIMITED
        if up and above - z > _MIN_CLEARANCE and used[c] < LAYERS:
            heights[used[c], c], clearance[used[c], c] = z, above - z
            used[c] += 1
        above = z
    return heights.reshape(LAYERS, GRID, GRID), clearance.reshape(LAYERS, GRID, GRID)


def _hits(position: np.ndarray, triangles: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intersect vertical lines through the cells' centres with triangles.

    Returns:
        The cell, the height [m] and whether the triangle is level, for each intersection.
    """
    corner = position[triangles].astype(np.float64)
    grid = corner[..., :2] / size[:2] * GRID + (GRID - 1) / 2  # the centre of cell k has coordinate k
    low = np.ceil(grid.min(1)).astype(int).clip(0, GRID)
    high = np.floor(grid.max(1)).astype(int).clip(-1, GRID - 1)
    count = (high - low + 1).clip(0)
    pairs = count.prod(1)
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    level = np.abs(cross[:, 2]) > _MIN_COSINE * np.linalg.norm(cross, axis=1)
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    candidates = np.flatnonzero(pairs)
    for part in np.array_split(candidates, max(1, int(pairs.sum()) // _BLOCK_PAIRS)):
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
    """Return twice the signed areas of triangles with the corners a, b and c, (n, 2) each."""
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
