"""The completion node, whose engine breaks when it is sent SIGUSR1: once, in the next frame, as a driver reset does."""

from __future__ import annotations

import signal
import sys

import numpy as np

from ..engines import Engine
from ..memory import keep_freed_memory
from ..node.completion_node import CompletionNode
from ..node.process import spin


class BrokenEngine(Engine):
    """Stands in for an engine whose library throws from now on."""

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
