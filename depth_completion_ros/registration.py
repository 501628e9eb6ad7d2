"""Registration: show the depth image of one camera as another camera in another place would measure it. No ROS.

OpenCV's ``registerDepth`` was tried first. OpenCV 5.0 writes beyond its result if that is smaller than the input, keeps
points behind the camera, knows neither fisheye lenses nor distortion of the depth camera, and its ``depthDilation`` by
one pixel leaves gaps where a pixel is magnified more than twice, or less than twice but not by a whole number.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np

from .frame import Intrinsics
from .lens import image_coordinates, rays

# A measurement covers its pixel, enlarged by this factor: another camera may see a surface at a steeper angle, on which
# the measurements lie farther apart.
_STRETCH = np.float32(1.25)
_REACH = 4  # a measurement covers at most this far to each side of the place where it lands [pixels]
_MARGIN = 2 * _REACH + 1  # around the image, so that what lands partly or wholly outside need not be cut [pixels]
_AT_ONCE = 32_768  # measurements that are moved together: their arrays stay in the cache of the processor


class _Views(NamedTuple):
    """What depends on the cameras alone, for each pixel of the depth image (h, w) float32.

    Attributes:
        x: x of the point at a depth of 1, in the axes of the other camera.
        y: y of it.
        z: z of it.
        across: Half the width of what a far measurement covers in the image of the other camera [pixels].
        down: Half the height of it.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    across: np.ndarray
    down: np.ndarray


def registered(
    depth: np.ndarray, depth_intrinsics: Intrinsics, intrinsics: Intrinsics, depth_to_rgb: np.ndarray
) -> np.ndarray:
    """Move the depth of one camera to the image of another: (H, W) float32 [m], NaN where nothing lands.

    Each measurement covers a rectangle around the place where it lands, as large as its pixel appears there and a
    quarter larger, at least one and at most 8 pixels wide and high (splatting). So no gaps open where the depth image
    is magnified, through which what is farther away would be seen. Of several measurements in one pixel, the nearest
    is kept (z-buffer).

    Args:
        depth: (h, w) float32 [m]; NaN, infinity and values that are not above zero are missing.
        depth_intrinsics: Intrinsics of depth.
        intrinsics: Intrinsics of the other camera.
        depth_to_rgb: (4, 4) transform [m] from the optical frame of the depth camera to that of the other camera.
    """
    turn = tuple(np.asarray(depth_to_rgb[:3, :3], np.float64).ravel().tolist())
    views = _views(depth_intrinsics, intrinsics, turn)
    offset = np.asarray(depth_to_rgb[:3, 3], np.float32)
    wider = _with_margin(intrinsics)
    found = np.full((wider.height, wider.width), np.inf, np.float32)
    rows = max(1, _AT_ONCE // depth.shape[1])
    for top in range(0, len(depth), rows):
        part = slice(top, top + rows)
        _splat(found, _Views(*(view[part] for view in views)), depth[part], offset, wider)
    found = found[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    return np.where(found < np.inf, found, np.float32(np.nan))


def _splat(found: np.ndarray, views: _Views, depth: np.ndarray, offset: np.ndarray, wider: Intrinsics) -> None:
    """Write measurements to ``found`` (H, W) float32 [m], where they are nearer than what it contains.

    ``found`` is an image with a margin, and ``wider`` are its intrinsics.
    """
    tx, ty, tz = offset
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = views.z * depth + tz
        u, v = image_coordinates(views.x * depth + tx, views.y * depth + ty, z, wider)
        nearer = 1 - tz / z if tz else np.float32(1)  # how much larger a pixel appears than a far one
        # A measurement covers at least the pixel in which it lands.
        across, down = (
            np.clip(half * nearer, np.float32(0.5), np.float32(_REACH)) for half in (views.across, views.down)
        )
        seen = (depth > 0) & (z > 0) & (u > _REACH) & (v > _REACH)  # not where u or v is NaN
        seen &= (u < wider.width - 1 - _REACH) & (v < wider.height - 1 - _REACH)
        left, top = np.ceil(u - across), np.ceil(v - down)
        more_columns, more_rows = (np.floor(u + across) - left).ravel(), (np.floor(v + down) - top).ravel()
        first = top.astype(np.int32) * np.int32(wider.width) + left.astype(np.int32)
        # What is not seen lands in the corner of the margin, at an infinite distance.
        first, z = np.where(seen, first, 0).astype(np.intp), np.where(seen, z, np.float32(np.inf))
        in_row = [first.ravel(), z.ravel(), more_columns, more_rows]
        while in_row[0].size:
            part = in_row
            while part[0].size:
                np.minimum.at(found.reshape(-1), part[0], part[1])
                part = _shrunk(part, 2, 1)
            in_row = _shrunk(in_row, 3, wider.width)


def _shrunk(rectangles: list[np.ndarray], side: int, step: int) -> list[np.ndarray]:
    """Rectangles without their first column or row: those that have more.

    Args:
        rectangles: Index of the first pixel, depth, and the numbers of columns and of rows after the first, each (N,).
        side: Index of that number in ``rectangles``.
        step: From the first pixel to that of the next column or row.
    """
    more = rectangles[side] >= 1
    if not more.all():
        these = np.flatnonzero(more)  # several times as fast as a mask
        rectangles = [values[these] for values in rectangles]
    first, *others = rectangles
    others[side - 1] = others[side - 1] - 1
    return [first + step, *others]


@functools.lru_cache(maxsize=4)
def _views(depth_camera: Intrinsics, camera: Intrinsics, turn: tuple[float, ...]) -> _Views:
    x, y = rays(depth_camera)
    turned = np.reshape(turn, (3, 3)).astype(np.float32)
    x, y, z = (row[0] * x + row[1] * y + row[2] for row in turned)
    x, y, z = (
        np.ascontiguousarray(np.broadcast_to(part, (depth_camera.height, depth_camera.width))) for part in (x, y, z)
    )
    u, v = image_coordinates(x, y, np.where(z > 0, z, np.float32(np.nan)), camera)
    scale = camera.fx / depth_camera.fx, camera.fy / depth_camera.fy
    sides = (_extent(place, ratio) for place, ratio in zip((u, v), scale, strict=True))
    across, down = (side * (_STRETCH / 2) for side in sides)
    for part in (views := _Views(x, y, z, across, down)):
        part.flags.writeable = False
    return views


def _extent(place: np.ndarray, otherwise: float) -> np.ndarray:
    """The side of the rectangle around each pixel [pixels of the other camera]; ``place`` is where they are seen."""
    size = np.zeros(place.shape, np.float32)
    for axis in (0, 1):
        if place.shape[axis] > 1:
            size += np.abs(np.gradient(place, axis=axis))
    return np.where(np.isfinite(size) & (size > 0), size, np.float32(otherwise))


@functools.lru_cache(maxsize=4)
def _with_margin(intrinsics: Intrinsics) -> Intrinsics:
    i = intrinsics
    width, height = i.width + 2 * _MARGIN, i.height + 2 * _MARGIN
    return dataclasses.replace(i, cx=i.cx + _MARGIN, cy=i.cy + _MARGIN, width=width, height=height)
