"""Builds TensorRT engines from network files and keeps them on disk. Serves TensorRT 10 and later and TensorRT-RTX.

A built engine has the inputs and outputs of the network contract.

An engine of TensorRT-RTX is built without a GPU and fits every GPU from Ampere on; Turing needs one of its own. An
engine of TensorRT is built on the GPU it is for, and fits no other.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigurationError
from ..resources import PACKAGE
from . import Progress
from .cuda import Gpu
from .model_file import ModelFile
from .tensorrt_library import make_log, make_monitor

DIRECTORY_VARIABLE = "DEPTH_COMPLETION_ENGINES"

_RECIPE = 1  # one more whenever the same file gives another engine
_AMPERE, _TURING = "Ampere and later", "Turing"

# TensorRT does not copy a constant's values before the engine is built: these live as long as the module.


class Sizes(NamedTuple):
    """Image sizes (height, width) that an engine of a network for any size takes, and the one it is fastest at."""

    smallest: tuple[int, int]
    best: tuple[int, int]
    largest: tuple[int, int]


DEFAULT_SIZES = Sizes((224, 320), (480, 640), (736, 1280))


def engine_directory() -> Path:
    """Where engines are kept: ``~/.cache/depth_completion_ros/engines``, or what DEPTH_COMPLETION_ENGINES names."""
    named = os.environ.get(DIRECTORY_VARIABLE)
    return Path(named).expanduser() if named else Path.home() / ".cache" / PACKAGE / "engines"


def ensure_engine(
    trt: Any,
    file: ModelFile,
    *,
    directory: Path | None = None,
    sizes: Sizes | None = None,
    progress: Progress | None = None,
) -> Path:
    """The file of the engine for this network, library and GPU in ``directory``, built first where there is none.

    sizes: for a network file that takes any size; given, the engine is built anew with them.
    Raises ConfigurationError, naming the mend, where the engine cannot be built; and whatever ``progress`` raises.
    """
    if sizes is not None and file.height is not None:
        raise ConfigurationError(
            f"{file.path.name} takes images of {file.width}x{file.height} pixels only and has no sizes to choose: "
            "leave them out, or export the network for any size"
        )
    target = target_of(trt)
    directory = directory or engine_directory()
    path = directory / f"{file.path.stem}-{_key(trt, file, target)}.engine"
    if sizes is None and path.is_file():
        return path
    timing = None
    if not hasattr(trt, "IRuntimeCache"):  # TensorRT-RTX compiles when it runs: nothing to time
        timing = directory / f"{hashlib.sha256(target.encode()).hexdigest()[:8]}-{trt.__version__}.timing"
    write_atomically(path, build_engine(trt, file, target, sizes or DEFAULT_SIZES, timing, progress))
    return path


def target_of(trt: Any) -> str:
    """What engines built here run on: one GPU model with TensorRT, generations of them with TensorRT-RTX.

    Raises ConfigurationError without a GPU where the library needs one to build.
    """
    portable = hasattr(trt, "ComputeCapability")
    try:
        gpu = Gpu()
    except ConfigurationError:
        if not portable:
            raise
        return _AMPERE
    if portable:
        return _TURING if gpu.capability < (8, 0) else _AMPERE
    return f"{gpu.name} {gpu.capability[0]}.{gpu.capability[1]}"


def build_engine(
    trt: Any,
    file: ModelFile,
    target: str,
    sizes: Sizes = DEFAULT_SIZES,
    timing: Path | None = None,
    progress: Progress | None = None,
) -> bytes:
    """A serialized engine. timing: file with what the library learned about its kernels, read and written by TensorRT.

    Raises as ``ensure_engine`` does.
    """
    log = make_log(trt)
    try:
        builder = trt.Builder(log)
    except Exception as error:  # a null pointer inside
        raise ConfigurationError(
            f"{trt.__name__} {trt.__version__} cannot build engines here ({'; '.join(log.errors) or error}): check "
            "that nvidia-smi works and that this version knows the GPU, or choose another engine"
        ) from error
    network = read_network(trt, builder, file, log)
    config = builder.create_builder_config()
    if file.height is None:
        _add_profile(builder, network, config, sizes)
    if target == _TURING:
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM75, 0)
    if timing is not None:
        cache = config.create_timing_cache(timing.read_bytes() if timing.is_file() else b"")
        config.set_timing_cache(cache, ignore_mismatch=True)
    monitor = None
    if progress is not None:
        config.progress_monitor = monitor = make_monitor(trt, progress)
    plan = builder.build_serialized_network(network, config)
    if monitor is not None and monitor.raised is not None:
        raise monitor.raised
    if plan is None:
        raise _failure(trt, file, "cannot build it", log.errors)
    if timing is not None:
        write_atomically(timing, bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def read_network(trt: Any, builder: Any, file: ModelFile, log: Any) -> Any:
    """The network in a file as TensorRT's definition, with the outputs of an engine.

    Raises ConfigurationError where TensorRT cannot read it.
    """
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(file.path)):
        raise _failure(
            trt, file, "cannot read it", [parser.get_error(i).desc() for i in range(parser.num_errors)] or log.errors
        )
    return network


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, also where several processes write it at once."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise ConfigurationError(
            f"{path} cannot be written ({error.strerror}): make room, or name another folder with {DIRECTORY_VARIABLE}"
        ) from error


def _add_profile(builder: Any, network: Any, config: Any, sizes: Sizes) -> None:
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        if -1 in tensor.shape:
            profile.set_shape(tensor.name, *(_at_size(tensor.shape, size) for size in sizes))
    config.add_optimization_profile(profile)


def _at_size(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[int, ...]:
    """A shape with its unknown height and width, each -1, filled in."""
    known = iter(size)
    return tuple(next(known) if length == -1 else length for length in shape)


def _key(trt: Any, file: ModelFile, target: str) -> str:
    """Tells apart the engines of different networks, libraries, GPUs and recipes."""
    digest = hashlib.sha256(file.path.read_bytes())
    library = trt.__name__.removesuffix("_bindings"), trt.__version__
    digest.update(repr((library, target, _RECIPE)).encode())
    return digest.hexdigest()[:16]


def _failure(trt: Any, file: ModelFile, what: str, errors: list[str]) -> ConfigurationError:
    reason = "; ".join(errors[-2:]) or "it gives no reason"
    return ConfigurationError(
        f"{trt.__name__} {trt.__version__}, given {file.path}, {what} ({reason}): "
        "make the file again with depth-completion export, or choose another engine"
    )
