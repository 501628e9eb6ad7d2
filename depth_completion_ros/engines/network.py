"""The base classes of the engines that run networks."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from ..contract import MULTIPLE
from ..model_file import find_model_file, network_names
from ..profiles import Profile
from . import Progress, SelectableEngine


class NetworkEngine(SelectableEngine):
    """Runs one network. A subclass implements ``_infer`` instead of ``run``."""

    multiple = MULTIPLE

    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        return self._infer(np.ascontiguousarray(image), np.ascontiguousarray(depth), scale)

    @abstractmethod
    def _infer(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Like ``run``, with contiguous arrays."""


class NetworkFileEngine(NetworkEngine):
    """Runs one network file. ``run`` raises ConfigurationError for frames of a size that the file does not accept.

    Args:
        model: See ``find_model_file``.
        profile: See ``SelectableEngine``.
        threads: See ``SelectableEngine``.
        progress: See ``SelectableEngine``.

    Attributes:
        precisions: Precisions of the network files that the engine runs, best first.
        file: The network file.
    """

    precisions: ClassVar[tuple[str, ...]]

    def __init__(self, model: str = "auto", *, profile: Profile, threads: int = 0, progress: Progress | None = None):
        self.file = find_model_file(model, *self.precisions)
        self.model = self.file.label
        self.trained = self.file.trained

    @classmethod
    def model_names(cls) -> list[str]:
        return network_names()

    @classmethod
    def check_model(cls, model: str) -> None:
        if model != "auto":
            find_model_file(model, *cls.precisions)

    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        self.file.check_size(*depth.shape)
        return super().run(image, depth, scale)
