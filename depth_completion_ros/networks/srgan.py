"""Generator of a depth super-resolution GAN. It does not use the image. The discriminator is in ``training``.

Makarov, Korinevskaya, Fast Depth Map Super-Resolution using Deep Neural Network, 2018, after Ledig et al.,
Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, CVPR 2017, figure 4.
Taken from there: residual blocks at low resolution, one long skip, sub-pixel upsampling (Shi et al., CVPR 2016); from
the former, ELU in place of ReLU, batch norm and a tanh at the output; x8 at full size.

Chosen here, and why:
- The tanh bounds the correction of log-depth, so the result differs from the prefill by at most a factor of e².
- The low resolution consists of means of the measured pixels of each block, so holes need no special treatment.
- The last sub-pixel layer is the head itself. The 9x9 convolution that SRGAN runs at the full resolution would cost
  more than all the rest.

Shapes, factor 8, width 64: depth (4, H/8, W/8) → (64, H/8, W/8), blocks, long skip → (64, H/4, W/4) → (64, H/2, W/2) →
head (3, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import Head, PixelShuffleUp, conv
from .completion_network import DEPTH_CHANNELS, CoreInputs, Method

_LOG_RANGE = 2.0


def bounded(x: Tensor) -> Tensor:
    """Generator output: tanh, in units of log-depth, -2..2."""
    return _LOG_RANGE * torch.tanh(x)


class GeneratorBlock(nn.Module):
    """Convolution, batch norm, ELU, convolution, batch norm, around an identity with no activation behind it."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels, activation=nn.ELU), conv(channels, channels, activation=nn.Identity)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Generator(nn.Module):
    """width: channels; blocks: residual blocks at low resolution; factor: 2, 4 or 8, how much lower that is."""

    def __init__(self, width: int, blocks: int, factor: int):
        super().__init__()
        self.factor = factor
        self.stem = nn.Sequential(nn.Conv2d(DEPTH_CHANNELS, width, 9, padding=4), nn.ELU())
        self.blocks = nn.Sequential(
            *(GeneratorBlock(width) for _ in range(blocks)), conv(width, width, activation=nn.Identity)
        )
        doublings = factor.bit_length() - 2  # the head makes the last one
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
