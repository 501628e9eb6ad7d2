"""MagaConv with other convolutions in the depth encoder, and without BP-Fusion."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .variant import METHOD, Variant


class PartialConv(nn.Module):
    """Partial convolution: missing pixels count as zero, and the result is divided by the share of valid pixels.

    Liu et al., Image Inpainting for Irregular Holes Using Partial Convolutions, ECCV 2018, eq. 1, without its bias.
    All pixels beyond the border are missing. features (N, C, H, W) and missing (N, 1, H, W), 1 = missing, to
    (N, outputs, …).
    """

    def __init__(self, convolution: nn.Conv2d):
        super().__init__()
        self.convolution = convolution

    def forward(self, features: Tensor, missing: Tensor) -> Tensor:
        convolution, valid = self.convolution, 1 - missing
        window = torch.ones_like(convolution.weight[:1, :1])
        count = F.conv2d(valid, window, None, convolution.stride, convolution.padding)
        # The convolution of a window without valid pixels is zero, so its divisor does not matter.
        return convolution(features * valid) * (window.numel() / count.clamp(min=1))


class PartialConvLayer(nn.Module):
    """A ``MagaConvLayer`` of partial convolutions. A pixel is valid if its widest window has a valid pixel (eq. 2)."""

    def __init__(self, layer: Any):
        super().__init__()
        self.stride: int = layer.stride
        self.heads = nn.ModuleList(PartialConv(head.convolution) for head in layer.heads)
        self.widest: int = max(head.convolution.kernel_size[0] for head in layer.heads)
        self.fuse = layer.fuse

    def forward(self, features: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and mask for the next layer."""
        features = self.fuse(torch.cat([head(features, missing) for head in self.heads], dim=1))
        return features, 1 - F.max_pool2d(1 - missing, self.widest, self.stride, self.widest // 2)


class PlainConv(nn.Module):
    """Plain convolution, which ignores the mask."""

    def __init__(self, convolution: nn.Conv2d):
        super().__init__()
        self.convolution = convolution

    def forward(self, features: Tensor, missing: Tensor) -> Tensor:
        return self.convolution(features)


class Concatenation(nn.Module):
    """Replacement of BP-Fusion: a 1x1 convolution of the features of depth and colour, each (N, C, H, W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.join = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, depth: Tensor, colour: Tensor) -> tuple[Tensor, Tensor]:
        return self.join(torch.cat([depth, colour], dim=1)), colour


def _partial(core: Any) -> None:
    for block in core.depth_encoder:
        block.layers = nn.ModuleList(PartialConvLayer(layer) for layer in block.layers)


def _plain(core: Any) -> None:
    for block in core.depth_encoder:
        for layer in block.layers:
            layer.heads = nn.ModuleList(PlainConv(head.convolution) for head in layer.heads)


def _without_bp_fusion(core: Any) -> None:
    core.fusion = nn.ModuleList([Concatenation(core.fusion[0].to_depth.fuse.out_channels)])


def _baseline(core: Any) -> None:
    _plain(core)
    _without_bp_fusion(core)


VARIANTS = (
    Variant("magaconv", METHOD, "MagaConv in the depth encoder; BP-Fusion"),
    Variant("magaconv", "partial", "partial convolutions in place of MagaConv", _partial),
    Variant("magaconv", "plain", "plain convolutions in place of MagaConv", _plain),
    Variant("magaconv", "no BP-Fusion", "depth and colour features joined by a 1x1 instead", _without_bp_fusion),
    Variant("magaconv", "baseline", "plain convolutions and no BP-Fusion: scheme A of the paper", _baseline),
)
