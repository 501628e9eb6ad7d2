"""Errors with confidence intervals, and changes from the best classical model, by set and in total."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from .evaluate import Key
from .metrics import Metric

DRAWS = 1000
INTERVAL = (2.5, 97.5)  # percentiles
ERRORS = ("rmse", "mae")
ALL = "all protocols"


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; low and high are NaN if all draws are equal, for example with a single frame."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """The results of one model with one protocol, on one set or in total.

    Attributes:
        set: Name of the set; for example "3 sets" in total.
        protocol: Name of the protocol.
        model: Name of the model.
        frames: Number of scored frames.
        errors: RMSE and MAE of all scored pixels [m], by name; in total, the means over the sets.
        changes: Change of RMSE and MAE from the best classical model on each set (-0.31 = 31 % less); in total, from
            the geometric mean of the ratios; empty if no classical model was scored.
        best: Name of the best classical model for each error; empty in total.
    """

    set: str
    protocol: str
    model: str
    frames: int
    errors: dict[str, Estimate]
    changes: dict[str, Estimate]
    best: dict[str, str]


def summarise(
    metrics: dict[Key, Metric], baselines: tuple[str, ...], seed: int = 0
) -> tuple[list[Comparison], list[Comparison]]:
    """Compare models by set and in total.

    Intervals are percentiles of a bootstrap over the frames of each set (Efron & Tibshirani, An Introduction to the
    Bootstrap, 1993, section 13.3). All models share the draws, so that changes are computed from pairs. The best
    classical model is the one with the smallest error on all frames of the set, separately for RMSE and MAE.

    Args:
        metrics: Metrics by set, protocol and model.
        baselines: Names of the classical models.
        seed: Random seed of the bootstrap.

    Returns:
        Comparisons by set; and totals by protocol and over all protocols, for each model over the sets on which it was
        scored.
    """
    draws = _draws(metrics, baselines, seed)
    protocols = dict.fromkeys(one.protocol for one in draws)
    groups: dict[tuple[str, str], list[_Draws]] = {}
    for protocol in (*protocols, ALL) if len(protocols) > 1 else protocols:
        for one in draws:
            if protocol in (one.protocol, ALL):
                groups.setdefault((protocol, one.model), []).append(one)
    totals = [_total(protocol, model, group) for (protocol, model), group in groups.items()]
    return [one.comparison() for one in draws], [one.comparison() for one in totals]


@dataclass(frozen=True)
class _Draws:
    """Bootstrap draws of one model.

    ``errors`` and ``ratios`` to the best classical model are (2, 1 + DRAWS): RMSE and MAE of all frames, then of each
    draw. ``ratios`` is None without a classical model.
    """

    set: str
    protocol: str
    model: str
    frames: int
    errors: np.ndarray
    ratios: np.ndarray | None
    best: dict[str, str]

    def comparison(self) -> Comparison:
        changes = {} if self.ratios is None else _estimates(self.ratios - 1)
        return Comparison(self.set, self.protocol, self.model, self.frames, _estimates(self.errors), changes, self.best)


def _draws(metrics: dict[Key, Metric], baselines: tuple[str, ...], seed: int) -> list[_Draws]:
    by_trials: dict[tuple[str, str], dict[str, Metric]] = {}
    for key, metric in metrics.items():
        by_trials.setdefault((key.set, key.protocol), {})[key.model] = metric
    draws = []
    for (name, protocol), models in by_trials.items():
        first = next(iter(models.values()))
        frames = first.frames
        weights = _weights(first.groups, zlib.crc32(f"{name} {protocol}".encode()), seed)
        errors = {model: metric.resampled(weights) for model, metric in models.items()}
        known = [model for model in models if model in baselines]
        best = {error: _smallest(errors, known, row) for row, error in enumerate(ERRORS)} if known else {}
        reference = np.stack([errors[model][row] for row, model in enumerate(best.values())]) if best else None
        for model in models:
            with np.errstate(divide="ignore", invalid="ignore"):  # a best model without any error has no ratio
                ratios = None if reference is None else errors[model] / reference
            draws.append(_Draws(name, protocol, model, frames, errors[model], ratios, best))
    return draws


def _smallest(errors: dict[str, np.ndarray], models: list[str], row: int) -> str:
    return min(models, key=lambda model: float(errors[model][row, 0]))


def _weights(groups: int, *seed: int) -> np.ndarray:
    """(1 + DRAWS, groups), how often each group of frames counts: once in the first row, at random in the others."""
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), DRAWS)
    return np.vstack([np.ones(groups, drawn.dtype), drawn])


def _total(protocol: str, model: str, group: list[_Draws]) -> _Draws:
    ratios = [one.ratios for one in group if one.ratios is not None]
    sets = len({one.set for one in group})
    return _Draws(
        set=f"{sets} set{'s' if sets > 1 else ''}",
        protocol=protocol,
        model=model,
        frames=sum(one.frames for one in group),
        errors=np.mean([one.errors for one in group], axis=0),
        ratios=np.exp(np.mean(np.log(ratios), axis=0)) if ratios else None,
        best={},
    )


def _estimates(draws: np.ndarray) -> dict[str, Estimate]:
    estimates = {}
    for error, (value, *drawn) in zip(ERRORS, draws, strict=True):
        low, high = np.percentile(drawn, INTERVAL) if np.ptp(drawn) > 0 else (np.nan, np.nan)
        estimates[error] = Estimate(float(value), float(low), float(high))
    return estimates
