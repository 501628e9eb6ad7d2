"""What the engines that run networks share."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from ..contract import MULTIPLE
from . import Engine
from .model_file import ModelFile


class NetworkEngine(Engine):
    """Runs one network. Frames of a size that it does not take raise ConfigurationError."""

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
        """As ``run``, of contiguous arrays of the right size."""
