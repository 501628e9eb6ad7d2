"""Steps from cell to cell along colour, on the finer grids of the filling of holes.

All is slices and arithmetic of whole planes, which engines fuse into few passes over memory.
"""

from __future__ import annotations

from functools import reduce
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

# Chosen as those of the planes, and on procedural scenes too.
_COLOUR_STEP = 0.06  # of 0..1, summed over channels: over which a weight falls to 1/e
_LEAST_LIKENESS = 1e-3
_NEIGHBOUR = 0.3  # weight of one of the same colour
_FADE = 1e-3  # sum of weights at which what is spread fades to a half


def doubled(x: Tensor, coarse_guide: Tensor, guide: Tensor) -> Tensor:
    """x (N, 1, h, w), coarse_guide (N, C, h, w), guide (N, C, 2h, 2w): (N, 1, 2h, 2w).

    Each pixel is a mean of the four cells around it, by bilinear weights times likeness of colour. Kopf et al., Joint
    Bilateral Upsampling, SIGGRAPH 2007.
    """
    # The four pixels around each corner of the cells have the same four neighbours.
    pixels = F.pixel_unshuffle(F.pad(guide, (1, 1, 1, 1), mode="replicate"), 2).chunk(guide.shape[1], dim=1)
    x, coarse_guide = (F.pad(cells, (1, 1, 1, 1), mode="replicate") for cells in (x, coarse_guide))
    height, width = x.shape[-2] - 1, x.shape[-1] - 1
    # Made on the device: a copy from the host could not be part of a CUDA graph.
    place = torch.arange(2, device=x.device, dtype=x.dtype)
    weights, weighted = [], []
    for down, right in product((0, 1), repeat=2):
        corner = (..., slice(down, down + height), slice(right, right + width))
        likeness = _likeness(pixels, coarse_guide[corner].split(1, dim=1)) + _LEAST_LIKENESS
        rows, columns = (0.75 - 0.5 * (place - far).abs() for far in (down, right))
        weights.append(likeness * (rows.view(2, 1) * columns).view(1, 4, 1, 1))
        weighted.append(weights[-1] * x[corner])
    return F.pixel_shuffle(_sum(weighted) / _sum(weights), 2)[..., 1:-1, 1:-1]


def spread_near(value: Tensor, known: Tensor, guide: Tensor, times: int) -> Tensor:
    """value, known (N, 1, H, W), known 0 or 1; guide (N, C, H, W): (N, 1, H, W), 0 where nothing reaches.

    Weighted means of the known, which reach ``times`` cells far. Weights are products along rows, then columns, of
    likenesses of colour from cell to cell. Knutsson, Westin, Normalized and Differential Convolution, CVPR 1993.
    """
    sums = torch.cat([value * known, known], dim=1)
    links = [_NEIGHBOUR * _likeness(*(part.split(1, dim=1) for part in _neighbours(guide, dim))) for dim in (-1, -2)]
    for _ in range(times):
        for dim, link in zip((-1, -2), links, strict=True):
            first, second = _neighbours(sums, dim)
            sums = sums + _shifted(first * link, dim, 1) + _shifted(second * link, dim, -1)
    total, reach = sums.split(1, dim=1)
    return total / (reach + _FADE)


def _likeness(colours: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> Tensor:
    """Of colour, 0..1; the colours' channels one by one."""
    return torch.exp(_sum([(a - b).abs() for a, b in zip(colours, others, strict=True)]) / -_COLOUR_STEP)


def _sum(terms: list[Tensor]) -> Tensor:
    return reduce(torch.add, terms)


def _neighbours(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """All but the last and all but the first along an axis."""
    count = x.shape[dim] - 1
    return x.narrow(dim, 0, count), x.narrow(dim, 1, count)


def _shifted(x: Tensor, dim: int, by: int) -> Tensor:
    """With a zero before (by 1) or behind (by -1) along the last axis but one or the last."""
    before, behind = (1, 0) if by > 0 else (0, 1)
    return F.pad(x, (before, behind) if dim == -1 else (0, 0, before, behind))
