"""The base class of the engines that run network files."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from ..contract import MULTIPLE
from ..model_file import ModelFile
from . import Engine


class NetworkEngine(Engine):
    """Runs one network file. Frames of a size that it does not accept raise ConfigurationError."""

    multiple = MULTIPLE

    def __init__(self, file: ModelFile):
        self.file = file
        self.model = file.label
        self.trained = file.trained

    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        self.file.check_size(*depth.shape)
        return self._infer(np.ascontiguousarray(image), np.ascontiguousarray(depth), scale)

    @abstractmethod
    def _infer(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Like ``run``, with contiguous arrays of an accepted size."""
