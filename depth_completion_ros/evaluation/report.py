"""Print the results of an evaluation as tables, and write them to files."""

from __future__ import annotations

import csv
import json
from itertools import groupby
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from .evaluate import Evaluation, Key
from .metrics import FIGURES
from .strata import DISTANCES_PX
from .summary import ERRORS, Comparison, Estimate

Scores = dict[Key, dict[str, dict[str, float]]]  # the results of each metric, by stratum and figure
Row = dict[str, Any]

_STRATA = ("measured", "near", "far", "edges")  # strata in the printed tables, in addition to "all"
_SHARES = {"conf.": "confidence", "within": "within", "ECE": "ece", "AUSE": "ause"}
_UNITS = ": RMSE / MAE in mm, and in % relative to the best classical model"
_WIDTH = 180  # of tables that are not printed to a terminal


def print_tables(evaluation: Evaluation, scores: Scores, by_set: list[Comparison], totals: list[Comparison]) -> None:
    """Print one table for each set and protocol, then one for each protocol over all sets, then all failures."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    for (name, protocol), group in groupby(by_set, key=lambda one: (one.set, one.protocol)):
        comparisons = list(group)
        console.print(f"{name}, {protocol}, {_frames(comparisons[0].frames)}{_UNITS}", style="bold", soft_wrap=True)
        if note := evaluation.notes[name]:
            console.print(note, style="yellow", soft_wrap=True)
        table = _table(*_STRATA, *_SHARES)
        for one in comparisons:
            strata = scores[Key(one.set, one.protocol, one.model)]
            changes = [_percent(one.changes[error]) if one.changes else "-" for error in ERRORS]
            parts = [_pair(strata[stratum]) for stratum in _STRATA]
            table.add_row(*_errors(one), *changes, *parts, *(_share(strata["all"][name]) for name in _SHARES.values()))
        console.print(table)
    for protocol, group in groupby(totals, key=lambda one: one.protocol):
        console.print(f"{protocol}, means over sets{_UNITS}", style="bold", soft_wrap=True)
        table = _table("scored on")
        for one in group:
            changes = [_percent_with_interval(one.changes[error]) if one.changes else "-" for error in ERRORS]
            table.add_row(*_errors(one), *changes, one.set)
        console.print(table)
    for line in failure_lines(evaluation):
        console.print(line, markup=False, soft_wrap=True)


def write_files(
    evaluation: Evaluation, scores: Scores, by_set: list[Comparison], totals: list[Comparison], out: Path
) -> list[Path]:
    """Write evaluation.csv (all figures by stratum), totals.csv, evaluation.json (both) and evaluation.md.

    With details, evaluation.json also has the numbers behind the charts of the HTML report.

    Returns:
        The files.
    """
    out.mkdir(parents=True, exist_ok=True)
    figures = [row for one in by_set for row in _figure_rows(one, scores[Key(one.set, one.protocol, one.model)])]
    sums = [_row(one) for one in totals]
    _write_csv(figures, out / "evaluation.csv")
    _write_csv(sums, out / "totals.csv")
    content = {
        "complete": evaluation.complete,
        "figures": FIGURES,
        "engines": evaluation.engines,
        "notes": evaluation.notes,
        "failures": failure_lines(evaluation),
        "scores": _for_json(figures),
        "totals": _for_json(sums),
    }
    if evaluation.details:
        content["details"] = [_details_row(evaluation, key) for key in evaluation.metrics]
    (out / "evaluation.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    (out / "evaluation.md").write_text(markdown(evaluation, by_set, totals), encoding="utf-8")
    return [out / name for name in ("evaluation.csv", "totals.csv", "evaluation.json", "evaluation.md")]


def markdown(evaluation: Evaluation, by_set: list[Comparison], totals: list[Comparison]) -> str:
    """Two tables: changes from the best classical model by model and protocol; RMSE / MAE of all models by set."""
    scored = {one.model for one in by_set}
    models = [model for model in evaluation.engines if model in scored]
    lines = [
        "Change of RMSE / MAE from the best classical model in % (geometric mean over sets, 95 % interval):",
        "",
        *markdown_table(
            ["model", *dict.fromkeys(one.protocol for one in totals)],
            [[model, *_by_protocol(model, totals)] for model in models],
        ),
        "",
        "RMSE / MAE in mm, with the best of each row in bold:",
        "",
    ]
    rows = []
    for (name, protocol), group in groupby(by_set, key=lambda one: (one.set, one.protocol)):
        comparisons = {one.model: one for one in group}
        frames = _frames(next(iter(comparisons.values())).frames)
        marked = f"{name} \\*" if evaluation.notes[name] else name
        best = {error: min(one.errors[error].value for one in comparisons.values()) for error in ERRORS}
        cells = [_bold_pair(comparisons[model], best) if model in comparisons else "-" for model in models]
        rows.append([f"{marked}, {protocol}, {frames}", *cells])
    lines += markdown_table(["set, protocol", *models], rows)
    notes = sorted({f"\\* {note}" for note in evaluation.notes.values() if note})
    return "\n".join([*lines, *(f"\n{line}" for line in [*notes, *failure_lines(evaluation)]), ""])


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    for column in ("RMSE [95 %]", "MAE [95 %]", "RMSE %", "MAE %", *columns):
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _errors(one: Comparison) -> list[str]:
    return [one.model, *(_millimetres(one.errors[error]) for error in ERRORS)]


def _millimetres(estimate: Estimate) -> str:
    interval = "" if isnan(estimate.low) else f" [{estimate.low * 1e3:.0f} {estimate.high * 1e3:.0f}]"
    return _number(estimate.value) + interval


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value * 100:+.0f}" if isfinite(estimate.value) else "-"


def _percent_with_interval(estimate: Estimate) -> str:
    interval = "" if isnan(estimate.low) else f" [{estimate.low * 100:+.0f} {estimate.high * 100:+.0f}]"
    return _percent(estimate) + interval


def _pair(figures: dict[str, float]) -> str:
    return " / ".join(_number(figures[error]) for error in ERRORS) if figures["pixels"] else "-"


def _number(metres: float) -> str:
    """A length in millimetres, with one decimal below 100."""
    return f"{metres * 1e3:.0f}" if metres >= 0.1 else f"{metres * 1e3:.1f}"


def _bold_pair(one: Comparison, best: dict[str, float]) -> str:
    cells = []
    for error in ERRORS:
        text = _number(one.errors[error].value)
        cells.append(f"**{text}**" if one.errors[error].value == best[error] else text)
    return " / ".join(cells)


def _by_protocol(model: str, totals: list[Comparison]) -> list[str]:
    """The changes of a model for each protocol, with the number of sets if other models were scored on more sets."""
    cells = []
    for _, group in groupby(totals, key=lambda one: one.protocol):
        comparisons = {one.model: one for one in group}
        one = comparisons.get(model)
        if one is None or not one.changes:
            cells.append("-")
            continue
        lacks = one.frames < max(other.frames for other in comparisons.values())
        changes = " / ".join(_percent_with_interval(one.changes[error]) for error in ERRORS)
        cells.append(f"{changes} ({one.set})" if lacks else changes)
    return cells


def _share(value: float) -> str:
    return "-" if isnan(value) else f"{value:.3f}"


def _frames(number: int) -> str:
    return f"{number} frame{'s' if number > 1 else ''}"


def failure_lines(evaluation: Evaluation) -> list[str]:
    """What was left out and why, one line each."""
    lines = [f"{name}, {what}: skipped: {why}" for (name, what), why in evaluation.failures.items()]
    return lines if evaluation.complete else [*lines, "interrupted: results are for the frames completed so far"]


def _row(one: Comparison) -> Row:
    row: Row = {"set": one.set, "protocol": one.protocol, "model": one.model, "frames": one.frames}
    for kind, estimates in (("", one.errors), ("_change", one.changes)):
        for error, estimate in estimates.items():
            name = f"{error}{kind}"
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row | {f"best_by_{error}": model for error, model in one.best.items()}


def _figure_rows(one: Comparison, strata: dict[str, dict[str, float]]) -> list[Row]:
    """One row for each stratum with pixels; intervals and changes are in the row of "all"."""
    keys = {"set": one.set, "protocol": one.protocol, "model": one.model, "frames": one.frames}
    rows = [{**keys, "stratum": name, **figures} for name, figures in strata.items() if figures["pixels"]]
    rows[0] |= _row(one)
    return rows


def _details_row(evaluation: Evaluation, key: Key) -> Row:
    pixels, errors = evaluation.metrics[key].by_distance()
    return {
        **key._asdict(),
        "distances": {
            "distance_px": list(DISTANCES_PX),
            "pixels": [int(number) for number in pixels],
            "mae": [None if isnan(error) else float(error) for error in errors],
        },
        **evaluation.details[key].curves(),
    }


def _write_csv(rows: list[Row], path: Path) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _for_json(rows: list[Row]) -> list[Row]:
    """Replace NaN and infinity by null, because JSON does not support them."""
    return [
        {name: None if isinstance(value, float) and not isfinite(value) else value for name, value in row.items()}
        for row in rows
    ]


def markdown_table(header: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
