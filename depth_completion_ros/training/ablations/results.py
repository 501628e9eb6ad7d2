"""Results of ablations: a CSV file to which each result is appended, and one table of all."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple, get_type_hints

from ...errors import ConfigurationError
from . import METHODS, variants
from .variant import METHOD

_HEADING = [
    *("method", "variant", "what it is", "parameters", "RMSE", "MAE"),
    *("RMSE to the method's", "MAE to the method's", "steps/s"),
]


class Result(NamedTuple):
    """One variant trained from one seed. rmse, mae: over the prefill's, geometric mean over validation sets and
    protocols. steps_per_s: validation not included. commit: of this code. recipe: hash of all settings.
    """

    method: str
    variant: str
    seed: int
    parameters: int
    rmse: float
    mae: float
    steps_per_s: float
    steps: int
    batch: int
    crop: int
    validation_frames: int
    device: str
    commit: str
    recipe: str

    def budget(self) -> str:
        """How much it had to learn from and is scored on, for people."""
        budget = f"{self.steps} steps, batch {self.batch}, crop {self.crop}"
        return f"{budget}, validation frames of each set: {self.validation_frames}"

    def place(self) -> str:
        """Where it ran and which code, for people."""
        return f"{self.device}, commit {self.commit}"


def read_results(path: Path) -> list[Result]:
    """All of a file, none where there is no file. Raises ConfigurationError for a file that is another."""
    if not path.is_file():
        return []
    kinds = get_type_hints(Result)
    with path.open(encoding="utf-8", newline="") as file:
        try:
            return [Result(**{name: kinds[name](value) for name, value in row.items()}) for row in csv.DictReader(file)]
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"{path} holds no results of ablations ({error}): use another --out") from error


def append_result(path: Path, result: Result) -> None:
    """Make the file where there is none."""
    new = not path.is_file()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([Result._fields, result] if new else [result])


def table(results: Sequence[Result]) -> str:
    """In Markdown: a row for each variant that there are results of, and what they have in common."""
    cells = [_HEADING, ["---"] * len(_HEADING), *(row for method in METHODS for row in _rows(method, results))]
    seeds = ", ".join(map(str, sorted({result.seed for result in results})))
    budgets, places = (sorted({text(r) for r in results}) for text in (Result.budget, Result.place))
    lines = [
        *(f"| {' | '.join(row)} |" for row in cells),
        "",
        f"Size small; {'; '.join(budgets)}; seeds {seeds}; {'; '.join(places)}. RMSE and MAE are over the "
        "prefill's: geometric means over validation sets and protocols, then means over seeds with the least and the "
        "greatest. Changes are taken seed by seed, steps a second are medians.",
    ]
    return "\n".join([*lines, ""])


def _rows(method: str, results: Sequence[Result]) -> list[list[str]]:
    rows = []
    unchanged = {result.seed: result for result in results if (result.method, result.variant) == (method, METHOD)}
    for variant in variants(method):
        own = [result for result in results if (result.method, result.variant) == (method, variant.name)]
        if own:
            pairs = [(r, unchanged[r.seed]) for r in own if variant.name != METHOD and r.seed in unchanged]
            rows.append(
                [
                    method,
                    variant.name,
                    variant.meaning,
                    f"{own[0].parameters / 1e6:.3f} M",
                    _spread([r.rmse for r in own], "{:.3f}"),
                    _spread([r.mae for r in own], "{:.3f}"),
                    _spread([100 * (r.rmse / m.rmse - 1) for r, m in pairs], "{:+.1f} %"),
                    _spread([100 * (r.mae / m.mae - 1) for r, m in pairs], "{:+.1f} %"),
                    f"{median(r.steps_per_s for r in own):.2f}",
                ]
            )
    return rows


def _spread(values: Sequence[float], form: str) -> str:
    """The mean, and of several values the least and the greatest."""
    if not values:
        return ""
    mean, least, greatest = (form.format(value) for value in (fmean(values), min(values), max(values)))
    return f"{mean} ({least} to {greatest})" if len(values) > 1 else mean
