"""U-Net for depth super-resolution: relative depth of the image is adapted to the statistics of the measured depth.

First place of the 2024 CVPR AIS depth challenge. Taken from the report: two encoders of NAFNet blocks, one for the
relative depth and one for the measured depth; four downsamplings; adaptive instance normalisation at every stage; a
decoder with skips; 29 M parameters.
NAFNet block: Chen, Chu, Zhang, Sun, Simple Baselines for Image Restoration, ECCV 2022.
AdaIN: Huang, Belongie, Arbitrary Style Transfer in Real-time with Adaptive Instance Normalization, ICCV 2017, eq. 8.

Our choices, and why:
- The first encoder gets the image and the relative depth.
- The depth encoder gets ``CoreInputs.depth_features``. The prefill replaces the upsampled low-resolution depth, so one
  network serves x1, x2, x4 and x8. Low-resolution depth is depth with a regular pattern of holes.
- AdaIN transfers only mean and deviation of the depth features. Their spatial pattern matters too, so the features are
  added to its result, as the decoder adds its skips.
- Relative depth comes from a small branch that is trained with the network, or from a large pre-trained model (see
  relative_depth.py).
- The width is 32 at full size, and the numbers of blocks are chosen to reach 29 M. The small size works on 2x2 blocks.

Shapes at size full: relative depth and image (4, H, W), depth (5, H, W) → each (32, H, W), (64, H/2, W/2),
(128, H/4, W/4), (256, H/8, W/8), (512, H/16, W/16), fused at each; middle blocks; decoder back to (32, H, W); head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Head
from .completion_network import DEPTH_CHANNELS, CoreInputs, Method
from .relative_depth import RelativeDepthBranch


def adain(content: Tensor, style: Tensor) -> Tensor:
    """Give each channel of ``content`` the mean and standard deviation of ``style``, both (N, C, H, W).

    deviation_style · (content - mean_content) / deviation_content + mean_style, computed in float32.
    """
    mean, deviation = _statistics(content)
    style_mean, style_deviation = _statistics(style)
    return (style_deviation * (content.float() - mean) / deviation + style_mean).to(content.dtype)


def _statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    mean = x.float().mean(dim=(2, 3), keepdim=True)
    variance = (x.float() - mean).square().mean(dim=(2, 3), keepdim=True)
    return mean, torch.sqrt(variance + 1e-5)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class NafBlock(nn.Module):
    """Nonlinear-activation-free block: gated convolutions with channel attention, then a gated feed-forward part."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.expand = nn.Conv2d(channels, 2 * channels, 1)
        self.depthwise = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.attention = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.feed_norm = ChannelNorm(channels)
        self.feed = nn.Conv2d(channels, 2 * channels, 1)
        self.feed_project = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = _gate(self.depthwise(self.expand(self.norm(x))))
        y = y * self.attention(y.float().mean(dim=(2, 3), keepdim=True))  # simplified channel attention
        x = x + self.beta * self.project(y)
        return x + self.gamma * self.feed_project(_gate(self.feed(self.feed_norm(x))))


def _gate(x: Tensor) -> Tensor:
    """SimpleGate: multiply one half of the channels by the other half."""
    first, second = x.chunk(2, dim=1)
    return first * second


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(NafBlock(channels) for _ in range(count)))


class Encoder(nn.Module):
    """Image (N, inputs, H, W) to the features of each stage, width·2^i channels at 1/2^i of the resolution.

    The last features are downsampled and not processed by a stage.
    """

    def __init__(self, inputs: int, width: int, blocks: tuple[int, ...]):
        super().__init__()
        self.intro = nn.Conv2d(inputs, width, 3, padding=1)
        self.stages = nn.ModuleList(_blocks(width << i, count) for i, count in enumerate(blocks))
        self.downs = nn.ModuleList(
            nn.Conv2d(width << i, width << (i + 1), 2, stride=2, bias=False) for i in range(len(blocks))
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        x = self.intro(x)
        for stage, down in zip(self.stages, self.downs, strict=True):
            x = stage(x)
            features.append(x)
            x = down(x)
        return [*features, x]


class UNet(nn.Module):
    """The core. Its module ``relative_depth`` may be replaced by a pre-trained model, see relative_depth.py.

    Args:
        width: Number of channels at full resolution.
        encoder: Number of blocks of each encoder stage, finest first.
        middle: Number of blocks at the lowest resolution.
        decoder: Number of blocks of each decoder stage, finest first.
        branch: Number of channels at each stage of the relative-depth branch.
        reduction: 1 works on pixels, 2 on 2x2 blocks.
    """

    def __init__(
        self,
        width: int,
        encoder: tuple[int, ...],
        middle: int,
        decoder: tuple[int, ...],
        branch: tuple[int, ...],
        reduction: int,
    ):
        super().__init__()
        self.reduction = reduction
        self.relative_depth: nn.Module = RelativeDepthBranch(branch)
        self.relative_encoder = Encoder(4 * reduction**2, width, encoder)
        self.depth_encoder = Encoder(DEPTH_CHANNELS * reduction**2, width, encoder)
        self.middle = _blocks(width << len(encoder), middle)
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * width << i, 4 * width << i, 1, bias=False), nn.PixelShuffle(2))
            for i in range(len(decoder))
        )
        self.decoder = nn.ModuleList(_blocks(width << i, count) for i, count in enumerate(decoder))
        self.head = Head(width, reduction)

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor]:
        relative = torch.cat([self.relative_depth(inputs.image), inputs.image], dim=1)
        relative_features = self.relative_encoder(self._fold(relative))
        depth_features = self.depth_encoder(self._fold(inputs.depth_features()))
        *skips, x = (adain(r, d) + d for r, d in zip(relative_features, depth_features, strict=True))
        x = self.middle(x)
        for up, stage, skip in reversed(list(zip(self.ups, self.decoder, skips, strict=True))):
            x = stage(up(x) + skip)
        return self.head(x)

    def _fold(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(x, self.reduction) if self.reduction > 1 else x


METHOD = Method(
    core=UNet,
    paper="first place, CVPR AIS depth challenge 2024",
    inputs="image, depth, relative depth",
    sizes={
        "small": {
            "width": 16,
            "encoder": (1, 1, 1, 2),
            "middle": 2,
            "decoder": (1, 1, 1, 1),
            "branch": (16, 32, 64, 96),
            "reduction": 2,
        },
        "full": {
            "width": 32,
            "encoder": (2, 2, 4, 8),
            "middle": 9,
            "decoder": (2, 2, 2, 2),
            "branch": (24, 48, 96, 128),
            "reduction": 1,
        },
    },
)
