"""Import TensorRT or TensorRT-RTX, whichever is installed, and implement their logger and progress monitor."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import Any, NamedTuple

from ..errors import ConfigurationError
from ..resources import PACKAGE
from . import Progress

# tensorrt_rtx imports tensorrt_rtx_bindings, which is the only wheel that installs without running a script.
_NAMES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")


def load_library() -> Any:
    """Import TensorRT, or TensorRT-RTX if TensorRT is missing.

    Raises:
        ConfigurationError: If neither is installed.
    """
    problems = []
    for name in _NAMES:
        try:
            return import_module(name)
        except (ImportError, OSError) as error:  # OSError: the bindings are installed, but not their libraries
            problems.append(f"{name}: {error}")
    raise ConfigurationError(
        f"the tensorrt engine needs TensorRT or TensorRT-RTX: pip install '{PACKAGE}[tensorrt]', or choose another "
        f"engine ({'; '.join(problems)})"
    )


def make_log(trt: Any) -> Any:
    """Create a logger for the library that stores error messages in ``errors`` and discards all other messages."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(message)

    return Log()


class _Phase(NamedTuple):
    parent: str | None
    steps: int
    done: int


def make_monitor(trt: Any, progress: Progress) -> Any:
    """Create a progress monitor that reports to ``progress``.

    An exception from ``progress`` aborts the build and is stored in ``raised``, because the library would only log it
    and continue. The library also ignores Ctrl-C in the main thread: build in another thread if Ctrl-C should abort the
    build.
    """

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.raised: Exception | None = None
            self._lock = threading.Lock()  # the library may call from several threads
            self._phases: dict[str, _Phase] = {}
            self._done = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._update(phase_name, _Phase(parent_phase, max(num_steps, 1), 0))

        def step_complete(self, phase_name: str, step: int) -> bool:
            phase = self._phases[phase_name]
            self._update(phase_name, phase._replace(done=step + 1))
            return self.raised is None

        def phase_finish(self, phase_name: str) -> None:
            phase = self._phases[phase_name]
            self._update(phase_name, phase._replace(done=phase.steps))

        def _update(self, name: str, phase: _Phase) -> None:
            try:
                with self._lock:
                    self._phases[name] = phase
                    self._done = max(self._done, self._total_progress(name))
                    if self.raised is None:
                        progress(name, self._done)
            except Exception as error:
                self.raised = error

        def _total_progress(self, name: str | None) -> float:
            """Return the total progress, 0..1, if this phase is the current one. A phase is one step of its parent."""
            part = 0.0
            while name in self._phases:
                phase = self._phases[name]
                part = min((phase.done + part) / phase.steps, 1.0)
                name = phase.parent
            return part

    return Monitor()
