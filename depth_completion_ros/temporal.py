"""Remember depth that earlier frames measured, and recall it where the present frame measures nothing.

What lies in the shadow of the projector, behind a reflection or too close to the sensor cannot be seen in one frame,
but a moving camera has often measured the same place a moment before. ``TemporalMemory`` keeps measured points, never
completed depth, moves them with the camera, and forgets those that the present frame contradicts.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeGuard

import cv2
import numpy as np

from .frame import Intrinsics, Recalled, RgbdFrame
from .geometry import depth_on_rgb_grid
from .odometry import available as odometry_available
from .odometry import motion_between
from .profiles import Profile
from .temporal_grid import Grid, colours_differ

MOTIONS = ("off", "static", "tf", "odometry", "auto")

# A point agrees with a measurement up to this number of standard deviations and this length [m].
_AGREES_SIGMAS, _AGREES_M = 3.0, 0.03
# Difference of colours from which on a point belongs to something else: mean over the channels (0..255), and share of
# the brightness. With a larger limit, a wall is recalled in front of a dark object that is too close to be measured.
_COLOUR_DIFFERS = 4.0, 0.08
_FEW = 1.5  # points around a point that tell nothing
_OLD = np.float32(0.8)  # weight of the remembered depth of a point that is measured again, which averages noise
_FITS, _CHECKED_POINTS = 0.75, 500  # the motion is wrong if fewer of the points agree, where there are so many
_FASTEST_M_PER_S = 50.0  # no camera moves faster
_CAN_ESTIMATE = odometry_available() and len(os.sched_getaffinity(0)) >= 4  # without delaying the engine
_RIGID = 1e-3  # largest error of a rotation matrix
# Standard deviation that the motion adds to remembered depth: after 0 s [m], and its growth [m/s]
_SIGMA_M, _SIGMA_M_PER_S = np.float32(0.01), np.float32(0.05)


@dataclass(frozen=True)
class TemporalSettings:
    """How the memory works. The node's parameters ``temporal.…`` are described in docs/parameters.md.

    Attributes:
        motion: Where the motion of the camera comes from: "static" (it does not move), "tf" (``frame.camera_pose``),
            "odometry" (estimated from the frames), "auto" (tf if the pose is known, else odometry if the machine has at
            least four cores), or "off".
        max_age: Time after which a measurement is forgotten [s].
    """

    motion: str = "auto"
    max_age: float = 1.0


class TemporalMemory:
    """What the last frames measured. Not thread-safe; give it the frames in the order of their stamps.

    Args:
        settings: How the memory works; the attribute ``settings`` can be changed between frames.
        report: Called with a line when the memory starts anew because of something unexpected.
    """

    def __init__(self, settings: TemporalSettings | None = None, report: Callable[[str], object] = lambda line: None):
        self.settings = settings or TemporalSettings()
        self._report = report
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._points = _Points()
        self._last: RgbdFrame | None = None

    def recall(self, frame: RgbdFrame, profile: Profile) -> RgbdFrame:
        """Recall depth where a frame has none, and remember what it measures.

        Args:
            frame: The next frame.
            profile: The sensor.

        Returns:
            The frame with its depth on the grid of rgb, (H, W) float32 [m], and with ``recalled`` if there are earlier
            frames. The same frame if the motion of the camera is unknown.

        Raises:
            InputError: If its depth cannot be brought to the grid of rgb.
        """
        if self._is_off(frame):
            return frame
        if problem := self._problem(frame):
            self._report(f"nothing is recalled, because {problem}")
            return frame
        intrinsics = frame.intrinsics or _any_intrinsics(frame)
        # Depth out of range stays in the result: the completer says what is wrong with it.
        frame = replace(frame, depth=depth_on_rgb_grid(frame), depth_intrinsics=None, depth_to_rgb=None)
        depth = np.where(profile.measured(frame.depth), frame.depth, np.float32(0))
        measured = replace(frame, depth=depth)
        elapsed, motion = self._motion(measured, intrinsics)
        grid = Grid(frame.rgb, depth, intrinsics)
        recalled, known = None, grid.depth
        if motion is not None:
            self._points.move(motion, elapsed)
            found = self._points.recall(grid, profile, self.settings.max_age)
            if found is None:
                self._start_anew(f"what it recalls does not fit the measured depth: {self._why_not()}")
            else:
                sigma = np.hypot(profile.measurement_sigma(found.depth), _SIGMA_M + _SIGMA_M_PER_S * found.ages)
                missing = (depth == 0).astype(np.float32)
                images = [grid.enlarged(found.cells, values, missing) for values in (found.depth, sigma, found.ages)]
                recalled = Recalled(images[0], images[1], images[2], motion, elapsed)
                known = found.averaged
        self._points.add(grid, known, frame.depth_age)
        self._last = measured
        return replace(frame, recalled=recalled)

    def _start_anew(self, reason: str) -> None:
        self.clear()
        self._report(f"the memory starts anew, because {reason}")

    def _why_not(self) -> str:
        """What may be wrong if most of the recalled depth is contradicted, and the fix."""
        if self.settings.motion == "static":
            return (
                "the camera or most of the scene has moved. If the camera moves, set temporal.motion to tf or odometry"
            )
        if self.settings.motion == "odometry":
            return "odometry was wrong, or most of the scene moves"
        return (
            "the pose of the camera is wrong, or most of the scene moves. If this is frequent, check the stamps "
            "of images and of tf, or set temporal.motion to odometry"
        )

    def _is_off(self, frame: RgbdFrame) -> bool:
        motion = self.settings.motion
        return motion == "off" or (
            motion == "auto" and (frame.intrinsics is None or not (_is_rigid(frame.camera_pose) or _CAN_ESTIMATE))
        )

    def _problem(self, frame: RgbdFrame) -> str:
        """Why the motion of the camera cannot be known at this frame, and the fix; empty if it can."""
        motion = self.settings.motion
        if motion == "static":
            return ""
        if frame.intrinsics is None:
            return "there is no camera_info of rgb: publish it, or set temporal.motion to static if the camera is fixed"
        if motion == "tf" and not _is_rigid(frame.camera_pose):
            return (
                f"the pose of {frame.frame_id!r} in temporal.fixed_frame is not known when the image arrives: check "
                "that tf2_ros is installed and that `ros2 run tf2_ros tf2_echo` shows this pose. If it does, the pose "
                "is published after the image: publish it earlier or at a higher rate. Otherwise, set "
                "temporal.fixed_frame to another frame that does not move, or set temporal.motion to odometry"
            )
        if motion == "odometry" and not odometry_available():
            return (
                "the installed OpenCV has no odometry: pip install opencv-contrib-python-headless, or set "
                "temporal.motion to tf or static"
            )
        return ""

    def _motion(self, frame: RgbdFrame, intrinsics: Intrinsics) -> tuple[float, np.ndarray | None]:
        """The time [s] and the (4, 4) motion of the camera since the last frame; None if the memory starts anew."""
        last = self._last
        if last is None:
            return 0.0, None
        elapsed = (frame.stamp_ns - last.stamp_ns) * 1e-9
        if elapsed == 0:
            self._start_anew("two frames have the same stamp")
        elif elapsed < 0:
            self._start_anew(f"the stamp of a frame is {-elapsed:.3f} s before that of the last frame")
        elif elapsed > self.settings.max_age:
            self._start_anew(
                f"there was no frame for {elapsed:.1f} s; if frames are always so far apart, increase temporal.max_age"
            )
        elif frame.rgb.shape != last.rgb.shape or frame.intrinsics != last.intrinsics:
            self._start_anew("the image size or the calibration has changed")
        elif frame.frame_id != last.frame_id:
            self._start_anew(f"frame_id has changed from {last.frame_id!r} to {frame.frame_id!r}")
        else:
            motion = self._motion_between(last, frame, intrinsics)
            if motion is None:
                self._start_anew("odometry cannot align this frame with the last one")
            elif (distance := float(np.linalg.norm(motion[:3, 3]))) > _FASTEST_M_PER_S * elapsed:
                self._start_anew(f"the camera seems to have moved {distance:.3g} m in {elapsed:.3f} s")
            else:
                return elapsed, motion
        return 0.0, None

    def _motion_between(self, last: RgbdFrame, frame: RgbdFrame, intrinsics: Intrinsics) -> np.ndarray | None:
        source = self.settings.motion
        if source == "static":
            return np.eye(4)
        before, now = last.camera_pose, frame.camera_pose
        if source in ("tf", "auto") and _is_rigid(before) and _is_rigid(now):
            return np.linalg.inv(now) @ before
        return motion_between(last, frame, intrinsics)


def _any_intrinsics(frame: RgbdFrame) -> Intrinsics:
    """Intrinsics that move no point as long as the camera does not move."""
    height, width = frame.rgb.shape[:2]
    return Intrinsics(width, width, (width - 1) / 2, (height - 1) / 2, width, height)


def _is_rigid(pose: np.ndarray | None) -> TypeGuard[np.ndarray]:
    """Whether a pose is known and a (4, 4) rigid transform."""
    if pose is None or pose.shape != (4, 4) or not np.isfinite(pose).all():
        return False
    rotation = pose[:3, :3]
    return bool(np.abs(rotation @ rotation.T - np.eye(3)).max() < _RIGID and np.linalg.det(rotation) > 0)


class _Found(NamedTuple):
    """What the memory holds about a frame.

    Attributes:
        cells: (N,) cells without a measurement for which there is a point.
        depth: (N,) float32, depth of these points [m].
        ages: (N,) float32, time since they were measured [s].
        averaged: (n,) float32, the measurements of all cells, averaged with the points that agree [m], 0 = none.
    """

    cells: np.ndarray
    depth: np.ndarray
    ages: np.ndarray
    averaged: np.ndarray


class _Points:
    """Measured points in the axes of the camera at the last frame."""

    def __init__(self) -> None:
        self._positions: np.ndarray = np.empty((0, 3), np.float32)  # [m]
        self._ages = np.empty(0, np.float32)  # [s]
        self._colours = np.empty(0, np.uint32)

    def add(self, grid: Grid, depth: np.ndarray, age: float) -> None:
        """Add a point for each cell of a frame with depth (n,) [m], which was measured ``age`` seconds ago."""
        cells = np.flatnonzero(depth)
        self._positions = np.concatenate([self._positions, grid.points(depth).take(cells, axis=0)])
        self._ages = np.concatenate([self._ages, np.full(cells.size, age, np.float32)])
        self._colours = np.concatenate([self._colours, grid.colours.take(cells)])

    def move(self, motion: np.ndarray, elapsed: float) -> None:
        """Move the points with the camera."""
        if self._ages.size:
            self._positions = cv2.transform(self._positions[:, None], motion[:3].astype(np.float32))[:, 0]
            self._ages += np.float32(elapsed)

    def recall(self, grid: Grid, profile: Profile, max_age: float) -> _Found | None:
        """Forget the points that are too old or that a frame contradicts or measures anew; return those in its holes.

        Args:
            grid: The frame; the points have been moved to it.
            profile: The sensor.
            max_age: Time after which a point is forgotten [s].

        Returns:
            What was found; None if so many points are contradicted that the motion must be wrong.
        """
        cells, near = grid.cells(self._positions)
        young = self._ages <= max_age
        inside, outside = np.flatnonzero(young & (cells >= 0)), np.flatnonzero(young & near)
        cells, z = cells.take(inside), self._positions[:, 2].take(inside)
        now = grid.depth.take(cells)
        tolerance = np.float32(_AGREES_SIGMAS) * profile.measurement_sigma(z) + np.float32(_AGREES_M)
        measured = now > 0
        seen_through = now - z > tolerance
        hidden = measured & (z - now > tolerance)
        agrees = measured & ~seen_through & ~hidden
        checked = np.count_nonzero(measured)
        if checked >= _CHECKED_POINTS and np.count_nonzero(agrees) < _FITS * checked:
            return None

        again = np.flatnonzero(agrees)
        averaged = grid.depth.copy()
        averaged[cells.take(again)] += _OLD * (z - now).take(again)

        filling = np.flatnonzero(~measured)
        gone = _belongs_to(grid, cells, z, filling, np.flatnonzero(seen_through), np.flatnonzero(agrees))
        filling = filling[~gone]
        colours, now_colours = self._colours.take(inside.take(filling)), grid.colours.take(cells.take(filling))
        filling = filling[~colours_differ(colours, now_colours, *_COLOUR_DIFFERS)]
        kept = np.concatenate([filling, np.flatnonzero(hidden)])
        kept = kept[_in_front(cells.take(kept), z.take(kept), grid.depth.size)]
        self._keep(np.concatenate([inside.take(kept), outside]))

        shown = np.flatnonzero(~measured.take(kept))
        return _Found(cells.take(kept.take(shown)), z.take(kept.take(shown)), self._ages.take(shown), averaged)

    def _keep(self, points: np.ndarray) -> None:
        self._positions = self._positions.take(points, axis=0)
        self._ages, self._colours = self._ages.take(points), self._colours.take(points)


def _belongs_to(
    grid: Grid, cells: np.ndarray, z: np.ndarray, points: np.ndarray, gone: np.ndarray, there: np.ndarray
) -> np.ndarray:
    """Which points belong to objects that have gone: in depth, they are closer to points around them that have gone.

    Args:
        grid: The frame.
        cells: (N,) cells of all points.
        z: (N,) their depth [m].
        points: (n,) indices of the points in question.
        gone: Indices of points that the frame shows to be there no longer.
        there: Indices of points that are still there.
    """
    at = cells.take(points)
    distances = []
    for others in (gone, there):
        count = grid.sum_around(cells.take(others), np.float32(1)).take(at)
        total = grid.sum_around(cells.take(others), z.take(others)).take(at)
        with np.errstate(invalid="ignore", divide="ignore"):
            distances.append(np.where(count > _FEW, np.abs(total / count - z.take(points)), np.float32(np.inf)))
    return distances[0] < distances[1]


def _in_front(cells: np.ndarray, depth: np.ndarray, count: int) -> np.ndarray:
    """Which points have the smallest depth (N,) in their cells (N,), each below ``count``; (N,) bool."""
    nearest = np.full(count, np.inf, np.float32)
    np.minimum.at(nearest, cells, depth)
    return depth <= nearest.take(cells)
