"""Show the progress of a training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from .loop import Report


@contextmanager
def training_display(name: str) -> Iterator[Callable[[Report], None]]:
    """Yield a function that shows a report: as a progress bar on a terminal, elsewhere as a line of text."""
    console = Console(stderr=True)
    terminal = console.is_terminal
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"))
    with Progress(*columns, console=console, disable=not terminal) as bar:
        task = bar.add_task(name, total=1.0, figures="")

        def show(report: Report) -> None:
            if terminal:
                bar.update(task, completed=report.progress, figures=report.line())
            else:
                print(f"{name} {report.progress:.1%} {report.line()}", file=sys.stderr, flush=True)

        yield show
