"""Fit the factor of a network's sigma to frames that it was not trained on.

Errors are larger in new places than where a network was trained, so its sigma is too small there. One factor, which
costs no time when the network runs, makes intervals contain the share of errors that they promise (temperature scaling:
Guo et al., On Calibration of Modern Neural Networks, ICML 2017; for regression: Kuleshov et al., ICML 2018).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch

from ..networks.completion_network import CompletionNetwork
from .validation import Case, predict

LEVELS = (0.5, 0.8, 0.9, 0.95)
_FACTORS = np.geomspace(0.5, 4, 301)
_PIXELS = 4000  # of each case, which is enough for its quantiles

Ratios = dict[tuple[str, str], np.ndarray]


def error_ratios(network: CompletionNetwork, cases: Iterable[Case], device: torch.device) -> Ratios:
    """Return absolute errors divided by sigma, ascending, by the group and protocol of the cases."""
    ratios: dict[tuple[str, str], list[np.ndarray]] = {}
    for case in cases:
        depth, sigma = predict(network, case, device)
        scored = np.isfinite(case.truth)
        found = np.sort(np.abs(depth - case.truth)[scored] / sigma[scored])
        if found.size:
            ratios.setdefault((case.group, case.protocol), []).append(found[:: max(1, found.size // _PIXELS)])
    return {key: np.sort(np.concatenate(found)) for key, found in ratios.items()}


def coverage(ratios: Ratios, factor: float = 1.0) -> dict[str, np.ndarray]:
    """Return the share of errors within the intervals of ``LEVELS`` by protocol; each group has the same weight.

    The interval of level p reaches -ln(1-p)·sigma/√2 to each side, for a Laplace distribution of errors.

    Args:
        ratios: See ``error_ratios``.
        factor: Factor of sigma.
    """
    limits = [-math.log(1 - level) / math.sqrt(2) * factor for level in LEVELS]
    shares: dict[str, list[np.ndarray]] = {}
    for (_, protocol), found in ratios.items():
        shares.setdefault(protocol, []).append(np.searchsorted(found, limits, side="right") / found.size)
    return {protocol: np.mean(rows, axis=0) for protocol, rows in shares.items()}


def fit_factor(ratios: Ratios) -> float:
    """Return the factor of sigma with the smallest mean squared difference between ``coverage`` and ``LEVELS``.

    A protocol has the weight of the number of its groups.
    """
    groups = Counter(protocol for _, protocol in ratios)

    def difference(factor: float) -> float:
        squares = {protocol: np.square(shares - LEVELS).mean() for protocol, shares in coverage(ratios, factor).items()}
        return float(sum(groups[protocol] * square for protocol, square in squares.items()))

    return round(float(min(_FACTORS, key=difference)), 3)
