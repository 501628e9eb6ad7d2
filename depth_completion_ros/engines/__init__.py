"""Engines turn an image and sparse depth into dense depth and its sigma. One small contract, one file per engine."""

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
"""Called with what is being done and the part of the whole that is done, 0..1; what it raises ends the opening."""

_log = logging.getLogger(__name__)  # to stderr, unless a program sets it up otherwise


class Engine(ABC):
    """One model, loaded and ready to run. Used by one thread at a time.

    engine: "classical", …; model: the name of what it runs. multiple: height and width must be multiples of it.
    trained: False for a network with random weights.
    """

    engine: str
    model: str
    multiple: int = 1
    trained: bool = True

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
    """The engine of this name with a model loaded.

    "auto" takes TensorRT where there is a GPU, else OpenVINO, else the classical engine; the first two only with a
    trained network, unless ``model`` names one. model: for the classical engine one of ``model_names``, for torch what
    ``TorchEngine`` takes, for the others what ``find_model_file`` takes.
    threads: CPU threads it may use, 0 = as many as the library likes. progress: told of a TensorRT engine being built.
    warn: called with one line, which names the mend, for each network file that "auto" had to pass over.
    Raises ConfigurationError for an unknown engine or model, or one that cannot run here.
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
    from .model_file import model_files

    files, unreadable = model_files(model)
    for error in unreadable:
        warn(f"a network file is passed over: {error}")
    reasons = []
    for engine in ("tensorrt", "openvino"):
        try:
            return open_engine(engine, model, profile=profile, threads=threads, progress=progress)
        except (ConfigurationError, ImportError) as error:
            reasons.append(str(error))
    if model == "auto":
        if any(file.trained for file in files):
            warn(f"the classical engine serves, because the trained network cannot: {reasons[-1]}")
        return open_engine("classical", profile=profile, threads=threads)
    raise ConfigurationError(
        f"no engine runs model {model!r} here: it is no classical model ({', '.join(model_names('classical'))}), and "
        f"{'; '.join(dict.fromkeys(reasons))}"
    )


def model_names(engine: str = "auto") -> list[str]:
    """The models that ``open_engine`` takes for this engine, its best first; of networks, all files there are.

    Raises ConfigurationError for an unknown engine.
    """
    if engine in ("auto", "classical"):
        from .classical_models import MODELS

        return list(MODELS)
    if engine == "torch":
        from ..networks import names

        return list(names())
    if engine in _CLASSES:
        from .model_file import network_names

        return network_names()
    raise _unknown(engine)


def check_model(engine: str, model: str) -> None:
    """Raises ConfigurationError, with the list of those there are, where this engine has no such model.

    Only names and files are looked at: whether the engine's library is installed, opening it tells.
    """
    names = model_names(engine)
    if model in ("auto", *names):
        return
    from .model_file import find_model_file, find_weights_file, network_names

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
