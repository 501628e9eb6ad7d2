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
    mean = float(np.mean(error))
    if mean == 0:
        return 0.0
    return float(np.mean(_remaining(error, uncertainty) - _remaining(error, error)) / mean)


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two (N,) arrays; equal values have their mean rank. 0 if an array is constant."""
    x, y = _ranks(first), _ranks(second)
    x, y = x - x.mean(), y - y.mean()
    spread = np.sqrt(np.sum(x**2) * np.sum(y**2))
    return float(np.sum(x * y) / spread) if spread > 0 else 0.0


def _remaining(error: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """(N,), the mean error of the N, N - 1, ..., 1 pixels with the smallest uncertainty."""
    _, group, counts = np.unique(uncertainty, return_inverse=True, return_counts=True)
    ascending = np.repeat(np.bincount(group, error) / counts, counts)
    return (np.cumsum(ascending) / np.arange(1, error.size + 1))[::-1]


def _ranks(values: np.ndarray) -> np.ndarray:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group]
