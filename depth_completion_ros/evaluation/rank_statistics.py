"""Statistics of how well an uncertainty ranks errors."""

from __future__ import annotations

import numpy as np


def ause(error: np.ndarray, uncertainty: np.ndarray) -> float:
    """Area under the sparsification error, without unit; 0 if the uncertainty ranks pixels like the error.

    Ilg et al., Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow (ECCV 2018), section 5.1. The
    sparsification error is the mean error of the remaining pixels when those with the largest uncertainty are removed,
    minus the same when those with the largest error are removed. The area is over the removed share from 0 to 1,
    divided by the mean error of all pixels.

    Args:
        error: (N,), not negative.
        uncertainty: (N,), in any unit. The result is the average over all orders of pixels with equal uncertainty.
    """
    return sparsification_area(error, uncertainty) - sparsification_area(error, error)


def aurg(error: np.ndarray, uncertainty: np.ndarray) -> float:
    """Area under the random gain, without unit; 0 if the uncertainty ranks pixels no better than chance.

    Poggi et al., On the Uncertainty of Self-Supervised Monocular Depth Estimation (CVPR 2020), section 4.1. The random
    gain is the mean error of all pixels minus that of the remaining pixels when those with the largest uncertainty are
    removed. Arguments and area are those of ``ause``.
    """
    return 1 - sparsification_area(error, uncertainty)


def sparsification(error: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """(N,), the mean error of the N, N - 1, ..., 1 pixels with the smallest uncertainty, divided by that of all N.

    The arguments are those of ``ause``. All values are 1 if all errors are 0.
    """
    _, group, counts = np.unique(uncertainty, return_inverse=True, return_counts=True)
    ascending = np.repeat(np.bincount(group, error) / counts, counts)
    remaining = (np.cumsum(ascending) / np.arange(1, error.size + 1))[::-1]
    return remaining / remaining[0] if remaining[0] > 0 else np.ones_like(remaining)


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two (N,) arrays; equal values have their mean rank. 0 if an array is constant."""
    x, y = _ranks(first), _ranks(second)
    x, y = x - x.mean(), y - y.mean()
    spread = np.sqrt(np.sum(x**2) * np.sum(y**2))
    return float(np.sum(x * y) / spread) if spread > 0 else 0.0


def sparsification_area(error: np.ndarray, uncertainty: np.ndarray) -> float:
    """Area under the curve of ``sparsification``: the mean of its values."""
    return float(np.mean(sparsification(error, uncertainty)))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group]
