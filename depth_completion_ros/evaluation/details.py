"""What the HTML report shows beyond the metrics: curves, the error of holes by size, latencies and pictures.

Only collected if a report is wanted, in the same pass as the metrics.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import isnan, nan
from typing import Any

import cv2
import numpy as np

from ..completer import TOLERANCE_M, TOLERANCE_RELATIVE
from ..frame import CompletedDepth
from ..preview import Range
from ..profiles import Profile
from .metrics import CONFIDENCE_BINS
from .pictures import error_limits, picture_of_depth, picture_of_error, picture_of_rgb, picture_of_sigma
from .protocols import Trial
from .rank_statistics import sparsification
from .strata import ScoredPixels

REMOVED = np.linspace(0, 0.95, 20)  # removed shares of the sparsification curves
HOLE_SIDES_PX = (4, 8, 16, 32, 64, 128)  # limits of the classes of hole sizes [pixels]
_ORDERS = ("sigma", "distance", "error")


@dataclass(frozen=True)
class FrameDetails:
    """One frame as completed by one model.

    Attributes:
        index: Index of the sample in its set.
        pixels: Number of scored pixels.
        rmse: Root mean square error [m].
        mae: Mean absolute error [m].
        milliseconds: Duration of the completion [ms], NaN = not known.
        size: Width and height of the image [pixels].
        depth_range: Depth [m] at the near and far end of the colours of depth.
        pictures: WebP files by name: rgb and input, which all models share, and depth, error and sigma.
    """

    index: int
    pixels: int
    rmse: float
    mae: float
    milliseconds: float
    size: tuple[int, int]
    depth_range: Range
    pictures: dict[str, bytes]


@dataclass
class Details:
    """The details of one model on one set with one protocol, accumulated over frames.

    Attributes:
        frames: The frames in the order of the evaluation.
        reliability: (3, CONFIDENCE_BINS), for each bin of confidence the number of pixels, the sum of their confidence,
            and how many of them are within the tolerance.
        holes: (2, H), for each class of hole sizes the number of filled pixels and the sum of their absolute error [m].
        remaining: (3, R), sums over frames of the sparsification curves of sigma, distance and error at ``REMOVED``,
            weighted by pixels.
    """

    frames: list[FrameDetails] = field(default_factory=list)
    reliability: np.ndarray = field(default_factory=lambda: np.zeros((3, CONFIDENCE_BINS)))
    holes: np.ndarray = field(default_factory=lambda: np.zeros((2, len(HOLE_SIDES_PX) + 1)))
    remaining: np.ndarray = field(default_factory=lambda: np.zeros((len(_ORDERS), REMOVED.size)))

    def add(self, other: Details) -> None:
        """Add the details of other frames."""
        self.frames += other.frames
        self.reliability += other.reliability
        self.holes += other.holes
        self.remaining += other.remaining

    def curves(self) -> dict[str, Any]:
        """The curves as lists of numbers, for charts and JSON; None where a class has no pixels."""
        pixels, confidence, within = self.reliability
        total = pixels.sum()
        hole_pixels, absolute = self.holes
        return {
            "reliability": {
                "pixels": _integers(pixels),
                "confidence": _means(confidence, pixels),
                "within": _means(within, pixels),
            },
            "sparsification": {"removed": [round(float(share), 4) for share in REMOVED]}
            | {
                order: _means(row, np.full(REMOVED.size, total))
                for order, row in zip(_ORDERS, self.remaining, strict=True)
            },
            "holes": {
                "side_px": list(HOLE_SIDES_PX),
                "pixels": _integers(hole_pixels),
                "mae": _means(absolute, hole_pixels),
            },
            "frames": [
                {
                    "index": one.index,
                    "pixels": one.pixels,
                    "rmse": one.rmse,
                    "mae": one.mae,
                    "ms": None if isnan(one.milliseconds) else one.milliseconds,
                }
                for one in self.frames
            ],
        }


class TrialDetails:
    """What all models share of one trial.

    Args:
        index: Index of the sample in its set.
        trial: The trial.
        pixels: Its scored pixels.
        measured: (H, W) bool, the pixels that the models use as measurements.
        profile: The depth sensor.
    """

    def __init__(self, index: int, trial: Trial, pixels: ScoredPixels, measured: np.ndarray, profile: Profile):
        self._index = index
        self._trial = trial
        self._pixels = pixels
        self._limits = error_limits(profile)
        self._hole = np.digitize(hole_sides(measured)[pixels.where], HOLE_SIDES_PX, right=True)

    def sums(self, completed: CompletedDepth) -> Details:
        """The details of one model on this trial, without the frame itself."""
        depth, sigma, confidence = self._pixels.of(completed)
        error = np.abs(depth - self._pixels.truth)
        within = error < np.maximum(TOLERANCE_M, TOLERANCE_RELATIVE * depth)
        position = np.minimum((confidence * CONFIDENCE_BINS).astype(np.intp), CONFIDENCE_BINS - 1)
        filled = self._pixels.distance > 0
        hole, classes = self._hole[filled], len(HOLE_SIDES_PX) + 1
        return Details(
            reliability=np.stack(
                [np.bincount(position, weights, CONFIDENCE_BINS) for weights in (None, confidence, within)]
            ),
            holes=np.stack([np.bincount(hole, weights, classes) for weights in (None, error[filled])]),
            remaining=error.size * self._remaining(error, sigma),
        )

    def of(self, completed: CompletedDepth) -> Details:
        """The details of one model on this trial."""
        details = self.sums(completed)
        details.frames.append(self.frame(completed))
        return details

    def frame(self, completed: CompletedDepth) -> FrameDetails:
        """The frame as completed by one model, with pictures."""
        error = np.abs(self._pixels.of(completed)[0] - self._pixels.truth)
        errors = np.full(self._pixels.where.shape, np.nan, np.float32)
        errors[self._pixels.where] = error
        depth_limits, shared = self._shared
        pictures = {
            "error": picture_of_error(errors, self._trial.frame.rgb, self._limits),
            "sigma": picture_of_sigma(completed.sigma, self._limits),
            "depth": picture_of_depth(completed.depth, completed.depth, depth_limits)[1],
        }
        return FrameDetails(
            self._index,
            error.size,
            float(np.sqrt(np.mean(error**2))),
            float(np.mean(error)),
            sum(completed.timings_ms.values()) if completed.timings_ms else nan,
            (completed.depth.shape[1], completed.depth.shape[0]),
            depth_limits,
            shared | pictures,
        )

    @cached_property
    def _shared(self) -> tuple[Range, dict[str, bytes]]:
        """The range of the colours of depth [m], and the pictures that all models share."""
        trial = self._trial
        known = trial.truth if np.isfinite(trial.truth).mean() > 0.5 else trial.frame.depth
        limits, shown = picture_of_depth(trial.frame.depth, known)
        return limits, {"rgb": picture_of_rgb(trial.frame.rgb), "input": shown}

    def _remaining(self, error: np.ndarray, sigma: np.ndarray) -> np.ndarray:
        drawn = self._pixels.drawn
        at = (REMOVED * drawn.size).astype(int)
        orders = sigma[drawn], self._pixels.distance[drawn], error[drawn]
        return np.stack([sparsification(error[drawn], order)[at] for order in orders])


def hole_sides(measured: np.ndarray) -> np.ndarray:
    """The side of a square with the area of the hole that each pixel belongs to [pixels].

    A hole is a connected region (by its four neighbours) of pixels without measurement; the gaps between scattered
    measurements are a single large hole.

    Args:
        measured: (H, W) bool.

    Returns:
        (H, W) float32, 0 where a pixel is measured.
    """
    _, labels, statistics, _ = cv2.connectedComponentsWithStats((~measured).view(np.uint8), connectivity=4)
    area = statistics[:, cv2.CC_STAT_AREA].astype(np.float32)
    area[0] = 0
    return np.sqrt(area)[labels]


def _integers(values: np.ndarray) -> list[int]:
    return [int(value) for value in values]


def _means(sums: np.ndarray, counts: np.ndarray) -> list[float | None]:
    return [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]
