"""How far a run of the pipeline is, for people who watch it and for those who read its log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


@contextmanager
def progress_display(seconds: float, about: str = "") -> Iterator[Callable[[str, int, int], None]]:
    """The value is ``progress`` of ``run_pipeline``: a bar on a terminal, elsewhere one line for each new step.

    seconds: how long frames are played; about: what is run, put before each line.
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
