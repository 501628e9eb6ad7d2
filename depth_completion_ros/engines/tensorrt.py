"""The TensorRT engine: networks on NVIDIA GPUs. It runs the engine files that ``tensorrt_build`` builds."""

from __future__ import annotations

from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from ..contract import INPUTS, OUTPUTS
from ..errors import ConfigurationError
from ..profiles import Profile
from . import Progress
from .cuda import Gpu
from .network import NetworkFileEngine
from .tensorrt_build import ensure_engine, write_cached
from .tensorrt_library import load_library, make_log


class TensorRtEngine(NetworkFileEngine):
    """Runs a network file with TensorRT or TensorRT-RTX on the first GPU.

    If there is no engine file yet, it is built first, which can take minutes.

    Args:
        model: See ``find_model_file``.
        profile: Not used.
        threads: Not used.
        progress: Called while the engine is built; an exception from it aborts the build.

    Raises:
        ConfigurationError: If a library or the GPU is missing or the file cannot be used. The message says how to fix
            it.
    """

    engine = "tensorrt"
    # fastest first; TensorRT cannot read int8 files, because their activations are quantised asymmetrically
    precisions = ("fp16", "w8a16", "fp32")

    def __init__(self, model: str = "auto", *, profile: Profile, threads: int = 0, progress: Progress | None = None):
        super().__init__(model, profile=profile)
        trt = load_library()
        self._gpu = Gpu()
        with self._gpu:
            self._log = make_log(trt)
            self._runtime = trt.Runtime(self._log)
            path = self._load(trt, progress)
            self._smallest, optimal, self._largest = self._sizes()
            self._stream = self._gpu.stream()
            self._buffers = {name: self._stream.buffer(prod(shape)) for name, shape in _shapes(*self._largest).items()}
            kernels = self._make_context(trt, path.with_suffix(".kernels"))
            for name, buffer in self._buffers.items():
                self._context.set_tensor_address(name, buffer.address)
            self._size = (0, 0)
            self._warm_up(*optimal)
            if kernels is not None:
                with suppress(ConfigurationError):  # with a read-only folder the engine works, but opens more slowly
                    write_cached(path.with_suffix(".kernels"), bytes(kernels.serialize()))

    def _infer(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        height, width = depth.shape
        if (height, width) != self._size:
            self._resize(height, width)
        np.multiply(image.transpose(2, 0, 1), np.float32(1 / 255), out=self._views["image"][0])
        np.copyto(self._views["depth"][0, 0], depth)
        self._views["scale"][:] = scale
        with self._gpu:
            for name in INPUTS:
                self._buffers[name].upload(self._views[name])
            if not self._context.execute_async_v3(self._stream.handle):
                raise RuntimeError(self._error_message("the network cannot run"))
            for name in OUTPUTS:
                self._buffers[name].download(self._views[name])
            self._stream.wait()
        return self._views["completed"][0, 0], self._views["sigma"][0, 0]

    def device_memory_bytes(self) -> int:
        """Return the memory of the weights, the layers, and the inputs and outputs [bytes]."""
        buffers = sum(buffer.nbytes for buffer in self._buffers.values())
        return self._weights_nbytes + self._engine.device_memory_size_v2 + buffers

    def close(self) -> None:
        with self._gpu:  # the memory is freed with the last references
            del self._context, self._engine, self._runtime, self._views, self._buffers, self._stream

    def _load(self, trt: Any, progress: Progress | None) -> Path:
        """Load the engine file, which is built if necessary, and return its path.

        A file that cannot be loaded, because it is damaged or was built for another driver, is built again.
        """
        for last_try in (False, True):
            path = ensure_engine(trt, self.file, progress=progress)
            plan = path.read_bytes()
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is not None:
                break
            if last_try:
                raise ConfigurationError(self._error_message(f"{path} cannot be loaded"))
            with suppress(OSError):
                path.unlink()
        self._weights_nbytes = len(plan)  # a serialized engine consists almost entirely of weights
        return path

    def _sizes(self) -> list[tuple[int, int]]:
        """Return the smallest, the optimal and the largest image size (height, width) of the engine."""
        shape = self._engine.get_tensor_shape("depth")
        shapes = self._engine.get_tensor_profile_shape("depth", 0) if -1 in shape else [shape] * 3
        return [(shape[2], shape[3]) for shape in shapes]

    def _make_context(self, trt: Any, kernels: Path) -> Any:
        """Create the execution context. Return TensorRT-RTX's cache of compiled kernels; None for TensorRT.

        TensorRT-RTX compiles kernels at its first run and then replays one CUDA graph for each frame. TensorRT launches
        its kernels one by one, because PyCUDA cannot record a graph.
        """
        cache = None
        if hasattr(trt, "IRuntimeCache"):
            config = self._engine.create_runtime_config()
            cache = config.create_runtime_cache()
            if kernels.is_file():
                cache.deserialize(kernels.read_bytes())  # kernels of another GPU or version are ignored
            config.set_runtime_cache(cache)
            if hasattr(config, "cuda_graph_strategy"):
                config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self._context = self._engine.create_execution_context(config)
        else:
            self._context = self._engine.create_execution_context()
        if self._context is None:
            raise ConfigurationError(
                self._error_message("the GPU does not have enough free memory, or its driver is too old")
            )
        return cache

    def _resize(self, height: int, width: int) -> None:
        """Prepare for images of another size."""
        (min_height, min_width), (max_height, max_width) = self._smallest, self._largest
        if not (min_height <= height <= max_height and min_width <= width <= max_width):
            raise ConfigurationError(
                f"the engine of {self.file.path.name} takes images from {min_width}x{min_height} to "
                f"{max_width}x{max_height} pixels, not {width}x{height}: build it for this size with depth-completion "
                "build-engine --profile-sizes"
            )
        shapes = _shapes(height, width)
        for name in INPUTS:
            if not self._context.set_input_shape(name, shapes[name]):
                raise RuntimeError(self._error_message(f"the network rejects {name} of shape {shapes[name]}"))
        self._views = {name: self._buffers[name].view(shape) for name, shape in shapes.items()}
        self._size = (height, width)

    def _warm_up(self, height: int, width: int) -> None:
        """Run once, so that the compilation of kernels at the first run does not delay the first frame."""
        self._infer(np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.float32), 1.0)

    def _error_message(self, what: str) -> str:
        return f"TensorRT, {self.model}: {what} ({'; '.join(self._log.errors[-2:]) or 'TensorRT gives no reason'})"


def _shapes(height: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the engine's inputs and outputs for images of one size."""
    map_shape = (1, 1, height, width)
    return {
        "image": (1, 3, height, width),
        "depth": map_shape,
        "scale": (1, 1, 1, 1),
        "completed": map_shape,
        "sigma": map_shape,
    }
