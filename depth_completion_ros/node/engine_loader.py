"""Load engines in the background: building an engine can take minutes, and no frame waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from ..engines import Engine, Progress
from .mailbox import Mailbox


class _Request(NamedTuple):
    engine: str
    model: str


class EngineLoader:
    """A thread that opens the most recently requested engine; the worker takes it when it is ready.

    Args:
        open_engine: Called in this thread with (engine, model, progress). It calls ``progress`` while it works, which
            raises InterruptedError when another engine has been requested meanwhile.
        failed: Called in this thread with the error message if the engine cannot be opened.
    """

    def __init__(self, open_engine: Callable[[str, str, Progress], Engine], failed: Callable[[str], None]):
        self._open_engine = open_engine
        self._failed = failed
        self._requests: Mailbox[_Request] = Mailbox()
        self._lock = threading.Lock()
        self._wanted: _Request | None = None
        self._ready: Engine | None = None
        self._state = "ready"
        self._thread = threading.Thread(target=self._run, name="engine_loader")
        self._thread.start()

    @property
    def state(self) -> str:
        """State for diagnostics: "ready", "loading ENGINE MODEL" (with progress if known) or "failed: ERROR"."""
        return self._state

    def request(self, engine: str, model: str) -> None:
        """Open this engine and model, and abandon any earlier request, even one that is in progress."""
        request = _Request(engine, model)
        with self._lock:
            self._wanted = request
            self._state = f"loading {engine} {model}"
        self._requests.put(request)

    def take(self) -> Engine | None:
        """The engine that has become ready since the last call, or None. The caller owns it and closes it."""
        with self._lock:
            engine, self._ready = self._ready, None
            return engine

    def close(self) -> None:
        """Abandon the current request, join the thread, and close an engine that nobody took."""
        with self._lock:
            self._wanted = None
        self._requests.close()
        self._thread.join()
        if (engine := self.take()) is not None:
            engine.close()

    def _run(self) -> None:
        while not self._requests.closed:
            if (request := self._requests.take()) is not None:
                self._open(request)

    def _open(self, request: _Request) -> None:
        def progress(what: str, done: float) -> None:
            if not self._set_state(request, f"loading {request.engine} {request.model}… {100 * done:.0f} %, {what}"):
                raise InterruptedError(f"{request.engine} {request.model} is no longer requested")

        try:
            engine = self._open_engine(*request, progress)
        except Exception as error:  # each library raises its own types; the node keeps the engine that it has
            if self._set_state(request, f"failed: {error}"):
                self._failed(f"engine {request.engine} with model {request.model} cannot be used: {error}")
            return
        unused: Engine | None = engine
        with self._lock:
            if request is self._wanted:
                unused, self._ready, self._state = self._ready, engine, "ready"
        if unused is not None:
            unused.close()

    def _set_state(self, request: _Request, state: str) -> bool:
        """Set the state if this request is still the current one; returns whether it is."""
        with self._lock:
            if request is self._wanted:
                self._state = state
            return request is self._wanted
