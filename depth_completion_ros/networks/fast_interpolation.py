"""Fast depth interpolation: downscale, interpolate, super-resolve. It does not use the image.

Makarov, Korinevskaya, Aliev, Fast Semi-dense Depth Map Estimation, 2018, and Sparse Depth Map Interpolation using Deep
Convolutional Neural Networks, TSP 2018. Taken from the papers: the three steps; an interpolation network of residual,
projection and downsampling blocks; a super-resolution network; speed is more important than accuracy.

Our choices, and why:
- Downscaling by 4 takes the mean of the measured pixels in each block, so a few measurements are enough for a block.
- All three kinds of blocks are residual: with an identity, with a 1x1 projection where the channels change, or with
  stride 2. In the decoder, a resize comes before each projection.
- One channel between the networks contains the interpolated depth. The second network also gets the downscaled depth
  features, which show which blocks are measured, and ends in a pixel shuffle.

Shapes, width c: depth (4, H/4, W/4) → (c, H/4, W/4) → (2c, H/8, W/8) → (4c, H/16, W/16) → back to (c, H/4, W/4) →
interpolated depth (1, H/4, W/4); with the depth features (5, H/4, W/4) → (c, H/4, W/4) → (c, H/2, W/2) → head (H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .blocks import Head, PixelShuffleUp, ResidualBlock, conv, upsample
from .completion_network import DEPTH_CHANNELS, CoreInputs, Method

_FACTOR = 4


class InterpolationNetwork(nn.Module):
    """Depth features (N, 5, h, w), h and w multiples of 4, to a correction of their prefill (N, 1, h, w)."""

    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.stem = conv(DEPTH_CHANNELS, width)
        self.downs = nn.ModuleList(
            [ResidualBlock(width, 2 * width, stride=2), ResidualBlock(2 * width, 4 * width, stride=2)]
        )
        self.bottom = nn.Sequential(*(ResidualBlock(4 * width, 4 * width) for _ in range(blocks)))
        self.projections = nn.ModuleList([ResidualBlock(4 * width, 2 * width), ResidualBlock(2 * width, width)])
        self.last = nn.Conv2d(width, 1, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)  # an untrained network returns the prefill

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)
        x = self.bottom(x)
        for project in self.projections:
            x = project(upsample(x, 2)) + skips.pop()
        return self.last(x)


class SuperResolutionNetwork(nn.Module):
    """Interpolated depth and depth features (N, 1 + 5, h, w) to (correction, log_b), each (N, 1, 4·h, 4·w)."""

    def __init__(self, width: int):
        super().__init__()
        self.body = nn.Sequential(conv(1 + DEPTH_CHANNELS, width), ResidualBlock(width, width))
        self.up = nn.Sequential(PixelShuffleUp(width, width), nn.ReLU())
        self.head = Head(width, _FACTOR // 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.head(self.up(self.body(x)))


class FastInterpolation(nn.Module):
    """The core: interpolation and super-resolution.

    Args:
        width: Number of channels at a quarter of the resolution.
        blocks: Number of residual blocks at the lowest resolution.
    """

    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.interpolate = InterpolationNetwork(width, blocks)
        self.super_resolve = SuperResolutionNetwork(width)

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor]:
        low = inputs.downscaled(_FACTOR)
        features = low.depth_features()
        correction = self.interpolate(features)
        fine, log_b = self.super_resolve(torch.cat([low.prefill + correction, features], dim=1))
        return upsample(correction, _FACTOR) + fine, log_b


METHOD = Method(
    core=FastInterpolation,
    paper="Makarov, Korinevskaya, 2018",
    inputs="depth",
    sizes={"small": {"width": 24, "blocks": 2}, "full": {"width": 64, "blocks": 4}},
)
