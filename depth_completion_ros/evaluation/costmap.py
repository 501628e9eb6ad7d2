"""What a robot's costmap makes of a point cloud, by the rule of nav2's obstacle layer, and what is wrong in it.

The rule is that of https://docs.nav2.org/configuration/packages/costmap-plugins/obstacle.html (plugin
nav2_costmap_2d::ObstacleLayer, one PointCloud2 with marking and clearing): first, the ray from the sensor to each point
clears the cells on its way, up to raytrace_max_range; then each point between min_obstacle_height and
max_obstacle_height, and nearer than obstacle_max_range, marks its cell. Points above max_obstacle_height do neither;
points below min_obstacle_height, such as the floor, only clear.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np

UNKNOWN, FREE, OCCUPIED = 0, 1, 2
_DRAWS, _SAMPLE = 400, 4000  # planes and points that are tried for the floor
_STEEPEST_COS = np.cos(np.radians(35))  # of the angle between the floor's normal and the camera's up
_LEAST_FLOOR, _MOST_BELOW = 0.05, 0.02  # shares of the points on and below the floor
_LOWEST_CAMERA_M = 0.1
_LIMIT = 0.1  # relative distance from obstacle_max_range


@dataclass(frozen=True)
class Rule:
    """The parameters of the obstacle layer, with nav2's names.

    nav2's default of min_obstacle_height is 0, with which the noise of the floor marks cells; all others are its
    defaults.

    Attributes:
        resolution: Side of a cell [m].
        min_obstacle_height: Smallest height above the floor that marks [m].
        max_obstacle_height: Largest height above the floor that marks or clears [m].
        obstacle_max_range: Largest distance from the sensor that marks [m].
        raytrace_max_range: Largest distance from the sensor that is cleared [m].
    """

    resolution: float = 0.05
    min_obstacle_height: float = 0.1
    max_obstacle_height: float = 2.0
    obstacle_max_range: float = 2.5
    raytrace_max_range: float = 3.0

    def at_limit(self, distance: np.ndarray) -> np.ndarray:
        """Whether distances [m] are so near to obstacle_max_range that a small error decides if they mark."""
        return np.abs(distance / self.obstacle_max_range - 1) < _LIMIT


RULES = {"lidar": Rule(0.2, 0.3, 2.0, 20.0, 25.0)}
"""Rules by profile, for sensors whose range is not that of a camera in a room."""


def costmap(points: np.ndarray, sensor: np.ndarray, rule: Rule) -> np.ndarray:
    """The grid after one point cloud on an empty costmap.

    Args:
        points: (N, 3) [m], z = height above the floor; points that are not finite are ignored.
        sensor: (3,) position of the sensor [m].
        rule: Parameters.

    Returns:
        (S, S) uint8 of UNKNOWN, FREE and OCCUPIED, row = y, column = x; the sensor is above the cell in the middle.
    """
    reach = int(np.ceil(rule.raytrace_max_range / rule.resolution))
    side = 2 * reach + 1
    offset = points[np.isfinite(points).all(axis=1)].astype(np.float64) - sensor
    height = offset[:, 2] + sensor[2]
    offset, height = offset[height <= rule.max_obstacle_height], height[height <= rule.max_obstacle_height]
    distance = np.linalg.norm(offset, axis=1)
    within = np.minimum(1, rule.raytrace_max_range / np.maximum(distance, 1e-9))[:, None]
    grid = np.full((side, side), UNKNOWN, np.uint8)
    x, y = (_cells(offset[:, :2] * within, rule) + reach).T
    grid[y, x] = FREE
    x, y = _cells_on_lines(np.full(2, reach), np.argwhere(grid)[:, ::-1])
    grid[y, x] = FREE
    marks = (height >= rule.min_obstacle_height) & (distance < rule.obstacle_max_range)
    x, y = (_cells(offset[marks, :2], rule) + reach).T
    grid[y, x] = OCCUPIED
    return grid


def _cells(offset: np.ndarray, rule: Rule) -> np.ndarray:
    """Cells (N, 2) int of offsets from the sensor (N, 2) [m]; the sensor is in the middle of its cell."""
    return np.floor(offset / rule.resolution + 0.5).astype(np.intp)


def _cells_on_lines(start: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """x and y of all cells on the lines from one cell (2,) to others (N, 2), both ends included, in integers alone."""
    step = ends - start
    count = np.abs(step).max(axis=1, initial=0)
    at = np.minimum(np.arange(count.max(initial=0) + 1), count[:, None])[..., None]
    twice = 2 * np.maximum(count, 1)[:, None, None]
    cells = start + (2 * at * step[:, None] + twice // 2) // twice
    return cells[..., 0].ravel(), cells[..., 1].ravel()


@dataclass(frozen=True)
class Cells:
    """Numbers of cells in which a costmap differs from that of the truth, or agrees with it.

    A cell of an obstacle is found if a cell at most one away is marked, and lost if it is free and no such cell is
    marked. A free cell, more than one away from all obstacles, is an invented obstacle if it is marked.

    Attributes:
        obstacles: Cells with an obstacle in the truth.
        found: Those of them that are found.
        lost: Those of them that are lost; the others are unknown.
        free: Cells that the truth clears, more than one away from obstacles.
        seen: Those of them that are free.
        invented: Those of them that are marked.
        beyond: Free cells that the truth does not know: what lies behind its surfaces.
    """

    obstacles: int = 0
    found: int = 0
    lost: int = 0
    free: int = 0
    seen: int = 0
    invented: int = 0
    beyond: int = 0

    def __add__(self, other: Cells) -> Cells:
        return Cells(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))


def compare(grid: np.ndarray, truth: np.ndarray) -> Cells:
    """Count the cells of a costmap (S, S) against that of the true depth, as in ``Cells``."""
    obstacles, marked = truth == OCCUPIED, grid == OCCUPIED
    near = _around(marked)
    free = (truth == FREE) & ~_around(obstacles)
    counted = (
        obstacles,
        obstacles & near,
        obstacles & ~near & (grid == FREE),
        free,
        free & (grid == FREE),
        free & marked,
        (truth == UNKNOWN) & ~_around(truth != UNKNOWN) & (grid == FREE),
    )
    return Cells(*(int(np.count_nonzero(cells)) for cells in counted))


def _around(cells: np.ndarray) -> np.ndarray:
    """Cells (S, S) bool, and those at most one away."""
    return cv2.dilate(cells.view(np.uint8), np.ones((3, 3), np.uint8)).view(bool)


def floor_pose(points: np.ndarray, tolerance: float) -> np.ndarray | None:
    """The pose (4, 4) of a camera above the floor that it sees: z up, the floor at z = 0, the camera at x = y = 0.

    The floor is the plane with the most points (Fischler & Bolles, RANSAC, 1981) that is level to 35 degrees with the
    camera, below it, and has next to no points below it.

    Args:
        points: (N, 3) [m] in the optical frame.
        tolerance: Largest distance of a point on the floor from the plane [m].

    Returns:
        The pose, or None if no floor is seen.
    """
    rng = np.random.default_rng(0)
    sample = points[rng.permutation(len(points))[:_SAMPLE]].astype(np.float64)
    if len(sample) < 3:
        return None
    corners = sample[rng.integers(0, len(sample), (_DRAWS, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    normals = normals[length > 1e-9] / length[length > 1e-9, None]
    normals *= -np.sign(normals[:, 1:2])  # up is -y
    heights = -np.sum(normals * corners[length > 1e-9, 0], axis=1)  # of the camera
    best, most = None, _LEAST_FLOOR * len(sample)
    for normal, height in zip(normals, heights, strict=True):
        if -normal[1] < _STEEPEST_COS or height < _LOWEST_CAMERA_M:
            continue
        above = sample @ normal + height
        on = np.abs(above) < tolerance
        if np.count_nonzero(on) > most and np.mean(above < -2 * tolerance) < _MOST_BELOW:
            best, most = on, float(np.count_nonzero(on))
    if best is None:
        return None
    centre = sample[best].mean(axis=0)
    up = np.linalg.svd(sample[best] - centre, full_matrices=False)[2][2]
    up *= -np.sign(up[1])
    forward = np.array([0.0, 0.0, 1.0]) - up[2] * up
    forward /= np.linalg.norm(forward)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([forward, np.cross(up, forward), up])
    pose[2, 3] = -up @ centre
    return pose
