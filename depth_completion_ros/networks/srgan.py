"""Generator of a depth super-resolution GAN. It does not use the image. The discriminator is in ``training``.

Makarov, Korinevskaya, Fast Depth Map Super-Resolution using Deep Neural Network, 2018, after Ledig et al.,
Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017, figure 4.
Taken from Ledig et al.: residual blocks at low resolution, one long skip, sub-pixel upsampling (Shi et al., CVPR 2016).
Taken from Makarov, Korinevskaya: ELU instead of ReLU, batch norm and a tanh at the output; x8 at full size.

Our choices, and why:
- The tanh limits the correction of log-depth, so the result differs from the prefill by at most a factor of e².
- The low resolution consists of means of the measured pixels of each block, so holes need no special treatment.
- The head is the last sub-pixel layer. The 9x9 convolution that SRGAN runs at full resolution would cost more than all
  other layers together.

Shapes, factor 8, width 64: depth (5, H/8, W/8) → (64, H/8, W/8), blocks, long skip → (64, H/4, W/4) → (64, H/2, W/2) →
head (3, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import Head, PixelShuffleUp, conv
from .completion_network import DEPTH_CHANNELS, CoreInputs, Method

_MAX_CORRECTION = 2.0  # log-depth


def bounded(x: Tensor) -> Tensor:
    """Limit a correction of log-depth to -2..2 with a tanh."""
    return _MAX_CORRECTION * torch.tanh(x)


class GeneratorBlock(nn.Module):
    """Convolution, batch norm, ELU, convolution, batch norm, with an identity shortcut and no final activation."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels, activation=nn.ELU), conv(channels, channels, activation=nn.Identity)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Generator(nn.Module):
    """The core: residual blocks at low resolution and sub-pixel upsampling.

    Args:
        width: Number of channels.
        blocks: Number of residual blocks.
        factor: Ratio of full to low resolution: 2, 4 or 8.
    """

    def __init__(self, width: int, blocks: int, factor: int):
        super().__init__()
        self.factor = factor
        self.stem = nn.Sequential(nn.Conv2d(DEPTH_CHANNELS, width, 9, padding=4), nn.ELU())
        self.blocks = nn.Sequential(
            *(GeneratorBlock(width) for _ in range(blocks)), conv(width, width, activation=nn.Identity)
        )
        doublings = factor.bit_length() - 2  # the head does the last doubling
        self.up = nn.Sequential(*(nn.Sequential(PixelShuffleUp(width, width), nn.ELU()) for _ in range(doublings)))
        self.head = Head(width, 2, bounded)

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor]:
        x = self.stem(inputs.downscaled(self.factor).depth_features())
        return self.head(self.up(x + self.blocks(x)))


METHOD = Method(
    core=Generator,
    paper="Makarov, Korinevskaya, 2018; Ledig et al., CVPR 2017",
    inputs="depth",
    sizes={
        "small": {"width": 32, "blocks": 6, "factor": 4},
        "full": {"width": 64, "blocks": 16, "factor": 8},
    },
)
