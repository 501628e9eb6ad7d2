"""SSIM of depth images with partly known ground truth."""

from __future__ import annotations

import cv2
import numpy as np

_WINDOW, _SIGMA = (11, 11), 1.5
_C1, _C2 = 0.01**2, 0.03**2  # for values up to 1


class StructuralSimilarity:
    """SSIM of any number of completions with one ground truth.

    Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity (IEEE TIP 2004), equation 13,
    with 11 x 11 Gaussian windows of 1.5 px, K of 0.01 and 0.03, and the largest true depth as the range of values. Only
    pixels with ground truth have weight in a window, and a window is valid if they have at least half of its weight.

    Args:
        truth: (H, W) float32 [m], NaN = unknown; at least one pixel is known.
    """

    def __init__(self, truth: np.ndarray):
        known = np.isfinite(truth)
        self._peak = np.float32(truth[known].max())
        self._mask = known.astype(np.float32)
        self._weight = _blur(self._mask)
        self.valid = known & (self._weight >= 0.5)
        self._truth = np.where(known, truth / self._peak, np.float32(0))
        self._mean, self._square = self._window(self._truth), self._window(self._truth**2)

    def map(self, depth: np.ndarray) -> np.ndarray:
        """SSIM of the window around each pixel, (H, W) float32, if ``valid``. depth: (H, W) float32 [m], finite."""
        x = depth / self._peak * self._mask
        mean = self._window(x)
        variances = np.maximum(self._window(x**2) - mean**2, 0) + np.maximum(self._square - self._mean**2, 0)
        covariance = self._window(x * self._truth) - mean * self._mean
        luminance = (2 * mean * self._mean + _C1) / (mean**2 + self._mean**2 + _C1)
        return luminance * (2 * covariance + _C2) / (variances + _C2)

    def _window(self, masked: np.ndarray) -> np.ndarray:
        return _blur(masked) / np.maximum(self._weight, np.float32(1e-6))


def _blur(array: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(array, _WINDOW, _SIGMA, borderType=cv2.BORDER_CONSTANT)
