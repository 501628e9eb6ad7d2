"""A frame at the resolution at which depth is remembered and smoothed over time."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from .frame import Intrinsics
from .lens import pixels_of, rays

_CELLS = 80_000  # largest number of cells: 320x240 for images of 640x480 pixels
_MARGIN = 0.25  # width of the surroundings of the image, relative to the image
_REGION = (9, 9)  # cells that count as the surroundings of a cell


def colours_differ(a: np.ndarray, b: np.ndarray, limit: float, share: float = 0.0) -> np.ndarray:
    """Return whether colours (N,) uint32 of ``Grid.colours`` are different, (N,) bool.

    They are, if their channels differ on average by more than ``limit`` (0..255) plus this share of the brightness.
    """
    channels_a, channels_b = a.view(np.uint8).reshape(-1, 4), b.view(np.uint8).reshape(-1, 4)
    difference = np.maximum(channels_a, channels_b) - np.minimum(channels_a, channels_b)
    most = np.float32(3 * limit)
    if share:
        most = most + np.float32(share) * (channels_a.sum(axis=1, dtype=np.uint16) - np.uint16(255))  # without alpha
    return difference.sum(axis=1, dtype=np.uint16) > most


@functools.lru_cache(maxsize=8)
def _rays_of_cells(intrinsics: Intrinsics, step: int) -> tuple[np.ndarray, np.ndarray]:
    """x/z and y/z of the rays through the middle of the cells, (rows, columns) float32."""
    x, y = np.broadcast_arrays(*rays(intrinsics))
    middles = (np.minimum(np.arange(step // 2, side + step // 2, step), side - 1) for side in x.shape)
    places = np.ix_(*middles)
    return x[places], y[places]


class Grid:
    """A frame at the resolution of the memory. Each cell is a square of ``step`` x ``step`` pixels.

    Args:
        rgb: (H, W, 3) uint8.
        depth: (H, W) float32 [m], 0 = missing.
        intrinsics: Intrinsics of rgb; ``points`` and ``cells`` need them.

    Attributes:
        depth: (n,) float32, one of the measurements in each cell [m], 0 = none.
        colours: (n,) uint32, colour of the pixel in the middle, one byte for each channel.
    """

    def __init__(self, rgb: np.ndarray, depth: np.ndarray, intrinsics: Intrinsics | None):
        self._intrinsics = intrinsics
        self._step = step = max(1, int(np.ceil(np.sqrt(depth.size / _CELLS))))
        middle = step // 2
        down, right = (-side % step for side in depth.shape)
        if down or right:
            rgb = cv2.copyMakeBorder(rgb, 0, down, 0, right, cv2.BORDER_REPLICATE)
            depth = cv2.copyMakeBorder(depth, 0, down, 0, right, cv2.BORDER_CONSTANT, value=0)
        some = depth[middle::step, middle::step].copy()
        for y, x in np.ndindex(step, step):
            if (empty := some == 0).any():
                np.copyto(some, depth[y::step, x::step], where=empty)
        self._shape = some.shape
        self.depth = some.ravel()
        colours = np.ascontiguousarray(rgb[middle::step, middle::step])
        self.colours = cv2.cvtColor(colours, cv2.COLOR_RGB2RGBA).view(np.uint32).ravel()

    def points(self, depth: np.ndarray) -> np.ndarray:
        """The points in the middle of all cells at depth (n,) [m], (n, 3) float32 [m]."""
        assert self._intrinsics is not None
        x, y = _rays_of_cells(self._intrinsics, self._step)
        z = depth.reshape(self._shape)
        return cv2.merge([x * z, y * z, z]).reshape(-1, 3)

    def cells(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where points (N, 3) [m] appear.

        Returns:
            Their cells, (N,) int32, -1 = outside the image, and whether they are just outside the image, (N,) bool.
        """
        intrinsics = self._intrinsics
        assert intrinsics is not None
        u, v = pixels_of(points, intrinsics)
        with np.errstate(invalid="ignore"):
            front = points[:, 2] > 0
            inside = (u >= 0) & (u < intrinsics.width) & (v >= 0) & (v < intrinsics.height) & front
            x, y = _MARGIN * intrinsics.width, _MARGIN * intrinsics.height
            near = (u > -x) & (u < intrinsics.width + x) & (v > -y) & (v < intrinsics.height + y) & front & ~inside
            rows, columns = v.astype(np.int32) // self._step, u.astype(np.int32) // self._step
        return np.where(inside, rows * np.int32(self._shape[1]) + columns, np.int32(-1)), near

    def largest(self, image: np.ndarray) -> np.ndarray:
        """The largest value of an image (H, W) in each cell, (n,)."""
        step = self._step
        out = np.zeros(self._shape, image.dtype)
        for y, x in np.ndindex(step, step):
            part = image[y::step, x::step]
            np.maximum(out[: part.shape[0], : part.shape[1]], part, out=out[: part.shape[0], : part.shape[1]])
        return out.ravel()

    def sum_around(self, cells: np.ndarray, values: np.ndarray | np.float32) -> np.ndarray:
        """The sum of the values (N,) of the cells (N,) around each cell, (n,) float32. Each cell counts once."""
        image = np.zeros(self.depth.size, np.float32)
        image[cells] = values
        return cv2.boxFilter(image.reshape(self._shape), -1, _REGION, normalize=False).ravel()

    def enlarged(self, cells: np.ndarray, values: np.ndarray, where: np.ndarray) -> np.ndarray:
        """An image (H, W) float32 with the values (N,) of cells (N,), multiplied by ``where`` (H, W) float32."""
        small = np.zeros(self.depth.size, np.float32)
        small[cells] = values
        size = self._shape[1] * self._step, self._shape[0] * self._step
        large = cv2.resize(small.reshape(self._shape), size, interpolation=cv2.INTER_NEAREST)
        return large[: where.shape[0], : where.shape[1]] * where
