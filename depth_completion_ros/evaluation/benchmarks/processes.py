"""Child processes that end with a block of their parent, and their use of CPU time and memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ...errors import ConfigurationError

_END_WITHIN_S = 5.0


class Child:
    """Runs a Python module in its own process. Its output is written to ``folder/NAME.log``."""

    def __init__(self, name: str, arguments: list[str], folder: Path, environment: dict[str, str]):
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        """Whether the process is still running. If it failed, raises ConfigurationError with its last output."""
        status = self._process.poll()
        if status not in (None, 0):
            raise ConfigurationError(f"the {self.name} ended with status {status}{self._last_lines()}")
        return status is None

    def expect_running(self) -> None:
        """Raises ConfigurationError if the process has ended, whatever its status."""
        if not self.running():
            raise ConfigurationError(f"the {self.name} ended too early{self._last_lines()}")

    def _last_lines(self) -> str:
        return "\n  ".join([". Its last output:", *self.log().strip().splitlines()[-8:]])

    def kill(self) -> None:
        """Kill the process with SIGKILL, so that it cannot clean up, as in a crash."""
        self._process.kill()
        self._process.wait()

    def log(self) -> str:
        """The output of the process so far."""
        return self._log.read_text(errors="replace")

    def end(self) -> None:
        """Stop the process with SIGINT and wait for it; if it does not end in time, use SIGTERM and then SIGKILL."""
        for ask in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                return
            self._process.send_signal(ask)
            try:
                self._process.wait(_END_WITHIN_S)
            except subprocess.TimeoutExpired:
                continue


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Within this context, SIGTERM raises KeyboardInterrupt, so that children are stopped too. Main thread only."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


class Usage:
    """CPU time and memory of a process, from /proc. Call ``sample`` regularly."""

    def __init__(self, pid: int):
        self._folder = Path(f"/proc/{pid}")
        self._samples: list[tuple[float, float]] = []  # monotonic ns, CPU seconds of all threads
        self.peak_memory_mb = 0.0

    def sample(self) -> None:
        """Take one sample; does nothing if the process has ended."""
        try:
            fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
            status = (self._folder / "status").read_text()
        except OSError:
            return
        user, system = int(fields[11]), int(fields[12])
        self._samples.append((time.monotonic_ns(), (user + system) / os.sysconf("SC_CLK_TCK")))
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self.peak_memory_mb = int(line.split()[1]) / 1024

    def cpu_percent(self, first_ns: int, last_ns: int) -> float:
        """Average CPU usage between two monotonic times [ns] in percent; 100 = one core."""
        times, used = np.array(self._samples).T
        span = np.clip([first_ns, last_ns], times[0], times[-1])
        start, end = np.interp(span, times, used)
        return float(100e9 * (end - start) / max(span[1] - span[0], 1.0))
