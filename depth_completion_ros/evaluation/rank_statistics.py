"""How well an uncertainty ranks errors."""

from __future__ import annotations

import numpy as np


def ause(error: np.ndarray, uncertainty: np.ndarray) -> float:
    """Area under the sparsification error, without unit: 0 for an uncertainty that ranks as the errors do.

    Ilg et al., Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow (ECCV 2018), section 5.1: the mean
    error of the pixels that remain when those of the largest uncertainty are removed, less the same when those of the
    largest error are removed; over the removed share from 0 to 1, as a share of the mean error of all pixels.
    error: (N,), not negative. uncertainty: (N,), in any unit; equal ones are removed in random order, on average.
    """
    mean = float(np.mean(error))
    if mean == 0:
        return 0.0
    return float(np.mean(_remaining(error, uncertainty) - _remaining(error, error)) / mean)


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two (N,) arrays, equal values at their mean rank; 0 where one is constant."""
    x, y = _ranks(first), _ranks(second)
    x, y = x - x.mean(), y - y.mean()
    spread = np.sqrt(np.sum(x**2) * np.sum(y**2))
    return float(np.sum(x * y) / spread) if spread > 0 else 0.0


def _remaining(error: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """(N,): mean error of the N, N - 1, ..., 1 pixels of the smallest uncertainty."""
    _, group, counts = np.unique(uncertainty, return_inverse=True, return_counts=True)
    ascending = np.repeat(np.bincount(group, error) / counts, counts)
    return (np.cumsum(ascending) / np.arange(1, error.size + 1))[::-1]


def _ranks(values: np.ndarray) -> np.ndarray:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group]
