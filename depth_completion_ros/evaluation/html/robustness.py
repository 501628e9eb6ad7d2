"""The HTML page of ``depth-completion robustness``: curves and a table for each degradation."""

from __future__ import annotations

from itertools import groupby
from math import isnan
from pathlib import Path
from typing import Any

from ..degradations import DEGRADATIONS, Degradation
from ..evaluate import Evaluation
from ..report import failure_lines
from ..robustness import CLEAN, Curve, Point, correlation_text
from ..samples import SampleSet
from . import charts, tables
from .charts import MOST_SERIES, Rows, Series
from .page import render, source_row, versions
from .section import Chart
from .tables import HIGH, MISSING, Cell, Column, Table

_COLUMNS = [
    Column("Method"),
    Column("Level", "clean, then from the mildest to the hardest level"),
    Column("RMSE", "of hidden pixels, relative to the clean input"),
    Column("MAE", "of hidden pixels, relative to the clean input"),
    Column("Sigma", "root mean square over hidden pixels, relative to the clean input"),
    Column("Within [%]", "hidden pixels within max(5 cm, 2 %)", HIGH),
    Column("Confidence [%]", "mean of hidden pixels, which should equal the share within the tolerance"),
    Column("Measured, within [%]", "measured pixels within max(5 cm, 2 %) of the clean measurement", HIGH),
    Column("Measured, confidence [%]", "mean of measured pixels"),
    Column(
        "Correlation", "rank correlation of RMSE and sigma over all levels; 1: sigma rises with each rise of the error"
    ),
]


def write_report(
    evaluation: Evaluation, curves: list[Curve], sets: list[SampleSet], seed: int, command: str, files: list[str],
    path: Path,
) -> None:  # fmt: skip
    """Write the page as one HTML file that needs no other file and no network.

    Args:
        evaluation: The evaluation.
        curves: Its curves.
        sets: The sets.
        seed: Random seed.
        command: The command that was run.
        files: Names of the files with all figures, relative to the page.
        path: The HTML file.

    Raises:
        ConfigurationError: If a library is missing.
        OSError: If the file cannot be written.
    """
    models = list(dict.fromkeys(one.model for one in curves))
    series = [Series(model, number) for number, model in enumerate(models[:MOST_SERIES], 1)]
    known = {one.name: one for one in DEGRADATIONS}
    sections = [
        _section(known[name], list(group), series) for name, group in groupby(curves, key=lambda one: one.degradation)
    ]
    warnings = [f"{name}: {note}." for name, note in evaluation.notes.items() if note] + failure_lines(evaluation)
    if len(models) > len(series):
        warnings.append(f"Charts show the first {len(series)} methods of {len(models)}; tables and files contain all.")
    context = {
        "summary": _summary(curves),
        "sections": sections,
        "series": series,
        "warnings": warnings,
        "files": files,
        "data": tables.sources_table([_source(samples, evaluation) for samples in sets]),
        "versions": versions(evaluation.engines, seed),
        "command": command,
    }
    render("robustness.html", context, path)


def _source(samples: SampleSet, evaluation: Evaluation) -> dict[str, str | int]:
    height, width = samples[0].frame.rgb.shape[:2]
    scored = [metric.frames for key, metric in evaluation.metrics.items() if key[:2] == (samples.name, CLEAN)]
    return source_row(samples, (width, height), max(scored, default=0))


def _summary(curves: list[Curve]) -> Table:
    """The hardest level of each degradation and model."""
    columns = [Column("Method"), Column("Degradation"), *_COLUMNS[2:]]
    columns.insert(-1, Column("Excess [%]", "by how much more than on clean input confidence exceeds the share within"))
    rows = []
    for one in curves:
        cells = _cells(one, one.points[-1])
        head = [Cell(one.model, one.model), Cell(f"{one.degradation} {one.points[-1].level}", one.degradation)]
        rows.append([*head, *cells[2:-1], _percent_cell(one.excess), cells[-1]])
    return Table.of("The hardest level of each degradation", columns, rows, group=1)


def _section(degradation: Degradation, curves: list[Curve], series: list[Series]) -> dict[str, Any]:
    drawn = [one for one in curves if one.model in {each.name for each in series}]
    levels = [point.level for point in curves[0].points]
    part = "colour image" if degradation.part == "rgb" else "depth"
    rows = [_cells(one, point) for one in curves for point in one.points]
    return {
        "name": degradation.name,
        "anchor": degradation.name.replace(" ", "-"),
        "lead": f"{part}: {degradation.meaning}",
        "charts": [
            Chart(
                "Error and sigma",
                _chart(drawn, series, levels, degradation.unit, ("rmse", "sigma"), "relative to the clean input", True),
                "Solid: RMSE of hidden pixels; dashed: sigma. Sigma should rise as the error does.",
            ),
            Chart(
                "Confidence",
                _chart(drawn, series, levels, degradation.unit, ("within", "confidence"), "share of pixels", False),
                "Solid: hidden pixels within max(5 cm, 2 %); dashed: mean confidence. Both should be equal.",
            ),
        ],
        "table": Table.of(f"All levels: {degradation.name} [{degradation.unit}]", _COLUMNS, rows, group=1),
    }  # fmt: skip


def _chart(
    curves: list[Curve], series: list[Series], levels: list[str], unit: str, figures: tuple[str, str], y: str,
    ratio: bool,
) -> str:  # fmt: skip
    rows: Rows = [
        {
            "model": one.model,
            "level": point.level,
            "value": getattr(point, figure),
            "dashed": figure == figures[1],
            "text": f"{one.model}, {point.level}: {figure} {getattr(point, figure):.3f}",
        }
        for one in curves
        for point in one.points
        for figure in figures
    ]
    return charts.by_level(series, rows, levels, unit, y, ratio)


def _cells(curve: Curve, point: Point) -> list[Cell]:
    ratios = [Cell(f"{value:.2f}", value) for value in (point.rmse, point.mae, point.sigma)]
    shares = (point.within, point.confidence, point.measured_within, point.measured_confidence)
    return [
        Cell(curve.model, curve.model),
        Cell(point.level, point.level),
        *ratios,
        *map(_percent_cell, shares),
        Cell(correlation_text(curve), curve.follows),
    ]


def _percent_cell(share: float) -> Cell:
    return Cell(MISSING if isnan(share) else f"{share * 100:.1f}", share)
