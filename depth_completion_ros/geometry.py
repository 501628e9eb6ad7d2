"""Bring depth to the RGB pixel grid: transforms, projection of points and resampling. No ROS."""

from __future__ import annotations

import cv2
import numpy as np

from .errors import InputError
from .frame import Intrinsics, RgbdFrame
from .lens import image_coordinates, rays
from .registration import registered
from .visibility import hidden_points

# Depth is probably clipped if more than this share has the same value, larger than this factor times the median of the
# rest. Only a wall in a simulation looks alike.
_CLIPPED_SHARE, _CLIPPED_BEYOND = 0.02, 1.5


def transform_from_pose(pose: np.ndarray) -> np.ndarray:
    """Convert a pose (7,), x y z [m] qx qy qz qw as in geometry_msgs/Pose, to a (4, 4) float64 rigid transform.

    Raises:
        InputError: With the cause "extrinsic", if the pose does not consist of seven finite numbers or the quaternion
            is not of unit length.
    """
    pose = np.asarray(pose, np.float64)
    if pose.shape != (7,) or not np.isfinite(pose).all():
        raise InputError("extrinsic", "an extrinsic must be seven finite numbers: x y z [m] qx qy qz qw")
    norm = float(np.linalg.norm(pose[3:]))
    if abs(norm - 1) > 0.01:
        raise InputError("extrinsic", f"the quaternion of the extrinsic has length {norm:.3f}: it must be 1")
    x, y, z, w = pose[3:] / norm
    transform = np.eye(4)
    transform[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    transform[:3, 3] = pose[:3]
    return transform


def pose_of(transform: np.ndarray) -> np.ndarray:
    """The pose (7,) of a (4, 4) rigid transform: x y z [m] qx qy qz qw, float64."""
    axis = cv2.Rodrigues(np.asarray(transform[:3, :3], np.float64))[0].ravel()
    angle = float(np.linalg.norm(axis))
    return np.array([*transform[:3, 3], *(axis * (np.sin(angle / 2) / angle if angle else 0.5)), np.cos(angle / 2)])


def moved(points: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Transform points (N, 3) [m] by a (4, 4) rigid transform, in float32. The identity returns ``points`` itself."""
    if np.array_equal(transform, np.eye(4)):
        return points
    found = np.empty((3, len(points)), np.float32)  # the coordinates of one axis lie side by side in memory
    with np.errstate(invalid="ignore", over="ignore"):  # points may be infinite
        for out, row in zip(found, transform[:3].astype(np.float32), strict=True):
            np.multiply(points[:, 0], row[0], out=out)  # a product of matrices is slower, and busies several processors
            out += points[:, 1] * row[1]
            out += points[:, 2] * row[2]
            out += row[3]
    return found.T


def project_points(points: np.ndarray, intrinsics: Intrinsics, *, only_visible: bool = False) -> np.ndarray:
    """Project points (N, 3) [m] in the optical frame of a camera to sparse depth (H, W) float32 [m], NaN = no point.

    Each point is assigned to the nearest pixel, using the distortion if there is one. If several points fall on one
    pixel, the one nearest to the camera is kept (z-buffer). Points behind the camera, outside the image or not finite
    are ignored.

    Args:
        points: The points.
        intrinsics: Intrinsics of the camera.
        only_visible: Whether to leave out points that shine through gaps between points of nearer surfaces
            (``visibility.hidden_points``).
    """
    return _depth_of(*_landed(points, intrinsics), intrinsics, only_visible)


def _landed(points: np.ndarray, intrinsics: Intrinsics) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image coordinates u and v [pixels] and depth z [m] of those of the points (N, 3) that fall into the image."""
    u, v = image_coordinates(points[:, 0], points[:, 1], points[:, 2], intrinsics)
    z = points[:, 2]
    with np.errstate(invalid="ignore"):
        seen = (z > 0) & (z < np.inf) & (u >= -0.5) & (u < intrinsics.width - 0.5)
        seen &= (v >= -0.5) & (v < intrinsics.height - 0.5)
    here = np.flatnonzero(seen)
    return u[here], v[here], z[here].astype(np.float32, copy=False)


def _depth_of(
    u: np.ndarray, v: np.ndarray, z: np.ndarray, intrinsics: Intrinsics, only_visible: bool = False
) -> np.ndarray:
    """Sparse depth (H, W) float32 [m] of points that fall into the image."""
    if only_visible:
        visible = np.flatnonzero(~hidden_points(u, v, z, intrinsics))
        u, v, z = u[visible], v[visible], z[visible]
    pixel = np.rint(v).astype(np.intp) * intrinsics.width + np.rint(u).astype(np.intp)
    depth = np.full(intrinsics.height * intrinsics.width, np.nan, np.float32)
    depth[pixel] = np.inf
    np.minimum.at(depth, pixel, z)
    return depth.reshape(intrinsics.height, intrinsics.width)


def projected(points: np.ndarray, intrinsics: Intrinsics, *, only_visible: bool) -> np.ndarray:
    """Project points as ``project_points``, and say why if none of them falls into the image.

    Raises:
        InputError: If there are points and none of them falls into the image: with the cause "outside", or
            "empty_depth" if none is finite.
    """
    u, v, z = _landed(points, intrinsics)
    if len(points) and not len(z):
        raise _why_outside(points)
    return _depth_of(u, v, z, intrinsics, only_visible)


def _why_outside(points: np.ndarray) -> InputError:
    """Why none of the points (N, 3) [m], in the optical frame of the camera, falls into the image."""
    finite = points[np.isfinite(points).all(axis=1)]
    if len(finite) == 0:
        return InputError(
            "empty_depth",
            f"none of {len(points)} points is finite: check whether the sensor is covered or starting up",
        )
    behind = np.mean(finite[:, 2] <= 0)
    return InputError(
        "outside",
        f"none of {len(finite)} points falls into the image, {behind:.0%} of them lie behind the camera: check the "
        "pose of the depth sensor in the optical frame of the camera (x right, y down, z forward), which is set by "
        "the parameter extrinsic or tf",
    )


def back_project(depth: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Points (N, 3) float32 [m] in the optical frame for each finite pixel of depth (H, W) [m], row by row."""
    rows, columns = np.nonzero(np.isfinite(depth))
    z = depth[rows, columns]
    x, y = (np.broadcast_to(ray, depth.shape)[rows, columns] for ray in rays(intrinsics))
    return np.stack([x * z, y * z, z], axis=1).astype(np.float32, copy=False)


def clipped_at(depth: np.ndarray, unit: float = 0.001) -> tuple[float, bool] | None:
    """The distance [m] at which depth (h, w) float32 seems to be clipped, as by simulators and filters; else None.

    This is the largest value, if a whole area has exactly that value, and it is far beyond the rest and either a round
    number or the largest count of 11 bits or more, for example 4095 or 32767.

    Args:
        depth: Depth [m].
        unit: Length of one count [m].

    Returns:
        The distance, and whether it is such a count, which means "not measured".
    """
    sample = depth[::2, ::2]
    with np.errstate(invalid="ignore"):
        valid = (sample > 0) & (sample < np.inf)
    largest = float(sample.max(where=valid, initial=0.0))
    share = int((sample == largest).sum()) / max(int(valid.sum()), 1)
    count = largest / unit
    full_scale = any(abs(count - (2**bits - 1)) < 0.01 for bits in range(11, 17))
    round_number = abs(largest * 10 - round(largest * 10)) <= 1e-4
    if share <= _CLIPPED_SHARE or not (full_scale or round_number):
        return None
    nearer = sample[valid & (sample < largest)]
    if nearer.size and largest <= _CLIPPED_BEYOND * np.median(nearer):
        return None
    return (largest, full_scale) if nearer.size or full_scale else None


def without_clipped(depth: np.ndarray, unit: float, max_range: float) -> tuple[np.ndarray, str]:
    """Depth (h, w) float32 [m] with NaN where it is clipped to the largest count, and a warning about clipped depth.

    Args:
        depth: Depth [m].
        unit: Length of one count [m].
        max_range: Largest depth that the sensor measures [m]; depth that is clipped there needs no warning.

    Returns:
        The depth, and the warning; "" if nothing seems to be clipped.
    """
    found = clipped_at(depth, unit)
    if found is None or found[0] >= max_range:
        return depth, ""
    limit, not_measured = found
    area = f"a whole area of depth is exactly {limit:g} m, much farther than the rest"
    if not_measured:
        measured = np.where(depth == np.float32(limit), np.float32(np.nan), depth)
        return measured, f"{area}, which is the largest count of the sensor: it is ignored"
    return depth, (
        f"{area}: if the driver uses this value where nothing was measured, set depth.max_range to {limit:g}; if it is "
        "a wall in a simulation, ignore this warning"
    )


def depth_on_rgb_grid(frame: RgbdFrame) -> np.ndarray:
    """The depth of a frame as (H, W) float32 [m] at the RGB resolution; NaN where there is no measurement.

    - Depth of the same size: returns the array of the frame itself.
    - Depth of another camera (``depth_to_rgb``): moves it to the RGB camera (``registration.registered``).
    - Depth of a lower resolution: assigns each measurement to the pixel nearest to its centre.
    - Depth of a higher resolution: keeps the nearest (smallest) measurement in each pixel.

    Raises:
        InputError: With the cause "size", if the aspect ratios differ, so that both cannot show the same field of view;
            or as in ``projected``.
    """
    height, width = frame.rgb.shape[:2]
    if frame.depth_to_rgb is not None:
        assert frame.intrinsics is not None and frame.depth_intrinsics is not None  # RgbdFrame has checked
        depth = registered(frame.depth, frame.depth_intrinsics, frame.intrinsics, frame.depth_to_rgb)
        if np.isnan(depth).all():
            points = back_project(_valid_or_nan(frame.depth), frame.depth_intrinsics)
            if len(points):
                raise _why_outside(moved(points, frame.depth_to_rgb))
        return depth
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
    # Aspect ratios of the modes of one sensor differ slightly (848x480 and 1280x720 by 0.6 %), others by far more.
    if abs(depth[1] * rgb[0] / (depth[0] * rgb[1]) - 1) > 0.02:
        raise InputError(
            "size",
            f"depth is {depth[1]}x{depth[0]} and rgb is {rgb[1]}x{rgb[0]}: the aspect ratios differ, so they cannot "
            "show the same field of view: register depth to rgb, or set depth.registered false and provide both "
            "camera_infos and the extrinsic",
        )


def _nearest_pixels(samples: int, pixels: int) -> np.ndarray:
    """For an image side divided into ``samples`` cells or ``pixels`` cells: the pixel at the centre of each sample."""
    return np.minimum(((np.arange(samples) + 0.5) * pixels / samples).astype(np.intp), pixels - 1)


def _valid_or_nan(depth: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where((depth > 0) & (depth < np.inf), depth, np.float32(np.nan))
