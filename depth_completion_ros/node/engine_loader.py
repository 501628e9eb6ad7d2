"""Opens engines beside the running one: building may take minutes, and no frame waits for it."""

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
    """A thread that opens the engine last asked for; the worker takes it when it is ready.

    open_engine: called in this thread with (engine, model, progress). It calls progress while it works, which raises
    InterruptedError once that engine is no longer wanted. failed: called there with the text of what went wrong.
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
        """For diagnostics: "ready", "loading ENGINE MODEL", with how far it is where that is known, or "failed: …"."""
        return self._state

    def request(self, engine: str, model: str) -> None:
        """Open this one; a request before it is given up, also where it is at work."""
        request = _Request(engine, model)
        with self._lock:
            self._wanted = request
            self._state = f"loading {engine} {model}"
        self._requests.put(request)

    def take(self) -> Engine | None:
        """The engine that has become ready since the last call, if any; it is the caller's now."""
        with self._lock:
            engine, self._ready = self._ready, None
            return engine

    def close(self) -> None:
        """Give up what is at work and wait for the thread to end; an engine nobody took is closed."""
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
                raise InterruptedError(f"{request.engine} {request.model} is no longer wanted")

        try:
            engine = self._open_engine(*request, progress)
        except Exception as error:  # an engine's library throws its own; the node goes on with what it has
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
        """Whether this request is still the one wanted; only then the state is its."""
        with self._lock:
            if request is self._wanted:
                self._state = state
            return request is self._wanted
