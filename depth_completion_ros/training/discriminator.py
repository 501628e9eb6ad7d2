"""The discriminator of a depth super-resolution GAN, which learns to distinguish completed depth from true depth.

Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017, figure 4:
convolutions with batch norm and LeakyReLU, doubling the channels and halving the size. It ends in one logit for each
patch (Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017), not in dense layers,
so that it takes crops of any size.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..networks.blocks import conv
from .losses import Comparison

_CHANNELS = (32, 64, 128, 128)


class Discriminator(nn.Sequential):
    """Predict logits of the probability that a patch is true depth, (N, 1, H/8, W/8), from log(depth / scale)."""

    def __init__(self, channels: tuple[int, ...] = _CHANNELS):
        leaky = partial(nn.LeakyReLU, 0.2)
        stages = [conv(channels[i], channels[i + 1], stride=2, activation=leaky) for i in range(len(channels) - 1)]
        super().__init__(
            nn.Conv2d(1, channels[0], 3, padding=1), leaky(), *stages, nn.Conv2d(channels[-1], 1, 3, padding=1)
        )


class Adversary:
    """A discriminator with its optimiser."""

    def __init__(self, learning_rate: float, device: torch.device):
        self._network = Discriminator().to(device)
        self._optimiser = torch.optim.AdamW(self._network.parameters(), learning_rate)

    def loss(self, c: Comparison) -> Tensor:
        """Return the generator's loss, in the non-saturating form (Goodfellow et al., 2014)."""
        return F.softplus(-self._network(_log(c.depth / c.scale))).mean()

    def train_step(self, c: Comparison, learning_rate: float) -> Tensor:
        """Train the discriminator on a batch and return its loss. Both inputs are equal where the truth is unknown."""
        true = self._network(_log(c.completed_target()))
        completed = self._network(_log((c.depth / c.scale).detach()))
        loss = (F.softplus(-true) + F.softplus(completed)).mean()
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"network": self._network.state_dict(), "optimiser": self._optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self._network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])


def _log(relative_depth: Tensor) -> Tensor:
    return torch.log(relative_depth.clamp(min=1e-3))
