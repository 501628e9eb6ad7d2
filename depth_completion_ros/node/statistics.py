"""Counters and timings of the node, collected from its threads and read once a second by the diagnostics."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable

import numpy as np

_WINDOW = 300  # samples per stage: ten seconds at 30 Hz
_REPEAT_LOG_AFTER_S = 5.0
_KINDS_REMEMBERED = 200
_NUMBER = re.compile(r"0x[0-9a-f]+|[\d.]+")


class Statistics:
    """Counters, timings [ms] and one throttled log line for each problem. Thread-safe.

    Args:
        log: Called with the text of a problem: the first time, then at most every five seconds while it lasts. Texts
            with the same cause that differ only in numbers are the same problem.
    """

    def __init__(self, log: Callable[[str], object]):
        self._log = log
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._drops: Counter[str] = Counter()
        self._problems: Counter[str] = Counter()
        self._timings: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_WINDOW))
        self._last_logged: dict[str, float] = {}
        self._unlogged: Counter[str] = Counter()

    def count(self, name: str, number: int = 1) -> None:
        """Count something that went well. name: "rgb", "depth", "pairs", "frames_out" or "recalled"."""
        with self._lock:
            self._counts[name] += number

    def drop(self, cause: str, message: str | None = None, number: int = 1) -> None:
        """Count messages or frames that were not used. With a message, report a problem too."""
        # The line comes before the counts, so that whoever sees a count finds its line in the log.
        if message is not None:
            self._log_throttled(cause, message)
        with self._lock:
            self._drops[cause] += number
            if message is not None:
                self._problems[cause] += 1

    def report(self, cause: str, message: str, throttled: bool = True) -> None:
        """Count a problem and log it. Problems that can occur with every frame are throttled."""
        if throttled:
            self._log_throttled(cause, message)
        else:
            self._log(message)
        with self._lock:
            self._problems[cause] += 1

    def _log_throttled(self, cause: str, message: str) -> None:
        kind = f"{cause} {_NUMBER.sub('', message)}"
        with self._lock:
            now = time.monotonic()
            if now - self._last_logged.get(kind, -np.inf) < _REPEAT_LOG_AFTER_S:
                self._unlogged[kind] += 1
                return
            if len(self._last_logged) >= _KINDS_REMEMBERED:
                self._last_logged.clear()
                self._unlogged.clear()
            self._last_logged[kind] = now
            repeated = self._unlogged.pop(kind, 0)
        self._log(f"{message} (and {repeated} more times since the last message)" if repeated else message)

    def time(self, stage: str, milliseconds: float) -> None:
        """Add one timing of a stage."""
        with self._lock:
            self._timings[stage].append(milliseconds)

    def counts(self) -> Counter[str]:
        with self._lock:
            return Counter(self._counts)

    def drops(self) -> Counter[str]:
        with self._lock:
            return Counter(self._drops)

    def problems(self) -> Counter[str]:
        with self._lock:
            return Counter(self._problems)

    def percentiles(self) -> dict[str, tuple[float, float]]:
        """Median and 95th percentile [ms] of the last 300 samples of each stage."""
        with self._lock:
            samples = {stage: np.array(values) for stage, values in self._timings.items()}
        return {
            stage: (float(np.percentile(values, 50)), float(np.percentile(values, 95)))
            for stage, values in samples.items()
        }
