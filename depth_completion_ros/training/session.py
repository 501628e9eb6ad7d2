"""One run of ``depth-completion train``: the trainer with its data, validation, display and files."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from ..errors import ConfigurationError
from ..model_file import find_weights_file, model_directories
from ..networks import create
from ..networks.completion_network import CompletionNetwork
from ..networks.weights import WeightedNetwork, load_weights, save_weights
from .batches import Batches
from .checkpoint import load_checkpoint
from .loop import CHECKPOINT, Log, Report, train
from .model_card import model_card, provenance
from .recipe import Recipe, Splits
from .sources import open_sources, validation_cases
from .trainer import Budget, Trainer
from .validation import Scores, Validation


class Session:
    """A training with its data, validation, display and files.

    Args:
        recipe: The recipe.
        splits: Division into training and validation.
        data: See ``open_sources``.
        pools: See ``open_sources``.
        validation_pools: See ``validation_cases``.
        cache: See ``open_sources``.
        out: Folder for the checkpoint, log.csv, validation.csv, pictures, the best weights with their model card, and
            last.safetensors.
        device: Device of the training.
        start: File of the initial weights; None = random weights.
        resume: Whether to continue from the checkpoint in ``out``.
        validation_frames: Number of frames of each validation set.
        workers: See ``Batches.from_step``.
        overfit: See ``Batches``.
        render: See ``open_sources``.
    """

    def __init__(
        self,
        recipe: Recipe,
        splits: Splits,
        *,
        data: Sequence[Path],
        pools: Sequence[Path],
        validation_pools: Sequence[Path],
        cache: Path,
        out: Path,
        device: torch.device,
        start: Path | None,
        resume: bool,
        validation_frames: int,
        workers: int = 0,
        overfit: int = 0,
        render: bool = False,
    ):
        self._recipe = recipe
        self._out = out
        self._console = Console(stderr=True)
        sources, self._data = open_sources(recipe, splits, data, pools, cache, device, render)
        base = _load_base(recipe, out)
        self._trainer = Trainer(recipe, Batches(recipe, sources, device, overfit), device, base, workers=workers)
        if start is not None:
            self._trainer.begin_with(start)
        if resume:
            self._trainer.restore(load_checkpoint(out / CHECKPOINT, device))
        self._log = Log(out / "log.csv", self._trainer.step)
        self._validation_log = Log(out / "validation.csv", self._trainer.step)
        with self._console.status("evaluating the baselines"):
            cases = validation_cases(recipe, splits, data, validation_pools, validation_frames)
            corrected = base or create(recipe.network, recipe.size)
            self._validation = Validation(cases, corrected.to(device).eval(), device)

    def run(self, budget: Budget, validate_every_s: float) -> int:
        """Train until the budget is used up. Return the exit status, which is 130 after an interrupt signal."""
        with self._display() as show:

            def report(report: Report) -> None:
                show(report)
                self._log.add(report.row())

            finished = train(self._trainer, budget, self._out, report, self._validate, validate_every_s)
        if not finished:
            self._console.print(f"stopped at step {self._trainer.step}; --resume continues from there")
            return 130
        self._validate()
        print(self._weights_file())
        return 0

    def _validate(self) -> None:
        """Validate the averaged weights. Write them as the last weights, and as the best if they are the best."""
        trainer = self._trainer
        weighted = WeightedNetwork(trainer.ema, self._recipe.profile)
        about = provenance(self._recipe, trainer)
        save_weights(weighted, self._out / "last.safetensors", about)
        pictures = self._out / "pictures"
        pictures.mkdir(exist_ok=True)
        scores = self._validation.evaluate(trainer.ema, pictures / f"step-{trainer.step:07}.png")
        relative = self._validation.relative(scores)
        columns = {**self._validation.baselines, "network": scores}
        self._print(columns, relative)
        row = {"step": str(trainer.step), "minutes": f"{trainer.elapsed_s / 60:.2f}", "relative": f"{relative:.4f}"}
        for (group, protocol), score in scores.items():
            row |= {f"{group} {protocol} {name}": f"{value:.5f}" for name, value in score._asdict().items()}
        self._validation_log.add(row)
        if relative < trainer.best_score:
            trainer.best_score = relative
            save_weights(weighted, self._weights_file(), about)
            card = model_card(self._recipe, about, self._data, columns)
            self._weights_file().with_suffix(".md").write_text(card, encoding="utf-8")

    def _weights_file(self) -> Path:
        return self._out / f"{self._recipe.model}.safetensors"

    def _print(self, columns: dict[str, Scores], relative: float) -> None:
        title = f"step {self._trainer.step}: RMSE / MAE in mm; ratio to guided {relative:.3f} (geometric mean)"
        table = Table("set", "protocol", title=title, title_justify="left")
        for name in columns:
            table.add_column(name, justify="right")
        for key in columns["network"]:
            table.add_row(*key, *(scores[key].millimetres() for scores in columns.values()))
        self._console.print(table)

    @contextmanager
    def _display(self) -> Iterator[Callable[[Report], None]]:
        """Yield a function that shows a report: as a progress bar on a terminal, elsewhere as a line of text."""
        terminal = self._console.is_terminal
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"))
        with Progress(*columns, console=self._console, disable=not terminal) as bar:
            task = bar.add_task(self._recipe.name, total=1.0, figures="")

            def show(report: Report) -> None:
                if terminal:
                    bar.update(task, completed=report.progress, figures=report.line())
                else:
                    print(f"{self._recipe.name} {report.progress:.1%} {report.line()}", file=sys.stderr, flush=True)

            yield show


def _load_base(recipe: Recipe, out: Path) -> CompletionNetwork | None:
    """Load the base network of a recipe. Its weights are copied to ``out``, where the new network needs them.

    Raises:
        ConfigurationError: If there are no weights of the base network.
    """
    if not recipe.base:
        return None
    installed = find_weights_file(recipe.base)
    if installed is None:
        raise ConfigurationError(
            f"the recipe {recipe.name} corrects {recipe.base}, but there are no weights of it: train it first and copy "
            f"its weights to {model_directories()[0]}, or set base to '' in the recipe"
        )
    path = out / installed.name
    if path != installed:
        shutil.copyfile(installed, path)
    return load_weights(path).network
