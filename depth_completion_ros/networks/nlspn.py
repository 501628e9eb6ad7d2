"""NLSPN: refine depth by propagation from neighbours that the network predicts for each pixel.

Park, Joo, Hu, Liu, Kweon, Non-Local Spatial Propagation Network for Depth Completion, ECCV 2020.
Taken from the paper: propagation (section 3), affinities normalised by tanh-gamma-abs-sum* and weighted by confidence
(section 4), encoder and decoder (section 5), 18 iterations. Layer widths as in the authors' published network.

Our choices, and why:
- It propagates log(depth / scale), as ``CompletionNetwork`` normalises depth. Propagation is linear in both domains.
- The depth branch gets all of ``CoreInputs.depth_features``; the initial depth is the prefill plus a correction.
- Confidence is sampled at the same position as depth. In the published code, the two positions differ.
- Samples beyond the border have the value at the border: zero would mean "at the median depth" in log-depth.
- The head that predicts the initial depth also predicts log_b.
- The small size works on 2x2 blocks throughout, and its correction is resized to full resolution.

Shapes at size full: image (3, H, W) → 48 and depth (5, H, W) → 16, together (64, H, W); residual stages (64, H, W),
(128, H/2, W/2), (256, H/4, W/4), (512, H/8, W/8), (512, H/16, W/16); decoder with skips back to (64, H, W); from there
initial depth, guidance (8, H, W) and confidence (1, H, W); 18 iterations on (1, H, W).
"""

from __future__ import annotations

import logging
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Head, ResidualBlock, conv, upsample
from .completion_network import DEPTH_CHANNELS, CoreInputs, Method

_log = logging.getLogger(__name__)

_NEIGHBOURS = 8  # the 3x3 window without its centre, row by row


class Propagation(nn.Module):
    """Non-local spatial propagation of (N, 1, H, W), ``iterations`` times."""

    def __init__(self, iterations: int):
        super().__init__()
        self.iterations = iterations
        # Two offsets and one affinity for each neighbour. Before training all are zero, which means the regular 3x3
        # neighbours without weight.
        self.neighbours = nn.Conv2d(_NEIGHBOURS, 3 * _NEIGHBOURS, 3, padding=1)
        for parameter in self.neighbours.parameters():
            nn.init.zeros_(parameter)
        self.gamma = nn.Parameter(torch.tensor(0.5 * _NEIGHBOURS))

    def forward(
        self, initial: Tensor, guidance: Tensor, confidence: Tensor, sparse: Tensor, measured: Tensor
    ) -> Tensor:
        """Propagate depth.

        Args:
            initial: Initial log-depth, (N, 1, H, W).
            guidance: Features from which offsets and affinities are predicted, (N, 8, H, W).
            confidence: Confidence of the initial depth, 0..1, (N, 1, H, W).
            sparse: Measured log-depth, 0 where missing, (N, 1, H, W).
            measured: 1 where depth is measured, else 0, (N, 1, H, W).

        Returns:
            The refined log-depth, (N, 1, H, W) float32.
        """
        predicted = self.neighbours(guidance)
        if predicted.is_cuda and not (torch.is_grad_enabled() or torch.compiler.is_compiling()) and _kernels_work():
            from .propagation_triton import propagate as propagate_with_kernels

            return propagate_with_kernels(predicted, self.gamma, initial, confidence, sparse, measured, self.iterations)
        return self.reference(predicted, initial, confidence, sparse, measured)

    def reference(
        self, predicted: Tensor, initial: Tensor, confidence: Tensor, sparse: Tensor, measured: Tensor
    ) -> Tensor:
        """Propagate with PyTorch's operators, which can be exported and have gradients.

        predicted contains the offsets of the neighbours, then their raw affinities, (N, 24, H, W). The other arguments
        and the result are those of ``forward``.
        """
        offsets, affinity = predicted.split([2 * _NEIGHBOURS, _NEIGHBOURS], dim=1)
        grid = sampling_grid(offsets)
        weights = self.affinities(affinity, sample(confidence.float(), grid))
        depth = initial.float()
        for _ in range(self.iterations):
            depth = torch.lerp(depth, sparse, measured)  # preserve_input: each iteration starts with measured depth
            depth = propagate(depth, weights, grid)
        return depth

    def affinities(self, raw: Tensor, confidence: Tensor) -> Tensor:
        """Return the weights of the neighbours, whose absolute sum is at most 1, (N, 8, H, W).

        Args:
            raw: Affinities as predicted, (N, 8, H, W).
            confidence: Confidence at the neighbours, (N, 8, H, W).
        """
        # Section 4: tanh-gamma, then the confidence, then abs-sum*, which divides only where the sum exceeds 1.
        affinity = torch.tanh(raw.float()) / (self.gamma + 1e-8) * confidence
        return affinity / (affinity.abs().sum(dim=1, keepdim=True) + 1e-4).clamp(min=1)


@cache
def _kernels_work() -> bool:
    """Return whether the kernels of ``propagation_triton`` run on this GPU; they need Triton and a C compiler."""
    try:
        from .propagation_triton import propagate as propagate_with_kernels

        one = torch.ones(1, 1, 8, 8, device="cuda")
        propagate_with_kernels(one.repeat(1, 3 * _NEIGHBOURS, 1, 1), one.mean(), one, one, one, one, iterations=1)
    except Exception as error:  # Triton and its compilers raise exceptions of their own
        _log.warning("Triton's kernels do not run, PyTorch's slower operators are used for propagation: %s", error)
        return False
    return True


def sampling_grid(offsets: Tensor) -> Tensor:
    """Return the positions of each pixel's neighbours as a grid for ``grid_sample``.

    Args:
        offsets: Offsets of the neighbours [pixels], alternating between y and x, (N, 2·8, H, W).

    Returns:
        The grid, (N, 8·H, W, 2). It is always float32: float16 is too coarse for the pixels of a wide image.
    """
    height, width = offsets.shape[-2:]
    y, x = offsets.float().unflatten(1, (_NEIGHBOURS, 2)).unbind(dim=2)
    # All tensors are created on the device: a copy from the host could not be part of a CUDA graph.
    place = torch.arange(_NEIGHBOURS, device=offsets.device).view(1, _NEIGHBOURS, 1, 1)
    place = place + (place >= _NEIGHBOURS // 2)  # the centre is left out
    rows = torch.arange(height, device=offsets.device).view(1, 1, height, 1) + place // 3 - 1
    columns = torch.arange(width, device=offsets.device).view(1, 1, 1, width) + place % 3 - 1
    # Pixel centres of align_corners=False: pixel i lies at (2·i + 1) / size - 1.
    y = (2 * (rows + y) + 1) / height - 1
    x = (2 * (columns + x) + 1) / width - 1
    return torch.stack([x, y], dim=-1).flatten(1, 2)


def sample(values: Tensor, grid: Tensor) -> Tensor:
    """Sample values (N, 1, H, W) bilinearly at the grid's positions; return (N, 8, H, W).

    Positions beyond the border get the value at the border.
    """
    sampled = F.grid_sample(values, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.unflatten(2, (_NEIGHBOURS, values.shape[2])).squeeze(1)


def propagate(depth: Tensor, weights: Tensor, grid: Tensor) -> Tensor:
    """Return the depth after one iteration, section 3. The weight of the centre is 1 minus the neighbours' weights."""
    centre = 1 - weights.sum(dim=1, keepdim=True)
    return centre * depth + (weights * sample(depth, grid)).sum(dim=1, keepdim=True)


def _deconv(inputs: int, outputs: int) -> nn.Sequential:
    """Return a transposed 3x3 convolution that doubles the size, followed by batch norm and ReLU."""
    layer = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


class Nlspn(nn.Module):
    """The core: encoder, decoder and propagation.

    Args:
        channels: Number of channels of the residual stages at 1, 1/2, 1/4 and 1/8 of the working resolution, and of the
            deepest layer at 1/16.
        depths: Number of residual blocks of each stage.
        decoder: Number of channels at 1/8, 1/4, 1/2 and 1 of the working resolution.
        iterations: Number of iterations of the propagation.
        reduction: 1 works on pixels, 2 on 2x2 blocks.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        depths: tuple[int, ...],
        decoder: tuple[int, ...],
        iterations: int,
        reduction: int,
    ):
        super().__init__()
        self.reduction = reduction
        *stages, deepest = channels
        folded, width = reduction**2, channels[0]
        self.image_stem = nn.Sequential(nn.Conv2d(3 * folded, width * 3 // 4, 3, padding=1), nn.LeakyReLU(0.2))
        self.depth_stem = nn.Sequential(nn.Conv2d(DEPTH_CHANNELS * folded, width // 4, 3, padding=1), nn.LeakyReLU(0.2))
        self.encoder = nn.ModuleList()
        before = width
        for index, (after, depth) in enumerate(zip(stages, depths, strict=True)):
            first = ResidualBlock(before, after, stride=2 if index else 1)
            self.encoder.append(nn.Sequential(first, *(ResidualBlock(after, after) for _ in range(depth - 1))))
            before = after
        self.encoder.append(conv(before, deepest, stride=2))

        before = deepest
        self.decoder = nn.ModuleList()
        for after, skip in zip(decoder, reversed(stages), strict=True):
            self.decoder.append(_deconv(before, after))
            before = after + skip
        self.initial = conv(before, width)
        self.initial_head = Head(2 * width)
        self.guidance = conv(before, width)
        self.guidance_head = nn.Conv2d(2 * width, _NEIGHBOURS, 3, padding=1)
        self.confidence = conv(before, width // 2)
        self.confidence_head = nn.Sequential(nn.Conv2d(width // 2 + width, 1, 3, padding=1), nn.Sigmoid())
        self.propagation = Propagation(iterations)

    def forward(self, inputs: CoreInputs) -> tuple[Tensor, Tensor]:
        image, depth = inputs.image, inputs.depth_features()
        if self.reduction > 1:
            image, depth = F.pixel_unshuffle(image, self.reduction), F.pixel_unshuffle(depth, self.reduction)
        x = torch.cat([self.image_stem(image), self.depth_stem(depth)], dim=1)
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        fine, skips = skips[0], skips[:-1]
        for up in self.decoder:
            x = torch.cat([up(x), skips.pop()], dim=1)
        correction, log_b = self.initial_head(torch.cat([self.initial(x), fine], dim=1))
        guidance = self.guidance_head(torch.cat([self.guidance(x), fine], dim=1))
        confidence = self.confidence_head(torch.cat([self.confidence(x), fine], dim=1))

        low = inputs.downscaled(self.reduction)
        refined = self.propagation(low.prefill + correction, guidance, confidence, low.sparse, low.measured)
        correction = refined - low.prefill
        if self.reduction > 1:
            correction, log_b = upsample(correction, self.reduction), upsample(log_b, self.reduction)
        return correction, log_b


METHOD = Method(
    core=Nlspn,
    paper="NLSPN, ECCV 2020",
    inputs="image, depth",
    sizes={
        "small": {
            "channels": (32, 64, 128, 192, 192),
            "depths": (2, 2, 2, 2),
            "decoder": (128, 64, 32, 32),
            "iterations": 18,
            "reduction": 2,
        },
        "full": {
            "channels": (64, 128, 256, 512, 512),
            "depths": (3, 4, 6, 3),
            "decoder": (256, 128, 64, 64),
            "iterations": 18,
            "reduction": 1,
        },
    },
)
