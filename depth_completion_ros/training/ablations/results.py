"""Results of ablations: a CSV file to which each result is appended, and a table of all results."""

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
    """Result of one variant with one seed.

    Attributes:
        method: Name of the method.
        variant: Name of the variant.
        seed: Seed of the training.
        parameters: Number of parameters.
        rmse: RMSE divided by that of the prefill, geometric mean over validation sets and protocols.
        mae: MAE divided by that of the prefill, geometric mean over validation sets and protocols.
        steps_per_s: Training steps per second, without validation.
        steps: Number of training steps.
        batch: Batch size.
        crop: Side of the crops [pixels].
        validation_frames: Number of frames of each validation set.
        device: Name of the device.
        commit: Commit of this code.
        recipe: Hash of all settings.
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
        """Describe the amount of training and validation data."""
        budget = f"{self.steps} steps, batch {self.batch}, crop {self.crop}"
        return f"{budget}, validation frames of each set: {self.validation_frames}"

    def environment(self) -> str:
        """Describe the device and the version of the code."""
        return f"{self.device}, commit {self.commit}"


def read_results(path: Path) -> list[Result]:
    """Read all results of a file; return an empty list if the file does not exist.

    Raises:
        ConfigurationError: If the file contains other data.
    """
    if not path.is_file():
        return []
    kinds = get_type_hints(Result)
    with path.open(encoding="utf-8", newline="") as file:
        try:
            return [Result(**{name: kinds[name](value) for name, value in row.items()}) for row in csv.DictReader(file)]
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"{path} contains no results of ablations ({error}): use another --out") from error


def append_result(path: Path, result: Result) -> None:
    """Append a result to a file, which is created if it does not exist."""
    new = not path.is_file()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([Result._fields, result] if new else [result])


def table(results: Sequence[Result]) -> str:
    """Return a Markdown table with a row for each variant that has results, and a line about their common settings."""
    cells = [_HEADING, ["---"] * len(_HEADING), *(row for method in METHODS for row in _rows(method, results))]
    seeds = ", ".join(map(str, sorted({result.seed for result in results})))
    budgets, environments = (sorted({text(r) for r in results}) for text in (Result.budget, Result.environment))
    lines = [
        *(f"| {' | '.join(row)} |" for row in cells),
        "",
        f"Size small; {'; '.join(budgets)}; seeds {seeds}; {'; '.join(environments)}. RMSE and MAE are divided by "
        "those of the prefill: geometric means over validation sets and protocols, then means over seeds with the "
        "smallest and the largest value. Changes are computed for each seed separately; steps per second are medians.",
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
                    _mean_and_range([r.rmse for r in own], "{:.3f}"),
                    _mean_and_range([r.mae for r in own], "{:.3f}"),
                    _mean_and_range([100 * (r.rmse / m.rmse - 1) for r, m in pairs], "{:+.1f} %"),
                    _mean_and_range([100 * (r.mae / m.mae - 1) for r, m in pairs], "{:+.1f} %"),
                    f"{median(r.steps_per_s for r in own):.2f}",
                ]
            )
    return rows


def _mean_and_range(values: Sequence[float], form: str) -> str:
    """Return the mean and, if there are several values, the smallest and the largest value."""
    if not values:
        return ""
    mean, smallest, largest = (form.format(value) for value in (fmean(values), min(values), max(values)))
    return f"{mean} ({smallest} to {largest})" if len(values) > 1 else mean
