"""Opens engines beside the running one: building may take minutes, and no frame waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ..engines import Engine
from .mailbox import Mailbox


class EngineLoader:
    """A thread that opens the engine last asked for; the worker takes it when it is ready.

    open_engine: called in this thread with (engine, model). failed: called there with the text of what went wrong.
    """

    def __init__(self, open_engine: Callable[[str, str], Engine], failed: Callable[[str], None]):
        self._open_engine = open_engine
        self._failed = failed
        self._requests: Mailbox[tuple[str, str]] = Mailbox()
        self._lock = threading.Lock()
        self._ready: Engine | None = None
        self._state = "ready"
        self._thread = threading.Thread(target=self._run, name="engine_loader")
        self._thread.start()

    @property
    def state(self) -> str:
        """For diagnostics: "ready", "loading ENGINE MODEL" or "failed: …"."""
        return self._state

    def request(self, engine: str, model: str) -> None:
        """Open this one; a request not begun yet is replaced."""
        self._state = f"loading {engine} {model}"
        self._requests.put((engine, model))

    def take(self) -> Engine | None:
        """The engine that has become ready since the last call, if any; it is the caller's now."""
        with self._lock:
            engine, self._ready = self._ready, None
            return engine

    def close(self) -> None:
        """Wait for the thread to end; an engine nobody took is closed."""
        self._requests.close()
        self._thread.join()
        if (engine := self.take()) is not None:
            engine.close()

    def _run(self) -> None:
        while not self._requests.closed:
            request = self._requests.take()
            if request is None:
                continue
            try:
                engine = self._open_engine(*request)
            except Exception as error:  # an engine's library throws its own; the node goes on with what it has
                self._state = f"failed: {error}"
                self._failed(f"engine {request[0]} with model {request[1]} cannot be used: {error}")
                continue
            with self._lock:
                replaced, self._ready = self._ready, engine
            self._state = "ready"
            if replaced is not None:
                replaced.close()
