"""Refine the filled holes from a coarse grid to the next finer one, along colour.

Everything is slicing and arithmetic of whole planes, which engines fuse into few passes over memory.
"""

from __future__ import annotations

from functools import reduce
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

# Chosen as those of the planes, and on procedural scenes too.
_COLOUR_STEP = 0.08  # of 0..1, summed over channels: over which a weight falls to 1/e
_REACH = 2.0  # cells over which a weight falls to 1/e
_LEAST_AGREEMENT = 1e-3
_FADE = 1e-3  # sum of weights at which what is spread fades to a half
_KNOWN = 10.0  # what a known pixel of the finest grid weighs; flat around the optimum


def finer(coarse: Tensor, coarse_guide: Tensor, guide: Tensor, value: Tensor, known: Tensor, steps: int) -> Tensor:
    """coarse (N, 1, h, w), coarse_guide (N, C, h, w); guide (N, C, 2h, 2w); value, 0 where unknown, and known, 0 or 1,
    (N, 1, 2h, 2w).

    Returns (N, 1, 2h, 2w): the coarse values brought over along colour, and what they leave unexplained of the known
    ones spread along colour over 2^steps - 1 cells.
    """
    dense, agreement = doubled(coarse, coarse_guide, guide)
    links = [_links(guide, dim, steps) for dim in (-1, -2)]
    # A cell of another colour lies across an edge, and its value is of neither side: others say more.
    total, weight = _spread(torch.cat([dense * agreement, agreement], dim=1), links).split(1, dim=1)
    dense = total / weight
    total, weight = _spread(torch.cat([(value - dense) * known, known], dim=1), links).split(1, dim=1)
    return dense + total / (weight + _FADE)


def finest(coarse: Tensor, coarse_guide: Tensor, guide: Tensor, value: Tensor, known: Tensor) -> Tensor:
    """As ``finer``, over one cell, in half the time: one mean of both, in which what is known counts more."""
    dense, agreement = doubled(coarse, coarse_guide, guide)
    links = [_links(guide, dim, 1) for dim in (-1, -2)]
    # One by one: to join and split planes of this size takes as long as to add them up.
    total = _spread(dense * agreement + _KNOWN * value, links)
    return total / _spread(agreement + _KNOWN * known, links)


def doubled(x: Tensor, coarse_guide: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
    """x (N, 1, h, w), coarse_guide (N, C, h, w), guide (N, C, 2h, 2w): two of (N, 1, 2h, 2w).

    Each pixel is a mean of the four cells around it, by bilinear weights times likeness of colour (Kopf et al., Joint
    Bilateral Upsampling, SIGGRAPH 2007); and the sum of these weights, how far they agree with it, above 0 to 1.
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
        likeness = _likeness(pixels, coarse_guide[corner].split(1, dim=1)) + _LEAST_AGREEMENT
        rows, columns = (0.75 - 0.5 * (place - far).abs() for far in (down, right))
        weights.append(likeness * (rows.view(2, 1) * columns).view(1, 4, 1, 1))
        weighted.append(weights[-1] * x[corner])
    total = _sum(weights)
    dense, agreement = (F.pixel_shuffle(x, 2)[..., 1:-1, 1:-1] for x in (_sum(weighted) / total, total))
    return dense, agreement


def _links(guide: Tensor, dim: int, steps: int) -> list[Tensor]:
    """What each cell weighs for the one 1, 2, 4, ... cells before it along an axis, (N, 1, H, W) each."""
    near = guide - _shifted(guide, dim, 1)
    links = [torch.exp(_sum(near.abs().split(1, dim=1)) / -_COLOUR_STEP - 1 / _REACH)]
    while len(links) < steps:
        links.append(links[-1] * _shifted(links[-1], dim, 2 ** (len(links) - 1)))
    return links


def _spread(x: Tensor, links: list[list[Tensor]]) -> Tensor:
    """Weighted sums of (N, C, H, W) along rows, then columns, the same shape.

    A weight is the product of those from cell to cell, as in the domain transform (Gastal, Oliveira, SIGGRAPH 2011).
    Each step doubles how far the sums reach, as in a parallel scan (Hillis, Steele, CACM 1986).
    """
    for dim, of_axis in zip((-1, -2), links, strict=True):
        before = behind = x
        for step, link in enumerate(of_axis):
            before = before + link * _shifted(before, dim, 2**step)
            behind = behind + _shifted(link * behind, dim, -(2**step))
        x = before + behind - x
    return x


def _shifted(x: Tensor, dim: int, by: int) -> Tensor:
    """Moved by so many cells along the last axis or the last but one, zeros behind it."""
    return F.pad(x, (by, -by) if dim == -1 else (0, 0, by, -by))


def _likeness(colours: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> Tensor:
    """Of colour, 0..1; the colours' channels one by one."""
    return torch.exp(_sum([(a - b).abs() for a, b in zip(colours, others, strict=True)]) / -_COLOUR_STEP)


def _sum(terms: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return reduce(torch.add, terms)
