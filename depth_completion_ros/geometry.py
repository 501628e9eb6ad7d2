"""Depth brought onto the RGB pixel grid: projection, registration and resampling. Plain NumPy."""

from __future__ import annotations

import numpy as np

from .errors import InputError
from .frame import Intrinsics, RgbdFrame


def transform_from_pose(pose: np.ndarray) -> np.ndarray:
    """(4, 4) float64 rigid transform from (7,) x y z [m], qx qy qz qw, as geometry_msgs/Pose has them.

    Raises InputError (cause "extrinsic") for a wrong length, non-finite values or a quaternion far from unit length.
    """
    pose = np.asarray(pose, np.float64)
    if pose.shape != (7,) or not np.isfinite(pose).all():
        raise InputError("extrinsic", "an extrinsic is seven finite numbers: x y z [m] qx qy qz qw")
    norm = float(np.linalg.norm(pose[3:]))
    if abs(norm - 1) > 0.01:
        raise InputError("extrinsic", f"the quaternion of the extrinsic has length {norm:.3f}: give one of length 1")
    x, y, z, w = pose[3:] / norm
    transform = np.eye(4)
    transform[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    transform[:3, 3] = pose[:3]
    return transform


def moved(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """points (N, 3) [m], brought by transform (4, 4) into another frame; computed in float32."""
    return points @ transform[:3, :3].T.astype(np.float32) + transform[:3, 3].astype(np.float32)


def project_points(points: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Sparse depth (H, W) float32, NaN where nothing falls, of points (N, 3) [m] in the camera's optical frame.

    Each point lands on its nearest pixel; of several on one pixel the nearest to the camera stays (z-buffer).
    Points behind the camera, outside the image or not finite are left out.
    """
    x, y, z = points[:, 0], points[:, 1], points[:, 2]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        u = np.rint(x / z * intrinsics.fx + intrinsics.cx)
        v = np.rint(y / z * intrinsics.fy + intrinsics.cy)
        seen = (z > 0) & (z < np.inf) & (u >= 0) & (u < intrinsics.width) & (v >= 0) & (v < intrinsics.height)
    pixel = v[seen].astype(np.intp) * intrinsics.width + u[seen].astype(np.intp)
    depth = np.full(intrinsics.height * intrinsics.width, np.inf, np.float32)
    np.minimum.at(depth, pixel, z[seen].astype(np.float32))
    depth[np.isinf(depth)] = np.nan
    return depth.reshape(intrinsics.height, intrinsics.width)


def projected(points: np.ndarray, transform: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Sparse depth (H, W) float32 [m] of points (N, 3) [m] in another frame, whose pose in the camera's is transform.

    Raises InputError (cause "outside") where there are points and none of them falls into the image.
    """
    points = moved(points, transform)
    depth = project_points(points, intrinsics)
    if len(points) and np.isnan(depth).all():
        with np.errstate(invalid="ignore"):
            behind = np.mean(points[:, 2] <= 0)
        raise InputError(
            "outside",
            f"none of {len(points)} points falls into the image, {behind:.0%} of them lie behind the camera: check the "
            "pose of the depth sensor in the optical frame of the camera (x right, y down, z forward), which the "
            "parameter extrinsic or tf gives",
        )
    return depth


def back_project(depth: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Points (N, 3) float32 [m] in the optical frame, one for each finite pixel of depth (H, W) [m], row by row."""
    rows, columns = np.nonzero(np.isfinite(depth))
    z = depth[rows, columns]
    x = (columns - np.float32(intrinsics.cx)) * z / np.float32(intrinsics.fx)
    y = (rows - np.float32(intrinsics.cy)) * z / np.float32(intrinsics.fy)
    return np.stack([x, y, z], axis=1).astype(np.float32, copy=False)


def depth_on_rgb_grid(frame: RgbdFrame) -> np.ndarray:
    """The frame's depth as (H, W) float32 [m] at the RGB resolution; NaN where no measurement lands.

    Same size: the frame's own array. Another camera (``depth_to_rgb``): back-projected, moved and projected again.
    Same field of view at a lower resolution: each sample goes to the pixel nearest to its centre, the rest is left to
    the completion; at a higher resolution: the nearest (smallest) measurement of each pixel's block stays.
    Raises InputError (cause "size") where the shapes rule out that both show the same field of view.
    """
    height, width = frame.rgb.shape[:2]
    if frame.depth_to_rgb is not None:
        assert frame.intrinsics is not None and frame.depth_intrinsics is not None  # RgbdFrame has checked
        points = back_project(_valid_or_nan(frame.depth), frame.depth_intrinsics)
        return projected(points, frame.depth_to_rgb, frame.intrinsics)
    if frame.depth.shape == (height, width):
        return frame.depth
    _check_same_field_of_view(frame.depth.shape, (height, width))
    depth = _valid_or_nan(frame.depth)
    rows = _nearest_pixels(depth.shape[0], height)
    columns = _nearest_pixels(depth.shape[1], width)
    out = np.full((height, width), np.inf, np.float32)
    valid = np.isfinite(depth)
    pixel = (rows[:, None] * width + columns[None, :])[valid]
    np.minimum.at(out.reshape(-1), pixel, depth[valid])
    out[np.isinf(out)] = np.nan
    return out


def _check_same_field_of_view(depth: tuple[int, int], rgb: tuple[int, int]) -> None:
    # Sensors round their modes (848x480 beside 1280x720 differ by 0.6 %); another field of view differs by far more.
    if abs(depth[1] * rgb[0] / (depth[0] * rgb[1]) - 1) > 0.02:
        raise InputError(
            "size",
            f"depth is {depth[1]}x{depth[0]} and rgb {rgb[1]}x{rgb[0]}: their shapes differ, so they cannot show the "
            "same field of view: register depth to rgb, or set depth.registered false and give both camera_infos and "
            "the extrinsic",
        )


def _nearest_pixels(samples: int, pixels: int) -> np.ndarray:
    """For each of ``samples`` cells across an image, the one of ``pixels`` cells that holds its centre."""
    return np.minimum(((np.arange(samples) + 0.5) * pixels / samples).astype(np.intp), pixels - 1)


def _valid_or_nan(depth: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where((depth > 0) & (depth < np.inf), depth, np.float32(np.nan))
