"""The start that every network corrects: holes filled from what was measured around them, near and alike in colour.

Push-pull (Gortler et al., The Lumigraph, 1996): means of what is measured go up a pyramid, holes are
filled on the way down. Plain push-pull blurs edges. So each cell also carries where its value was measured, and on the
coarse levels a hole takes from the 3x3 cells above it by inverse distance to these places (Shepard, 1968), to the sixth
power, and by likeness of colour (Tomasi, Manduchi, Bilateral Filtering, ICCV 1998). It is all pooling, convolution and
arithmetic, which every engine runs; no logarithm, as CPU engines compute those one by one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import mean_pool, pool_measured

_FINE_LEVELS = 2  # halvings that are filled by plain bilinear interpolation, which costs little there and harms little
_COARSE_LEVELS = 3
_WINDOWS = (3, 5, 9, 17, 33)  # of coarsest cells, 32 pixels each: together they reach 31 cells or 992 pixels
# Chosen on 12 frames with five patterns of holes each; flat around the optimum.
_SOFT_CORE = 0.1  # squared cells, below which distances count as equal
_COLOUR_SIGMA = 0.1  # of 0..1
_MAX_UNLIKENESS = 70.0  # keeps a weight above zero in float32 where no colour is alike
_LOG_DISTANCE_UNIT = 5.0  # distance 1 stands for 2⁵ - 1 pixels


class HoleFilling(nn.Module):
    """value, measured (N, 1, H, W), measured 0 or 1; guide (N, 3, H, W), 0..1 or shifted, or None for no colour.

    Returns, (N, 1, H, W) float32 each: value with every hole filled, measured pixels untouched, 0 if nothing is
    measured within reach; and log2(1 + distance to what filled it, roughly, in pixels) / 5.
    """

    def __init__(self) -> None:
        super().__init__()
        self.doubling = Doubling(2)

    def forward(self, value: Tensor, measured: Tensor, guide: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state = torch.cat([value, cell_centres(value, 1)], dim=1)
        fine, coarse = [], []
        for _ in range(_FINE_LEVELS):
            fine.append((value, measured))
            state, measured = pool_measured(state, measured, 2)
            value = state[:, :1]
        guide = None if guide is None else mean_pool(guide, 2**_FINE_LEVELS)
        for _ in range(_COARSE_LEVELS):
            coarse.append((state, measured, guide))
            state, measured = pool_measured(state, measured, 2)
            guide = None if guide is None else mean_pool(guide, 2)
        for window in _WINDOWS:
            mean, reached = pool_measured(state, measured, window, stride=1)
            state, measured = torch.lerp(mean, state, measured), reached

        for level, (finer, known, finer_guide) in reversed(list(enumerate(coarse, start=_FINE_LEVELS))):
            centres = cell_centres(finer, 2**level)
            state = torch.lerp(pull(state, centres, finer_guide, guide, cell=2 ** (level + 1)), finer, known)
            guide = finer_guide
        value, place = state[:, :1], state[:, 1:]
        distance = (place - centres).square().sum(dim=1, keepdim=True).sqrt()
        for finer, known in reversed(fine):
            value, distance = self.doubling(torch.cat([value, distance], dim=1)).split(1, dim=1)
            value = torch.lerp(value, finer, known)
            distance = (1 - known) * (distance + 1)
        return value, torch.log2(1 + distance) / _LOG_DISTANCE_UNIT


def cell_centres(like: Tensor, cell: int) -> Tensor:
    """(N, 2, H, W): y and x in pixels of the centres of the cells of (N, C, H, W), each of so many pixels squared."""
    number, _, height, width = like.shape
    y = ((torch.arange(height, device=like.device) + 0.5) * cell - 0.5).view(1, 1, height, 1)
    x = ((torch.arange(width, device=like.device) + 0.5) * cell - 0.5).view(1, 1, 1, width)
    return torch.cat([y.expand(number, 1, height, width), x.expand(number, 1, height, width)], dim=1)


def pull(state: Tensor, centres: Tensor, finer_guide: Tensor | None, guide: Tensor | None, cell: int) -> Tensor:
    """State (value, y, x), (N, 3, h, w), in cells of so many pixels, at the next finer level: (N, 3, 2h, 2w).

    Each finer cell takes the mean of the 3x3 around its parent, weighted by the distance from its centre (N, 2, 2h, 2w)
    to their places and by colour; guides (N, 3, 2h, 2w) and (N, 3, h, w).
    """
    above = _around(state).unsqueeze(3)  # (N, 9, 3, 1, h, w)
    squared = ((_children(centres) - above[:, :, 1:]) / cell).square().sum(dim=2)  # (N, 9, 4, h, w)
    inverse = 1 / (squared + _SOFT_CORE)
    weight = inverse * inverse * inverse
    if finer_guide is not None and guide is not None:
        difference = (_children(finer_guide) - _around(guide).unsqueeze(3)).square().sum(dim=2)
        weight = weight * torch.exp(-(difference / (2 * _COLOUR_SIGMA**2)).clamp(max=_MAX_UNLIKENESS))
    weight = weight / weight.sum(dim=1, keepdim=True)
    mean = (weight.unsqueeze(2) * above).sum(dim=1)  # (N, 3, 4, h, w)
    return F.pixel_shuffle(mean.flatten(1, 2), 2)


def _children(x: Tensor) -> Tensor:
    """(N, C, 2h, 2w) to the four finer cells of each cell: (N, 1, C, 4, h, w)."""
    return F.pixel_unshuffle(x, 2).unflatten(1, (-1, 4)).unsqueeze(1)


def _around(x: Tensor) -> Tensor:
    """(N, C, h, w) to the 3x3 around each cell, the border repeated: (N, 9, C, h, w)."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    return torch.stack([padded[..., y : y + height, x : x + width] for y in range(3) for x in range(3)], dim=1)


class Doubling(nn.Module):
    """Bilinear upsampling to twice the size, half-pixel centres, of few channels: (N, channels, H, W), always float32.

    A convolution and a pixel shuffle: on CPUs four times as fast as a resize, which is made for many channels.
    """

    kernel: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        # Of the two pixels that a cell becomes, each takes 3/4 of the cell and 1/4 of the neighbour on its own side.
        pair = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])
        kernel = torch.einsum("iy,jx->ijyx", pair, pair).reshape(4, 1, 3, 3).repeat(channels, 1, 1, 1)
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            padded = F.pad(x.float(), (1, 1, 1, 1), mode="replicate")
            return F.pixel_shuffle(F.conv2d(padded, self.kernel, groups=self.channels), 2)
