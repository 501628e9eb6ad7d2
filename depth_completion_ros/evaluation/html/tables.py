"""The tables of the HTML report: columns with units and explanations, cells with a text and a value to sort by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite, isnan, nan
from typing import NamedTuple

import numpy as np

from ..details import Details
from ..evaluate import Key
from ..metrics import FIGURES
from ..report import Scores
from ..strata import STRATA
from ..summary import ERRORS, Comparison, Estimate

LOW, HIGH, NEITHER = "low", "high", ""
MISSING = "-"  # text of a cell without a value


class Cell(NamedTuple):
    """A cell: its text, the value to sort by, and whether it is the best of its column."""

    text: str
    value: float | str
    best: bool = False


class Column(NamedTuple):
    """A column: its title, explanation, and whether "low" or "high" values are the best ones."""

    title: str
    meaning: str = ""
    best: str = NEITHER


@dataclass(frozen=True)
class Table:
    """A sortable table. The first cell of each row is its heading."""

    caption: str
    columns: list[Column]
    rows: list[list[Cell]]

    @classmethod
    def of(cls, caption: str, columns: list[Column], rows: list[list[Cell]], group: int | None = None) -> Table:
        """Leave out columns without values, and mark the best cell of each of the others.

        Args:
            caption: What the table shows.
            columns: Its columns.
            rows: Its rows.
            group: Position of a column; the best cells are found among the rows with the same text there.
        """
        marked = [list(row) for row in rows]
        groups: dict[str, list[list[Cell]]] = {}
        for row in marked:
            groups.setdefault("" if group is None else row[group].text, []).append(row)
        for position, column in enumerate(columns):
            for members in groups.values() if column.best else ():
                _mark_best(members, position, min if column.best == LOW else max)
        kept = [position for position in range(len(columns)) if any(row[position].text != MISSING for row in rows)]
        return cls(caption, [columns[at] for at in kept], [[row[at] for at in kept] for row in marked])


def _mark_best(rows: list[list[Cell]], position: int, best: Callable[[list[float]], float]) -> None:
    numbers = [float(row[position].value) for row in rows if row[position].text != MISSING]
    if len(numbers) > 1:
        chosen = best(numbers)
        # What reads the same is equally good.
        texts = {row[position].text for row in rows if row[position].value == chosen}
        for row in rows:
            row[position] = row[position]._replace(best=row[position].text in texts)


class Unit(NamedTuple):
    """The unit of the errors of a section."""

    name: str
    factor: float

    @classmethod
    def of(cls, errors: list[float]) -> Unit:
        """Millimetres, or metres if all errors [m] are above 20 cm."""
        return cls("m", 1.0) if min(errors) > 0.2 else cls("mm", 1e3)

    def number(self, metres: float) -> str:
        return significant(metres * self.factor)

    def text(self, metres: float) -> str:
        return f"{self.number(metres)} {self.name}"


def significant(value: float) -> str:
    """Three significant digits, without an exponent."""
    if isnan(value):
        return MISSING
    if value == 0:
        return "0"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:.{min(digits, 4)}f}"


def percent(value: float) -> str:
    return MISSING if isnan(value) else f"{value * 100:.1f}"


def change(estimate: Estimate | None) -> str:
    """A change in percent with its interval."""
    if estimate is None:
        return MISSING
    value = signed(estimate.value)
    return value if isnan(estimate.low) else f"{value} [{signed(estimate.low)}, {signed(estimate.high)}]"


def signed(share: float) -> str:
    """A share in whole percent with its sign; the minus is as wide as the plus."""
    if not isfinite(share):
        return MISSING
    return f"{share * 100:+.0f}".replace("-", "\u2212")


def totals_table(totals: list[Comparison], milliseconds: dict[str, float]) -> Table:
    """Of all models over all sets, one row for each protocol.

    Args:
        totals: In the order of the rows.
        milliseconds: Median time of a frame by model; NaN = not known.
    """
    unit = Unit.of([one.errors["rmse"].value for one in totals])
    against = "from the best classical method of each recording, with 95 % interval; geometric mean"
    columns = [
        Column("Method"),
        Column("Protocol"),
        Column("Recordings"),
        Column("Frames"),
        Column(f"RMSE [{unit.name}]", "mean over recordings", LOW),
        Column(f"MAE [{unit.name}]", "mean over recordings", LOW),
        Column("RMSE change [%]", against, LOW),
        Column("MAE change [%]", against, LOW),
        Column("Time [ms]", "median time of a frame, over all protocols", LOW),
    ]
    rows = []
    for one in totals:
        time = milliseconds[one.model]
        rows.append(
            [
                Cell(one.model, one.model),
                Cell(one.protocol, one.protocol),
                _count(int(one.set.split()[0])),
                _count(one.frames),
                *(Cell(unit.number(one.errors[error].value), one.errors[error].value) for error in ERRORS),
                *(_change_cell(one, error) for error in ERRORS),
                Cell(significant(time), time),
            ]
        )
    return Table.of("All methods over all recordings", columns, rows, group=1)


def errors_table(comparisons: list[Comparison], scores: Scores, unit: Unit) -> Table:
    """Errors of all models on one set with one protocol, in total and by part of the image."""
    columns = [
        Column("Method"),
        Column(f"RMSE [{unit.name}]", f"{FIGURES['rmse'][:-4]}, with 95 % interval", LOW),
        Column(f"MAE [{unit.name}]", f"{FIGURES['mae'][:-4]}, with 95 % interval", LOW),
        Column("RMSE change [%]", "from the best classical method", LOW),
        Column("MAE change [%]", "from the best classical method", LOW),
        *(Column(f"MAE {part} [{unit.name}]", meaning, LOW) for part, meaning in _PARTS.items()),
        Column("δ < 1.10 [%]", FIGURES["delta110"], HIGH),
    ]
    rows = []
    for one in comparisons:
        strata = scores[Key(one.set, one.protocol, one.model)]
        parts = [strata[part]["mae"] if strata[part]["pixels"] else nan for part in _PARTS]
        delta = strata["all"]["delta110"]
        rows.append(
            [
                Cell(one.model, one.model),
                *(Cell(_with_interval(one.errors[error], unit), one.errors[error].value) for error in ERRORS),
                *(_change_cell(one, error) for error in ERRORS),
                *(Cell(unit.number(value), value) for value in parts),
                Cell(percent(delta), delta),
            ]
        )
    return Table.of("Errors", columns, rows)


def calibration_table(comparisons: list[Comparison], scores: Scores) -> Table:
    """How far sigma and confidence keep what they promise."""
    columns = {
        "within": ("Within max(5 cm, 2 %) [%]", HIGH),
        "confidence": ("Confidence [%]", NEITHER),
        "ece": ("ECE [%]", LOW),
        "coverage50": ("Inside the 50 % interval [%]", NEITHER),
        "coverage80": ("80 % interval [%]", NEITHER),
        "coverage": ("90 % interval [%]", NEITHER),
        "coverage95": ("95 % interval [%]", NEITHER),
        "nll": ("NLL of sigma", LOW),
        "nll_distance": ("NLL of distance", NEITHER),
    }
    logarithms = ("nll", "nll_distance")
    return _figures_table("Calibration of confidence and sigma", columns, comparisons, scores, logarithms)


def ranking_table(comparisons: list[Comparison], scores: Scores) -> Table:
    """How well sigma ranks errors, beside the distance to the nearest measurement."""
    columns = {
        "ause": ("AUSE of sigma", LOW),
        "ause_distance": ("AUSE of distance", NEITHER),
        "aurg": ("AURG of sigma", HIGH),
        "aurg_distance": ("AURG of distance", NEITHER),
        "spearman": ("Spearman of sigma", HIGH),
        "spearman_distance": ("Spearman of distance", NEITHER),
    }
    caption = "Ranking of errors by sigma, beside the distance to the nearest measurement"
    return _figures_table(caption, columns, comparisons, scores, tuple(columns))


def _figures_table(
    caption: str,
    columns: dict[str, tuple[str, str]],
    comparisons: list[Comparison],
    scores: Scores,
    decimals: tuple[str, ...],
) -> Table:
    """Figures over all pixels. columns: title and best by name; decimals: names of those that are no shares."""
    rows = []
    for one in comparisons:
        figures = scores[Key(one.set, one.protocol, one.model)]["all"]
        cells = [
            Cell(_decimal(figures[name]) if name in decimals else percent(figures[name]), figures[name])
            for name in columns
        ]
        rows.append([Cell(one.model, one.model), *cells])
    heads = [Column(title, FIGURES[name], best) for name, (title, best) in columns.items()]
    return Table.of(caption, [Column("Method"), *heads], rows)


def strata_table(models: list[str], strata: list[dict[str, dict[str, float]]], unit: Unit) -> Table:
    """MAE of the models in the charts by part of the image."""
    columns = [Column("Part"), Column("Scored pixels"), *(Column(f"{model} [{unit.name}]") for model in models)]
    rows = []
    for position, name in enumerate(STRATA):
        pixels = int(strata[0][name]["pixels"])
        if pixels:
            values = [figures[name]["mae"] for figures in strata]
            cells = [Cell(unit.number(value), value) for value in values]
            rows.append([Cell(name, float(position)), _count(pixels), *cells])
    return Table("Mean absolute error by part of the image", columns, rows)


def frames_table(details: dict[str, Details], unit: Unit, total: int) -> Table:
    """RMSE of each frame of which details are kept; total: number of all frames."""
    columns = [Column("Frame"), Column("Scored pixels"), *(Column(f"{model} [{unit.name}]") for model in details)]
    rows = []
    for frames in zip(*(one.frames for one in details.values()), strict=True):
        number, pixels = frames[0].index, frames[0].pixels
        cells = [Cell(unit.number(frame.rmse), frame.rmse) for frame in frames]
        rows.append([Cell(str(number), float(number)), _count(pixels), *cells])
    return Table(
        "RMSE of each frame" if len(rows) == total else f"RMSE of {len(rows)} of {total:,} frames", columns, rows
    )


def sources_table(rows: list[dict[str, str | int]]) -> Table:
    """Where the data comes from. rows: texts and numbers by title of the column."""
    return Table(
        "Recordings",
        [Column(title) for title in rows[0]],
        [
            [_count(value) if isinstance(value, int) else Cell(value, value.lower()) for value in row.values()]
            for row in rows
        ],
    )


_PARTS = {
    "measured": "pixels of the input, scored where the truth differs from the measurement",
    "near": "filled pixels up to 8 px from a measurement",
    "far": "filled pixels farther than 8 px from a measurement",
    "edges": "pixels with depth differences of more than 5 % within 5x5 pixels",
}


def _with_interval(estimate: Estimate, unit: Unit) -> str:
    text = unit.number(estimate.value)
    return text if isnan(estimate.low) else f"{text} [{unit.number(estimate.low)}, {unit.number(estimate.high)}]"


def _count(number: int) -> Cell:
    return Cell(f"{number:,}", float(number))


def _change_cell(one: Comparison, error: str) -> Cell:
    estimate = one.changes.get(error)
    return Cell(change(estimate), estimate.value if estimate else nan)


def _decimal(value: float) -> str:
    return MISSING if isnan(value) else f"{value:.2f}".replace("-", "\u2212")
