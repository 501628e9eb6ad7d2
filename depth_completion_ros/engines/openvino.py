"""The OpenVINO engine: networks on CPUs."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from pathlib import Path
from queue import LifoQueue
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from ..profiles import Profile
from ..resources import PACKAGE
from . import Progress
from .network import NetworkFileEngine

_WORKING_PIXELS = 400_000  # more than 640x480; CPUs complete larger images too slowly for most cameras
_MAX_CACHED_FILES = 32  # compiled networks on disk, 20 to 70 MB each at VGA
_MAX_COMPILED_SIZES = 4  # image sizes for which a network stays compiled; each needs memory for the layers' results


class OpenVinoEngine(NetworkFileEngine):
    """Runs a network file with OpenVINO on the CPU.

    fp32 files are computed in float32; fp16 and w8a16 files in bfloat16 if the CPU supports it and the network allows
    it, else in float32; int8 files in int8, and in float32 where int8 is not used. A network for any size is compiled
    separately for each image size, which makes it as fast as a network for a fixed size: for 480x640 pixels when it is
    opened, for other sizes at their first frame. The last four sizes are kept. The 32 compiled networks that were used
    last are cached in ``~/.cache`` and open faster the next time.

    Args:
        model: See ``find_model_file``.
        profile: Not used.
        threads: Number of CPU threads; 0 = one per core.
        progress: Not used.

    Raises:
        ConfigurationError: If OpenVINO is not installed or the file cannot be used.
    """

    engine = "openvino"
    # fastest first; fp16 and w8a16 are last because not every CPU supports bfloat16
    precisions = ("int8", "fp32", "fp16", "w8a16")

    def __init__(self, model: str = "auto", *, profile: Profile, threads: int = 0, progress: Progress | None = None):
        super().__init__(model, profile=profile)
        if self.file.height is None:
            self.working_pixels = _WORKING_PIXELS
        openvino = _library()
        self._core = _core(openvino)
        allowed = self.file.precision in ("fp16", "w8a16") and self.file.bfloat16
        bfloat16 = allowed and "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._settings = {
            # By default OpenVINO computes in bfloat16 if the CPU supports it.
            "INFERENCE_PRECISION_HINT": "bf16" if bfloat16 else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            # A pinned thread waits while another process uses its core, and all other threads wait for that thread.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_NUM_THREADS": threads,
            "CACHE_DIR": str(_cache_directory()),
        }
        self._tensor = openvino.Tensor
        self._lock = threading.Lock()
        # Idle inference requests by height and width; the most recently used size is last.
        self._idle: dict[tuple[int, ...], LifoQueue[Any]] = {}
        try:
            network = self._core.read_model(self.file.path)
            if not bfloat16:  # the replacement of the logarithm is too inaccurate in bfloat16
                network = _with_vectorised_logarithms(network)
            self._network = _with_image_input(openvino, network)
            self._idle_requests(self.file.height or 480, self.file.width or 640)
        except RuntimeError as error:
            raise ConfigurationError(
                f"OpenVINO cannot use {self.file.path} ({error}): export it again with depth-completion export"
            ) from error

    def _infer(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        arrays = {
            "image": image[None],
            "depth": depth[None, None],
            "scale": np.full((1, 1, 1, 1), scale, np.float32),
            "completed": np.empty((1, 1, *depth.shape), np.float32),
            "sigma": np.empty((1, 1, *depth.shape), np.float32),
        }
        idle = self._idle_requests(*depth.shape)
        request = idle.get()
        try:
            for name, array in arrays.items():  # tensors do not keep their arrays alive
                request.set_tensor(name, self._tensor(array, shared_memory=True))
            request.infer()
        finally:
            idle.put(request)
        return arrays["completed"][0, 0], arrays["sigma"][0, 0]

    def allow_concurrency(self, threads: int) -> None:
        self.concurrency = threads
        self._settings["NUM_STREAMS"] = threads
        self._idle.clear()

    def close(self) -> None:
        del self._idle, self._network

    def _idle_requests(self, height: int, width: int) -> LifoQueue[Any]:
        """Return the idle inference requests for images of this size. The first call compiles the network."""
        size = (height, width)
        with self._lock:
            idle = self._idle.pop(size, None)
            if idle is None:
                if self.file.height is None:
                    self._network.reshape({"image": (1, *size, 3), "depth": (1, 1, *size)})
                compiled = self._core.compile_model(self._network, "CPU", self._settings)
                _remove_old_files(_cache_directory())
                idle = LifoQueue()  # last in, first out: the memory of the last request may still be in the CPU's cache
                for _ in range(self.concurrency):
                    idle.put(compiled.create_infer_request())
                if len(self._idle) == _MAX_COMPILED_SIZES:
                    del self._idle[next(iter(self._idle))]
            self._idle[size] = idle
            return idle


def _library() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise ConfigurationError(f"engine openvino needs OpenVINO ({error}): pip install openvino") from error
    return openvino


_core_lock = threading.Lock()


def _core(openvino: Any) -> Any:
    """Return the only OpenVINO core of this process, which is never released.

    The CPU plugin of a core gives the thread that creates it another stack for signal handlers. If two cores are
    released in the order of their creation, this stack is unmapped memory, and the next signal, such as Ctrl-C, ends
    the process with a segmentation fault.
    """
    with _core_lock:
        return _shared_core(openvino)


@functools.cache
def _shared_core(openvino: Any) -> Any:
    return openvino.Core()


def _cache_directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / PACKAGE / "openvino"


def _remove_old_files(directory: Path) -> None:
    """Delete all but the compiled networks that were read or written last. OpenVINO never deletes them."""
    times = {}
    for path in directory.glob("*.blob"):
        with contextlib.suppress(OSError):  # another process removed it
            times[path] = max(path.stat().st_atime, path.stat().st_mtime)
    for path in sorted(times, key=times.__getitem__)[:-_MAX_CACHED_FILES]:
        with contextlib.suppress(OSError):  # another process removed it, or the folder is read-only
            path.unlink()


def _with_vectorised_logarithms(network: Any) -> Any:
    """Replace the network's logarithms by vectorised operations, because OpenVINO's own logarithm is scalar.

    ln x = 16 ln r = 32 artanh((r - 1) / (r + 1)) with r = x^(1/16), and five terms of the series of artanh. In float32
    the error is at most 5e-6 for x from 1e-4 to 1e4.
    """
    from openvino import opset13 as ops

    for node in network.get_ops():
        if node.get_type_name() == "Log":
            root = node.input_value(0)
            for _ in range(4):
                root = ops.sqrt(root)
            ratio = ops.divide(ops.subtract(root, np.float32(1)), ops.add(root, np.float32(1)))
            square = ops.multiply(ratio, ratio)
            series: Any = np.float32(32 / 9)
            for power in (7, 5, 3, 1):
                series = ops.add(ops.multiply(series, square), np.float32(32 / power))
            node.output(0).replace(ops.multiply(ratio, series).output(0))
    return network


def _with_image_input(openvino: Any, network: Any) -> Any:
    """Return the network with an image input of (1, H, W, 3) uint8, the format of ``Engine.run``.

    OpenVINO fuses the conversion with the first layers, so it needs no separate pass over the image.
    """
    steps = openvino.preprocess.PrePostProcessor(network)
    steps.input("image").tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input("image").preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    steps.input("image").model().set_layout(openvino.Layout("NCHW"))
    return steps.build()
