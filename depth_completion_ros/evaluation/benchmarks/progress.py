"""Progress of a pipeline run: a bar on a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def progress_display(seconds: float, about: str = "") -> Iterator[Callable[[str, int, int], None]]:
    """A context manager whose value is the ``progress`` callback of ``run_pipeline``.

    Shows a progress bar on a terminal, otherwise one line for each new step.

    Args:
        seconds: Duration of playing [s].
        about: Prefix of each line, which says what is run.
    """
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    step, began = "", 0.0
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=seconds)

        def progress(what: str, frames_in: int, frames_out: int) -> None:
            nonlocal step, began
            if what != step and not console.is_terminal:
                print(f"{about}{what} …", file=sys.stderr, flush=True)
            began = began or (time.monotonic() if frames_in else 0.0)
            step, played = what, time.monotonic() - began if began else 0.0
            counts = f": {frames_in} in, {frames_out} out" if frames_in else ""
            bar.update(task, description=f"{about}{what}{counts}", completed=min(played, seconds))

        yield progress
