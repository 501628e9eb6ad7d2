"""Smooth completed depth over time, where the scene stays the same."""

from __future__ import annotations

import cv2
import numpy as np

from .frame import CompletedDepth, RgbdFrame
from .temporal_grid import Grid, colours_differ

SMOOTHINGS = ("off", "filled", "all")

# Weight of the present frame. The standard deviation of white noise falls to sqrt(_NEW / (2 - _NEW)) = 0.28 of it.
_NEW = 0.15
_DIFFERS = 0.05  # relative difference of depth from which on a pixel shows something else
_COLOUR_DIFFERS = 12.0  # mean difference over the channels, 0..255, from which on a pixel shows something else


class DepthSmoother:
    """Averages completed depth with that of the last frames, moved with the camera. Not thread-safe.

    A pixel is averaged only if its colour and depth have hardly changed, so depth does not lag behind what moves.
    """

    def __init__(self) -> None:
        self._last: tuple[int, np.ndarray, np.ndarray] | None = None  # stamp [ns], depth [m] and colours of the cells

    def smooth(self, completed: CompletedDepth, frame: RgbdFrame, smoothing: str) -> None:
        """Smooth the depth of a frame in place.

        Args:
            completed: The completed frame.
            frame: The frame as ``TemporalMemory`` returned it. Without ``recalled``, nothing is smoothed.
            smoothing: "filled" = only pixels that are not measured, "all" = measured pixels too, or "off".
        """
        last, self._last = self._last, None
        if smoothing == "off" or frame.recalled is None:
            return
        grid = Grid(frame.rgb, completed.depth, frame.intrinsics)
        where = np.ones(completed.depth.shape, np.float32)
        if smoothing == "filled":
            where = (~completed.measured).astype(np.float32)
        depth = grid.depth
        if last is not None and _follows(last[0], frame.stamp_ns, frame.recalled.elapsed):
            some = np.flatnonzero(grid.largest(where))
            cells, depth_before = _places_before(grid, some, frame.recalled.motion)
            correction = last[1].take(cells) - depth_before
            with np.errstate(invalid="ignore"):  # NaN where the confidence is too small
                changed = ~(np.abs(correction) < _DIFFERS * depth.take(some))
            changed |= (cells < 0) | colours_differ(grid.colours.take(some), last[2].take(cells), _COLOUR_DIFFERS)
            correction = np.where(changed, np.float32(0), correction * np.float32(1 - _NEW))
            completed.depth += grid.enlarged(some, correction, where)
            depth[some] += correction
        self._last = frame.stamp_ns, depth, grid.colours


def _follows(before_ns: int, stamp_ns: int, elapsed: float) -> bool:
    """Whether no frame is missing between two stamps [ns]: the memory took the last frame so long ago [s]."""
    return abs(stamp_ns - before_ns - round(elapsed * 1e9)) < 1000


def _places_before(grid: Grid, cells: np.ndarray, motion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the last frame showed what cells (N,) show now: its cells, -1 = outside, and their depth there [m]."""
    if np.array_equal(motion, np.eye(4)):
        return cells, grid.depth.take(cells)
    points = grid.points(grid.depth).take(cells, axis=0)
    points = cv2.transform(points[:, None], np.linalg.inv(motion)[:3].astype(np.float32))[:, 0]
    return grid.cells(points)[0], points[:, 2]
