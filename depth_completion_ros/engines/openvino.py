"""OpenVINO: networks on CPUs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigurationError
from ..profiles import Profile
from ..resources import PACKAGE
from .model_file import find_model_file
from .network import NetworkEngine

PRECISIONS = ("int8", "fp32", "fp16")  # fastest first, of those that every CPU runs as they are
_FLOAT32_ONLY = ("s2ml",)  # bfloat16 reaches its spectra too, and they do not survive it: depth is off by 9 %
_KEPT_SIZES = 4  # of a network for any size; each holds memory for its layers' results


class OpenVinoEngine(NetworkEngine):
    """A network file through OpenVINO on the CPU (``find_model_file`` says what ``model`` may be).

    fp32 computes in float32; fp16 in bfloat16 where the CPU has it, else in float32; int8 in int8 with float32 between.
    A network for any size is compiled for each size that comes, so that it is as fast as one for that size only: here
    for 480x640 pixels, else with the first frame. The last few sizes are kept.
    threads: CPU threads, 0 = one for each core. Compiled networks are kept in ``~/.cache`` and open faster the next
    time. Raises ConfigurationError where OpenVINO is not installed or the file cannot be used.
    """

    engine = "openvino"

    def __init__(self, model: str = "auto", *, profile: Profile, threads: int = 0):
        super().__init__(find_model_file(model, *PRECISIONS))
        openvino = _library()
        self._core = openvino.Core()
        suits = self.file.precision == "fp16" and self.file.name not in _FLOAT32_ONLY
        half = suits and "BF16" in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        self._settings = {
            # Left to itself it computes in bfloat16 wherever the CPU has it.
            "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            # A pinned thread waits for its core while another process has it, and the other threads for that one.
            "ENABLE_CPU_PINNING": False,
            "INFERENCE_NUM_THREADS": threads,
            "CACHE_DIR": str(_cache_directory()),
        }
        self._tensor = openvino.Tensor
        self._scale = np.empty((1, 1, 1, 1), np.float32)
        self._requests: dict[tuple[int, ...], Any] = {}  # by height and width, the latest used last
        try:
            network = self._core.read_model(self.file.path)
            if not half:  # whose few digits the steps to a logarithm would not survive
                network = _with_vectorised_logarithms(network)
            self._network = _with_images_in(openvino, network)
            self._request(self.file.height or 480, self.file.width or 640)
        except RuntimeError as error:
            raise ConfigurationError(
                f"OpenVINO cannot use {self.file.path} ({error}): make it again with depth-completion export"
            ) from error

    def _infer(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        self._scale[:] = scale
        request = self._request(*depth.shape)
        for name, array in (("image", image[None]), ("depth", depth[None, None]), ("scale", self._scale)):
            request.set_tensor(name, self._tensor(array, shared_memory=True))
        request.infer()
        return tuple(request.get_tensor(name).data[0, 0] for name in ("completed", "sigma"))

    def close(self) -> None:
        del self._requests, self._network

    def _request(self, height: int, width: int) -> Any:
        """What runs the network on images of this size, compiled at the first call."""
        size = (height, width)
        request = self._requests.pop(size, None)
        if request is None:
            if self.file.height is None:
                self._network.reshape({"image": (1, *size, 3), "depth": (1, 1, *size)})
            request = self._core.compile_model(self._network, "CPU", self._settings).create_infer_request()
            if len(self._requests) == _KEPT_SIZES:
                del self._requests[next(iter(self._requests))]
        self._requests[size] = request
        return request


def _library() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise ConfigurationError(f"engine openvino needs OpenVINO ({error}): pip install openvino") from error
    return openvino


def _cache_directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / PACKAGE / "openvino"


def _with_vectorised_logarithms(network: Any) -> Any:
    """The network with logarithms made of what OpenVINO computes many at a time: theirs it computes one by one.

    ln x = 16 ln r = 32 artanh((r - 1) / (r + 1)) with r = x^(1/16), by five terms of the series of artanh. In float32
    that is off by 5e-6 at most for x from 1e-4 to 1e4.
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


def _with_images_in(openvino: Any, network: Any) -> Any:
    """The contract's network with the engine's image, (1, H, W, 3) uint8.

    This costs no pass of its own over the image: OpenVINO joins it to the first layers.
    """
    steps = openvino.preprocess.PrePostProcessor(network)
    steps.input("image").tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    steps.input("image").preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
    steps.input("image").model().set_layout(openvino.Layout("NCHW"))
    return steps.build()
