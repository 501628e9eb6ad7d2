"""Bring depth to the RGB pixel grid: projection, registration, rectification and resampling. No ROS."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import cv2
import numpy as np

from .errors import InputError
from .frame import Distortion, Intrinsics, RgbdFrame

# The ray of a pixel is valid if its projection is within this distance of the pixel [pixels].
_RAY_ACCURACY = 0.5
_RAY_STEP = 4  # rays are computed for every fourth pixel and interpolated in between
# Largest distance of a point from the ray of its pixel: a constant [pixels], plus a share of the ray's length.
_FOLD_PIXELS, _FOLD_SHARE = 5.0, 0.1
_FAR_OUTSIDE = -10.0  # a coordinate outside every image [pixels]
# Depth is probably clipped if a share between these limits has the same value, larger than this factor times the median
# of the rest. A larger share may be a wall in a simulation, unless the value is the largest count of a sensor.
_CLIPPED_SHARE, _CLIPPED_BEYOND = (0.02, 0.4), 1.5


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
    return points @ transform[:3, :3].T.astype(np.float32) + transform[:3, 3].astype(np.float32)


def project_points(points: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Project points (N, 3) [m] in the optical frame of a camera to sparse depth (H, W) float32 [m], NaN = no point.

    Each point is assigned to the nearest pixel, using the distortion if there is one. If several points fall on one
    pixel, the one nearest to the camera is kept (z-buffer). Points behind the camera, outside the image or not finite
    are ignored.
    """
    z = points[:, 2]
    u, v = pixels_of(points, intrinsics)
    with np.errstate(invalid="ignore"):
        seen = (z > 0) & (z < np.inf) & (u >= 0) & (u < intrinsics.width) & (v >= 0) & (v < intrinsics.height)
    if intrinsics.distortion is not None:
        seen[seen] = _on_their_rays(points[seen], u[seen], v[seen], intrinsics)
    pixel = v[seen].astype(np.intp) * intrinsics.width + u[seen].astype(np.intp)
    depth = np.full(intrinsics.height * intrinsics.width, np.inf, np.float32)
    np.minimum.at(depth, pixel, z[seen].astype(np.float32))
    depth[np.isinf(depth)] = np.nan
    return depth.reshape(intrinsics.height, intrinsics.width)


def pixels_of(points: np.ndarray, intrinsics: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    """Column and row of the pixel nearest to each of the points (N, 3), as floats; NaN if there is none."""
    i = intrinsics
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if i.distortion is None:
            x, y, z = points[:, 0], points[:, 1], points[:, 2]
            return np.rint(x / z * i.fx + i.cx), np.rint(y / z * i.fy + i.cy)
        pixels = np.full((len(points), 2), np.nan)
        ahead = points[:, 2] > 0
        pixels[ahead] = np.rint(_distorted(points[ahead], i))
        return pixels[:, 0], pixels[:, 1]


def _distorted(points: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Pixel coordinates (N, 2) float64 of points (N, 3) in front of a camera with distortion."""
    if len(points) == 0:
        return np.empty((0, 2))
    assert intrinsics.distortion is not None
    camera, lens = _camera_matrix(intrinsics), intrinsics.distortion
    turn = cv2.Rodrigues(_rotation(lens).T)[0]
    project = cv2.fisheye.projectPoints if lens.fisheye else cv2.projectPoints
    points = points.astype(np.float64).reshape(-1, 1, 3)
    return project(points, turn, np.zeros(3), camera, np.array(lens.coefficients))[0].reshape(-1, 2)


def _on_their_rays(points: np.ndarray, u: np.ndarray, v: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Mask of the points (N, 3) that are really visible at their pixels (u, v).

    Outside the field of view, the distortion polynomial may fold back and project points into the image that the camera
    does not see.
    """
    rows, columns = v.astype(np.intp), u.astype(np.intp)
    x, y = (ray[rows, columns] for ray in rays(intrinsics))
    off = np.hypot(points[:, 0] / points[:, 2] - x, points[:, 1] / points[:, 2] - y)
    return off < _FOLD_PIXELS / min(intrinsics.fx, intrinsics.fy) + _FOLD_SHARE * np.hypot(x, y)


@functools.lru_cache(maxsize=8)
def rays(intrinsics: Intrinsics) -> tuple[np.ndarray, np.ndarray]:
    """x/z and y/z of the viewing ray of each pixel, float32: (1, W) and (H, 1), or both (H, W) with distortion.

    The arrays are read-only. NaN for pixels in the corners of a raw image for which the distortion has no inverse.
    """
    i = intrinsics
    x = (np.arange(i.width, dtype=np.float32) - np.float32(i.cx))[None, :] / np.float32(i.fx)
    y = (np.arange(i.height, dtype=np.float32) - np.float32(i.cy))[:, None] / np.float32(i.fy)
    if i.distortion is not None:
        # Interpolation between these pixels is accurate to a hundredth of a pixel for a lens of 120 degrees.
        rows, columns = np.mgrid[0 : i.height + _RAY_STEP : _RAY_STEP, 0 : i.width + _RAY_STEP : _RAY_STEP]
        pixels = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64)
        seen = _undistorted(pixels, i)
        with np.errstate(invalid="ignore"):
            back = _distorted(np.concatenate([seen, np.ones((len(seen), 1))], axis=1), i)
            seen[~(np.abs(back - pixels).max(axis=1) < _RAY_ACCURACY)] = np.nan
        across = np.tile(np.arange(i.width, dtype=np.float32) / _RAY_STEP, (i.height, 1))
        down = np.repeat(np.arange(i.height, dtype=np.float32) / _RAY_STEP, i.width).reshape(i.height, i.width)
        coarse = (seen[:, k].reshape(rows.shape).astype(np.float32) for k in (0, 1))
        x, y = (np.asarray(cv2.remap(ray, across, down, cv2.INTER_LINEAR), np.float32) for ray in coarse)
    for ray in (x, y):
        ray.flags.writeable = False
    return x, y


def _undistorted(pixels: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """x/z and y/z (N, 2) float64 in the rectified frame for pixel coordinates (N, 2) of a raw image."""
    assert intrinsics.distortion is not None
    camera, lens = _camera_matrix(intrinsics), intrinsics.distortion
    coefficients, turn = np.array(lens.coefficients), _rotation(lens)
    source, precise = pixels.reshape(-1, 1, 2), (cv2.TERM_CRITERIA_MAX_ITER + cv2.TERM_CRITERIA_EPS, 50, 1e-6)
    if lens.fisheye:
        found = cv2.fisheye.undistortPoints(source, camera, coefficients, R=turn)
    elif hasattr(cv2, "undistortPointsIter"):  # OpenCV 4
        found = cv2.undistortPointsIter(source, camera, coefficients, turn, None, precise)
    else:
        found = cv2.undistortPoints(source, camera, coefficients, R=turn, criteria=precise)
    return found.reshape(-1, 2)


def _camera_matrix(intrinsics: Intrinsics) -> np.ndarray:
    i = intrinsics
    return np.array([[i.fx, 0.0, i.cx], [0.0, i.fy, i.cy], [0.0, 0.0, 1.0]])


def _rotation(distortion: Distortion) -> np.ndarray:
    return np.array(distortion.rotation).reshape(3, 3)


def projected(points: np.ndarray, transform: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Project points of another frame to sparse depth (H, W) float32 [m], NaN = no point.

    Args:
        points: (N, 3) [m], in their own frame.
        transform: (4, 4) transform from that frame to the optical frame of the camera.
        intrinsics: Intrinsics of the camera.

    Raises:
        InputError: If there are points and none of them falls into the image: with the cause "outside", or
            "empty_depth" if none is finite.
    """
    points = moved(points, transform)
    depth = project_points(points, intrinsics)
    if len(points) and np.isnan(depth).all():
        finite = points[np.isfinite(points).all(axis=1)]
        if len(finite) == 0:
            raise InputError(
                "empty_depth",
                f"none of {len(points)} points is finite: check whether the sensor is covered or starting up",
            )
        behind = np.mean(finite[:, 2] <= 0)
        raise InputError(
            "outside",
            f"none of {len(finite)} points falls into the image, {behind:.0%} of them lie behind the camera: check the "
            "pose of the depth sensor in the optical frame of the camera (x right, y down, z forward), which is set by "
            "the parameter extrinsic or tf",
        )
    return depth


def back_project(depth: np.ndarray, intrinsics: Intrinsics) -> np.ndarray:
    """Points (N, 3) float32 [m] in the optical frame for each finite pixel of depth (H, W) [m], row by row."""
    rows, columns = np.nonzero(np.isfinite(depth))
    z = depth[rows, columns]
    x, y = (np.broadcast_to(ray, depth.shape)[rows, columns] for ray in rays(intrinsics))
    return np.stack([x * z, y * z, z], axis=1).astype(np.float32, copy=False)


def rectify_rgb(rgb: np.ndarray, raw: Intrinsics, rectified: Intrinsics) -> np.ndarray:
    """Rectify an image (H, W, 3) uint8; black outside the raw image."""
    maps = _rectification(raw, rectified)
    return cv2.remap(rgb, maps.pixel, maps.fraction, cv2.INTER_LINEAR)


def rectify_depth(depth: np.ndarray, raw: Intrinsics, rectified: Intrinsics) -> np.ndarray:
    """Rectify depth (h, w) float32 [m] that is registered to a raw image, at any resolution, as ``rectify_rgb`` does.

    Each pixel takes the nearest measurement, so that depth is not averaged across edges. NaN outside the raw image.
    """
    height, width = depth.shape
    maps = _rectification(_resized(raw, width, height), _resized(rectified, width, height))
    found = np.take(depth, maps.nearest)  # three times as fast as cv2.remap
    found.reshape(-1)[maps.outside] = np.nan
    return found


class _Maps(NamedTuple):
    """Where each pixel of a rectified image lies in the raw image.

    Attributes:
        pixel: (H, W, 2) int16, column and row, rounded down, for ``cv2.remap``.
        fraction: (H, W) uint16, what ``pixel`` lacks, for ``cv2.remap``.
        nearest: (H, W) intp, flat index of the nearest pixel.
        outside: (n,) intp, flat indices of the rectified pixels that lie outside the raw image.
    """

    pixel: np.ndarray
    fraction: np.ndarray
    nearest: np.ndarray
    outside: np.ndarray


@functools.lru_cache(maxsize=4)
def _rectification(raw: Intrinsics, rectified: Intrinsics) -> _Maps:
    lens = raw.distortion or Distortion((0.0, 0.0, 0.0, 0.0))
    initialise = cv2.fisheye.initUndistortRectifyMap if lens.fisheye else cv2.initUndistortRectifyMap
    x, y = initialise(
        _camera_matrix(raw),
        np.array(lens.coefficients),
        _rotation(lens),
        _camera_matrix(rectified),
        (rectified.width, rectified.height),
        cv2.CV_32FC1,
    )
    column, row = np.rint(x), np.rint(y)
    inside = (column >= 0) & (column < raw.width) & (row >= 0) & (row < raw.height)
    if raw.distortion is not None:
        seen = np.stack(np.broadcast_arrays(*rays(rectified), np.float32(1)), axis=2)[inside]
        inside[inside] = _on_their_rays(seen, column[inside], row[inside], raw)
    x[~inside] = y[~inside] = _FAR_OUTSIDE
    nearest = np.where(inside, row * raw.width + column, 0).astype(np.intp)
    return _Maps(*cv2.convertMaps(x, y, cv2.CV_16SC2), nearest, np.flatnonzero(~inside))


def _resized(intrinsics: Intrinsics, width: int, height: int) -> Intrinsics:
    """Intrinsics of the same view at another resolution; an image starts half a pixel before the first pixel centre."""
    if (intrinsics.width, intrinsics.height) == (width, height):
        return intrinsics  # rounding would make it another one, for which the maps would be computed again
    i, across, down = intrinsics, width / intrinsics.width, height / intrinsics.height
    return dataclasses.replace(
        i,
        fx=i.fx * across,
        fy=i.fy * down,
        cx=(i.cx + 0.5) * across - 0.5,
        cy=(i.cy + 0.5) * down - 0.5,
        width=width,
        height=height,
    )


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
    fewest, most = _CLIPPED_SHARE
    if share <= fewest or not (full_scale or (round_number and share < most)):
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
    return depth, f"{area}: if the driver uses this value where nothing was measured, set depth.max_range to {limit:g}"


def depth_on_rgb_grid(frame: RgbdFrame) -> np.ndarray:
    """The depth of a frame as (H, W) float32 [m] at the RGB resolution; NaN where there is no measurement.

    - Depth of the same size: returns the array of the frame itself.
    - Depth of another camera (``depth_to_rgb``): back-projects, transforms and projects the measurements.
    - Depth of a lower resolution: assigns each measurement to the pixel nearest to its centre.
    - Depth of a higher resolution: keeps the nearest (smallest) measurement in each pixel.

    Raises:
        InputError: With the cause "size", if the aspect ratios differ, so that both cannot show the same field of view;
            or as in ``projected``.
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
