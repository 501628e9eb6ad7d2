"""Degradations of a frame: what happens to colour images and depth on robots, at several levels, one function each.

Every function takes an array, a level and a random generator, and returns a new array. The same state of the generator
gives the same result, and the random places of a lower level are among those of a higher one.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import cv2
import numpy as np

from ..frame import RgbdFrame
from .protocols import DENSE

Function = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]
_MISSING = np.float32(np.nan)


class Degradation(NamedTuple):
    """A way in which a part of the input gets worse.

    Attributes:
        name: Its name.
        part: What it changes: "rgb", (H, W, 3) uint8, or "depth", (H, W) float32 [m], NaN = missing.
        function: Returns the changed part.
        levels: From the mildest to the hardest.
        unit: What a level is.
        meaning: What it stands for on a robot.
    """

    name: str
    part: str
    function: Function
    levels: tuple[float, ...]
    unit: str
    meaning: str

    def applied(self, frame: RgbdFrame, level: float, *seed: int) -> RgbdFrame:
        """The frame at a level. seed: random seed; the name of the degradation is added to it."""
        rng = np.random.default_rng([*seed, zlib.crc32(self.name.encode())])
        if self.part == "rgb":
            return replace(frame, rgb=self.function(frame.rgb, level, rng))
        return replace(frame, depth=self.function(frame.depth, level, rng))


def _occluded(rgb: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """One rectangle with the shape of the image and a random place and colour covers a share of the image."""
    size = np.array(rgb.shape[:2])
    extent = np.maximum(1, size * np.sqrt(share)).astype(int)
    top, left = (rng.random(2) * (size - extent)).astype(int)
    covered = rgb.copy()
    covered[top : top + extent[0], left : left + extent[1]] = rng.integers(0, 256, 3)
    return covered


def _noisy(rgb: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    return _to_bytes(rgb + deviation * rng.standard_normal(rgb.shape, np.float32))


def _dark(rgb: np.ndarray, light: float, rng: np.random.Generator) -> np.ndarray:
    """Less light with the same noise of the sensor, a standard deviation of 2 counts."""
    return _to_bytes(rgb * np.float32(light) + 2 * rng.standard_normal(rgb.shape, np.float32))


def _overexposed(rgb: np.ndarray, gain: float, rng: np.random.Generator) -> np.ndarray:
    return _to_bytes(rgb * np.float32(gain))


def _colour_shifted(rgb: np.ndarray, shift: float, rng: np.random.Generator) -> np.ndarray:
    return _to_bytes(rgb * np.array([1 + shift, 1, 1 - shift], np.float32))


def _blurred(rgb: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(rgb, (0, 0), sigma)


def _jpeg(rgb: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    _, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # OpenCV has just encoded it
    return np.ascontiguousarray(decoded[..., ::-1])


def _lost(rgb: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    return np.zeros_like(rgb)


def _frozen(rgb: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    """The image as it was before the view moved: shifted to the right, the left edge repeated."""
    return np.concatenate([np.repeat(rgb[:, :1], int(pixels), axis=1), rgb], axis=1)[:, : rgb.shape[1]]


def _outliers(depth: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A share of the measurements has any depth between the smallest and the largest measured one."""
    wrong = (rng.random(depth.shape) < share) & np.isfinite(depth)
    values = rng.uniform(np.nanmin(depth), np.nanmax(depth), depth.shape).astype(np.float32)
    return np.where(wrong, values, depth)


def _scaled(depth: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    return depth * np.float32(factor)


def _shifted(depth: np.ndarray, pixels: float, rng: np.random.Generator) -> np.ndarray:
    shifted = np.full_like(depth, _MISSING)
    shifted[:, int(pixels) :] = depth[:, : -int(pixels)]
    return shifted


def _quantised(depth: np.ndarray, bits: float, rng: np.random.Generator) -> np.ndarray:
    """2^bits equal steps between the smallest and the largest measured depth."""
    low, high = np.nanmin(depth), np.nanmax(depth)
    step = (high - low) / np.float32(2**bits - 1)
    return low + np.rint((depth - low) / step) * step if step > 0 else depth


def _points(depth: np.ndarray, count: float, rng: np.random.Generator) -> np.ndarray:
    order = rng.permutation(np.flatnonzero(np.isfinite(depth)))
    keep = np.zeros(depth.shape, bool)
    keep.flat[order[: int(count)]] = True
    return np.where(keep, depth, _MISSING)


def _beams(depth: np.ndarray, count: float, rng: np.random.Generator) -> np.ndarray:
    """Rows at equal distances over the rows with measurements, like the rings of a LiDAR.

    Of a dense image, the rows themselves. Of scattered points, in each column the point nearest to each of the rows.
    """
    known = np.isfinite(depth)
    rows = np.flatnonzero(known.any(axis=1))
    period = (rows[-1] - rows[0] + 1) / count
    position = (np.arange(depth.shape[0]) - rows[0]) / period
    beam = np.clip(np.floor(position), 0, count - 1).astype(int)
    away = np.abs(position - beam - 0.5)
    if known.mean() >= DENSE:
        nearest = np.zeros(depth.shape[0], bool)
        for number in range(int(count)):
            nearest[np.argmin(np.where(beam == number, away, np.inf))] = True
        return np.where(nearest[:, None], depth, _MISSING)
    keep = np.zeros(depth.shape, bool)
    for number in range(int(count)):
        distance = np.where(known & (beam == number)[:, None], away[:, None], np.inf)
        row = distance.argmin(axis=0)
        columns = np.flatnonzero(np.isfinite(distance.min(axis=0)))
        keep[row[columns], columns] = True
    return np.where(keep, depth, _MISSING)


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)


DEGRADATIONS = (
    Degradation("occluded", "rgb", _occluded, (0.1, 0.25, 0.5), "covered share", "an object or dirt before the lens"),
    Degradation("noisy", "rgb", _noisy, (10, 25, 50), "standard deviation in counts", "a camera at high gain"),
    Degradation("dark", "rgb", _dark, (0.3, 0.1, 0.03), "share of the light", "night, or a lamp that fails"),
    Degradation("overexposed", "rgb", _overexposed, (2, 4, 8), "gain", "the sun, or a slow automatic exposure"),
    Degradation("colour shift", "rgb", _colour_shifted, (0.2, 0.4, 0.8), "red up, blue down", "wrong white balance"),
    Degradation("blurred", "rgb", _blurred, (2, 4, 8), "sigma in px", "motion, or a lens out of focus"),
    Degradation("jpeg", "rgb", _jpeg, (50, 25, 10), "quality", "compression on a slow network"),
    Degradation("lost", "rgb", _lost, (1,), "black", "a covered lens"),
    Degradation("frozen", "rgb", _frozen, (8, 16, 32), "motion in px", "a driver that repeats an old image"),
    Degradation(
        "outliers", "depth", _outliers, (0.05, 0.1, 0.2), "share of the measurements", "sun, dust, reflections"
    ),
    Degradation("scaled", "depth", _scaled, (1.01, 1.03, 1.1), "factor", "a wrong unit or a poor calibration"),
    Degradation("shifted", "depth", _shifted, (1, 2, 5), "px", "a wrong extrinsic, or stamps apart in motion"),
    Degradation("quantised", "depth", _quantised, (6, 4, 2), "bits", "a coarse sensor or encoding"),
    Degradation("points", "depth", _points, (2000, 500, 200, 50), "measurements", "sparse features, or a poor sensor"),
    Degradation("beams", "depth", _beams, (64, 32, 16, 8), "rows", "LiDARs with fewer beams"),
)
"""All degradations. docs/robustness.md lists them."""
