"""One section of the HTML report: the results on one set with one protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from ...preview import Range
from ..details import HOLE_SIDES_PX, REMOVED, Details, FrameDetails
from ..evaluate import Key
from ..report import Scores
from ..strata import BANDS
from ..summary import Comparison
from . import charts
from .charts import Rows, Series
from .tables import (
    Table,
    Unit,
    calibration_table,
    errors_table,
    frames_table,
    percent,
    ranking_table,
    significant,
    strata_table,
)

FEWEST = 100  # classes with fewer scored pixels are not drawn
_DISTANCES = ("0", "1", "2", "4", "8", "16", "32", "64", "more")
_HOLES = (*(f"{side}" for side in HOLE_SIDES_PX), "more")


@dataclass(frozen=True)
class Chart:
    """A chart: SVG, its title, and what to know to read it."""

    title: str
    svg: str
    note: str


@dataclass(frozen=True)
class Layer:
    """A picture that can be shown over the colour image; scale: the range of its colours, if it is its own."""

    name: str
    label: str
    data: bytes
    scale: str


@dataclass(frozen=True)
class Picture:
    """The pictures of one frame."""

    title: str
    note: str
    rgb: bytes
    size: tuple[int, int]
    layers: list[Layer]


@dataclass(frozen=True)
class Section:
    """What the page shows of one set and protocol.

    Attributes:
        name: The set and protocol.
        anchor: Anchor in the page.
        lead: The best model in words.
        tables: Errors and confidence of all models.
        pictures: Frames of the best model.
        charts: All charts.
        figures: The numbers behind the charts.
        ticks: Errors at the ends of the colour scale and between them.
    """

    name: str
    anchor: str
    lead: str
    tables: list[Table]
    pictures: list[Picture]
    charts: list[Chart]
    figures: list[Table]
    ticks: list[str]


def make_section(
    *,
    name: str,
    comparisons: list[Comparison],
    scores: Scores,
    distances: dict[str, tuple[np.ndarray, np.ndarray]],
    details: dict[str, Details],
    latencies: dict[str, list[float]],
    series: list[Series],
    pictured: list[str],
    pictures: int,
    limits: Range,
) -> Section:
    """Make a section.

    Args:
        name: The set and protocol.
        comparisons: The comparisons of all models.
        scores: The results of each metric.
        distances: Pixels and MAE by class of distance from a measurement, by model.
        details: The details, by model.
        latencies: Durations [ms] of the frames, by model.
        series: The models in the charts.
        pictured: The models in the pictures; the first one determines which frames are shown.
        pictures: Number of frames with pictures.
        limits: Errors [m] at the ends of the colour scale.
    """
    one = comparisons[0]
    unit = Unit.of([comparison.errors["rmse"].value for comparison in comparisons])
    strata = {series_.name: scores[Key(one.set, one.protocol, series_.name)] for series_ in series}
    best = min(comparisons, key=lambda comparison: comparison.errors["rmse"].value)
    frames = f"{one.frames} frame{'s' if one.frames > 1 else ''}"
    return Section(
        name=name,
        anchor=re.sub(r"\W+", "-", name.lower()).strip("-"),
        lead=f"{frames}; smallest RMSE: {best.model}, {unit.text(best.errors['rmse'].value)}",
        tables=[
            errors_table(comparisons, scores, unit),
            calibration_table(comparisons, scores),
            ranking_table(comparisons, scores),
        ],
        pictures=_pictures(details, pictured, pictures, unit),
        charts=_charts(series, strata, distances, details, latencies, unit),
        figures=[strata_table(list(strata), list(strata.values()), unit), frames_table(details, unit, one.frames)],
        ticks=[_length(limits[0] * 10**step) for step in range(4)],
    )


def _pictures(details: dict[str, Details], pictured: list[str], count: int, unit: Unit) -> list[Picture]:
    """The worst, median and best frame of the first of the pictured models, or only the worst; fewer if there are."""
    frames = details[pictured[0]].frames
    order = sorted(range(len(frames)), key=lambda position: -frames[position].rmse)
    places = {"Worst frame": 0, "Median frame": len(order) // 2, "Best frame": len(order) - 1}
    if len(order) < 3:
        del places["Median frame"]
    if len(order) == 1:
        places = {"The only frame": 0}
    chosen = list(places.items())[:count]
    return [
        _picture(title, {model: details[model].frames[order[place]] for model in pictured}, unit)
        for title, place in chosen
    ]


def _picture(title: str, frames: dict[str, FrameDetails], unit: Unit) -> Picture:
    first = next(iter(frames.values()))
    near, far = first.depth_range
    scale = f"{near:.3g} to {far:.3g} m"
    layers = [Layer("error", f"Error, {model}", frame.pictures["error"], "") for model, frame in frames.items()]
    layers += [Layer("sigma", f"Sigma, {model}", frame.pictures["sigma"], "") for model, frame in frames.items()]
    layers += [Layer("depth", "Input depth", first.pictures["input"], scale)]
    layers += [Layer("depth", f"Depth, {model}", frame.pictures["depth"], scale) for model, frame in frames.items()]
    errors = ", ".join(f"{model} {unit.text(frame.rmse)}" for model, frame in frames.items())
    note = f"Frame {first.index}. RMSE: {errors}."
    width, height = first.size
    return Picture(title, note, first.pictures["rgb"], (width, height), layers)


def _charts(
    series: list[Series],
    strata: dict[str, dict[str, dict[str, float]]],
    distances: dict[str, tuple[np.ndarray, np.ndarray]],
    details: dict[str, Details],
    latencies: dict[str, list[float]],
    unit: Unit,
) -> list[Chart]:
    by_distance = {one.name: distances[one.name] for one in series}
    by_hole = {one.name: _hole_errors(details[one.name]) for one in series}
    drawn = [
        _by_class(
            "Distance to a measurement",
            series,
            by_distance,
            _DISTANCES,
            "up to … px from the nearest measurement",
            unit,
            {"0": "0: measured pixels, scored where the truth differs from the measurement."},
        ),
        _by_class(
            "Range",
            series,
            {name: _of_strata(figures, BANDS) for name, figures in strata.items()},
            tuple(band.removesuffix(" m").replace("over ", "> ") for band in BANDS),
            "true depth [m]",
            unit,
            {},
        ),
        _by_class(
            "Size of the hole",
            series,
            by_hole,
            _HOLES,
            "side of the hole, up to … px",
            unit,
            {"": "Side of a square of the same area. The gaps between scattered measurements are one large hole."},
        ),
        _by_class(
            "At depth edges",
            series,
            {name: _of_strata(figures, ("edges", "flat")) for name, figures in strata.items()},
            ("at edges", "elsewhere"),
            "",
            unit,
            {"": "Edges: depth differences of more than 5 % within 5 x 5 pixels."},
        ),
        _reliability(series, details),
        _sparsification(series, strata, details),
        _latency(series, latencies),
    ]
    return [chart for chart in drawn if chart is not None]


def _by_class(
    title: str,
    series: list[Series],
    figures: dict[str, tuple[np.ndarray, np.ndarray]],
    classes: tuple[str, ...],
    axis: str,
    unit: Unit,
    note: dict[str, str],
) -> Chart | None:
    """A chart of MAE by class, or None if there are enough pixels in one class at most.

    Args:
        title: Title of the chart.
        series: The models.
        figures: Pixels and MAE [m] by model.
        classes: Names of the classes.
        axis: Title of their axis.
        unit: Unit of the errors.
        note: What to know to read it, by the class for which it matters, "" = always.
    """
    rows = [
        {
            "model": name,
            "class": label,
            "error": float(error * unit.factor),
            "text": f"{name}, {label}: {unit.text(error)} over {int(count):,} px",
        }
        for name, (pixels, errors) in figures.items()
        for label, count, error in zip(classes, pixels, errors, strict=True)
        if count >= FEWEST and error > 0
    ]
    used = [label for label in classes if any(row["class"] == label for row in rows)]
    if len(used) < 2:
        return None
    notes = " ".join(text for label, text in note.items() if not label or label in used)
    return Chart(title, charts.errors_by_class(series, rows, used, axis, unit.name), notes)


def _of_strata(figures: dict[str, dict[str, float]], names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.array([figures[name][figure] for name in names]) for figure in ("pixels", "mae"))  # type: ignore[return-value]


def _hole_errors(details: Details) -> tuple[np.ndarray, np.ndarray]:
    pixels, absolute = details.holes
    return pixels, absolute / np.maximum(pixels, 1)


def _reliability(series: list[Series], details: dict[str, Details]) -> Chart | None:
    rows: Rows = []
    for one in series:
        for count, confidence, within in details[one.name].reliability.T:
            if count >= FEWEST:
                shares = {"confidence": float(confidence / count), "within": float(within / count)}
                text = (
                    f"{one.name}: confidence {percent(shares['confidence'])} %, within {percent(shares['within'])} %, "
                    f"{int(count):,} px"
                )
                rows.append({"model": one.name, **shares, "text": text})
    if not rows:
        return None
    note = "On the dashed line, confidence is exactly right; below it, it promises too much."
    return Chart("Reliability of the confidence", charts.reliability(series, rows), note)


def _sparsification(
    series: list[Series], strata: dict[str, dict[str, dict[str, float]]], details: dict[str, Details]
) -> Chart:
    def rows(name: str, order: str, text: str) -> Rows:
        curve = details[name].curves()["sparsification"][order]
        return [
            {"model": name, "removed": float(removed), "remaining": remaining, "text": text}
            for removed, remaining in zip(REMOVED, curve, strict=True)
        ]

    first = series[0].name
    lines: Rows = []
    for one in series:
        figures = strata[one.name]["all"]
        text = f"{one.name}: AUSE {figures['ause']:.2f}, by distance {figures['ause_distance']:.2f}"
        lines += rows(one.name, "sigma", text)
    distance = rows(first, "distance", f"{first}, ordered by the distance to the nearest measurement")
    perfect = rows(first, "error", f"{first}, ordered by its true error")
    note = (
        "Pixels with the largest sigma are removed first. Dashed: by distance to the nearest measurement; dotted: by "
        f"the true error; both for {first}. A useful sigma lies between them."
    )
    return Chart("Sparsification", charts.sparsification(series, lines, distance, perfect), note)


def _latency(series: list[Series], latencies: dict[str, list[float]]) -> Chart | None:
    times = {one.name: latencies[one.name] for one in series if latencies[one.name]}
    if not times:
        return None
    low, high = min(map(min, times.values())), max(map(max, times.values()))
    edges = np.geomspace(low * 0.9, high * 1.1, 41)
    rows = []
    for name, values in times.items():
        counts, _ = np.histogram(values, edges)
        for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True):
            if count:
                text = f"{name}: {count} x {significant(float(left))} to {significant(float(right))} ms"
                rows.append({"model": name, "from": float(left), "to": float(right), "count": int(count), "text": text})
    drawn = [one for one in series if one.name in times]
    medians = "; ".join(
        f"{name} {significant(float(np.median(values)))} / {significant(float(np.percentile(values, 95)))}"
        for name, values in times.items()
    )
    note = (
        f"Median / 95th percentile [ms]: {medians}. All methods ran in one process, one after the other, and the first "
        "frame is left out. depth-completion bench engines measures speed without mutual influence."
    )
    return Chart("Time of a frame", charts.latencies(drawn, rows, (float(edges[0]), float(edges[-1]))), note)


def _length(metres: float) -> str:
    return (
        f"{metres:.3g} m" if metres >= 1 else f"{metres * 100:.3g} cm" if metres >= 0.01 else f"{metres * 1e3:.3g} mm"
    )
