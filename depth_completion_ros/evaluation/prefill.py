"""The prefill of the networks as a separate model: the output of a network without any correction."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..contract import MULTIPLE
from ..engines import Engine
from ..networks.blocks import INITIAL_LOG_B
from ..networks.completion_network import CompletionNetwork, CoreInputs


class NoCorrection(nn.Module):
    """A network core that does not change the prefill."""

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(inputs.prefill), torch.full_like(inputs.prefill, INITIAL_LOG_B)


class PrefillEngine(Engine):
    """Runs ``CompletionNetwork(NoCorrection())`` on the CPU. guided: False for the prefill of depth-only networks."""

    engine = "torch"
    multiple = MULTIPLE

    def __init__(self, model: str, guided: bool):
        self.model = model
        self._network = CompletionNetwork(NoCorrection(), model, "", guided).eval()

    def run(self, image: np.ndarray, depth: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        colour = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            inputs = colour, torch.from_numpy(np.ascontiguousarray(depth))[None, None], torch.full((1, 1, 1, 1), scale)
            completed, sigma = self._network(*inputs)
            return completed.numpy()[0, 0], sigma.numpy()[0, 0]
