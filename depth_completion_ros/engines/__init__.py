"""Engines turn an image and sparse depth into dense depth and its sigma. One small contract, one file per engine."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from ..errors import ConfigurationError
from ..profiles import Profile


class Engine(ABC):
    """One model, loaded and ready to run. Used by one thread at a time.

    engine: "classical", …; model: the name of what it runs. multiple: height and width must be multiples of it.
    """

    engine: str
    model: str
    multiple: int = 1

    @abstractmethod
    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Complete one frame.

        image: (H, W, 3) uint8, red first. depth: (H, W) float32 [m], 0 = missing, at least one measured. scale: [m],
        the median of the measured depth. Returns depth and sigma, (H, W) float32 [m], everywhere finite and above zero.

        The returned arrays belong to the engine and hold until its next run; the inputs are only read.
        """

    def device_memory_bytes(self) -> int | None:
        """Memory held on an accelerator; None for an engine that uses none."""
        return None

    def close(self) -> None:  # noqa: B027 - most engines hold nothing
        """Let go of everything held. The engine is not used afterwards."""


ENGINES = ("auto", "classical")


def open_engine(engine: str = "auto", model: str = "auto", *, profile: Profile, threads: int = 0) -> Engine:
    """The engine of this name with a model loaded; "auto" takes the best that runs here.

    threads: CPU threads it may use, 0 = as many as the library likes.
    Raises ConfigurationError for an unknown engine or model, or one that cannot run here.
    """
    if engine in ("auto", "classical"):
        from .classical import ClassicalEngine

        return ClassicalEngine(model, profile=profile, threads=threads)
    raise ConfigurationError(f"no engine {engine!r}: choose one of {', '.join(ENGINES)}")


def model_names(engine: str = "auto") -> list[str]:
    """The models that ``open_engine`` takes for this engine, its best first. Raises ConfigurationError."""
    if engine in ("auto", "classical"):
        from .classical_models import MODELS

        return list(MODELS)
    raise ConfigurationError(f"no engine {engine!r}: choose one of {', '.join(ENGINES)}")
