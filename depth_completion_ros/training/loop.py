"""The training loop: steps until the budget is spent, with checkpoints, a log and validation on the way."""

from __future__ import annotations

import csv
import signal
import time
from collections.abc import Callable, Iterator
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
    """What the log holds of the steps since the report before. losses: means by name."""

    step: int
    progress: float
    elapsed_s: float
    steps_per_s: float
    learning_rate: float
    losses: dict[str, float]

    def row(self) -> dict[str, str]:
        """As a row of the log."""
        figures = {
            "minutes": self.elapsed_s / 60,
            "steps_per_s": self.steps_per_s,
            "learning_rate": self.learning_rate,
            **self.losses,
        }
        return {"step": str(self.step)} | {name: f"{value:.5g}" for name, value in figures.items()}

    def line(self) -> str:
        """For people."""
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
    """Train until the budget is spent; False if SIGINT or SIGTERM ended it before. Leaves a checkpoint either way.

    The budget's time runs while this function does, validation included.
    """
    began = time.monotonic() - trainer.elapsed_s
    saved = validated = reported = time.monotonic()
    sums: dict[str, torch.Tensor] = {}
    steps = 0
    with _stop_signals() as stopped:
        while (progress := budget.progress(trainer.step, trainer.elapsed_s)) < 1 and not stopped():
            for name, value in trainer.train_step(progress).items():
                sums[name] = sums[name] + value if name in sums else value.clone()
            steps += 1
            now = time.monotonic()
            trainer.elapsed_s = now - began
            if now - reported >= _LOG_S:
                means = {name: float(value) / steps for name, value in sums.items()}  # waits for the device
                rate, lr = steps / (time.monotonic() - reported), trainer.learning_rate(progress)
                report(Report(trainer.step, progress, trainer.elapsed_s, rate, lr, means))
                sums, steps, reported = {}, 0, time.monotonic()
            if now - saved >= _CHECKPOINT_S:
                save_checkpoint(trainer.state(), out / CHECKPOINT)
                saved = time.monotonic()
            if now - validated >= validate_every_s:
                validate()
                validated = time.monotonic()
    save_checkpoint(trainer.state(), out / CHECKPOINT)
    return progress >= 1


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT or SIGTERM has come; the step in progress ends first. A second one ends the process as usual."""
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
    """A CSV file that grows by rows; those of steps beyond ``step`` are dropped when it is opened to go on."""

    def __init__(self, path: Path, step: int):
        self._path = path
        rows = []
        if step and path.is_file():
            with path.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
        path.unlink(missing_ok=True)
        for row in rows:
            self.add(row)

    def add(self, row: dict[str, str]) -> None:
        """Append a row, which names its columns. All rows have the same ones."""
        new = not self._path.is_file()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, row)
            if new:
                writer.writeheader()
            writer.writerow(row)
