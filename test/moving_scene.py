"""A room with a painted wall, a floor and a moving box, seen by a moving camera: colour, true depth and poses."""

from __future__ import annotations

import numpy as np

from depth_completion_ros.frame import Intrinsics, RgbdFrame

HEIGHT, WIDTH = 120, 160
INTRINSICS = Intrinsics(130.0, 130.0, 79.5, 59.5, WIDTH, HEIGHT)
PERIOD_S = 1 / 30
BOX = np.array([0.5, 0.6, 0.3])  # half of its width, height and depth [m]


def pose(x: float = 0.0, yaw: float = 0.0) -> np.ndarray:
    """(4, 4) pose of a camera at ``x`` [m], turned by ``yaw`` [rad] about its y axis, in the axes of the room."""
    camera = np.eye(4)
    camera[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    camera[0, 3] = x
    return camera


def view(camera: np.ndarray, box_x: float | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a camera sees: rgb (H, W, 3) uint8, depth (H, W) float32 [m], and where it sees the box, (H, W) bool.

    The wall is at z = 3 m and the floor at y = 1 m. The box stands at ``box_x`` [m], 1.8 m in front of the origin.
    """
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    i = INTRINSICS
    rays = np.stack([(u - i.cx) / i.fx, (v - i.cy) / i.fy, np.ones_like(u)], axis=-1) @ camera[:3, :3].T
    origin = camera[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = (3.0 - origin[2]) / rays[..., 2]
        floor = (1.0 - origin[1]) / rays[..., 1]
        distance = np.where((floor > 0) & (floor < distance), floor, distance)
        on_box = np.zeros(distance.shape, bool)
        if box_x is not None:
            centre = np.array([box_x, 0.4, 1.8])
            ends = np.stack([(centre - BOX - origin) / rays, (centre + BOX - origin) / rays])
            enter, leave = ends.min(axis=0).max(axis=-1), ends.max(axis=0).min(axis=-1)
            on_box = (enter < leave) & (enter > 0) & (enter < distance)
            distance = np.where(on_box, enter, distance)
    points = origin + rays * distance[..., None]
    painted = 110 + 50 * np.sin(7 * points[..., :1] + [0, 1, 2]) * np.cos(5 * points[..., 1:2] + 3 * points[..., 2:])
    rgb = np.where(on_box[..., None], [200, 60, 40], painted)
    return rgb.astype(np.uint8), distance.astype(np.float32), on_box


def holes(number: int, share: float = 0.3) -> np.ndarray:
    """Blocks of 8x8 pixels without depth, others in each frame, (H, W) bool."""
    blocks = np.random.default_rng(number).random((HEIGHT // 8, WIDTH // 8)) < share
    return blocks.repeat(8, axis=0).repeat(8, axis=1)


def frame(number: int, rgb: np.ndarray, depth: np.ndarray, camera: np.ndarray | None) -> RgbdFrame:
    """A frame at 30 Hz with the pose of its camera."""
    return RgbdFrame(rgb, depth, INTRINSICS, round((1 + number * PERIOD_S) * 1e9), "camera", camera_pose=camera)
