"""Engines compute dense depth and its sigma from an image and sparse depth. Each engine has its own module."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from ..errors import ConfigurationError
from ..model_file import model_files
from ..profiles import Profile

Progress = Callable[[str, float], None]
"""Called with the name of the current phase and the total progress, 0..1. An exception from it aborts opening."""

_log = logging.getLogger(__name__)  # logs to stderr unless the program configures logging


class Engine(ABC):
    """A loaded model that is ready to run. At most ``concurrency`` threads may use it at the same time.

    Attributes:
        engine: Name of the engine, for example "classical".
        model: Name of the loaded model.
        multiple: Height and width of the inputs must be multiples of this number.
        trained: False for a network with random weights.
        concurrency: Number of threads that may call ``run`` at the same time.
        working_pixels: Number of pixels above which images should be completed at a reduced size (``working_size``);
            0 = no limit.
    """

    engine: str
    model: str
    multiple: int = 1
    concurrency: int = 1
    working_pixels: int = 0
    trained: bool = True

    @abstractmethod
    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Complete one frame.

        Args:
            image: (H, W, 3) uint8, RGB.
            depth: (H, W) float32 [m], 0 = missing; at least one pixel is measured.
            scale: Median of the measured depth [m].

        Returns:
            Depth and sigma, both (H, W) float32 [m], finite and positive everywhere. The next run may
            overwrite these arrays, unless ``concurrency`` is more than 1.
        """

    def allow_concurrency(self, threads: int) -> None:  # noqa: B027 - most engines cannot
        """Allow this number of threads to call ``run`` at the same time, if the engine supports it.

        The method sets ``concurrency``. No thread may call ``run`` during this call. The threads share the CPU threads
        of the engine, so each frame takes longer, but more frames are completed per second.
        """

    def device_memory_bytes(self) -> int | None:
        """Return the memory used on an accelerator [bytes]; None for an engine that does not use one."""
        return None

    def close(self) -> None:  # noqa: B027 - most engines have nothing to release
        """Release all resources. The engine must not be used afterwards."""


class SelectableEngine(Engine):
    """An engine that users select by its name and the name of a model.

    The module of the engine must not import the engine's library; the constructor imports it.

    Args:
        model: Name of the model; "auto" = the best one.
        profile: The depth sensor.
        threads: Number of CPU threads; 0 = library default.
        progress: Called during long steps of opening.

    Raises:
        ConfigurationError: If the model is unknown, or the engine cannot run on this machine. The message says how to
            fix it.
    """

    @abstractmethod
    def __init__(self, model: str = "auto", *, profile: Profile, threads: int = 0, progress: Progress | None = None):
        pass

    @classmethod
    @abstractmethod
    def model_names(cls) -> list[str]:
        """Return the names of the models on this machine, best first. Only looks at names and files."""

    @classmethod
    def check_model(cls, model: str) -> None:
        """Check that there is a model of this name. Only looks at names and files, not at the engine's library.

        Raises:
            ConfigurationError: If there is no such model.
        """
        if model not in ("auto", *cls.model_names()):
            raise ConfigurationError(f"engine {cls.engine} has no model {model!r}")


@dataclass(frozen=True)
class _EngineEntry:
    """Module and class of an engine, and whether "auto" may select it."""

    module: str
    class_name: str
    automatic: bool

    def load(self) -> type[SelectableEngine]:
        loaded: type[SelectableEngine] = getattr(import_module(f".{self.module}", __package__), self.class_name)
        return loaded


# "auto" tries the engines in this order.
_REGISTRY = {
    "tensorrt": _EngineEntry("tensorrt", "TensorRtEngine", automatic=True),
    "openvino": _EngineEntry("openvino", "OpenVinoEngine", automatic=True),
    "classical": _EngineEntry("classical", "ClassicalEngine", automatic=True),
    "torch": _EngineEntry("torch", "TorchEngine", automatic=False),
}
ENGINES = ("auto", *_REGISTRY)


def open_engine(
    engine: str = "auto",
    model: str = "auto",
    *,
    profile: Profile,
    threads: int = 0,
    progress: Progress | None = None,
    warn: Callable[[str], object] = _log.warning,
) -> Engine:
    """Open an engine and load a model.

    Args:
        engine: One of ``ENGINES``. "auto" selects TensorRT if there is a GPU, else OpenVINO, else the classical
            engine. TensorRT and OpenVINO are selected only with a trained network or with the network that ``model``
            names.
        model: Name of the model, see the class of the engine; "auto" = the best one.
        profile: The depth sensor.
        threads: Number of CPU threads; 0 = library default.
        progress: Called while a TensorRT engine is built.
        warn: Called with one line for each network file that "auto" skips. The line says what is wrong and how to fix
            it.

    Raises:
        ConfigurationError: If the engine or the model is unknown or cannot run on this machine.
    """
    (first, *others) = _entries(engine)
    if not others:
        return first.load()(model, profile=profile, threads=threads, progress=progress)
    files, unreadable = model_files(model)
    for error in unreadable:
        warn(f"a network file is skipped: {error}")
    reasons: list[str] = []
    for entry in (first, *others):
        try:
            opened = entry.load()(model, profile=profile, threads=threads, progress=progress)
        except (ConfigurationError, ImportError) as error:
            reasons.append(str(error))
            continue
        trained = [file.label for file in files if file.trained]
        if trained and opened.model not in trained:
            warn(f"using the {opened.engine} engine, because the trained network cannot be used: {reasons[-1]}")
        return opened
    raise ConfigurationError(f"no engine runs model {model!r} here: {'; '.join(dict.fromkeys(reasons))}")


def model_names(engine: str = "auto") -> list[str]:
    """Return the models that ``open_engine`` accepts for an engine, best first; for networks, all files that exist.

    Raises:
        ConfigurationError: If the engine is unknown.
    """
    return list(dict.fromkeys(name for entry in _entries(engine) for name in entry.load().model_names()))


def check_model(engine: str, model: str) -> None:
    """Check that an engine has a model. Only looks at names and files, not whether the engine's library is installed.

    Raises:
        ConfigurationError: If the engine has no such model. The message lists the available models.
    """
    problems = []
    for entry in _entries(engine):
        try:
            return entry.load().check_model(model)
        except ConfigurationError as error:
            problems.append(str(error))
    raise ConfigurationError(f"{problems[0]}; choose one of {', '.join(['auto', *model_names(engine)])}")


def _entries(engine: str) -> list[_EngineEntry]:
    """Return the entry of an engine; for "auto", the entries of all engines to try."""
    if engine == "auto":
        return [entry for entry in _REGISTRY.values() if entry.automatic]
    if engine not in _REGISTRY:
        raise ConfigurationError(f"no engine {engine!r}: choose one of {', '.join(ENGINES)}")
    return [_REGISTRY[engine]]
