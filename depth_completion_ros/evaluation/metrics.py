"""Error and calibration of completed depth, gathered over frames."""

from __future__ import annotations

import cv2
import numpy as np

from ..completer import TOLERANCE_M, TOLERANCE_RELATIVE
from ..frame import CompletedDepth

NEAR_PX = 8.0  # a pixel at most so far from a measurement is near
CONFIDENCE_BINS = 10


class Metric:
    """Scores one method on the pixels with truth, all frames pooled: everywhere, and near and far from measurements."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all frames."""
        self._strata = {name: _Sums() for name in ("all", "near", "far")}

    def update(self, completed: CompletedDepth, truth: np.ndarray) -> None:
        """Add a frame. truth: (H, W) float32 [m], NaN where unknown; where the depth is NaN nothing is scored."""
        known = np.isfinite(truth) & np.isfinite(completed.depth)
        distance = cv2.distanceTransform((~completed.measured).view(np.uint8), cv2.DIST_L2, 5)
        far = distance > NEAR_PX
        for name, pixels in (("all", known), ("near", known & ~far), ("far", known & far)):
            self._strata[name].add(completed.depth[pixels], completed.confidence[pixels], truth[pixels])

    def compute(self) -> dict[str, dict[str, float]]:
        """By stratum ("all", "near", "far"): the figures of ``FIGURES``; NaN where the stratum has no pixel."""
        return {name: sums.figures() for name, sums in self._strata.items()}


FIGURES = {
    "pixels": "pixels scored",
    "rmse": "root mean square error [m]",
    "mae": "mean absolute error [m]",
    "rel": "mean absolute error by true depth",
    "delta1": "share with max(depth/truth, truth/depth) < 1.25",
    "within": "share with error < max(5 cm, 2 % of depth), which confidence is to foretell",
    "confidence": "mean confidence",
    "ece": "expected calibration error: |confidence - within| of ten bins of confidence, weighted by pixels",
}


class _Sums:
    def __init__(self) -> None:
        self._pixels = 0
        self._sums = np.zeros(4)  # of error², |error|, |error|/truth, delta1
        self._bins = np.zeros((CONFIDENCE_BINS, 2))  # summed confidence and hits

    def add(self, depth: np.ndarray, confidence: np.ndarray, truth: np.ndarray) -> None:
        depth, truth = depth.astype(np.float64), truth.astype(np.float64)
        error = np.abs(depth - truth)
        close = np.maximum(depth / truth, truth / depth) < 1.25
        self._pixels += depth.size
        self._sums += [np.sum(error**2), np.sum(error), np.sum(error / truth), np.sum(close)]
        hit = error < np.maximum(TOLERANCE_M, TOLERANCE_RELATIVE * depth)
        position = np.minimum((confidence * CONFIDENCE_BINS).astype(np.intp), CONFIDENCE_BINS - 1)
        self._bins[:, 0] += np.bincount(position, confidence, CONFIDENCE_BINS)
        self._bins[:, 1] += np.bincount(position, hit, CONFIDENCE_BINS)

    def figures(self) -> dict[str, float]:
        if self._pixels == 0:
            return {"pixels": 0} | {name: float("nan") for name in list(FIGURES)[1:]}
        square, absolute, relative, close = self._sums / self._pixels
        confidence, within = self._bins.sum(axis=0) / self._pixels
        gap = np.abs(self._bins[:, 0] - self._bins[:, 1]).sum() / self._pixels
        values = (np.sqrt(square), absolute, relative, close, within, confidence, gap)
        return {"pixels": self._pixels} | dict(zip(list(FIGURES)[1:], map(float, values), strict=True))
