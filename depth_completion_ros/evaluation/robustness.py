"""How error and confidence change as the input gets worse: one curve for each degradation and model."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, fields
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .degradations import DEGRADATIONS, Degradation
from .evaluate import Evaluation, Key, evaluate
from .protocols import Trial, make_trial
from .rank_statistics import spearman
from .report import failure_lines, markdown_table
from .samples import SampleSet

CLEAN = "clean"
PROTOCOLS = (
    "blocks",
    "lidar-rings",
    "sparse5",
)  # a recording is scored with the first of these that it can be used with
FOLLOWED = 1.01  # ratio of the largest error to the smallest one from which sigma has something to follow
_WIDTH = 150  # of tables that are not printed to a terminal


@dataclass(frozen=True)
class Point:
    """A curve at one level, as means over recordings.

    Errors and sigma are those of the pixels that the protocol hides, the same at all levels: geometric means of the
    ratios to the clean input. Confidence and within are shares of these pixels, and the last two of the measured ones.
    """

    level: str
    rmse: float
    mae: float
    sigma: float
    confidence: float
    within: float
    measured_confidence: float
    measured_within: float


@dataclass(frozen=True)
class Curve:
    """The results of one model with one degradation.

    Attributes:
        degradation: Name of the degradation.
        model: Name of the model.
        points: The clean input, then all levels from the mildest to the hardest.
    """

    degradation: str
    model: str
    points: list[Point]

    @property
    def follows(self) -> float:
        """Rank correlation of RMSE and sigma over the levels; NaN if RMSE changes by less than 1 %."""
        errors, sigmas = (np.array([getattr(point, name) for point in self.points]) for name in ("rmse", "sigma"))
        if not errors.max() > FOLLOWED * errors.min():
            return float("nan")
        return spearman(errors, sigmas)

    @property
    def excess(self) -> float:
        """By how much more than on clean input confidence exceeds what is within the tolerance, at the hardest level.

        The larger of the values for hidden and for measured pixels.
        """
        first, last = self.points[0], self.points[-1]
        hidden = (last.confidence - last.within) - (first.confidence - first.within)
        measured = (last.measured_confidence - last.measured_within) - (
            first.measured_confidence - first.measured_within
        )
        return max(hidden, measured) if np.isfinite(measured) else hidden


def names_of(degradation: Degradation) -> list[str]:
    """The names of the levels of a degradation."""
    return [f"{degradation.name} {level:g}" for level in degradation.levels]


def degraded_trial(
    protocols: tuple[str, ...], name: str, samples: SampleSet, index: int, seed: int = 0
) -> Trial | None:
    """The trial of a sample with a degraded input.

    The truth contains the pixels that the protocol hides, and the depth of the clean input where the degraded input
    has a measurement.

    Args:
        protocols: The first of these that can be applied to the sample is used.
        name: "clean" or a name and level, "noisy 25".
        samples: The set.
        index: Index of the sample.
        seed: Random seed.
    """
    trial = next((one for protocol in protocols if (one := make_trial(protocol, samples, index, seed))), None)
    if trial is None:
        return None
    frame = trial.frame
    for degradation in DEGRADATIONS:
        for level, known in zip(degradation.levels, names_of(degradation), strict=True):
            if known == name:
                frame = degradation.applied(frame, level, seed, index)
    clean = np.where(np.isfinite(frame.depth), trial.frame.depth, np.float32(np.nan))
    return Trial(frame, np.where(np.isfinite(trial.truth), trial.truth, clean))


def robustness(
    sets: list[SampleSet],
    models: list[str],
    degradations: tuple[Degradation, ...] = DEGRADATIONS,
    protocols: tuple[str, ...] = PROTOCOLS,
    frames: int = 3,
    seed: int = 0,
) -> Evaluation:
    """Evaluate models on clean and on degraded input; the protocols of the evaluation are the names of the levels.

    Raises:
        ConfigurationError: As in ``evaluate``.
    """
    levels = [CLEAN, *(name for degradation in degradations for name in names_of(degradation))]
    return evaluate(sets, levels, models, frames, seed, make=partial(degraded_trial, protocols))


def curves_of(evaluation: Evaluation) -> list[Curve]:
    """One curve for each degradation and model, over the recordings on which all its levels were scored."""
    scores = {key: metric.compute() for key, metric in evaluation.metrics.items()}
    found = []
    for degradation in DEGRADATIONS:
        levels = [CLEAN, *names_of(degradation)]
        for model in evaluation.engines:
            sets = dict.fromkeys(key.set for key in scores if key.model == model)
            whole = [name for name in sets if _is_whole(evaluation, name, model, levels)]
            if whole:
                points = [_point(level, [scores[Key(name, level, model)] for name in whole],
                                 [scores[Key(name, CLEAN, model)] for name in whole]) for level in levels]  # fmt: skip
                found.append(Curve(degradation.name, model, points))
    return found


def _is_whole(evaluation: Evaluation, name: str, model: str, levels: list[str]) -> bool:
    """Whether all levels of a set were scored on the same number of frames, which is not so after an interruption."""
    metrics = [evaluation.metrics.get(Key(name, level, model)) for level in levels]
    return None not in metrics and len({metric.frames for metric in metrics if metric}) == 1


def _point(level: str, scores: list[dict[str, dict[str, float]]], clean: list[dict[str, dict[str, float]]]) -> Point:
    def ratio(figure: str) -> float:
        ratios = [one["filled"][figure] / first["filled"][figure] for one, first in zip(scores, clean, strict=True)]
        return float(np.exp(np.mean(np.log(ratios))))

    def share(stratum: str, figure: str) -> float:
        values = [one[stratum][figure] for one in scores if one[stratum]["pixels"]]
        return float(np.mean(values)) if values else float("nan")

    return Point(
        level.rpartition(" ")[2],
        *(ratio(figure) for figure in ("rmse", "mae", "sigma")),
        *(share(stratum, figure) for stratum in ("filled", "measured") for figure in ("confidence", "within")),
    )


def print_curves(evaluation: Evaluation, curves: list[Curve]) -> None:
    """Print one table with the hardest level of each curve, then all failures."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    console.print(
        "At the hardest level of each degradation: RMSE, MAE and sigma relative to the clean input; share of pixels "
        "within max(5 cm, 2 %) and mean confidence, of hidden and of measured (m.) pixels; rank correlation of RMSE "
        "and sigma over all levels (1: sigma rises with every rise of the error)",
        soft_wrap=True,
    )
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    headings = ("RMSE", "MAE", "sigma", "within", "conf.", "m. within", "m. conf.", "correlation")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, group in groupby([*clean_of(curves), *curves], key=lambda one: one.degradation):
        rows = list(group)
        table.add_row(f"{name} {rows[0].points[-1].level}" if rows[0].points[1:] else CLEAN, style="bold")
        for one in rows:
            table.add_row(one.model, *cells_of(one))
        table.add_section()
    console.print(table)
    for line in failure_lines(evaluation):
        console.print(line, markup=False, soft_wrap=True)


def clean_of(curves: list[Curve]) -> list[Curve]:
    """Curves of the clean input alone, one for each model."""
    first = {one.model: one for one in reversed(curves)}
    models = dict.fromkeys(one.model for one in curves)
    return [Curve(CLEAN, model, first[model].points[:1]) for model in models]


def cells_of(curve: Curve) -> list[str]:
    """The figures of the hardest level, in the order of the printed table."""
    last = curve.points[-1]
    ratios = [f"{value:.2f}" for value in (last.rmse, last.mae, last.sigma)]
    shares = (last.within, last.confidence, last.measured_within, last.measured_confidence)
    return [*ratios, *("-" if np.isnan(value) else f"{value:.2f}" for value in shares), correlation_text(curve)]


def correlation_text(curve: Curve) -> str:
    """The rank correlation of RMSE and sigma; "-" if the error does not change."""
    return "-" if np.isnan(curve.follows) else f"{curve.follows:+.1f}".replace("-", "\u2212")


def write_curves(evaluation: Evaluation, curves: list[Curve], out: Path) -> list[Path]:
    """Write robustness.csv (one row for each level and model), robustness.json (also by recording) and robustness.md.

    Returns:
        The files.
    """
    out.mkdir(parents=True, exist_ok=True)
    names = [field.name for field in fields(Point)]
    rows = [
        {"degradation": one.degradation, "model": one.model, **{name: getattr(point, name) for name in names}}
        for one in curves
        for point in one.points
    ]
    with (out / "robustness.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["degradation", "model", *names])
        writer.writeheader()
        writer.writerows(rows)
    content = {
        "complete": evaluation.complete,
        "degradations": [
            {"name": one.name, "part": one.part, "levels": one.levels, "unit": one.unit, "meaning": one.meaning}
            for one in DEGRADATIONS
        ],
        "engines": evaluation.engines,
        "failures": failure_lines(evaluation),
        "curves": [
            {
                "degradation": one.degradation,
                "model": one.model,
                "follows": _number(one.follows),
                "excess": _number(one.excess),
                "points": [{name: _number(getattr(point, name)) for name in names} for point in one.points],
            }
            for one in curves
        ],
        "recordings": [
            {"set": key.set, "level": key.protocol, "model": key.model, "frames": metric.frames}
            | {f"{stratum}_{name}": _number(value) for stratum in ("filled", "measured")
               for name, value in metric.compute()[stratum].items()}
            for key, metric in evaluation.metrics.items()
        ],
    }  # fmt: skip
    (out / "robustness.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    (out / "robustness.md").write_text(markdown(curves), encoding="utf-8")
    return [out / "robustness.csv", out / "robustness.json", out / "robustness.md"]


def markdown(curves: list[Curve]) -> str:
    """A table of the hardest level: RMSE and sigma relative to clean input, within and confidence, by model."""
    models = list(dict.fromkeys(one.model for one in curves))
    rows = []
    for name, group in groupby([*clean_of(curves), *curves], key=lambda one: one.degradation):
        by_model = {one.model: one for one in group}
        points = next(iter(by_model.values())).points
        heading = f"`{name}` {points[-1].level}" if points[1:] else CLEAN
        rows.append([heading, *(_markdown_cell(by_model.get(model)) for model in models)])
    return "\n".join([*markdown_table(["degradation", *models], rows), ""])


def _markdown_cell(curve: Curve | None) -> str:
    if curve is None:
        return "-"
    last = curve.points[-1]
    return f"{last.rmse:.2f} / {last.sigma:.2f}, {100 * last.within:.0f} / {100 * last.confidence:.0f}"


def _number(value: Any) -> Any:
    """None for NaN, because JSON does not support it."""
    return None if isinstance(value, float) and not np.isfinite(value) else value
