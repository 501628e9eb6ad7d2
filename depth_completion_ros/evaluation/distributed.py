"""Evaluate each recording on a worker of its own, and keep results, so that an interrupted evaluation can go on."""

from __future__ import annotations

import hashlib
import logging
import pickle
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ..atomic import new_file
from ..errors import ConfigurationError
from .evaluate import Evaluation, joined

RECORDING = "recording"  # second part of the key of a failure of a whole recording
_CONNECT_S = "10s"  # time for connecting to a scheduler


class FinishedRecordings:
    """The results of recordings that are finished, one file for each, until all are.

    Args:
        directory: Folder for the files. It is made when needed.
        settings: Everything but the recording that results depend on. Results with other settings are not used.
    """

    def __init__(self, directory: Path, settings: str):
        self._directory = directory
        self._settings = settings

    def load(self, name: str, files: Iterable[Path]) -> Evaluation | None:
        """The results of a recording; None if it is not finished, or its files have changed."""
        try:
            result = pickle.loads(self._path(name, files).read_bytes())
        except Exception:  # no file, or one that cannot be read: the recording is evaluated again
            return None
        return result if isinstance(result, Evaluation) else None

    def save(self, name: str, files: Iterable[Path], result: Evaluation) -> None:
        """Keep the results of a recording. Raises OSError."""
        path = self._path(name, files)
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as part:
            part.write_bytes(pickle.dumps(result))

    def remove(self) -> None:
        """Delete all files."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _path(self, name: str, files: Iterable[Path]) -> Path:
        state = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in sorted(files)]
        digest = hashlib.sha256(f"{self._settings} {name} {state}".encode()).hexdigest()
        return self._directory / f"{digest[:24]}.pickle"


def evaluate_on_workers(
    tasks: Mapping[str, Callable[[], Evaluation]],
    workers: int = 0,
    scheduler: str = "",
    finished: Callable[[str, Evaluation], object] = lambda name, result: None,
) -> Evaluation:
    """Evaluate recordings on the workers of a Dask cluster. Shows a progress bar; Ctrl-C ends it early.

    A recording whose task fails is listed in ``Evaluation.failures``. If a worker dies, its task runs on another one.

    Args:
        tasks: Evaluates one recording each, by the name of its set. Tasks must be picklable.
        workers: Number of processes to start on this machine, if no scheduler is given.
        scheduler: Address of a running scheduler, for example "tcp://10.0.0.5:8786". Its workers need this package and
            the same paths.
        finished: Called with the name and the results of each recording when it is finished.

    Returns:
        The results of all recordings, in the order of the tasks.

    Raises:
        ConfigurationError: If Dask is not installed, or the scheduler cannot be reached.
    """
    try:
        from distributed import Client, LocalCluster, as_completed
    except ImportError as error:
        raise ConfigurationError(
            f"--workers and --scheduler need Dask ({error}): pip install 'depth_completion_ros[cluster]'"
        ) from error
    if scheduler and not re.fullmatch(r"(\w+://)?.+:\d+", scheduler):
        raise ConfigurationError(f"--scheduler {scheduler} has no port: give an address such as tcp://10.0.0.5:8786")
    cluster: Any = None
    try:
        if scheduler:
            client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
        else:
            options = {"dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
            with _ignored_interrupts():
                cluster = LocalCluster(n_workers=workers, threads_per_worker=1, **options)
            client = Client(cluster, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ConfigurationError(
            f"no Dask scheduler can be reached at {scheduler or 'this machine'} ({error}): start one with `dask "
            "scheduler`, and workers with `dask worker ADDRESS`"
        ) from error
    results: dict[str, Evaluation] = {}
    complete = True
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    try:
        futures = {client.submit(task, pure=False): name for name, task in tasks.items()}
        with Progress(*columns, console=Console(stderr=True)) as progress:
            bar = progress.add_task("recordings", total=len(tasks))
            for future in as_completed(futures, loop=client.loop):
                name = futures[future]
                try:
                    results[name] = future.result()
                except Exception as error:  # whatever it was, the other recordings can be evaluated
                    results[name] = Evaluation(failures={(name, RECORDING): str(error) or repr(error)})
                else:
                    finished(name, results[name])
                progress.advance(bar)
    except KeyboardInterrupt:
        complete = False
    finally:
        client.close()
        if cluster is not None:
            cluster.close()
    evaluation = joined(results[name] for name in tasks if name in results)
    evaluation.complete &= complete
    return evaluation


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """Ignore Ctrl-C. Processes that are started meanwhile ignore it for ever: a terminal sends it to all of them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change it
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
