"""Build TensorRT engines from network files and cache them on disk, with TensorRT 10 or later, or TensorRT-RTX.

A built engine has the inputs and outputs of the network contract.

A TensorRT-RTX engine can be built without a GPU and runs on all GPUs of the Ampere generation and later; Turing needs
its own engine. A TensorRT engine runs only on the GPU model on which it was built.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, NamedTuple

from ..atomic import new_file
from ..errors import ConfigurationError
from ..model_file import ModelFile
from ..resources import PACKAGE
from . import Progress
from .cuda import Gpu
from .tensorrt_library import make_log, make_monitor

DIRECTORY_VARIABLE = "DEPTH_COMPLETION_ENGINES"

_BUILD_VERSION = 1  # increase it when a change of this module changes the engines that it builds
_AMPERE, _TURING = "Ampere and later", "Turing"


class Sizes(NamedTuple):
    """Image sizes (height, width) of a network for any size: the smallest, the size to optimise for, the largest."""

    smallest: tuple[int, int]
    best: tuple[int, int]
    largest: tuple[int, int]


DEFAULT_SIZES = Sizes((224, 320), (480, 640), (736, 1280))


def engine_directory() -> Path:
    """Return the directory of engine files: DEPTH_COMPLETION_ENGINES, or ``~/.cache/depth_completion_ros/engines``."""
    configured = os.environ.get(DIRECTORY_VARIABLE)
    return Path(configured).expanduser() if configured else Path.home() / ".cache" / PACKAGE / "engines"


def ensure_engine(
    trt: Any,
    file: ModelFile,
    *,
    directory: Path | None = None,
    sizes: Sizes | None = None,
    progress: Progress | None = None,
) -> Path:
    """Return the engine file for a network, library and GPU. Build it first if it does not exist.

    Args:
        trt: The library, from ``load_library``.
        file: The network file.
        directory: Directory of engine files; None = ``engine_directory()``.
        sizes: Image sizes, for a network file for any size. If given, the engine is always built again.
        progress: Called while the engine is built; an exception from it aborts the build and is raised here.

    Raises:
        ConfigurationError: If the engine cannot be built. The message says how to fix it.
    """
    if sizes is not None and file.height is not None:
        raise ConfigurationError(
            f"{file.path.name} takes images of {file.width}x{file.height} pixels only, so other sizes cannot be "
            "chosen: leave the sizes out, or export the network for any size"
        )
    target = target_of(trt)
    directory = directory or engine_directory()
    path = directory / f"{file.path.stem}-{_key(trt, file, target)}.engine"
    if sizes is None and path.is_file():
        return path
    timing = None
    if not hasattr(trt, "IRuntimeCache"):  # TensorRT-RTX compiles kernels at run time and does not time them
        timing = directory / f"{hashlib.sha256(target.encode()).hexdigest()[:8]}-{trt.__version__}.timing"
    write_cached(path, build_engine(trt, file, target, sizes or DEFAULT_SIZES, timing, progress))
    return path


def target_of(trt: Any) -> str:
    """Return on which GPUs an engine built here runs: one model with TensorRT, generations with TensorRT-RTX.

    Raises:
        ConfigurationError: If there is no GPU and the library needs one to build.
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
    """Build an engine and return it serialized.

    Args:
        trt: The library, from ``load_library``.
        file: The network file.
        target: The GPUs to build for, from ``target_of``.
        sizes: Image sizes, used for a network file for any size.
        timing: File of TensorRT's timing cache, which is read and written; None = no cache.
        progress: See ``ensure_engine``.

    Raises:
        ConfigurationError: If the engine cannot be built.
    """
    log = make_log(trt)
    try:
        builder = trt.Builder(log)
    except Exception as error:  # TensorRT returns a null pointer, which its bindings report in an exception
        raise ConfigurationError(
            f"{trt.__name__} {trt.__version__} cannot build engines here ({'; '.join(log.errors) or error}): check "
            "that nvidia-smi works and that this version supports the GPU, or choose another engine"
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
        write_cached(timing, bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def read_network(trt: Any, builder: Any, file: ModelFile, log: Any) -> Any:
    """Read a network file into a TensorRT network definition.

    Raises:
        ConfigurationError: If TensorRT cannot read the file.
    """
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(file.path)):
        raise _failure(
            trt, file, "cannot read it", [parser.get_error(i).desc() for i in range(parser.num_errors)] or log.errors
        )
    return network


def write_cached(path: Path, content: bytes) -> None:
    """Write a file of the engine directory.

    Raises:
        ConfigurationError: If the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with new_file(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written ({error.strerror}): free some disk space, or set {DIRECTORY_VARIABLE} to "
            "another folder"
        ) from error


def _add_profile(builder: Any, network: Any, config: Any, sizes: Sizes) -> None:
    profile = builder.create_optimization_profile()
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        if -1 in tensor.shape:
            profile.set_shape(tensor.name, *(_at_size(tensor.shape, size) for size in sizes))
    config.add_optimization_profile(profile)


def _at_size(shape: tuple[int, ...], size: tuple[int, int]) -> tuple[int, ...]:
    """Return the shape with its dynamic height and width, which are -1, replaced by a size."""
    lengths = iter(size)
    return tuple(next(lengths) if length == -1 else length for length in shape)


def _key(trt: Any, file: ModelFile, target: str) -> str:
    """Return a hash that identifies the network file, library, GPU and build version of an engine."""
    digest = hashlib.sha256(file.path.read_bytes())
    library = trt.__name__.removesuffix("_bindings"), trt.__version__
    digest.update(repr((library, target, _BUILD_VERSION)).encode())
    return digest.hexdigest()[:16]


def _failure(trt: Any, file: ModelFile, what: str, errors: list[str]) -> ConfigurationError:
    reason = "; ".join(errors[-2:]) or "it gives no reason"
    return ConfigurationError(
        f"{trt.__name__} {trt.__version__}, given {file.path}, {what} ({reason}): "
        "export the file again with depth-completion export, or choose another engine"
    )
