"""Engines as the latency step compares them: opened for one network, with their bare computation in reach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import inputs
import torch_gpu
from build import onnx_path
from depth_completion_ros.contract import MULTIPLE
from depth_completion_ros.engines import Engine
from depth_completion_ros.engines.torch import TorchEngine
from depth_completion_ros.networks.weights import load_weights
from depth_completion_ros.profiles import load_profile
from settings import Settings

PROFILE = "kinect"


@dataclass(frozen=True)
class Opened:
    """compute: queues one frame's work on ``stream`` (None: the current one), without copies; once a frame was run."""

    engine: Engine
    compute: Callable[[], object]
    stream: Any = None


class EagerEngine(Engine):
    """A network in float32 as PyTorch runs it when nothing is done about it: what everybody starts from."""

    engine = "eager"
    model = "float32"
    multiple = MULTIPLE

    def __init__(self, network: torch.nn.Module, device: str):
        self._network = network.eval().to(device)
        self._device = device
        self._inputs: tuple[torch.Tensor, ...] = ()

    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        self._inputs = (
            pixels.permute(2, 0, 1)[None].float() / 255,
            torch.from_numpy(np.ascontiguousarray(depth)).to(self._device)[None, None],
            torch.full((1, 1, 1, 1), scale, device=self._device),
        )
        completed, log_b = self.compute()
        sigma = completed * torch.exp(log_b) * 2**0.5
        return completed[0, 0].cpu().numpy(), sigma[0, 0].cpu().numpy()

    @torch.inference_mode()
    def compute(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The network on the inputs of the last run."""
        return self._network(*self._inputs)


def eager(settings: Settings, name: str, size: str, height: int, width: int) -> Opened:
    engine = EagerEngine(load_weights(inputs.weights(settings.state, name, size)).network, settings.device)
    return Opened(engine, engine.compute)


def torch_fp16(settings: Settings, name: str, size: str, height: int, width: int) -> Opened:
    engine = TorchEngine(str(inputs.weights(settings.state, name, size)), profile=load_profile(PROFILE))

    @torch.inference_mode()
    def compute() -> object:
        return engine._compute()  # what run does between its copies

    return Opened(engine, compute)


def tensorrt_fp16(settings: Settings, name: str, size: str, height: int, width: int) -> Opened:
    """Raises ConfigurationError without the library, a GPU or the network's file."""
    torch_gpu.install()
    from depth_completion_ros.engines.tensorrt import TensorRtEngine

    path = onnx_path(settings.state, name, size, height, width)
    engine = TensorRtEngine(str(path), profile=load_profile(PROFILE))
    handle = engine._stream.handle
    stream = torch.cuda.ExternalStream(handle)
    return Opened(engine, lambda: engine._context.execute_async_v3(handle), stream)


ENGINES = {"torch eager fp32": eager, "torch fp16 graph": torch_fp16, "tensorrt fp16": tensorrt_fp16}
