"""The training loop: training steps, checkpoints, log and validations until the budget is used up."""

from __future__ import annotations

import csv
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from .checkpoint import save_checkpoint
from .trainer import Budget, Trainer

CHECKPOINT = "checkpoint.pt"
_CHECKPOINT_S = 45.0
_LOG_S = 5.0


@dataclass(frozen=True)
class Report:
    """Summary of the steps since the previous report. losses: means by name."""

    step: int
    progress: float
    elapsed_s: float
    steps_per_s: float
    learning_rate: float
    losses: dict[str, float]

    def row(self) -> dict[str, str]:
        """Return the report as a row of the log."""
        figures = {
            "minutes": self.elapsed_s / 60,
            "steps_per_s": self.steps_per_s,
            "learning_rate": self.learning_rate,
            **self.losses,
        }
        return {"step": str(self.step)} | {name: f"{value:.5g}" for name, value in figures.items()}

    def line(self) -> str:
        """Return the report as a line of text."""
        remaining = timedelta(seconds=round(self.elapsed_s * (1 / self.progress - 1))) if self.progress else "?"
        losses = " ".join(f"{name} {value:.4f}" for name, value in self.losses.items())
        return f"step {self.step}, {self.steps_per_s:.1f} it/s, {remaining} left; {losses}"


def train(
    trainer: Trainer,
    budget: Budget,
    out: Path,
    report: Callable[[Report], None],
    validate: Callable[[], None],
    validate_every_s: float,
) -> bool:
    """Train until the budget is used up, and write a checkpoint at the end.

    The time budget includes validation.

    Args:
        trainer: The trainer.
        budget: Length of the training.
        out: Folder for the checkpoint.
        report: Called with a summary every few seconds.
        validate: Called every ``validate_every_s`` seconds.
        validate_every_s: Time between validations [s].

    Returns:
        Whether the budget is used up; False if SIGINT or SIGTERM ended the training earlier.
    """
    started = time.monotonic() - trainer.elapsed_s
    saved = validated = time.monotonic()
    meter = _Meter()
    with _stop_signals() as stopped:
        while (progress := budget.progress(trainer.step, trainer.elapsed_s)) < 1 and not stopped():
            meter.add(trainer.train_step(progress))
            now = time.monotonic()
            trainer.elapsed_s = now - started
            if meter.age_s() >= _LOG_S:
                report(meter.report(trainer, progress))
            validation_due = now - validated >= validate_every_s
            if validation_due or now - saved >= _CHECKPOINT_S:
                save_checkpoint(trainer.state(), out / CHECKPOINT)
                saved = time.monotonic()
            if validation_due:
                validate()
                validated = time.monotonic()
    if meter.steps:
        report(meter.report(trainer, progress))
    save_checkpoint(trainer.state(), out / CHECKPOINT)
    return progress >= 1


class _Meter:
    """Sums of the results of steps since the last report. The sums stay on the device."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self.steps = 0
        self._started = time.monotonic()
        self._sums: dict[str, torch.Tensor] = {}

    def age_s(self) -> float:
        return time.monotonic() - self._started

    def add(self, values: Mapping[str, torch.Tensor]) -> None:
        self.steps += 1
        self._sums = {name: self._sums.get(name, 0) + value for name, value in values.items()}

    def report(self, trainer: Trainer, progress: float) -> Report:
        """Return a report of the steps since the previous report. Waits for the device."""
        means = {name: float(value) / self.steps for name, value in self._sums.items()}
        rate, learning_rate = self.steps / self.age_s(), trainer.learning_rate(progress)
        self._reset()
        return Report(trainer.step, progress, trainer.elapsed_s, rate, learning_rate, means)


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether SIGINT or SIGTERM was received. A second signal ends the process."""
    received: list[int] = []
    previous: dict[signal.Signals, Any] = {}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(number: int, frame: object) -> None:
        received.append(number)
        restore()

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, handle)
    try:
        yield lambda: bool(received)
    finally:
        restore()


class Log:
    """A CSV file to which rows are appended. When a training is resumed at ``step``, later rows are removed."""

    def __init__(self, path: Path, step: int):
        self._path = path
        rows = []
        if step and path.is_file():
            with path.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        path.unlink(missing_ok=True)
        for row in rows:
            self.add(row)

    def add(self, row: dict[str, str]) -> None:
        """Append a row, given as values by column. All rows must have the same columns."""
        new = not self._path.is_file()
        with self._path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, row)
            if new:
                writer.writeheader()
            writer.writerow(row)
