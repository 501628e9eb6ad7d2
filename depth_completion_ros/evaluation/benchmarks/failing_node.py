"""The completion node with an engine that fails once after SIGUSR1, at the next frame, as after a driver reset."""

from __future__ import annotations

import signal
import sys

import numpy as np

from ...engines import Engine
from ...memory import keep_freed_memory
from ...node.completion_node import CompletionNode
from ...node.process import spin


class BrokenEngine(Engine):
    """Replaces an engine and raises an exception in every run."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self.engine, self.model, self.multiple = engine.engine, engine.model, engine.multiple

    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        raise RuntimeError("the device is lost")

    def close(self) -> None:
        self._engine.close()


def make_node() -> CompletionNode:
    node = CompletionNode()

    def break_engine(*_: object) -> None:
        completer = node._worker._completer  # type: ignore[union-attr]
        completer.engine = BrokenEngine(completer.engine)

    signal.signal(signal.SIGUSR1, break_engine)
    return node


if __name__ == "__main__":
    keep_freed_memory()
    spin(make_node, sys.argv[1:])
