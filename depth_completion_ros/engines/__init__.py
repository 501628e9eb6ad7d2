"""Engines compute dense depth and its sigma from an image and sparse depth. One contract, one file per engine."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np

from ..errors import ConfigurationError
from ..profiles import Profile

Progress = Callable[[str, float], None]
"""Called with the name of the current phase and the total progress, 0..1. An exception from it aborts opening."""

_log = logging.getLogger(__name__)  # logs to stderr unless the program configures logging


class Engine(ABC):
    """A loaded model that is ready to run. Not more than ``concurrency`` threads may use it at the same time.

    Attributes:
        engine: Name of the engine, for example "classical".
        model: Name of the loaded model.
        multiple: Height and width of the inputs must be multiples of this number.
        trained: False for a network with random weights.
        concurrency: Number of threads that may call ``run`` at the same time.
        working_pixels: Images with more pixels are better completed at a reduced size (``working_size``); 0 = none are.
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
        """Allow this number of threads to call ``run`` at the same time, if the engine can: it sets ``concurrency``.

        No thread may call ``run`` meanwhile. The threads share the CPU threads of the engine, so each frame takes
        longer, but more frames are completed per second.
        """

    def device_memory_bytes(self) -> int | None:
        """Memory used on an accelerator [bytes]; None for an engine without one."""
        return None

    def close(self) -> None:  # noqa: B027 - most engines hold nothing
        """Release all resources. The engine must not be used afterwards."""


_CLASSES = {
    "classical": ("classical", "ClassicalEngine"),
    "openvino": ("openvino", "OpenVinoEngine"),
    "tensorrt": ("tensorrt", "TensorRtEngine"),
    "torch": ("torch", "TorchEngine"),
}
ENGINES = ("auto", *_CLASSES)


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
            engine; the first two need a trained network, unless ``model`` selects one.
        model: For the classical engine one of ``model_names``; for torch a network ("lite", "nlspn-full") or the path
            of a weights file; for the others see ``find_model_file``. "auto" = the best one.
        profile: The depth sensor.
        threads: Number of CPU threads; 0 = library default.
        progress: Called while a TensorRT engine is built.
        warn: Called with one line for each network file that "auto" skips. The line says what is wrong and how to fix
            it.

    Raises:
        ConfigurationError: If the engine or the model is unknown or cannot run on this machine.
    """
    if engine == "auto":
        return _open_best(model, profile, threads, progress, warn)
    if engine not in _CLASSES:
        raise _unknown(engine)
    module, name = _CLASSES[engine]
    options = {"progress": progress} if engine == "tensorrt" else {}
    return getattr(import_module(f".{module}", __package__), name)(model, profile=profile, threads=threads, **options)


def _open_best(
    model: str, profile: Profile, threads: int, progress: Progress | None, warn: Callable[[str], object]
) -> Engine:
    if model != "auto" and model in model_names("classical"):
        return open_engine("classical", model, profile=profile, threads=threads)
    from ..model_file import model_files

    files, unreadable = model_files(model)
    for error in unreadable:
        warn(f"a network file is skipped: {error}")
    reasons = []
    for engine in ("tensorrt", "openvino"):
        try:
            return open_engine(engine, model, profile=profile, threads=threads, progress=progress)
        except (ConfigurationError, ImportError) as error:
            reasons.append(str(error))
    if model == "auto":
        if any(file.trained for file in files):
            warn(f"using the classical engine, because the trained network cannot be used: {reasons[-1]}")
        return open_engine("classical", profile=profile, threads=threads)
    raise ConfigurationError(
        f"no engine runs model {model!r} here: it is not a classical model ({', '.join(model_names('classical'))}), "
        f"and {'; '.join(dict.fromkeys(reasons))}"
    )


def model_names(engine: str = "auto") -> list[str]:
    """The models that ``open_engine`` accepts for an engine, best first; for networks, all files that were found.

    Raises:
        ConfigurationError: If the engine is unknown.
    """
    if engine in ("auto", "classical"):
        from .classical_models import MODELS

        return list(MODELS)
    if engine == "torch":
        from ..networks import names

        return list(names())
    if engine in _CLASSES:
        from ..model_file import network_names

        return network_names()
    raise _unknown(engine)


def check_model(engine: str, model: str) -> None:
    """Check that an engine has a model. Only looks at names and files, not whether the engine's library is installed.

    Raises:
        ConfigurationError: If the engine has no such model. The message lists the available models.
    """
    names = model_names(engine)
    if model in ("auto", *names):
        return
    from ..model_file import find_model_file, find_weights_file, network_names

    reason = f"engine {engine} has no model {model!r}"
    if engine == "torch":
        from ..networks import SIZES

        name, _, size = model.partition("-")
        if (name in names and size in SIZES) or find_weights_file(model) or Path(model).expanduser().is_file():
            return
    elif engine != "classical":
        try:
            find_model_file(model)
            return
        except ConfigurationError as error:
            reason = str(error)
    known = dict.fromkeys(["auto", *names, *(network_names() if engine == "auto" else [])])
    raise ConfigurationError(f"{reason}; choose one of {', '.join(known)}")


def _unknown(engine: str) -> ConfigurationError:
    return ConfigurationError(f"no engine {engine!r}: choose one of {', '.join(ENGINES)}")
