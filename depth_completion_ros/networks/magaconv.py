"""MagaConv and BP-Fusion: convolutions with a mask of missing inputs, and a fusion with colour in both directions.

Huang, Miao, Deng, Jia, Chen, Mask-adaptive Gated Convolution and Bi-directional Progressive Fusion Network for Depth
Completion, arXiv 2401.07439v1. Taken from the paper: the MagaConv operation (eq. 3-5), layers of three parallel heads,
blocks of three layers with strides 2, 1, 1 and mask updates (eq. 6), three blocks; a colour encoder of the same shape
from plain residual convolutions; Bid-Fusion steps of depth to colour and colour to depth by cross-modal fusion (eq. 7,
head 3); 48 M parameters. Decoder: the gated deconvolution of Chen et al., AGG-Net, ICCV 2023.
Where the authors' later public code differs from the paper, this module follows the paper.

Our choices, and why:
- Kernels 3, 5 and 7 (the paper says "different"), a third of the channels each. Batch norm and ReLU after each layer.
- ε is a sigmoid, one for each kernel. Its initial value just closes the gate of a window in which nothing is measured.
  The paper gives no initial value, and 0.5 would close all gates from the first step on.
- Beyond the border the mask is 0, like the padding of the convolution.
- The channel-shared MLP is applied at each position separately, so any resolution is possible; 8 hidden neurons.
- Log-depth is 0 at the median, so 0 does not mean missing. The mask is therefore a second input of the depth encoder.
- The prefill is an input of the last decoder stage only; the encoder gets the measurements.
- The small size works on 2x2 blocks. The depth of a block is the mean of its measured pixels.

Shapes at size full: depth (2, H, W) and image (3, H, W) → (126, H/2, W/2), (252, H/4, W/4), (504, H/8, W/8) each;
fusion of both at H/8; decoder with the skips of depth (252, H/4, W/4), (126, H/2, W/2), (63, H, W); head.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Head, conv
from .completion_network import INPUT_CHANNELS, CoreInputs, Method

_KERNELS = (3, 5, 7)
_STRIDES = (2, 1, 1)
_CMF_HEADS = 3
_CMF_HIDDEN = 8


def rnc(x: Tensor) -> Tensor:
    """Reverse-and-cut, eq. 5: decreases from 1 at 0 to 0 at ln 2 and beyond."""
    return 2 * F.relu(torch.exp(-x) - 0.5)


def shrink_mask(missing: Tensor, stride: int) -> Tensor:
    """Mask update by min-pooling, eq. 6: a pixel stays missing only if all pixels of its 3x3 window are missing.

    Args:
        missing: 1 where the input is missing, else 0, (N, 1, H, W).
        stride: Stride of the layer whose output the result belongs to.

    Returns:
        The mask at the layer's output, (N, 1, H/stride, W/stride).
    """
    return 1 - F.max_pool2d(1 - missing, 3, stride, padding=1)


class MagaConv(nn.Module):
    """Mask-adaptive gated convolution: features (N, C, H, W) and missing (N, 1, H, W) to (N, outputs, H/stride, …)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        whole_window = self.convolution.weight.detach().abs().sum(dim=(1, 2, 3)).mean()
        self.theta = nn.Parameter(torch.logit(math.log(2) / whole_window))

    def forward(self, features: Tensor, missing: Tensor) -> Tensor:
        convolution = self.convolution
        # The mask is the same for all input channels, so their |weights| are summed first: eq. 3 at 1/C of its cost.
        weight = torch.linalg.vector_norm(convolution.weight, 1, dim=1, keepdim=True)
        unsuitable = F.conv2d(missing, weight, None, convolution.stride, convolution.padding)
        return rnc(torch.sigmoid(self.theta) * unsuitable) * convolution(features)  # eq. 3 and 4


class MagaConvLayer(nn.Module):
    """Parallel MagaConvs of several kernel sizes, each with a share of the channels, fused by a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        share = outputs // len(_KERNELS)
        self.stride = stride
        self.heads = nn.ModuleList(MagaConv(inputs, share, kernel, stride) for kernel in _KERNELS)
        self.fuse = conv(share * len(_KERNELS), outputs, 1)

    def forward(self, features: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and mask for the next layer."""
        features = self.fuse(torch.cat([head(features, missing) for head in self.heads], dim=1))
        return features, shrink_mask(missing, self.stride)


class ColourBlock(nn.Module):
    """Three plain convolutions with strides 2, 1, 1; the last two have an identity shortcut."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.down = conv(inputs, outputs, stride=2)
        self.residual = nn.Sequential(conv(outputs, outputs), conv(outputs, outputs, activation=nn.Identity))

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return F.relu(x + self.residual(x))


class CrossModalFusion(nn.Module):
    """CMF: correct and gate the target (N, C, H, W) with the query (N, C, H, W) at the same position."""

    def __init__(self, channels: int):
        super().__init__()
        self.expand_target = nn.Conv2d(channels, channels * _CMF_HEADS, 1)
        self.expand_query = nn.Conv2d(channels, channels * _CMF_HEADS, 1)
        # One MLP for all channels and positions: pairs (t', q') to hidden neurons to correction and gate.
        self.mlp = nn.Sequential(
            nn.Conv2d(2, _CMF_HIDDEN, 1),
            nn.ReLU(),
            nn.Conv2d(_CMF_HIDDEN, _CMF_HIDDEN, 1),
            nn.ReLU(),
            nn.Conv2d(_CMF_HIDDEN, 2, 1),
        )
        self.fuse = nn.Conv2d(channels * _CMF_HEADS, channels, 1)

    def forward(self, target: Tensor, query: Tensor) -> Tensor:
        height, width = target.shape[-2:]
        target, query = self.expand_target(target).flatten(2), self.expand_query(query).flatten(2)
        correction, gate = self.mlp(torch.stack([target, query], dim=1)).unbind(dim=1)
        target = F.relu(correction + target) * torch.sigmoid(gate)  # eq. 7
        return self.fuse(target.unflatten(2, (height, width)))


class BidFusion(nn.Module):
    """One step of bi-directional fusion: depth corrects colour, then the new colour corrects depth."""

    def __init__(self, channels: int):
        super().__init__()
        self.to_colour = CrossModalFusion(channels)
        self.to_depth = CrossModalFusion(channels)

    def forward(self, depth: Tensor, colour: Tensor) -> tuple[Tensor, Tensor]:
        colour = self.to_colour(colour, depth)
        return self.to_depth(depth, colour), colour


class GatedDeconvolution(nn.Module):
    """Upsampling by two: one transposed convolution computes features, another computes the gate of each."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.features = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        self.gate = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.features(x), 0.2) * torch.sigmoid(self.gate(x))


class DepthBlock(nn.Module):
    """Three MagaConv layers with strides 2, 1, 1. Each passes features and mask to the next."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.layers = nn.ModuleList(
            MagaConvLayer(before, outputs, stride)
            for before, stride in zip((inputs, outputs, outputs), _STRIDES, strict=True)
        )

    def forward(self, features: Tensor, missing: Tensor) -> tuple[Tensor, Tensor]:
        for layer in self.layers:
            features, missing = layer(features, missing)
        return features, missing


class MagaConvNetwork(nn.Module):
    """The core: two encoders, bi-directional fusion and a decoder.

    Args:
        channels: Number of channels of the three blocks, multiples of 3.
        steps: Number of Bid-Fusion steps.
        reduction: 1 works on pixels, 2 on 2x2 blocks.
    """

    def __init__(self, channels: tuple[int, int, int], steps: int, reduction: int):
        super().__init__()
        self.reduction = reduction
        half, quarter, eighth = channels
        self.depth_encoder = nn.ModuleList(
            [DepthBlock(2, half), DepthBlock(half, quarter), DepthBlock(quarter, eighth)]
        )
        self.colour_encoder = nn.Sequential(
            ColourBlock(3 * reduction**2, half), ColourBlock(half, quarter), ColourBlock(quarter, eighth)
        )
        self.fusion = nn.ModuleList(BidFusion(eighth) for _ in range(steps))
        whole = half // 2
        self.ups = nn.ModuleList(
            [GatedDeconvolution(eighth, quarter), GatedDeconvolution(quarter, half), GatedDeconvolution(half, whole)]
        )
        self.decoder = nn.ModuleList(
            [conv(2 * quarter, quarter), conv(2 * half, half), conv(whole + INPUT_CHANNELS * reduction**2, whole)]
        )
        self.head = Head(whole, reduction)

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor]:
        image, features = inputs.image, inputs.features()
        if self.reduction > 1:
            image, features = F.pixel_unshuffle(image, self.reduction), F.pixel_unshuffle(features, self.reduction)
        low = inputs.downscaled(self.reduction)
        depth, missing = torch.cat([low.sparse, low.measured], dim=1), 1 - low.measured
        skips = [features]
        for block in self.depth_encoder:
            depth, missing = block(depth, missing)
            skips.append(depth)
        colour = self.colour_encoder(image)
        for step in self.fusion:
            depth, colour = step(depth, colour)
        for up, decode, skip in zip(self.ups, self.decoder, reversed(skips[:-1]), strict=True):
            depth = decode(torch.cat([up(depth), skip], dim=1))
        return self.head(depth)


METHOD = Method(
    core=MagaConvNetwork,
    paper="MagaConv + BP-Fusion, arXiv 2401.07439",
    inputs="image, depth",
    sizes={
        "small": {"channels": (24, 48, 96), "steps": 1, "reduction": 2},
        "full": {"channels": (126, 252, 504), "steps": 2, "reduction": 1},
    },
)
