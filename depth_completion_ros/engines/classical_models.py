"""The classical completion models: (image, depth, measured) in, dense depth out."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

Model = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def push_pull(image: np.ndarray, depth: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Averages of the measured depth on ever coarser grids, filled back from the coarsest (Gortler et al. 1996)."""
    weight = measured.astype(np.float32)
    levels = [(depth, weight)]
    while max(levels[-1][1].shape) > 1:
        value, weight = levels[-1]
        size = ((weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2)
        coarse_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
        coarse = cv2.resize(value * weight, size, interpolation=cv2.INTER_AREA)
        np.divide(coarse, coarse_weight, out=coarse, where=coarse_weight > 0)
        levels.append((coarse, (coarse_weight > 0).astype(np.float32)))
    dense = levels.pop()[0]
    for value, weight in reversed(levels):
        dense = cv2.resize(dense, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        np.copyto(dense, value, where=weight > 0)
    return dense


def guided(image: np.ndarray, depth: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """Fast global smoother guided by colour, normalised by the confidence (Min et al. 2014), on a push-pull prefill."""
    confidence = np.where(measured, np.float32(1), np.float32(1e-3))
    smoother = cv2.ximgproc.createFastGlobalSmootherFilter(image, 100.0, 8.0)
    dense = smoother.filter(push_pull(image, depth, measured) * confidence)
    dense /= smoother.filter(confidence)
    return dense


MODELS: dict[str, Model] = {"guided": guided, "push_pull": push_pull}
DEFAULT_MODEL = "guided"
