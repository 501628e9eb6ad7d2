"""The PyTorch engine: the reference for the other engines, and an engine for GPUs that needs no build."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..contract import DEFAULT_NETWORK, INPUTS
from ..errors import ConfigurationError
from ..model_file import find_weights_file
from ..profiles import Profile
from . import Progress
from .network import NetworkEngine

_WARM_UP_RUNS = 3  # before a CUDA graph is recorded; libraries select their kernels in these runs


class TorchEngine(NetworkEngine):
    """Runs a network with PyTorch, for images of any size.

    On a CPU it computes in float32; on a GPU in float16, with channels last and one CUDA graph per image size.

    Args:
        model: Name of a network ("lite", "nlspn-full"; "auto" = the default network), or path of a weights file that
            was written by training. A named network without a weights file (``find_weights_file``) gets random
            weights.
        profile: The depth sensor. Weights that were trained for it are preferred.
        threads: Number of CPU threads of PyTorch, for the whole process; 0 = library default.
        progress: Not used.

    Raises:
        ConfigurationError: If PyTorch is not installed, the network is unknown or the file contains no weights.
    """

    engine = "torch"

    def __init__(self, model: str = "auto", *, profile: Profile, threads: int = 0, progress: Progress | None = None):
        try:
            import torch
        except ImportError as error:
            raise ConfigurationError(f"engine torch needs PyTorch ({error}): pip install torch") from error
        from ..networks.half_precision import HalfPrecision, fold_batch_norm
        from ..networks.weights import load_weights, untrained

        model = DEFAULT_NETWORK if model == "auto" else model
        path = Path(model).expanduser() if Path(model).suffix else find_weights_file(model, profile.name)
        if path is None:
            name, _, size = model.partition("-")
            weighted = untrained(name, size or "small")
        else:
            weighted = load_weights(path)
        self.trained = weighted.trained
        self.model = f"{weighted.network.name}-{weighted.network.size}" + ("" if self.trained else " (untrained)")
        if threads:
            torch.set_num_threads(threads)
        self._torch = torch
        self._on_gpu = torch.cuda.is_available()
        if self._on_gpu:
            self._network: Any = HalfPrecision(weighted.network).cuda()
            torch.nn.utils.convert_conv2d_weight_memory_format(self._network, torch.channels_last)
        else:
            self._network = fold_batch_norm(weighted.network)
        self._size: tuple[int, ...] | None = None
        self._inputs: dict[str, Any] = {}
        self._compute: Callable[[], tuple[Any, Any]] = self._forward

    @classmethod
    def model_names(cls) -> list[str]:
        from ..networks import names

        return list(names())

    @classmethod
    def check_model(cls, model: str) -> None:
        from ..networks import SIZES, names

        name, _, size = model.partition("-")
        if name in ("auto", *names()) and (size or "small") in SIZES:
            return
        if not (find_weights_file(model) or Path(model).expanduser().is_file()):
            raise ConfigurationError(f"engine torch has no model {model!r}, which is neither a network nor a file")

    def _infer(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        if depth.shape != self._size:
            self._prepare(depth.shape)
        torch = self._torch
        self._inputs["image"].copy_(torch.from_numpy(image).permute(2, 0, 1)[None])
        self._inputs["image"].div_(255)
        self._inputs["depth"].copy_(torch.from_numpy(depth)[None, None])
        self._inputs["scale"].fill_(scale)
        with torch.inference_mode():
            completed, sigma = self._compute()
        return completed.cpu().numpy()[0, 0], sigma.cpu().numpy()[0, 0]

    def device_memory_bytes(self) -> int | None:
        return self._torch.cuda.memory_reserved() if self._on_gpu else None

    def close(self) -> None:
        self._compute = self._forward
        self._inputs = {}
        if self._on_gpu:
            self._torch.cuda.empty_cache()

    def _forward(self) -> tuple[Any, Any]:
        return self._network(*(self._inputs[name] for name in INPUTS))

    def _prepare(self, size: tuple[int, ...]) -> None:
        torch = self._torch
        device = "cuda" if self._on_gpu else "cpu"
        shapes = {"image": (1, 3, *size), "depth": (1, 1, *size), "scale": (1, 1, 1, 1)}
        self._inputs = {name: torch.ones(shapes[name], device=device) for name in INPUTS}
        self._size = size
        self._compute = self._record_graph() if self._on_gpu else self._forward

    def _record_graph(self) -> Callable[[], tuple[Any, Any]]:
        """Record a CUDA graph and return a function that runs the network on the current inputs with it."""
        torch = self._torch
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), torch.cuda.stream(stream):
            for _ in range(_WARM_UP_RUNS):
                self._forward()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            outputs = self._forward()

        def replay() -> tuple[Any, Any]:
            graph.replay()
            return outputs

        return replay
